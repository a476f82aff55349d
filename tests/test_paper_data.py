import functools
import gzip
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rapp.data import LOADERS, DataError, load, paper
from rapp.data.paper import ORIGINS
from rappbook import parameters, published
from tests.conftest import ROOT

NAMES = tuple(ORIGINS)
TABLE_1 = {name: tuple(origin["shape"]) for name, origin in ORIGINS.items()}
SHAPES = TABLE_1 | {"hrss": (90_515, 18, 2), "sensorless": (7_731, 48, 11)}
COUNTS = {  # rows of a class, as their publishers and the mirror's list state them
    "steel": {"Pastry": 158, "Z_Scratch": 190, "K_Scatch": 391, "Stains": 72, "Dirtiness": 55, "Bumps": 402,
              "Other_Faults": 673},
    "sensorless": {"1": 5319, "2": 612} | {str(i): 200 for i in range(3, 12)},
    "mill-finished": {"finished": 23_125, "unfinished": 2_161},
    "mill-inspected": {"passed": 19_183, "failed": 3_942},
    "hrss": {"normal": 80_328, "anomalous": 10_187},
    "asteroids": {"harmless": 3_932, "hazardous": 755},
    "robot-arm": {"normal": 15_529, "malfunction": 4_692},
}  # fmt: skip
NOTES = {
    "steel": [],
    "otto": ["row number: id"],
    "sensorless": ["partial: 7,731 of 58,509 rows"],
    "mill-finished": ["constant columns are kept", "Z1_CurrentFeedback", "S1_SystemInertia"],
    "mill-inspected": ["rows of unfinished experiments", "constant columns are kept"],
    "hrss": ["Timestamp", "18 features where Table 1 says 20"],
    "asteroids": ["Neo Reference ID, Name", "Close Approach Date", "Orbiting Body, Equinox", "does not say which 33"],
    "robot-arm": ["agree with Table 1"],
}
NOVEL = {"mill-finished": "unfinished", "mill-inspected": "failed", "hrss": "anomalous", "asteroids": "hazardous",
         "robot-arm": "malfunction"}  # fmt: skip


def mirror(name):
    """The folder with a data set's real files, or a skip that says why."""
    folder = Path(os.environ.get("RAPP_DATA") or "none") / ORIGINS[name]["folder"]
    if not folder.is_dir():
        pytest.skip(f"RAPP_DATA names no folder with {folder.name}: the tests on the real {name} are left out")
    return folder


