"""What a table's columns become as features, learnt from one table and asked of the next."""

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from rapp.data.dataset import DataError
from rapp.data.user_table import check_column, refuse_twice, useless

CHUNK = 10_000  # rows read at once
SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class Column:
    """A column that is used: a number as it is, or a text as one feature for each of its values."""

    name: str
    categories: tuple[str, ...] = ()  # of a text; none for numbers

    @property
    def features(self) -> list[str]:
        """The names of its features."""
        return [f"{self.name}={value}" for value in self.categories] or [self.name]


def learn(frame: pd.DataFrame, table: str) -> tuple[list[Column], list[str]]:
    """The columns that can be used, and what was left out and why.

    Raises:
        DataError: values that are missing, infinite, or text among numbers; no column that can be used.
    """
    columns, dropped = [], []
    for name in map(str, frame.columns):
        column = check_column(table, frame[name])
        if reason := useless(column):
            dropped.append(f"dropped as {reason}: {name}")
        elif pd.api.types.is_numeric_dtype(column):
            columns.append(Column(name))
        else:
            columns.append(Column(name, tuple(sorted(column.astype(str).unique()))))
    if not columns:
        raise DataError(f"{table}: no column is left to learn from ({'; '.join(dropped)})")
    return columns, dropped


def encode(frame: pd.DataFrame, columns: list[Column], table: str, skip: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) float64 of a table's rows, whatever the order of its columns, and which rows they are (n,).

    Args:
        frame: the rows; columns that are not asked for are left alone.
        columns: what ``learn`` found.
        table: what to call it in errors.
        skip: leave out rows with missing values or unknown categories, rather than refuse the table.

    Raises:
        DataError: a column that is missing, a category that ``learn`` has not seen, a value that is none.
    """
    if missing := [column.name for column in columns if column.name not in frame.columns]:
        raise DataError(
            f"{table} has no column {missing[0]!r}, which the model needs; it has {', '.join(frame.columns)}"
        )
    parts, usable = [], np.ones(len(frame), dtype=bool)
    for column in columns:
        values = frame[column.name]
        if column.categories:
            words = values.astype(str)
            known = words.isin(column.categories) & values.notna()
            parts.append(np.column_stack([words == value for value in column.categories]).astype(np.float64))
        else:
            numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
            known = pd.Series(np.isfinite(numbers), frame.index)
            parts.append(numbers[:, None])
        if not skip and not known.all():
            first = int((~known.to_numpy()).argmax())
            value, row = values.iloc[first], frame.index[first]
            what = (
                f"a category that training had not: {', '.join(column.categories)}"
                if column.categories
                else "no number"
            )
            what = "missing" if pd.isna(value) else f"{str(value)!r}, {what}"
            raise DataError(
                f"{table}: column {column.name!r} is {what} in data row {row + 1}; correct it, or leave such rows out "
                f"with --on-missing skip"
            )
        usable &= known.to_numpy()
    return np.column_stack(parts)[usable], np.flatnonzero(usable)


def chunks(source: str) -> Iterator[pd.DataFrame]:
    """Yield the rows of a .csv, .csv.gz or .parquet file, or of "-" for CSV on standard input, a part at a time.

    The separator of a CSV is told by its header line. Rows are numbered through.

    Raises:
        DataError: there is no such file, or it is no table.
    """
    path = Path(source).expanduser()
    if source != "-" and not path.is_file():
        raise DataError(f"{source!r}: there is no such file")
    try:
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet  # here, for who has CSV alone needs no pyarrow

            start = 0
            for batch in parquet.ParquetFile(path).iter_batches(CHUNK):
                frame = batch.to_pandas()
                frame.index = pd.RangeIndex(start, start := start + len(frame))
                yield frame
            return
        yield from _csv(sys.stdin if source == "-" else path, source)
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not in UTF-8 (byte {error.start}); save it as CSV in UTF-8") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{source} could not be read as a table ({reason})") from error


def _csv(file: IO[str] | Path, source: str) -> Iterator[pd.DataFrame]:
    if isinstance(file, Path):
        first = pd.read_csv(file, sep="\0", header=None, nrows=1, dtype=str, engine="python", encoding="utf-8-sig")
        header, names = str(first.iloc[0, 0]), None
    else:
        header = file.readline().removeprefix("\ufeff").rstrip("\r\n")
        names = next(csv.reader([header], delimiter=max(SEPARATORS, key=header.count)))
    separator = max(SEPARATORS, key=header.count)
    refuse_twice(source, next(csv.reader([header], delimiter=separator)))
    options = {"sep": separator, "chunksize": CHUNK, "encoding": "utf-8-sig", "index_col": False, "low_memory": False}
    options |= {"names": names, "header": None} if names else {}  # of standard input, the header has been read
    with pd.read_csv(file, **options) as reader:  # type: ignore[call-overload]
        for frame in reader:
            frame.columns = [str(name).strip() for name in frame.columns]
            yield frame


def whole(source: str) -> pd.DataFrame:
    """All rows of a table; errors as in ``chunks``, and one that has no rows is refused."""
    frame = pd.concat(chunks(source))
    if frame.empty:
        raise DataError(f"{source} has no rows")
    return frame
