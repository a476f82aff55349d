from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from rapp import evaluation
from rapp.config import TrainingConfig
from rapp.data import LOADERS
from rapp.experiment import Cell, run
from rapp.grid import cells
from rapp.pathway import Pathway, Whitening
from rapp.training import Run
from rappbook import ablations, published
from tests.conftest import SWAPS

TINY = TrainingConfig(
    model="vae", n_layers=3, bottleneck=2, samples=1, epochs=4, batch=16, threads=1, device="cpu", precision="float64"
)  # in which a model trained alone, as here, is the one of a stack
SCORES = ["recon", "sap", "nap"]


@pytest.fixture
def entry(blobs, monkeypatch):
    monkeypatch.setitem(LOADERS, "blobs", lambda _: blobs)
    cells.data_of.cache_clear()
    cells._checksum_of.cache_clear()
    return cells.GridCell("tiny", "blobs", Cell(TINY, "1"))


@pytest.fixture
def protocol(entry):
    """The rows of the protocol's run, by factor, value and score."""
    return (
        pd.DataFrame(ablations.run(entry, ablations.TRAINED[0]))
        .set_index(["factor", "value", "score"])["auroc"]
        .sort_index()
    )


def same(found, expected):
    assert found[SCORES].to_dict() == pytest.approx({name: expected[name] for name in SCORES}, abs=SWAPS)


def test_the_protocol_is_the_trial_that_others_train(entry, blobs, protocol):
    same(protocol[ablations.PROTOCOL], run(blobs, [entry.cell])[0].aurocs())
    for epochs in (1, 2):
        shorter = replace(entry.cell, config=replace(TINY, epochs=epochs))
        same(protocol["epochs", str(epochs)], run(blobs, [shorter])[0].aurocs())


def test_choices_of_scoring_are_those_of_the_pathway(entry, blobs, protocol):
    trial = run(blobs, [entry.cell])[0]
    every, whitening = range(TINY.n_layers + 1), Whitening()
    trial.detector.pathway(every, whitening).fit(trial.tensor("train"))
    # The next one's noise starts anew, as wherever a trial is scored.
    whole = trial.detector.pathway(every, whitening).score(trial.tensor("test"))
    found = protocol["input in the pathway", "yes"]
    assert found.to_dict() == pytest.approx(
        {name: evaluation.auroc(trial.split.is_novel, whole[name]) for name in ("sap", "nap")}, abs=SWAPS
    )
    model = trial.detector.trained.model
    of_mean = Pathway(model.encoder, model.decode).fit(trial.tensor("train")).score(trial.tensor("test"))
    same(
        protocol["reconstruction", "of μ alone"],
        {name: evaluation.auroc(trial.split.is_novel, of_mean[name]) for name in SCORES},
    )
    d = trial.detector.pathway().differences(trial.tensor("test"))[:, : -TINY.bottleneck]
    sap_of_mu = evaluation.auroc(trial.split.is_novel, d.square().sum(1))
    assert protocol["code in the pathway", "μ alone", "sap"] == pytest.approx(sap_of_mu, abs=SWAPS)
    assert ("rank cut", "none: every singular value", "nap") in protocol


def test_a_table_has_its_input_in_the_pathway_and_fewer_choices(entry, blobs, monkeypatch):
    table = replace(blobs, name="table", image_shape=None)
    monkeypatch.setitem(LOADERS, "table", lambda _: table)
    of_table = replace(entry, dataset="table")
    rows = pd.DataFrame(ablations.run(of_table, ablations.TRAINED[0]))
    found = rows.set_index(["factor", "value", "score"])["auroc"].sort_index()
    trial = run(table, [entry.cell])[0]
    layers, whitening = range(1, TINY.n_layers + 1), Whitening()
    trial.detector.pathway(layers, whitening).fit(trial.tensor("train"))
    hidden = trial.detector.pathway(layers, whitening).score(trial.tensor("test"))
    without = {name: evaluation.auroc(trial.split.is_novel, hidden[name]) for name in ("sap", "nap")}
    assert found["input in the pathway", "no"].to_dict() == pytest.approx(without, abs=SWAPS)
    same(found[ablations.PROTOCOL], trial.aurocs())
    left_out = {variant.factor for variant in ablations.TRAINED if not ablations._has(of_table, variant)}
    assert left_out == {"Adam of the AAE's generator", "bottleneck", "pixels"}


