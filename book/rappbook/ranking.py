"""Who wins where: every method's AUROC on the same splits, from published rows (``published.our_rows``)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rapp.data import Dataset
from rapp.detectors import DETECTORS
from rapp.detectors.autoencoder import PathwayDetector
from rapp.experiment import SCORES
from rappbook import paper_tables, published

UNKNOWN = "not known (one seed each or none)"
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


def starred(rows: pd.DataFrame) -> pd.DataFrame:
    """``by_class`` for a figure: a method with one seed, which is not judged, has a star."""
    judged = set(several_seeds(rows)["method"])
    return by_class(rows).rename(index=lambda method: method if method in judged else f"{method} *")


def standing(rows: pd.DataFrame) -> pd.DataFrame:
    """How each method stands, the best mean over classes first; a method that lacks a class has no mean.

    Args:
        rows: as ``of_setting``.

    Returns:
        A line per method: mean (over classes and seeds), std (over seeds, of the mean over classes), worst (the lowest
        class's mean over seeds), runs, seeds, chapter, seconds of training and scoring (of 1,000 rows; over cells).
    """
    wide = by_class(rows)
    of_seed = rows.groupby(["method", "seed", "target"])["auroc"].mean().unstack("target").mean(axis=1, skipna=False)
    about = rows.groupby("method").agg(
        chapter=("chapter", "first"), seeds=("seed", "nunique"), runs=("auroc", "size"),
        seconds=("seconds", "mean"), scoring=("seconds_per_1000", "mean"),
    )  # fmt: skip
    means = {"mean": wide.mean(axis=1, skipna=False), "std": of_seed.groupby("method").std(), "worst": wide.min(axis=1)}
    return about.assign(**means).loc[wide.index]


def ranked(rows: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """The methods of ``of_setting``, the best mean over classes first, for a page.

    Our mean is over classes and seeds; our standard deviation is that over seeds of the means over classes. A method
    that lacks a class has no rank.

    Returns:
        rank, method (linked to where it is explained), mean ± std, the target class's AUROC, worst class, seeds,
        seconds of training and of scoring 1,000 rows (means over cells; for a base model's three scores the same).
    """
    target = data.target()
    wide, about = by_class(rows), standing(rows)
    mean, std = about["mean"], about["std"].map(" ± {:.3f}".format).where(about["std"].notna(), "")
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


def yardstick(data: Dataset, profile: str, chapter: str) -> str:
    """For a page: the highest mean over all classes of a chapter's methods, the classical ones' and NAP's; of rows."""
    rows = compared(published.our_rows(profile), profile)
    lines = []
    for setting in ("multimodal", "unimodal"):
        about = standing(of_setting(rows, data, setting)).dropna(subset="mean")
        kinds = {"of this chapter": about["chapter"] == chapter}
        if chapter != "05_classical":
            kinds["classical"] = about["chapter"] == "05_classical"
        kinds["RaPP, NAP"] = about.index.to_series().str.endswith(" NAP")
        if kinds["of this chapter"].any():
            lines.append({"setting": setting} | {name: _best(about[which], 1, "–")[0] for name, which in kinds.items()})
    said = f"**Published rows, over all classes of {data.name}** (profile {profile}, ± over seeds, without it one seed)"
    best = f"{said}: the highest mean AUROC of each kind.\n\n{pd.DataFrame(lines).to_markdown(index=False)}"
    return best if lines else f"No rows of this chapter's methods on all of {data.name} are published."


def several_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of ``compared`` whose method has more than one seed in its setting: a method with one is not judged."""
    return rows[rows.groupby(["setting", "method"])["seed"].transform("nunique") > 1]


def advice(rows: pd.DataFrame, data: Dataset, seconds: float = 5.0, most: int = 3) -> pd.DataFrame:
    """For each question that a reader may have, the best methods of several seeds, for a page.

    Args:
        rows: as ``compared``.
        data: of which data set.
        seconds: how long training may take where there is little time.
        most: how many methods to name.

    Returns:
        question, best (mean AUROC over classes ± its standard deviation over seeds), runs (of each of these).
    """
    rows = rows[rows["dataset"] == data.name]
    share = rows["contamination"].max()
    dirty = several_seeds(rows[(rows["contamination"] == share) & (share > 0)])
    rows = several_seeds(rows)
    settings = {name: standing(of_setting(rows, data, name)) for name in ("multimodal", "unimodal")}
    many, one = (about[about["mean"].notna()] for about in settings.values())
    places = pd.concat([many["mean"], one["mean"]], axis=1).dropna().rank(ascending=False).mean(axis=1)
    questions = {
        "Several classes are normal": many,
        "One class is normal": one,
        f"At most {seconds:.0f} seconds to train, several classes": many[many["seconds"] <= seconds],
        f"At most {seconds:.0f} seconds to train, one class": one[one["seconds"] <= seconds],
        "No class may be missed (AUROC of the worst), several classes": many.assign(mean=many["worst"], std=np.nan),
        "No class may be missed (AUROC of the worst), one class": one.assign(mean=one["worst"], std=np.nan),
    }
    for setting, words in (("multimodal", "several classes"), ("unimodal", "one class")) if share > 0 else ():
        about = standing(dirty[dirty["setting"] == setting])
        questions[f"{share:.0%} of the training rows are novel, {words}"] = about
    lines = [(question, *_best(about, most)) for question, about in questions.items()]
    first = places.nsmallest(most)
    names = "; ".join(f"{name} (mean place {place:.1f} of {len(places)})" for name, place in first.items())
    lines.insert(2, ("Either may be the case", names or UNKNOWN, _each((many["runs"] + one["runs"])[first.index])))
    return pd.DataFrame(lines, columns=["question", "best", "runs"])


def _best(about: pd.DataFrame, most: int, none: str = UNKNOWN) -> tuple[str, str]:
    """The best methods of ``standing`` in words, and how many runs each mean is of."""
    best = about.dropna(subset="mean").nlargest(most, "mean")
    names = [
        f"{name} {mean:.3f}" + ("" if pd.isna(std) else f" ± {std:.3f}")
        for name, mean, std in zip(best.index, best["mean"], best["std"], strict=True)
    ]
    return "; ".join(names) or none, _each(best["runs"])


def _each(runs: pd.Series) -> str:
    """How many runs each of a few methods has, in words."""
    words = runs.astype(int).astype(str)
    return "–" if words.empty else f"{words.iloc[0]} each" if words.nunique() == 1 else ", ".join(words)


def side_by_side(rows: pd.DataFrame, data: Dataset, methods: Sequence[str]) -> pd.DataFrame:
    """A few methods on everything that was measured of both settings, a column per method, for a page.

    Args:
        rows: as ``compared``.
        data: of which data set.
        methods: by name.
    """
    rows = rows[(rows["dataset"] == data.name) & rows["method"].isin(methods)]
    lines: dict[str, pd.Series] = {}
    for setting, words in (("multimodal", "several normal classes"), ("unimodal", "one normal class")):
        about = standing(of_setting(rows, data, setting))
        std = about["std"].map(" ± {:.3f}".format, na_action="ignore").astype(object).fillna(" (one seed)")
        lines |= {
            f"{words}: mean AUROC": about["mean"].map("{:.3f}".format) + std,
            f"{words}: worst class": about["worst"].map("{:.3f}".format),
            f"{words}: seconds to train": about["seconds"].map("{:.1f}".format),
            f"{words}: seconds to score 1,000 rows": about["scoring"].map("{:.2f}".format),
        }
        dirty = over_contamination(rows[rows["setting"] == setting], data)
        change = dirty.pivot_table(index="method", columns="contamination", values="auroc")
        if change.shape[1] > 1:
            words += f": change from {change.columns[0]:.0%} to {change.columns[-1]:.0%} of novel training rows"
            runs = f"{dirty['runs'].max()} runs" if dirty["runs"].max() > 1 else "one run"
            labels = [data.class_name(label) for label in dirty["classes"].iloc[0].split(", ")]
            words += f" (class {' or '.join(labels)} alone; {runs})"
            lines[words] = (change.iloc[:, -1] - change.iloc[:, 0]).map("{:+.3f}".format)
    table = pd.DataFrame(lines).T.reindex(columns=[name for name in methods if name in set(rows["method"])])
    return table.fillna("–").rename_axis("measured").reset_index()


def more_samples(small: str, large: str, models: Sequence[str]) -> pd.DataFrame:
    """What more training rows change, multimodal: some methods on a small data set and on a large one of its kind.

    Of the large one an autoencoder's rows are those of the paper's profile (``paper_tables.chosen``). Classes that a
    method lacks on either are left out for all.

    Args:
        small, large: the data sets.
        models: by our names.

    Returns:
        method, data, training rows, profile, classes, runs, AUROC (mean ± std over seeds) and seconds to score 1,000
        rows (where it was trained: not all were on one machine); no rows if a method lacks one of the two.
    """
    paper = paper_tables.chosen(published.our_rows("paper")).merge(methods(), on=["model", "score"])
    quick = compared(published.our_rows("quick"), "quick")
    rows = pd.concat([paper[paper["dataset"] == large], quick[quick["dataset"].isin([small, large])]])
    rows = rows[(rows["setting"] == "multimodal") & (rows["contamination"] == 0) & rows["model"].isin(list(models))]
    classes = rows.groupby(["model", "dataset"])["target"].agg(set)
    common = set.intersection(*classes) if len(classes) == 2 * len(models) else set()
    rows = rows[rows["target"].isin(common)]
    rows = rows.assign(dataset=pd.Categorical(rows["dataset"], [small, large]))
    lines = []
    for (method, name), part in rows.groupby(["method", "dataset"], observed=True):
        of_seed = part.groupby("seed")["auroc"].mean()
        spread = f" ± {of_seed.std():.3f}" if len(of_seed) > 1 else " (one seed)"
        lines.append(
            {
                "method": method,
                "data": name,
                "training rows": f"{part['n_train'].mean():,.0f}",
                "profile": " ".join(part[["profile", "changes"]].iloc[0]).strip(),
                "classes": len(common),
                "runs": len(part),
                "AUROC": f"{of_seed.mean():.3f}{spread}",
                "s / 1,000 rows": f"{part['seconds_per_1000'].mean():.2f}",
            }
        )
    return pd.DataFrame(lines)


def over_contamination(rows: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """AUROC against contamination: the classes that were trained at every share, of the rows of ``compared``.

    Returns:
        setting, method, contamination, auroc (mean over classes and seeds), runs, seeds, classes.
    """
    rows = rows[rows["dataset"] == data.name]
    shares = rows["contamination"].nunique()
    seen = rows.groupby(["setting", "method", "target", "seed"])["contamination"].transform("nunique")
    rows = rows[(seen == shares) & (shares > 1)]
    grouped = rows.groupby(["setting", "method", "contamination"], as_index=False)
    classes = ("target", lambda labels: ", ".join(sorted(set(labels))))
    return grouped.agg(auroc=("auroc", "mean"), runs=("auroc", "size"), seeds=("seed", "nunique"), classes=classes)


def out_of_distribution(rows: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """AUROC of each method with one data set normal and another novel, for the pairs that ``data`` is part of.

    Returns:
        A line per method and a column per pair, named "normal + novel"; the best mean first.
    """
    pairs = rows[rows["setting"] == "out-of-distribution"]
    pairs = pairs[pairs["dataset"].map(lambda pair: data.name in pair.split(" + ")).astype(bool)]
    wide = pairs.pivot_table(index="method", columns="dataset", values="auroc")
    return wide.loc[wide.mean(axis=1).sort_values(ascending=False).index]
