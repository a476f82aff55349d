import itertools

import numpy as np
import pandas as pd
import pytest

from rapp.grid import cells
from rappbook import ledger, paper_tables, published
from rappbook.figures import paper_tables as tables


@pytest.fixture
def rows():
    """The paper's own numbers as if they were ours, two seeds of each, but for one that is off."""
    paper = published.retyped("table2.csv")
    ours = {theirs: name for name, theirs in published.NAMES.items() if name != "mnist-5k"}
    base = {
        **dict.fromkeys(cells.COLUMNS, 1),
        "profile": "paper",
        "changes": "",
        "options": "",
        "precision": "float32",
        "partial": False,
        "epochs": 100,
        "contamination": 0.0,
    }
    made = [{**base, **row, "dataset": ours[row["dataset"]], "seed": seed, "target": str(target)}
            for row, seed in itertools.product(paper.to_dict("records"), (0, 1))
            for target in range(published.CLASSES.get(row["dataset"], 1))]  # fmt: skip
    return pd.DataFrame(made)


def line_of(rows, claim):
    """The line of the ledger whose claim has these words."""
    return next(line for part in ledger.judged(rows) for _, line in part.iterrows() if claim in line["claim"])


def test_without_rows_every_claim_is_pending(rows):
    for part in ledger.judged(rows.head(0)):
        assert part["verdict"].unique().tolist() == ["pending"]


def test_every_case_of_a_claim_is_counted_once(rows):
    _, of_table2 = ledger.judged(rows[(rows["seed"] == 0) | (rows["dataset"] != "mnist")])
    assert of_table2[list(ledger.CASES)].sum(axis=1).tolist() == of_table2["cases"].tolist()
    assert of_table2["one seed"].gt(0).any()
    assert of_table2[of_table2["claim"].str.contains("NAP .*reconstruction error")]["cases"].sum() == 45


def test_the_papers_own_numbers_reproduce_the_paper(rows):
    _, of_table2 = ledger.judged(rows)
    gains = of_table2[of_table2["claim"].str.contains("reconstruction error|the mean within")]
    assert gains["verdict"].unique().tolist() == ["reproduced"]
    assert line_of(rows, "lifts the VAE")["verdict"] == "reproduced"
    assert line_of(rows, "worse than a coin")["verdict"] == "not reproduced"  # these are means


def test_images_that_were_trained_for_fewer_epochs_are_judged_so_far(rows):
    images = rows["dataset"].isin(["mnist", "fashion-mnist"])
    rows.loc[images, "epochs"] = np.where(rows.loc[images, "setting"] == "unimodal", 40, 6)
    of_images = line_of(rows, "images: the mean within 0.02")
    assert of_images["verdict"] == "reproduced so far"
    assert of_images["epochs"] == "6 to 40"
    assert line_of(rows, "tables: the mean within 0.05")["verdict"] == "reproduced"
    for claim in ("lifts the VAE", "worse than a coin"):
        line = line_of(rows, claim)
        assert line["verdict"].endswith(" so far")
        assert line["evidence"].endswith("; 6 epochs)")


def test_claims_on_one_digit_take_the_rows_that_the_table_takes(rows):
    shorter = rows.assign(epochs=6, auroc=0.1, changes="epochs=6 precision=bfloat16", precision="bfloat16")
    same_length = rows.assign(auroc=0.1, changes="precision=bfloat16", precision="bfloat16")
    mixed = pd.concat([shorter, rows, same_length])
    for ours, alone in zip(ledger.judged(mixed), ledger.judged(rows), strict=True):
        pd.testing.assert_frame_equal(ours, alone)
    pd.testing.assert_frame_equal(paper_tables.table2(mixed), paper_tables.table2(rows))


