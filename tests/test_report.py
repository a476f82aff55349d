"""rapp report: its numbers are those of rapp score, and its page can be read by anybody."""

import html
import re
from pathlib import Path

import axe_playwright_python
import numpy as np
import pandas as pd
import pytest

from rapp import cli, report, table_model
from tests.test_table_model import rows

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def page(tmp_path, monkeypatch, capsys):
    """Fit a model with names that are markup, and return the report's text on a new table, and its scores."""
    monkeypatch.chdir(tmp_path)
    names = {"heat": EVIL, "kind": "kind & <b>"}
    rows().rename(columns=names).to_csv("train.csv", index=False)
    new = rows(seed=1).rename(columns=names).drop(columns="state")
    new.loc[4, "noise"] = np.nan
    new.to_csv("new.csv", index=False)
    assert cli.main(["fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "m", "--epochs", "3"]) == 0
    assert cli.main(["score", "m", "new.csv", "--out", "scores.csv", "--on-missing", "skip"]) == 0

    def made(*words):
        status = cli.main(["report", "m", "new.csv", "--out", "page.html", *words])
        assert status == 0, capsys.readouterr().err
        return Path("page.html").read_text(encoding="utf-8"), pd.read_csv("scores.csv")

    return made


def test_its_numbers_are_those_of_rapp_score(page, monkeypatch):
    text, scores = page("--on-missing", "skip")
    n_novel = scores["is_novel"].sum()
    assert f"{n_novel} of 199 rows ({n_novel / 199:.1%}) are called novel" in text
    assert "1 rows were left out: &#x27;noise&#x27; is missing in 1." in text
    assert "fitted on 180 normal rows of <strong>train.csv</strong>. Of these, 36 were held out" in text
    first = scores.nlargest(10, "score")
    assert [int(row) for row in re.findall(r"<h3>Row (\d+):", text)] == first["row"].tolist()
    said = [float(p) for p in re.findall(r"p-value ([\d.e-]+)", text)]
    np.testing.assert_allclose(said, first["p_value"], rtol=0.05)
    novel = first[first["is_novel"]]
    firsts = [re.findall(r'<th scope="row">(.*?)</th>', part)[0] for part in text.split("<h3>")[1 : len(novel) + 1]]
    assert [html.unescape(first) for first in firsts] == novel["reason_1"].tolist()
    monkeypatch.setattr("rapp.table_model.CHUNK", 7)
    parts, _ = page("--on-missing", "skip")
    assert re.findall(r"<h3>Row \d+: ", parts) == re.findall(r"<h3>Row \d+: ", text)


def test_names_are_no_markup_and_nothing_comes_from_elsewhere(page):
    text, _ = page("--on-missing", "skip")
    assert EVIL not in text
    assert "&lt;script&gt;" in text
    assert "<b>" not in text
    assert not re.search(r"(?:src|href)=|url\(|@import|<script", text)


def test_errors_are_those_of_rapp_score(page, capsys):
    page("--on-missing", "skip")
    before = Path("page.html").read_bytes()
    assert cli.main(["report", "m", "new.csv", "--out", "page.html"]) == 2
    assert "column 'noise' is missing in data row 5" in capsys.readouterr().err
    assert Path("page.html").read_bytes() == before


def test_what_it_counts_does_not_hang_on_the_parts_it_reads(page, monkeypatch):
    page("--on-missing", "skip")
    model, found = table_model.read(Path("m")), []
    new = rows(2345, seed=1).rename(columns={"heat": EVIL, "kind": "kind & <b>"})
    new.loc[1000:1500, "noise"] = np.nan
    new.to_csv("long.csv", index=False)
    assert cli.main(["score", "m", "long.csv", "--out", "scores.csv", "--on-missing", "skip"]) == 0
    for size in (10_000, 7):
        monkeypatch.setattr("rapp.table_model.CHUNK", size)
        found.append(report.Report(model, "long.csv", True))
    for one in found:
        scores = pd.read_csv("scores.csv")
        block = (scores["row"] - 1) // one.size
        assert one.size == 40  # the least double of ten by which a hundred blocks hold them all
        for counts, of in zip(one.blocks, (block, block[scores["is_novel"]]), strict=True):
            assert counts.tolist() == np.bincount(of, minlength=100).tolist()
        assert one.steps.sum() == one.n == len(scores)
        assert one.n_novel == scores["is_novel"].sum()
    assert found[0].top.numbers.tolist() == found[1].top.numbers.tolist()


def test_tables_at_the_edge_have_a_page(page):
    page("--on-missing", "skip")
    name = b"a\xff$n.csv".decode("utf-8", "surrogateescape")  # a name that is no UTF-8, and looks like a blank to fill
    table = pd.read_csv("new.csv").dropna()
    for some in (table[:1], pd.concat([table[:1]] * 30), table.assign(noise=1e9)):
        some.to_csv(name, index=False)
        assert cli.main(["report", "m", name, "--out", "edge.html"]) == 0
        text = Path("edge.html").read_text(encoding="utf-8")
        assert "a?$n.csv" in text
        assert "nan" not in text
        assert re.search("kind &amp; &lt;b&gt;: [ab]", text)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page, opened, scheme):
    page("--on-missing", "skip")
    tab = opened(Path("page.html").resolve(), width=360, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    tab.evaluate(Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run({resultTypes: ['violations'], preload: false})")["violations"]
    assert [what["id"] for what in found] == []
