"""``make rows`` and its kin, on a small plan in a checkout of their own."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

import rows as book_rows
from rapp.config import ParameterError
from rapp.grid import cells
from rappbook import published
from tests.conftest import ROOT

HEADER = "block,dataset,setting,model,targets,seeds,epochs,precision,layers,scores,why\n"
LINES = (
    "1,digits,multimodal,ae,1,0,1 2,float32,paper,yes,first\n"
    "1,digits,multimodal,ae,0 1,0,2,float32,paper,,the same again and one more\n"
    "2,digits,multimodal,ae,1,1-2,2,float32,reimplementation,,\n"
    "3,digits,unimodal,pca,3,0,,,,,\n"
)


def git(folder, *words):
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A copy of this working tree as a git checkout with a small plan."""
    folder = tmp_path / "checkout"
    for name in ("rapp", "book"):
        skip = shutil.ignore_patterns("__pycache__", "_build", "scores", "*.csv")
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    shutil.copytree(ROOT / "book" / "paper", folder / "book" / "paper", dirs_exist_ok=True)
    (folder / "book" / "results").mkdir(exist_ok=True)
    (folder / "book" / "results" / "plan.csv").write_text(HEADER + LINES)
    (folder / ".gitignore").write_text(".rows/\n__pycache__/\n")
    git(tmp_path, "init", "-q", str(folder))
    commit(folder)
    return folder


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "x")


def rows(folder, *words, **env):
    """Run book/rows.py of the checkout."""
    command = [sys.executable, str(folder / "book" / "rows.py"), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment(folder, **env))


def environment(folder, **env):
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(folder / "book")]),
        "CUDA_VISIBLE_DEVICES": "",
        **env,
    }


def made(folder):
    return cells.collect(folder / ".rows" / "cells")


@pytest.mark.slow
def test_what_is_missing_of_the_plan_is_made_once_published_and_made_again_alone(checkout):
    pytest.importorskip("dask.distributed", reason="Dask is not installed")
    first = rows(checkout, "run", "--jobs", "2")
    assert first.returncode == 0, first.stderr
    found = made(checkout)
    names = ["changes", "model", "target", "seed"]
    layered = "epochs=2 precision=float32 layers=reimplementation"
    assert sorted(set(found[names].itertuples(index=False, name=None))) == [
        ("", "pca", "3", 0),
        ("epochs=1 precision=float32", "ae", "1", 0),
        ("epochs=2 precision=float32", "ae", "0", 0),
        ("epochs=2 precision=float32", "ae", "1", 0),
        (layered, "ae", "1", 1),
        (layered, "ae", "1", 2),
    ]
    assert set(found["commit"]) == {git(checkout, "rev-parse", "--short=10", "HEAD")}
    assert set(found["recipe"]) == {1}
    before = rows(checkout, "status").stdout.splitlines()
    assert before == ["block 1: 3 of 3 cells, done", "block 2: 2 of 2 cells, done", "block 3: 1 of 1 cells, done"]
    assert not list((checkout / "book" / "results").glob("table2.csv"))  # training edits no book
    again = rows(checkout, "run", "--jobs", "2")
    assert "6 cells, 6 of them done, 0 stacks" in again.stderr

    written = rows(checkout, "publish").stdout.splitlines()
    assert {os.path.basename(path) for path in written} == {
        "table2.csv",
        "paper-layers-reimplementation.csv",
        "paper-epochs-2-precision-float32-digits-multimodal-ae-1-0.csv.gz",  # the scores of the longest run alone
    }
    scores = pd.read_csv(next(path for path in written if path.endswith(".gz")))
    assert list(scores) == ["row", "is_novel", "recon", "sap", "nap"]
    shutil.rmtree(checkout / ".rows")
    assert rows(checkout, "status").stdout.splitlines() == before  # published cells count
    commit(checkout)
    assert "0 cells, 0 of them done" in rows(checkout, "run").stderr

    one = rows(checkout, "row", "--id", f"paper {layered}/digits/multimodal/ae/1/2", LOKY_MAX_CPU_COUNT="1")
    assert one.returncode == 0, one.stderr
    assert one.stdout.count("0.000000") == 3, one.stdout
    assert "the numbers should be, too" in one.stdout
    path = checkout / "book" / "results" / "table2.csv"
    path.write_text(path.read_text().replace(",1,8,", ",0,8,"))  # of a recipe before it was counted
    other = rows(checkout, "row", "--id", "paper epochs=1 precision=float32/digits/multimodal/ae/1/0").stdout
    assert "recipe unknown → 1" in other
    assert "this row has one seed only" in other


