"""The page on a table of one's own, and what chapter 12 computes from rows."""

import numpy as np
import pandas as pd
import pytest

from rapp.data import Dataset
from rappbook.chapters import nobody_picked, your_table


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


def test_differences_ranks_and_the_critical_difference():
    aurocs = pd.DataFrame({"a": [0.9, 0.8, 0.7], "b": [0.8, 0.8, 0.9]})
    found = nobody_picked.difference(aurocs, "a", "b")
    assert found == pytest.approx({"mean": -1 / 30, "sem": 0.0882, "ahead": 1, "behind": 1}, abs=1e-4)
    assert nobody_picked.critical_difference(5, 30) == pytest.approx(1.114, abs=1e-3)  # Demšar 2006: 2.728 √(30 / 180)
