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


def test_without_rows_every_claim_is_pending(rows):
    assert ledger.judged(rows.head(0))["verdict"].unique().tolist() == ["pending"]


def test_the_papers_own_numbers_reproduce_the_paper(rows):
    found = ledger.judged(rows).set_index("claim")
    gains = found[found.index.str.contains("reconstruction error, wherever|means of Table 2")]
    assert gains["verdict"].unique().tolist() == ["reproduced"]
    assert found.filter(like="lifts the VAE", axis=0)["verdict"].item() == "reproduced"
    assert found.filter(like="worse than a coin", axis=0)["verdict"].item() == "not reproduced"  # these are means


def test_images_that_were_trained_for_fewer_epochs_are_judged_so_far(rows):
    images = rows["dataset"].isin(["mnist", "fashion-mnist"])
    rows.loc[images, "epochs"] = np.where(rows.loc[images, "setting"] == "unimodal", 40, 6)
    found = ledger.judged(rows).set_index("claim")
    of_images = found.loc["The means of Table 2 for images, within 0.02 with twice our standard error"]
    assert of_images["verdict"] == "reproduced so far"
    assert of_images["evidence"].endswith("(trained for 6 to 40 epochs; the profile has 100)")
    assert (
        found.loc["The means of Table 2 for tables, within 0.05 with twice our standard error", "verdict"]
        == "reproduced"
    )
    for claim in ("lifts the VAE", "worse than a coin"):
        line = found.filter(like=claim, axis=0).iloc[0]
        assert line["verdict"].endswith(" so far")
        assert line["evidence"].endswith("(trained for 6 epochs; the profile has 100)")


def test_claims_on_one_digit_take_the_rows_that_the_table_takes(rows):
    shorter = rows.assign(epochs=6, auroc=0.1, changes="epochs=6 precision=bfloat16", precision="bfloat16")
    same_length = rows.assign(auroc=0.1, changes="precision=bfloat16", precision="bfloat16")
    mixed = pd.concat([shorter, rows, same_length])
    pd.testing.assert_frame_equal(ledger.judged(mixed), ledger.judged(rows))
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
    name = "The means of Table 2 for images, within 0.02 with twice our standard error"
    alone = ledger.judged(rows[rows["seed"] == 0]).set_index("claim").loc[name]
    assert alone["verdict"] == "pending"
    assert "of 36 with one seed 36 differ by less, which proves nothing" in alone["evidence"]
    wide = rows.assign(auroc=rows["auroc"] + np.where(rows["seed"] == 0, 0.03, -0.03))
    assert ledger.judged(wide).set_index("claim").loc[name, "evidence"].startswith("0 of 36")


def test_gains_of_one_seed_are_told_and_not_judged(rows):
    claim = "unimodal: NAP beats reconstruction error, wherever the paper's Table 2 says so"
    mixed = rows[(rows["seed"] == 0) | (rows["dataset"] == "steel")]
    line = ledger.judged(mixed).set_index("claim").loc[claim]
    several, alone = line["evidence"].split("; of ")
    assert several.endswith("that we have with several seeds")
    assert alone.endswith("agree, which proves nothing; 21 in the paper")
    steel = paper_tables.table2(mixed).query("dataset == 'STL' and setting == 'unimodal'")
    wide = steel.pivot(index="model", columns="score", values="paper")
    wins = int((wide["nap"] > wide["recon"]).sum())
    assert several.startswith(f"{wins} of {wins} " if wins else "none ")
    assert line["verdict"] == ("reproduced so far" if wins else "pending")


def test_runs_of_one_class_tell_their_spread_or_that_there_is_one(rows):
    one = paper_tables.of_one_class(rows, "mnist", "1")
    one.loc[(one["model"] == "ae") & (one["score"] == "nap"), "auroc"] = [0.5, 0.7]
    one = one[(one["model"] != "vae") | (one["seed"] == 0)]
    table = paper_tables.runs(one).set_index("model")
    assert table["runs"].to_dict() == {"AE": 2, "VAE": 1, "AAE": 2}
    assert table.loc["AE", "NAP"].split() == ["0.600", "±", f"{np.std([0.5, 0.7], ddof=1):.3f}"]
    assert table.loc["VAE", "NAP"] == "0.965"
    line = ledger.judged(rows[(rows["model"] != "vae") | (rows["seed"] == 0)]).set_index("claim")
    line = line.loc["There, NAP lifts the VAE to 0.905"]
    assert line["evidence"].endswith("(one run, not judged)")
    assert line["verdict"] == "pending"


