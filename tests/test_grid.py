import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from rapp import cache, cli, stacks
from rapp.config import ParameterError, TrainingConfig, parse
from rapp.data import LOADERS
from rapp.data.images import CHECKSUMS
from rapp.detectors.autoencoder import PathwayDetector
from rapp.experiment import Cell, Trial, run
from rapp.grid import cells, runner
from rapp.stacks import Stack

TINY = TrainingConfig(n_layers=2, bottleneck=2, samples=1, epochs=3, batch=16, threads=1, device="cpu")


@pytest.fixture
def entries(blobs, monkeypatch):
    """Two classes by two seeds of the blobs, as a grid finds them by name."""
    monkeypatch.setitem(LOADERS, "blobs", lambda _: blobs)
    cells.data_of.cache_clear()
    cells._checksum_of.cache_clear()
    return [cells.GridCell("tiny", "blobs", Cell(TINY, target, seed)) for target in "01" for seed in (0, 1)]


def test_a_grid_has_a_row_per_cell_and_score_and_a_second_run_does_nothing(entries, blobs, tmp_path, monkeypatch):
    assert runner.run(entries, tmp_path) == []
    rows = cells.collect(tmp_path)
    assert len(rows) == 12
    assert tuple(rows.columns) == cells.COLUMNS
    assert not list((tmp_path / ".checkpoints").iterdir())
    alone = run(blobs, [Cell(TINY, "1", 1)])[0].aurocs()  # in a stack of copies: no rounding depends on others
    mine = rows[(rows["target"] == "1") & (rows["seed"] == 1)].set_index("score")["auroc"]
    assert {name: pytest.approx(value, abs=1e-6) for name, value in alone.items()} == mine.to_dict()
    monkeypatch.setattr(runner, "run_cells", None)
    assert runner.run(entries, tmp_path) == []
    assert cells.collect(tmp_path).equals(rows)


def test_cells_of_other_data_are_made_again(entries, blobs, tmp_path, monkeypatch, capsys):
    runner.run(entries[:1], tmp_path)
    monkeypatch.setitem(CHECKSUMS, "blobs", "1" * 64)
    cells._checksum_of.cache_clear()
    runner.run(entries[:1], tmp_path)
    assert "1 cells, 0 of them done" in capsys.readouterr().err.splitlines()[-1]
    assert cells.collect(tmp_path)["data_sha256"].unique() == ["1" * 64]


def test_cells_of_another_recipe_are_made_again(entries, tmp_path, monkeypatch, capsys):
    runner.run(entries[:1], tmp_path)
    monkeypatch.setattr(PathwayDetector, "RECIPE", 2)
    runner.run(entries[:1], tmp_path)
    assert "1 cells, 0 of them done" in capsys.readouterr().err.splitlines()[-1]
    assert set(cells.collect(tmp_path)["recipe"]) == {2}


def test_force_does_finished_cells_again(entries, tmp_path, monkeypatch):
    runner.run(entries[:1], tmp_path)
    steps, epoch = [], Stack.epoch
    monkeypatch.setattr(Stack, "epoch", lambda self: steps.append(1) or epoch(self))
    runner.run(entries[:1], tmp_path, force=True)
    assert len(steps) == TINY.epochs


def test_scores_that_are_asked_for_later_are_made_and_of_two_files_the_newest_counts(entries, tmp_path):
    runner.run(entries[:1], tmp_path)
    assert list(cells.kept_scores(tmp_path)) == []
    asked = replace(entries[0], keeps_scores=True)
    runner.run([asked], tmp_path)
    ((name, text),) = cells.kept_scores(tmp_path)
    assert name == asked.id
    longer = replace(asked, cell=replace(asked.cell, config=replace(asked.cell.config, epochs=4)))  # the same id
    runner.run([longer], tmp_path / "b")
    path = tmp_path / "b" / longer.file
    for file, seconds in ((tmp_path / asked.file, 10), (path, 20)):
        os.utime(file, (seconds, seconds))
    shutil.copytree(tmp_path / "b", tmp_path / "c")
    moved = (tmp_path / asked.file).with_name(path.name)
    shutil.copy2(path, moved)
    assert set(cells.collect(tmp_path / "tiny")["epochs"]) == {4}
    os.utime(moved, (5, 5))
    assert set(cells.collect(tmp_path / "tiny")["epochs"]) == {TINY.epochs}
    assert list(cells.kept_scores(tmp_path / "tiny")) == [(name, text)]


