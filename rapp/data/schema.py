"""What a table's columns become as features, learnt from one table and asked of the next."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rapp.data.columns import LARGEST, NUMBERED, checked, is_numbered, missing_words
from rapp.data.dataset import DataError

TRUTH = {"True": 1.0, "TRUE": 1.0, "true": 1.0, "False": 0.0, "FALSE": 0.0, "false": 0.0}  # as pandas reads them


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
    """The columns that can be used, and notes of what was left out and why, or kept though it looks odd.

    Raises:
        DataError: values that are missing, infinite, or text among numbers; no column that can be used.
    """
    columns, dropped, words, numbered = [], dict[str, list[str]](), [], []
    for name in map(str, frame.columns):
        column, reason = checked(table, frame[name])
        if reason:
            dropped.setdefault(reason, []).append(name)
        elif pd.api.types.is_numeric_dtype(column):
            columns.append(Column(name))
            numbered += [name] if is_numbered(column) else []
        else:
            columns.append(Column(name, tuple(sorted(column.unique()))))
            words += [f"{word!r} in {name}" for word in missing_words(column)]
    notes = [f"dropped as {reason}: {', '.join(names)}" for reason, names in dropped.items()]
    if not columns:
        why = f" ({'; '.join(notes)})" * bool(notes)
        raise DataError(f"{table}: no column is left to learn from{why}; add a column of numbers")
    (feature, times), *_ = Counter(name for column in columns for name in column.features).most_common()
    if times > 1:
        raise DataError(f"{table}: a column is called {feature!r}, as a value of another will be; rename it")
    notes += [f"kept as words, not as missing: {', '.join(words)}"] if words else []
    return columns, notes + ([NUMBERED.format(", ".join(numbered))] if numbered else [])


def encode(
    frame: pd.DataFrame, columns: list[Column], table: str, skip: bool = False
) -> tuple[np.ndarray, np.ndarray, Counter[str]]:
    """Features (n, d) float64 of a table's rows, whatever the order of its columns, which rows they are (n,), and for
    what reasons how many others were left out.

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
    parts, usable, left_out = [], np.ones(len(frame), dtype=bool), Counter[str]()
    for column in columns:
        values = frame[column.name]
        if column.categories:
            words = values.astype(str).str.strip()
            known = words.isin(column.categories) & values.notna()
            parts.append(np.column_stack([words == value for value in column.categories]).astype(np.float64))
        else:
            found = pd.to_numeric(values, errors="coerce")
            truth = values[found.isna()].astype(str).str.strip().map(TRUTH)  # words, if an odd value is among them
            numbers = np.asarray(truth.reindex(found.index) if truth.count() > found.count() else found, np.float64)
            known = pd.Series(np.abs(numbers) <= LARGEST, frame.index)
            parts.append(numbers[:, None])
        if not skip and not known.all():
            first = int((~known.to_numpy()).argmax())
            value, row = values.iloc[first], frame.index[first]
            allowed = ", ".join(column.categories)
            what = f"a category that training had not: {allowed}" if allowed else "no number of at most 1e100"
            what = "missing" if pd.isna(value) else f"{str(value)!r}, {what}"
            raise DataError(
                f"{table}: column {column.name!r} is {what} in data row {row + 1}; correct it, or leave such rows out "
                f"with --on-missing skip"
            )
        fresh = values[usable & ~known.to_numpy()].isna()  # rows of which no column before has said a reason
        left_out[f"{column.name!r} is missing"] += int(fresh.sum())
        left_out[f"{column.name!r} is {'a new category' if column.categories else 'no number'}"] += int((~fresh).sum())
        usable &= known.to_numpy()
    return np.column_stack(parts)[usable], np.flatnonzero(usable), +left_out