def test_the_reimplementations_runs_stand_in_the_same_table():
    table = paper_tables.runs(published.reimplementation_runs("1")).set_index("model")
    assert table["runs"].to_dict() == {"AE": 2, "VAE": 1, "AAE": 2}
    assert table.loc["AE", "NAP"].startswith(f"{(0.677 + 0.718) / 2:.3f}"[:4])


def test_what_is_off_is_counted(rows):
    off = rows["score"].eq("nap") & rows["dataset"].eq("mnist") & rows["setting"].eq("multimodal")
    rows.loc[off, "auroc"] = 0.4
    found = ledger.judged(rows).set_index("claim")
    line = found.loc["multimodal: NAP beats reconstruction error, wherever the paper's Table 2 says so"]
    won, of = map(int, line["evidence"].split(" that we have")[0].split(" of "))
    assert (of - won, line["verdict"]) == (3, "partly")
    lost = paper_tables.where_nap_loses(paper_tables.table2(rows))
    assert set(lost[lost["dataset"] == "MNIST"]["model"]) >= {"ae", "vae", "aae"}


def test_the_order_counts_where_the_papers_gap_is_beyond_our_noise(rows):
    claim = "Recon, SAP and NAP in the paper's order, where its gap exceeds 0.01 and twice our standard error"
    all_pairs = ledger.judged(rows).set_index("claim").loc[claim]
    assert all_pairs["verdict"] == "reproduced"
    steel = rows[(rows["dataset"] == "steel") & (rows["setting"] == "unimodal") & (rows["model"] == "vae")].copy()
    steel["auroc"] = steel["score"].map({"recon": 0.9, "sap": 0.8, "nap": 0.7})
    paper = paper_tables.table2(steel).dropna(subset="ours").set_index("score")["paper"]
    pairs = [paper[a] - paper[b] for a, b in itertools.combinations(["recon", "sap", "nap"], 2)]
    known = [gap for gap in pairs if abs(gap) > 0.01]
    line = ledger.judged(steel).set_index("claim").loc[claim]
    assert line["evidence"].startswith(f"{sum(gap > 0 for gap in known)} of {len(known)} pairs; ")
    assert line["verdict"].endswith("so far")  # the paper has more
    steel["auroc"] += steel["seed"] - 0.5  # the same for all scores of a network: their differences are what they were
    assert ledger.judged(steel).set_index("claim").loc[claim, "evidence"] == line["evidence"]
    steel["auroc"] += steel["seed"] * steel["score"].map(
        {"recon": 0, "sap": 1, "nap": -1}
    )  # standard errors of 0.5 and more
    assert ledger.judged(steel).set_index("claim").loc[claim, "verdict"] == "pending"


def test_a_gain_within_twice_its_standard_error_is_no_case(rows):
    claim = "unimodal: NAP beats reconstruction error, wherever the paper's Table 2 says so"
    whole = ledger.judged(rows).set_index("claim").loc[claim]
    one = ledger.pairs(rows).query("setting == 'unimodal' and one == 'nap' and other == 'recon' and paper > 0").iloc[0]
    ours = {theirs: name for name, theirs in published.NAMES.items() if name != "mnist-5k"}[one["dataset"]]
    block = rows["setting"].eq("unimodal") & rows["dataset"].eq(ours) & rows["model"].eq(one["model"])
    block &= rows["score"].eq("nap")
    rows.loc[block, "auroc"] += np.where(rows.loc[block, "seed"] == 0, 0.5, -0.5)
    line = ledger.judged(rows).set_index("claim").loc[claim]
    n = int(whole["evidence"].split(" of ")[0])
    assert line["evidence"].startswith(f"{n - 1} of {n - 1} that we have with several seeds and beyond twice their ")
    assert "(1 within it say nothing)" in line["evidence"]
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
        verdicts[setting, by] = ledger.judged(some).set_index("claim").loc[claim]
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
