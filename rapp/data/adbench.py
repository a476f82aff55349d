"""The tables of ADBench (Han et al. 2022), as its repository ships them: ``NUMBER_NAME.npz`` with X and y."""

import os
from pathlib import Path

import numpy as np

from rapp.cache import cache_folder
from rapp.data.dataset import DataError, Dataset

PREFIX = "adbench/"
SOURCE = "https://github.com/Minqi824/ADBench"
AT_MOST = 10_000  # rows of a table; of a larger one so many are drawn, by class
AT_LEAST = 100  # rows of a class that are kept, or all it has: of a stratified three anomalies nothing can be learnt


def tables() -> dict[str, Path]:
    """Files by name, without number and in alphabetical order, in ``$RAPP_DATA/adbench`` or the cache's folder.

    Raises:
        DataError: there are none.
    """
    roots = [Path(os.environ["RAPP_DATA"])] if os.environ.get("RAPP_DATA") else []
    for folder in (root / "adbench" for root in [*roots, cache_folder() / "data"]):
        files = {path.stem.split("_", 1)[-1]: path for path in folder.glob("*_*.npz")}
        if files:
            return {name: files[name] for name in sorted(files, key=str.lower)}
    raise DataError(
        f"no table of ADBench is there: fetch its NUMBER_NAME.npz files ({SOURCE}, folder adbench/datasets/Classical) "
        f"and put them into {cache_folder() / 'data' / 'adbench'} or $RAPP_DATA/adbench"
    )


def load(name: str) -> Dataset:
    """``adbench/cardio`` or ``adbench/6_cardio``: normal rows are class 0, anomalies class 1.

    Raises:
        DataError: no folder, no such table, or a file that is damaged.
    """
    known, short = tables(), name.removeprefix(PREFIX)
    path = known.get(short) or next((file for file in known.values() if file.stem == short), None)
    if path is None:
        raise DataError(f"dataset {name!r} is unknown; there are: {', '.join(PREFIX + table for table in known)}")
    try:
        with np.load(path, allow_pickle=False) as file:
            x, y = np.asarray(file["X"], dtype=np.float64), np.asarray(file["y"]).astype(int).astype(str)
        if x.ndim != 2 or y.shape != (len(x),) or set(y.tolist()) != {"0", "1"} or not np.isfinite(x).all():
            raise ValueError("X must be rows of finite numbers, y a 0 or 1 for each, and both must occur")
    except Exception as error:  # whatever NumPy raises on what is no such file
        raise DataError(f"{path} could not be read ({str(error).splitlines()[0]}); fetch it again: {SOURCE}") from error
    rows = _drawn(y)
    note = () if len(rows) == len(y) else (f"{len(rows):,} of {len(y):,} rows, drawn by class with seed 0",)
    title = PREFIX + path.stem.split("_", 1)[-1]
    return Dataset(
        title, x[rows], y[rows], ("0", "1"), None, f"{path.name} of ADBench, {SOURCE}",
        "each table's own, named in ADBench's paper", "han2022adbench", ("normal", "anomaly"), note, "0", bool(note),
    )  # fmt: skip


def _drawn(y: np.ndarray) -> np.ndarray:
    """Row numbers in the file's order: all, or ``AT_MOST`` drawn by class with a fixed seed."""
    if len(y) <= AT_MOST:
        return np.arange(len(y))
    anomalies, normal = np.flatnonzero(y == "1"), np.flatnonzero(y == "0")
    n = max(round(AT_MOST * len(anomalies) / len(y)), min(AT_LEAST, len(anomalies)))
    rng = np.random.default_rng(0)
    return np.sort(np.concatenate([rng.choice(normal, AT_MOST - n, False), rng.choice(anomalies, n, False)]))