@pytest.mark.slow
def test_killed_it_goes_on_and_edits_of_the_checkout_reach_no_row(checkout):
    pytest.importorskip("dask.distributed", reason="Dask is not installed")
    plan = checkout / "book" / "results" / "plan.csv"
    plan.write_text(HEADER + "1,digits,multimodal,ae,1,0,3000,float32,paper,,\n1,digits,unimodal,pca,3,0,,,,,\n")
    commit(checkout)
    head = git(checkout, "rev-parse", "--short=10", "HEAD")
    command = [sys.executable, str(checkout / "book" / "rows.py"), "run", "--jobs", "2"]
    process = subprocess.Popen(
        command, cwd=checkout, stderr=subprocess.DEVNULL, env=environment(checkout), start_new_session=True
    )
    while not list((checkout / ".rows").rglob("pca/*.json")):
        assert process.poll() is None
        time.sleep(0.1)
    (checkout / "rapp" / "training.py").write_text("this is being edited")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    first = next((checkout / ".rows").rglob("pca/*.json"))
    when = first.stat().st_mtime_ns
    git(checkout, "checkout", "-q", "--", "rapp")
    plan.write_text(plan.read_text().replace("3000", "2"))
    commit(checkout)
    splits = checkout / "rapp" / "splits.py"
    splits.write_text(splits.read_text().replace("int(0.6 * len(normal_rows))", "int(0.5 * len(normal_rows))"))
    result = rows(checkout, "run", "--jobs", "1")  # it leaves the cell of 3,000 epochs
    assert result.returncode == 0, result.stderr
    assert "what is not committed takes no part" in result.stderr
    assert first.stat().st_mtime_ns == when  # not touched again
    found = made(checkout)
    assert set(found["commit"]) == {head, git(checkout, "rev-parse", "--short=10", "HEAD")}
    assert found[found["model"] == "ae"]["n_train"].tolist() == [969] * 3  # 60 % of 1,615 digits that are no "1"


@pytest.mark.slow
def test_it_stops_by_itself(checkout):
    pytest.importorskip("dask.distributed", reason="Dask is not installed")
    plan = checkout / "book" / "results" / "plan.csv"
    plan.write_text(HEADER + "1,digits,multimodal,ae,1,0,1000000,float32,paper,,\n")
    commit(checkout)
    result = rows(checkout, "run", "--jobs", "1", "--minutes", "0.05")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert made(checkout).empty


@pytest.mark.slow
def test_what_is_wrong_is_told_in_one_line(checkout):
    plan = checkout / "book" / "results" / "plan.csv"
    for words, says in {
        (
            "row",
            "--id",
            "paper/mnist/multimodal/ae/1/7",
        ): "error: ID='paper/mnist/multimodal/ae/1/7' is no published row",
        ("row",): "error: ID='' is no published row",
        ("publish",): "error: no finished cells under",
        ("run", "--minutes", "-1"): "error: MINUTES=-1.0 must be at least 0",
        ("run", "--jobs", "0"): "error: JOBS=0 must be at least 1",
        ("run", "--home", __file__): "error: ",
    }.items():
        result = rows(checkout, *words)
        assert result.returncode in (1, 2)
        assert result.stderr.startswith(says), result.stderr
        assert result.stderr.count("\n") == 1
    for line, says in {
        "1,digits,multimodal,ae,1,zero,1,float32,paper,,\n": "'zero' must be a whole number, or two such as 0-4",
        "1,digits,multimodal,ae,11,0,1,float32,paper,,\n": "target '11' is no class of digits",
        "1,digits,multimodal,gan,1,0,1,float32,paper,,\n": "model 'gan' is unknown",
        "1,digits,multimodal,ae,1,0,1,float8,paper,,\n": "precision='float8' is unknown",
    }.items():
        plan.write_text(HEADER + line)
        result = rows(checkout, "status")
        assert result.returncode == 2
        assert result.stderr.startswith("error: plan.csv, line 2: ")
        assert says in result.stderr


