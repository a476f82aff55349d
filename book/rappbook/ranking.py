"""Who wins where: every method's AUROC on the same splits, from published rows (``published.our_rows``)."""

import pandas as pd

from rapp.data import Dataset
from rapp.detectors import DETECTORS
from rapp.detectors.autoencoder import PathwayDetector
from rapp.experiment import SCORES
from rappbook import published

CHAPTERS = {"recon": "02_when_reconstruction_fails", "sap": "03_rapp", "nap": "03_rapp"}


def methods() -> pd.DataFrame:
    """What is compared: an autoencoder with each score, any other method with its own score and with others of note.

    Returns:
        model, score, method (a name for people), chapter (that explains it).
    """
    lines = []
    for name, known in DETECTORS.items():
        is_ours = known.detector is PathwayDetector
        for score in SCORES if is_ours else known.scores:
            called = f"{known.title} {SCORES.get(score, score)}" if len(known.scores) > 1 else known.title
            lines.append((name, score, called, CHAPTERS[score] if is_ours else known.chapter))
    return pd.DataFrame(lines, columns=["model", "score", "method", "chapter"])


def compared(rows: pd.DataFrame, profile: str) -> pd.DataFrame:
    """The rows of a profile that are compared, with their method and chapter."""
    return rows[(rows["profile"] == profile) & (rows["changes"] == "")].merge(methods(), on=["model", "score"])


def of_setting(rows: pd.DataFrame, data: Dataset, setting: str) -> pd.DataFrame:
    """The rows of ``compared`` of one data set and setting, without contamination."""
    return rows[(rows["dataset"] == data.name) & (rows["setting"] == setting) & (rows["contamination"] == 0)]


def by_class(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean AUROC over seeds, a line per method and a column per class, the best mean over classes first.

    Args:
        rows: as ``of_setting``.
    """
    wide = rows.pivot_table(index="method", columns="target", values="auroc")
    return wide.loc[wide.mean(axis=1, skipna=False).sort_values(ascending=False, na_position="last").index]


def ranked(rows: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """The methods of ``of_setting``, the best mean over classes first, for a page.

    Our mean is over classes and seeds; our standard deviation is that over seeds of the means over classes. A method
    that lacks a class has no rank.

    Returns:
        rank, method (linked to where it is explained), mean ± std, the target class's AUROC, worst class, seeds,
        seconds of training and of scoring 1,000 rows (means over cells; for a base model's three scores the same).
    """
    target = data.target()
    wide = by_class(rows)
    of_seed = rows.groupby(["method", "seed", "target"])["auroc"].mean().unstack("target").mean(axis=1, skipna=False)
    spread = of_seed.groupby("method").std()
    about = rows.groupby("method").agg(
        chapter=("chapter", "first"), seeds=("seed", "nunique"),
        seconds=("seconds", "mean"), scoring=("seconds_per_1000", "mean"),
    )  # fmt: skip
    about = about.loc[wide.index]
    mean = wide.mean(axis=1, skipna=False)
    std = spread[wide.index].map(" ± {:.3f}".format).where(spread[wide.index].notna(), "")
    worst = [
        f"{low:.3f} ({data.class_name(str(label))})"
        for label, low in zip(wide.idxmin(axis=1), wide.min(axis=1), strict=True)
    ]
    return pd.DataFrame(
        {
            "rank": mean.rank(ascending=False, method="min").map("{:.0f}".format).where(mean.notna(), "–"),
            "method": [f"[{name}]({chapter}.ipynb)" for name, chapter in about["chapter"].items()],
            "mean AUROC": mean.map("{:.3f}".format).where(mean.notna(), "in part") + std,
            f"class {data.class_name(target)}": wide[target].map("{:.3f}".format) if target in wide else "–",
            "worst class": worst,
            "seeds": about["seeds"],
            "s to train": about["seconds"].map("{:.1f}".format),
            "s / 1,000 rows": about["scoring"].map("{:.2f}".format).where(about["scoring"].notna(), "–"),
        }
    )


def over_contamination(rows: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """AUROC against contamination: the classes that were trained at every share, of the rows of ``compared``.

    Returns:
        setting, method, contamination, auroc (mean over classes and seeds), classes.
    """
    rows = rows[rows["dataset"] == data.name]
    shares = rows["contamination"].nunique()
    seen = rows.groupby(["setting", "method", "target", "seed"])["contamination"].transform("nunique")
    rows = rows[(seen == shares) & (shares > 1)]
    grouped = rows.groupby(["setting", "method", "contamination"], as_index=False)
    return grouped.agg(auroc=("auroc", "mean"), classes=("target", lambda classes: ", ".join(sorted(set(classes)))))


def out_of_distribution(rows: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """AUROC of each method with one data set normal and another novel, for the pairs that ``data`` is part of.

    Returns:
        A line per method and a column per pair, named "normal + novel"; the best mean first.
    """
    pairs = rows[rows["setting"] == "out-of-distribution"]
    pairs = pairs[pairs["dataset"].map(lambda pair: data.name in pair.split(" + ")).astype(bool)]
    wide = pairs.pivot_table(index="method", columns="dataset", values="auroc")
    return wide.loc[wide.mean(axis=1).sort_values(ascending=False).index]


def reported() -> pd.DataFrame:
    """The rivals' one-class AUROCs as reported (book/paper/rivals.csv) beside all of ours on the same data, for a page.

    Returns:
        data, method, profile, classes (ours), ours, reported, difference (of a mean over some classes: "in part").
    """
    theirs = pd.read_csv(published.BOOK / "paper" / "rivals.csv", dtype={"target": str}).fillna({"target": ""})
    ours = published.all_rows()
    ours = ours[(ours["setting"] == "unimodal") & (ours["contamination"] == 0)]
    lines = []
    for line in theirs.to_dict("records"):
        models = [line["model"], f"{line['model']}-8"]  # the rival itself, or with the 8 transformations for the 72
        mine = ours[
            (ours["dataset"] == line["dataset"]) & ours["model"].isin(models) & (ours["score"] == line["score"])
        ]
        mine = mine[mine["target"] == line["target"]] if line["target"] else mine
        for (model, profile, changes), part in mine.groupby(["model", "profile", "changes"]):
            classes = sorted(set(part["target"]))
            whole = line["target"] or len(classes) == published.CLASSES[published.NAMES[line["dataset"]]]
            lines.append(
                {
                    "data": line["dataset"],
                    "method": DETECTORS[model].title,
                    "profile": f"{profile} {changes}".strip(),
                    "classes": ", ".join(classes),
                    "ours": f"{part['auroc'].mean():.3f}",
                    "reported": f"{line['auroc']:.3f}" + ("" if line["target"] else " (mean)"),
                    "difference": f"{part['auroc'].mean() - line['auroc']:+.3f}" if whole else "in part",
                }
            )
    return pd.DataFrame(lines)
