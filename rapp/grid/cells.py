"""The cells of a grid, and the files of their results: whole or absent, and checked before they are trusted."""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pandas as pd

from rapp import cache, data, detectors, provenance
from rapp.cache import sha256, write_text
from rapp.cell import Cell
from rapp.config import ParameterError
from rapp.data import Dataset
from rapp.progress import say

if TYPE_CHECKING:
    from rapp.experiment import Trial

COLUMNS = (
    "profile", "changes", "options", "setting", "contamination", "dataset", "target", "seed", "model", "score",
    "auroc", "aupr", "epochs", "best_epoch", "n_train", "n_test", "seconds", "seconds_per_1000", "device",
    "precision", "torch", "commit", "data_sha256", "partial", "recipe", "stack", "val_error", "processor",
)  # fmt: skip
# What older rows hold in columns that did not exist when they were made.
BEFORE = {"options": "", "contamination": 0.0, "recipe": 0, "stack": 0, "processor": ""}
KEY = ["profile", "changes", "dataset", "setting", "contamination", "target", "seed", "model"]  # of a cell
FILE = re.compile(r".+-\d+-[0-9a-f]{8}\.json")  # the name of a cell's file


@dataclass(frozen=True)
class GridCell:
    """A cell of a named data set, at a profile."""

    profile: str
    dataset: str
    cell: Cell
    changes: tuple[tuple[str, object], ...] = ()  # what differs from the profile: name and value
    keeps_scores: bool = field(default=False, compare=False)  # of each test row, in the cell's file
    block: int = field(default=0, compare=False)  # of a plan; cells of different blocks never share a stack

    @property
    def label(self) -> str:
        """The profile with what differs from it: "paper epochs=30"."""
        return f"{self.profile} {_text(self.changes)}".strip()

    @property
    def id(self) -> str:
        """The name by which ``make row ID=…`` finds the cell."""
        cell = self.cell
        dataset = " + ".join(self.dataset.split("+"))  # as the data set of a pair is called
        return f"{self.label}/{dataset}/{cell.setting}/{cell.config.model}/{cell.target}/{cell.seed}"

    @property
    def recipe(self) -> int:
        """Number of the recipe that trains this cell's detector now."""
        return detectors.known(self.cell.config.model).detector.RECIPE

    @property
    def file(self) -> Path:
        """Path of its result in the grid's folder; the name carries all that decides the numbers."""
        what, config = dataclasses.asdict(self.cell), self.cell.config
        options, default = what.pop("config"), {f.name: f.default for f in dataclasses.fields(config)}
        elsewhere = ("device", "threads", "compile")  # a cell is the same wherever it runs
        what["settings"] = {  # a config's old name, on which the names of files depend
            name: value
            for name, value in options.items()
            if value != default[name] and name not in elsewhere  # so a new option changes no old file's name
        }
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
        name = f"{self.cell.target}-{self.cell.seed}-{digest}.json"
        return Path(self.label, self.dataset, self.cell.setting, config.model, name)

    def __str__(self) -> str:
        cell = self.cell
        return f"{self.dataset} {cell.setting} {cell.config.model} target {cell.target} seed {cell.seed}"


def _text(changes: Iterable[tuple[str, object]]) -> str:
    """Changes in the form of PARAMS: "epochs=30 batch=64"."""
    return " ".join(f"{name}={value}".replace(", ", ",") for name, value in changes)  # a tuple is one word


def _options(changes: Iterable[tuple[str, object]]) -> str:
    """The changes that have no column of their own, as text."""
    return _text((name, value) for name, value in changes if name not in ("epochs", "precision"))


@functools.lru_cache(maxsize=2)
def data_of(name: str) -> Dataset:
    """A data set by name, or two as "normal+novel" (``data.as_two_classes``)."""
    normal, plus, novel = name.partition("+")
    return data.as_two_classes(data.load(normal), novel) if plus else data.load(name)


