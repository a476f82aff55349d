"""Tables 2 and 3 of the paper, and the rivals as reported, with our published rows beside them; what these cost."""

import pandas as pd

from rapp.detectors import DETECTORS
from rapp.experiment import SCORES
from rapp.grid import cells
from rapp.models import MODELS
from rappbook.published import CLASSES, NAMES, all_rows, retyped

NUMBER = "ours ± std · paper · difference"
BLOCK = ["setting", "dataset", "model"]
WAY = ["profile", "changes"]  # in which a block was trained


def table2(rows: pd.DataFrame) -> pd.DataFrame:
    """The paper's Table 2 beside ours: what is not there yet is NaN.

    Of ours, the ``chosen`` count. Our mean is over classes, of each one's mean over seeds; our standard deviation is
    that over seeds of the means over classes (one seed: NaN).

    Args:
        rows: as ``cells.collect``, of the paper's profile.

    Returns:
        setting, dataset (the paper's name), model, score, ours, std, paper, difference, cells, classes, seeds, epochs,
        changed (what else, of the profile), partial, of the paper's rows in their order; of a part of the data or
        classes, difference is NaN.
    """
    paper = retyped("table2.csv").rename(columns={"auroc": "paper"})
    return _with_difference(paper.merge(_means(rows), how="left", on=["setting", "dataset", "model", "score"]))


def chosen(rows: pd.DataFrame, first: str = "classes") -> pd.DataFrame:
    """The rows that stand for a data set, setting and model where it was trained in several ways: those of one profile.

    It is the profile with the most classes, of these the one with the most epochs, then seeds, then with nothing else
    changed. Seeds with less than half of its classes take no part: a mean over ten digits has no further "1"s.

    Args:
        rows: as ``cells.collect``, of the paper's profile; contaminated ones are left out.
        first: "classes", or "epochs" to choose by these first, for a single class.

    Returns:
        The rows with one more column, changed: what else is, of the profile.
    """
    rows = rows[rows["contamination"] == 0]
    half = rows["precision"].map({"float32": ""}).fillna("precision=" + rows["precision"])
    changed = (half + " " + rows["options"]).str.strip()
    rows = rows.assign(changed=changed, plain=changed == "")
    ways = rows.groupby([*BLOCK, *WAY], as_index=False).agg(
        classes=("target", "nunique"), epochs=("epochs", "max"), seeds=("seed", "nunique"), plain=("plain", "all")
    )
    order = [first, *(name for name in ("classes", "epochs", "seeds", "plain") if name != first)]
    best = ways.sort_values(order, kind="stable").groupby(BLOCK).tail(1)
    rows = rows.drop(columns="plain").merge(best[[*BLOCK, *WAY, "classes"]], on=[*BLOCK, *WAY])
    of_seed = rows.groupby([*BLOCK, "seed"])["target"].transform("nunique")
    return rows[2 * of_seed >= rows["classes"]].drop(columns="classes")


def of_one_class(rows: pd.DataFrame, dataset: str, target: str) -> pd.DataFrame:
    """The rows of one novel class, multimodal, that were trained longest (``chosen``)."""
    of_class = (rows["dataset"] == dataset) & (rows["setting"] == "multimodal") & (rows["target"] == target)
    return chosen(rows[of_class], first="epochs")


def runs(rows: pd.DataFrame) -> pd.DataFrame:
    """For each way in which one class was trained: how many runs, and each score's mean ± std over them, as text.

    Args:
        rows: of one class.

    Returns:
        model, precision, epochs, runs, and a column per score.
    """
    groups = rows.groupby(["model", "precision", "epochs", "score"])["auroc"]
    words = "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{:.3f}".format
    spread = groups.std().map(words, na_action="ignore").astype(object).fillna("")
    text = groups.mean().map("{:.3f}".format) + spread
    wide = text.unstack("score").reindex(columns=list(SCORES)).rename(columns=SCORES)
    n_runs = rows.groupby(["model", "precision", "epochs"])["seed"].nunique()
    wide.insert(0, "runs", n_runs)
    wide = wide.reindex([model for model in MODELS if model in wide.index], level="model").reset_index()
    return wide.assign(model=wide["model"].str.upper())


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean AUROC over classes of each seed of the ``chosen`` rows, a line for each score; named as in the paper."""
    return _named(chosen(rows)).groupby([*BLOCK, "score", "seed"])["auroc"].mean().reset_index()


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(dataset=rows["dataset"].map({name: NAMES[name] for name in NAMES if name != "mnist-5k"}))


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """``table2``'s columns but for the paper's, of our ``chosen`` rows."""
    spread = by_seed(rows).groupby([*BLOCK, "score"])["auroc"].std().rename("std")
    rows = _named(chosen(rows))
    ours = rows.groupby([*BLOCK, "score"]).agg(
        cells=("auroc", "size"), seeds=("seed", "nunique"), epochs=("epochs", "max"),
        partial=("partial", "any"), classes=("target", "nunique"), changed=("changed", "first"),
    )  # fmt: skip
    means = rows.groupby([*BLOCK, "score", "target"])["auroc"].mean().groupby([*BLOCK, "score"]).mean().rename("ours")
    return ours.join([means, spread]).reset_index()


def _with_difference(table: pd.DataFrame) -> pd.DataFrame:
    in_part = table["classes"] < table["dataset"].map(CLASSES).fillna(1)
    table["partial"] = table["partial"].eq(True) | in_part
    table["difference"] = (table["ours"] - table["paper"]).where(~table["partial"])
    return table


RIVALS_OF_TABLE3 = {  # ours → the paper's name, with the score that is compared
    ("oc-nn", "score"): "ocnn", ("gpnd", "score"): "gpnd", ("deep-svdd", "score"): "dsvdd", ("geom", "dirichlet"): "gt",
} | {(model, "nap"): f"nap-{model}" for model in MODELS}  # fmt: skip


def table3(rows: pd.DataFrame) -> pd.DataFrame:
    """The paper's Table 3 (NAP against rivals) beside ours, as ``table2``; rivals that we do not have yet are NaN."""
    paper = retyped("table3.csv").rename(columns={"auroc": "paper"})
    ours = _means(rows)
    names = pd.Series([RIVALS_OF_TABLE3.get(key) for key in zip(ours["model"], ours["score"], strict=True)], dtype=str)
    ours = ours.assign(method=names).drop(columns=["model", "score"]).dropna(subset="method")
    return _with_difference(paper.merge(ours, how="left", on=["setting", "dataset", "method"]))


