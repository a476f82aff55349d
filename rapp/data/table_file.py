"""A CSV or Parquet file as a frame of text and numbers. What can be read in two ways is refused."""

import contextlib
import csv
import gzip
import io
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import pandas as pd

from rapp.data.dataset import UNNAMED, DataError

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".parquet")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
LOOK = 20  # rows by which the separator is told
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # at a file's beginning
POINTER = b"version https://git-lfs"
COMMA_NUMBER = r"[-+]?\d+(?:,\d+)?(?:[eE][-+]?\d+)?"
SURELY_DECIMAL = r"[-+]?(?:0,\d+|\d+,(?!\d{3}$)\d+|\d{4,},\d+).*"  # no thousands are written like that


def read(file: Path, label: str | None) -> tuple[pd.DataFrame, list[str]]:
    """The table in a file, and notes of what was chosen to read it.

    Args:
        file: .csv, .tsv or .txt, with a header line, each also .gz; or .parquet.
        label: the column of classes, perhaps with "=class" after it; a CSV's is read as text, word by word.

    Raises:
        DataError: it is no such file, or its rows and header do not go together.
    """
    return next(parts(file, lambda name: f"{label}=".startswith(f"{name}=")))


def parts(
    file: Path, is_text: Callable[[str], bool], size: int | None = None, commas: bool = False
) -> Iterator[tuple[pd.DataFrame, list[str]]]:
    """Yield a table a part at a time, its rows numbered through, with notes as ``read``, which names the errors, too.

    Args:
        file: as ``read``.
        is_text: whether a CSV's column, by its name, is read word by word, and not as numbers if it looks like them.
        size: rows of a part; None for the whole table as one.
        commas: whether its numbers are known to have decimal commas, if its values are not separated by commas.
    """
    if not file.exists():
        raise DataError(f"{str(file)!r}: there is no such file")
    if file.is_dir():
        raise DataError(f"{str(file)!r} is a folder; write the table as one file")
    try:
        yield from _parquet(file, size) if file.suffix.lower() == ".parquet" else _csv(file, is_text, size, commas)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file.name} is not UTF-8 text (byte {error.object[error.start]:#04x}{_line(file)}); "
            f"save it in UTF-8, which a spreadsheet calls “CSV UTF-8”"
        ) from error
    except (DataError, PermissionError):
        raise
    except Exception as error:  # whatever the parsers raise on what is no table
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if ragged := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", reason):
            names, line, values = ragged.groups()
            raise DataError(f"{file.name}: {_ragged(f'line {line}', int(values), int(names))}") from error
        raise DataError(f"{file.name} could not be read as a table ({reason}); is it what its name says?") from error


@contextlib.contextmanager
def located(source: str) -> Iterator[Path]:
    """The file of a path, or for "-" one with what comes on standard input, for tables are read more than once."""
    if source != "-":
        yield Path(os.path.expanduser(source))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "standard input"
        with path.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield path


def _ragged(where: str, values: int, names: int) -> str:
    return (
        f"{where} has {values} values, more values than its header has names ({names}); name every column in the "
        f"first line, or remove what is too much, such as a comma or semicolon at the ends of rows"
    )


def _line(file: Path) -> str:
    """Where a file stops being UTF-8, in words."""
    with _opened(file) as lines, contextlib.suppress(EOFError, OSError):  # damaged, too
        for number, line in enumerate(lines, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f" in line {number}"
    return ""


def _is_gzip(file: Path) -> bool:
    """By its first bytes, for a browser may have unpacked what is called .gz."""
    with file.open("rb") as content:
        return content.read(2) == b"\x1f\x8b"


def _opened(file: Path) -> IO[bytes]:
    return gzip.open(file) if _is_gzip(file) else file.open("rb")  # type: ignore[return-value]


def _csv(
    file: Path, is_text: Callable[[str], bool], size: int | None, commas: bool
) -> Iterator[tuple[pd.DataFrame, list[str]]]:
    with _opened(file) as content:
        start = content.read(len(POINTER))
    encoding = next((name for mark, name in MARKS.items() if start.startswith(mark)), "utf-8")
    if start == POINTER:
        raise DataError(f"{file.name} is a pointer of Git LFS, not the table itself; fetch it with git lfs pull")
    if start.startswith(b"PK\x03\x04"):
        raise DataError(f"{file.name} is no text but a ZIP file, as .xlsx and .ods are; save its table as UTF-8 CSV")
    if b"\0" in start and encoding != "utf-16":
        raise DataError(f"{file.name} is no UTF-8 text, but perhaps UTF-16 or no text at all; save it in UTF-8")
    separator, header, first = _separator(file, encoding)
    names = [name.strip() or f"{UNNAMED}{i}" for i, name in enumerate(header)]
    refuse_twice(file.name, names)
    if len(first) > len(header):
        raise DataError(f"{file.name}: {_ragged('data row 1', len(first), len(header))}")
    notes = [f"read with {SEPARATORS[separator]} between values"] if separator != "," else []
    odd = _numbers_for_names([name.strip() for name in header])
    notes += [f"took its first line for names ({odd[0]}, …); if that is a row, add a line of names"] if odd else []
    notes += ["read as UTF-16"] if encoding == "utf-16" else []
    reader = pd.read_csv(
        file, sep=separator, encoding=encoding, compression="gzip" if _is_gzip(file) else None, header=0, names=names,
        dtype={name: str for name in names if is_text(name)}, chunksize=size or sys.maxsize,
        keep_default_na=False, na_values=[""], low_memory=False,  # only what is empty is surely missing
    )  # fmt: skip
    with reader:
        for frame in reader:
            decimal = _with_decimal_commas(frame, is_text, commas) if separator != "," else []
            for name in decimal:
                points = frame[name].dropna().astype(str).str.strip().str.replace(",", ".")
                frame[name] = points if commas else pd.to_numeric(points)
            commas = commas or bool(decimal)
            yield frame, [*notes, f"read with decimal commas: {', '.join(decimal)}"] if decimal else notes


def _numbers_for_names(names: list[str]) -> list[str]:
    """Names that may be a row's values: numbers with a fraction or an exponent, or whole ones that do not count."""
    odd = [name for name in names if re.fullmatch(r"[-+]?(\d*\.\d+([eE][-+]?\d+)?|\d+[eE][-+]?\d+)", name)]
    whole = [int(name) for name in names if re.fullmatch(r"[-+]?\d{1,18}", name)]
    counts = whole == list(range(whole[0], whole[0] + len(whole))) if whole else True
    return odd or (names if len(whole) == len(names) and not counts else [])


def _separator(file: Path, encoding: str) -> tuple[str, list[str], list[str]]:
    """What stands between values, the names in the header, and the first row's values.

    It is the one by which the first rows have as many values as the header has names, at least two; if none is, the one
    that parts most names.
    """
    found = {}
    for mark in SEPARATORS:
        with io.TextIOWrapper(_opened(file), encoding, newline="") as text:
            rows = (row for row in csv.reader(text, delimiter=mark) if row)
            found[mark] = header, some = next(rows, []), list(islice(rows, LOOK))
    fit = [mark for mark, (header, some) in found.items() if len(header) > 1 and {*map(len, some)} <= {len(header)}]
    if len(fit) > 1:
        words = " or ".join(SEPARATORS[mark] for mark in fit)
        raise DataError(f"{file.name}: its values may be separated by {words}; leave one of them out of names and text")
    mark = fit[0] if fit else max(found, key=lambda mark: len(found[mark][0]))
    header, some = found[mark]
    n = len(" ".join(header).split())
    if len(header) == 1 < n and some and all(len(" ".join(row).split()) == n for row in some):
        raise DataError(f"{file.name}: spaces seem to stand between its values; save it with commas there")
    if not header:
        raise DataError(f"{file.name} could not be read as a table (it is empty); is it what its name says?")
    return mark, header, some[0] if some else []


def _with_decimal_commas(frame: pd.DataFrame, is_text: Callable[[str], bool], known: bool) -> list[str]:
    """Columns of numbers with a decimal comma; none if no comma surely is one, or others have a point.

    Where commas are ``known`` from the rows before, one such number is enough, for the rest of a column may be damaged.
    """
    kinds = pd.api.types
    text = [str(name) for name in frame if not kinds.is_numeric_dtype(frame[name]) and not is_text(str(name))]
    values = {name: frame[name].dropna().astype(str).str.strip() for name in text}
    fits = {name: column.str.fullmatch(COMMA_NUMBER) for name, column in values.items() if len(column)}
    commas = [name for name, fit in fits.items() if (fit.any() if known else fit.all())]
    sure = known or any(values[name].str.fullmatch(SURELY_DECIMAL).any() for name in commas)
    pointed = any(kinds.is_float_dtype(frame[name]) and (frame[name] % 1 > 0).any() for name in frame)
    return commas if sure and not pointed else []


def _parquet(file: Path, size: int | None) -> Iterator[tuple[pd.DataFrame, list[str]]]:
    from pyarrow import parquet, types  # here, for who has CSV alone needs no pyarrow

    schema = parquet.read_schema(file)
    refuse_twice(file.name, schema.names)
    if nested := [field for field in schema if types.is_nested(field.type)]:
        raise DataError(
            f"{file.name}: column {nested[0].name!r} holds {nested[0].type} in each row; "
            f"make a column of each of its parts, or remove it"
        )
    start = 0
    for part in parquet.ParquetFile(file).iter_batches(size) if size else [parquet.read_table(file)]:
        frame = part.to_pandas()
        if any(name is not None for name in frame.index.names):  # a named index is a column that pandas set apart
            frame = frame.reset_index()
        frame.index = pd.RangeIndex(start, start := start + len(frame))
        frame.columns = [str(name).strip() for name in frame.columns]
        yield frame, []


def refuse_twice(table: str, header: list[str]) -> None:
    """Names that differ by spaces around them count as one: nobody means two columns by that."""
    times = Counter(name.strip() for name in header if name.strip())
    if twice := [name for name, n in times.items() if n > 1]:
        raise DataError(
            f"{table}: {times[twice[0]]} columns are called {twice[0]!r}"
            + (f", and there are several called {some(twice[1:])}" if twice[1:] else "")
            + "; rename them, or leave all but one out: a second label would tell which rows are novel"
        )


def some(names: list[str], most: int = 12) -> str:
    """Names in quotes, at most twelve of them."""
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
