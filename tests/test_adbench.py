import os
from pathlib import Path

import numpy as np
import pytest

from rapp import RaPP
from rapp.data import DataError, load
from rapp.data.adbench import AT_LEAST, AT_MOST, tables
from rappbook import published
from rappbook.chapters import adbench as study
from rappbook.chapters import nobody_picked


def write(folder, name, n, n_novel, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    y = np.zeros(n, np.int64)
    y[np.random.default_rng(1).permutation(n)[:n_novel]] = 1
    arrays = {"X": np.arange(2.0 * n).reshape(n, 2), "y": y} | changes
    np.savez(folder / name, **arrays)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RAPP_DATA", str(tmp_path))
    monkeypatch.setenv("RAPP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "adbench"


def test_a_table_is_found_with_or_without_its_number(folder):
    write(folder, "6_small.npz", 40, 5)
    data = load("adbench/small")
    assert (data.x.shape, data.x.dtype, data.image_shape, data.name) == ((40, 2), np.float64, None, "adbench/small")
    assert (data.classes, data.normal, data.target()) == (("0", "1"), "0", "1")
    assert ((data.y == "1").sum(), data.target("anomaly"), data.notes, data.partial) == (5, "1", (), False)
    np.testing.assert_array_equal(load("adbench/6_small").x, data.x)


def test_large_tables_are_drawn_by_class_always_alike_and_say_so(folder):
    write(folder, "1_large.npz", 30_000, 3_000)
    write(folder, "2_rare.npz", 200_000, 120)
    data, again, rare = load("adbench/large"), load("adbench/large"), load("adbench/rare")
    assert (len(data), (data.y == "1").sum(), data.partial) == (AT_MOST, AT_MOST // 10, True)
    assert data.notes == ("10,000 of 30,000 rows, drawn by class with seed 0",)
    np.testing.assert_array_equal(data.x, again.x)
    assert (np.diff(data.x[:, 0]) > 0).all()  # in the file's order, none twice
    assert (len(rare), (rare.y == "1").sum()) == (AT_MOST, AT_LEAST)


def test_unknown_names_are_told_with_those_that_are_there(folder):
    write(folder, "10_b.npz", 40, 5)
    write(folder, "2_A.npz", 40, 5)
    with pytest.raises(DataError, match=r"'adbench/c' is unknown; there are: adbench/A, adbench/b$"):
        load("adbench/c")
    with pytest.raises(DataError, match="is for tables only"):
        load("adbench/A", label="y")


def test_a_missing_folder_says_where_to_put_the_files(folder, monkeypatch):
    for setting in (str(folder.parent), ""):
        monkeypatch.setenv("RAPP_DATA", setting)
        with pytest.raises(DataError, match=r"no table of ADBench .* \$RAPP_DATA/adbench$"):
            load("adbench/cardio")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y": np.zeros(40, int)}, "both must occur"),
        ({"y": np.zeros(39, int)}, "y a 0 or 1 for each"),
        ({"X": np.full((40, 2), np.nan)}, "rows of finite numbers"),
        ({"X": np.zeros(40)}, "rows of finite numbers"),
        ({"X": np.array([{}] * 40)}, "allow_pickle=False"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(folder, changes, words):
    write(folder, "3_bad.npz", 40, 5, **changes)
    with pytest.raises(DataError, match=rf"3_bad.npz could not be read \(.*{words}.*\); fetch it again") as error:
        load("adbench/bad")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [lambda body: body[:200], lambda body: b"", lambda body: b"<html>"])
def test_damaged_files_are_refused(folder, change):
    write(folder, "3_bad.npz", 40, 5)
    path = folder / "3_bad.npz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=r"3_bad.npz could not be read \(.+\); fetch it again"):
        load("adbench/bad")


def test_the_real_tables():
    folder = Path(os.environ.get("RAPP_DATA") or "none") / "adbench"
    if not folder.is_dir():
        pytest.skip("RAPP_DATA names no folder with adbench: the tests on its real tables are left out")
    assert len(tables()) == len(list(folder.glob("*_*.npz")))
    for name in tables():
        data = load(f"adbench/{name}")
        assert set(data.y.tolist()) == {"0", "1"}, name
        assert len(data) <= AT_MOST
        assert bool(data.notes) == data.partial == (len(data) == AT_MOST)


def test_candidates_are_networks_of_their_own_whatever_the_defaults_are():
    """Rows can be computed again when the estimator's defaults have changed."""
    x = np.random.default_rng(0).normal(size=(60, 8))
    for name, params in study.NETWORKS.items():
        options = {key: value for key, value in params.items() if key != "cap"}
        fitted = RaPP(bottleneck=2, epochs=1, **options).fit(x)
        assert {"model", "batch"} < set(params)
        assert fitted.architecture_[3] == 3, name
        assert fitted.architecture_[4] == ((128, 64) if "wide" in name else None), name


def test_the_defaults_are_what_the_rule_takes_from_the_committed_rows():
    rows = published.adbench("shuffled")
    half = rows["table"].map(study.halves_of(rows["table"].unique()))
    assert nobody_picked.chosen(rows[half == 1]) == nobody_picked.DEFAULT
    assert set(nobody_picked.left_out(rows)) < set(rows["table"])
    defaults = RaPP(epochs=1).fit(np.random.default_rng(0).normal(size=(60, 8)))
    params = study.CANDIDATES[nobody_picked.DEFAULT]
    assert (defaults.model, defaults.batch) == (params["model"], params["batch"])
    assert defaults.architecture_[4] == params["hidden"]


def test_dtes_split_cuts_in_the_files_order_fills_small_tables_up_and_shuffles_large_ones():
    x, y = np.arange(2_000.0)[:, None], np.arange(2_000) % 10 == 0
    train, test, is_novel = study.unshuffled(x, y, 0, 2_000)
    assert (len(train), is_novel.sum()) == (900, 200)
    assert train.max() < test[~is_novel].min()
    train, test, is_novel = study.unshuffled(x[:100], y[:100], 0, 100)
    assert len(train) + len(test) == 1_000
    assert set(train.ravel()) & set(test[~is_novel].ravel())
    train, test, is_novel = study.unshuffled(x, y, 0, 60_000)
    assert (len(train), len(test), is_novel.sum()) == (900, 1_100, 200)
    assert train.max() > test[~is_novel].min()
    assert not set(train.ravel()) & set(test.ravel())


def test_the_right_split_draws_the_rows_that_train():
    x, y = np.arange(100.0)[:, None], np.arange(100) >= 90
    train, test, is_novel = study.shuffled(x, y, 0, 100)
    assert (len(train), is_novel.sum(), len(np.unique(np.concatenate([train, test])))) == (45, 10, 100)
    assert not np.array_equal(train, study.shuffled(x, y, 1, 100)[0])
