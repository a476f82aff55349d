"""The eight tables of the paper's Table 1 (``paper.toml``), read from the files that their publishers ship.

Nothing is downloaded, as most need a login: the files are looked for in a folder of ``$RAPP_DATA``, then of the cache.
What is read must be what was published: rows, features and classes are compared with Table 1, and x and y have a
SHA-256 that does not depend on line ends, compression or the order in which folders are searched.
"""

import os
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rapp.cache import cache_folder, sha256
from rapp.data.dataset import DataError, Dataset

# Where each table comes from, and what it must hold.
ORIGINS: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
Find = Callable[..., Path]  # file names in order of preference → the first that is there


class Table(NamedTuple):
    """What a reader makes of the files."""

    x: pd.DataFrame | np.ndarray  # (N, n_features)
    y: pd.Series | np.ndarray  # (N,) labels, keys of `classes` in paper.toml
    notes: tuple[str, ...] = ()
    partial: bool = False


def load(name: str) -> Dataset:
    """One of the paper's tables, by our name for it.

    Raises:
        DataError: a file that is missing, damaged or not the published one; the message says what to fetch.
    """
    origin = ORIGINS[name]
    login = ", which needs a login" if "kaggle" in origin["address"] else ""
    into = f"{cache_folder() / 'data' / origin['folder']} or $RAPP_DATA/{origin['folder']}"
    remedy = f'fetch {origin["files"]} from "{origin["page"]}" ({origin["address"]}{login}) and put it into {into}'
    files: list[Path] = []

    def find(*names: str) -> Path:
        files.append(_find(name, remedy, *names))
        return files[-1]

    try:
        table = READERS[name](find)
        x, y = np.ascontiguousarray(table.x, dtype=np.float64), np.asarray(table.y).astype(str)
    except DataError:
        raise
    except Exception as error:  # whatever the parsers raise on a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{name}: {files[-1]} could not be read ({reason}); {remedy}") from error
    _verify(name, origin | origin["partial"] if table.partial else origin, x, y, remedy)
    classes = tuple(origin["classes"])
    return Dataset(
        name, x, y, classes, None, origin["page"], origin["licence"], origin["citation"],
        tuple(origin["classes"].values()), table.notes, classes[0] if len(classes) == 2 else None, table.partial,
    )  # fmt: skip


def _verify(name: str, origin: dict[str, Any], x: np.ndarray, y: np.ndarray, remedy: str) -> None:
    words = "{:,} rows × {} features in {} classes".format
    known = set(y.tolist()) & set(origin["classes"])
    found, expected = [*x.shape, len(known)], origin.get("found", origin["shape"])
    if found != expected:
        raise DataError(f"{name} has {words(*found)}, expected {words(*expected)}; {remedy}")
    digest = sha256(x, y.astype("S"))
    if digest != (published := origin.get("sha256", digest)):
        raise DataError(f"{name}: the data's SHA-256 is {digest[:12]}…, expected {published[:12]}…; {remedy}")


def _find(name: str, remedy: str, *files: str) -> Path:
    """The first of ``files`` that is there, plain or .gz, in ``$RAPP_DATA`` or the cache."""
    roots = [Path(os.environ["RAPP_DATA"])] if os.environ.get("RAPP_DATA") else []
    for file in files:
        for root in [*roots, cache_folder() / "data"]:
            for path in (root / ORIGINS[name]["folder"] / end for end in (file, f"{file}.gz")):
                if path.is_file():
                    return path
    raise DataError(f"{name}: {files[0]} is missing; {remedy}")


def _csv(file: Path, **options: object) -> pd.DataFrame:
    """A CSV file, read by Arrow: every decimal becomes the nearest float64, so the checksum holds with any pandas."""
    return pd.read_csv(file, engine="pyarrow", **options)  # type: ignore[call-overload]


def _steel(find: Find) -> Table:
    """UCI's file has no header; the one at Kaggle, faults.csv, has: the same 27 features and 7 one-hot faults."""
    file = find("Faults.NNA", "faults.csv")
    rows = _csv(file) if file.name.startswith("faults.csv") else _csv(file, sep="\t", header=None)
    fault = rows.iloc[:, 27:].to_numpy().argmax(axis=1)
    return Table(rows.iloc[:, :27], np.array(list(ORIGINS["steel"]["classes"]))[fault])


