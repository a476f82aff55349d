"""Deep SVDD, OC-NN and the one-class SVM on learned features: small trainings on the 8 × 8 digits."""

import numpy as np
import pytest
import torch
from sklearn.svm import OneClassSVM

from rapp import detectors, evaluation
from rapp.data import load
from rapp.detectors.codes import Contrast, ImageAutoencoder, LeNet
from rapp.detectors.one_class import OCNN, DeepOCSVM, DeepSVDD, away_from_zero
from rapp.splits import split

BRIEF = {"epochs": 15, "batch": 16, "lr": 3e-3, "device": "cpu"}
NAMES = ("deep-svdd", "deep-svdd-soft", "oc-nn", "deep-ocsvm")


@pytest.fixture(scope="module")
def zeros():
    """The rows of a split with the first class as the normal one, and the truth about the test rows."""
    data = load("digits")
    rows = split(data.y, "0", "unimodal")
    return [data.x[part] for part in (rows.train, rows.val, rows.test)], rows.is_novel


@pytest.fixture(scope="module")
def fitted(zeros, tmp_path_factory):
    """name → a detector that has learned, all of them from one autoencoder in the cache."""
    cache = tmp_path_factory.mktemp("cache")
    return {name: detector(name).fit(*zeros[0][:2], 0, cache, progress=False) for name in NAMES}, cache


def detector(name, **changes):
    pretraining = {} if name == "deep-ocsvm" else {"pretrain_epochs": 15}
    if name == "oc-nn":
        pretraining["pretrain_lr"] = BRIEF["lr"]
    return detectors.build(detectors.options(name, **BRIEF | pretraining | changes), (8, 8))


@pytest.mark.parametrize("name", NAMES)
def test_one_normal_class_is_told_from_the_others(name, fitted, zeros):
    (_, _, test), is_novel = zeros
    assert evaluation.auroc(is_novel, fitted[0][name].scores(test)["score"]) > 0.8


def test_all_share_one_autoencoder_and_count_its_seconds(fitted):
    detectors, cache = fitted
    assert len(list(cache.iterdir())) == 1 + len(NAMES)
    (seconds,) = {of.pretrained.seconds for of in detectors.values()}
    assert all(of.seconds > seconds for of in detectors.values())


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_one_result_whether_trained_or_cached(name, fitted, zeros):
    (train, val, test), _ = zeros
    detectors, cache = fitted
    first = detectors[name].scores(test)["score"]
    np.testing.assert_array_equal(detector(name).fit(train, val, 0, cache, False).scores(test)["score"], first)
    np.testing.assert_array_equal(detector(name).fit(train, val, 0, None, False).scores(test)["score"], first)
    assert not np.array_equal(detector(name).fit(train, val, 1, None, False).scores(test)["score"], first)


@pytest.mark.parametrize("name", NAMES[:3])
def test_the_loss_falls(name, fitted):
    history = fitted[0][name].history
    assert len(history) == BRIEF["epochs"]
    assert history[-1]["loss"] < history[0]["loss"]
    pretraining = fitted[0][name].pretrained.history
    assert pretraining[-1]["loss"] < 0.7 * pretraining[0]["loss"]


@pytest.mark.parametrize("name", NAMES[:2])
def test_no_biases_and_a_centre_away_from_zero(name, fitted, zeros):
    net = fitted[0][name].net
    assert not [key for key, _ in net.named_parameters() if "bias" in key]
    assert not [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d) and module.affine]
    assert (net.c.abs() >= 0.1 - 1e-7).all()
    codes = fitted[0][name].embed(zeros[0][0])
    assert codes.var(0).sum() > 1e-4  # they do not all lie at one point
    assert np.square(codes).sum(1).mean() > 0.5 * float(net.c.square().sum())  # nor at zero


def test_entries_of_the_centre_keep_their_sign():
    c = away_from_zero(torch.tensor([0.0, 0.05, -0.05, 0.3, -0.3]))
    torch.testing.assert_close(c, torch.tensor([0.1, 0.1, -0.1, 0.3, -0.3]))


def test_the_soft_boundary_leaves_nu_of_the_training_rows_outside(fitted, zeros):
    soft, hard = fitted[0]["deep-svdd-soft"], fitted[0]["deep-svdd"]
    train = zeros[0][0]
    assert abs((soft.scores(train)["score"] > 0).mean() - soft.nu) < 1.5 / len(train)
    assert soft.history[soft.warm_up - 2]["radius"] == 0 < soft.history[soft.warm_up - 1]["radius"]
    assert float(hard.net.r) == 0
    assert (hard.scores(train)["score"] >= 0).all()


def test_ocnns_threshold_is_the_nu_quantile(fitted, zeros):
    of, train = fitted[0]["oc-nn"], zeros[0][0]
    assert abs((of.scores(train)["score"] > 0).mean() - of.nu) < 1.5 / len(train)
    same = of.pretrained.net["encoder"].state_dict()
    assert all(torch.equal(value, same[key]) for key, value in of.net.encoder.state_dict().items())


def test_the_svm_is_scikit_learns(fitted, zeros):
    (train, _, test), _ = zeros
    of = fitted[0]["deep-ocsvm"]
    peer = OneClassSVM(nu=of.nu, gamma="scale").fit(of.embed(train))
    np.testing.assert_allclose(of.scores(test)["score"], -peer.decision_function(of.embed(test)), atol=1e-3)


def test_contrast_by_hand():
    contrast = Contrast()
    x = torch.tensor([[0.0, 0.0, 0.0, 4.0], [0.5, 0.5, 0.5, 0.5]]).view(2, 1, 2, 2)
    expected = torch.tensor([[-1.0, -1.0, -1.0, 3.0], [0.0] * 4]) * 2 / 3  # mean 1, L1 scale 1.5
    torch.testing.assert_close(contrast(x).view(2, 4), expected)
    contrast.fit(x)
    torch.testing.assert_close((contrast(x).min(), contrast(x).max()), (torch.tensor(0.0), torch.tensor(1.0)))


@pytest.mark.parametrize("shape", [(8, 8), (9, 13), (28, 28)])
def test_any_shape_comes_back(shape):
    of = ImageAutoencoder(image_shape=shape, epochs=1, batch=4, device="cpu")
    x = np.random.default_rng(0).uniform(size=(10, shape[0] * shape[1])).astype(np.float32)
    scores = of.fit(x, x, progress=False).scores(x)["recon"]
    assert scores.shape == (10,)
    assert of.net["decoder"](of.net["encoder"](torch.zeros(2, 1, *shape))).shape == (2, 1, *shape)


def test_open_doors_are_open_only_on_request(zeros):
    brief = DeepSVDD(image_shape=(8, 8), epochs=1, pretrain_epochs=1, biases=True, centre="zero", device="cpu")
    brief.fit(*zeros[0][:2], progress=False)
    assert (brief.net.c == 0).all()
    assert [key for key, _ in brief.net.named_parameters() if "bias" in key]
    assert not [key for key, _ in LeNet((8, 8), 32, False).named_parameters() if "bias" in key]


@pytest.mark.parametrize(
    ("of", "wrong", "says"),
    [
        (DeepSVDD, {"centre": "mean"}, "centre='mean' is unknown; allowed: codes, zero"),
        (OCNN, {"nu": 1.0}, "nu=1.0 must lie between 0 and 1"),
        (DeepOCSVM, {"batch": 1}, "batch=1 must be a whole number of at least 2"),
    ],
)
def test_options_that_cannot_be_used_are_named(of, wrong, says):
    with pytest.raises(ValueError, match=says):
        of(**wrong)