def test_a_mean_has_one_profile_and_whole_seeds(rows):
    block = (rows["dataset"] == "mnist") & (rows["setting"] == "multimodal") & (rows["model"] == "ae")
    mine = rows[block].assign(changes="epochs=100 precision=bfloat16", precision="bfloat16")
    one = mine[mine["target"] == "1"]
    more = [one.assign(seed=seed, auroc=0.1) for seed in (2, 3)]  # further runs of one digit
    other = one.assign(changes="epochs=200", epochs=200, auroc=0.2)  # one digit for longer
    plain = one.assign(changes="epochs=100", seed=0, auroc=0.3)  # and in float32
    mixed = pd.concat([mine, *more, other, plain])
    table = paper_tables.table2(mixed).dropna(subset="ours")
    assert (table["seeds"] == 2).all()
    assert (table["classes"] == 10).all()
    assert table["ours"].tolist() == pytest.approx(table["paper"].tolist())
    alone = paper_tables.of_one_class(mixed, "mnist", "1")
    assert set(alone["changes"]) == {"epochs=200"}
    alone = paper_tables.of_one_class(pd.concat([mine, *more, plain]), "mnist", "1")
    assert alone["seed"].nunique() == 4  # the most seeds, of as many epochs


def test_a_mean_of_one_seed_or_with_a_wide_spread_is_not_within(rows):
    name = "images: the mean within 0.02"
    alone = line_of(rows[rows["seed"] == 0], name)
    assert (alone["one seed"], alone["verdict"]) == (36, "pending")
    wide = rows.assign(auroc=rows["auroc"] + np.where(rows["seed"] == 0, 0.03, -0.03))
    wide = line_of(wide, name)
    assert (wide["undecided"], wide["agree"], wide["verdict"]) == (36, 0, "undecided")


def test_gains_of_one_seed_are_told_and_not_judged(rows):
    mixed = rows[(rows["seed"] == 0) | (rows["dataset"] == "steel")]
    line = line_of(mixed, "unimodal: NAP beats reconstruction error")
    steel = paper_tables.table2(mixed).query("dataset == 'STL' and setting == 'unimodal'")
    wide = steel.pivot(index="model", columns="score", values="paper")
    wins = int((wide["nap"] > wide["recon"]).sum())
    assert (line["cases"], line["agree"], line["disagree"], line["one seed"]) == (21, wins, 0, 21 - wins)
    assert line["verdict"] == ("reproduced so far" if wins else "pending")


def test_runs_of_one_class_tell_their_spread_or_that_there_is_one(rows):
    one = paper_tables.of_one_class(rows, "mnist", "1")
    one.loc[(one["model"] == "ae") & (one["score"] == "nap"), "auroc"] = [0.5, 0.7]
    one = one[(one["model"] != "vae") | (one["seed"] == 0)]
    table = paper_tables.runs(one).set_index("model")
    assert table["runs"].to_dict() == {"AE": 2, "VAE": 1, "AAE": 2}
    assert table.loc["AE", "NAP"].split() == ["0.600", "±", f"{np.std([0.5, 0.7], ddof=1):.3f}"]
    assert table.loc["VAE", "NAP"] == "0.965"
    line = line_of(rows[(rows["model"] != "vae") | (rows["seed"] == 0)], "There, NAP lifts the VAE to 0.905")
    assert line["evidence"].endswith("(one run, not judged; 100 epochs)")
    assert line["verdict"] == "pending"


def test_the_reimplementations_runs_stand_in_the_same_table():
    table = paper_tables.runs(published.reimplementation_runs("1")).set_index("model")
    assert table["runs"].to_dict() == {"AE": 2, "VAE": 1, "AAE": 2}
    assert table.loc["AE", "NAP"].startswith(f"{(0.677 + 0.718) / 2:.3f}"[:4])


def test_what_is_off_is_counted(rows):
    off = rows["score"].eq("nap") & rows["dataset"].eq("mnist") & rows["setting"].eq("multimodal")
    rows.loc[off, "auroc"] = 0.4
    line = line_of(rows, "multimodal: NAP beats reconstruction error")
    assert (line["disagree"], line["verdict"]) == (3, "partly")
    lost = ledger.lost(ledger.pairs(rows))
    mnist = lost[lost["dataset"] == "MNIST"]
    assert mnist["model"].tolist() == ["AAE", "AE", "VAE"]
    assert mnist["NAP − recon, ours"].str.endswith(" ± 0.000").all()
    alone = ledger.lost(ledger.pairs(rows[rows["seed"] == 0]))
    assert alone["NAP − recon, ours"].str.endswith(" (one seed)").all()
    assert (ledger.lost(ledger.pairs(rows.head(0)))["NAP − recon, ours"] == "pending").all()