def for_page(table: pd.DataFrame) -> pd.DataFrame:
    """``table2`` or ``table3`` as text: "ours ± std · paper · difference", a column per score if there are several.

    What is missing is pending, and a part of the data or classes is not compared.
    """
    std = table["std"].map(" ± {:.3f}".format).where(table["std"].notna(), "")
    ours = (table["ours"].map("{:.3f}".format) + std).where(table["ours"].notna(), "pending")
    gap = table["difference"].map(" · {:+.3f}".format).where(table["difference"].notna(), "")
    gap = gap.where(~table["partial"], " · in part")
    numbers = ["seeds", "epochs"]
    shown = trained(table.assign(text=ours + table["paper"].map(" · {:.3f}".format) + gap))
    if "score" not in table:
        return shown[["setting", "dataset", "method", "text", *numbers]].rename(columns={"text": NUMBER})
    rows = ["setting", "dataset", "model"]
    wide = shown.pivot(index=[*rows, *numbers], columns="score", values="text")[list(SCORES)]
    order = pd.MultiIndex.from_frame(shown[[*rows, *numbers]].drop_duplicates())
    wide = wide.reindex(order).rename(columns=SCORES).reset_index()
    return wide[[*rows, *SCORES.values(), *numbers]]


def trained(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with its seeds and epochs as text, and what else was changed beside the epochs."""
    seeds, epochs = (
        table[name].map("{:.0f}".format).where(table[name].notna(), "").astype(str) for name in ("seeds", "epochs")
    )
    changed = table["changed"].fillna("").astype(str)
    return table.assign(seeds=seeds, epochs=epochs + (", " + changed).where(changed != "", ""))


def by_precision(rows: pd.DataFrame) -> pd.DataFrame:
    """AUROC in bfloat16 minus that in float32, of cells that we have in both with as many epochs.

    Returns:
        dataset, setting, model, epochs, score, cells, difference (mean), std; no rows without such cells.
    """
    same = ["dataset", "setting", "model", "epochs", "score"]
    wide = rows.pivot_table("auroc", index=[*same, "target", "seed"], columns="precision", sort=False)
    gap = wide.reindex(columns=["bfloat16", "float32"]).dropna().diff(-1, axis=1)["bfloat16"]
    return gap.groupby(same, sort=False).agg(cells="size", difference="mean", std="std").reset_index()


def cost(rows: pd.DataFrame) -> pd.DataFrame:
    """Cells, epochs, precision, minutes of training and device, for each data set and setting."""
    of_cells = rows.drop_duplicates(cells.KEY)
    grouped = of_cells.groupby(["dataset", "setting", "epochs", "precision", "device"], as_index=False)
    table = grouped.agg(cells=("seed", "size"), minutes=("seconds", lambda seconds: round(seconds.sum() / 60, 1)))
    return table[["dataset", "setting", "cells", "epochs", "precision", "minutes", "device"]]


def reported() -> pd.DataFrame:
    """The rivals' one-class AUROCs as reported (book/paper/rivals.csv) beside all of ours on the same data, for a page.

    Returns:
        data, method, profile, classes and runs (ours), ours, reported, by (whose), difference (or "in part").
    """
    theirs, lines = retyped("rivals.csv").fillna({"target": ""}), []
    ours = all_rows().query("setting == 'unimodal' and contamination == 0")
    for line in theirs.to_dict("records"):
        models = [line["model"], f"{line['model']}-8"]  # the rival itself, or with the 8 transformations for the 72
        mine = ours[
            (ours["dataset"] == line["dataset"]) & ours["model"].isin(models) & (ours["score"] == line["score"])
        ]
        mine = mine[mine["target"] == line["target"]] if line["target"] else mine
        for (model, profile, changes), part in mine.groupby(["model", "profile", "changes"]):
            classes = sorted(set(part["target"]))
            whole = line["target"] or len(classes) == CLASSES[NAMES[line["dataset"]]]
            lines.append(
                {
                    "data": line["dataset"],
                    "method": DETECTORS[model].title,
                    "profile": f"{profile} {changes}".strip(),
                    "classes": ", ".join(classes),
                    "runs": len(part),
                    "ours": f"{part['auroc'].mean():.3f}",
                    "reported": f"{line['auroc']:.3f}" + ("" if line["target"] else " (mean)"),
                    "by": line["source"],
                    "difference": f"{part['auroc'].mean() - line['auroc']:+.3f}" if whole else "in part",
                }
            )
    return pd.DataFrame(lines)
