"""Any table of people's own with labels as a data set. What cannot be used is refused; what is left out is said."""

import difflib
import os
import re
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from rapp.data import table_file
from rapp.data.columns import NO_LABEL, checked, refuse, shown, without_points
from rapp.data.dataset import DataError, Dataset
from rapp.data.schema import Column, encode, learn

MIN_ROWS = 20  # 60/20/20 of fewer is nothing to learn from
MIN_OF_A_CLASS = 5  # 60/20/20 of fewer leaves no row to train, to validate or to test
MAX_CLASSES = 100
ROWS_A_VALUE = 5  # of a column whose values each occur in one class alone; with fewer that can be chance


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
    file = Path(os.path.expanduser(path))
    frame, about_file = table_file.read(file, label)
    label, normal = _label(file.name, list(frame.columns), label)
    if len(frame) < MIN_ROWS:
        raise DataError(f"{file.name} has {len(frame)} rows; at least {MIN_ROWS} are needed")
    y, kinds, normal = _classes(file.name, frame[label], normal)
    columns, about_columns = _columns(file.name, frame.drop(columns=label), (y, kinds), label)
    notes = (*about_file, *about_columns)
    classes = (normal, f"not {normal}") if normal else tuple(sorted(set(y.tolist())))
    source = f"{file.name}, label column {label!r}" + (f", normal {normal!r}" if normal else "")
    for note in notes:
        say_once(file, note)
    shown, notes = tuple(map(plain, classes)), tuple(map(plain, notes))
    names = tuple(plain(name) for column in columns for name in column.features)
    return Dataset(
        plain(file.name), encode(frame, columns, file.name)[0], y, classes, None, plain(source), "its owner's", "",
        shown, notes, normal or None, features=names,
    )  # fmt: skip


def plain(text: str) -> str:
    """Text for a page, where some letters of a file's, a column's or a class's name would be markup."""
    return re.sub(r"[`|*<>$\[\]{}\\\n]", "_", text)


def _label(table: str, columns: list[str], label: str | None) -> tuple[str, str]:
    """The label column and the class that is normal, or ""."""
    if label is None:
        raise DataError(
            f"{table} is a table: name its label column (LABEL=…), one of {table_file.some(columns)}; without labels, "
            f"rapp fit {table} --out model, then rapp report model {table} --out report.html, show the rows that are "
            f"unlike the others"
        )
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


def _classes(table: str, column: pd.Series, normal: str) -> tuple[np.ndarray, np.ndarray, str]:
    """The class of each row (N,), str, before and after others than the normal one became one, and the normal one.

    A whole number has no point, so that 1.0 is class 1.
    """
    name = column.name
    y = column.astype(str).str.strip().mask(column.isna(), "")
    if (missing := y.isin(NO_LABEL)).any():
        row = int(missing.to_numpy().argmax())
        raise DataError(
            f"{table}: {missing.sum()} rows have no label in {name!r} ({shown(y.iloc[row])}), the first is data row "
            f"{row + 1}; remove or label them"
        )
    numbers = pd.to_numeric(y, errors="coerce")
    if numbers.notna().all():
        refuse(table, y, numbers.isin([np.inf, -np.inf]), "an infinite label", "remove or label that row")
    kinds, normal = without_points(y, normal)
    y, counts = kinds, kinds.value_counts()
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
    return y.to_numpy(dtype=str), kinds.to_numpy(dtype=str), normal


def _columns(
    table: str, frame: pd.DataFrame, labels: tuple[np.ndarray, ...], label: str
) -> tuple[list[Column], list[str]]:
    """``schema.learn`` without the columns that are the label under another name, by any of ``labels``."""
    columns, notes = learn(frame, table)
    tells = {column: {_tells(checked(table, frame[column.name])[0], y) for y in labels} for column in columns}
    kept = [column for column in columns if "all" not in tells[column]]
    if twins := [column.name for column in columns if "all" in tells[column]]:
        same = f"the label {label!r} under another name (each class has one value of its own)"
        notes.append(f"dropped as {same}: {', '.join(twins)}")
    if not kept:
        raise DataError(f"{table}: no column is left to learn from ({'; '.join(notes)}); add a column of numbers")
    if suspects := [column.name for column in kept if "part" in tells[column]]:
        notes.append(
            f"kept, though class and value go together without exception: {', '.join(suspects)}; "
            f"if made from {label!r}, remove it, for it gives the novel rows away"
        )
    return kept, notes


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
