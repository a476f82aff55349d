"""Any CSV or Parquet table with labels as a data set. What cannot be used is refused; what is left out is said."""

import difflib
from pathlib import Path

import numpy as np
import pandas as pd

from rapp.datasets import DataError, Dataset

SUFFIXES = (".csv", ".csv.gz", ".parquet")
MIN_ROWS = 20  # 60/20/20 of fewer is nothing to learn from
MAX_CLASSES, MAX_CATEGORIES = 100, 50


def is_table(name: str) -> bool:
    """Whether a data set's name is meant as a path to a table."""
    return name.lower().endswith(SUFFIXES)


def read(path: str, label: str | None) -> Dataset:
    """Read a table: every column but the label is a feature, numeric ones as they are, text ones one-hot.

    Left out, and named in the result's ``notes``: constant columns, row numbers, dates, and text with more than 50
    different values. Nothing is standardised here, for only a split knows the training rows.

    Args:
        path: a .csv, .csv.gz or .parquet file; a CSV has a header line.
        label: name of the column that holds the classes.

    Raises:
        DataError: no such file or column, or values that cannot be used, with the column and what to do.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"dataset {path!r}: there is no such file")
    try:
        frame = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file, low_memory=False)
    except Exception as error:  # whatever the parsers raise on what is no table
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file.name} could not be read as a table ({reason}); is it what its name says?") from error
    frame.columns = [str(column).removeprefix("\ufeff") for column in frame.columns]
    columns = list(frame.columns)
    if label is None:
        raise DataError(f"{file.name} is a table: name its label column (LABEL=…), one of {_some(columns)}")
    if label not in columns:
        close = difflib.get_close_matches(label, columns, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        if len(columns) == 1 and (found := [mark for mark in ";\t|" if mark in columns[0]]):
            hint = f"its values seem to be separated by {found[0]!r}, save it with commas; "
        raise DataError(f"{file.name} has no column {label!r}; {hint}it has {_some(columns)}")
    if len(frame) < MIN_ROWS:
        raise DataError(f"{file.name} has {len(frame)} rows; at least {MIN_ROWS} are needed")
    y = _classes(file.name, frame[label])
    x, notes = _features(file.name, frame.drop(columns=label))
    classes = tuple(sorted(set(y.tolist())))
    source = f"{file.name}, label column {label!r}"
    return Dataset(file.name, x, y, classes, None, source, "its owner's", "", classes, notes)


def _some(names: list[str], most: int = 12) -> str:
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def _classes(table: str, column: pd.Series) -> np.ndarray:
    if missing := int(column.isna().sum()):
        first = int(column.isna().to_numpy().argmax())
        raise DataError(
            f"{table}: {missing} rows have no label in {column.name!r}, the first is data row {first + 1}; "
            f"remove or label them"
        )
    if pd.api.types.is_float_dtype(column) and (column == column.round()).all():
        column = column.astype(np.int64)  # 1.0 is class 1
    y = column.astype(str).to_numpy(dtype=str)
    n = len(set(y.tolist()))
    if n == 1:
        raise DataError(f"{table}: label column {column.name!r} has one class ({str(y[0])!r}); at least two are needed")
    if n > MAX_CLASSES:
        raise DataError(f"{table}: label column {column.name!r} has {n} different values; at most {MAX_CLASSES} can be")
    if (counts := pd.Series(y).value_counts()).min() == 1:
        raise DataError(
            f"{table}: class {counts.index[-1]!r} of label column {column.name!r} has one row; "
            f"remove it or join it to another class"
        )
    return y


def _features(table: str, frame: pd.DataFrame) -> tuple[np.ndarray, tuple[str, ...]]:
    kept: list[pd.DataFrame] = []
    dropped: dict[str, list[str]] = {}
    for name in frame.columns:
        column = frame[name]
        _refuse_missing(table, column)
        text = not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column))
        if text:
            column = _numbers_or_text(table, column)
        if reason := _useless(column):
            dropped.setdefault(reason, []).append(name)
        elif pd.api.types.is_numeric_dtype(column):
            kept.append(_finite(table, column.astype(np.float64)).to_frame())
        else:
            kept.append(pd.get_dummies(column.astype(str), prefix=name, dtype=np.float64))
    if not kept:
        raise DataError(f"{table}: no column is left to learn from (dropped: {dropped})")
    notes = tuple(f"dropped as {reason}: {', '.join(names)}" for reason, names in dropped.items())
    return pd.concat(kept, axis=1).to_numpy(np.float64), notes


def _refuse_missing(table: str, column: pd.Series) -> None:
    if missing := int(column.isna().sum()):
        first = int(np.flatnonzero(column.isna())[0])
        raise DataError(
            f"{table}: column {column.name!r} has {missing} missing values (NaN), the first in data row {first + 1}; "
            f"fill them or remove those rows"
        )


def _finite(table: str, column: pd.Series) -> pd.Series:
    if infinite := int(np.isinf(column).sum()):
        first = int(np.isinf(column).to_numpy().argmax())
        raise DataError(
            f"{table}: column {column.name!r} has {infinite} infinite values, the first in data row {first + 1}; "
            f"replace them or remove those rows"
        )
    return column


def _numbers_or_text(table: str, column: pd.Series) -> pd.Series:
    """Text as numbers where all of it is; refused where half of it is, for that is a slip."""
    numbers = pd.to_numeric(column, errors="coerce")
    share = numbers.notna().mean()
    if 0.5 <= share < 1:
        row = int(np.flatnonzero(numbers.isna())[0])
        raise DataError(
            f"{table}: column {column.name!r} has text among numbers: {str(column.iloc[row])!r} in data row {row + 1}; "
            f"correct or remove it"
        )
    return numbers if share == 1 else column


def _useless(column: pd.Series) -> str:
    different = column.nunique()
    if different == 1:
        return "constant"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "date"
    if not pd.api.types.is_numeric_dtype(column):
        return f"text with over {MAX_CATEGORIES} different values" if different > MAX_CATEGORIES else ""
    counts_rows = pd.api.types.is_integer_dtype(column) and different == len(column) and (column.diff()[1:] == 1).all()
    return "row number" if counts_rows else ""
