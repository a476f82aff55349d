import itertools

import pandas as pd
import pytest

from rapp.grid import cells
from rappbook import paper_tables, ranking
from rappbook.figures import who_wins


@pytest.fixture
def rows(blobs):
    """Three classes, two seeds, three shares of contamination for one class; PCA is best, then VAE NAP."""
    base = dict.fromkeys(cells.COLUMNS, 1) | {
        "profile": "quick",
        "changes": "",
        "options": "",
        "dataset": "blobs",
        "setting": "multimodal",
    }
    level = {("pca", "recon"): 0.9, ("vae", "nap"): 0.8, ("vae", "recon"): 0.3, ("vae", "none of ours"): 1.0}
    made = [
        {**base, "model": m, "score": s, "seed": seed, "target": target, "contamination": share,
         "auroc": auroc + 0.02 * seed + 0.01 * int(target) - share, "seconds": 10.0, "seconds_per_1000": 0.5}
        for (m, s), auroc in level.items()
        for seed, target, share in itertools.product((0, 1), "012", (0.0, 0.1))
        if not share or target == "1"
    ]  # fmt: skip
    return ranking.compared(pd.DataFrame(made), "quick")


def test_the_best_mean_over_classes_leads_and_its_spread_is_over_seeds(rows, blobs):
    table = ranking.ranked(ranking.of_setting(rows, blobs, "multimodal"), blobs)
    assert table["rank"].tolist() == ["1", "2", "3"]
    assert table["method"].tolist() == [
        "[PCA](05_classical.ipynb)",
        "[VAE NAP](03_rapp.ipynb)",
        "[VAE recon](02_when_reconstruction_fails.ipynb)",
    ]
    assert table["mean AUROC"].tolist() == ["0.920 ± 0.014", "0.820 ± 0.014", "0.320 ± 0.014"]
    assert table["class one"].tolist() == ["0.920", "0.820", "0.320"]
    assert table["worst class"].tolist() == ["0.910 (zero)", "0.810 (zero)", "0.310 (zero)"]


def test_a_method_that_lacks_a_class_has_no_rank_and_comes_last(rows, blobs):
    rows = rows[(rows["method"] != "PCA") | (rows["target"] != "2")]
    table = ranking.ranked(ranking.of_setting(rows, blobs, "multimodal"), blobs)
    assert table["rank"].tolist() == ["1", "2", "–"]
    assert table["mean AUROC"].iloc[-1].startswith("in part")


def test_contamination_compares_the_same_classes(rows, blobs):
    table = ranking.over_contamination(rows, blobs)
    pca = table[table["method"] == "PCA"].set_index("contamination")
    assert pca["auroc"].round(6).to_dict() == {0.0: 0.92, 0.1: 0.82}
    assert set(table["classes"]) == {"1"}


def test_pairs_are_out_of_distribution_only(rows, blobs):
    pair = rows.assign(dataset="blobs + photos", setting="out-of-distribution", contamination=0.0)
    table = ranking.out_of_distribution(pd.concat([rows, pair]), blobs)
    assert table.columns.tolist() == ["blobs + photos"]
    assert table.index[0] == "PCA"


def test_without_rows_everything_is_empty_and_drawn_as_such(rows, blobs):
    none = rows.head(0)
    of = ranking.of_setting(none, blobs, "multimodal")
    assert ranking.ranked(of, blobs).empty
    assert ranking.over_contamination(none, blobs).empty
    assert ranking.out_of_distribution(none, blobs).empty
    for figure in (who_wins.heat(ranking.by_class(of), "1", {}), who_wins.cost(of)):
        assert figure.axes[0].texts[0].get_text() == "no rows yet"


def test_the_heat_map_sets_the_target_apart(rows, blobs):
    wide = ranking.by_class(ranking.of_setting(rows, blobs, "multimodal"))
    left, right = who_wins.heat(wide, "1", dict(zip("012", blobs.class_names, strict=True))).axes
    assert [t.get_text() for t in left.get_xticklabels()] == ["one"]
    assert [t.get_text() for t in right.get_xticklabels()] == ["zero", "two"]


def test_what_was_reported_is_compared_with_whole_means_only(rows, monkeypatch):
    base = rows.iloc[0].to_dict() | {"dataset": "mnist", "setting": "unimodal", "model": "anogan", "score": "score"}
    ours = pd.DataFrame([base | {"target": str(target), "auroc": 0.9} for target in range(10)])
    monkeypatch.setattr(paper_tables, "all_rows", lambda: ours)
    (line,) = paper_tables.reported().to_dict("records")
    assert (line["ours"], line["reported"], line["difference"]) == ("0.900", "0.937 (mean)", "-0.037")
    monkeypatch.setattr(paper_tables, "all_rows", lambda: ours.head(3).assign(model="geom-8", score="dirichlet"))
    mean, of_one = paper_tables.reported().to_dict("records")
    assert (mean["classes"], mean["difference"]) == ("0, 1, 2", "in part")
    assert (of_one["classes"], of_one["difference"]) == ("1", "-0.016")