def test_the_committed_plan_names_cells_and_begins_with_the_digit_that_the_book_is_about(full_data):
    plan = book_rows.plan()
    assert [entry.block for entry in plan] == sorted(entry.block for entry in plan)
    assert [(entry.cell.config.model, entry.cell.target) for entry in plan[:3]] == [
        ("ae", "1"), ("vae", "1"), ("aae", "1")
    ]  # fmt: skip
    assert book_rows.PLAN.name == published.PLAN


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "its first line must be block,dataset"),
        (HEADER.replace("seeds,", ""), "its first line must be block,dataset"),
        (HEADER + "1,digits,multimodal\n", "line 2: it must have 11 values"),
        (HEADER + LINES.splitlines()[0] + ",more\n", "line 2: it must have 11 values"),
        (HEADER + "1,digits,multimodal,ae,1,3-1,1,float32,paper,,\n", "line 2: '3-1' must be a whole number"),
        (HEADER + "1,digits,multimodal,ae,1,,1,float32,paper,,\n", "line 2: seeds must not be empty"),
        (HEADER + "1,digits,multimodal,ae,1,0,1,float32,paper,Yes,\n", "scores must be yes or empty"),
        (HEADER + '1,digits,multimodal,ae,1,0,1,float32,paper,,"open\n', "is no CSV file"),
        ("\xe4\n".encode("latin-1"), "is no CSV file in UTF-8"),
    ],
)
def test_a_damaged_plan_is_told_by_its_line(tmp_path, capsys, monkeypatch, text, says):
    path = tmp_path / "plan.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.setattr(book_rows.plan, "__defaults__", (path,))
    assert book_rows.main(["status", "--home", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: plan.csv")
    assert says in err
    assert err.count("\n") == 1


def test_a_plan_saved_by_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "plan.csv"
    path.write_text("\ufeff" + (HEADER + LINES).replace("\n", "\r\n"), encoding="utf-8", newline="")
    assert len(book_rows.plan(path)) == 6


def test_files_that_are_no_cells_are_not_touched(tmp_path, capsys):
    other = tmp_path / "provenance.json"
    other.write_text("{}")
    damaged = tmp_path / "tiny" / "digits" / "multimodal" / "ae" / "1-0-0123abcd.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{}")
    assert book_rows.main(["publish", "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "1-0-0123abcd.json is damaged ('sha256'); left out" in err
    assert err.splitlines()[-1].startswith("error: no finished cells under")
    assert {path.name for path in tmp_path.rglob("*.json")} == {other.name, damaged.name}
    assert book_rows.main(["table", "--out", ""]) == 2
    assert "must be a folder of cells" in capsys.readouterr().err


def test_a_damaged_worktree_is_made_anew(checkout):
    home = checkout / ".rows"
    (home / "code").mkdir(parents=True)
    (home / "code" / "left").write_text("over")
    for damage in ("is there already", "gitfile"):
        if damage == "gitfile":
            (home / "code" / ".git").write_text("nothing")
        tree = book_rows.pinned_worktree(home, checkout)
        assert git(tree, "rev-parse", "HEAD") == git(checkout, "rev-parse", "HEAD")
        assert not (tree / "left").exists()
    with pytest.raises(ParameterError, match="needs a git checkout with a commit"):
        book_rows.pinned_worktree(home, home.parent.parent)
