"""A detector for people's own tables: which columns, how scaled, and the estimator, kept together in a folder."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rapp import saving
from rapp.cache import DamagedFileError
from rapp.calibration import p_values
from rapp.data.columns import row_numbers, without_points
from rapp.data.dataset import DataError
from rapp.data.schema import Column, encode, learn
from rapp.data.table_file import located, parts, some
from rapp.data.table_file import read as read_table
from rapp.estimator import RaPP, restored
from rapp.progress import Progress, say

CHUNK = 10_000  # rows scored at once
REASONS = 3  # features that a flagged row's line names


@dataclass
class Part:
    """Those rows of a part of a table that could be scored; perhaps none."""

    table: str  # its name
    numbers: np.ndarray  # (n,) of the rows, counted from 1 without the header
    x: np.ndarray  # (n, d) features, as the table has them
    scores: np.ndarray  # (n,) higher = more novel
    left_out: Counter[str]  # reason → rows so far that could not be scored


@dataclass
class TableModel:
    """A fitted estimator with all that it needs to read a table."""

    table: str  # name of the one it was fitted on
    n_rows: int  # of it that were taken, normal ones
    columns: list[Column]
    mean: np.ndarray  # (d,) of the features in training, and their standard deviation; 1 where that is 0
    scale: np.ndarray
    estimator: RaPP
    commas: bool = False  # whether its numbers had decimal commas

    @property
    def features(self) -> list[str]:
        """Names of the features (d)."""
        return [name for column in self.columns for name in column.features]

    @property
    def normal(self) -> np.ndarray:
        """Scores of the normal rows that were held out, (n,)."""
        return self.estimator.pathway_.normal[self.estimator.method_]

    @property
    def threshold(self) -> float:
        """The score above which a row is novel."""
        return -self.estimator.offset_

    def scaled(self, x: np.ndarray) -> pd.DataFrame:
        """Features x (n, d) as the estimator takes them."""
        return pd.DataFrame((x - self.mean) / self.scale, columns=self.features)

    def values(self, x: np.ndarray) -> dict[str, str]:
        """A row's features x (d,) as its columns' values."""
        marks = dict(zip(self.features, x, strict=True))
        known = {
            column: [value for value in column.categories if marks[f"{column.name}={value}"]] for column in self.columns
        }
        return {column.name: value[0] if value else f"{marks[column.name]:.6g}" for column, value in known.items()}

    def parts(self, source: str, skip: bool = False) -> Iterator[Part]:
        """Yield a table's rows with their scores, a part at a time.

        Args:
            source: a file as ``table_file.read`` takes it, or "-".
            skip: leave out rows that cannot be scored, and count them.

        Raises:
            DataError: as in ``table_file.parts`` and ``schema.encode``; no row can be scored.
        """
        numbers = {column.name for column in self.columns if not column.categories}
        told: set[str] = set()
        left_out, n_rows, method = Counter[str](), 0, self.estimator.method_
        with located(source) as file, contextlib.closing(Progress(None, "row", file.name)) as progress:
            for frame, notes in parts(file, lambda name: name not in numbers, CHUNK, self.commas):
                for note in sorted({*notes} - told):
                    say(f"{file.name}: {note}")
                told |= {*notes}
                x, rows, reasons = encode(frame, self.columns, file.name, skip)
                left_out, n_rows = left_out + reasons, n_rows + len(rows)
                try:
                    scores = self.estimator.scores(self.scaled(x))[method].to_numpy() if len(x) else x[:, 0]
                except ValueError as error:  # numbers so far from training's that scores overflow
                    raise DataError(f"{file.name}: {error}") from error
                yield Part(file.name, frame.index[rows].to_numpy() + 1, x, scores, left_out)
                progress.add(len(frame))
        if left_out:
            say(f"{file.name}: {told_left_out(left_out)}")
        if not n_rows:
            raise DataError(f"{file.name} has no row that can be scored")

    def scored(self, source: str, skip: bool = False) -> Iterator[pd.DataFrame]:
        """Yield the lines of ``rapp score``: row, score, p_value, is_novel, and three reasons; otherwise as ``parts``.

        The reasons are the features by whose change the score of a novel row would fall most; "" where none does.
        """
        for part in self.parts(source, skip):
            if not len(part.x):
                continue
            found = pd.DataFrame({"row": part.numbers, "score": part.scores})
            found["p_value"] = p_values(self.normal, part.scores)
            found["is_novel"] = part.scores > self.threshold
            reasons = np.full((len(found), REASONS), "", dtype=object)
            if found["is_novel"].any():
                falls = self.estimator.explain(self.scaled(part.x[found["is_novel"]])).to_numpy()
                order = np.argsort(-falls, axis=1, kind="stable")[:, :REASONS]
                names = np.array(self.features, dtype=object)[order]
                names[np.take_along_axis(falls, order, axis=1) <= 0] = ""
                reasons[found["is_novel"], : order.shape[1]] = names
            for i in range(REASONS):
                found[f"reason_{i + 1}"] = reasons[:, i]
            yield found

    def save(self, folder: Path) -> None:
        """Write the model into a folder, in place of an older one; an interruption leaves one of the two whole."""
        table = {"columns": [asdict(column) for column in self.columns], "name": self.table, "n_rows": self.n_rows}
        table |= {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "commas": self.commas}
        saving.save(self.estimator, folder, table=table)


def told_left_out(reasons: Counter[str]) -> str:
    """How many rows were left out, and why."""
    return f"{reasons.total():,} rows were left out: {', '.join(f'{why} in {n:,}' for why, n in reasons.items())}"


def check_out(folder: Path) -> None:
    """Raise a DataError if a model would come into a folder that holds other things, or in place of a file."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if (there != folder and not there.is_dir()) or not os.access(there, os.W_OK):
        why = "may not be written" if there.is_dir() else "is a file"
        raise DataError(f"out={folder} cannot be written, for {there} {why}; name another folder")
    if (folder / saving.FILE).is_file():
        saving.refuse_another_kind(folder, {"table": {}})
        return
    if there != folder:
        return
    if not folder.is_dir() or any(saving.FILE not in path.name for path in folder.iterdir()):  # in it: a killed fit's
        raise DataError(f"out={folder} is there, and no model of rapp; name another folder")


