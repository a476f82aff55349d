"""AnoGAN, f-AnoGAN and GPND with tiny networks on the digits of 8 × 8 pixels."""

import copy

import numpy as np
import pytest
import torch

from rapp import evaluation
from rapp.data import load
from rapp.detectors.f_anogan import FastAnoGAN
from rapp.detectors.gan import AnoGAN, Generator, Reader
from rapp.detectors.gpnd import GPND, _generalised_gaussian
from rapp.splits import split
from rappbook.chapters.measures import sharpness
from rappbook.figures import gans as figures

SIZE = {"width": 8, "latent": 8, "batch": 16, "lr": 1e-3}
SETTINGS = {
    AnoGAN: {**SIZE, "epochs": 25, "steps": 40, "search_lr": 0.1},
    FastAnoGAN: {**SIZE, "epochs": 30, "n_critic": 2, "encoder_epochs": 20, "encoder_lr": 1e-3},
    GPND: {**SIZE, "epochs": 15},
}
FLOORS = {AnoGAN: 0.9, FastAnoGAN: 0.9, GPND: 0.9}
BRIEF = {AnoGAN: {"steps": 5}, FastAnoGAN: {"encoder_epochs": 1}, GPND: {}}


@pytest.fixture(scope="module")
def zeros():
    """The digit 0 as the only normal class: training, validation and test rows, and which of the last are novel."""
    data = load("digits")
    rows = split(data.y, "0", "unimodal")
    return data.x[rows.train], data.x[rows.val], data.x[rows.test], rows.is_novel


@pytest.fixture(scope="module")
def fitted(zeros):
    train, validation, _, _ = zeros
    return {
        of: of(image_shape=(8, 8), device="cpu", **options).fit(train, validation, progress=False)
        for of, options in SETTINGS.items()
    }


def brief(of, **changes):
    options = {"epochs": 1, "width": 2, "latent": 4, "batch": 32, "lr": 1e-3, **BRIEF[of]}
    return of(image_shape=(8, 8), device="cpu", **(options | changes))


@pytest.mark.parametrize("of", FLOORS)
def test_it_tells_a_digit_from_the_others(of, fitted, zeros):
    _, _, test, is_novel = zeros
    scores = fitted[of].scores(test)
    assert next(iter(scores)) == "score"
    assert evaluation.auroc(is_novel, scores["score"]) > FLOORS[of]


@pytest.mark.parametrize("of", FLOORS)
def test_a_seed_gives_the_same_bits_with_and_without_the_cache(of, zeros, tmp_path):
    train, validation, test, _ = zeros
    runs = [brief(of).fit(train, validation, 3, cache, progress=False) for cache in (None, tmp_path, tmp_path)]
    expected, *others = [run.scores(test)["score"] for run in runs]
    assert all((scores == expected).all() for scores in others)
    assert (brief(of).fit(train, validation, 4, progress=False).scores(test)["score"] != expected).any()


@pytest.mark.parametrize("of", FLOORS)
def test_a_score_does_not_depend_on_the_images_beside_it(of, fitted, zeros):
    _, _, test, _ = zeros
    together, alone = (fitted[of].scores(rows)["score"] for rows in (test, test[3:5]))
    # Rounding grows on the way of a search: its absolute values have kinks.
    np.testing.assert_allclose(alone, together[3:5], rtol=1e-2 if of is AnoGAN else 1e-4)


def test_the_search_comes_closer_and_finds_each_image_a_place_of_its_own(fitted, zeros):
    _, validation, _, _ = zeros
    path = fitted[AnoGAN].path(validation[:6], [0, 10, 40])
    assert path.images.shape == (3, 6, 64)
    assert (path.images >= 0).all()
    assert (path.images <= 1).all()
    assert (path.scores[2] < path.scores[0]).all()
    assert path.scores[2].mean() < 0.9 * path.scores[0].mean()  # 0.77 here, and rounding moves it
    assert (path.images[0] == path.images[0, 0]).all()  # all start from one place
    assert np.unique(path.z.round(2), axis=0).shape == (6, 8)
    np.testing.assert_allclose(path.scores[2], fitted[AnoGAN].scores(validation[:6])["score"], rtol=1e-5)


def test_anogans_score_is_made_of_pixels_and_features(fitted, zeros):
    found = fitted[AnoGAN].scores(zeros[2][:5])
    np.testing.assert_allclose(found["score"], 0.9 * found["residual"] + 0.1 * found["features"], rtol=1e-5)
    path = fitted[AnoGAN].path(zeros[2][:5], [40])
    np.testing.assert_allclose(found["residual"], 2 * np.abs(zeros[2][:5] - path.images[0]).sum(1), rtol=1e-4)


def test_f_anogans_residual_is_that_of_its_reconstruction(fitted, zeros):
    detector, test = fitted[FastAnoGAN], zeros[2]
    error = 4 * np.square(test - detector.reconstruct(test)).mean(1)  # of images in [−1, 1]
    np.testing.assert_allclose(detector.scores(test)["residual"], error, rtol=1e-4)


def test_a_critic_of_slope_one_pays_no_penalty():
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
    with torch.no_grad():
        critic[1].weight.copy_(torch.full((1, 64), 3 / 8))  # slope 3
    real, made = torch.rand(2, 5, 1, 8, 8)
    penalty = brief(FastAnoGAN).gradient_penalty(critic, real, made)
    torch.testing.assert_close(penalty, torch.tensor(4.0))


