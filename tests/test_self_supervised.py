import itertools

import numpy as np
import pytest
import torch

from rapp import detectors, evaluation
from rapp.detectors.self_supervised import (
    SelfSupervised,
    Transform,
    differences,
    fit_dirichlet,
    inverse_digamma,
    shifted,
    side_of,
    squares,
    transformed,
    transforms,
)
from rappbook.figures import self_supervised as figures

GENERIC = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
QUICK = {"network": "small", "lr": 3e-3}


def corners(n, seed, novel=False, side=8):
    """Noisy images with a bright bar at the top, or as novelty one from corner to corner."""
    rng = np.random.default_rng(seed)
    x = 0.3 * rng.random((n, side, side))
    if novel:
        x[:, np.arange(side), np.arange(side)] += 0.7
    else:
        x[:, : side // 4, : side // 2] += 0.7
    return x.reshape(n, -1).astype(np.float32)


@pytest.mark.parametrize(("shift", "n"), [(0, 8), (8, 72)])
def test_transforms_are_distinct_and_the_identity_comes_first(shift, n):
    of = transforms(shift)
    assert len(of) == n == len({t.name for t in of})
    images = [t(GENERIC) for t in of]
    assert torch.equal(images[0], GENERIC)
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(images, 2))


def test_flips_and_rotations_are_a_group():
    images = [t(GENERIC) for t in transforms()]
    for first, second in itertools.product(transforms(), repeat=2):
        assert sum(torch.equal(second(first(GENERIC)), image) for image in images) == 1
    for t in transforms():
        assert sum(torch.equal(back(t(GENERIC)), GENERIC) for back in transforms()) == 1
        assert torch.equal(t(GENERIC).flatten().sort()[0], GENERIC.flatten().sort()[0])