def test_the_order_counts_where_the_papers_gap_is_beyond_our_noise(rows):
    claim = "two scores in the paper's order (those more than 0.01 apart there)"
    assert line_of(rows, claim)["verdict"] == "reproduced"
    steel = rows[(rows["dataset"] == "steel") & (rows["setting"] == "unimodal") & (rows["model"] == "vae")].copy()
    steel["auroc"] = steel["score"].map({"recon": 0.9, "sap": 0.8, "nap": 0.7})
    paper = paper_tables.table2(steel).dropna(subset="ours").set_index("score")["paper"]
    pairs = [paper[a] - paper[b] for a, b in itertools.combinations(["recon", "sap", "nap"], 2)]
    known = [gap for gap in pairs if abs(gap) > 0.01]
    line = line_of(steel, claim)
    agree = sum(gap > 0 for gap in known)
    assert (line["agree"], line["disagree"]) == (agree, len(known) - agree)
    assert line["verdict"].endswith("so far")  # the paper has more
    steel["auroc"] += steel["seed"] - 0.5  # the same for all scores of a network: their differences are what they were
    pd.testing.assert_series_equal(line_of(steel, claim), line)
    steel["auroc"] += steel["seed"] * steel["score"].map(
        {"recon": 0, "sap": 1, "nap": -1}
    )  # standard errors of 0.5 and more
    assert line_of(steel, claim)["verdict"] == "undecided"


def test_a_gain_within_twice_its_standard_error_is_no_case(rows):
    claim = "unimodal: NAP beats reconstruction error"
    whole = line_of(rows, claim)
    one = ledger.pairs(rows).query("setting == 'unimodal' and one == 'nap' and other == 'recon' and paper > 0").iloc[0]
    ours = {theirs: name for name, theirs in published.NAMES.items() if name != "mnist-5k"}[one["dataset"]]
    block = rows["setting"].eq("unimodal") & rows["dataset"].eq(ours) & rows["model"].eq(one["model"])
    block &= rows["score"].eq("nap")
    rows.loc[block, "auroc"] += np.where(rows.loc[block, "seed"] == 0, 0.5, -0.5)
    line = line_of(rows, claim)
    assert (whole["agree"], whole["undecided"]) == (21, 0)
    assert (line["agree"], line["disagree"], line["undecided"]) == (20, 0, 1)
    assert (whole["verdict"], line["verdict"]) == ("reproduced", "reproduced so far")


def test_steel_is_compared_in_the_settings_that_others_have(rows):
    rows = rows.assign(auroc=rows["auroc"] + 0.01 * rows["seed"])
    claim = "Results on STL swing with the split, for it has few samples a class"
    steel = rows["dataset"].eq("steel")
    verdicts = {}
    for setting, by in (("unimodal", 0.1), ("multimodal", 0.1), ("unimodal", -0.009)):
        off = steel & rows["setting"].eq(setting) & rows["seed"].eq(1)
        some = rows.assign(auroc=rows["auroc"] + by * off)
        some = some[steel | some["setting"].eq("unimodal")]
        verdicts[setting, by] = line_of(some, claim)
    assert verdicts["unimodal", 0.1]["verdict"] == "reproduced"
    assert verdicts["multimodal", 0.1]["verdict"] != "reproduced"  # no other data set is multimodal here
    assert "multimodal" not in verdicts["multimodal", 0.1]["evidence"]
    assert verdicts["unimodal", -0.009]["verdict"] == "not reproduced"


