"""The published rows as a build target: ``make rows``, ``rows-status``, ``rows-publish``, ``row``, ``results`` and
``table``.

``book/results/plan.csv`` says which cells should be published, most needed first. What is missing of them trains in a
git worktree that is pinned to one commit, so nothing that is edited in the checkout meanwhile reaches a row.
"""

import argparse
import csv
import difflib
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import cpu_count

from rapp import provenance
from rapp.bfloat16 import has_units
from rapp.cli import told
from rapp.config import ParameterError, parse, resolve_device
from rapp.data import DataError
from rapp.grid import cells, runner
from rapp.grid.cells import GridCell
from rapp.progress import say
from rappbook import ablations, paper_tables, published

ROOT = Path(__file__).resolve().parents[1]
PLAN_COLUMNS = [
    "block",
    "dataset",
    "setting",
    "model",
    "targets",
    "seeds",
    "epochs",
    "precision",
    "layers",
    "scores",
    "why",
]
PLAN = ROOT / "book" / "results" / published.PLAN
GPU_PROCESSES = 2  # on one GPU: while one scores, the other trains; more share its time and end later


def numbers(text: str) -> list[int]:
    """The numbers that a text of numbers and ranges names: ``0 2-4`` gives [0, 2, 3, 4]."""
    found: list[int] = []
    for part in text.split():
        ends = [int(end) for end in part.split("-")] if re.fullmatch(r"\d{1,7}|\d{1,4}-\d{1,4}", part) else []
        if not ends or ends[0] > ends[-1]:
            raise ParameterError(f"{part!r} must be a whole number, or two such as 0-4")
        found += range(ends[0], ends[-1] + 1)
    return found


def plan(path: Path = PLAN) -> list[GridCell]:
    """Every cell of the plan, most needed first; one that stands in several lines counts in the first.

    Raises:
        ParameterError: a line that names no cells, with its number.
    """
    found: dict[GridCell, GridCell] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if reader.fieldnames != PLAN_COLUMNS:
                raise ParameterError(f"{path.name}: its first line must be {','.join(PLAN_COLUMNS)}")
            for line in reader:
                try:
                    for grid_cell in _of_line(line):
                        found.setdefault(grid_cell, grid_cell)
                except (ValueError, DataError) as error:
                    raise ParameterError(f"{path.name}, line {reader.line_num}: {error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ParameterError(f"{path.name} is no CSV file in UTF-8 ({error}); save it as one") from error
    return list(found.values())


def _of_line(line: dict[str, str]) -> Iterator[GridCell]:
    if len(line) != len(PLAN_COLUMNS) or None in line.values():
        raise ParameterError(f"it must have {len(PLAN_COLUMNS)} values")
    seeds, (block,) = numbers(line["seeds"]), numbers(line["block"]) or (0,)
    if not seeds or line["scores"] not in ("yes", ""):
        raise ParameterError("seeds must not be empty, and scores must be yes or empty")
    changes = {name: line[name] for name in ("precision", "layers") if line[name] not in ("", "paper")}
    of_epochs = [{"epochs": epochs} for epochs in numbers(line["epochs"])] or [{}]
    for epochs in of_epochs:
        keeps = line["scores"] == "yes" and epochs == of_epochs[-1]
        params: Any = epochs | changes  # epochs first: their order stands in the profile's name
        names = [line["dataset"]], [line["setting"]], [line["model"]]
        for grid_cell in cells.plan("paper", *names, max(seeds) + 1, line["targets"].split() or None, **params):
            if grid_cell.cell.seed in seeds:
                yield replace(grid_cell, block=block, keeps_scores=keeps)


def known(rows: pd.DataFrame) -> set[tuple[str, int]]:
    """Id and recipe of the cells that rows are of."""
    rows = rows[rows["contamination"] == 0]
    return set(zip(cells.ids(rows), rows["recipe"], strict=True))


def work(folder: Path, minutes: float | None, workers: int | None) -> int:
    """Train what is missing, with the code of this checkout; returns the exit status."""
    done = known(published.all_rows())
    missing = [grid_cell for grid_cell in plan() if (grid_cell.id, grid_cell.recipe) not in done]
    on_gpu = resolve_device("auto").type == "cuda"
    half = any(grid_cell.cell.config.precision == "bfloat16" for grid_cell in missing)
    if half and not on_gpu and not has_units():
        say("this processor has no bfloat16 units: cells in bfloat16 are slower here than in float32, and come last")
        missing.sort(key=lambda grid_cell: grid_cell.cell.config.precision == "bfloat16")
    workers = workers or (GPU_PROCESSES if on_gpu else cpu_count())
    failed = runner.run(missing, folder, workers, minutes=minutes)
    for grid_cell, error in failed:
        print(f"failed: {grid_cell}: {error}", file=sys.stderr)
    return 1 if failed else 0


def pinned_worktree(home: Path, checkout: Path = ROOT) -> Path:
    """A worktree of a checkout's last commit under ``home``.

    Raises:
        ParameterError: git cannot make one.
    """
    tree = home / "code"

    def git(*words: str, where: Path = checkout) -> str:
        try:
            done = subprocess.run(["git", "-C", str(where), *words], capture_output=True, text=True)
        except FileNotFoundError as error:
            raise ParameterError("make rows needs git, and it is not installed") from error
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1]
            raise ParameterError(f"make rows needs a git checkout with a commit: git {' '.join(words)}: {said}")
        return done.stdout.strip()

    head = git("rev-parse", "HEAD")
    try:
        git("checkout", "--force", "--detach", head, where=tree)
        whole = Path(git("rev-parse", "--show-toplevel", where=tree)) == tree
    except ParameterError:
        whole = False
    if not whole:  # it is not there yet, or damaged; nothing in it is worth keeping
        if tree.is_dir():
            shutil.rmtree(tree)
        git("worktree", "prune")
        git("worktree", "add", "--force", "--detach", str(tree), head)
    if git("status", "--porcelain", "--", "rapp", "book/rows.py", "book/results/plan.csv"):
        say(f"rows are made by the last commit, {head[:10]}; what is not committed takes no part")
    return tree