def fit(source: str, label: str | None = None, normal: str | None = None, **params: object) -> TableModel:
    """A model of a table's normal rows.

    Args:
        source: a file as ``table_file.read`` takes it, or "-".
        label: the column that says what a row is; None: all rows are normal.
        normal: its value for normal rows, the others are left out.
        params: of ``RaPP``.

    Raises:
        DataError: a table, label or value that cannot be used.
    """
    if (label is None) != (normal is None):
        raise DataError("say both or none of --label COLUMN and --normal VALUE: which rows are normal, if not all")
    with located(source) as file:
        frame, notes = read_table(file, label)
    table = file.name
    if frame.empty:
        raise DataError(f"{table} has no rows")
    if label is not None:
        frame = _normal(table, frame, label, str(normal))
    columns, more = learn(frame, table)
    for note in [*notes, *more]:
        say(f"{table}: {note}")
    x = encode(frame, columns, table)[0]
    scale = np.where(x.std(0) > 0, x.std(0), 1)
    commas = any("decimal commas" in note for note in notes)
    model = TableModel(table, len(x), columns, x.mean(0), scale, RaPP(**params), commas)  # type: ignore[arg-type]
    try:
        model.estimator.fit(model.scaled(x))
    except (ValueError, FloatingPointError) as error:  # parameters, too few rows, a diverged training
        raise DataError(f"{table}: {error}") from error
    return model


def _normal(table: str, frame: pd.DataFrame, label: str, normal: str) -> pd.DataFrame:
    """The rows of one kind, without the label."""
    if label not in frame.columns:
        raise DataError(f"{table} has no column {label!r}; it has {some(list(frame.columns))}")
    kinds, normal = without_points(frame.pop(label).dropna().astype(str).str.strip(), normal)
    if normal not in set(kinds):
        raise DataError(f"{table}: no row has {label}={normal!r}; there are {some(sorted(set(kinds)))}")
    chosen = kinds.index[kinds == normal]
    if counted := row_numbers(frame):
        frame = frame.drop(columns=counted)
        say(f"{table}: dropped as row number: {', '.join(counted)}")
    say(f"{table}: {len(chosen)} rows with {label}={normal} are normal, {len(frame) - len(chosen)} are left out")
    return frame.loc[chosen]


def read(folder: Path) -> TableModel:
    """The model that ``TableModel.save`` wrote.

    Raises:
        DamagedFileError: there is none, or it was altered.
    """
    tensors, about = saving.read(folder) if (folder / saving.FILE).is_file() else ({}, {})
    if "table" not in about:
        raise DamagedFileError(f"{folder} holds no model of a table; rapp fit TABLE --out {folder} makes one")
    table = about["table"]
    columns = [Column(column["name"], tuple(column["categories"])) for column in table["columns"]]
    mean, scale = np.array(table["mean"]), np.array(table["scale"])
    return TableModel(
        table["name"], table["n_rows"], columns, mean, scale, restored(tensors, about), table.get("commas", False)
    )
