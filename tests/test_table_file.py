"""How a table's file is read: encodings, separators, decimal commas, header and rows, Parquet."""

import gzip
import zipfile

import numpy as np
import pandas as pd
import pytest

from rapp.data import DataError, load

N = 40
NAMES = ["wear", "größe", "tool", "state"]
ROWS = [[f"{i / 7:.3f}", f"{i * 3.1:.1f}", "abc"[i % 3], "worn" if i % 4 else "ok"] for i in range(N)]


def text(separator=",", names=NAMES, rows=ROWS, comma="."):
    lines = [names, *([value.replace(".", comma) for value in row] for row in rows)]
    return "".join(separator.join(line) + "\n" for line in lines)


def stored(folder, content, name="t.csv", encoding="utf-8"):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return str(folder / name)


@pytest.fixture
def plain(tmp_path):
    return load(stored(tmp_path, text(), "plain.csv"), "state")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_is_read_whatever_mark_it_begins_with(tmp_path, plain, encoding):
    data = load(stored(tmp_path, text(), encoding=encoding), "state")
    np.testing.assert_array_equal(data.x, plain.x)
    assert data.notes == (("read as UTF-16",) if encoding == "utf-16" else ())
    assert (
        load(stored(tmp_path, text(names=[*NAMES[:3], "größe2"]), encoding=encoding), "größe2").classes == data.classes
    )


@pytest.mark.parametrize(
    ("encoding", "said"), [("latin-1", "byte 0xf6 in line 1"), ("utf-16-le", "perhaps UTF-16"), ("cp500", "in line 1")]
)
def test_other_encodings_are_refused_with_the_one_to_save_in(tmp_path, encoding, said):
    with pytest.raises(DataError, match=f"t.csv is n.*{said}.*; save it in UTF-8"):
        load(stored(tmp_path, text(), encoding=encoding), "state")