def run(home: Path, minutes: float | None, workers: int | None) -> int:
    """Run ``work`` in a worktree pinned to the last commit; the cells' files go to ``home``."""
    lock = cells.lock(home)  # held until this process ends; it survives ``exec``
    tree = pinned_worktree(home)
    os.set_inheritable(lock.fileno(), True)
    words = ["work", "--home", str(home)]
    words += [] if minutes is None else ["--minutes", str(minutes)]
    words += [] if workers is None else ["--jobs", str(workers)]
    os.environ["PYTHONPATH"] = f"{tree}{os.pathsep}{tree / 'book'}"
    os.chdir(tree)
    os.execv(sys.executable, [sys.executable, str(tree / "book" / "rows.py"), *words])


def status(folder: Path) -> str:
    """A line for each block of the plan: cells done, and the core-hours left at the pace of the cells made here."""
    made = cells.collect(folder)
    done = known(published.all_rows()) | known(made)
    made = made[made["processor"] == provenance.processor(resolve_device("auto").type)]
    planned = plan()
    left = {grid_cell for grid_cell in planned if (grid_cell.id, grid_cell.recipe) not in done}
    by_epochs = sorted(left, key=lambda grid_cell: grid_cell.cell.config.epochs)
    runs = {(grid_cell.dataset, runner.at_an_epoch(grid_cell.cell)): grid_cell for grid_cell in by_epochs}
    longest = set(runs.values())  # the other cells are scored on the way there
    frame = pd.DataFrame(
        [
            {
                "block": grid_cell.block,
                "done": grid_cell not in left,
                "hours": _hours(grid_cell, made) if grid_cell in longest else 0.0,
            }
            for grid_cell in planned
        ]
    )
    return "\n".join(f"block {block}: {_in_words(part)}" for block, part in frame.groupby("block"))


def _in_words(block: pd.DataFrame) -> str:
    """How far a block is, and what the rest of it costs."""
    told = f"{block['done'].sum()} of {len(block)} cells"
    left = block[~block["done"]]
    if left.empty:
        return f"{told}, done"
    priced, unknown = left["hours"].notna().sum(), left["hours"].isna().sum()
    told += f", {left['hours'].sum():.1f} core-hours left" if priced else ""
    return told + (f", the pace of {unknown} more is not known here yet" if unknown else "")


def _hours(grid_cell: GridCell, made: pd.DataFrame) -> float | None:
    """Hours that a cell takes at the pace of those of its kind."""
    cell = grid_cell.cell
    alike = made[(made["model"] == cell.config.model) & (made["precision"] == cell.config.precision)]
    alike = alike.drop_duplicates(cells.KEY)
    if alike.empty:
        return None
    share = {"unimodal": 1 / 9}  # of the rows of a multimodal cell, for ten classes
    passes = alike["epochs"].clip(lower=1) * alike["setting"].map(share).fillna(1)
    epochs = max(cell.config.epochs, 1) * share.get(cell.setting, 1)
    return float(alike["seconds"].sum() / passes.sum() * epochs / 3600)


def publish(*folders: Path) -> list[Path]:
    """Put finished cells among the published rows, with the scores that they keep; the files that were written."""
    rows, changed = cells.collect(*folders), ablations.collect(*folders)
    if rows.empty and changed.empty:
        raise ParameterError(f"no finished cells under {', '.join(map(str, folders))}; make rows makes some")
    return [*published.publish(rows), *published.publish_ablations(changed), *published.publish_scores(*folders)]


