import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from rapp import detectors, evaluation
from rapp.detectors.classical import Kernels, Mixture, Neighbours, OneClass, PCAReconstruction, Tails
from rapp.detectors.linear import LinearAutoencoder, principal_angles
from rappbook.chapters import toys
from rappbook.figures import classical as figures

NAMES = [name for name, method in detectors.DETECTORS.items() if method.chapter == "05_classical"]
FLOORS = {"pca": 0.98, "linear-ae": 0.98, "ocsvm": 0.97, "iforest": 0.96, "lof": 0.98, "knn": 0.98, "ecod": 0.8}
FLOORS |= {"gmm": 0.75, "kde": 0.75}  # they do not see what leaves the principal components


OPTIONS = {"pca": {"n_components": 4}, "linear-ae": {"n_components": 4, "epochs": 30}}


def build(name):
    return detectors.build(detectors.options(name, "quick", **OPTIONS.get(name, {})))


@pytest.fixture(scope="module")
def rows():
    """Normal rows in two clouds, wide in four directions out of twelve; novel ones are shifted, each somewhere else."""
    rng = np.random.default_rng(0)
    wide = np.linalg.qr(rng.normal(size=(12, 4)))[0].T
    spread = np.array([1.2, 1.1, 1.0, 0.9])

    def normal(n):
        clouds = rng.choice([-4, 4], (n, 1)) * wide[:1]
        return clouds + rng.normal(size=(n, 4)) * spread @ wide + 0.3 * rng.normal(size=(n, 12))

    novel = normal(100) + 1.5 * rng.normal(size=(100, 12))
    return normal(300), normal(100), np.concatenate([normal(100), novel]), np.arange(200) >= 100


def test_every_classical_detector_has_a_floor():
    assert set(FLOORS) == set(NAMES)


@pytest.mark.parametrize("name", FLOORS)
def test_novel_rows_score_higher_and_equally_under_one_seed(rows, name):
    train, validation, test, is_novel = rows
    first, second = (build(name).fit(train, validation, seed=3, progress=False).scores(test) for _ in range(2))
    ((score, values),) = first.items()
    assert (score,) == detectors.DETECTORS[name].scores
    np.testing.assert_array_equal(values, second[score])
    assert evaluation.auroc(is_novel, values) > FLOORS[name]


@pytest.mark.parametrize("name", FLOORS)
def test_two_rows_are_enough(name):
    x = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    (scores,) = build(name).fit(x, x, progress=False).scores(x + 5).values()
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("change", [{"nu": 0.0}, {"nu": 2}, {"nu": "much"}, {"threads": 0}, {"threads": 1.5}])
def test_options_out_of_range_are_named(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))}={next(iter(change.values()))!r}"):
        OneClass(**change)


def test_the_kth_neighbour_is_counted_among_the_training_rows():
    train = np.array([[0.0], [1.0], [3.0], [7.0]])
    for k, expected in ((1, [0, 4]), (3, [3, 10]), (9, [7, 11])):
        assert Neighbours(k=k).fit(train, train).scores(np.array([[0.0], [11.0]]))["score"].tolist() == expected
    with pytest.raises(ValueError, match="k=0 must be a whole number of at least 1"):
        Neighbours(k=0)


def test_ecod_by_hand():
    """Of four training rows and the scored one, tails hold (count + 1) of 5; the first feature's long tail is right."""
    train = np.array([[0.0, 5.0], [1.0, 4.0], [2.0, 3.0], [9.0, -6.0]])
    log = np.log(5 / np.array([1, 2, 3, 4, 5]))  # of one to five rows in a tail
    high_low, middle, low_high = Tails().fit(train, train).scores(np.array([[10, -7], [1.5, 3.5], [-1, 6]]))["score"]
    assert high_low == pytest.approx(2 * log[0])  # the sum over the tails that are longer
    assert middle == pytest.approx(2 * log[2])
    assert low_high == pytest.approx(log[0] + log[4])  # where left and right are mixed, no sum sees both


def test_pca_misses_what_lies_in_its_plane_and_sees_what_leaves_it():
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(5, 2)))[0].T
    detector = PCAReconstruction(n_components=2).fit(*2 * [rng.normal(size=(100, 2)) @ plane])
    off = np.linalg.svd(plane)[2][-1]
    np.testing.assert_allclose(detector.scores(np.array([100 * plane[0], 3 * off]))["recon"], [0, 9], atol=1e-6)


