import numpy as np
import pytest
import torch

from rapp import datasets, experiments, published
from rapp.experiments import Cell, ParameterError, layer_aurocs, made_with, rows_of, run_trial, run_trials, settings_for
from rapp.training import Settings

TINY = Settings(n_layers=2, bottleneck=2, samples=1, epochs=3, batch=16, threads=1, device="cpu")
TINY_VAE = Settings(model="vae", n_layers=2, bottleneck=2, samples=1, epochs=3, batch=16, threads=1, device="cpu")


def test_a_trial_scores_every_test_row_and_says_where_from(blobs):
    trial = run_trial(blobs, Cell(TINY, "1", seed=2), progress=False)
    assert {name: len(values) for name, values in trial.scores.items()} == dict.fromkeys(
        ("recon", "sap", "nap"), len(trial.split.test)
    )
    rows = trial.rows()
    assert rows["score"].tolist() == ["recon", "sap", "nap"]
    assert (
        (rows[["dataset", "setting", "target", "model", "seed"]] == ["blobs", "multimodal", "1", "ae", 2]).all().all()
    )
    assert rows["auroc"].between(0, 1).all()
    assert rows["n_train"].unique() == [240]
    assert dict(zip(rows["score"], rows["auroc"], strict=True)) == trial.aurocs()


def test_scores_do_not_depend_on_what_was_scored_before(blobs):
    trial = run_trial(blobs, Cell(TINY_VAE, "1"), progress=False)
    trial.scores_of("train")
    again = trial.scores_of("test")
    assert all(np.array_equal(again[name], trial.scores[name]) for name in again)


def test_side_by_side_is_as_one_by_one(blobs, monkeypatch, tmp_path):
    cells = [Cell(TINY, target, seed) for target in "01" for seed in (0, 1)]
    monkeypatch.setenv("RAPP_CACHE", str(tmp_path / "a"))
    together = rows_of(run_trials(blobs, cells))
    monkeypatch.setenv("RAPP_CACHE", str(tmp_path / "b"))
    alone = rows_of(run_trial(blobs, cell, progress=False) for cell in cells)
    assert together.drop(columns="seconds").equals(alone.drop(columns="seconds"))


def test_a_second_run_trains_nothing(blobs, monkeypatch, tmp_path):
    monkeypatch.setenv("RAPP_CACHE", str(tmp_path))
    cells = [Cell(TINY, "0", seed) for seed in (0, 1)]
    first = rows_of(run_trials(blobs, cells))
    monkeypatch.setattr(experiments.Run, "epoch", None)  # nothing here may train; workers would fill the cache unseen
    monkeypatch.setattr(experiments, "Parallel", None)
    assert rows_of(run_trials(blobs, cells)).equals(first)


def test_layer_aurocs_agree_with_the_whole_pathway(blobs):
    trial = run_trial(blobs, Cell(TINY, "2"), progress=False)
    table = layer_aurocs(trial).set_index(["score", "layers", "layer"])["auroc"]
    assert table["sap", "alone", 0] == pytest.approx(trial.aurocs()["recon"], abs=1e-6)
    for name in ("sap", "nap"):
        assert table[name, "up to", 2] == pytest.approx(trial.aurocs()[name], abs=1e-6)


def test_other_classes(blobs, monkeypatch):
    assert experiments.other_classes(blobs, "1") == ["0", "2"]
    assert experiments.other_classes(blobs, "1", "two one") == ["2"]
    monkeypatch.setattr(experiments, "SMALL", 10)
    assert experiments.other_classes(blobs, "0") == ["1", "2"]
    assert experiments.other_classes(blobs, "0", "all") == ["1", "2"]
    with pytest.raises(datasets.DataError, match="target 'ten'"):
        experiments.other_classes(blobs, "0", "ten")


def test_what_a_page_was_made_with(blobs):
    trial = run_trial(blobs, Cell(TINY, "2"), progress=False)
    table = made_with([trial], "tiny", 3.2).set_index("what")["value"]
    assert "blobs" in table["data set"]
    assert table["setting"] == "multimodal, target class two"
    assert table["epochs"] == "3"
    assert table["n_layers"] == "2 (the paper: 10)"
    assert table["precision"] == "float32"
    assert f"torch {torch.__version__.split('+')[0]}" in table["versions"]


def test_profiles_and_changes():
    assert settings_for("paper", "mnist-5k") == Settings(model="vae", epochs=200)
    quick = settings_for("quick", "mnist-5k", "ae")
    assert (quick.n_layers, quick.batch) == (5, 32)
    assert settings_for("quick", "mnist-5k", epochs=7, precision=None).epochs == 7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"profile": "fast"}, ["'fast'", "tiny, quick, paper"]),
        ({"epochs": -1}, ["epochs=-1"]),
        ({"epoch": 3}, ["'epoch'", "epochs"]),
        ({"seeds": 0}, ["seeds=0"]),
        ({"seeds": True}, ["seeds=True"]),
        ({"setting": "both"}, ["'both'", "multimodal, unimodal"]),
        ({"precision": "int8"}, ["'int8'", "float32"]),
        ({"device": "tpu"}, ["'tpu'", "cpu"]),
    ],
)
def test_wrong_parameters_are_named(change, words):
    right = {"dataset": "mnist-5k", "profile": "tiny", "target": 1, "seeds": 1}
    experiments.check(**right)
    with pytest.raises(ParameterError) as error:
        experiments.check(**{**right, **change})
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_wrong_target_is_named():
    with pytest.raises(datasets.DataError, match="target 11"):
        experiments.check("mnist-5k", "tiny", 11, 1)


def test_published_values_stand_beside_ours_with_the_difference(blobs):
    theirs = published.per_digit("mnist").query("target == '1' and source.str.contains('bars')")
    assert published.per_digit("fashion-mnist").empty
    ours = rows_of(run_trial(blobs, Cell(TINY_VAE, "1", seed), progress=False) for seed in (0, 1))
    table = published.beside(ours, theirs).set_index("score")
    mean = ours[ours["score"] == "nap"]["auroc"].mean()
    assert table.loc["NAP", "published"] == "0.905"
    assert table.loc["NAP", "difference"] == f"{mean - 0.905:+.3f}"
    assert table.loc["SAP", "difference"] == "–"
    assert table.loc["NAP", "seeds"] == 2


def test_the_claim_on_full_mnist(full_data):
    """A floor on real data: one VAE on 37,000 digits for 2 epochs already ranks "1" better along the pathway."""
    settings = settings_for("quick", "mnist", "vae", epochs=2, samples=1, device="cpu")
    aurocs = run_trial(datasets.load("mnist"), Cell(settings, "1"), progress=False).aurocs()
    assert aurocs["recon"] < 0.45
    assert aurocs["nap"] > aurocs["recon"] + 0.1
