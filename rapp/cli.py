"""The command line: ``rapp fit``, ``score`` and ``report`` for people's own tables, ``rapp run`` for a grid of cells.

Exit status: 0 done; 1 the disk or some cells failed; 2 something that was said cannot be used; 130 interrupted.
"""

import argparse
import inspect
import io
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rapp import cache, detectors, report, table_model
from rapp.cache import DamagedFileError, write_atomically, write_text
from rapp.config import ParameterError, parse
from rapp.data import LOADERS, DataError
from rapp.estimator import METHODS
from rapp.grid import cells, runner
from rapp.models import MODELS
from rapp.progress import say


def main(words: list[str] | None = None) -> int:
    """Run one command; returns the exit status. What goes wrong is told in one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # "?" for a letter that a terminal lacks, for then print would fail
    arguments = _parser().parse_args(words)
    whole = ["no file is left half-written"] if arguments.command != _run else []
    return told(lambda: arguments.command(arguments), *whole)


def told(command: Callable[[], int], after: str = "what was finished is kept, and the same command goes on") -> int:
    """Run a command; returns its exit status, or an error's, told in one line; ``after`` is said if cut short."""
    try:
        status = command()
        sys.stdout.flush()  # here, where a disk that is full can still be told
        return status
    except (ParameterError, DataError, DamagedFileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # who reads has enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a disk that is full, a folder that may not be written
        print(f"error: {error}; {after}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted; {after}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rapp", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="fit | score | report | run")
    folder = cache.cache_folder() / "cells"

    fit = commands.add_parser("fit", help="learn what is normal from a table, and write a model")
    fit.add_argument("table", help="a .csv, .csv.gz or .parquet file, or - for CSV on standard input")
    fit.add_argument("--label", help="the column that says what a row is (default: all rows are normal)")
    fit.add_argument("--normal", help="its value for normal rows; the others are left out")
    fit.add_argument("--out", type=_path, required=True, help="folder of the model")
    fit.add_argument("--method", default="nap", choices=METHODS, help="the score (default: nap)")
    fit.add_argument("--model", default="ae", choices=list(MODELS), help="the autoencoder (default: ae)")
    fit.add_argument("--epochs", type=int, default=100, help="passes over the rows (default: 100)")
    fit.add_argument("--seed", type=int, default=0, help="decides all that is random (default: 0)")
    fit.add_argument(
        "--false-alarm-rate", type=float, help="normal rows called novel (default: .05; more if rows are few)"
    )
    fit.set_defaults(command=_fit)

    score = commands.add_parser("score", help="score the rows of a table by a model of rapp fit")
    score.add_argument("--out", type=_path, help="a CSV file, or - (default: standard output)")
    score.set_defaults(command=_score)

    report = commands.add_parser("report", help="write a page on the scores of a table, to be opened in a browser")
    report.add_argument("--out", type=_path, required=True, help="an .html file")
    report.set_defaults(command=_report)
    for reads in (score, report):
        reads.add_argument("model", type=_path, help="folder of the model")
        reads.add_argument("table", help="a file as for fit, or -")
        reads.add_argument("--on-missing", choices=["refuse", "skip"], default="refuse", help="rows that have gaps")

    run = commands.add_parser("run", help="train and score what is missing of a grid of cells")
    add_cells(run)
    run.add_argument("--out", type=_path, default=folder, help="folder of the cells' files (default: in the cache)")
    run.add_argument("--workers", type=int, default=0, help="processes of a local Dask cluster (default: none)")
    run.add_argument("--scheduler", default="", help="address of a running Dask scheduler: tcp://host:8786")
    run.add_argument("--force", action="store_true", help="do finished cells again")
    run.add_argument("--keep-scores", action="store_true", help="keep what each test row scored, too")
    run.set_defaults(command=_run)

    return parser


def add_cells(parser: argparse.ArgumentParser) -> None:
    """The options that name cells."""
    add, known = parser.add_argument, ", ".join(LOADERS)
    add("--profile", default="paper", help="training settings (default: paper)")
    add("--dataset", nargs="+", required=True, help=f"of {known}; two as normal+novel: out-of-distribution")
    add("--setting", nargs="+", default=["multimodal"], help="multimodal, unimodal (default: multimodal)")
    models = ", ".join(detectors.names())
    add("--model", nargs="+", default=list(MODELS), help=f"of {models} (default: {' '.join(MODELS)})")
    add("--target", nargs="+", help="the novel classes, or the normal ones if unimodal (default: all)")
    add("--seeds", type=int, default=1, help="trials of each class: seeds 0 to SEEDS − 1 (default: 1)")
    add("--contamination", type=float, nargs="+", default=[0.0], help="shares of novel training rows (default: 0)")
    add("--params", default="", help='options that differ from the profile\'s: "epochs=30 batch=64"')


def grid_cells(arguments: argparse.Namespace) -> list[cells.GridCell]:
    """The cells that parsed options of ``add_cells`` name; errors as in ``cells.plan``."""
    a, of_plan = arguments, [*inspect.signature(cells.plan).parameters, "data", "name", "model", "x", "is_image"]
    changes = parse(a.params)
    if wrong := [name for name in changes if name in of_plan]:
        raise ParameterError(f"params: {wrong[0]!r} is no option of a model; --seeds, --model and so on say it")
    return cells.plan(a.profile, a.dataset, a.setting, a.model, a.seeds, a.target, a.contamination, **changes)


def _path(word: str) -> Path:
    return Path(os.path.expanduser(word))  # --out=~/x comes as it is from the shell; without such a home, so it stays


def _fit(arguments: argparse.Namespace) -> int:
    table_model.check_out(arguments.out)  # before the work
    if not 0 <= arguments.seed < 2**32:
        raise ParameterError(f"seed={arguments.seed} must be at least 0 and below 2^32")
    named = {"method": arguments.method, "model": arguments.model, "epochs": arguments.epochs}
    named |= {"random_state": arguments.seed, "false_alarm_rate": arguments.false_alarm_rate, "verbose": True}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model = table_model.fit(arguments.table, arguments.label, arguments.normal, **named)
    for text in dict.fromkeys(str(warning.message) for warning in warned if issubclass(warning.category, UserWarning)):
        say(text)
    model.save(arguments.out)
    print(f"{len(model.features)} features, model in {arguments.out}; next: rapp score {arguments.out} TABLE")
    return 0


def _check_file(arguments: argparse.Namespace) -> None:
    """Raise a DataError, before the work, if ``--out`` is no place for a file, or is what the command reads."""
    if arguments.out and (arguments.out.is_dir() or arguments.model.resolve() in arguments.out.resolve().parents):
        raise DataError(f"out={arguments.out} is a folder, or in the model's; name a file elsewhere")
    if arguments.out and arguments.out.suffix.lower() in (".gz", ".xlsx", ".xls", ".ods", ".parquet"):
        raise DataError(f"out={arguments.out}: scores are written as plain CSV, a report as HTML; name such a file")
    if arguments.out and arguments.table != "-" and arguments.out.resolve() == _path(arguments.table).resolve():
        raise DataError(f"out={arguments.out} is the table that is read; name another file")


def _score(arguments: argparse.Namespace) -> int:
    _check_file(arguments)
    model = table_model.read(arguments.model)
    parts = model.scored(arguments.table, arguments.on_missing == "skip")
    n_rows, n_novel = 0, 0

    def write(target: Any) -> None:
        nonlocal n_rows, n_novel
        for part in parts:
            part.to_csv(target, index=False, header=not n_rows, float_format="%.6g", lineterminator="\n")
            n_rows, n_novel = n_rows + len(part), n_novel + int(part["is_novel"].sum())

    def write_file(path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            write(file)

    to_file = arguments.out and str(arguments.out) != "-"
    write_atomically(arguments.out, write_file) if to_file else write(sys.stdout)
    say(f"{n_novel} of {n_rows} rows are novel, at {model.estimator.false_alarm_rate_:.1%} false alarms")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    _check_file(arguments)
    model = table_model.read(arguments.model)
    write_text(arguments.out, report.Report(model, arguments.table, arguments.on_missing == "skip").html())
    print(f"open {arguments.out} in a browser")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    if arguments.workers < 0:
        raise ParameterError(f"workers={arguments.workers} must be at least 0")
    wanted = [replace(grid_cell, keeps_scores=arguments.keep_scores) for grid_cell in grid_cells(arguments)]
    failed = runner.run(wanted, arguments.out, arguments.workers, arguments.scheduler, arguments.force)
    if not failed:
        print(f"{len(wanted)} cells are done: {arguments.out}")
        return 0
    print(f"{len(failed)} of {len(wanted)} cells failed; the same command tries them again:", file=sys.stderr)
    for grid_cell, error in failed:
        print(f"  {grid_cell}: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