def test_a_variant_with_other_pixels_is_scored(blobs, monkeypatch):
    low = blobs.x.min()
    images = replace(
        blobs, x=((blobs.x - low) / (blobs.x.max() - low)).astype(np.float32), image_shape=(1, blobs.x.shape[1])
    )
    monkeypatch.setitem(LOADERS, "blobs", lambda _: images)
    cells.data_of.cache_clear()
    (pixels,) = (variant for variant in ablations.TRAINED if variant.factor == "pixels")
    rows = pd.DataFrame(ablations.run(cells.GridCell("tiny", "blobs", Cell(TINY, "1")), pixels))
    cells.data_of.cache_clear()
    assert set(rows["score"]) == set(SCORES)
    assert rows["auroc"].between(0, 1).all()


@pytest.fixture
def changed(entry, monkeypatch):
    """Each variant's run as it stands before its first epoch, by what is changed."""
    runs = []

    def first(run):
        runs.append(run)
        raise InterruptedError

    monkeypatch.setattr(Run, "epoch", first)
    aae = replace(entry, cell=replace(entry.cell, config=replace(TINY, model="aae")))
    for variant in ablations.TRAINED:
        with pytest.raises(InterruptedError):
            next(ablations.run(entry if "vae" in variant.models else aae, variant))
    return {variant.factor + variant.value: run for variant, run in zip(ablations.TRAINED, runs, strict=True)}


def test_each_variant_changes_what_it_says_and_nothing_else(changed):
    base = changed["protocol" + "as it is"]
    kinds = [type(part) for part in changed["order in a layerbatch norm, then LeakyReLU"].model.encoder[0]]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU]
    assert [type(part) for part in base.model.encoder[0]] == [nn.Linear, nn.LeakyReLU, nn.BatchNorm1d]
    slopes = [
        m.negative_slope for m in changed["slope of LeakyReLU0.01"].model.modules() if isinstance(m, nn.LeakyReLU)
    ]
    assert slopes == [0.01] * 4
    assert [changed[f"learning rate{lr}"].adams["encoder"].defaults["lr"] for lr in (0.0003, 0.003)] == [0.0003, 0.003]
    assert changed["bottleneck100"].model.bottleneck == 100
    torch.testing.assert_close(changed["pixelsfrom −1 to 1"].x_train, 2 * base.x_train - 1)
    of_aae = changed.pop("Adam of the AAE's generatorone of its own")
    of_aae.step(*of_aae.draw())
    steps = {part: {int(m["step"]) for m in adam.state.values()} for part, adam in of_aae.adams.items()}
    assert steps == {"encoder": {1}, "decoder": {1}, "discriminator": {1}, "generator": {1}}
    base_rows = base.draw()[0]
    for name, one in changed.items():
        if name != "bottleneck100":
            assert torch.equal(one.model.encoder[0][0].weight, base.model.encoder[0][0].weight), name
        if not name.startswith("pixels") and one is not base:
            assert torch.equal(one.draw()[0], base_rows), name


