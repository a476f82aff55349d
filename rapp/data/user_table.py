"""Any table of people's own with labels as a data set. What cannot be used is refused; what is left out is said."""

import difflib
import os
import re
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rapp.data import table_file
from rapp.data.dataset import DataError, Dataset

MIN_ROWS = 20  # 60/20/20 of fewer is nothing to learn from
MIN_OF_A_CLASS = 5  # 60/20/20 of fewer leaves no row to train, to validate or to test
MAX_CLASSES, MAX_CATEGORIES = 100, 50
ROWS_A_VALUE = 5  # of a column whose values each occur in one class alone; with fewer that can be chance
NO_LABEL = ("", "?", "nan", "NaN", "<NA>", "#N/A", "null", "NULL")  # None and NA may be what a class is called
MISSING = (*NO_LABEL, "NA", "N/A", "n/a", "None", "none", "-")  # among numbers
MISSING_VALUES = ("{n} missing values ({shown}), the first", "fill them or remove those rows")
NUMBER = re.compile(  # as people and spreadsheets write them: 1,234 or 0,75 or 1 234.5 or 12 % or € 3 or '5'
    r"['\"]?[-+(]?[€$£¥]?\s?(?:\d{1,3}(?:[.,'’\u00a0\u202f ]\d{3})+|\d+)(?:[.,]\d+)?\s?[%‰€$£¥°]?\)?['\"]?"
)


def is_table(name: str) -> bool:
    """Whether a data set's name is meant as a path to a table."""
    return name.lower().endswith(table_file.SUFFIXES)


def read(path: str, label: str | None) -> Dataset:
    """Read a table: every column but the label is a feature, numeric ones as they are, text ones one-hot.

    Left out, and named in the result's ``notes`` and on stderr: constant and empty columns, row numbers, dates, text
    with more than 50 different values, and the label under another name. Nothing is standardised here, for only a
    split knows the training rows.

    Args:
        path: a .csv, .tsv, .txt (each also .gz) or .parquet file; text has a header line.
        label: name of the column that holds the classes; or "column=class", and that class is the normal one: all
            others together are then one class, "not " and the normal one's name, which is always the novel one.

    Raises:
        DataError: no such file or column, a column name that stands twice, or values that cannot be used, with the
            column and what to do.
    """
    file = Path(path).expanduser()
    if not file.exists():
        raise DataError(f"dataset {path!r}: there is no such file")
    frame, about_file = table_file.read(file, label)
    label, normal = _label(file.name, list(frame.columns), label)
    if len(frame) < MIN_ROWS:
        raise DataError(f"{file.name} has {len(frame)} rows; at least {MIN_ROWS} are needed")
    y = _classes(file.name, frame[label], normal)
    x, about_columns = _features(file.name, frame.drop(columns=label), y, label)
    notes = (*about_file, *about_columns)
    classes = (normal, f"not {normal}") if normal else tuple(sorted(set(y.tolist())))
    source = f"{file.name}, label column {label!r}" + (f", normal {normal!r}" if normal else "")
    for note in notes:
        say_once(file, note)
    shown, notes = tuple(map(_plain, classes)), tuple(map(_plain, notes))
    return Dataset(
        _plain(file.name), x, y, classes, None, _plain(source), "its owner's", "", shown, notes, normal or None
    )


def _plain(text: str) -> str:
    """Text for a page, where some letters of a file's, a column's or a class's name would be markup."""
    return re.sub(r"[`|*<>$\[\]{}\\\n]", "_", text)


