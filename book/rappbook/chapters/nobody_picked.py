"""What the rows of ``chapters.adbench`` say: who is ahead on tables that nobody picked, and by how much."""

import numpy as np
import pandas as pd
from scipy.stats import studentized_range

from rapp import detectors
from rappbook.chapters import adbench
from rappbook.chapters.adbench import CANDIDATES, halves_of

BEFORE, DEFAULT, VAE = "today", "wide, batch 128, cap", "VAE, wide, batch 128, cap"  # as the study calls them
NETWORKS = {DEFAULT: "RaPP's AE", VAE: "RaPP's VAE"}
SCORES = {"recon": "reconstruction error", "sap": "SAP", "nap": "NAP", "5th neighbour": "pathway neighbour"}
REPORTED = {
    "KNN": "k-th neighbour", "LOF": "Local outlier factor", "OCSVM": "One-class SVM", "IForest": "Isolation forest",
    "PCA": "PCA", "ECOD": "ECOD",
}  # fmt: skip
OURS = "5th neighbour"  # in the rows, the score that is no paper's


def compared(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of two of RaPP's networks and of the rivals, each with the ``name`` that the page calls it by.

    Args:
        rows: ``published.adbench``, of one protocol.
    """
    kept = rows[rows["method"].isin(NETWORKS) | ~rows["method"].isin(list(adbench.NETWORKS))]
    named = [
        f"{NETWORKS[method]}, {SCORES[score]}" if method in NETWORKS else detectors.DETECTORS[method].title
        for method, score in zip(kept["method"], kept["score"], strict=True)
    ]
    return kept.assign(name=named)


def by_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean AUROC over seeds: a line for each table, a column for each name."""
    return rows.pivot_table("auroc", "table", "name", sort=False)


def ranking(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean AUROC, mean rank (1 = best), how often first, and median seconds of a fit, by name; the best first."""
    aurocs = by_table(rows)
    ranks = aurocs.rank(axis=1, ascending=False)
    found = pd.DataFrame({"mean AUROC": aurocs.mean(), "mean rank": ranks.mean(), "first": (ranks == 1).sum()})
    found["seconds to fit"] = rows.groupby("name")["seconds"].median()
    return found.sort_values("mean AUROC", ascending=False)


def critical_difference(n_methods: int, n_tables: int) -> float:
    """How far two mean ranks must be apart to differ at 5 % (Nemenyi's test, as in Demšar 2006)."""
    q = studentized_range.ppf(0.95, n_methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_methods * (n_methods + 1) / (6 * n_tables)))


def difference(aurocs: pd.DataFrame, one: str, other: str) -> dict[str, float]:
    """One's AUROC minus the other's: mean and standard error over tables, and on how many each is ahead."""
    gain = (aurocs[one] - aurocs[other]).to_numpy()
    sem = gain.std(ddof=1) / np.sqrt(len(gain))
    return {"mean": gain.mean(), "sem": sem, "ahead": int((gain > 0).sum()), "behind": int((gain < 0).sum())}


def far_apart(rows: pd.DataFrame, one: str, other: str, n: int = 4) -> pd.DataFrame:
    """The tables on which two methods differ most, in both directions, with their sizes."""
    aurocs = by_table(rows)
    sizes = rows.groupby("table")[["n_train", "n_features"]].first()
    table = sizes.join(aurocs[[one, other]].round(3))
    gain = (aurocs[one] - aurocs[other]).sort_values()
    table = table.rename(columns={"n_train": "training rows", "n_features": "features"})
    return table.loc[[*gain.index[:n], *gain.index[-n:]]].reset_index()


def beside_reported(aurocs: pd.DataFrame, reported: pd.DataFrame) -> pd.DataFrame:
    """Mean AUROC of the rivals on DTE's split beside what its repository reports of the same tables.

    Args:
        aurocs: ``by_table`` of rows of that split.
        reported: dataset, method, auroc.
    """
    reported = reported.assign(table=reported["dataset"].str.lower(), name=reported["method"].map(REPORTED))
    theirs, ours = reported.pivot_table("auroc", "table", "name"), aurocs.rename(index=str.lower)
    tables = theirs.index.intersection(ours.index)
    found = pd.DataFrame({"ours": ours.loc[tables, theirs.columns].mean(), "reported": theirs.loc[tables].mean()})
    found["difference"] = found["ours"] - found["reported"]
    return found.assign(tables=len(tables))


def selection(rows: pd.DataFrame) -> pd.DataFrame:
    """The candidates of the estimator's defaults on both halves of the tables, by AUROC of NAP.

    Returns:
        candidate, and for each half: AUROC, how far behind the best (mean ± standard error over tables), and how many
        times faster than before.
    """
    half, lines = halves_of(rows["table"].unique()), []
    for name in CANDIDATES:
        line: dict[str, object] = {"candidate": name.replace(BEFORE, "before")}
        for i in (1, 2):
            part = rows[
                (rows["table"].map(half) == i) & (rows["score"] == "nap") & rows["method"].isin(list(CANDIDATES))
            ]
            aurocs, seconds = part.pivot_table("auroc", "table", "method"), part.groupby("method")["seconds"].sum()
            behind = difference(aurocs, str(aurocs.mean().idxmax()), name)
            line[f"AUROC, half {i}"] = f"{aurocs[name].mean():.3f}"
            line[f"behind the best, half {i}"] = f"{behind['mean']:.3f} ± {behind['sem']:.3f}"
            line[f"times faster, half {i}"] = f"{seconds[BEFORE] / seconds[name]:.1f}"
        lines.append(line)
    return pd.DataFrame(lines)


def chosen(rows: pd.DataFrame) -> str:
    """What the rule of ``chapters.adbench`` takes of its candidates, by the rows of the tables that compare them."""
    part = rows[rows["score"] == "nap"]
    aurocs, seconds = part.pivot_table("auroc", "table", "method"), part.groupby("method")["seconds"].sum()
    quick = [name for name in CANDIDATES if seconds[name] <= seconds[BEFORE] / 3]
    best = str(aurocs[quick].mean().idxmax())
    behind = {name: difference(aurocs, best, name) for name in quick}
    return next(name for name in quick if name == best or behind[name]["mean"] <= behind[name]["sem"])


def left_out(rows: pd.DataFrame) -> dict[str, str]:
    """Of the first half's tables those without which ``chosen`` takes another candidate, and which."""
    half = halves_of(rows["table"].unique())
    first = rows[rows["table"].map(half) == 1]
    others = {table: chosen(first[first["table"] != table]) for table in first["table"].unique()}
    return {table: name for table, name in others.items() if name != chosen(first)}


def neighbours_against_nap(rows: pd.DataFrame) -> pd.DataFrame:
    """For each network: AUROC of NAP and of the distance among its differences, and how often that is ahead."""
    lines = []
    for name in adbench.NETWORKS:
        part = rows[rows["method"] == name]
        if part.empty:
            continue
        aurocs = part.pivot_table("auroc", "table", "score")
        found = difference(aurocs, OURS, "nap")
        lines.append(
            {
                "network": name.replace(BEFORE, "before"),
                "NAP": f"{aurocs['nap'].mean():.3f}",
                SCORES[OURS]: f"{aurocs[OURS].mean():.3f}",
                "difference": f"{found['mean']:+.3f} ± {found['sem']:.3f}",
                f"{SCORES[OURS]} ahead": f"{found['ahead']} of {len(aurocs)}",
            }
        )
    return pd.DataFrame(lines)
