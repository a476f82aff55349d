import numpy as np
import pytest
import torch

from rapp.config import TrainingConfig
from rapp.experiment import Cell, run
from rappbook.chapters import energy, whitenings, why_nap_works
from tests.conftest import SWAPS

TINY = TrainingConfig(model="vae", n_layers=2, bottleneck=2, samples=1, epochs=3, batch=16, threads=1, device="cpu")


def test_in_double_changes_precision_alone(blobs):
    trial = run(blobs, [Cell(TINY, "1")])[0]
    double = why_nap_works.in_double(trial)
    d, single = (t.detector.pathway().differences(t.tensor("test")) for t in (double, trial))
    assert d.dtype == torch.float64
    np.testing.assert_allclose(d, single, atol=1e-4)
    assert trial.detector.trained.model is not double.detector.trained.model
    assert next(trial.detector.trained.model.parameters()).dtype == torch.float32


@pytest.fixture
def trial(blobs):
    return run(blobs, [Cell(TINY, "1")])[0]


def test_the_sweep_reaches_nap_where_all_independent_directions_are_kept(trial):
    table = why_nap_works.whitening_sweep(
        trial, *(why_nap_works.differences(trial, p) for p in ("train", "test")), [12, 10**6]
    )
    all_rows = len(trial.split.train)
    assert sorted(table["rows"].unique()) == [12, all_rows]
    of = table[table["rows"] == all_rows].set_index("way")["auroc"]
    assert of["rank"] == of["directions"].iloc[-1] == pytest.approx(trial.aurocs()["nap"], abs=SWAPS)
    assert set(of.index) == {"directions", "rank", "smallest half", "plain", "shrinkage", "chosen"}
    assert table.query("rows == 12 and way == 'rank'")["value"].item() == 10  # of 14 units, 4 are of the linear layer


def test_the_last_layer_adds_no_independent_direction(trial):
    assert why_nap_works.independent(trial, 10**6) == trial.detector.whitening.rank
    assert why_nap_works.independent(trial, 5) == 4


def test_energy_has_a_line_for_each_network_and_novel_class(blobs):
    trials = run(blobs, [Cell(TINY, "1"), Cell(TINY, "1", 1), Cell(TINY, "2")])
    table = energy.table(trials)
    assert table[["network", "novel class"]].to_numpy().tolist() == [["VAE", "1"], ["VAE", "2"]]
    assert [" ± " in text for text in table["error ‖x − x̂‖²"]] == [True, False]
    assert table["error ‖x − x̂‖²"][1] == f"**{trials[2].aurocs()['recon']:.3f}**"


def test_training_rows_have_energy_one(trial):
    d = why_nap_works.differences(trial, "train")
    halves = why_nap_works.energies(whitenings.decompose(d), d, np.arange(len(d)) % 2 == 0, 10, blocks=2)
    assert halves.groupby("direction")["energy"].mean().tolist() == pytest.approx([1, 1], rel=1e-3)
    assert halves["direction"].tolist() == [3, 3, 8, 8]


def test_a_batch_that_whitens_itself_has_no_ranking_if_it_is_small(trial):
    table = why_nap_works.refitted(trial, why_nap_works.differences(trial, "test"), 8, [0.35, 0.1]).set_index(
        ["share", "fitted"]
    )["auroc"]
    assert len(table) == 6
    assert (table[:, "batch, rank"] - 0.5).abs().max() < 0.05  # batches of 7 and 8 rows: 6/7 and 7/8, at random
    assert table[0.35, "training rows"] == pytest.approx(trial.aurocs()["nap"])
    assert 0 <= table[0.1, "batch, shrunk"] <= 1
