"""Stage 1 of the book: run one notebook with its parameters; the output appears when it is complete."""

import argparse
import ast
import re
import shlex
import sys
from pathlib import Path

import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from rapp import datasets, experiments


def parse(pairs: str) -> dict[str, object]:
    """``target=8 epochs=30`` → a dict; a value that is no Python literal is text."""
    values = {}
    try:
        words = shlex.split(pairs)
    except ValueError as error:
        raise experiments.ParameterError(f"PARAMS: {pairs!r}: {error}") from error
    for pair in words:
        name, equals, text = pair.partition("=")
        if not equals or not text:
            raise experiments.ParameterError(f"PARAMS: {pair!r} must have the form name=value")
        if name in ("dataset", "profile"):
            raise experiments.ParameterError(f"PARAMS: say {name.upper()}={text} instead of {pair!r}")
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError):
            values[name] = text
    return values


def defaults(notebook: Path) -> dict[str, object]:
    """The parameters of a notebook with their defaults."""
    return {name: ast.literal_eval(p["default"]) for name, p in papermill.inspect_notebook(str(notebook)).items()}


def check(notebook: Path, parameters: dict[str, object]) -> dict[str, object]:
    """The parameters that this notebook takes. Each must be known to some chapter, and have a value that is allowed."""
    known: dict[str, object] = {}
    for chapter in sorted(notebook.parent.glob("*.ipynb")):
        known |= defaults(chapter)
    if unknown := [name for name in parameters if name not in known]:
        raise experiments.ParameterError(f"PARAMS: {unknown[0]!r} is unknown; allowed: {', '.join(known)}")
    experiments.check(**{**known, **parameters})  # type: ignore[arg-type]
    return {name: value for name, value in parameters.items() if name in defaults(notebook)}


def execute(notebook: Path, output: Path, parameters: dict[str, object]) -> None:
    """Run beside the output, then rename. A notebook that failed is kept under another name, to be read."""
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = output.with_suffix(".running.ipynb")
    papermill.execute_notebook(
        str(notebook), str(beside), parameters, kernel_name="python3", progress_bar=False, log_output=False,
        stderr_file=sys.stderr, extra_arguments=["--log-level=ERROR"],
    )  # fmt: skip
    beside.replace(output)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("notebook", type=Path)
    arguments.add_argument("output", type=Path)
    arguments.add_argument("--dataset", required=True)
    arguments.add_argument("--profile", required=True)
    arguments.add_argument("--params", default="")
    options = arguments.parse_args()
    name = options.notebook.stem
    try:
        parameters = {"dataset": options.dataset, "profile": options.profile, **parse(options.params)}
        parameters = check(options.notebook, parameters)
        print(f"{name}: running on {options.dataset}, profile {options.profile}", file=sys.stderr, flush=True)
        execute(options.notebook, options.output, parameters)
    except (experiments.ParameterError, datasets.DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except PapermillExecutionError as error:
        failed = options.output.with_suffix(".failed.ipynb")
        options.output.with_suffix(".running.ipynb").replace(failed)
        reason = re.sub(r"\s+", " ", f"{error.ename}: {error.evalue}")
        print(f"error: {name} failed in cell {error.exec_count}: {reason} (all of it: {failed})", file=sys.stderr)
        return 1
    except DeadKernelError as error:
        print(f"error: {name}: the kernel died, perhaps for lack of memory ({error})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