def tables(*folders: Path) -> str:
    """The paper's tables beside the cells under some folders, or beside the published rows."""
    rows = cells.collect(*folders) if folders else published.our_rows("paper")
    rows = rows[(rows["profile"] == "paper") & (rows["options"] == "")]
    if folders and rows.empty:
        raise ParameterError(f"no finished cells of the paper's profile under {', '.join(map(str, folders))}")
    parts = {"2": paper_tables.table2(rows), "3": paper_tables.table3(rows)}
    shown = (f"Table {n}\n\n{paper_tables.for_page(table).to_string(index=False)}" for n, table in parts.items())
    return f"Each number: {paper_tables.NUMBER}\n\n" + "\n\n".join(shown)


def again(name: str) -> str:
    """Train one published row once more and say how the two numbers compare.

    Raises:
        ParameterError: there is no such row.
    """
    rows = published.all_rows()
    rows = rows[rows["contamination"] == 0]
    names = pd.Series(cells.ids(rows), rows.index, dtype=str)
    mine = rows[names == name].set_index("score")
    if mine.empty:
        closest = difflib.get_close_matches(name, names.unique(), 1, cutoff=0) or ["none"]
        raise ParameterError(f"ID={name!r} is no published row; the closest is ID='{closest[0]}'")
    profile, dataset, setting, model, target, seed = name.split("/")
    base, _, changes = profile.partition(" ")
    params: Any = parse(changes)
    pair = "+".join(dataset.split(" + "))
    settings = ["multimodal" if setting == "out-of-distribution" else setting]  # a pair has that setting alone
    grid_cell = cells.plan(base, [pair], settings, [model], int(seed) + 1, [target], **params)[-1]
    here = provenance.processor(resolve_device("auto").type)
    # On another processor no number of copies gives the same bits.
    fill = int(mine["stack"].iloc[0]) if mine["processor"].iloc[0] == here else 0
    (result,) = runner.run_unit([grid_cell], None, fill)
    if "error" in result:
        raise ParameterError(f"{name}: {result['error']}")
    new = pd.DataFrame(result["rows"]).set_index("score")
    table = pd.DataFrame({"published": mine["auroc"], "again": new["auroc"]})
    table["difference"] = table["again"] - table["published"]
    expected = _what_to_expect(mine.reset_index().iloc[0], new.iloc[0], rows)
    return f"{table.to_string(float_format='{:.6f}'.format)}\n\n{expected}"


def _what_to_expect(old: pd.Series, new: pd.Series, rows: pd.DataFrame) -> str:
    """Whether the numbers should be equal, and if not, how far apart."""
    names = ("recipe", "device", "processor", "torch", "data_sha256")
    other = [f"{name} {old[name] or 'unknown'} → {new[name]}" for name in names if old[name] != new[name]]
    if not other:
        return "Recipe, processor and versions are the same: the numbers should be, too."
    kind = ["profile", "changes", "dataset", "setting", "model", "target", "score"]
    std = rows.groupby(kind)["auroc"].std().get(tuple(old[name] for name in kind))
    seeds = f"seeds of this row differ by {std:.3f} (std)" if pd.notna(std) else "this row has one seed only"
    return f"Made otherwise ({'; '.join(other)}): expect about what another seed would give; {seeds}."


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. What goes wrong is told in one line."""
    parser = argparse.ArgumentParser(prog="book/rows.py", description=__doc__)
    parser.add_argument("command", choices=["run", "work", "status", "publish", "row", "table"])
    parser.add_argument("--home", type=Path, default=ROOT / ".rows", help="folder of the cells and the pinned code")
    parser.add_argument("--minutes", type=float, help="stop after so many")
    parser.add_argument("--jobs", type=int, help="processes at once")
    parser.add_argument("--id", default="", help="of the row to make again")
    parser.add_argument("--out", type=Path, nargs="+", help="folders of cells to publish or tabulate")
    arguments = parser.parse_args(words)
    return told(lambda: _done(arguments))


def _done(arguments: argparse.Namespace) -> int:
    for name, least in (("minutes", 0), ("jobs", 1)):
        value = getattr(arguments, name)
        if value is not None and not least <= value < math.inf:
            raise ParameterError(f"{name.upper()}={value} must be at least {least}, and a number")
    if any(not str(folder).strip(".") for folder in arguments.out or []):
        raise ParameterError(f"OUT={arguments.out[0]} must be a folder of cells, such as that of rapp run --out")
    home = arguments.home.expanduser().resolve()
    folder = home / "cells"
    if arguments.command in ("run", "work"):
        start, where = (run, home) if arguments.command == "run" else (work, folder)
        return start(where, arguments.minutes, arguments.jobs)
    if arguments.command == "status":
        print(status(folder))
    if arguments.command == "publish":
        print(*publish(*(arguments.out or [folder])), sep="\n")
    if arguments.command == "table":
        print(tables(*(arguments.out or [])))
    if arguments.command == "row":
        print(again(arguments.id))
    return 0


if __name__ == "__main__":
    sys.exit(main())