def test_outside_lists_what_misses_largest_first(rows):
    assert ledger.outside(paper_tables.table2(rows)).empty
    for dataset, by in (("mnist", 0.03), ("steel", 0.04), ("otto", -0.06)):
        of = rows["dataset"].eq(dataset) & rows["setting"].eq("unimodal") & rows["score"].eq("nap")
        rows.loc[of & rows["model"].eq("ae"), "auroc"] += by
    missed = ledger.outside(paper_tables.table2(rows))
    assert missed["dataset"].tolist() == ["OTTO", "MNIST"]
    assert missed["difference"].tolist() == pytest.approx([-0.06, 0.03])
    assert missed["seeds"].tolist() == ["2", "2"]
    assert missed["epochs"].tolist() == ["100", "100"]


def test_spread_is_over_splits(rows):
    steel = rows[(rows["dataset"] == "steel") & (rows["setting"] == "unimodal") & (rows["target"] == "0")].copy()
    steel["auroc"] = 0.8 + 0.1 * steel["seed"]
    (line,) = ledger.spread(steel, "steel").to_dict("records")
    assert line == pytest.approx(
        {"setting": "unimodal", "class": "0", "splits": 2, "mean": 0.85, "std": 0.1 / 2**0.5, "lowest": 0.8,
         "highest": 0.9}
    )  # fmt: skip


def test_the_tables_figures_draw_what_is_there_and_what_is_not(rows):
    some = paper_tables.table2(rows[rows["dataset"].isin(["steel", "hrss"])])
    figure = tables.differences(some)
    drawn = [text.get_text() for ax in figure.axes for text in ax.texts if text.get_text()[:1] in "+-\u2212"]
    assert len(drawn) == some["ours"].notna().sum()
    assert all(float(text) == 0 for text in drawn)
    alone = tables.differences(paper_tables.table2(rows[rows["seed"] == 0]))
    assert {text.get_text()[-1] for ax in alone.axes for text in ax.texts if text.get_text()[:1] in "+-"} == {"°"}
    slopes = tables.slopes(some, "unimodal")
    assert [ax.get_title() for ax in slopes.axes if ax.lines] == ["EOPT", "STL"]  # the paper's order
    np.testing.assert_allclose(slopes.axes[0].lines[0].get_ydata(), slopes.axes[0].lines[1].get_ydata())
    assert not [ax for ax in tables.slopes(some.head(0), "unimodal").axes if ax.lines]


def test_cost_adds_up_cells_once(rows):
    cost = paper_tables.cost(rows).set_index(["dataset", "setting"])
    assert cost.loc[("mnist", "multimodal"), "cells"] == 60
    assert cost.loc[("mnist", "multimodal"), "minutes"] == pytest.approx(1.0)


def test_precisions_are_compared_cell_by_cell(rows):
    assert paper_tables.by_precision(rows.assign(precision="float32")).empty
    one = rows[(rows["dataset"] == "mnist") & (rows["setting"] == "multimodal") & (rows["model"] == "ae")]
    other = one.assign(auroc=one["auroc"] - np.where(one["seed"] == 0, 0.1, 0.3), precision="bfloat16")
    other = other[other["target"] != "4"]  # has no partner
    table = paper_tables.by_precision(pd.concat([one.assign(precision="float32"), other]))
    assert table["score"].tolist() == ["recon", "sap", "nap"]
    assert set(table["cells"]) == {18}
    np.testing.assert_allclose(table["difference"], -0.2)
    np.testing.assert_allclose(table["std"], np.std([0.1, 0.3] * 9, ddof=1))


def test_a_part_of_the_classes_is_not_compared(rows):
    table = paper_tables.table2(rows[(rows["dataset"] != "otto") | (rows["target"] != "8")]).set_index("dataset")
    assert table.loc["OTTO", "difference"].isna().all()
    assert table.loc["OTTO", "ours"].notna().all()
    assert (table.drop("OTTO")["difference"].abs() < 1e-9).all()
    page = paper_tables.for_page(paper_tables.table2(rows[rows["target"] != "6"]))
    page = page.set_index(["setting", "dataset", "model"])
    assert page.loc[("multimodal", "STL", "ae"), "NAP"].endswith("in part")