def _label(table: str, columns: list[str], label: str | None) -> tuple[str, str]:
    """The label column and the class that is normal, or ""."""
    if label is None:
        raise DataError(f"{table} is a table: name its label column (LABEL=…), one of {table_file.some(columns)}")
    ends = [i for i, letter in enumerate(f"{label}=") if letter == "="]
    found = [i for i in reversed(ends) if label[:i].strip() in columns]
    if not found:
        close = difflib.get_close_matches(label, columns, 1) or difflib.get_close_matches(label[: ends[0]], columns, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise DataError(f"{table} has no column {label[: ends[0]]!r}; {hint}it has {table_file.some(columns)}")
    return label[: found[0]].strip(), label[found[0] + 1 :].strip()


def say_once(file: Path, note: str) -> None:
    """Say a line on stderr; the processes that this one starts, such as a notebook's, inherit that it has been said."""
    mark, said = f"{zlib.crc32(f'{file.resolve()} {note}'.encode()):x}", os.environ.get("RAPP_SAID", "")
    if mark not in said.split():
        os.environ["RAPP_SAID"] = f"{said} {mark}".strip()
        print(f"rapp: {file.name}: {note}", file=sys.stderr, flush=True)


def _classes(table: str, column: pd.Series, normal: str) -> np.ndarray:
    """The class of each row (N,), str; a whole number has no point, so that 1.0 is class 1."""
    name = column.name
    y = column.astype(str).str.strip().mask(column.isna(), "")
    if (missing := y.isin(NO_LABEL)).any():
        row = int(missing.to_numpy().argmax())
        raise DataError(
            f"{table}: {missing.sum()} rows have no label in {name!r} ({_shown(y.iloc[row])}), the first is data row "
            f"{row + 1}; remove or label them"
        )
    words = pd.Series(y.unique())
    numbers = pd.to_numeric(words, errors="coerce")
    if numbers.notna().all():
        _refuse(table, y, y.isin(words[np.isinf(numbers)]), "an infinite label", "remove or label that row")
        whole = (numbers == numbers.round()) & (numbers.abs() < 2**53)
        y = y.replace(dict(zip(words[whole], numbers[whole].astype(int).astype(str), strict=True)))
    counts = y.value_counts()
    if len(counts) == 1:
        raise DataError(f"{table}: label column {name!r} has one class ({counts.index[0]!r}); at least two are needed")
    if normal:
        if normal not in counts.index:
            allowed = table_file.some([str(word) for word in sorted(counts.index)])
            raise DataError(f"{table}: NORMAL={normal!r} is no class of label column {name!r}; it has {allowed}")
        y = y.where(y == normal, f"not {normal}")
        counts = y.value_counts()
    if len(counts) > MAX_CLASSES:
        raise DataError(
            f"{table}: label column {name!r} has {len(counts)} different values; at most {MAX_CLASSES} can be"
        )
    if counts.min() < MIN_OF_A_CLASS:
        rows = "one row" if counts.min() == 1 else f"{counts.min()} rows"
        raise DataError(
            f"{table}: class {counts.index[-1]!r} of label column {name!r} has {rows}, fewer than {MIN_OF_A_CLASS}; "
            f"remove it or join it to another class" + ("" if normal else ", or say which class is normal: NORMAL=…")
        )
    return y.to_numpy(dtype=str)


def _features(table: str, frame: pd.DataFrame, y: np.ndarray, label: str) -> tuple[np.ndarray, tuple[str, ...]]:
    kept: list[pd.DataFrame] = []
    dropped: dict[str, list[str]] = {}
    suspects: list[str] = []
    numbered: list[str] = []
    words: list[str] = []
    for name in frame.columns:
        column = frame[name]
        is_text = not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column))
        missing = column.isna()
        if is_text:
            column = column.astype(str).str.strip().mask(missing, "")
            missing = column == ""
        if missing.all():
            dropped.setdefault("empty", []).append(name)
            continue
        _refuse(table, column, missing, *MISSING_VALUES)
        if is_text:
            column = _numbers_or_text(table, column)
            words += [f"{word!r} in {name}" for word in MISSING if word in set(column)]
        told, reason = _tells(column, y), _useless(column)
        if not reason and told == "all":
            reason = f"the label {label!r} under another name (each class has one value of its own)"
        if not reason and told:
            suspects.append(name)
        if not reason and _is_whole(column) and column.is_unique:
            numbered.append(name)
        if reason:
            dropped.setdefault(reason, []).append(name)
        elif pd.api.types.is_numeric_dtype(column):
            column = column.astype(np.float64)
            infinite = column.isin([np.inf, -np.inf])
            _refuse(table, column, infinite, "{n} infinite values, the first", "replace them or remove those rows")
            kept.append(column.to_frame())
        else:
            kept.append(pd.get_dummies(column.astype(str), prefix=name, dtype=np.float64))
    if not kept:
        gone = "; ".join(f"{', '.join(names)} as {reason}" for reason, names in dropped.items())
        raise DataError(f"{table}: no column is left to learn from (dropped: {gone})")
    notes = [f"dropped as {reason}: {', '.join(names)}" for reason, names in dropped.items()]
    if suspects:
        notes.append(
            f"kept, though class and value go together without exception: {', '.join(suspects)}; "
            f"if made from {label!r}, remove it, for it gives the novel rows away"
        )
    if words:
        notes.append(f"kept as words, not as missing: {', '.join(words)}")
    if numbered:
        notes.append(
            f"kept, though every row has a whole number of its own: {', '.join(numbered)}; if it is a number that rows "
            f"were given, remove it, for in sorted rows it gives the novel ones away"
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


def _refuse(table: str, column: pd.Series, bad: pd.Series, what: str, remedy: str) -> None:
    """Refuse a column by its first bad row, if any; ``what`` has places for their number and that row's value."""
    if bad.any():
        first = int(bad.to_numpy().argmax())
        words = what.format(n=bad.sum(), value=column.iloc[first], shown=_shown(column.iloc[first]))
        raise DataError(f"{table}: column {column.name!r} has {words} in data row {first + 1}; {remedy}")


def _shown(word: Any) -> str:
    return "blank" if pd.isna(word) or word == "" else f"{word!r} counts as none"


def _numbers_or_text(table: str, column: pd.Series) -> pd.Series:
    """Text as numbers where all of it is; refused where half of it is or is meant to be, for that is a slip."""
    numbers = pd.to_numeric(column, errors="coerce")
    missing = column.isin(MISSING)
    if numbers.notna().any() and (numbers.notna() | missing).all():
        _refuse(table, column, missing, *MISSING_VALUES)
    written = numbers.isna() & column.map(lambda word: NUMBER.fullmatch(word) is not None)
    if (numbers.notna() | written).mean() >= 0.5:
        what = "numbers that can be read in more than one way or in none: {value!r}"
        remedy = "a point before decimals, nothing between thousands, no %, currency or quotes"
        _refuse(table, column, written, what, f"write them as plain numbers, such as 1234.5: {remedy}")
    if numbers.notna().mean() < 0.5:
        return column
    _refuse(table, column, numbers.isna(), "text among numbers: {value!r}", "correct or remove it")
    return numbers


def _is_whole(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and bool((column == column.round()).all())


def _useless(column: pd.Series) -> str:
    different = column.nunique()
    if different == 1:
        return "constant"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "date"
    if not pd.api.types.is_numeric_dtype(column):
        return f"text with over {MAX_CATEGORIES} different values" if different > MAX_CATEGORIES else ""
    if not (_is_whole(column) and different == len(column)):
        return ""
    if re.fullmatch(rf"({table_file.UNNAMED}\d+(_level_\d+)?)?", str(column.name)):
        return "row number without a name"
    return "row number" if (column.diff()[1:] == 1).all() else ""
