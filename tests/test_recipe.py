"""Training gives the numbers that its recipe stands for. If one of these tests fails and nothing is wrong, the same
seed gives another model than before: raise the recipe (``training.RECIPE``, or the detector's) and renew the number
here, so that rows and cached models of before are not taken for ones of now."""

import numpy as np
import pytest
import torch

from rapp import detectors, training
from rapp.config import TrainingConfig
from rapp.detectors.base import Deep
from rapp.detectors.linear import LinearAutoencoder
from rapp.stacks import train_stack

# (recipe, model, layers) → validation error after two epochs, in float64, alone and in a stack. Alone and stacked
# differ by up to 1.5e-6, and noise is drawn in float32 and so may differ in its last digits. Changes of training moved
# the numbers by more than 1e-5: 5 % more learning rate by 2e-3, batches in sorted order by 1e-4, a sign turned in the
# AAE's discriminator by 5e-5.
ERRORS = {
    (1, "ae", "paper"): 9.671971186,
    (1, "ae", "reimplementation"): 10.6940469,
    (1, "vae", "paper"): 10.55130444,
    (1, "vae", "reimplementation"): 10.56805,
    (1, "aae", "paper"): 9.525196868,
    (1, "aae", "reimplementation"): 10.43302651,
}
# (recipe, name) → mean of the detector's own score, in float32 after a few steps. GPND's own rests on a density whose
# fit ends in one of two optima, by rounding (979 with AVX-512, 1126 without); its residual is the same to 2e-4.
SCORES = {
    (1, "linear-ae"): 134.901,
    (1, "geom"): -422.303,
    (1, "geom-8"): -8.53635,
    (1, "deep-svdd"): 0.134326,
    (1, "deep-svdd-soft"): -0.03795,
    (1, "oc-nn"): -0.029221,
    (1, "deep-ocsvm"): -0.118454,
    (1, "anogan"): 459.768,
    (1, "f-anogan"): 0.550187,
    (1, "gpnd"): 10.3314,
}


def rows(n, n_features):
    """Numbers between 0 and 1 that no random generator has a part in."""
    grid = np.arange(n)[:, None] * np.arange(1, n_features + 1)
    return (0.5 + 0.5 * np.sin(0.37 * grid + 0.001 * grid**2 % 7)).astype(np.float32)


X = torch.from_numpy(rows(100, 24))
DEEP = [name for name, known in detectors.DETECTORS.items() if issubclass(known.detector, Deep)]


@pytest.mark.parametrize("layers", ["paper", "reimplementation"])
@pytest.mark.parametrize("model", ["ae", "vae", "aae"])
def test_an_autoencoder_is_what_its_recipe_made(model, layers):
    config = TrainingConfig(model, 3, 4, None, layers, 2, 2, 16, precision="float64", threads=1, device="cpu")
    for stack in (1, 8):
        (trained,) = train_stack([(X[:80], X[80:], 7)], config, progress=False, fill=stack)
        expected = ERRORS[training.RECIPE, model, layers]
        assert trained.history[-1]["val_error"] == pytest.approx(expected, rel=1e-5), "see the top of this file"


@pytest.mark.parametrize("name", DEEP)
def test_a_deep_detector_is_what_its_recipe_made(name):
    detector = detectors.build(detectors.options(name, "tiny"), (28, 28))
    x = rows(64, 784)
    scores = detector.fit(x[:48], x[48:], seed=7, progress=False).scores(x[48:])
    score = scores["residual" if name == "gpnd" else next(iter(scores))].mean()
    assert score == pytest.approx(SCORES[detector.RECIPE, name], rel=1e-2), "see the top of this file"


def test_a_cached_detector_of_another_recipe_is_trained_anew(tmp_path, monkeypatch):
    x = rows(64, 784)
    for recipe in (1, 2):
        monkeypatch.setattr(LinearAutoencoder, "RECIPE", recipe)
        detector = detectors.build(detectors.options("linear-ae", "tiny"), (28, 28))
        detector.fit(x[:48], x[48:], seed=7, cache=tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 2
