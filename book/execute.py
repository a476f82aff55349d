"""Stage 1 of the book: run one notebook with its parameters; the output appears when it is complete."""

import argparse
import ast
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

import keys
from rapp import provenance
from rapp.cache import lock
from rapp.config import ParameterError, parse
from rapp.data import DataError, Dataset
from rapp.grid import runner
from rappbook import published
from rappbook.parameters import check as checked
from rappbook.parameters import check_rows


def defaults(notebook: Path) -> dict[str, object]:
    """The parameters of a notebook with their defaults."""
    return {name: ast.literal_eval(p["default"]) for name, p in papermill.inspect_notebook(str(notebook)).items()}


def needs_of(notebook: Path) -> str | None:
    """What a chapter needs, by its metadata: "images", "table", "rows" or "no labels"; None for nothing."""
    return nbformat.read(notebook, as_version=4).metadata.get("rapp", {}).get("needs")


def lacks(notebook: Path, data: Dataset, parameters: dict[str, object]) -> str:
    """Why a chapter has nothing to show for this data, by the needs that its metadata name; empty if it has."""
    needs = needs_of(notebook)
    if needs == "images" and data.image_shape is None:
        return f"needs images, and {data.name} is a table"
    if needs == "table" and data.image_shape is not None:
        return f"needs a table, and {data.name} has images"
    if needs == "rows" and data.name not in set(published.our_rows(profile := str(parameters["results"]))["dataset"]):
        return f"needs stored rows, and book/results/ has none of {data.name} at profile {profile}"
    return ""


def check(notebook: Path, parameters: dict[str, object]) -> tuple[dict[str, object], Dataset]:
    """The parameters that this notebook takes, and its data.

    Each parameter must be known to some chapter and have a value that is allowed, whether or not it is this chapter's:
    so the first chapter finds what a later one would fail for.
    """
    known = [name for chapter in sorted(notebook.parent.glob("*.ipynb")) for name in defaults(chapter)]
    if unknown := [name for name in parameters if name not in known]:
        raise ParameterError(f"PARAMS: {unknown[0]!r} is unknown; allowed: {', '.join(dict.fromkeys(known))}")
    mine = defaults(notebook)
    if needs_of(notebook) == "no labels":
        if unused := [name for name in parameters if name not in mine]:
            raise ParameterError(f"{unused[0]}={parameters[unused[0]]!r} is for a table with labels: add LABEL=…")
        return parameters, check_rows(**{**mine, **parameters})  # type: ignore[arg-type]
    data = checked(**{**mine, **parameters})  # type: ignore[arg-type]
    return {name: value for name, value in parameters.items() if name in mine}, data


def locked(path: Path, what: str) -> TextIO:
    """The lock of a file that a build is about to write; ``what`` says whose it is while another build has it."""
    return lock(path.with_name(f".{path.name}.lock"), busy=f"{what}: another build is at it")


def execute(notebook: Path, output: Path, parameters: dict[str, object], key: str) -> None:
    """Run beside the output, then rename. A notebook that failed is kept under another name, to be read."""
    beside = output.with_suffix(".running.ipynb")
    done = papermill.execute_notebook(
        str(notebook), str(beside), parameters, kernel_name="python3", progress_bar=False, log_output=False,
        stderr_file=sys.stderr, start_timeout=600,  # on a busy machine a kernel needs more than papermill's minute
        extra_arguments=["--log-level=CRITICAL"],  # to the kernel its own end may be an ERROR
    )  # fmt: skip
    for place in ("input_path", "output_path"):  # of this machine; the notebook can be downloaded
        done.metadata.papermill.pop(place, None)
    write(done, output, key)


def leave_out(notebook: Path, output: Path, why: str, key: str) -> None:
    """Write a notebook without cells that says in its metadata why."""
    write(nbformat.v4.new_notebook(metadata={"rapp": {"left_out": why, "title": title(notebook)}}), output, key)


def write(notebook: nbformat.NotebookNode, output: Path, key: str) -> None:
    """Write an executed notebook with its key, for ``keys.stored_key``; it is whole or absent."""
    beside = output.with_suffix(".running.ipynb")
    notebook.metadata["rapp"] = {**notebook.metadata.get("rapp", {}), "key": key, "commit": provenance.commit()}
    nbformat.write(notebook, beside)
    beside.replace(output)


