"""The ledger: what paper and authors claim, what our published rows say of it, and whether that agrees."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from rapp.published import table2

CLOSE = 0.02  # an AUROC that is reproduced lies within


class Claim(NamedTuple):
    """One line of the ledger."""

    claim: str
    source: str
    evidence: str
    verdict: str  # "reproduced", "partly", "not reproduced" or "pending"


def ledger(rows: pd.DataFrame) -> pd.DataFrame:
    """Judge each claim by rows as ``cells.collect`` gives them, of the paper's profile.

    Returns:
        claim, source, evidence, verdict; without rows that bear on it, a claim is pending.
    """
    return pd.DataFrame(
        [*_about_one(rows), *_about_gains(table2(rows)), *_about_means(table2(rows)), _about_steel(rows)]
    )


def _verdict(agree: int, of: int) -> str:
    if not of:
        return "pending"
    return "reproduced" if agree == of else "partly" if 2 * agree >= of else "not reproduced"


def _about_one(rows: pd.DataFrame) -> Iterator[Claim]:
    """The digit 1 as the novel class, on all of MNIST."""
    one = rows[(rows["dataset"] == "mnist") & (rows["setting"] == "multimodal") & (rows["target"] == "1")]
    means = one.groupby(["model", "score"])["auroc"].mean()
    recon = one[one["score"] == "recon"].groupby("model")["auroc"].mean()
    yield Claim(
        'On MNIST with "1" novel, reconstruction error ranks worse than a coin',
        "the authors' post",
        ", ".join(f"{str(model).upper()} {value:.3f}" for model, value in recon.items()) or "no rows yet",
        _verdict(int((recon < 0.5).sum()), len(recon)),
    )
    nap = means.get(("vae", "nap"))
    yield Claim(
        "There, NAP lifts the VAE to 0.905",
        "the authors' post",
        "no rows yet" if nap is None else f"VAE {means['vae', 'recon']:.3f} → {nap:.3f}",
        "pending"
        if nap is None
        else "reproduced"
        if nap >= 0.905 - CLOSE
        else "partly"
        if nap > 0.5
        else "not reproduced",
    )


def _about_gains(table: pd.DataFrame) -> Iterator[Claim]:
    """How often a score beats reconstruction error where it does in the paper's Table 2, and does not where not."""
    table = table.assign(ours=table["ours"].mask(table["partial"]))
    for setting in ("multimodal", "unimodal"):
        wide = table[table["setting"] == setting].pivot(
            index=["dataset", "model"], columns="score", values=["paper", "ours"]
        )
        known = pd.DataFrame(wide["ours"]).notna().all(axis=1).to_numpy()
        for score in ("sap", "nap"):
            theirs, ours = ((wide[whose, score] - wide[whose, "recon"]).to_numpy() for whose in ("paper", "ours"))
            for better, words in ((True, "beats"), (False, "does not beat")):
                claimed = theirs > 0 if better else theirs <= 0
                total, of = int(claimed.sum()), int((claimed & known).sum())
                agree = int(((ours > 0) == better)[claimed & known].sum())
                yield Claim(
                    f"{setting}: {score.upper()} {words} reconstruction error, wherever the paper's Table 2 says so",
                    "paper, Table 2",
                    f"{agree} of {of} that we have, of {total} in the paper" if of else "no rows yet",
                    _verdict(agree, of),
                )


def _about_means(table: pd.DataFrame) -> Iterator[Claim]:
    known = table.dropna(subset="difference")
    images = known["dataset"].isin(["MNIST", "F-MNIST"])
    for words, part, close in (("images", known[images], CLOSE), ("tables", known[~images], 0.05)):
        agree = int((part["difference"].abs() <= close).sum())
        yield Claim(
            f"The means of Table 2 for {words}, within {close}",
            "paper, Table 2",
            f"{agree} of {len(part)} numbers" if len(part) else "no rows yet",
            _verdict(agree, len(part)),
        )


def _about_steel(rows: pd.DataFrame) -> Claim:
    of = rows[(rows["dataset"] == "steel") & (rows["score"] == "nap") & (rows["setting"] == "multimodal")]
    spread = of.groupby(["model", "target"])["auroc"].std().mean() if len(of) else float("nan")
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