def test_fewer_components_than_features_are_kept_for_else_nothing_is_left_to_measure():
    x = np.random.default_rng(0).normal(size=(40, 3))
    detector = PCAReconstruction(n_components=20).fit(x, x)
    assert detector.directions.shape == (2, 3)
    assert detector.scores(x)["recon"].min() > 1e-12
    for alone in (PCAReconstruction(), LinearAutoencoder(epochs=1)):
        scores = alone.fit(x[:, :1], x[:, :1], progress=False).scores(x[:, :1])["recon"]
        np.testing.assert_allclose(scores, (x[:, 0] - x[:, 0].mean()) ** 2, atol=0.1)


def test_angles_are_those_of_planes_whatever_their_directions():
    e = np.eye(4)
    tilted = np.array([e[0] + e[1], np.cos(np.radians(30)) * e[1] + np.sin(np.radians(30)) * e[2]])
    np.testing.assert_allclose(principal_angles(e[:2], np.array([e[0], e[1] + e[2]])), [0, 45], atol=1e-6)
    np.testing.assert_allclose(principal_angles(e[:2], np.array([e[0] + e[1], 3 * e[0]])), [0, 0], atol=1e-6)
    assert principal_angles(e[:2], tilted).shape == (2,)
    np.testing.assert_allclose(principal_angles(e[:2], e[2:]), [90, 90])


def test_the_linear_autoencoder_spans_the_plane_of_pca(rows):
    train, validation, test, _ = rows
    pca = PCAReconstruction(n_components=4).fit(train, validation)
    linear = LinearAutoencoder(n_components=4).fit(train, validation, progress=False)
    assert principal_angles(linear.directions, pca.directions).max() < 1
    np.testing.assert_allclose(linear.scores(test)["recon"], pca.scores(test)["recon"], rtol=0.05, atol=0.02)
    assert linear.history[-1]["val_error"] < linear.history[0]["val_error"]


def test_densities_become_as_fine_as_validation_rows_ask_for():
    rng = np.random.default_rng(0)
    centres = 10 * rng.normal(size=(4, 2))
    train, validation = (centres[rng.integers(4, size=200)] + rng.normal(size=(200, 2)) for _ in range(2))
    mixture, kernels = (of(explained=1).fit(train, validation) for of in (Mixture, Kernels))
    assert mixture._estimator["density"].n_components == 4
    assert 0.1 < kernels._estimator["density"].bandwidth < 1


def test_a_density_sees_only_the_components():
    train, validation = np.random.default_rng(0).normal(size=(2, 200, 3)) * (3, 2, 0.1)
    detector = Kernels().fit(train, validation)
    np.testing.assert_allclose(np.ptp(detector.scores(np.array([[0, 0, 0], [0, 0, 0.5]]))["score"]), 0, atol=0.2)


def test_kernel_density_is_exact_far_from_all_rows():
    rng = np.random.default_rng(0)
    train, far = rng.normal(size=(300, 20)), 3 * rng.normal(size=(50, 20))
    detector = Kernels(explained=1).fit(train, train[:50])
    h = detector._estimator["density"].bandwidth
    kernels = -cdist(far, train, "sqeuclidean") / (2 * h**2) - 10 * np.log(2 * np.pi * h**2)
    log_p = logsumexp(kernels, axis=1) - np.log(300)
    np.testing.assert_allclose(detector.scores(far)["score"], -log_p)


def test_maps_of_the_plane():
    made = toys.maps(OneClass(), n=60)
    assert list(made) == list(toys.SHAPES)
    for of in made.values():
        assert of.auroc > 0.6
        assert all(array.shape == of.values.shape for array in of.grid)
        assert 0 < (of.values > of.cut).mean() < 1
        assert np.abs(of.normal).max() < 1.5 * toys.HALF
    assert dataclasses.is_dataclass(made["a curve"])


ROWS = pd.DataFrame(
    {"model": list("abab"), "setting": ["multimodal"] * 2 + ["unimodal"] * 2, "auroc": [0.1, 0.6, 0.9, 1]}
)
RANKS = pd.DataFrame(np.eye(3), index=list("abc"), columns=list("abc"))
FIGURES = {
    "boundaries": lambda: figures.boundaries(toys.maps(PCAReconstruction(n_components=1), n=30)),
    "angles": lambda: figures.angles({"trained": np.array([0.1, 3.0]), "random": np.array([60.0, 80.0])}),
    "by detector": lambda: figures.by_detector(ROWS, {"a": "One", "b": "Another"}),
    "agreement": lambda: figures.agreement(RANKS),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_draws_and_leaves_no_open_window(name, tmp_path):
    FIGURES[name]().savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5_000
    assert plt.get_fignums() == []
