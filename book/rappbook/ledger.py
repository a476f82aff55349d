"""The ledger: what paper and authors claim, what our published rows say of it, and whether that agrees."""

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import pandas as pd

from rapp.config import PROFILES
from rappbook.paper_tables import chosen, of_one_class, table2, trained

CLOSE = 0.02  # an AUROC that is reproduced lies within; of a table:
CLOSE_OF_TABLES = 0.05
IMAGES = ("MNIST", "F-MNIST")
EPOCHS = PROFILES["paper"]["epochs"]  # of images; with fewer, a claim about them is judged "so far"
GAP = 0.01  # between two scores in the paper, above which we ask for the same order


class Claim(NamedTuple):
    """One line of the ledger."""

    claim: str
    source: str
    evidence: str
    verdict: str  # "reproduced", "partly" or "not reproduced", with "so far" or without, or "pending"


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """Judge each claim by rows as ``cells.collect`` gives them, of the paper's profile.

    Returns:
        claim, source, evidence, verdict; without rows that bear on it, a claim is pending.
    """
    table, one = table2(rows), of_one_class(rows, "mnist", "1")
    of_table = [*_about_gains(table), _about_order(table), *_about_means(table)]
    return pd.DataFrame([*_about_one(one), *of_table, _about_steel(chosen(rows))])


def _verdict(agree: int, known: int, total: int = 0, short: bool = False) -> str:
    """The verdict on a claim that ``agree`` of the ``known`` cases that have rows bear out.

    "so far" is added if the claim covers more cases (``total``) or the evidence is ``short`` of epochs or runs.
    """
    if not known:
        return "pending"
    verdict = "reproduced" if agree == known else "partly" if 2 * agree >= known else "not reproduced"
    return f"{verdict} so far" if short or known < total else verdict


def _how_long(epochs: pd.Series) -> str:
    """Words that say how long was trained, if shorter than the profile; else empty."""
    fewest, most = epochs.min(), epochs.max()
    if not fewest < EPOCHS:
        return ""
    return f" (trained for {f'{fewest:.0f} to ' if fewest < most else ''}{most:.0f} epochs; the profile has {EPOCHS})"


def _about_one(one: pd.DataFrame) -> Iterator[Claim]:
    """The digit 1 as the novel class, on all of MNIST: rows of it alone."""
    groups = one.groupby(["model", "score"])["auroc"]
    means = groups.mean()
    told = means.map("{:.3f}".format) + groups.std().map(" ± {:.3f}".format, na_action="ignore").astype(object).fillna(
        ""
    )
    n_runs = one.groupby("model")["seed"].nunique()
    several = n_runs.index[n_runs > 1]  # one run is told and not judged
    recon = one[one["score"] == "recon"].groupby("model")["auroc"].mean()
    how_long = _how_long(one["epochs"])
    cases = [f"{str(model).upper()} {told[model, 'recon']} ({_runs(n_runs[model])})" for model in recon.index]
    judged = recon[recon.index.isin(several)]
    yield Claim(
        'On MNIST with "1" novel, reconstruction error ranks worse than a coin',
        "the authors' post",
        (", ".join(cases) or "no rows yet") + how_long,
        _verdict(int((judged < 0.5).sum()), len(judged), len(recon), bool(how_long)),
    )
    nap = means.get(("vae", "nap"))
    steps = [] if nap is None or "vae" not in several else [nap >= 0.905 - CLOSE, nap > 0.5]
    text = "no rows yet"
    if nap is not None:
        text = f"VAE {told['vae', 'recon']} → {told['vae', 'nap']} ({_runs(n_runs['vae'])}){how_long}"
    yield Claim(
        "There, NAP lifts the VAE to 0.905",
        "the authors' post",
        text,
        _verdict(sum(steps), len(steps), short=bool(how_long)),
    )


def _runs(n: int) -> str:
    return "one run, not judged" if n == 1 else f"{n} runs"


def _about_gains(table: pd.DataFrame) -> Iterator[Claim]:
    """How often a score beats reconstruction error where it does in the paper's Table 2, and does not where not."""
    table = table.assign(ours=table["ours"].mask(table["partial"]))
    for setting in ("multimodal", "unimodal"):
        wide = table[table["setting"] == setting].pivot(
            index=["dataset", "model"], columns="score", values=["paper", "ours", "std"]
        )
        has, spread = (pd.DataFrame(wide[whose]).notna().all(axis=1).to_numpy() for whose in ("ours", "std"))
        known = has & spread
        for score in ("sap", "nap"):
            theirs, ours = ((wide[whose, score] - wide[whose, "recon"]).to_numpy() for whose in ("paper", "ours"))
            for better, words in ((True, "beats"), (False, "does not beat")):
                claimed = theirs > 0 if better else theirs <= 0
                total, n_known = int(claimed.sum()), int((claimed & known).sum())
                agrees = (ours > 0) == better
                agree, alone = int(agrees[claimed & known].sum()), agrees[claimed & has & ~known]
                evidence = f"{f'{agree} of {n_known}' if n_known else 'none'} that we have with several seeds"
                if len(alone):
                    evidence += f"; of {len(alone)} with one seed {alone.sum()} agree, which proves nothing"
                yield Claim(
                    f"{setting}: {score.upper()} {words} reconstruction error, wherever the paper's Table 2 says so",
                    "paper, Table 2",
                    f"{evidence}; {total} in the paper" if (claimed & has).any() else "no rows yet",
                    _verdict(agree, n_known, total),
                )