def _otto(find: Find) -> Table:
    rows = _csv(find("train.csv"))
    y = rows["target"].str.removeprefix("Class_")
    return Table(rows.drop(columns=["id", "target"]), y, ("dropped as row number: id",))


def _sensorless(find: Find) -> Table:
    """48 features and the class on each line; if the whole file is missing, the part of it that can be had."""
    file = find("Sensorless_drive_diagnosis.txt", "sensorless_small.npz")
    if file.suffix == ".npz":
        with np.load(file) as part:
            x, y = part["X"], part["y"]
        note = f"partial: {len(x):,} of {ORIGINS['sensorless']['shape'][0]:,} rows, and the classes differ in size"
        return Table(x, y, (note,), partial=True)
    rows = np.loadtxt(file)
    return Table(rows[:, :-1], rows[:, -1].astype(int))


def _mill(find: Find, inspected: bool = False) -> Table:
    """Rows of 18 experiments. Novel: machining was not finished, or, of finished ones, the part failed inspection.

    47 columns are numbers; the machining process is one-hot, in 11 columns, as End and end are two processes.
    """
    experiments = _csv(find("train.csv")).set_index("No")
    question, yes, no, notes = "machining_finalized", "finished", "unfinished", []
    if inspected:
        experiments = experiments[experiments[question] == "yes"]
        question, yes, no = "passed_visual_inspection", "passed", "failed"
        notes = ["dropped as not inspected: rows of unfinished experiments"]
    rows = pd.concat([_csv(find(f"experiment_{i:02}.csv")).assign(No=i) for i in experiments.index])
    y = np.where(experiments[question].loc[rows.pop("No")] == "yes", yes, no)
    x = pd.get_dummies(rows, columns=["Machining_Process"], dtype=np.float64)
    constant = ", ".join(x.columns[x.nunique() == 1])
    return Table(x, y, (*notes, f"constant columns are kept, for Table 1 counts them: {constant}"))


def _hrss(find: Find) -> Table:
    """A storage system under two kinds of control, with and without anomalies; most readings occur more than once.

    Table 1's 20 features are as many as the files have columns. One of them is the label, which would give the answer
    away, and one the time since a run began, though the paper ignores order in time: 18 signals are left.
    """
    names = [f"HRSS_{kind}_{control}.csv" for kind in ("normal", "anomalous") for control in ("standard", "optimized")]
    rows = pd.concat([_csv(find(name)) for name in names])
    notes = (
        "dropped as time since the run began: Timestamp",
        "18 features where Table 1 says 20: the files have 20 columns, Timestamp and Labels included",
    )
    y = rows["Labels"].map({0: "normal", 1: "anomalous"})
    return Table(rows.drop(columns=["Timestamp", "Labels"]), y, notes)


def _asteroids(find: Find) -> Table:
    """A row per close approach, so an asteroid can have several."""
    rows = _csv(find("nasa.csv"))
    useless = {
        "identifier": ["Neo Reference ID", "Name"],
        "date in words": ["Close Approach Date", "Orbit Determination Date"],
        "constant": ["Orbiting Body", "Equinox"],
    }
    notes = [f"dropped as {reason}: {', '.join(columns)}" for reason, columns in useless.items()]
    notes.append("the paper does not say which 33 of 39 columns it uses: these are all numbers but the identifiers")
    y = np.where(rows.pop("Hazardous"), "hazardous", "harmless")
    return Table(rows.drop(columns=[name for names in useless.values() for name in names]), y, tuple(notes))


def _robot_arm(find: Find) -> Table:
    """Six joint readings and 1 or −1 a line, without header."""
    rows = _csv(find("rbfsvm_train_30.csv"), header=None)
    note = "taken for the paper's robot arm because rows and columns agree with Table 1"
    return Table(rows.iloc[:, :-1], rows.iloc[:, -1].map({1: "normal", -1: "malfunction"}), (note,))


READERS: dict[str, Callable[[Find], Table]] = {
    "steel": _steel, "otto": _otto, "sensorless": _sensorless, "mill-finished": _mill,
    "mill-inspected": partial(_mill, inspected=True), "hrss": _hrss, "asteroids": _asteroids, "robot-arm": _robot_arm,
}  # fmt: skip