def test_a_shift_fills_with_the_mirror_image_of_what_it_borders():
    x = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 1, 8, 8)
    np.testing.assert_array_equal(shifted(x, 2, 3)[0, 0, 0], [1, 0, 0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(shifted(x, -2, 3)[0, 0, 0], [2, 3, 4, 5, 6, 7, 7, 6])
    assert torch.equal(shifted(x.mT, 2, 2), shifted(x, 2, 3).mT)
    assert torch.equal(Transform(down=2, right=-3)(GENERIC), shifted(shifted(GENERIC, -3, 3), 2, 2))


def test_order_is_flip_then_shift_then_turn():
    expected = torch.rot90(shifted(GENERIC.flip(3), 8, 3), 1, (2, 3))
    assert torch.equal(Transform(flip=True, right=8, turns=1)(GENERIC), expected)
    assert Transform(flip=True, right=8, turns=1).name == "flip →8 90°"


@pytest.mark.parametrize(("shape", "side"), [((28, 28), 32), ((8, 8), 8), ((5, 9), 12), ((4, 4), 4)])
def test_images_are_padded_to_squares(shape, side):
    assert side_of(shape) == side
    x = squares(torch.ones(1, 1, *shape))
    assert x.shape == (1, 1, side, side)
    assert (x == 1).sum() == np.prod(shape)
    assert (x == -1).sum() == side**2 - np.prod(shape)
    assert set(transformed(np.ones(np.prod(shape), np.float32), shape)) >= {"0°", "180°", "flip 90°"}


@pytest.mark.parametrize("network", ["small", "wide"])
def test_the_network_sees_32_by_32_of_mnist_and_answers_with_log_probabilities(network):
    detector = SelfSupervised(image_shape=(28, 28), network=network)
    net = detector.build()
    seen = []
    net.body[0].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    x = detector.inputs(torch.rand(2, 784))
    log_p = net(x, torch.tensor([0, 71]))
    assert seen[0].shape == (2, 1, 32, 32)
    assert torch.equal(seen[0][:1], x[:1].view(1, 1, 32, 32))
    assert torch.equal(seen[0][1:], detector.transforms[71](x[1:].view(1, 1, 32, 32)))
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(2))


def test_the_wide_network_has_the_parameters_of_wideresnet_10_4():
    """Counted by hand: convolutions 144 + 47,104 + 229,376 + 917,504, BatchNorm 1,184 + 512, linear 18,504."""
    n = sum(p.numel() for p in SelfSupervised(image_shape=(28, 28)).build().parameters())
    assert n == 144 + 47_104 + 229_376 + 917_504 + 2 * (16 + 64 + 64 + 128 + 128 + 256 + 256) + 257 * 72


def test_inverse_digamma_inverts():
    x = torch.logspace(-2, 3, 50, dtype=torch.float64)
    torch.testing.assert_close(inverse_digamma(torch.digamma(x)), x)


def test_the_dirichlet_fit_recovers_known_parameters():
    alpha = np.array([[0.2, 3.0, 1.0, 0.5], [8.0, 2.0, 0.7, 5.0]])
    rng = np.random.default_rng(0)
    p = torch.as_tensor(np.stack([rng.dirichlet(a, 20_000) for a in alpha]).clip(1e-300))
    np.testing.assert_allclose(fit_dirichlet(p.mean(1), p.log().mean(1)), alpha, rtol=0.04)


def test_the_dirichlet_fit_survives_samples_that_are_all_alike():
    p = torch.tensor([[1 - 3e-30, 1e-30, 1e-30, 1e-30], [0.25] * 4], dtype=torch.float64)
    alpha = fit_dirichlet(p, p.log())
    assert alpha.isfinite().all()
    assert (alpha > 0).all()


def test_what_is_symmetric_does_not_differ_from_itself():
    bar = np.zeros((8, 8))
    bar[:, 3:5] = 1
    assert differences(bar)["180°"] == 0
    assert differences(bar)["90°"] == pytest.approx(0.75)  # overlaps in 4 of 16 pixels


@pytest.mark.parametrize("options", [{"shifts": False, "epochs": 25, "steps": 60}, {"steps": 200}], ids=["8", "72"])
def test_novel_images_score_higher(options):
    detector = SelfSupervised(image_shape=(8, 8), **QUICK | options).fit(corners(120, 0), corners(40, 1), 0)
    scores = detector.scores(np.concatenate([corners(50, 2), corners(50, 3, novel=True)]))
    assert list(scores) == ["dirichlet", "softmax"]
    for values in scores.values():
        assert evaluation.auroc(np.arange(100) >= 50, values) > 0.95
    assert ((scores["softmax"] >= 0) & (scores["softmax"] <= 1)).all()
    assert len(detector.history) == 20
    assert detector.history[-1]["val_accuracy"] > 3 / len(detector.transforms)


def test_scores_are_those_of_the_outputs():
    detector = SelfSupervised(image_shape=(8, 8), shifts=False, steps=20, **QUICK).fit(*2 * [corners(40, 0)], 0)
    x = corners(9, 1)
    p = torch.as_tensor(detector.probabilities(x)).double()
    scores = detector.scores(x)
    of = torch.distributions.Dirichlet(detector.net.alpha.double())
    np.testing.assert_allclose(scores["softmax"], 1 - p.diagonal(dim1=1, dim2=2).mean(1), atol=1e-6)
    np.testing.assert_allclose(scores["dirichlet"], -of.log_prob(p / p.sum(2, keepdim=True)).mean(1), rtol=1e-3)


def test_one_seed_gives_equal_bits_and_another_does_not(tmp_path):
    x, val, test = corners(40, 0, side=28), corners(20, 1, side=28), corners(30, 2, side=28)
    detectors = [SelfSupervised(image_shape=(28, 28), shifts=False, steps=5, **QUICK) for _ in range(4)]
    for detector, seed, cache in zip(detectors, (0, 0, 0, 1), (None, tmp_path, tmp_path, tmp_path), strict=True):
        torch.rand(seed + 3)  # whatever ran before
        detector.fit(x, val, seed, cache)
    a, b, cached, other = (detector.scores(test)["dirichlet"] for detector in detectors)
    assert np.array_equal(a, b)
    assert np.array_equal(a, cached)
    assert not np.array_equal(a, other)


@pytest.mark.parametrize("change", [{"network": "huge"}, {"steps": 0}, {"weight_decay": -1.0}])
def test_settings_that_cannot_be_are_named(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        SelfSupervised(**change)


def test_the_protocol_s_settings():
    for name, epochs, n in (("geom", 3, 72), ("geom-8", 25, 8)):
        options = dict(detectors.options(name).options)
        assert (options["epochs"], options["network"], options["batch"]) == (epochs, "wide", 128)
        assert options["steps"] is None
        assert len(detectors.build(detectors.options(name), (28, 28)).transforms) == n
        assert epochs == np.ceil(200 / n)


def test_the_figure_of_confusions_tells_all_that_matter():
    names = [f"turn {i}" for i in range(8)]
    figure = figures.confusions({"normal": np.eye(8) * 0.9 + 0.01, "novel": np.full((8, 8), 0.125)}, names)
    words = [[word.get_text() for word in ax.texts if word.get_text()] for ax in figure.axes]
    assert words == [["91"] * 8, ["12"] * 64]
