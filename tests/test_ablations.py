from dataclasses import replace

import numpy as np
import pytest
import torch

from rapp import ablations
from rapp.experiments import Cell, run_trial
from rapp.settings import Settings

TINY = Settings(model="vae", n_layers=2, bottleneck=2, samples=1, epochs=3, batch=16, threads=1, device="cpu")


def test_over_epochs_is_the_run_that_a_trial_makes(blobs):
    trial = run_trial(blobs, Cell(TINY, "1"))
    best = trial.trained.best_epoch
    table = ablations.over_epochs(blobs, Cell(TINY, "1"), at={best, 4})
    assert sorted(table["epoch"].unique()) == sorted({best, 4})
    at_best = table[table["epoch"] == best]
    assert dict(zip(at_best["score"], at_best["auroc"], strict=True)) == pytest.approx(trial.aurocs())
    assert at_best["val_error"].unique() == [trial.trained.history[best - 1]["val_error"]]


def test_in_double_changes_precision_alone(blobs):
    trial = run_trial(blobs, Cell(TINY, "1"))
    double = ablations.in_double(trial)
    d, single = (t.pathway().differences(t.x("test")) for t in (double, trial))
    assert d.dtype == torch.float64
    np.testing.assert_allclose(d, single, atol=1e-4)
    assert trial.trained.model is not double.trained.model
    assert next(trial.trained.model.parameters()).dtype == torch.float32


def test_over_epochs_asks_for_no_epochs_of_the_settings(blobs):
    one = ablations.over_epochs(blobs, Cell(TINY, "1"), at=[2])
    other = ablations.over_epochs(blobs, Cell(replace(TINY, epochs=9), "1"), at=[2])
    assert one.equals(other)
