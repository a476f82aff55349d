import re

import numpy as np
import pandas as pd
import pytest

import rows
from rapp import cli
from rapp.grid import cells
from rappbook import paper_tables, published
from tests.conftest import ROOT


def test_table_2_against_means_by_hand(monkeypatch, tmp_path, capsys):
    block = {
        "profile": "paper",
        "changes": "",
        "options": "",
        "setting": "multimodal",
        "dataset": "fashion-mnist",
        "model": "ae",
        "score": "nap",
    }
    aurocs = {("0", 0): 0.6, ("1", 0): 0.8, ("0", 1): 0.7, ("1", 1): 1.0}
    monkeypatch.setitem(published.CLASSES, "F-MNIST", 2)
    base = {**dict.fromkeys(cells.COLUMNS, 1), "partial": False, "contamination": 0.0, "precision": "float32"}
    made = [{**base, **block, "target": t, "seed": s, "auroc": a, "epochs": 100} for (t, s), a in aurocs.items()]
    made.append({**made[0], "auroc": 0.1, "epochs": 5, "changes": "epochs=5"})  # fewer epochs do not count
    made.append({**made[0], "auroc": 0.2, "precision": "bfloat16", "changes": "precision=bfloat16"})  # nor this
    frame = pd.DataFrame(made)
    table = paper_tables.table2(frame)
    assert len(table) == len(published.retyped("table2.csv"))
    mine = table.dropna(subset="ours").iloc[0]
    assert mine["ours"] == pytest.approx(0.775)
    assert mine["std"] == pytest.approx(np.std([0.7, 0.85], ddof=1))
    paper = published.retyped("table2.csv").set_index(["setting", "dataset", "model", "score"])["auroc"]
    assert mine["difference"] == pytest.approx(0.775 - paper["multimodal", "F-MNIST", "ae", "nap"])
    assert paper_tables.table2(frame.assign(partial=True))["difference"].isna().all()
    assert (mine["cells"], mine["seeds"], mine["epochs"]) == (4, 2, 100)
    monkeypatch.setattr(published, "BOOK", tmp_path)
    (tmp_path / "paper").symlink_to(ROOT / "book" / "paper")
    assert published.publish(frame) == [tmp_path / "results" / "table2.csv"]
    assert published.publish(frame.assign(auroc=0.5).head(1)) == [tmp_path / "results" / "table2.csv"]
    assert published.our_rows("paper")["auroc"].tolist() == pytest.approx([0.5, 0.7, 0.8, 1.0, 0.1, 0.2])
    assert rows.main(["table"]) == 0
    said = capsys.readouterr().out
    assert "pending" in said
    assert "0.750" in said  # with the new row
    few = paper_tables.table2(frame[frame["precision"] == "bfloat16"])
    assert paper_tables.for_page(few).query("epochs != ''")["epochs"].tolist() == ["100, precision=bfloat16"]


def test_published_scores_give_the_cells_auroc_again(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(published, "BOOK", tmp_path)
    assert published.from_scores().empty
    words = ["--profile", "tiny", "--dataset", "digits", "--model", "ae", "pca", "--target", "1", "--contamination"]
    words += ["0", "0.1"]  # the second share's scores have no name of their own
    assert cli.main(["run", *words, "--keep-scores", "--out", str(tmp_path / "cells")]) == 0
    capsys.readouterr()
    assert rows.main(["publish", "--out", str(tmp_path / "cells")]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        str(tmp_path / "results" / "scores" / f"tiny-digits-multimodal-{model}-1-0.csv.gz") for model in ("ae", "pca")
    ]
    found = cells.collect(tmp_path / "cells").query("contamination == 0")
    again = published.from_scores()
    assert again["score"].tolist() == found["score"].tolist()
    np.testing.assert_allclose(again[["auroc", "aupr"]], found[["auroc", "aupr"]], atol=1e-6)
    assert again["found"].between(0, 1).all()


def test_committed_scores_are_those_of_their_published_rows():
    again, rows = published.from_scores(), published.all_rows()
    names = pd.Series(cells.ids(rows), rows.index).str.replace(r"[^\w.]+", "-", regex=True)
    rows = rows.assign(file=names)[rows["contamination"] == 0].set_index(["file", "score"])
    assert len(again)
    found = again.set_index(["file", "score"])
    np.testing.assert_allclose(found[["auroc", "aupr"]], rows.loc[found.index, ["auroc", "aupr"]], atol=1e-6)


def test_every_published_row_can_be_traced_and_stands_once():
    for path in (ROOT / "book" / "results").rglob("*.csv"):
        found = pd.read_csv(path, dtype=str, keep_default_na=False)
        if "commit" in found:
            clean = found["commit"].str.fullmatch(r"[0-9a-f]{7,40}")  # "+" stands for files that no commit has
            assert clean.all(), f"{path.name}: rows of {set(found.loc[~clean, 'commit'])}: commit first, then train"
        if path.parent.name == "results" and "commit" in found:
            assert not found.duplicated([*cells.KEY, "score"]).any(), path.name


def test_readme_shows_published_rows():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    ours = published.our_rows("paper").query("dataset == 'mnist' and target == '1' and setting == 'multimodal'")
    found = re.findall(r"^\| (\w+) \((\w+)\) \| (\d+) \| (.+) \| (.+) \| (.+) \|$", text, re.M)
    assert {model for model, *_ in found} == {"VAE", "AE", "AAE"}
    for model, precision, n_runs, *numbers in found:
        alike = ours[(ours["model"] == model.lower()) & (ours["precision"] == precision) & (ours["epochs"] == 100)]
        for score, number in zip(("recon", "sap", "nap"), numbers, strict=True):
            aurocs = alike[alike["score"] == score]["auroc"]
            spread = f" ± {aurocs.std():.3f}" if len(aurocs) > 1 else ""
            assert (n_runs, number) == (str(len(aurocs)), f"{aurocs.mean():.3f}{spread}")
    made = re.findall(r'make row ID="(.+)"', text)
    assert made
    assert set(made) <= set(cells.ids(published.all_rows()))
