"""The eight tables of the paper's Table 1, read from the files that their publishers ship.

Nothing is downloaded, as most need a login: the files are looked for in a folder of ``$RAPP_DATA``, then of the cache.
What is read must be what was published: rows, features and classes are compared with Table 1, and x and y have a
SHA-256 that does not depend on line ends, compression or the order in which folders are searched.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from rapp.cache import cache_folder, sha256
from rapp.data.dataset import DataError, Dataset

TABLE_1 = {  # ours → the paper's samples, features, classes
    "steel": (1_941, 27, 7),
    "otto": (61_878, 93, 9),
    "sensorless": (58_509, 48, 11),
    "mill-finished": (25_286, 58, 2),
    "mill-inspected": (23_125, 58, 2),
    "hrss": (90_515, 20, 2),
    "asteroids": (4_687, 33, 2),
    "robot-arm": (20_221, 6, 2),
}
PARTIAL = "sensorless, partial"
DEPARTURES = {"hrss": (90_515, 18, 2), PARTIAL: (7_731, 48, 11)}  # from Table 1; the notes say why
# SHA-256 of (x float64, y bytes). The whole of sensorless has none: there was no copy to take it from.
CHECKSUMS = {
    "steel": "f0dd2c8dced7c25ef90609d4385516643b556cfc4a9b41c386a246a5a987e95d",
    "otto": "bf5ad8324793e921a47b14a052256722c632101ca23115b524dd955cfc79c9c0",
    PARTIAL: "0fcd5dd34bc17bbe769815ba22c4552490dccd9e267eac3926954f2db2f64975",
    "mill-finished": "b80bb6400528e986e1ff63aebf6245133d0fc41e1f4011cba0a6bb373344b234",
    "mill-inspected": "255ad19ca45d70ad1059ef9dfc34079706cc2a9f1aab736ea3ccfe371909857e",
    "hrss": "e70dcb206238977ef757b02e7f1a1f8b02db98dba28fedf1a76815e330c0921c",
    "asteroids": "d9be156800c2bb4029260cf6febbbffa65faf70b2fd14ba30d6a55ec5213aaff",
    "robot-arm": "bd01be11b07cd39da1e836a821d07fc36c3220364f5eff8104cf93e40b70f153",
}

Find = Callable[..., Path]  # file names in order of preference → the first that is there


class Table(NamedTuple):
    """What a reader makes of the files."""

    x: pd.DataFrame | np.ndarray  # (N, n_features)
    y: pd.Series | np.ndarray  # (N,) labels, keys of `Origin.classes`
    notes: tuple[str, ...] = ()
    partial: bool = False


@dataclass(frozen=True)
class Origin:
    """Where a table comes from, and what its labels mean."""

    read: Callable[[Find], Table]
    folder: str
    files: str  # what to fetch, in words
    page: str
    address: str
    licence: str
    citation: str  # a key of book/references.bib
    classes: dict[str, str]  # label → name for people; of two, the first is always the normal one


def load(name: str) -> Dataset:
    """One of the paper's tables, by our name for it.

    Raises:
        DataError: a file that is missing, damaged or not the published one; the message says what to fetch.
    """
    origin = ORIGINS[name]
    login = ", which needs a login" if "kaggle" in origin.address else ""
    into = f"{cache_folder() / 'data' / origin.folder} or $RAPP_DATA/{origin.folder}"
    remedy = f'fetch {origin.files} from "{origin.page}" ({origin.address}{login}) and put it into {into}'
    try:
        table = origin.read(partial(_find, name, remedy))
        x, y = np.ascontiguousarray(table.x, dtype=np.float64), np.asarray(table.y).astype(str)
    except DataError:
        raise
    except Exception as error:  # whatever the parsers raise on a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{name} could not be read ({reason}); {remedy}") from error
    _verify(name, PARTIAL if table.partial else name, x, y, remedy)
    classes = tuple(origin.classes)
    return Dataset(
        name, x, y, classes, None, origin.page, origin.licence, origin.citation, tuple(origin.classes.values()),
        table.notes, normal=classes[0] if len(classes) == 2 else None, partial=table.partial,
    )  # fmt: skip


def _verify(name: str, key: str, x: np.ndarray, y: np.ndarray, remedy: str) -> None:
    words = "{:,} rows × {} features in {} classes".format
    known = set(y.tolist()) & set(ORIGINS[name].classes)
    found, expected = (*x.shape, len(known)), DEPARTURES.get(key) or TABLE_1[key]
    if found != expected:
        raise DataError(f"{name} has {words(*found)}, expected {words(*expected)}; {remedy}")
    digest = sha256(x, y.astype("S"))
    if digest != (published := CHECKSUMS.get(key, digest)):
        raise DataError(f"{name}: the data's SHA-256 is {digest[:12]}…, expected {published[:12]}…; {remedy}")


def _find(name: str, remedy: str, *files: str) -> Path:
    """The first of ``files`` that is there, plain or .gz, in ``$RAPP_DATA`` or the cache."""
    roots = [Path(os.environ["RAPP_DATA"])] if os.environ.get("RAPP_DATA") else []
    for file in files:
        for root in [*roots, cache_folder() / "data"]:
            for path in (root / ORIGINS[name].folder / end for end in (file, f"{file}.gz")):
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
    return Table(rows.iloc[:, :27], np.array(list(FAULTS))[fault])


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
        note = f"partial: {len(x):,} of {TABLE_1['sensorless'][0]:,} rows, and the classes differ in size"
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


UCI = "https://archive.ics.uci.edu/dataset"
KAGGLE = "https://www.kaggle.com"
FAULTS = {
    "Pastry": "pastry", "Z_Scratch": "Z-scratch", "K_Scatch": "K-scratch", "Stains": "stains",
    "Dirtiness": "dirtiness", "Bumps": "bumps", "Other_Faults": "other faults",
}  # fmt: skip
MILL = (
    "cnc_mill", "train.csv and experiment_01.csv to experiment_18.csv", "Kaggle: CNC Mill Tool Wear",
    f"{KAGGLE}/datasets/shasun/tool-wear-detection-in-cnc-mill", "CC0", "smartlab2018",
)  # fmt: skip

ORIGINS = {
    "steel": Origin(
        _steel, "steel_plates_faults", "Faults.NNA", "UCI Machine Learning Repository: Steel Plates Faults",
        f"{UCI}/198/steel+plates+faults", "CC BY 4.0", "buscema2010", FAULTS,
    ),
    "otto": Origin(
        _otto, "otto", "train.csv", "Kaggle: Otto Group Product Classification Challenge",
        f"{KAGGLE}/c/otto-group-product-classification-challenge", "the competition's rules", "otto2015",
        {str(i): f"Class_{i}" for i in range(1, 10)},
    ),
    "sensorless": Origin(
        _sensorless, "sensorless_drive", "Sensorless_drive_diagnosis.txt",
        "UCI Machine Learning Repository: Dataset for Sensorless Drive Diagnosis",
        f"{UCI}/325/dataset+for+sensorless+drive+diagnosis", "CC BY 4.0", "bator2013",
        {str(i): f"condition {i}" for i in range(1, 12)},
    ),
    "mill-finished": Origin(_mill, *MILL, {"finished": "finished", "unfinished": "unfinished"}),
    "mill-inspected": Origin(partial(_mill, inspected=True), *MILL, {"passed": "passed", "failed": "failed"}),
    "hrss": Origin(
        _hrss, "hrss", "the four HRSS_*.csv", "Kaggle: High Storage System Data for Energy Optimization",
        f"{KAGGLE}/datasets/inIT-OWL/high-storage-system-data-for-energy-optimization", "CC BY-NC-SA 4.0",
        "birgelen2018", {"normal": "normal", "anomalous": "anomalous"},
    ),
    "asteroids": Origin(
        _asteroids, "nasa_asteroids", "nasa.csv", "Kaggle: NASA: Asteroids Classification",
        f"{KAGGLE}/datasets/shrutimehta/nasa-asteroids-classification", "see its page", "neows",
        {"harmless": "harmless", "hazardous": "hazardous"},
    ),
    "robot-arm": Origin(
        _robot_arm, "rarm", "src/data/rbfsvm_train_30.csv", "GitHub: narayave/mh5_anomaly_detector",
        "https://github.com/narayave/mh5_anomaly_detector", "BSD 3-Clause", "narayanan2018",
        {"normal": "normal", "malfunction": "malfunction"},
    ),
}  # fmt: skip
