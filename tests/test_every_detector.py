"""What every detector promises, each on the 8 × 8 digits at the smallest profile."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from rapp import detectors
from rapp.config import ParameterError
from rapp.data import Dataset, load
from rapp.detectors.autoencoder import PathwayDetector, bottleneck
from rapp.detectors.base import Deep
from rapp.evaluation import auroc
from rapp.experiment import run_cells
from rapp.grid import cells
from rapp.splits import split

every = pytest.mark.parametrize("name", detectors.DETECTORS)
NEED_IMAGES = [name for name, method in detectors.DETECTORS.items() if method.detector.NEEDS_IMAGES]
DEEP = [name for name, method in detectors.DETECTORS.items() if issubclass(method.detector, Deep | PathwayDetector)]


@pytest.fixture(scope="module")
def digits():
    """Training, validation and test rows, the first class being the normal one."""
    data = load("digits")
    rows = split(data.y, "0", "unimodal")
    return [data.x[part] for part in (rows.train, rows.val, rows.test)]


def make(name, shape=(8, 8), **options):
    return detectors.make(name, shape, "tiny", **options)


@every
def test_one_seed_gives_one_set_of_bits_and_the_cache_the_same(name, digits, tmp_path):
    train, val, test = digits
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = make(name).fit(train, val, seed=1, cache=tmp_path, progress=False).scores(test)
    torch.rand(3)
    np.random.rand(3)
    again = make(name).fit(train, val, seed=1, progress=False).scores(test)
    cached = make(name).fit(train, val, seed=1, cache=tmp_path, progress=False)
    assert list(first) == list(again)
    for score, values in first.items():
        np.testing.assert_array_equal(values, again[score])
        np.testing.assert_array_equal(values, cached.scores(test)[score])
        assert values.shape == (len(test),)
        assert values.dtype == np.float64
    assert any(tmp_path.iterdir()) == isinstance(cached, Deep | PathwayDetector)
    torch.set_rng_state(before)


@every
def test_the_global_random_state_is_left_alone(name, digits):
    train, val, test = digits
    torch.manual_seed(5)
    np.random.seed(5)
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    make(name).fit(train, val, progress=False).scores(test[:5])
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpys)


@every
def test_its_own_score_comes_first(name, digits):
    train, val, test = digits
    scores = make(name).fit(train, val, progress=False).scores(test[:3])
    compared = detectors.DETECTORS[name].scores
    assert compared[0] == next(iter(scores))
    assert set(compared) <= set(scores)


@every
def test_what_cannot_be_used_is_refused_in_words(name, digits):
    train, val, test = digits
    with pytest.raises(RuntimeError, match="has not been fitted"):
        make(name).scores(test)
    holed = train.copy()
    holed[3, 5] = np.nan
    with pytest.raises(ValueError, match=r"train: 1 of .* NaN or infinite"):
        make(name).fit(holed, val)
    with pytest.raises(ValueError, match="train: need rows × features"):
        make(name).fit(train[:0], val)
    with pytest.raises(ValueError, match=r"the shape \(\d+, 8, 8\); flatten images"):
        make(name).fit(train.reshape(-1, 8, 8), val)
    with pytest.raises(ValueError, match="validation: need rows × features"):
        make(name).fit(train, val[:0])
    with pytest.raises(ValueError, match="train: fewer than two different rows"):
        make(name).fit(np.full((20, 64), 0.5, np.float32), val)
    with pytest.raises(ValueError, match="validation: rows have 63 features, expected 64"):
        make(name).fit(train, val[:, :63])
    fitted = make(name).fit(train, val, progress=False)
    with pytest.raises(ValueError, match="x: rows have 49 features, expected 64"):
        fitted.scores(test[:, :49])
    with pytest.raises(ValueError, match="x: need rows × features"):
        fitted.scores(test[0])
    holed = test[:4].copy()
    holed[0, 0] = np.inf
    with pytest.raises(ValueError, match="x: 1 of 4 rows"):
        fitted.scores(holed)


@every
def test_images_of_another_shape_are_refused_where_images_are_needed(name, digits):
    if not detectors.DETECTORS[name].detector.NEEDS_IMAGES:
        assert make(name, None).fit(*digits[:2], progress=False).scores(digits[2][:2])
        return
    for shape in (None, (7, 8)):
        with pytest.raises(ValueError, match="needs images"):
            make(name, shape).fit(*digits[:2])
    with pytest.raises(ParameterError, match=f"{name} needs images, and asteroids is a table"):
        detectors.config_for("tiny", Dataset("asteroids", *[None] * 3, None, *[""] * 4), name)


@every
def test_wrong_options_are_named(name):
    with pytest.raises(ValueError, match=f"{name} has no parameter 'wings'; allowed: "):
        detectors.make(name, wings=2)
    if issubclass(detectors.DETECTORS[name].detector, Deep | PathwayDetector):
        with pytest.raises(ValueError, match="epochs=-1 must be"):
            detectors.make(name, epochs=-1)


def test_a_disk_that_fails_after_training_loses_no_model(digits, tmp_path, capsys):
    (tmp_path / "cache").write_text("a file where a folder should be")
    detector = make("deep-svdd", epochs=1, pretrain_epochs=1).fit(*digits[:2], seed=0, cache=tmp_path / "cache")
    assert "this model is not kept" in capsys.readouterr().err
    assert np.isfinite(detector.scores(digits[1])["score"]).all()


@every
def test_a_grid_cell_of_it(name, tmp_path):
    data = load("digits")
    entry = cells.plan("tiny", ["digits"], ["unimodal"], [name], seeds=1, targets=["0"], contaminations=[0.05])[0]
    (trial,) = run_cells(data, [entry.cell], tmp_path)
    rows = cells.record(entry, trial)["rows"]
    assert {row["model"] for row in rows} == {name}
    assert {row["contamination"] for row in rows} == {0.05}
    assert all(0 <= row["auroc"] <= 1 for row in rows)
    assert name in str(entry.file)


@every
@pytest.mark.parametrize("high", [16, 255, 65535])
def test_pixels_outside_0_to_1_are_refused_with_the_factor_that_helps(name, digits, high):
    train, val, test = digits
    stored = (train * high).astype(np.uint16)
    with pytest.raises(ValueError, match=rf"train: pixels must lie in \[0, 1\], .*; divide by {high}"):
        make(name).fit(stored, val)
    with pytest.raises(ValueError, match=r"validation: pixels .*; take \(x \+ 1\) / 2"):
        make(name).fit(train, 2 * val - 1)
    fitted = make(name).fit(train, val, progress=False)
    with pytest.raises(ValueError, match=r"x: pixels must lie in \[0, 1\]"):
        fitted.scores(test * high)


@every
def test_without_validation_rows_a_fifth_of_the_training_rows_is_held_out(name, digits):
    train, _, test = digits
    order = np.random.default_rng(3).permutation(len(train))
    parts = np.split(train[order], [len(train) - len(train) // 5])
    expected = make(name).fit(*parts, seed=3, progress=False).scores(test[:9])
    novel = np.concatenate([train, test[-4:]])
    labels = np.repeat([1, -1], [len(train), 4])
    for found in (make(name).fit(train, seed=3, progress=False), make(name).fit(novel, labels, seed=3, progress=False)):
        for score, values in found.scores(test[:9]).items():
            np.testing.assert_array_equal(values, expected[score])
    with pytest.raises(ValueError, match=f"y has 3 labels for {len(train)} rows of X"):
        make(name).fit(train, labels[:3])


def test_labels_of_another_kind_and_other_columns_are_told():
    frame = pd.DataFrame(load_wine().data[:120, :5], columns=list("abcde"))
    with pytest.warns(
        UserWarning, match=r"y has the values 0, 1, but none is -1, for novel: .* pass 1 for normal and -1"
    ):
        detectors.make("knn").fit(frame, np.arange(120) // 100)
    with pytest.raises(ValueError, match="1 missing labels"):
        detectors.make("knn").fit(frame, [1.0] * 119 + [np.nan])
    with pytest.raises(ValueError, match="1 missing labels"):
        detectors.make("knn").fit(frame, np.ma.masked_array([1] * 100 + [-1] * 20, np.arange(120) == 5))
    detectors.make("knn").fit(frame.set_axis([0, "b", "c", "d", "e"], axis=1))  # names need be no words
    fitted = detectors.make("knn").fit(frame)
    assert (fitted.predict(frame) == fitted.predict(frame.copy())).all()
    for other in (frame[list("edcba")], frame.rename(columns={"a": "z"})):
        with pytest.raises(ValueError, match="bring them into this order"):
            fitted.scores(other)
    with pytest.raises(ValueError, match="bring them into this order"):
        detectors.make("knn").fit(frame, frame[list("edcba")])


@pytest.mark.parametrize("name", ["knn", "ae", "linear-ae"])
def test_rows_may_be_views_and_masks_are_refused(name):
    x = load_wine().data[:60, :5].astype(np.float32)
    fitted = detectors.make(name, None, "tiny").fit(x, progress=False)
    score, expected = next(iter(fitted.scores(x).items()))
    np.testing.assert_allclose(fitted.scores(x[::-1])[score], expected[::-1], rtol=1e-3)
    with pytest.raises(ValueError, match="rows have NaN or infinite values; leave them out or fill them"):
        fitted.scores(np.ma.masked_greater(x, 1))


@pytest.mark.parametrize(
    ("name", "wrong", "says"),
    [
        ("deep-svdd", {"device": "cuda:0"}, "device='cuda:0' is unknown; allowed: auto"),
        ("deep-svdd", {"width": 0}, "width=0 must be a whole number of at least 1"),
        ("geom", {"steps": True}, "steps=True must be a whole number of at least 1"),
        ("anogan", {"batch": 1}, "batch=1 must be a whole number of at least 2"),
        ("pca", {"n_components": 2.5}, "n_components=2.5 must be a whole number"),
    ],
)
def test_options_are_refused_by_name(name, wrong, says, digits):
    with pytest.raises(ValueError, match=says):
        make(name, **wrong).fit(*digits[:2], progress=False)


@pytest.mark.parametrize("shape", [16, (8, 8, 1), (7, 8)])
def test_an_image_has_two_sides(shape, digits):
    with pytest.raises(ValueError, match=r"image_shape=.* does not give rows of 64 features"):
        detectors.make("ae", shape, "tiny").fit(*digits[:2], progress=False)


@every
def test_it_takes_what_people_hand_over(name, digits, tmp_path):
    train, val, test = digits
    options = {"lr": np.float64(1e-3), "epochs": np.int64(1)} if name in DEEP else {}
    expected = make(name, **options).fit(train, val, seed=3, progress=False).scores(test[:9])
    for kind in (pd.DataFrame, torch.tensor):
        found = (
            make(name, **options).fit(kind(train), kind(val), np.int64(3), str(tmp_path), False).scores(kind(test[:9]))
        )
        for score, values in found.items():
            np.testing.assert_array_equal(values, expected[score])
    frame = pd.DataFrame(train).assign(maker="x")
    with pytest.raises(ValueError, match="train: column 'maker' holds no numbers"):
        make(name).fit(frame, val)


@every
def test_it_is_an_estimator_of_scikit_learns(name, digits):
    train, val, test = digits
    detector = clone(make(name))
    assert repr(detector) == repr(make(name))
    model = make_pipeline(FunctionTransformer(), detector).fit(train)  # 20 % of 106 rows are 21, enough for 5 %
    normal = -next(iter(detector.scores(test).values()))
    assert np.unique(np.argsort(normal) - np.argsort(detector.decision_function(test))).tolist() == [0]
    assert set(model.predict(test)) <= {-1, 1}
    detector.fit(train, val, progress=False)
    known = np.sort(next(iter(detector.scores(val).values())))
    rank = math.ceil((len(val) + 1) * 0.9)
    assert ((detector.predict(val, 0.1) == -1) == (next(iter(detector.scores(val).values())) > known[rank - 1])).all()
    with pytest.raises(
        ValueError, match=f"false_alarm_rate=0.01 needs at least 99 held-out normal rows, and there are {len(val)}"
    ):
        detector.predict(test, 0.01)


def test_names_say_what_needs_images():
    assert detectors.names() == list(detectors.DETECTORS)
    assert detectors.names(images=False) == [name for name in detectors.DETECTORS if name not in NEED_IMAGES]
    assert {"ae", "pca", "kde"} <= set(detectors.names(images=False))


@pytest.mark.parametrize("name", ["pca", "linear-ae"])
def test_linear_methods_have_fewer_directions_than_a_table_has_features(name):
    x = StandardScaler().fit_transform(load_wine().data)
    detector = detectors.make(name, profile="tiny").fit(x, progress=False)
    assert len(detector.directions) == bottleneck(np.split(x, [len(x)])[0]) < x.shape[1]
    assert np.median(detector.scores(x)["recon"]) > 1e-3
    wide = detectors.make(name, profile="tiny", n_components=20).fit(x, progress=False)
    assert len(wide.directions) == x.shape[1] - 1
    assert len(detectors.make(name, (8, 8), "tiny").fit(load("digits").x, progress=False).directions) == 20


def bars(rng, n, upright, either=False):
    """Noisy images (n, 64) of bars that stand or lie, light on dark or, if ``either``, also dark on light."""
    wave = np.tile(np.sin(np.arange(8) * np.pi / 2 + 0.5) / 2, (8, 1))
    contrast = rng.uniform(0.2, 0.4, (n, 1, 1)) * (rng.choice([-1, 1], (n, 1, 1)) if either else 1)
    x = 0.5 + contrast * (wave if upright else wave.T) + 0.2 * rng.normal(size=(n, 8, 8))
    return x.clip(0, 1).reshape(n, 64).astype(np.float32)


# Options with which each learns the bars in a second, and how far its AUROC then rises above that of its untrained
# self, in the mean over three seeds: half of what was measured. Of autoencoders it is that of the reconstruction, for
# NAP on a random network is already a Mahalanobis distance, to which training adds little here.
LEARNS = {
    "ae": ({"epochs": 20, "batch": 32, "lr": 3e-3}, 0.22),
    "vae": ({"epochs": 20, "batch": 32, "lr": 3e-3}, 0.23),
    "aae": ({"epochs": 10, "batch": 32, "lr": 3e-3}, 0.2),
    "linear-ae": ({"epochs": 20, "n_components": 4}, 0.17),
    "geom": ({"steps": 40}, 0.05),
    "geom-8": ({}, 0.09),
    "deep-svdd": ({"pretrain_epochs": 30, "epochs": 20}, 0.1),
    "deep-svdd-soft": ({"pretrain_epochs": 30, "epochs": 20}, 0.09),
    "oc-nn": ({"pretrain_epochs": 30, "epochs": 20, "lr": 1e-2, "pretrain_lr": 5e-3}, 0.17),
    "deep-ocsvm": ({"epochs": 30, "lr": 5e-3}, 0.12),
    "anogan": ({"epochs": 20, "batch": 32, "width": 8, "steps": 20}, 0.14),
    "f-anogan": ({"epochs": 20, "encoder_epochs": 10, "batch": 32, "width": 8}, 0.21),
    "gpnd": ({"epochs": 15, "batch": 32, "width": 8}, 0.17),
}


@pytest.mark.parametrize("name", DEEP)
def test_what_is_trained_beats_its_untrained_self_and_no_score_is_constant(name):
    options, margin = LEARNS[name]
    score = "recon" if "recon" in detectors.DETECTORS[name].scores else detectors.DETECTORS[name].scores[0]
    rates = ["lr", *(rate for rate in ("pretrain_lr", "encoder_lr") if rate in detectors.DETECTORS[name].allowed())]
    gains = []
    for seed in range(3):
        rng, either = np.random.default_rng(seed), name == "linear-ae"  # else the bars' mean tells all
        train, val = bars(rng, 200, True, either), bars(rng, 60, True, either)
        test = np.concatenate([bars(rng, 100, upright, either) for upright in (True, False)])
        aurocs = []
        for still in ({}, dict.fromkeys(rates, 1e-12)):
            fitted = detectors.make(name, (8, 8), "tiny", **options | still).fit(train, val, seed=seed, progress=False)
            scores = fitted.scores(test)
            aurocs.append(auroc(np.arange(200) >= 100, scores[score]))
            for values in () if still else scores.values():
                assert len(np.unique(values)) > 100
                assert values.std() > 1e-3 * np.abs(values).mean()
        gains.append(aurocs[0] - aurocs[1])
    assert np.mean(gains) > margin, gains