def title(notebook: Path) -> str:
    """The first heading."""
    return nbformat.read(notebook, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")


def stamp(output: Path) -> int:
    """Return when a file was written, or 0; clocks differ and are set back, so only two stamps of it compare."""
    return output.stat().st_mtime_ns if output.exists() else 0


def made_meanwhile(output: Path, key: str, before: int) -> bool:
    """Return whether another build has made it: by its key or, without one, since it was asked for."""
    return keys.stored_key(output) == key if key else stamp(output) not in (0, before)


def run(notebook: Path, output: Path, parameters: dict[str, object], key: str = "") -> int:
    """Check, then execute or leave out; the exit status. What goes wrong is told in one line.

    Args:
        notebook: the chapter.
        output: the executed notebook to be.
        parameters: what it is run with.
        key: of all that it depends on (``keys.runs``); "" for what is always run again.
    """
    name, before = notebook.stem, stamp(output)
    try:
        with locked(output, name):
            if made_meanwhile(output, key, before):
                print(f"{name}: the other build has made it", file=sys.stderr)
                return 0
            taken, data = check(notebook, parameters)
            if why := lacks(notebook, data, {**defaults(notebook), **taken}):
                print(f"{name}: {why}; left out", file=sys.stderr)
                leave_out(notebook, output, why, key)
                return 0
            settings = ", ".join(f"{key} {value}" for key, value in taken.items() if value is not None)
            print(f"{name}: running ({settings})", file=sys.stderr, flush=True)
            execute(notebook, output, taken, key)
    except (ParameterError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except PapermillExecutionError as error:
        failed = output.with_suffix(".failed.ipynb")
        output.with_suffix(".running.ipynb").replace(failed)
        reason = re.sub(r"\s+", " ", f"{error.ename}: {error.evalue}")
        print(f"error: {name} failed in cell {error.exec_count}: {reason} (all of it: {failed})", file=sys.stderr)
        return 1
    except DeadKernelError as error:
        print(f"error: {name}: the kernel died, perhaps for lack of memory ({error})", file=sys.stderr)
        return 1
    return 0


def on_cluster(arguments: argparse.Namespace) -> int:
    """The same command on a worker of a Dask cluster that shares this folder; its messages, its exit status."""
    names = ("RAPP_CACHE", "RAPP_DATA", "JUPYTER_PREFER_ENV_PATH")  # the rest is the worker's own, such as its GPU
    environment = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    words = [f"--{name}={getattr(arguments, name)}" for name in ("dataset", "label", "profile", "params", "key")]
    notebook, output = arguments.notebook, arguments.output
    command = ["env", *environment, sys.executable, os.path.abspath(__file__), str(notebook), str(output), *words]
    shared = f"each worker needs {os.getcwd()}, shared with this machine"
    with runner.connected(arguments.scheduler) as client:
        print(f"{output.stem}: on {arguments.scheduler}", file=sys.stderr, flush=True)
        task = client.submit(subprocess.run, command, cwd=os.getcwd(), stderr=subprocess.PIPE, text=True, pure=False)
        try:
            done = task.result()
        except Exception as error:  # whatever the worker met
            print(f"error: {output.stem}: {error}; {shared}", file=sys.stderr)
            return 1
    print(done.stderr, end="", file=sys.stderr)
    if not done.returncode and not output.exists():
        print(f"error: {output.stem} ran, but {output} is not here; {shared}", file=sys.stderr)
        return 1
    return done.returncode


def options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """What a chapter is run with."""
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--label", default="", help='the label column of a table; or "column=class", which is normal')
    parser.add_argument("--profile", required=True)
    parser.add_argument("--params", default="", help='"name=value name=value"')
    return parser


def parameters_of(arguments: argparse.Namespace) -> dict[str, object]:
    """``options`` as a notebook's parameters."""
    name = keys.label_of(arguments.dataset, arguments.label)
    label = {"label": name} if name else {}
    return {"dataset": arguments.dataset, **label, "profile": arguments.profile, **parse(arguments.params)}


def main(words: Sequence[str] | None = None) -> int:
    """Execute one notebook and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--scheduler", default="", help="run it on a Dask cluster, such as tcp://host:8786")
    parser.add_argument("--key", default="", help="of all that the result depends on; it goes into its metadata")
    arguments = options(parser).parse_args(words)
    try:
        if arguments.scheduler:
            return on_cluster(arguments)
        parameters = parameters_of(arguments)
    except ParameterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return run(arguments.notebook, arguments.output, parameters, arguments.key)


if __name__ == "__main__":
    sys.exit(keys.told(main))
