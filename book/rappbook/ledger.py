"""The ledger: what paper and authors claim, what our published rows say of it, and whether that agrees."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from rapp.config import PROFILES
from rapp.experiment import SCORES
from rappbook.paper_tables import BLOCK, by_seed, chosen, of_one_class, table2, trained

CLOSE = 0.02  # an AUROC that is reproduced lies within; of a table:
CLOSE_OF_TABLES = 0.05
IMAGES = ("MNIST", "F-MNIST")
EPOCHS = PROFILES["paper"]["epochs"]  # with fewer, a claim is judged "so far"
NAMED = {"recon": "reconstruction error", "sap": "SAP"}
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
    gains, one = pairs(rows), of_one_class(rows, "mnist", "1")
    of_table = [*_about_gains(gains), _about_order(gains), *_about_means(table2(rows))]
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


def pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """By how much one score is above another on the same networks, in the paper's Table 2 and in our rows.

    Returns:
        setting, dataset (the paper's name), model, one, other, paper, ours, error (twice the standard error of ours,
        paired by seed; NaN with one seed), epochs, clear (ours exceeds it); of a part of data or classes, ours is NaN.
    """
    table = table2(rows)
    table["ours"] = table["ours"].mask(table["partial"])
    wide = table.pivot(index=BLOCK, columns="score", values=["paper", "ours", "epochs"])
    of_seed = by_seed(rows).pivot(index=[*BLOCK, "seed"], columns="score", values="auroc").reindex(columns=list(SCORES))
    found = []
    for one, other in (("sap", "recon"), ("nap", "recon"), ("nap", "sap")):
        part = pd.DataFrame({whose: wide[whose, one] - wide[whose, other] for whose in ("paper", "ours")})
        part["error"] = 2 * (of_seed[one] - of_seed[other]).groupby(BLOCK).sem()
        found.append(part.assign(epochs=wide["epochs", one], one=one, other=other))
    gains = pd.concat(found).reset_index()
    return gains.assign(clear=gains["ours"].abs() >= gains["error"])


def _about_gains(gains: pd.DataFrame) -> Iterator[Claim]:
    """How often one score beats another where it does in the paper's Table 2, and does not where not: ``pairs``."""
    for (setting, other, one), part in gains.groupby(["setting", "other", "one"], sort=False):
        has, several, clear = part["ours"].notna(), part[["ours", "error"]].notna().all(axis=1), part["clear"]
        for better, words in ((True, "beats"), (False, "does not beat")):
            claimed, agrees = (part["paper"] > 0) == better, (part["ours"] > 0) == better
            agree, n_clear = int((claimed & clear & agrees).sum()), int((claimed & clear).sum())
            evidence = f"{f'{agree} of {n_clear}' if n_clear else 'none'} that we have with several seeds"
            if open_ := int((claimed & several & ~clear).sum()):
                evidence += f" and beyond twice their standard error ({open_} within it say nothing)"
            if alone := agrees[claimed & has & ~several].tolist():
                evidence += f"; of {len(alone)} with one seed {sum(alone)} agree, which proves nothing"
            how_long = _how_long(part["epochs"][claimed & clear])
            yield Claim(
                f"{setting}: {str(one).upper()} {words} {NAMED[str(other)]}, wherever the paper's Table 2 says so",
                "paper, Table 2",
                f"{evidence}; {claimed.sum()} in the paper{how_long}" if (claimed & has).any() else "no rows yet",
                _verdict(agree, n_clear, int(claimed.sum()), bool(how_long)),
            )


def _about_order(gains: pd.DataFrame) -> Claim:
    """In how many pairs of scores our order is the paper's."""
    gains = gains[gains["paper"].abs() > GAP]
    known = gains[gains["paper"].abs() > gains["error"]].dropna(subset="ours")
    agree, how_long = int((known["paper"] * known["ours"] > 0).sum()), _how_long(known["epochs"])
    return Claim(
        f"Recon, SAP and NAP in the paper's order, where its gap exceeds {GAP} and twice our standard error",
        "paper, Table 2",
        f"{agree} of {len(known)} pairs; {len(gains)} in the paper{how_long}"
        if len(known)
        else "no rows of several seeds yet",
        _verdict(agree, len(known), len(gains), bool(how_long)),
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


def placed(table: pd.DataFrame) -> pd.Series:
    """Where each number of ``table2`` with several seeds lies, as far as twice its standard error allows to say so.

    Returns:
        "within" what we ``aim`` at, "beyond" it or "undecided", by the table's index.
    """
    judged = table.dropna(subset=["difference", "std"])
    off, error = judged["difference"].abs(), 2 * judged["std"] / judged["seeds"] ** 0.5
    words = pd.Series("undecided", judged.index).mask(off + error <= aim(judged), "within")
    return words.mask(off - error > aim(judged), "beyond")


def _about_means(table: pd.DataFrame) -> Iterator[Claim]:
    """The means: one agrees if it is ``placed`` within; one seed has no error."""
    images = table["dataset"].isin(IMAGES)
    for words, whole, close in (("images", table[images], CLOSE), ("tables", table[~images], CLOSE_OF_TABLES)):
        part = whole.dropna(subset="difference")
        where = placed(part).value_counts().reindex(["within", "beyond", "undecided"], fill_value=0)
        how_long = _how_long(part["epochs"])
        count = f"{where['within']} of {where.sum()}" if where.sum() else "none"
        evidence = f"{count} that we have with several seeds"
        if where["beyond"] or where["undecided"]:
            evidence += f" ({where['beyond']} beyond it, {where['undecided']} undecided)"
        if alone := part[part["std"].isna()]["difference"].abs().le(close).tolist():
            evidence += f"; of {len(alone)} with one seed {sum(alone)} differ by less, which proves nothing"
        yield Claim(
            f"The means of Table 2 for {words}, within {close} with twice our standard error",
            "paper, Table 2",
            f"{evidence}; {len(whole)} in the paper{how_long}" if len(part) else "no rows yet",
            _verdict(int(where["within"]), int(where.sum()), len(whole), bool(how_long)),
        )


def _about_steel(rows: pd.DataFrame) -> Claim:
    """Whether STL swings more than any other data set, or than their mean, in the settings that others have, too."""
    std = rows[rows["score"] == "nap"].groupby(["setting", "dataset", "model", "target"])["auroc"].std()
    told, steps = [], []
    for setting, part in std.groupby(["setting", "dataset"]).mean().dropna().groupby("setting"):
        of_data = part.droplevel("setting")
        others = of_data.drop("steel", errors="ignore")
        if "steel" in of_data and len(others):
            steel, low, mean, high = of_data["steel"], others.min(), others.mean(), others.max()
            steps += [steel > high, steel > mean]
            told.append(f"{setting} {steel:.3f}, the other data sets {low:.3f} to {high:.3f}, in the mean {mean:.3f}")
    return Claim(
        "Results on STL swing with the split, for it has few samples a class",
        "the authors' post",
        f"std of NAP over seeds, of a class: {'; '.join(told)}" if told else "no rows yet",
        _verdict(sum(steps), len(steps)),
    )