@functools.cache
def loaded(name):
    """A data set from its real files; called before a test sets RAPP_DATA to something else."""
    mirror(name)
    return load(name)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Make RAPP_DATA a folder of links to a data set's real files; returns the data set's own folder in it."""

    def make(name):
        real, folder = mirror(name), tmp_path / ORIGINS[name]["folder"]
        folder.mkdir()
        for file in real.iterdir():
            (folder / file.name).symlink_to(file)
        monkeypatch.setenv("RAPP_DATA", str(tmp_path))
        return folder

    return make


def rewrite(file, change):
    """Put other bytes in the place of a link."""
    content = change(file.read_bytes())
    file.unlink()
    file.write_bytes(content)


def refused(name):
    """The one line that says why a data set cannot be loaded."""
    with pytest.raises(DataError) as error:
        load(name)
    text = str(error.value)
    assert "\n" not in text
    assert all(
        words in text for words in (name, ORIGINS[name]["page"], ORIGINS[name]["files"], ORIGINS[name]["folder"])
    )
    return text


@pytest.mark.parametrize("name", NAMES)
def test_rows_features_and_classes_are_those_of_table_1(name):
    data = loaded(name)
    assert (*data.x.shape, len(set(data.y.tolist()))) == SHAPES[name]
    assert (data.name, data.x.dtype, data.image_shape) == (name, np.float64, None)
    assert set(data.y.tolist()) == set(data.classes)
    assert np.isfinite(data.x).all()
    assert data.partial == (name == "sensorless")
    labels, counts = np.unique(data.y, return_counts=True)
    if name in COUNTS:
        assert dict(zip(labels.tolist(), counts.tolist(), strict=True)) == COUNTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_notes_say_what_was_dropped_and_what_departs_from_table_1(name):
    notes = "; ".join(loaded(name).notes)
    assert all(words in notes for words in NOTES[name]), notes
    assert bool(notes) == bool(NOTES[name])


@pytest.mark.parametrize("name", NOVEL)
def test_no_feature_is_the_label(name):
    data = loaded(name)
    novel = data.y == data.target()
    assert not any(np.array_equal(column == column[0], novel == novel[0]) for column in data.x.T)


def test_unfinished_experiments_are_those_of_train_csv():
    experiments = pd.read_csv(mirror("mill-finished") / "train.csv").set_index("No")
    unfinished = [no for no, word in experiments["machining_finalized"].items() if word == "no"]
    rows = [len(pd.read_csv(mirror("mill-finished") / f"experiment_{no:02}.csv")) for no in experiments.index]
    truth = np.repeat(np.isin(experiments.index, unfinished), rows)
    assert ((loaded("mill-finished").y == "unfinished") == truth).all()
    assert len(loaded("mill-inspected")) == (~truth).sum()
    assert np.array_equal(loaded("mill-inspected").x, loaded("mill-finished").x[~truth])


@pytest.mark.parametrize("name", NOVEL)
def test_of_two_classes_the_normal_one_is_fixed(name):
    data = loaded(name)
    assert data.target() == NOVEL[name]
    assert {data.normal, data.target()} == set(data.classes)
    assert data.target(data.normal) == data.normal


def test_of_many_classes_any_can_be_normal():
    data = loaded("steel")
    assert data.normal is None
    assert data.target() == "Dirtiness"
    assert data.target("K-scratch") == "K_Scatch"


@pytest.mark.parametrize("name", NAMES)
def test_without_files_the_error_says_what_to_fetch_and_where_to_put_it(name, tmp_path, monkeypatch):
    monkeypatch.setenv("RAPP_DATA", "")
    monkeypatch.setenv("RAPP_CACHE", str(tmp_path))
    text = refused(name)
    assert re.search(r"\S+\.(csv|txt|NNA) is missing", text)
    assert str(tmp_path / "data" / ORIGINS[name]["folder"]) in text
    assert f"$RAPP_DATA/{ORIGINS[name]['folder']}" in text
    assert ("needs a login" in text) == ("Kaggle" in ORIGINS[name]["page"])


def test_files_in_the_cache_are_found(tmp_path, monkeypatch):
    real, expected = mirror("robot-arm") / "rbfsvm_train_30.csv.gz", loaded("robot-arm")
    monkeypatch.setenv("RAPP_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("RAPP_CACHE", str(tmp_path))
    folder = tmp_path / "data" / "rarm"
    folder.mkdir(parents=True)
    (folder / "rbfsvm_train_30.csv").write_bytes(gzip.decompress(real.read_bytes()))
    assert np.array_equal(load("robot-arm").x, expected.x)


def unix(content):
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def windows(content):
    return unix(content).replace(b"\n", b"\r\n")


@pytest.mark.parametrize("ends", [unix, windows])
@pytest.mark.parametrize(
    ("name", "files"),
    [("steel", "Faults.NNA"), ("asteroids", "nasa.csv"), ("mill-inspected", "*.csv"), ("hrss", "*normal_standard.csv")],
)
def test_line_ends_do_not_matter(copy, name, files, ends):
    expected = loaded(name)
    for file in copy(name).glob(files):
        rewrite(file, ends)
        assert file.read_bytes().count(b"\r") == (file.read_bytes().count(b"\n") if ends is windows else 0)
    data = load(name)
    assert np.array_equal(data.x, expected.x)
    assert np.array_equal(data.y, expected.y)


def test_a_byte_order_mark_does_not_matter(copy):
    expected = loaded("asteroids")
    rewrite(copy("asteroids") / "nasa.csv", lambda content: content.removeprefix(b"\xef\xbb\xbf"))
    assert np.array_equal(load("asteroids").x, expected.x)


def test_other_names_of_the_same_files_are_read(copy):
    expected = loaded("steel")
    (copy("steel") / "Faults.NNA").unlink()
    assert np.array_equal(load("steel").x, expected.x)


def test_otto_is_read_unpacked_too(copy):
    expected, folder = loaded("otto"), copy("otto")
    (folder / "train.csv").write_bytes(gzip.decompress((folder / "train.csv.gz").read_bytes()))
    (folder / "train.csv.gz").unlink()
    assert np.array_equal(load("otto").x, expected.x)


@pytest.mark.parametrize(
    ("name", "file", "change", "says"),
    [
        ("steel", "Faults.NNA", lambda c: c[: c.rstrip().rindex(b"\n") + 1], "has 1,940 rows × 27 features in 7"),
        ("steel", "Faults.NNA", lambda c: c.replace(b"42\t50\t", b"42\t51\t", 1), "SHA-256"),
        ("steel", "Faults.NNA", lambda c: c[:-20], "could not be read"),
        ("steel", "Faults.NNA", lambda c: b"", "could not be read"),
        ("otto", "train.csv.gz", lambda c: c[: len(c) // 2], "could not be read"),
        ("sensorless", "sensorless_small.npz", lambda c: c[: len(c) // 2], "could not be read"),
        ("mill-finished", "train.csv", lambda c: c.replace(b"unworn,no", b"unworn,yes", 1), "SHA-256"),
        ("mill-inspected", "experiment_08.csv", lambda c: c[: len(c) // 2], "could not be read"),
        ("hrss", "HRSS_normal_standard.csv", lambda c: c[: c.index(b"\n", 9999) + 1], "expected 90,515 rows × 18"),
        ("asteroids", "nasa.csv", lambda c: c.replace(b"Equinox", b"Equator", 1), "could not be read"),
        ("robot-arm", "rbfsvm_train_30.csv.gz", lambda c: gzip.compress(b"<html>\n"), "expected 20,221 rows × 6"),
    ],
)
def test_damaged_files_are_refused_in_one_line(copy, name, file, change, says):
    rewrite(copy(name) / file, change)
    said = refused(name)
    assert says in said
    assert file in said or says != "could not be read"


def test_a_missing_experiment_is_named(copy):
    (copy("mill-finished") / "experiment_07.csv").unlink()
    assert "experiment_07.csv is missing" in refused("mill-finished")


def test_the_whole_of_sensorless_goes_before_a_part_of_it(copy, monkeypatch):
    """Made up, for the mirror has a part only: it shows that the publisher's format is read."""
    rows = np.column_stack([np.random.default_rng(0).normal(size=(22, 48)), np.arange(22) % 11 + 1])
    file = copy("sensorless") / "Sensorless_drive_diagnosis.txt"
    np.savetxt(file, rows, fmt=["%.5g"] * 48 + ["%d"], newline="\r\n")
    assert "has 22 rows × 48 features in 11 classes, expected 58,509 rows × 48" in refused("sensorless")
    monkeypatch.setitem(ORIGINS["sensorless"], "shape", [22, 48, 11])
    data = load("sensorless")
    np.testing.assert_allclose(data.x, rows[:, :-1], rtol=1e-4)
    assert data.y.tolist() == [str(i % 11 + 1) for i in range(22)]
    assert (data.partial, data.notes) == (False, ())


def test_every_table_is_named_published_and_cited():
    papers = [name for name, loader in LOADERS.items() if loader is paper.load]
    assert papers == list(ORIGINS)
    bibliography = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"{{{ORIGINS[name]['citation']},\n" in bibliography
        assert len(published.means(name, "unimodal")) == 9
        assert f"``{name}``" in load.__doc__
    assert len({published.NAMES[name] for name in NAMES}) == 8


@pytest.mark.parametrize("name", ["steel", "robot-arm"])
def test_parameters_are_checked_as_for_any_table(name):
    mirror(name)
    data = parameters.check(name, "tiny")
    assert len(data) == TABLE_1[name][0]
    with pytest.raises(DataError, match=f"target 'Class_1' is no class of {name}; allowed: "):
        parameters.check(name, "tiny", target="Class_1")
