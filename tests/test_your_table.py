"""The page on a table of one's own, and what chapter 12 computes from rows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import execute
import keys
from rapp.config import ParameterError
from rapp.data import DataError, Dataset
from rappbook import parameters
from rappbook.chapters import nobody_picked, your_rows, your_table
from tests.conftest import ROOT


def planted(n=200):
    """Three features that go together; the novel rows' second one is shifted."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2)) @ rng.normal(size=(2, 3)) + 0.1 * rng.normal(size=(n, 3))
    y = np.where(np.arange(n) < n - 30, "ok", "not ok")
    x[y == "not ok", 1] += 10
    about = (("ok", "not ok"), None, "t.csv", "its owner's", "", ("ok", "not ok"), (), "ok")
    return Dataset("t.csv", x, y, *about, features=("heat", "noise", "speed"))


@pytest.mark.filterwarnings("ignore")
def test_the_planted_rows_come_first_with_the_planted_reason():
    data = planted()
    rows, detector = your_table.compare(data, "not ok", 2, 60)
    assert rows.groupby("method").size().eq(2).all()
    assert len(set(rows["method"])) == 6 + len(your_table.RIVALS)
    assert rows.set_index(["method", "seed"]).loc[("RaPP, AE, NAP", 0), "auroc"] > 0.9
    suspects = your_table.suspects(data, "not ok", detector)
    assert (suspects["data row"] > 170).all()
    assert (suspects["class"] == "not ok").all()
    assert suspects["look at"].str.startswith("noise").mean() >= 0.8
    assert suspects["score"].is_monotonic_decreasing


def test_the_page_says_who_chose_the_class():
    data = planted()
    assert your_table.chosen(data, None) == (
        "Normal is **ok**, as you said (NORMAL); the 30 rows that are anything else are novel."
    )
    two = replace(data, normal=None)
    assert your_table.chosen(two, None).startswith("Novel is **not ok** (30 rows), because it is the rarest class")
    assert your_table.chosen(two, "ok").startswith("Novel is **ok** (170 rows), as you said (target)")


def unlabelled(tmp_path):
    """A hundred rows of two features that go together, a text and an ID; in rows 40 and 80 they do not."""
    rng = np.random.default_rng(0)
    heat = rng.normal(size=100)
    speed = heat + 0.1 * rng.normal(size=100)
    speed[[39, 79]] = -heat[[39, 79]] + [9, -9]
    ids = [f"A{i}" for i in rng.permutation(100)]
    frame = pd.DataFrame({"id": ids, "heat": heat, "speed": speed, "site": rng.choice(["n", "s"], 100)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    return str(tmp_path / "t.csv")


def test_odd_rows_of_a_table_without_labels_come_first(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RAPP_SAID", "")
    data = parameters.check_rows(unlabelled(tmp_path), "tiny", 2)
    said = capsys.readouterr().err
    assert "dropped as text with over 50 different values: id" in said
    assert "no LABEL=… was given" in said
    assert data.features == ("heat", "speed", "site=n", "site=s")
    scores, fits = your_rows.cross_fit(data, 2, 20)
    assert scores.groupby("seed")["row"].apply(list).map(lambda rows: rows == list(range(100))).all()
    for seed in range(2):  # each row once, by a fit that was not given it
        assert sorted(np.concatenate([fit.rows for fit in fits[5 * seed : 5 * seed + 5]])) == list(range(100))
    for fit in fits:
        assert fit.scaler.n_samples_seen_ == 100 - len(fit.rows)
    assert your_rows.are_few(data)
    first = your_rows.first_rows(data, scores, fits)
    assert set(first["data row"][:2]) == {40, 80}
    assert first["place"][:2].isin(["1, 1", "2, 2", "1, 2", "2, 1"]).all()
    assert first["look at"][:2].str.contains("speed").all()
    assert first["also first for"][:2].str.contains("k-th neighbour").all()
    rivals = your_rows.first_of_rivals(your_rows.by_row(scores)).set_index("method").iloc[:, 0].str.split(", ")
    assert {"40", "80"} == set(rivals["k-th neighbour"][:2])
    agreement = your_rows.agreement(scores).set_index("RaPP beside")
    assert list(agreement.index) == ["RaPP, another seed", "k-th neighbour", "Isolation forest"]
    assert agreement.iloc[:, 1].between(2, 10).all()
    one = your_rows.agreement(scores[scores["seed"] == 0])
    assert list(one["RaPP beside"]) == ["k-th neighbour", "Isolation forest"]  # no other seed to stand beside


def test_what_a_table_without_labels_cannot_be(tmp_path):
    table = unlabelled(tmp_path)
    with pytest.raises(DataError, match="digits is no table"):
        parameters.check_rows("digits", "tiny", 2)
    with pytest.raises(ParameterError, match="seeds=0 must be"):
        parameters.check_rows(table, "tiny", 0)
    notebook = ROOT / "notebooks" / "your_rows.ipynb"
    with pytest.raises(ParameterError, match=r"target='ok' is for a table with labels: add LABEL=…"):
        execute.check(notebook, {"dataset": table, "profile": "tiny", "target": "ok"})
    assert execute.check(notebook, {"dataset": table, "profile": "tiny", "seeds": 1})[1].name == "t.csv"
    (tmp_path / "short.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(DataError, match=r"short.csv has 2 rows; at least 20 are needed"):
        your_rows.read(str(tmp_path / "short.csv"))


@pytest.mark.parametrize(
    ("dataset", "label"), [("t.csv", ""), ("t.CSV", "kind"), ("digits", ""), ("adbench/magic.gamma", "")]
)
def test_only_a_table_without_labels_has_the_page_without_labels(dataset, label):
    names = {run.notebook.stem for run in keys.runs(keys.asked(dataset, "", label, "tiny", ""), ROOT / "build")}
    assert (names == {"your_rows"}) == ("your_rows" in names) == (dataset == "t.csv")


def test_differences_ranks_and_the_critical_difference():
    aurocs = pd.DataFrame({"a": [0.9, 0.8, 0.7], "b": [0.8, 0.8, 0.9]})
    found = nobody_picked.difference(aurocs, "a", "b")
    assert found == pytest.approx({"mean": -1 / 30, "sem": 0.0882, "ahead": 1, "behind": 1}, abs=1e-4)
    assert nobody_picked.critical_difference(5, 30) == pytest.approx(1.114, abs=1e-3)  # Demšar 2006: 2.728 √(30 / 180)