def _check(names: Sequence[str], settings: Sequence[str], seeds: int, contaminations: Sequence[float]) -> None:
    """Check ``plan``'s arguments before any data are loaded."""
    if seeds < 1:
        raise ParameterError(f"seeds={seeds} must be at least 1")
    if unknown := [setting for setting in settings if setting not in ("multimodal", "unimodal")]:
        raise ParameterError(f"setting {unknown[0]!r} is unknown here; allowed: multimodal, unimodal")
    if wrong := [share for share in contaminations if not 0 <= share < 1]:
        raise ParameterError(f"contamination={wrong[0]} must be at least 0 and below 1")
    if unknown := [part for name in names for part in name.split("+") if part not in data.LOADERS]:
        raise ParameterError(
            f"dataset {unknown[0]!r} is unknown here; allowed: {', '.join(data.LOADERS)}, or two as normal+novel "
            f"(a table of your own: make book DATASET=table.csv LABEL=column)"
        )


def plan(
    profile: str,
    names: Sequence[str],
    settings: Sequence[str],
    models: Sequence[str],
    seeds: int,
    targets: Sequence[str] | None = None,
    contaminations: Sequence[float] = (0.0,),
    **changes: object,
) -> list[GridCell]:
    """Every cell of the product; a data set with a fixed normal class has the unimodal setting only (paper, 5.1).

    Two data sets as "normal+novel" have the out-of-distribution setting only, whatever ``settings`` says.

    Args:
        profile: of ``config.PROFILES``.
        names: data sets.
        settings: "multimodal", "unimodal".
        models: of ``detectors.names()``.
        seeds: 0 to seeds − 1; a seed stands for a trial.
        targets: classes; None for all.
        contaminations: shares of novel rows hidden among the training and validation rows.
        changes: options that differ from the profile's.

    Raises:
        ParameterError, data.DataError: naming the value and what is allowed.
    """
    _check(names, settings, seeds, contaminations)
    grid_cells = []
    pairs = tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in changes.items())
    for dataset in names:
        rows = data_of(dataset)
        configs = [detectors.config_for(profile, rows, model, **changes) for model in models]
        is_pair = "+" in dataset
        fixed = [rows.normal] if rows.normal else rows.classes[1:] if is_pair else []
        wanted = [rows.target(target) for target in targets or ()]  # an unknown one is an error, wherever
        chosen = fixed or wanted or rows.classes
        for setting in ["out-of-distribution"] if is_pair else settings:
            if rows.normal and setting != "unimodal":
                say(f"{dataset} has a fixed normal class, {rows.normal!r}: no {setting} cells")
                continue
            grid_cells += [
                GridCell(profile, dataset, Cell(config, target, seed, setting, None, contamination), pairs)
                for config in configs
                for contamination in contaminations
                for target in chosen
                for seed in range(seeds)
            ]
        try:
            for cell in (grid_cell.cell for grid_cell in grid_cells if grid_cell.dataset == dataset):
                if cell.contamination and cell.seed == 0 and cell.config == configs[0]:  # each split once
                    cell.split(rows)
        except ValueError as error:  # more novel rows to hide than there are
            raise ParameterError(f"{dataset}: {error}") from error
    if not grid_cells:
        raise ParameterError(f"setting={' '.join(settings)} leaves no cell of {' '.join(names)}; say unimodal")
    return grid_cells


def record(grid_cell: GridCell, trial: "Trial") -> dict:
    """The content of a cell's file: a row per score, and what the numbers came from."""
    about = provenance.versions()
    common: dict[str, Any] = {
        "profile": grid_cell.profile,
        "changes": _text(grid_cell.changes),
        "options": _options(grid_cell.changes),
        "best_epoch": trial.detector.best_epoch,
        "seconds_per_1000": round(trial.seconds_per_1000, 3),
        "n_test": len(trial.split.test),
        "device": trial.detector.where,
        "precision": trial.cell.config.precision,
        "torch": about["torch"],
        "commit": provenance.commit(),
        "data_sha256": provenance.checksum(trial.data),
        "partial": trial.data.partial,
        "recipe": trial.detector.RECIPE,
        "stack": trial.detector.stack,
        "val_error": float(f"{trial.detector.val_error:.6g}"),
        "processor": provenance.processor(trial.detector.where),
    }
    rows = trial.rows().assign(**common)[list(COLUMNS)].round({"auroc": 6, "aupr": 6})
    result = {"cell": dataclasses.asdict(grid_cell.cell), "versions": about, "rows": rows.to_dict("records")}
    if grid_cell.keeps_scores:
        frame = pd.DataFrame({"row": trial.split.test, "is_novel": trial.split.is_novel} | trial.scores)
        result["scores"] = frame.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    return result


