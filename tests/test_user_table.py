import gzip
import re

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from rapp.data import DataError, load

N = 40
GOOD = {
    "a": np.linspace(0, 1, N),
    "b": np.arange(N) % 7,
    "colour": np.where(np.arange(N) % 3, "red", "blue"),
    "kind": np.where(np.arange(N) % 4, "ok", "faulty"),
}


def write(folder, name="t.csv", **changes):
    frame = pd.DataFrame({**GOOD, **changes})
    path = folder / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_numbers_stay_and_text_becomes_one_hot(tmp_path, name):
    data = load(write(tmp_path, name), "kind")
    assert (data.name, data.image_shape, data.classes) == (name, None, ("faulty", "ok"))
    assert data.x.shape == (N, 4)
    np.testing.assert_allclose(data.x[:, 0], GOOD["a"])
    assert data.x[:, 2:].sum(1).tolist() == [1.0] * N
    assert data.target() == "faulty"
    assert data.y[:2].tolist() == ["faulty", "ok"]


def test_what_is_left_out_is_said(tmp_path):
    dates = pd.date_range("2020-01-01", periods=N).astype(str)
    path = write(tmp_path, id=np.arange(1, N + 1), same=3.0, names=[f"n{i}" for i in range(N)], when=dates)
    frame = pd.concat([pd.read_csv(path)] * 2, ignore_index=True).assign(
        id=range(80), names=[f"n{i}" for i in range(80)], when=pd.date_range("2020-01-01", periods=80).astype(str)
    )
    frame.to_csv(path, index=False)
    data = load(path, "kind")
    assert data.x.shape == (80, 4)
    assert set(data.notes) == {
        "dropped as row number: id",
        "dropped as constant: same",
        "dropped as text with over 50 different values: names",
        "dropped as date: when",
    }


def test_labels_that_are_whole_floats_are_classes(tmp_path):
    assert load(write(tmp_path, kind=np.arange(N) % 2 * 1.0), "kind").classes == ("0", "1")


def holed(value):
    column = GOOD["a"].astype(object)
    column[4] = value
    return column