def test_gpnds_jacobian_is_that_of_finite_differences(fitted):
    mine = fitted[GPND]
    net = copy.deepcopy(mine.net).double()
    z = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    j, step = mine.jacobian(net, z), 1e-6
    assert j.shape == (3, 64, 8)
    for i in range(8):
        e = torch.zeros(8, dtype=torch.float64)
        e[i] = step
        slope = (mine.decode(net, z + e) - mine.decode(net, z - e)) / (2 * step)
        torch.testing.assert_close(j[..., i], slope.detach(), rtol=1e-5, atol=1e-9)
    volume = torch.linalg.svdvals(j).log().sum(1)  # the product of the singular values
    torch.testing.assert_close(mine.log_volume(net, z), volume.detach(), rtol=1e-4, atol=1e-4)
    assert mine.history[-1]["reconstruction"] < mine.history[0]["reconstruction"]


def test_gpnds_density_of_a_linear_decoder_is_the_gaussians():
    """x = Wz plus something at right angles to W: the tangent part of −log p(x) is known."""
    mine = brief(GPND, latent=2)
    net = mine.build().eval()
    w = torch.linalg.qr(torch.randn(64, 2, generator=torch.Generator().manual_seed(0)))[0] * torch.tensor([2.0, 0.5])
    mine.decode = lambda net, z: z @ w.T
    net["encoder"] = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2, bias=True))
    with torch.no_grad():  # images arrive as 2x − 1
        net["encoder"][1].weight.copy_(torch.linalg.pinv(w) / 2)
        net["encoder"][1].bias.copy_(torch.linalg.pinv(w).sum(1) / 2)
        for name, value in {"shape": 2.0, "place": 0.0, "scale": np.sqrt(2)}.items():  # N(0, 1)
            getattr(net["densities"], name).fill_(value)
        net["densities"].distance.copy_(torch.tensor([0.0, 0.5]))
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    off = torch.linalg.svd(w, full_matrices=True)[0][:, 2]
    found = mine.measure(net, z @ w.T + 1.5 * off)
    tangent = (z.square() / 2 + np.log(2 * np.pi) / 2).sum(1) + np.log(2.0 * 0.5)
    torch.testing.assert_close(found["tangent"], tangent.double(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["residual"], torch.full((5,), 1.5), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("draws", ["normal", "laplace", "uniform"])
def test_the_codes_density_finds_the_shape(draws):
    values = getattr(np.random.default_rng(0), draws)(size=4000)
    shape, place, scale = _generalised_gaussian(values)
    expected = {"normal": (2, 0, np.sqrt(2)), "laplace": (1, 0, 1), "uniform": (20, 0.5, 0.5)}[draws]
    np.testing.assert_allclose([shape, place, scale], expected, atol=0.15, rtol=0.3)


def test_codes_that_do_not_vary_have_a_narrow_density():
    assert _generalised_gaussian(np.full(10, 3.0)) == (2.0, 3.0, 1e-6)


@pytest.mark.parametrize("shape", [(28, 28), (8, 8), (9, 13), (4, 6)])
def test_networks_fit_images_of_any_size(shape):
    made = Generator(shape, latent=5, width=2)(torch.randn(3, 5))
    assert made.shape == (3, 1, *shape)
    assert Reader(shape, width=2, outputs=7)(made).shape == (3, 7)


@pytest.mark.parametrize(
    ("of", "bad"),
    [(AnoGAN, {"width": 0}), (AnoGAN, {"steps": -1}), (FastAnoGAN, {"n_critic": 0}), (GPND, {"batch": 1})],
)
def test_settings_that_cannot_be_are_named(of, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        brief(of, **bad)


def test_images_that_are_too_small_are_refused(zeros):
    with pytest.raises(ValueError, match="4 × 4"):
        AnoGAN(image_shape=(2, 2)).fit(np.random.default_rng(0).random((9, 4)), np.zeros((3, 4)), progress=False)
    with pytest.raises(ValueError, match="latent=63"):
        brief(GPND, latent=63).fit(*zeros[:2], progress=False)


def test_blurred_images_are_less_sharp(zeros):
    blurred = (zeros[0].reshape(-1, 8, 8) + np.roll(zeros[0].reshape(-1, 8, 8), 1, axis=2)) / 2
    assert (sharpness(blurred.reshape(-1, 64), (8, 8)) < sharpness(zeros[0], (8, 8))).all()
    assert (sharpness(np.ones((2, 64)), (8, 8)) == 0).all()


def test_the_mean_of_two_images_costs_half_of_either():
    one, other = np.eye(2).repeat(8, axis=1)  # 8 pixels differ in one way, 8 in the other
    figure = figures.mean_of_two(one, other, (one + other) / 2, (4, 4))
    assert [ax.get_xlabel() for ax in figure.axes] == ["error 8.0", "error 8.0", "error 4.0"]


def test_the_balance_has_a_column_for_each_rate_and_a_line_for_each_run(fitted):
    runs = [fitted[AnoGAN].history] * 2
    figure = figures.balance({"slow": runs, "usual": runs, "fast": runs})
    assert [ax.get_title() for ax in figure.axes[:3]] == ["slow", "usual", "fast"]
    assert [len(ax.lines) for ax in figure.axes] == [4, 4, 4, 5, 5, 5]  # and the dotted one at one half
    assert [len(legend.get_texts()) for legend in figure.legends] == [2, 2]


def test_the_three_ways_differ_in_how_they_get_from_x_to_z():
    panels = figures.three_ways().axes
    words = {ax.get_title(): {text.get_text() for text in ax.texts} for ax in panels}
    assert "search" in words["AnoGAN"]
    assert {"$g$", "$G$"} <= words["f-AnoGAN"]
    assert "$f$" not in words["f-AnoGAN"]
    assert {"$g$", "$f$"} <= words["GPND"]
    assert not {"$f$", "$g$"} & words["AnoGAN"]
