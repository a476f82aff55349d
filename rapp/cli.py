"""The command line: ``rapp run`` fills a grid of cells."""

import argparse
import io
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rapp import cache, detectors
from rapp.config import ParameterError, parse
from rapp.data import LOADERS, DataError
from rapp.grid import cells, runner
from rapp.models import MODELS


def main(words: list[str] | None = None) -> int:
    """Run one command; returns the exit status. What goes wrong is told in one line."""
    show_any_letter()
    arguments = _parser().parse_args(words)
    return told(lambda: arguments.command(arguments))


def show_any_letter() -> None:
    """Let a terminal that is not UTF-8 show “?” in place of a letter that it lacks, for then print would fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def told(command: Callable[[], int]) -> int:
    """Run a command; returns its exit status, or that of an error, which is told in one line."""
    try:
        return command()
    except (ParameterError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a disk that is full, a folder that may not be written
        print(f"error: {error}; finished cells are kept, the same command goes on", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; finished cells are kept, the same command goes on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rapp", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="run")
    folder = cache.cache_folder() / "cells"

    run = commands.add_parser("run", help="train and score what is missing of a grid of cells")
    add_cells(run)
    run.add_argument("--out", type=Path, default=folder, help="folder of the cells' files (default: in the cache)")
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
    return cells.plan(
        arguments.profile,
        arguments.dataset,
        arguments.setting,
        arguments.model,
        arguments.seeds,
        arguments.target,
        arguments.contamination,
        **parse(arguments.params),
    )


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
