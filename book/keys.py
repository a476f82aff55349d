"""What the runs of a book are called and what each of them depends on.

Nothing here imports torch or papermill, so a build with nothing to do is over at once.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Those of rapp.data.table_file, which cannot be imported here; a test holds the two together.
SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".parquet")
SHOWS_ROWS = re.compile(
    r"\bpublished\.(our_rows|all_rows|committed|full_scale|ablations|adbench|from_scores|about|results_file)\b"
    r"|\b(ranking|ledger)\."
)
CODE = (".py", ".toml")  # what the modules are made of; a toml says what the paper's tables are
LENGTH = 8  # of a checksum in a folder's name


@dataclass(frozen=True)
class Asked:
    """A book is made of data sets, by name or by a table's path, and all their chapters are run with these words."""

    datasets: tuple[str, ...]
    label: str
    profile: str
    params: str


@dataclass(frozen=True)
class Run:
    """One chapter is to be run on one data set: from ``notebook`` to ``output``; the key is of all it depends on."""

    notebook: Path
    output: Path
    dataset: str
    label: str
    key: str


@dataclass(frozen=True)
class Chapter:
    """What a build has to know of a notebook before it is run."""

    path: Path
    digest: str
    is_general: bool  # the same on all data sets, as it takes none
    shows_rows: bool  # published ones, of book/results/
    takes_labels: bool  # and so is not for a table without


def told(command: Callable[[], int]) -> int:
    """Run a script's command and return its exit status; what the system refuses, as on a full disk, is one line.

    A terminal that is not UTF-8 shows "?" in place of a letter that it lacks.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        return command()
    except OSError as error:
        print(f"error: {error}; what was finished is kept, and the same command goes on", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept, and the same command goes on", file=sys.stderr)
        return 130


def asked(dataset: str, datasets: str, label: str, profile: str, params: str) -> Asked:
    """Return what a command line asks for; ``datasets`` may name several and goes before ``dataset``.

    A table's path may have spaces in it, where it is the only data set.

    Raises:
        ValueError: a data set or profile that is not one word, or a normal class without a label.
    """
    if (len(dataset.split()) != 1 and not is_file(dataset)) or len(profile.split()) != 1:
        raise ValueError(
            f'DATASET="{dataset}", which is no file, and PROFILE="{profile}" must be one word each; '
            f'several data sets are DATASETS="a b"'
        )
    if label.startswith("="):
        raise ValueError(f"NORMAL{label} needs LABEL=…, the column that holds this class")
    names = dict.fromkeys([datasets] if is_file(datasets) else datasets.split() or [dataset])
    return Asked(tuple(names), label, profile.strip(), params.strip())


def is_file(path: str) -> bool:
    """Return whether there is such a file."""
    return os.path.isfile(os.path.expanduser(path))


def is_table(dataset: str) -> bool:
    """Return whether a data set is the path of a table; no other name has a dot."""
    return "." in dataset


def has_labels(dataset: str, label: str) -> bool:
    """Return whether rows have classes: all but those of a table whose label column was not named."""
    return bool(label) or not dataset.lower().endswith(SUFFIXES)


def label_of(dataset: str, label: str) -> str:
    """Return the label of a table, "column" or "column=normal class", and "" for data that have labels of their own."""
    return label if is_table(dataset) else ""


def checksum(*parts: str) -> str:
    """Return one SHA-256 of some texts, in hexadecimal; where one ends and the next begins counts, too."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def folder_name(dataset: str, label: str, profile: str, params: str) -> str:
    """Return the folder under ``runs`` of one data set's chapters; it carries all that they are run with.

    It is ``digits/tiny`` or, for the table ``my/parts.csv`` with other parameters, ``parts-1a2b3c4d/tiny-5e6f7a8b``.
    """
    if is_table(dataset):
        stem = re.sub(r"[^\w'-]+", "_", next(filter(None, Path(dataset).name.split(".")), "table"))
        dataset = f"{stem}-{checksum(dataset, label)[:LENGTH]}"
    return f"{dataset}/{profile}" + (f"-{checksum(params)[:LENGTH]}" if params else "")


def digest(paths: Iterable[Path], root: Path = ROOT) -> str:
    """Return one checksum of some files' names and contents; one that cannot be read counts as absent."""
    parts = []
    for path in sorted(paths):
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            continue
        parts += [path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path), content]
    return checksum(*parts)