@pytest.mark.parametrize(
    ("changes", "label", "words"),
    [
        ({}, None, ["label column", "'kind'"]),
        ({}, "kinds", ["no column 'kinds'", "did you mean 'kind'"]),
        ({"a": holed(np.nan)}, "kind", ["'a'", "1 missing", "data row 5"]),
        ({"a": holed(np.inf)}, "kind", ["'a'", "1 infinite", "data row 5"]),
        ({"a": holed("n/k")}, "kind", ["'a'", "text among numbers", "'n/k' in data row 5"]),
        ({"kind": "ok"}, "kind", ["one class", "'ok'"]),
        ({"kind": np.linspace(0, 1, N)}, "b", []),
        ({"kind": [f"{i}" for i in range(N - 1)] + [None]}, "kind", ["1 rows have no label", f"data row {N}"]),
        (
            {"kind": ["rare"] + ["a", "b"] * ((N - 1) // 2) + ["a"] * ((N - 1) % 2)},
            "kind",
            ["'rare'", "one row", "join"],
        ),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, changes, label, words):
    path = write(tmp_path, **changes)
    if not words:
        assert len(load(path, label).classes) == 7
        return
    with pytest.raises(DataError) as error:
        load(path, label)
    assert all(word in str(error.value) for word in ["t.csv", *words])
    assert "\n" not in str(error.value)


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load(str(tmp_path / "none.csv"), "kind")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(DataError, match=r"t.parquet could not be read"):
        load(str(tmp_path / "t.parquet"), "kind")
    (tmp_path / "e.csv").write_text("")
    with pytest.raises(DataError, match=r"e.csv could not be read"):
        load(str(tmp_path / "e.csv"), "kind")
    five = pd.DataFrame(GOOD).head(5)
    five.to_csv(tmp_path / "five.csv", index=False)
    with pytest.raises(DataError, match="5 rows; at least 20"):
        load(str(tmp_path / "five.csv"), "kind")
    pd.DataFrame({"y": GOOD["kind"], "c": 1}).to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(DataError, match="no column is left"):
        load(str(tmp_path / "c.csv"), "y")
    long = pd.DataFrame({"y": np.arange(200) * 0.5, "c": np.arange(200) % 3})
    long.to_csv(tmp_path / "l.csv", index=False)
    with pytest.raises(DataError, match="200 different values"):
        load(str(tmp_path / "l.csv"), "y")


LINES = "\n".join(f"{i / 7:.3f},{i % 5},{'ok' if i % 4 else 'worn'}" for i in range(N))


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("wear,wear,kind", "2 columns are called 'wear'"),
        ("kind,wear,kind", "2 columns are called 'kind'"),
        ("kind,wear, kind", "2 columns are called 'kind'"),
        ('"kind","a,b","kind"', "2 columns are called 'kind'"),
        ("\ufeffkind,wear,kind", "2 columns are called 'kind'"),
        ('\ufeff"kind",wear,kind', "2 columns are called 'kind'"),
        ("kind,kind,kind", "3 columns are called 'kind'"),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_column_name_that_stands_twice_is_refused(tmp_path, name, header, named):
    content = f"{header}\r\n{LINES}\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(DataError, match=f"{name}: {named}; rename them"):
        load(str(tmp_path / name), "kind")


def test_twice_in_parquet_and_several_at_once(tmp_path):
    arrays = [pyarrow.array(column) for column in (GOOD["a"], GOOD["kind"], GOOD["b"], GOOD["kind"], GOOD["a"])]
    pyarrow.parquet.write_table(pyarrow.table(arrays, names=["a", "kind", "b", "kind", "a"]), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="2 columns are called 'a', and there are several called 'kind'; rename"):
        load(str(tmp_path / "t.parquet"), "kind")


def test_names_that_only_look_like_a_second_one_are_kept(tmp_path):
    assert load(write(tmp_path, **{"a.1": GOOD["b"], "A": GOOD["b"] + 0.5, "Kind": GOOD["b"]}), "kind").x.shape == (
        N,
        7,
    )


COPIES = {
    "the same words": GOOD["kind"],
    "other words": np.where(GOOD["kind"] == "ok", "pass", "fail"),
    "whole numbers": (GOOD["kind"] == "ok").astype(int),
    "truth values": GOOD["kind"] == "ok",
    "any two numbers": np.where(GOOD["kind"] == "ok", -0.37, 12.5),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_the_label_under_another_name_is_dropped_and_said(tmp_path, capsys, name, copy):
    data = load(write(tmp_path, name, verdict=copy), "kind")
    assert data.x.shape == (N, 4)  # as without it
    note = "dropped as the label 'kind' under another name (each class has one value of its own): verdict"
    assert data.notes == (note,)
    assert capsys.readouterr().err == f"rapp: {name}: {note}\n"


def test_of_three_classes_the_label_in_numbers_is_dropped_too(tmp_path):
    kind = np.array(["ok", "worn", "broken"])[np.arange(N) % 3]
    data = load(write(tmp_path, kind=kind, colour="red", code=np.arange(N) % 3 * 10), "kind")
    assert [note for note in data.notes if note.endswith(": code") and "label 'kind'" in note]
    assert data.x.shape == (N, 2)


def test_what_gives_away_a_part_of_the_label_is_kept_and_said(tmp_path, capsys):
    kind = np.array(["ok", "worn", "broken"])[np.arange(N) % 3]
    columns = {"colour": "red", "is_fault": kind != "ok", "tool": np.arange(N) % 5}
    data = load(write(tmp_path, kind=kind, **columns), "kind")
    assert data.x.shape == (N, 4)
    (note,) = [note for note in data.notes if note.startswith("kept")]
    assert "without exception: is_fault; if made from 'kind', remove it" in note
    assert note in capsys.readouterr().err
    data = load(write(tmp_path, kind=np.where(kind == "ok", "ok", "fault"), colour="red", fault=kind), "kind")
    assert data.x.shape == (N, 5)
    assert "without exception: fault;" in data.notes[-1]


def test_with_a_normal_class_the_kinds_of_the_others_are_no_feature_either(tmp_path, capsys):
    kinds = np.array(["ok", "crack", "dent", "ok"])[np.arange(N) % 4]
    data = load(write(tmp_path, kind=kinds, code=pd.factorize(kinds)[0]), "kind=ok")
    assert "code" not in data.features
    assert "dropped as the label 'kind' under another name" in capsys.readouterr().err


def test_few_rows_make_no_feature_of_each_value(tmp_path):
    days = pd.date_range("2020-01-01", periods=8).astype(str)[np.arange(N) % 8]
    data = load(write(tmp_path, part=[f"A{i:03}" for i in range(N)], day=days, when=days + " 10:30"), "kind")
    assert data.x.shape == (N, 4)
    assert set(data.notes) == {
        "dropped as text with over half as many values as rows: part",
        "dropped as date: day, when",
    }


def test_truth_that_alternates_is_no_row_number(tmp_path):
    assert "wet" in load(write(tmp_path, wet=np.arange(N) % 2 == 0), "kind").features


def test_a_column_that_is_called_as_a_value_will_be_is_refused(tmp_path):
    with pytest.raises(DataError, match="a column is called 'colour=red', as a value of another will be; rename it"):
        load(write(tmp_path, **{"colour=red": np.arange(N) % 5}), "kind")


def test_features_that_tell_classes_apart_are_no_copies(tmp_path):
    """Each value of a continuous column is one row's, and so one class's, even where a threshold parts the classes."""
    novel = GOOD["kind"] != "ok"
    data = load(write(tmp_path, apart=GOOD["a"] + 5 * novel, nearly=np.where(np.arange(N) == 3, ~novel, novel)), "kind")
    assert data.x.shape == (N, 6)
    assert data.notes == ()


def test_a_note_is_said_once_by_a_process_and_its_children(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RAPP_SAID", "")
    path = write(tmp_path, same=1)
    for _ in range(2):
        load(path, "kind")
    assert capsys.readouterr().err == "rapp: t.csv: dropped as constant: same\n"


@pytest.mark.parametrize(
    ("file", "label", "shape", "classes"),
    [
        ("nasa_asteroids/nasa.csv", "Hazardous", (4687, 35), 2),
        ("otto/train.csv.gz", "target", (61878, 93), 9),
        ("steel_plates_faults/faults.csv", "Pastry", (1941, 33), 2),
        ("hrss/HRSS_anomalous_standard.csv", "Labels", (23645, 19), 2),
    ],
)
def test_real_tables(full_data, file, label, shape, classes):
    data = load(str(full_data / file), label)
    assert data.x.shape == shape
    assert len(data.classes) == classes
    assert np.isfinite(data.x).all()


@pytest.mark.parametrize("header", ["p,q,state", "p,q,state,"])
def test_rows_with_more_values_than_the_header_has_names_are_refused(tmp_path, header):
    """pandas takes the first column for row names, and every name stands over the column beside its own."""
    path = tmp_path / "t.csv"
    rows = [f"{i % 7},{i % 5},{'ab'[i % 2]},{i},{i}" for i in range(40)]
    path.write_text("\n".join([header, *rows]) + "\n")
    with pytest.raises(DataError, match="more values than its header has names"):
        load(str(path), "state")


@pytest.mark.parametrize(
    "value",
    ["1,234", "0,75", "12 %", "1 234", "1'234.5", "$5", "3.5€", "'7'", "1.234.567,8", "1,23,456", "1,234-", "1,23e+00"],
)
def test_numbers_as_spreadsheets_write_them_are_refused_with_column_value_and_remedy(tmp_path, value):
    for rows in (N, N // 2, 3 * N // 4):  # the others are plain numbers
        column = [value] * rows + ["5"] * (N - rows)
        with pytest.raises(DataError) as error:
            load(write(tmp_path, turnover=column), "kind")
        assert all(
            word in str(error.value) for word in ("t.csv: column 'turnover'", repr(value), "data row 1", "1234.5")
        )


def test_text_that_holds_digits_stays_text(tmp_path):
    words = ["A-12", "2024-03-01", "01.01.2024", "1st", "10:30", "no. 5"]
    data = load(write(tmp_path, code=[words[i % 6] for i in range(N)]), "kind")
    assert (data.x.shape, data.notes) == ((N, 10), ())


def test_numbers_with_one_unit_are_refused_and_a_few_kinds_stay_words(tmp_path):
    with pytest.raises(DataError, match="column 'weight' has numbers with a unit: '0 kg' in data row 1; write the num"):
        load(write(tmp_path, weight=[f"{i} kg" for i in range(N)]), "kind")
    data = load(write(tmp_path, doors=[f"{3 + 2 * (i % 2)} doors" for i in range(N)]), "kind")
    assert [name for name in data.features if "doors" in name] == ["doors=3 doors", "doors=5 doors"]


GAPS = np.cumsum(np.arange(N) % 3 + 1)


def test_an_index_without_a_name_is_dropped_and_one_with_a_name_is_warned_of(tmp_path, capsys):
    frame = pd.DataFrame(GOOD)
    frame.index = GAPS
    frame.to_csv(tmp_path / "t.csv")
    assert load(str(tmp_path / "t.csv"), "kind").notes == ("dropped as row number without a name: Unnamed: 0",)
    data = load(write(tmp_path, "u.csv", serial=GAPS[::-1]), "kind")
    assert data.x.shape == (N, 5)
    (note,) = data.notes
    assert "every row has a whole number of its own: serial; " in note
    once_more = GAPS.copy()
    once_more[-1] = once_more[0]  # a row that stands twice
    assert "own: serial; " in load(write(tmp_path, "v.csv", serial=once_more), "kind").notes[0]
    frame.index = once_more
    frame.to_csv(tmp_path / "w.csv")
    pd.concat([frame.iloc[:25].reset_index(drop=True), frame.iloc[25:].reset_index(drop=True)]).to_csv(
        tmp_path / "x.csv"
    )
    for name in ("w.csv", "x.csv"):
        assert load(str(tmp_path / name), "kind").notes == ("dropped as row number without a name: Unnamed: 0",)
    assert note in capsys.readouterr().err


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_empty_columns_are_dropped_and_said(tmp_path, name):
    data = load(write(tmp_path, name, spare=[None] * N, blank=[" "] * N), "kind")
    assert data.x.shape == (N, 4)
    assert data.notes == ("dropped as empty: spare, blank",)


@pytest.mark.parametrize("word", ["None", "NA", "n/a"])
def test_a_class_keeps_its_word(tmp_path, word):
    assert load(write(tmp_path, kind=np.where(np.arange(N) % 4, "mild", word)), "kind").target() == word


@pytest.mark.parametrize("word", ["?", "nan", " ", "null"])
def test_labels_that_say_nothing_are_refused_by_word_and_row(tmp_path, word):
    kind = GOOD["kind"].copy()
    kind[[6, 7]] = word
    shown = repr(word) if word.strip() else "blank"
    with pytest.raises(DataError, match=f"2 rows have no label in 'kind' .*{re.escape(shown)}.* data row 7; "):
        load(write(tmp_path, kind=kind), "kind")


@pytest.mark.parametrize("word", ["?", "NA", "None", " "])
def test_what_is_missing_among_numbers_is_named(tmp_path, word):
    for rows in (2, N - 2):
        column = np.where(np.arange(N) < rows, word, "1.5")
        with pytest.raises(DataError, match=rf"'a' has {rows} missing values \(.*the first in data row 1; fill"):
            load(write(tmp_path, a=column), "kind")


def test_words_for_missing_among_words_are_kept_and_said(tmp_path):
    colour = GOOD["colour"].copy()
    colour[:3] = "None"
    data = load(write(tmp_path, colour=colour), "kind")
    assert data.x.shape == (N, 5)
    assert data.notes == ("kept as words, not as missing: 'None' in colour",)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["1e19", "2e19"], ("1e19", "2e19")),
        (["10000000000000000000", "10000000000000000001"], ("10000000000000000000", "10000000000000000001")),
        (["9007199254740993.0", "9007199254740992.0"], ("9007199254740992", "9007199254740993")),
        (["01", "1"], ("01", "1")),
        (["1e2", "100"], ("100", "1e2")),
        (["1.0", "-1"], ("-1", "1")),
    ],
)
def test_huge_labels_are_kept_apart(tmp_path, values, classes):
    assert load(write(tmp_path, kind=[values[i % 2] for i in range(N)]), "kind").classes == classes


@pytest.mark.parametrize("word", ["inf", "-Infinity", "1e999"])
def test_an_infinite_label_is_refused_by_row(tmp_path, word):
    with pytest.raises(DataError, match="an infinite label in data row 9"):
        load(write(tmp_path, kind=["1", "2"] * 4 + [word] * 10 + ["1", "2"] * (N // 2 - 9)), "kind")


@pytest.mark.parametrize("rows", [2, 3, 4])
def test_a_class_too_small_to_split_is_refused_unless_it_is_one_of_many_faults(tmp_path, rows):
    kind = GOOD["kind"].copy()
    kind[:rows] = "rare"
    path = write(tmp_path, kind=kind)
    with pytest.raises(DataError, match=f"'rare' .* has {rows} rows, fewer than 5; .* NORMAL="):
        load(path, "kind")
    assert load(path, "kind=ok").target() == "not ok"


def test_the_normal_class_makes_one_novel_class_of_all_others(tmp_path):
    kind = np.array(["ok", "ok", "scratch", "dent"])[np.arange(N) % 4]
    path = write(tmp_path, kind=kind, **{"a=b": GOOD["b"]})
    data = load(path, "kind=ok")
    assert (data.normal, data.classes, data.target()) == ("ok", ("ok", "not ok"), "not ok")
    assert (data.y == "ok").tolist() == (kind == "ok").tolist()
    assert "normal 'ok'" in data.source
    assert load(path, "a=b").classes == tuple("0123456")  # a column's own name comes first
    assert load(path, "a=b=3").normal == "3"
    assert load(path, "kind=").normal is None
    floats = write(tmp_path, "f.csv", kind=np.arange(N) % 2 * 1.0)
    assert load(floats, "kind=1.0").normal == load(floats, "kind=1").normal == "1"  # as it stands in the file, too
    with pytest.raises(DataError, match="NORMAL='good' is no class of label column 'kind'; it has 'dent', 'ok'"):
        load(path, "kind=good")
    with pytest.raises(DataError, match="no column 'kinds'; did you mean 'kind'"):
        load(path, "kinds=ok")


def test_spaces_around_names_and_words_count_for_nothing(tmp_path):
    rows = [f"{i / 7:.3f} , {i % 5},{('ok', ' ok', 'worn ')[i % 3]}" for i in range(N)]
    (tmp_path / "t.csv").write_text("wear, tool , state\n" + "\n".join(rows))
    assert load(str(tmp_path / "t.csv"), "state").classes == ("ok", "worn")


def test_a_column_called_4_is_found_by_a_number(tmp_path):
    assert load(write(tmp_path, **{"4": GOOD["kind"]}, kind=1), 4).classes == ("faulty", "ok")


def test_names_that_would_be_markup_are_plain_on_pages(tmp_path):
    kind = np.where(np.arange(N) % 4, "*ok*|$x$", "<b>")
    data = load(write(tmp_path, "a$b`c`.csv", kind=kind, **{"a|b": 1}), "kind")
    assert (data.name, data.classes) == ("a_b_c_.csv", ("*ok*|$x$", "<b>"))
    assert data.class_name(data.target()) == data.class_name(data.target("_b_")) == "_b_"
    assert data.notes == ("dropped as constant: a_b",)
