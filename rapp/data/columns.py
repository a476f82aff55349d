"""What a column of a table is: numbers, words, or nothing to learn from. What can be read in two ways is refused."""

import re
from typing import Any

import numpy as np
import pandas as pd

from rapp.data.dataset import UNNAMED, DataError

MAX_CATEGORIES = 50
UNITS_FROM = 10  # different values; of fewer, such as "3 doors", a text may be meant
LARGEST = 1e100  # the squares of larger numbers, summed over rows, are none
NO_LABEL = ("", "?", "nan", "NaN", "<NA>", "#N/A", "null", "NULL")  # None and NA may be what a class is called
MISSING = (*NO_LABEL, "NA", "N/A", "n/a", "None", "none", "-")  # among numbers
MISSING_VALUES = ("{n} missing values ({shown}), the first", "fill them or remove those rows")
NUMBERED = (
    "kept, though (nearly) every row has a whole number of its own: {}; if it is a number that rows were given, remove "
    "it, for in sorted rows it gives the novel ones away"
)
NUMBER = re.compile(  # as people and spreadsheets write them: 1,234 or 0,75 or 1 234.5 or 12 % or € 3 or '5'
    r"['\"]?[-+(]?[€$£¥]?\s?(?:\d{1,3}(?:[.,'’\u00a0\u202f ]\d{2,3})+|\d+)(?:[.,]\d+)?(?:[eE][-+]?\d+)?"
    r"\s?[%‰€$£¥°]?[-)]?['\"]?"
)

DAY = r"(0?[1-9]|[12]\d|3[01])"
DATE = rf"((19|20)\d\d[-./]{DAY}[-./]{DAY}|{DAY}[-./]{DAY}[-./](19|20)\d\d)([T ,].*)?"


def checked(table: str, column: pd.Series) -> tuple[pd.Series, str]:
    """A column as numbers (float64) or as words without spaces around them, and why it cannot be a feature, or "".

    Raises:
        DataError: values that are missing or infinite, text among numbers, numbers that can be read in two ways; it
            names the first such row.
    """
    is_text = not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column))
    missing = column.isna()
    if is_text:
        column = column.astype(str).str.strip().mask(missing, "")
        missing = column == ""
    if missing.all():
        return column, "empty"
    refuse(table, column, missing, *MISSING_VALUES)
    if is_text:
        column = _numbers_or_text(table, column)
    if reason := _useless(column):
        return column, reason
    if pd.api.types.is_numeric_dtype(column):
        column = column.astype(np.float64)
        size = column.abs()
        refuse(table, column, size == np.inf, "{n} infinite values, the first", "replace them or remove those rows")
        refuse(table, column, size > LARGEST, "{n} values beyond 1e100, the first", "correct them or remove those rows")
    return column, ""


def without_points(words: pd.Series, normal: str) -> tuple[pd.Series, str]:
    """Words (N,) in which whole numbers have no point, if all are plain numbers: 1.0 is class 1, and 01 is not.

    Also ``normal`` as it is called then, where it is one of them.
    """
    is_plain = words.str.fullmatch(r"[-+]?(0|[1-9]\d*)(\.\d+)?").all()
    kinds = words.str.replace(r"\.0+$", "", regex=True) if is_plain else words
    return kinds, dict(zip(words, kinds, strict=True)).get(normal, normal)


def missing_words(column: pd.Series) -> list[str]:
    """Words in a column of text that elsewhere would mean a missing value."""
    return [] if pd.api.types.is_numeric_dtype(column) else [word for word in MISSING if word in set(column)]


def refuse(table: str, column: pd.Series, bad: pd.Series, what: str, remedy: str) -> None:
    """Refuse a column by its first bad row, if any; ``what`` has places for their number and that row's value."""
    if bad.any():
        first = int(bad.to_numpy().argmax())
        words = what.format(n=bad.sum(), value=column.iloc[first], shown=shown(column.iloc[first]))
        raise DataError(f"{table}: column {column.name!r} has {words} in data row {column.index[first] + 1}; {remedy}")


def shown(word: Any) -> str:
    """A missing value in words."""
    return "blank" if pd.isna(word) or word == "" else f"{word!r} counts as none"


def _numbers_or_text(table: str, column: pd.Series) -> pd.Series:
    """Text as numbers where all of it is; refused where half of it is or is meant to be, for that is a slip."""
    numbers = pd.to_numeric(column, errors="coerce")
    missing = column.isin(MISSING)
    if numbers.notna().any() and (numbers.notna() | missing).all():
        refuse(table, column, missing, *MISSING_VALUES)
    written = numbers.isna() & column.map(lambda word: NUMBER.fullmatch(word) is not None)
    if (numbers.notna() | written).mean() >= 0.5:
        what = "numbers that can be read in more than one way or in none: {value!r}"
        remedy = "a point before decimals, nothing between thousands, no %, currency or quotes"
        refuse(table, column, written, what, f"write them as plain numbers, such as 1234.5: {remedy}")
    unit = column.str.extract(rf"^(?:[-+]?\d*\.\d+|{NUMBER.pattern})\s?([A-Za-zµ]+)$")[0]
    if unit.notna().all() and unit.nunique() == 1 and column.nunique() > UNITS_FROM:
        refuse(table, column, unit.notna(), "numbers with a unit: {value!r}", "write the numbers alone")
    if numbers.notna().mean() < 0.5:
        return column
    refuse(table, column, numbers.isna(), "text among numbers: {value!r}", "correct or remove it")
    return numbers


def is_numbered(column: pd.Series) -> bool:
    """Whether a column has a whole number of its own in each row, or in nearly each, for a row may stand twice."""
    return _is_whole(column) and column.nunique() >= 0.95 * len(column)


def _is_whole(column: pd.Series) -> bool:
    kinds = pd.api.types
    is_number = kinds.is_numeric_dtype(column) and not kinds.is_bool_dtype(column)
    return is_number and bool((column == column.round()).all())


def row_numbers(frame: pd.DataFrame) -> list[str]:
    """The columns that number the rows of a whole table; of a part of its rows nobody could tell."""
    return [str(name) for name in frame.select_dtypes("number", "timedelta") if "row number" in _useless(frame[name])]


def _useless(column: pd.Series) -> str:
    different = column.nunique()
    if different == 1:
        return "constant"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "date"
    if not pd.api.types.is_numeric_dtype(column):
        if column.str.fullmatch(DATE).all():
            return "date"
        own = "text with over half as many values as rows" if 2 * different > len(column) else ""
        return f"text with over {MAX_CATEGORIES} different values" if different > MAX_CATEGORIES else own
    steps = (column.diff()[1:] == 1).fillna(False).mean()
    if re.fullmatch(rf"({UNNAMED}\d+(_level_\d+)?)?", str(column.name)):  # where tables were joined it begins anew
        return "row number without a name" if is_numbered(column) or (_is_whole(column) and steps > 0.9) else ""
    return "row number" if _is_whole(column) and steps == 1 else ""