def module_files(root: Path = ROOT) -> list[Path]:
    """Return the files that every chapter depends on: code, pinned versions and the paper's numbers."""
    code = [
        path for folder in ("rapp", "book/rappbook") for path in (root / folder).rglob("*.*") if path.suffix in CODE
    ]
    return [*code, root / "book" / "execute.py", root / ".constraints.txt", *(root / "book" / "paper").glob("*")]


def row_files(root: Path = ROOT) -> list[Path]:
    """Return the files of published rows; the plan is none, for no chapter shows what should be published."""
    results = root / "book" / "results"
    return [path for path in results.rglob("*") if path.is_file() and path != results / "plan.csv"]


def page_files(root: Path = ROOT) -> list[Path]:
    """Return the files of ``book/`` that the site is made of or by: all but what some program has left there."""
    book = root / "book"
    left = re.compile(r"_build|__pycache__|\..*|.*\.egg-info")
    found = (path for path in book.rglob("*") if path.is_file())
    return [path for path in found if not any(left.fullmatch(part) for part in path.relative_to(book).parts)]


def chapter(path: Path, root: Path = ROOT) -> Chapter:
    """Read whether a notebook takes a data set and whether its code shows published rows, and returns both.

    Raises:
        ValueError: the file is no notebook.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is no notebook: {error}") from error
    code = {"parameters": "", "other": ""}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        is_parameters = "parameters" in cell["metadata"].get("tags", [])
        code["parameters" if is_parameters else "other"] += "".join(cell["source"]) + "\n"
    needs = notebook["metadata"].get("rapp", {}).get("needs")
    is_general = not re.search(r"^dataset\b", code["parameters"], re.M)
    shows_rows = needs == "rows" or bool(SHOWS_ROWS.search(code["other"]))
    return Chapter(path, digest([path], root), is_general, shows_rows, needs != "no labels")


def chapters(root: Path = ROOT) -> list[Chapter]:
    """Return a book's chapters by their numbers; ``_toc.yml`` has the order in which they are read."""
    return [chapter(path, root) for path in sorted((root / "notebooks").glob("*.ipynb"))]


def folders(what: Asked) -> list[str]:
    """Return the folder under ``runs`` of each data set; the first one's book is the site's root."""
    return [folder_name(name, label_of(name, what.label), what.profile, what.params) for name in what.datasets]


def runs(what: Asked, build: Path, root: Path = ROOT) -> list[Run]:
    """Return all runs of a book, by data set and number; ``book.groups`` has the order in which they are done.

    Args:
        what: data sets and parameters; chapters that take no data set run for the first one only, and not for a table.
        build: the build folder.
        root: the project's folder.
    """
    module, rows, of_book = digest(module_files(root), root), digest(row_files(root), root), chapters(root)
    found = []
    for position, (dataset, folder) in enumerate(zip(what.datasets, folders(what), strict=True)):
        label = label_of(dataset, what.label)
        table = digest([Path(dataset).expanduser()], root) if is_table(dataset) else ""
        for one in of_book:
            if one.takes_labels != has_labels(dataset, label) or (one.is_general and (position or is_table(dataset))):
                continue
            parts = (one.digest, dataset, label, what.profile, what.params, table, module)
            key = checksum(*parts, rows if one.shows_rows else "")
            found.append(Run(one.path, build / "runs" / folder / one.path.name, dataset, label, key))
    return found


def stored_key(output: Path) -> str:
    """Return the key in an executed notebook's metadata; "" if it is absent, has none or is not whole."""
    try:
        return str(json.loads(output.read_text(encoding="utf-8"))["metadata"]["rapp"]["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def stale(found: Iterable[Run]) -> list[Run]:
    """Return the runs whose executed notebook is not there as they would make it now."""
    return [run for run in found if stored_key(run.output) != run.key]


def site_key(build: Path, names: Iterable[str], root: Path = ROOT) -> str:
    """Return the key of the whole site: of its pages and of the executed notebooks and reruns that are there.

    Args:
        build: the build folder.
        names: of ``folders``, in their order.
        root: the project's folder.
    """
    names, of_runs = list(names), build / "runs"
    notebooks = [path.name for path in (root / "notebooks").glob("*.ipynb")]
    there = [of_runs / name / notebook for name in names for notebook in notebooks]
    there += [path for path in (of_runs / "reruns").glob("*/*.ipynb") if path.name in notebooks]
    return checksum(*names, digest(there, build), digest([*page_files(root), root / "CITATION.cff"], root))


def built_key(build: Path) -> str:
    """Return the key of the site that was built last; "" if there is none."""
    try:
        return (build / "html" / ".built" / "key").read_text(encoding="utf-8")
    except OSError:
        return ""