def _about_order(table: pd.DataFrame) -> Claim:
    """In how many pairs of scores our order is the paper's."""
    known = table[table["difference"].notna() & table["std"].notna()]
    agree, n_known = 0, 0
    for _, block in known.groupby(["setting", "dataset", "model"]):
        for (_, one), (_, other) in combinations(block.iterrows(), 2):
            error = ((one["std"] ** 2 + other["std"] ** 2) / one["seeds"]) ** 0.5  # of the difference of our means
            theirs, ours = one["paper"] - other["paper"], one["ours"] - other["ours"]
            if abs(theirs) > max(GAP, 2 * error):
                agree, n_known = agree + (theirs * ours > 0), n_known + 1
    return Claim(
        f"Recon, SAP and NAP in the paper's order, where its gap exceeds {GAP} and twice our standard error",
        "paper, Table 2",
        f"{agree} of {n_known} pairs" if n_known else "no rows of several seeds yet",
        _verdict(agree, n_known),
    )


def aim(table: pd.DataFrame) -> pd.Series:
    """How far each number of ``table2`` may be from the paper's."""
    return table["dataset"].isin(IMAGES).map({True: CLOSE, False: CLOSE_OF_TABLES})


def outside(table: pd.DataFrame) -> pd.DataFrame:
    """The numbers of ``table2`` that miss the paper's by more than we aim at, the largest difference first."""
    missed = trained(table[table["difference"].abs() > aim(table)])
    columns = ["setting", "dataset", "model", "score", "ours", "paper", "difference", "seeds", "epochs"]
    return missed.sort_values("difference", key=abs, ascending=False)[columns]


def spread(rows: pd.DataFrame, dataset: str, score: str = "nap") -> pd.DataFrame:
    """How a score's AUROC swings with the split: for each setting and class, over seeds and all models together.

    Args:
        rows: as ``cells.collect``.
        dataset: by our name.
        score: recon, sap or nap.

    Returns:
        setting, class, splits, mean, std (of a model, their mean), lowest, highest.
    """
    cases = rows[(rows["dataset"] == dataset) & (rows["score"] == score)]
    std = cases.groupby(["setting", "target", "model"])["auroc"].std().groupby(["setting", "target"]).mean()
    found = cases.groupby(["setting", "target"]).agg(
        splits=("seed", "nunique"), mean=("auroc", "mean"), lowest=("auroc", "min"), highest=("auroc", "max")
    )
    found.insert(2, "std", std)
    return found.rename_axis(["setting", "class"]).reset_index()


def _about_means(table: pd.DataFrame) -> Iterator[Claim]:
    """The means: one agrees if its difference and twice its standard error are within; one seed has no such error."""
    images = table["dataset"].isin(IMAGES)
    for words, whole, close in (("images", table[images], CLOSE), ("tables", table[~images], CLOSE_OF_TABLES)):
        part = whole.dropna(subset="difference")
        judged = part.dropna(subset="std")
        within = judged["difference"].abs() + 2 * judged["std"] / judged["seeds"] ** 0.5 <= close
        how_long = _how_long(part["epochs"]) if words == "images" else ""
        evidence = f"{f'{within.sum()} of {len(judged)}' if len(judged) else 'none'} that we have with several seeds"
        if alone := part[part["std"].isna()]["difference"].abs().le(close).tolist():
            evidence += f"; of {len(alone)} with one seed {sum(alone)} differ by less, which proves nothing"
        yield Claim(
            f"The means of Table 2 for {words}, within {close} with twice our standard error",
            "paper, Table 2",
            f"{evidence}; {len(whole)} in the paper{how_long}" if len(part) else "no rows yet",
            _verdict(int(within.sum()), len(judged), len(whole), bool(how_long)),
        )


def _about_steel(rows: pd.DataFrame) -> Claim:
    steel = rows[(rows["dataset"] == "steel") & (rows["score"] == "nap") & (rows["setting"] == "multimodal")]
    spread = steel.groupby(["model", "target"])["auroc"].std().mean() if len(steel) else float("nan")
    rest = rows[~rows["dataset"].isin(["steel"]) & (rows["score"] == "nap")]
    others = (
        rest.groupby(["dataset", "setting", "model", "target"])["auroc"].std().mean() if len(rest) else float("nan")
    )
    pending = pd.isna(spread) or pd.isna(others)
    return Claim(
        "Results on STL swing with the split, for it has few samples a class",
        "the authors' post",
        "no rows yet"
        if pending
        else f"std of NAP over seeds, of a class: {spread:.3f}; mean of the other data sets {others:.3f}",
        "pending" if pending else "reproduced" if spread > others else "not reproduced",
    )