def test_runs_are_kept_resumed_and_never_taken_for_cells(entry, tmp_path, monkeypatch, capsys):
    of_two = ablations.TRAINED[:2]
    monkeypatch.setattr(ablations, "TRAINED", of_two[:1])
    ablations.fill([entry], tmp_path)
    monkeypatch.setattr(ablations, "TRAINED", of_two)
    ablations.fill([entry], tmp_path)
    assert "1 of 2 runs to train" in capsys.readouterr().err
    rows = ablations.collect(tmp_path)
    assert set(rows["factor"]) == {
        "protocol", "order in a layer", "epochs", "input in the pathway", "rank cut", "code in the pathway",
        "reconstruction",
    }  # fmt: skip
    assert cells.collect(tmp_path).empty
    monkeypatch.setattr(published, "BOOK", tmp_path)
    assert published.publish_ablations(rows) == [tmp_path / "results" / "ablations" / "blobs.csv"]
    published.publish_ablations(rows[rows["factor"] == "epochs"].assign(auroc=0.5))
    again = published.ablations("blobs")
    assert len(again) == len(rows)
    assert set(again.loc[again["factor"] == "epochs", "auroc"]) == {0.5}
    assert "blobs.csv" not in [path.name for path in (tmp_path / "results").glob("*.csv")]


def test_a_damaged_run_is_made_again(entry, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ablations, "TRAINED", ablations.TRAINED[1:2])
    ablations.fill([entry], tmp_path)
    (path,) = tmp_path.rglob("*.ablation")
    path.write_text(path.read_text().replace("auroc", "aurco", 1))
    ablations.fill([entry], tmp_path)
    assert "is damaged" in capsys.readouterr().err
    assert len(ablations.collect(tmp_path)) == 3


def test_a_run_that_raises_is_told_and_the_others_go_on(entry, tmp_path, monkeypatch, capsys):
    def fail(x):
        raise ArithmeticError("made to fail")

    broken = ablations.Variant("pixels", "broken", pixels=fail)
    monkeypatch.setattr(ablations, "TRAINED", (broken, *ablations.TRAINED[1:2]))
    monkeypatch.setattr(ablations.cli, "grid_cells", lambda _: [entry])
    assert ablations.main(["--dataset", "blobs", "--out", str(tmp_path)]) == 1
    *_, first, second = capsys.readouterr().err.splitlines()
    assert first == "1 runs failed; the same command tries them again:"
    assert second == "  blobs multimodal vae target 1 seed 0, pixels broken: ArithmeticError: made to fail"
    assert len(ablations.collect(tmp_path)) == 3


def test_the_table_holds_paired_differences():
    def row(factor, value, target, auroc, model="ae"):
        about = {"profile": "paper", "changes": "", "dataset": "d", "setting": "multimodal", "seed": 0, "score": "nap"}
        about["contamination"] = 0.0
        return about | {"factor": factor, "value": value, "target": target, "auroc": auroc, "model": model}

    rows = pd.DataFrame(
        [
            row(*ablations.PROTOCOL, "1", 0.5),
            row(*ablations.PROTOCOL, "2", 0.9),
            row("slope", "0.01", "1", 0.6),
            row("slope", "0.01", "2", 0.8),
            row(*ablations.PROTOCOL, "1", 0.3, "vae"),
        ]
    )
    table = ablations.table(rows)
    assert table.to_dict("list") == {
        "choice": ["protocol", "slope"],
        "value": ["as it is", "0.01"],
        "AE NAP": ["0.700", f"+0.000 ± {np.std([0.1, -0.1], ddof=1):.3f}"],
        "VAE NAP": ["0.300", ""],
    }
    assert ablations.table(rows, "1")["AE NAP"].tolist() == ["0.500", "+0.100"]
    assert ablations.table(rows[rows["factor"] == "slope"]).empty


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--dataset mnist-5k --model pca", "only autoencoders have variants"),
        ("--dataset mnist-5k --model ae --workers 0", "workers=0"),
        ("--dataset mnist-5k --model ae --target 11", "11"),
        ("--dataset mnist-5k --model ae --params epochs=-1", "epochs=-1"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(words, named, tmp_path, capsys):
    assert ablations.main(["--profile", "tiny", "--out", str(tmp_path), *words.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
    assert not list(tmp_path.iterdir())
