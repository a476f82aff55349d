"""The ledger: what paper and authors claim, what our published rows say of it, and whether that agrees."""

from collections.abc import Iterator

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
CASES = ("agree", "disagree", "undecided", "one seed", "missing")

Line = dict[str, object]  # of the ledger: column → value


def judged(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Judge each claim by rows as ``cells.collect`` gives them, of the paper's profile.

    Returns:
        The claims of the authors' posts: claim, verdict, evidence. And those of the paper's Table 2: claim, verdict,
        cases (how many the paper has), in how many ours agree, disagree, are undecided (within twice our standard
        error), have one seed or are missing, and the epochs of those we have.
    """
    gains, one = pairs(rows), of_one_class(rows, "mnist", "1")
    of_table = [*_about_gains(gains), _about_order(gains), *_about_means(table2(rows))]
    return pd.DataFrame([*_about_one(one), _about_steel(chosen(rows))]), pd.DataFrame(of_table)


def _verdict(agree: int, known: int, total: int = 0, short: bool = False) -> str:
    """The verdict on a claim that ``agree`` of the ``known`` cases that have rows bear out.

    "so far" is added if the claim covers more cases (``total``) or the evidence is ``short`` of epochs or runs.
    """
    if not known:
        return "pending"
    verdict = "reproduced" if agree == known else "partly" if 2 * agree >= known else "not reproduced"
    return f"{verdict} so far" if short or known < total else verdict


def _span(epochs: pd.Series) -> str:
    """The epochs that were trained, "6 to 100"; "" of none."""
    fewest, most = epochs.min(), epochs.max()
    return "" if not len(epochs.dropna()) else f"{fewest:.0f} to {most:.0f}" if fewest < most else f"{most:.0f}"


def _about_one(one: pd.DataFrame) -> Iterator[Line]:
    """The digit 1 as the novel class, on all of MNIST: rows of it alone."""
    groups, of_model = one.groupby(["model", "score"])["auroc"], one.groupby("model")
    means, n_runs = groups.mean(), of_model["seed"].nunique()
    spread = groups.std().map(" ± {:.3f}".format, na_action="ignore").astype(object).fillna("")
    told = means.map("{:.3f}".format) + spread
    about = {model: f"({_runs(n_runs[model])}; {_span(of['epochs'])} epochs)" for model, of in of_model}
    short = bool((one["epochs"] < EPOCHS).any())
    recon = one[one["score"] == "recon"].groupby("model")["auroc"].mean()
    cases = [f"{str(model).upper()} {told[model, 'recon']} {about[model]}" for model in recon.index]
    judged = recon[n_runs[recon.index] > 1]  # one run is told and not judged
    yield {
        "claim": 'On MNIST with "1" novel, reconstruction error ranks worse than a coin',
        "verdict": _verdict(int((judged < 0.5).sum()), len(judged), len(recon), short),
        "evidence": ", ".join(cases) or "no rows yet",
    }
    nap = means.get(("vae", "nap"))
    steps = [] if nap is None or n_runs["vae"] < 2 else [nap >= 0.905 - CLOSE, nap > 0.5]
    text = "no rows yet" if nap is None else f"VAE {told['vae', 'recon']} → {told['vae', 'nap']} {about['vae']}"
    verdict = _verdict(sum(steps), len(steps), short=short)
    yield {"claim": "There, NAP lifts the VAE to 0.905", "verdict": verdict, "evidence": text}


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


def _counted(claim: str, part: pd.DataFrame, agrees: pd.Series, clear: pd.Series) -> Line:
    """A claim on several cases, of which ``part`` has ours, error (NaN with one seed) and epochs."""
    case = pd.Series("missing", part.index).mask(part["ours"].notna(), "one seed")
    case = case.mask(part[["ours", "error"]].notna().all(axis=1), "undecided")
    case = case.mask(clear & agrees, "agree").mask(clear & ~agrees, "disagree")
    counts, epochs = case.value_counts().reindex(CASES, fill_value=0), part["epochs"][case != "missing"]
    known, short = int(counts["agree"] + counts["disagree"]), bool((epochs < EPOCHS).any())
    verdict = _verdict(int(counts["agree"]), known, len(part), short)
    verdict = verdict if known or not counts["undecided"] else "undecided"
    return {"claim": claim, "verdict": verdict, "cases": len(part), **counts, "epochs": _span(epochs)}


def _about_gains(gains: pd.DataFrame) -> Iterator[Line]:
    """How often one score beats another where it does in the paper's Table 2, and does not where not: ``pairs``."""
    for (setting, other, one), whole in gains.groupby(["setting", "other", "one"], sort=False):
        for better, words in ((True, "beats"), (False, "does not beat")):
            part = whole[(whole["paper"] > 0) == better]
            claim = f"{setting}: {str(one).upper()} {words} {NAMED[str(other)]}"
            yield _counted(claim, part, (part["ours"] > 0) == better, part["clear"])


def _about_order(gains: pd.DataFrame) -> Line:
    """In how many pairs of scores our order is the paper's."""
    gains = gains[gains["paper"].abs() > GAP]
    clear = gains["ours"].notna() & (gains["paper"].abs() > gains["error"])
    claim = f"two scores in the paper's order (those more than {GAP} apart there)"
    return _counted(claim, gains, gains["paper"] * gains["ours"] > 0, clear)


def lost(gains: pd.DataFrame) -> pd.DataFrame:
    """The cases of ``pairs`` in which NAP is below reconstruction error, in the paper's Table 2 or in ours, as text."""
    below = (gains["ours"] < 0) | (gains["paper"] < 0)
    part = gains[below & (gains["one"] == "nap") & (gains["other"] == "recon")]
    error = part["error"].map(" ± {:.3f}".format).where(part["error"].notna(), " (one seed)")
    ours = (part["ours"].map("{:+.3f}".format) + error).where(part["ours"].notna(), "pending")
    paper = part["paper"].map("{:+.3f}".format)
    shown = part[BLOCK].assign(model=part["model"].str.upper())
    return shown.assign(**{"NAP − recon, ours": ours, "NAP − recon, paper": paper})


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


def _about_means(table: pd.DataFrame) -> Iterator[Line]:
    """The means: one agrees if it is ``placed`` within."""
    images = table["dataset"].isin(IMAGES)
    for words, whole, close in (("images", table[images], CLOSE), ("tables", table[~images], CLOSE_OF_TABLES)):
        part = whole.assign(ours=whole["difference"], error=whole["std"])
        where = placed(part).reindex(part.index)
        claim = f"{words}: the mean within {close} of the paper's"
        yield _counted(claim, part, where.eq("within"), where.isin(["within", "beyond"]))


def _about_steel(rows: pd.DataFrame) -> Line:
    """Whether STL swings more than any other data set, or than their mean, in the settings that others have, too."""
    std = rows[rows["score"] == "nap"].groupby(["setting", "dataset", "model", "target"])["auroc"].std()
    told, steps = [], []
    for setting, part in std.groupby(["setting", "dataset"]).mean().dropna().groupby("setting"):
        of_data = part.droplevel("setting")
        others = of_data.drop("steel", errors="ignore")
        if "steel" in of_data and len(others):
            steel, low, mean, high = of_data["steel"], others.min(), others.mean(), others.max()
            gaps = [round(steel, 3) - round(other, 3) for other in (high, mean)]  # as they are shown; equal is open
            steps += [gap > 0 for gap in gaps if gap]
            told.append(f"{setting} {steel:.3f}, the other data sets {low:.3f} to {high:.3f}, in the mean {mean:.3f}")
    return {
        "claim": "Results on STL swing with the split, for it has few samples a class",
        "verdict": _verdict(sum(steps), len(steps)),
        "evidence": f"std of NAP over seeds, of a class: {'; '.join(told)}" if told else "no rows yet",
    }