def test_a_spreadsheets_own_file_is_refused_with_what_to_save(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.csv", "w") as file:
        file.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(DataError, match=r"t.csv is no text but a ZIP file, as \.xlsx.*save its table as UTF-8 CSV"):
        load(str(tmp_path / "t.csv"), "state")


@pytest.mark.parametrize(
    ("separator", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars"), (",", None)]
)
@pytest.mark.parametrize("name", ["t.csv", "t.TSV", "t.txt.gz"])
def test_the_separator_is_told_by_the_first_rows_and_said(tmp_path, capsys, plain, separator, word, name):
    content = text(separator).encode()
    data = load(stored(tmp_path, gzip.compress(content) if name.endswith("gz") else content, name), "state")
    np.testing.assert_array_equal(data.x, plain.x)
    assert data.notes == ((f"read with {word} between values",) if word else ())
    assert (word or "") in capsys.readouterr().err


def test_two_possible_separators_are_refused(tmp_path):
    rows = [[f"{i};{i % 3}", "ab"[i % 2]] for i in range(N)]
    with pytest.raises(DataError, match="separated by commas or semicolons; leave one"):
        load(stored(tmp_path, text(names=["p;q", "state"], rows=rows)), "state")
    quoted = [['"a,b"', *row] for row in ROWS]
    assert load(stored(tmp_path, text(names=['"x,y;z"', *NAMES], rows=quoted)), "state").x.shape == (N, 5)


def test_spaces_between_values_are_told(tmp_path):
    with pytest.raises(DataError, match="spaces seem to stand between its values; save it with commas there"):
        load(stored(tmp_path, "a b c\n" + "0.5 -1.25 ok\n" * 40), "c")


def test_decimal_commas_are_read_where_they_cannot_part_thousands(tmp_path, plain):
    data = load(stored(tmp_path, text(";", comma=",")), "state")
    np.testing.assert_array_equal(data.x, plain.x)
    assert "read with decimal commas: wear, größe" in data.notes
    thousands = [[f"{i + 1},5{i:02}", *row[2:]] for i, row in enumerate(ROWS)]
    with pytest.raises(
        DataError, match=r"'wear' has numbers that can be read in more than one way.*'1,500' in data row 1"
    ):
        load(stored(tmp_path, text(";", ["wear", *NAMES[2:]], thousands)), "state")
    both = [[row[0].replace(".", ","), *row[1:]] for row in ROWS]  # and points in the second column
    with pytest.raises(DataError, match="'wear' has numbers that can be read"):
        load(stored(tmp_path, text(";", rows=both)), "state")


@pytest.mark.parametrize("which", [range(N), range(30, 31)])
def test_commas_too_many_are_named_and_a_column_without_a_name_may_be_empty(tmp_path, which):
    rows = [[*row, ""] if i in which else row for i, row in enumerate(ROWS)]
    with pytest.raises(
        DataError, match=r"(data row 1|line 32) has 5 values, more values than its header has names \(4\)"
    ):
        load(stored(tmp_path, text(rows=rows)), "state")
    data = load(stored(tmp_path, text(names=[*NAMES, ""], rows=[[*row, ""] for row in ROWS])), "state")
    assert data.notes == ("dropped as empty: Unnamed: 4",)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_with_other_separators_a_row_too_long_is_named_too(tmp_path, separator):
    lines = text(separator).splitlines()
    trailing = [lines[0], *(line + separator for line in lines[1:])]
    longer = [*lines[:5], lines[5] + separator + "note", *lines[6:]]
    for rows, where in ((trailing, "data row 1"), (longer, "line 6")):
        with pytest.raises(DataError, match=f"{where} has 5 values, more values than its header has names"):
            load(stored(tmp_path, "\n".join(rows) + "\n"), "state")


def test_a_first_line_of_numbers_is_told_and_a_pointer_refused(tmp_path, capsys):
    headerless = text(names=["1.5", "2.5", "a", "state"])
    assert load(stored(tmp_path, headerless), "state").notes[0].startswith("took its first line for names (1.5, …)")
    assert "1.5" in capsys.readouterr().err
    for first, said in (("6.3e-01,85,x,state", "6.3e-01"), ("85,63,51,26", "85")):
        load(stored(tmp_path, text(names=first.split(","))), first.split(",")[-1])
        assert f"took its first line for names ({said}, …)" in capsys.readouterr().err
    load(stored(tmp_path, text(names=["0", "1", "2", "3"])), "3")  # as pandas numbers columns
    assert "first line" not in capsys.readouterr().err
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    with pytest.raises(DataError, match="is a pointer of Git LFS, not the table itself"):
        load(stored(tmp_path, pointer, "p.csv"), "state")


def test_a_number_in_front_does_not_hide_a_comma_too_many(tmp_path):
    """Numbers that count up would be taken for row names, and each name would stand over the column beside its own."""
    rows = [[str(1000 + i), *row, ""] for i, row in enumerate(ROWS)]
    with pytest.raises(DataError, match="data row 1 has 6 values"):
        load(stored(tmp_path, text(names=["id", *NAMES], rows=rows)), "state")


def test_what_is_called_gz_need_not_be_and_the_other_way_round(tmp_path, plain):
    for name, content in (("t.csv.gz", text().encode()), ("u.csv", gzip.compress(text().encode()))):
        np.testing.assert_array_equal(load(stored(tmp_path, content, name), "state").x, plain.x)
    whole = gzip.compress(text().encode())
    for damaged in (whole[:100], whole[:60] + b"!!!" + whole[63:]):
        with pytest.raises(DataError, match=r"d.csv.gz could not be read"):
            load(stored(tmp_path, damaged, "d.csv.gz"), "state")


FRAME = pd.DataFrame({"a": np.linspace(0, 1, N), "b": np.arange(N) % 7, "state": np.where(np.arange(N) % 4, "x", "y")})


@pytest.mark.parametrize(
    ("values", "kind"), [([[1.0, 2.0]] * N, "list"), ([{"a": 1}] * N, "struct"), ([np.ones(3)] * N, "list")]
)
def test_parquet_columns_that_hold_many_values_are_refused(tmp_path, values, kind):
    FRAME.assign(spectrum=values).to_parquet(tmp_path / "T.PARQUET")
    with pytest.raises(DataError, match=f"T.PARQUET: column 'spectrum' holds {kind}<.*; make a column of each"):
        load(str(tmp_path / "T.PARQUET"), "state")


def test_a_named_index_of_parquet_is_a_column(tmp_path):
    for column, shape in (("a", (N, 2)), ("state", (N, 2))):
        FRAME.set_index(column).to_parquet(tmp_path / "t.parquet")
        assert load(str(tmp_path / "t.parquet"), "state").x.shape == shape
    FRAME.set_index(np.arange(N)[::-1] * 2).to_parquet(tmp_path / "t.parquet")
    assert load(str(tmp_path / "t.parquet"), "state").x.shape == (N, 2)
    (tmp_path / "parts.parquet").mkdir()
    with pytest.raises(DataError, match="is a folder; write the table as one file"):
        load(str(tmp_path / "parts.parquet"), "state")


def test_what_a_fuzz_found(tmp_path):
    latin = gzip.compress(text().encode("latin-1"))
    with pytest.raises(DataError, match=r"t.csv.gz could not be read|t.csv.gz is not UTF-8"):
        load(stored(tmp_path, latin[:-30], "t.csv.gz"), "state")
    huge = [[str(10**20 * (i + 1)), f"{i}2,5", row[3]] for i, row in enumerate(ROWS)]
    assert load(stored(tmp_path, text(";", ["serial", "wear", "state"], huge)), "state").x.shape == (N, 2)
    with pytest.raises(DataError, match="2 columns are called 'Unnamed: 0'"):
        load(stored(tmp_path, text(names=["", "Unnamed: 0", "tool", "state"])), "state")