def test_advice_names_the_best_of_several_seeds_for_each_question(rows, blobs):
    other = rows.assign(setting="unimodal", auroc=rows["auroc"].where(rows["method"] != "PCA", rows["auroc"] - 0.3))
    lucky = rows[(rows["method"] == "PCA") & (rows["seed"] == 0)].assign(method="lucky", auroc=0.99)
    both = pd.concat([rows, other, lucky, lucky.assign(setting="unimodal")])
    table = ranking.advice(both, blobs, seconds=5, most=2).set_index("question")
    assert table["best"]["Several classes are normal"] == "PCA 0.920 ± 0.014; VAE NAP 0.820 ± 0.014"
    assert table["runs"]["Several classes are normal"] == "6 each"
    assert table["best"]["One class is normal"].startswith("VAE NAP")
    assert not table["best"].str.contains("lucky").any()
    assert "mean place 1.5 of 3" in table["best"]["Either may be the case"]
    assert table["best"]["At most 5 seconds to train, one class"].startswith("not known")  # all took ten
    assert table["best"]["No class may be missed (AUROC of the worst), several classes"] == "PCA 0.910; VAE NAP 0.810"
    dirty = table.loc["10% of the training rows are novel, several classes"]
    assert dirty["best"].startswith("PCA 0.820 ± 0.014")
    assert dirty["runs"] == "2 each"


def test_a_chapters_best_stands_beside_the_classical_and_rapps(rows, blobs, monkeypatch):
    stored = rows.drop(columns=["method", "chapter"]).assign(profile="quick", changes="")
    monkeypatch.setattr(ranking.published, "our_rows", lambda profile: stored)
    told = ranking.yardstick(blobs, "quick", "03_rapp")
    assert "| setting    | of this chapter" in told
    assert "| VAE NAP " in told
    assert "| PCA " in told
    assert "classical" not in ranking.yardstick(blobs, "quick", "05_classical")
    assert ranking.yardstick(blobs, "quick", "07_gans").startswith("No rows")


def test_a_star_marks_what_is_not_judged(rows):
    alone = rows[(rows["method"] != "PCA") | (rows["seed"] == 0)]
    named = ranking.starred(alone[alone["setting"] == "multimodal"]).index
    assert "PCA *" in named
    assert "VAE NAP" in named


def test_side_by_side_has_a_column_per_method_and_says_where_it_is_one_run(rows, blobs):
    table = ranking.side_by_side(rows[rows["seed"] == 0], blobs, ["PCA", "VAE NAP", "absent"]).set_index("measured")
    assert table.columns.tolist() == ["PCA", "VAE NAP"]
    assert table["PCA"]["several normal classes: mean AUROC"] == "0.910 (one seed)"
    change = table.loc[
        "several normal classes: change from 0% to 10% of novel training rows (class one alone; one run)"
    ]
    assert change.tolist() == ["-0.100", "-0.100"]


def test_more_samples_compares_the_classes_that_all_methods_have(rows, monkeypatch):
    clean = rows[(rows["contamination"] == 0) & rows["method"].isin(["PCA", "VAE NAP"])]
    clean = clean.drop(columns=["method", "chapter"]).assign(n_train=9.0, precision="float32")
    large = clean.assign(dataset="more", n_train=90.0, auroc=clean["auroc"] + 0.05)
    large = large[(large["model"] == "vae") | (large["target"] != "2")]
    rows_of = {"quick": pd.concat([clean, large[large["model"] == "pca"]])}
    rows_of["paper"] = large[large["model"] == "vae"].assign(profile="paper")
    monkeypatch.setattr(ranking.published, "our_rows", rows_of.get)
    table = ranking.more_samples("blobs", "more", ["pca", "vae"]).set_index(["method", "data"])
    assert table["classes"].unique().tolist() == [2]
    assert table["training rows"].tolist() == ["9", "90", "9", "90"]
    assert table["AUROC"]["PCA", "blobs"] == "0.915 ± 0.014"
    assert table["AUROC"]["VAE NAP", "more"] == "0.865 ± 0.014"
    assert ranking.more_samples("blobs", "more", ["pca", "kde"]).empty
