"""Any CSV or Parquet table with labels as a data set. What cannot be used is refused; what is left out is said."""

import difflib
import os
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from rapp.data.dataset import DataError, Dataset

SUFFIXES = (".csv", ".csv.gz", ".parquet")
MIN_ROWS = 20  # 60/20/20 of fewer is nothing to learn from
MAX_CLASSES, MAX_CATEGORIES = 100, 50
ROWS_A_VALUE = 5  # of a column whose values each occur in one class alone; with fewer that can be chance


def is_table(name: str) -> bool:
    """Whether a data set's name is meant as a path to a table."""
    return name.lower().endswith(SUFFIXES)


def read(path: str, label: str | None) -> Dataset:
    """Read a table: every column but the label is a feature, numeric ones as they are, text ones one-hot.

    Left out, and named in the result's ``notes`` and on stderr: constant columns, row numbers, dates, text with more
    than 50 different values, and the label under another name. Nothing is standardised here, for only a split knows
    the training rows.

    Args:
        path: a .csv, .csv.gz or .parquet file; a CSV has a header line.
        label: name of the column that holds the classes.

    Raises:
        DataError: no such file or column, a column name that stands twice, or values that cannot be used, with the
            column and what to do.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"dataset {path!r}: there is no such file")
    try:
        is_parquet = file.suffix.lower() == ".parquet"
        refuse_twice(file.name, _parquet_header(file) if is_parquet else _csv_header(file))
        frame = pd.read_parquet(file) if is_parquet else pd.read_csv(file, low_memory=False)
        if not isinstance(frame.index, pd.RangeIndex) and not is_parquet:
            raise DataError(
                f"{file.name}: its rows have more values than its header has names ({len(frame.columns)}); name every "
                f"column, or remove the commas at the ends of the rows"
            )
    except DataError:
        raise
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
    x, notes = _features(file.name, frame.drop(columns=label), y, label)
    for note in notes:
        _say_once(file, note)
    classes = tuple(sorted(set(y.tolist())))
    source = f"{file.name}, label column {label!r}"
    return Dataset(file.name, x, y, classes, None, source, "its owner's", "", classes, notes)


def _parquet_header(file: Path) -> list[str]:
    from pyarrow import parquet  # here, for who has CSV alone needs no pyarrow

    return parquet.read_schema(file).names


def _csv_header(file: Path) -> list[str]:
    """The names as they stand in the file: pandas renames the second of two, and nobody would know."""
    line = pd.read_csv(file, header=None, nrows=1, dtype=str, keep_default_na=False)
    return line.iloc[0].str.removeprefix("\ufeff").tolist()


def refuse_twice(table: str, header: list[str]) -> None:
    """Names that differ by spaces around them count as one: nobody means two columns by that."""
    times = Counter(name.strip() for name in header if name.strip())
    if twice := [name for name, n in times.items() if n > 1]:
        raise DataError(
            f"{table}: {times[twice[0]]} columns are called {twice[0]!r}"
            + (f", and there are several called {_some(twice[1:])}" if twice[1:] else "")
            + "; rename them, or leave all but one out: a second label would tell which rows are novel"
        )


def _say_once(file: Path, note: str) -> None:
    """A line on stderr; the processes that this one starts, such as a notebook's, inherit that it has been said."""
    mark, said = f"{zlib.crc32(f'{file.resolve()} {note}'.encode()):x}", os.environ.get("RAPP_SAID", "")
    if mark not in said.split():
        os.environ["RAPP_SAID"] = f"{said} {mark}".strip()
        print(f"rapp: {file.name}: {note}", file=sys.stderr, flush=True)


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


def _features(table: str, frame: pd.DataFrame, y: np.ndarray, label: str) -> tuple[np.ndarray, tuple[str, ...]]:
    kept: list[pd.DataFrame] = []
    dropped: dict[str, list[str]] = {}
    suspects: list[str] = []
    for name in frame.columns:
        column = check_column(table, frame[name])
        told, reason = _tells(column, y), useless(column)
        if not reason and told == "all":
            reason = f"the label {label!r} under another name (each class has one value of its own)"
        if not reason and told:
            suspects.append(name)
        if reason:
            dropped.setdefault(reason, []).append(name)
        elif pd.api.types.is_numeric_dtype(column):
            kept.append(column.astype(np.float64).to_frame())
        else:
            kept.append(pd.get_dummies(column.astype(str), prefix=name, dtype=np.float64))
    if not kept:
        raise DataError(f"{table}: no column is left to learn from (dropped: {dropped})")
    notes = [f"dropped as {reason}: {', '.join(names)}" for reason, names in dropped.items()]
    if suspects:
        notes.append(
            f"kept, though class and value go together without exception: {', '.join(suspects)}; "
            f"if made from {label!r}, remove it, for it gives the novel rows away"
        )
    return pd.concat(kept, axis=1).to_numpy(np.float64), tuple(notes)


def _tells(column: pd.Series, y: np.ndarray) -> str:
    """How much of the label a column gives away: "all" if each class has one value and each value one class.

    "part" if one of the two holds and is no chance: each class has one value, such as "is it a fault" beside the kind
    of fault, or each value one class, such as the kind of fault beside "is it one". A continuous feature is neither.
    """
    values, classes = pd.factorize(column)[0], pd.factorize(y)[0]
    pairs = pd.DataFrame({"value": values, "class": classes}).drop_duplicates()
    n_values, n_classes = pairs["value"].nunique(), pairs["class"].nunique()
    if len(pairs) == n_values == n_classes:
        return "all"
    few = n_values * ROWS_A_VALUE <= len(column)
    return "part" if n_values > 1 and (len(pairs) == n_classes or (len(pairs) == n_values and few)) else ""


def _refuse_missing(table: str, column: pd.Series) -> None:
    if missing := int(column.isna().sum()):
        first = int(np.flatnonzero(column.isna())[0])
        raise DataError(
            f"{table}: column {column.name!r} has {missing} missing values (NaN), the first in data row {first + 1}; "
            f"fill them or remove those rows"
        )


def check_column(table: str, column: pd.Series) -> pd.Series:
    """A column whose values are all there: numbers, and text that is none.

    Raises:
        DataError: values that are missing or infinite, or text among numbers, with the first such row.
    """
    _refuse_missing(table, column)
    if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column)):
        column = numbers_or_text(table, column)
    infinite = np.isinf(column.to_numpy(np.float64)) if pd.api.types.is_numeric_dtype(column) else np.zeros(1, bool)
    if infinite.any():
        raise DataError(
            f"{table}: column {column.name!r} has {infinite.sum()} infinite values, the first in data row "
            f"{infinite.argmax() + 1}; replace them or remove those rows"
        )
    return column


def numbers_or_text(table: str, column: pd.Series) -> pd.Series:
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


def useless(column: pd.Series) -> str:
    """Why a column cannot be a feature; "" if it can."""
    different = column.nunique()
    if different == 1:
        return "constant"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "date"
    if not pd.api.types.is_numeric_dtype(column):
        return f"text with over {MAX_CATEGORIES} different values" if different > MAX_CATEGORIES else ""
    counts_rows = pd.api.types.is_integer_dtype(column) and different == len(column) and (column.diff()[1:] == 1).all()
    return "row number" if counts_rows else ""