def write(path: Path, result: dict) -> None:
    """Write a cell's result with its checksum; the file is whole or absent."""
    body = json.dumps(result, sort_keys=True, indent=1)
    write_text(path, json.dumps({"sha256": sha256(body), "result": result}, sort_keys=True, indent=1))


def read(path: Path, set_aside: bool = False) -> dict | None:
    """A cell's result; None if there is none. A damaged file is reported, if ``set_aside`` renamed, and is none."""
    try:
        file = json.loads(path.read_text(encoding="utf-8"))
        if file["sha256"] != sha256(json.dumps(file["result"], sort_keys=True, indent=1)):
            raise ValueError("it does not match its own SHA-256")
        return file["result"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        what = "left out"
        if set_aside:
            aside = path.replace(path.with_name(path.name + ".damaged"))
            what = f"set aside as {aside.name}"
        say(f"{path} is damaged ({error}); {what}")
        return None


@functools.lru_cache(maxsize=2)
def _checksum_of(name: str) -> str:
    return provenance.checksum(data_of(name))


def is_done(path: Path, grid_cell: GridCell) -> bool:
    """Whether a file holds a sound result, not an error, of today's recipe and of the data as they are now."""
    result = read(path, set_aside=True)
    if not result or not result.get("rows"):
        return False
    row = result["rows"][0]
    if grid_cell.keeps_scores and "scores" not in result:
        return False
    return row.get("recipe", 0) == grid_cell.recipe and row["data_sha256"] == _checksum_of(grid_cell.dataset)


def collect(*folders: Path) -> pd.DataFrame:
    """The rows of all finished cells under some folders, sorted; a cell that several hold counts once."""
    rows = [row for result in _results(*folders) for row in result["rows"]]
    frame = completed(pd.DataFrame(rows, columns=list(COLUMNS))).drop_duplicates([*KEY, "score"])
    return frame.sort_values(KEY, kind="stable", ignore_index=True)


def _results(*folders: Path) -> Iterator[dict]:
    """Yield the content of the files of finished cells under some folders, the newest first; others are not touched."""
    for folder in folders:
        for path in sorted(folder.rglob("*.json"), key=lambda path: (-path.stat().st_mtime_ns, path)):
            result = read(path) if FILE.fullmatch(path.name) else None
            if result and "rows" in result:
                yield result


def completed(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of any age with all of today's columns."""
    rows = rows.reindex(columns=list(COLUMNS)).astype({"processor": object, "changes": object, "options": object})
    older = rows["changes"].isna()  # nothing was changed; or the row is so old that its profile holds the changes, too
    if older.any():
        words = rows.loc[older, "profile"].str.split(" ")
        changes = words.str[1:].map(lambda pairs: [tuple(pair.split("=", 1)) for pair in pairs])
        rows.loc[older, "profile"] = words.str[0]
        rows.loc[older, "changes"], rows.loc[older, "options"] = changes.map(_text), changes.map(_options)
    return rows.fillna(BEFORE).astype({"recipe": int, "stack": int})


def ids(rows: pd.DataFrame) -> list[str]:
    """The id of each row's cell (``GridCell.id``)."""
    labels = (rows["profile"] + " " + rows["changes"]).str.strip()
    names = rows[["dataset", "setting", "model", "target", "seed"]].astype(str).agg("/".join, axis=1)
    return (labels + "/" + names).tolist() if len(rows) else []


def kept_scores(*folders: Path) -> Iterator[tuple[str, str]]:
    """Yield each finished cell's id and kept scores; these are a CSV text: row, is_novel, a column per score.

    A cell that several folders hold counts once, as in ``collect``. Contaminated cells are left out, for an id does not
    name the share.
    """
    kept: dict[str, str] = {}
    for result in _results(*folders):
        if "scores" in result and not result["rows"][0].get("contamination"):
            kept.setdefault(ids(completed(pd.DataFrame(result["rows"][:1])))[0], result["scores"])
    yield from sorted(kept.items())


def lock(folder: Path) -> TextIO:
    """The folder's lock (``cache.lock``); a folder that cannot be made raises a ``ParameterError``."""
    try:
        return cache.lock(folder / ".lock", busy=f"another run is at work in {folder}")
    except OSError as error:
        raise ParameterError(f"out={folder}: {error.strerror}; name a folder that can be made") from error