def test_a_tuple_is_one_word_of_an_id(entries):
    cell = replace(entries[0], changes=(("hidden", (32, 16)), ("epochs", 3)))
    words = cell.label.partition(" ")[2]
    assert parse(words) == dict(cell.changes)


def test_a_cell_that_raises_is_recorded_and_the_others_go_on(entries, tmp_path, monkeypatch, capsys):
    score_test = Trial.score_test

    def broken(trial):
        if trial.cell.target == "1" and trial.cell.seed == 0:
            raise ArithmeticError("made to fail")
        return score_test(trial)

    monkeypatch.setattr(Trial, "score_test", broken)
    failed = runner.run(entries, tmp_path)
    assert [(str(entry), error) for entry, error in failed] == [
        ("blobs multimodal ae target 1 seed 0", "ArithmeticError: made to fail")
    ]
    assert len(cells.collect(tmp_path)) == 9
    assert json.loads((tmp_path / failed[0][0].file).read_text())["result"] == {
        "error": "ArithmeticError: made to fail"
    }
    monkeypatch.setattr(cells, "plan", lambda *_, **__: entries)
    assert cli.main(["run", "--dataset", "blobs", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "  blobs multimodal ae target 1 seed 0: ArithmeticError: made to fail"
    monkeypatch.setattr(Trial, "score_test", score_test)
    assert runner.run(entries, tmp_path) == []  # what failed is tried again
    assert len(cells.collect(tmp_path)) == 12


@pytest.mark.parametrize("damage", [lambda t: t[: len(t) // 2], lambda t: t.replace("0.", "0.9", 1), lambda t: "[]"])
def test_a_damaged_cell_file_is_named_set_aside_and_made_again(entries, tmp_path, capsys, damage):
    runner.run(entries[:1], tmp_path)
    path = tmp_path / entries[0].file
    whole = cells.collect(tmp_path)
    path.write_text(damage(path.read_text()))
    runner.run(entries[:1], tmp_path)
    assert f"{path} is damaged" in capsys.readouterr().err
    assert path.with_name(path.name + ".damaged").exists()
    assert (
        cells.collect(tmp_path)
        .drop(columns=["seconds", "seconds_per_1000"])
        .equals(whole.drop(columns=["seconds", "seconds_per_1000"]))
    )


def test_a_full_disk_is_told_in_one_line_and_finished_cells_stay(entries, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stacks, "NARROW", 0)
    write, written = cache.write_text, []

    def full(path, text):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)
        write(path, text)

    monkeypatch.setattr(cells, "write_text", full)
    monkeypatch.setattr(cells, "plan", lambda *_, **__: entries)
    assert cli.main(["run", "--dataset", "blobs", "--out", str(tmp_path)]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: [Errno 28] No space left on device")
    assert len(cells.collect(tmp_path)) == 6


def test_rows_from_two_machines_merge(entries, tmp_path):
    runner.run(entries[:3], tmp_path / "a")
    runner.run(entries[2:], tmp_path / "b")
    both = cells.collect(tmp_path / "a", tmp_path / "b")
    assert both.groupby(["target", "seed"]).size().tolist() == [3, 3, 3, 3]


SLEEPY = """
import sys
from pathlib import Path
from rapp import cli
sys.exit(cli.main(["run", "--profile", "tiny", "--dataset", "digits", "--target", "0", "1", "--model", "ae",
                   "--seeds", "2", "--params", "epochs=%d", "--out", sys.argv[1]]))
"""


WAITS = """
import time
from rapp import stacks
from rapp.training import Run
stacks.STACK, epoch = 1, Run.epoch
def wait(run):
    if list(Path(sys.argv[1]).rglob("*.json")):
        time.sleep(3600)
    epoch(run)
Run.epoch = wait
"""


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_where_it_was(tmp_path):
    """kill -9 after the first of four results: what is finished is not touched again.

    The child waits in the second cell's training, so that it cannot be done before a busy machine lets us kill it.
    """
    command = [sys.executable, "-c", SLEEPY % 4, str(tmp_path)]
    script = command[2].replace("from rapp import cli\n", "from rapp import cli\n" + WAITS)
    process = subprocess.Popen([*command[:2], script, command[3]], stderr=subprocess.DEVNULL)
    while not list(tmp_path.rglob("*.json")) and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    assert len(before) == 1
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"4 cells, {len(before)} of them done" in again.stderr
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert len(cells.collect(tmp_path)) == 12


@pytest.mark.slow
def test_two_runs_into_one_folder_the_second_waits_and_does_nothing_twice(tmp_path):
    command = [sys.executable, "-c", SLEEPY % 4, str(tmp_path)]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sum("another run is at work" in text for text in said) <= 1
    assert sorted("4 cells, 4 of them done" in text for text in said) == [False, True]
    assert len(cells.collect(tmp_path)) == 12


WITHOUT = """
import sys
for name in ("papermill", "mlxtend", "dask", "distributed", "torchvision", "matplotlib", "seaborn", "safetensors",
             "filelock", "yaml", "nbformat"):
    sys.modules[name] = None
from rapp import cli
sys.exit(cli.main(["run", "--profile", "tiny", "--dataset", "digits", "--target", "1", "--out", sys.argv[1]]))
"""


@pytest.mark.slow
def test_it_runs_where_only_torch_scikit_learn_pandas_and_tqdm_are_installed(tmp_path):
    result = subprocess.run([sys.executable, "-c", WITHOUT, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "safetensors is not installed" in result.stderr
    assert len(cells.collect(tmp_path)) == 9


def _cluster():
    pytest.importorskip("dask.distributed", reason="Dask is not installed")


@pytest.mark.slow
def test_a_local_cluster_gives_the_same_rows(tmp_path):
    _cluster()
    words = ["run", "--profile", "tiny", "--dataset", "digits", "--target", "0", "1", "--model", "ae", "--out"]
    assert cli.main([*words, str(tmp_path / "alone")]) == 0
    assert cli.main([*words, str(tmp_path / "dask"), "--workers", "2"]) == 0
    alone, dask = (
        cells.collect(tmp_path / name).drop(columns=["seconds", "seconds_per_1000"]) for name in ("alone", "dask")
    )
    assert dask.equals(alone)


def _die_once(entries, checkpoints):
    marker = checkpoints.parent / "died"
    if multiprocessing.current_process().name != "MainProcess" and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return _run_unit(entries, checkpoints)


_run_unit = runner.run_unit


@pytest.mark.slow
def test_a_lost_worker_loses_nothing_and_nothing_is_done_twice(tmp_path, monkeypatch):
    _cluster()
    monkeypatch.setattr(runner, "run_unit", _die_once)
    monkeypatch.setattr(stacks, "STACK", 1)
    entries = cells.plan("tiny", ["digits"], ["multimodal"], ["ae"], 3, ["1"])
    written, write = [], cache.write_text
    monkeypatch.setattr(cells, "write_text", lambda path, text: written.append(path) or write(path, text))
    assert runner.run(entries, tmp_path, workers=2) == []
    assert (tmp_path / "died").exists()
    assert sorted(written) == sorted(tmp_path / entry.file for entry in entries)


def test_plan_refuses_what_is_not_there_and_knows_fixed_normal_classes(blobs, monkeypatch, capsys):
    fixed = replace(blobs, y=np.where(blobs.y == "0", "0", "1"), classes=("0", "1"), class_names=("a", "b"), normal="0")
    monkeypatch.setitem(LOADERS, "fixed", lambda _: fixed)
    entries = cells.plan("paper", ["fixed"], ["multimodal", "unimodal"], ["ae", "vae"], 2)
    assert [(e.cell.setting, e.cell.target, e.cell.config.model, e.cell.seed) for e in entries] == [
        ("unimodal", "0", "ae", 0), ("unimodal", "0", "ae", 1), ("unimodal", "0", "vae", 0), ("unimodal", "0", "vae", 1)
    ]  # fmt: skip
    assert "fixed has a fixed normal class, '0': no multimodal cells" in capsys.readouterr().err
    for words, named in (
        (["--dataset", "nothing"], "'nothing'"),
        (["--dataset", "digits", "--target", "11"], "'11'"),
        (["--dataset", "digits", "--setting", "bimodal"], "'bimodal'"),
        (["--dataset", "digits", "--model", "gan"], "'gan'"),
        (["--dataset", "digits", "--seeds", "0"], "seeds=0"),
        (["--dataset", "digits", "--profile", "slow"], "'slow'"),
        (["--dataset", "digits", "--params", "epochs=-1"], "epochs=-1"),
        (["--dataset", "digits", "--workers", "-1"], "workers=-1"),
        (["--dataset", "digits", "--out", __file__], f"out={__file__}"),
        (["--dataset", "digits", "--params", "seeds=3"], "'seeds'"),
        (["--dataset", "digits", "--params", "model=vae"], "'model'"),
        (["--dataset", "digits", "--params", "name=1"], "'name'"),
        (["--dataset", "digits", "--params", "hidden=5"], "hidden=5"),
        (["--dataset", "digits", "--params", "hidden=[32,16]"], "hidden=[32, 16]"),
        (["--dataset", "digits", "--model", "deep-svdd", "--params", "lr=fast"], "lr='fast'"),
        (["--dataset", "digits", "--model", "anogan", "--params", "search_lr=abc"], "search_lr='abc'"),
        (["--dataset", "digits", "--model", "pca", "--params", "n_components=0"], "n_components=0"),
        (["--dataset", "digits", "--contamination", "0", "0.9"], "novel rows"),
        (["--dataset", "fixed", "--setting", "unimodal", "--target", "nonsense"], "'nonsense'"),
    ):
        assert cli.main(["run", *words]) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1, said
        assert said[0].startswith("error: ")
        assert named in said[0]
    with pytest.raises(ParameterError):
        cells.plan("paper", ["digits"], ["unimodal"], ["ae"], 1, batch=1)
    with pytest.raises(ParameterError, match="setting=multimodal leaves no cell of fixed; say unimodal"):
        cells.plan("paper", ["fixed"], ["multimodal"], ["ae"], 1)


def test_cells_that_differ_in_epochs_alone_are_one_run(entries, tmp_path, monkeypatch):
    cell = entries[0].cell
    short = [
        replace(entries[0], changes=(("epochs", n),), cell=replace(cell, config=replace(cell.config, epochs=n)))
        for n in (1, 2)
    ]
    assert runner.run(short, tmp_path / "apart") == []
    trained, init = [], cells.record
    monkeypatch.setattr(cells, "record", lambda entry, trial: trained.append(entry) or init(entry, trial))
    units = runner._units([short[0], entries[0], short[1], entries[1]])
    assert [sorted(entry.cell.config.epochs for entry in unit) for unit in units] == [[1, 2, 3, 3]]
    assert runner.run([*short, *entries[:2]], tmp_path / "together") == []
    assert len(trained) == 4
    apart, together = (cells.collect(tmp_path / name) for name in ("apart", "together"))
    for changes in ("epochs=1", "epochs=2"):
        one, other = (rows[rows["changes"] == changes]["auroc"].tolist() for rows in (apart, together))
        assert one == other
    assert together["val_error"].notna().all()
    assert set(together["stack"]) == {8}


def test_the_most_needed_train_first_and_blocks_share_no_stack(entries):
    later = [replace(entry, block=2) for entry in entries[2:]]
    units = runner._units([*later, *entries[:2]])
    assert units == [later, entries[:2]]


def test_settings_that_differ_are_other_cells(entries):
    cell = entries[0].cell
    other = replace(entries[0], cell=replace(cell, config=replace(cell.config, epochs=4)))
    elsewhere = replace(entries[0], cell=replace(cell, config=replace(cell.config, device="auto", threads=2)))
    assert other.file != entries[0].file
    assert elsewhere.file == entries[0].file
    changes = {"target": "2", "seed": 5, "setting": "unimodal", "novelty_ratio": 0.2, "contamination": 0.1}
    for name, value in changes.items():
        assert replace(entries[0], cell=replace(cell, **{name: value})).file != entries[0].file, name


def test_what_the_grid_cannot_run_is_refused_in_one_line(capsys):
    for words, says in {
        ("--model", "geam"): "model 'geam' is unknown; allowed: ae, vae, aae, pca",
        ("--model", "pca", "--contamination", "1.5"): "contamination=1.5 must be at least 0 and below 1",
        ("--model", "pca", "--profile", "fast"): "profile 'fast' is unknown; allowed: tiny, quick, paper",
        ("--model", "pca", "--params", "wings=2"): "pca has no parameter 'wings'; allowed: n_components",
    }.items():
        assert cli.main(["run", "--dataset", "digits", *words]) == 2
        assert says in capsys.readouterr().err


def test_rows_from_before_changes_had_columns_are_read_as_todays(entries, tmp_path):
    """They held all of "paper epochs=30 lr=0.1" in the profile's column."""
    changed = replace(entries[0], changes=(("epochs", 3), ("lr", 0.001)), keeps_scores=True)
    runner.run([changed], tmp_path)
    today, path = cells.collect(tmp_path), tmp_path / changed.file
    result = cells.read(path)
    for row in result["rows"]:
        row["profile"] += " " + row.pop("changes")
        del row["options"]
    cells.write(path, result)
    assert result["rows"][0]["profile"] == "tiny epochs=3 lr=0.001"
    assert cells.collect(tmp_path).equals(today)
    assert set(today["options"]) == {"lr=0.001"}
    assert [name for name, _ in cells.kept_scores(tmp_path)] == [changed.id]
