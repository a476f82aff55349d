"""The control that the paper lacks: do the hidden layers help, or the whitening, or where a sample lies there?"""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from rapp import evaluation
from rapp.detectors.autoencoder import SCORING_THREADS, sap_and_nap
from rapp.experiment import Trial
from rapp.models import Autoencoder
from rapp.pathway import encode
from rapp.threads import pinned

WAYS = {
    "input, x − x̂, squared": "reconstruction error",
    "input, x − x̂, whitened": "",
    "hidden, h − ĥ, squared": "SAP of the hidden layers",
    "hidden, h − ĥ, whitened": "NAP of the hidden layers",
    "hidden, h alone, whitened": "Mahalanobis distance of h",
}
STEPS = {
    "hidden layers in place of the input, squared": (2, 0),
    "hidden layers in place of the input, whitened": (3, 1),
    "whitening, of the input": (1, 0),
    "whitening, of hidden layers": (3, 2),
    "h − ĥ in place of h alone, whitened": (3, 4),
}  # what is done → line of ``WAYS`` after it, and before it


@pinned(SCORING_THREADS)
def aurocs(trial: Trial) -> dict[str, float]:
    """AUROC of each of ``WAYS`` on one trial's network."""
    model, n = trial.detector.trained.model, trial.features.shape[1]
    whole = range(len(model.encoder) + 1)
    d_train, d_test = (trial.detector.pathway(whole).differences(trial.tensor(part)) for part in ("train", "test"))
    h_train, h_test = (_hidden(model, trial.tensor(part)) for part in ("train", "test"))
    at_input = sap_and_nap(d_train[:, :n], d_test[:, :n])
    hidden = sap_and_nap(d_train[:, n:], d_test[:, n:])
    scores = [at_input["sap"], at_input["nap"], hidden["sap"], hidden["nap"], sap_and_nap(h_train, h_test)["nap"]]
    found = zip(WAYS, scores, strict=True)
    return {way: evaluation.auroc(trial.split.is_novel, values) for way, values in found}


@torch.no_grad()
def _hidden(model: Autoencoder, x: Tensor) -> Tensor:
    return torch.cat(encode(model.encoder, x)[0][1:], dim=1)


def found(trials: Sequence[Trial]) -> pd.DataFrame:
    """A line for each trial: its target, and the AUROC of each of ``WAYS``."""
    return pd.DataFrame([aurocs(trial) | {"target": trial.cell.target} for trial in trials])


def table(runs: pd.DataFrame, target: str) -> pd.DataFrame:
    """Mean ± std of each way: of the target class over its seeds, and of other classes, one run each (``_groups``).

    Args:
        runs: as ``found`` returns them.
        target: the class.

    Returns:
        compared, also called, and a column for each group, as text.
    """
    shown = pd.DataFrame({"compared": list(WAYS), "also called": list(WAYS.values())})
    for name, part in _groups(runs, target).items():
        shown[name] = [evaluation.in_words(part[way]) for way in WAYS]
    return shown


def steps(runs: pd.DataFrame, target: str) -> pd.DataFrame:
    """What each of ``STEPS`` changes in a run's AUROC, in the columns of ``table``, and what it does to the target.

    The verdict is helps or harms where the mean is further from 0 than two standard deviations, else open.
    """
    ways, shown = list(WAYS), pd.DataFrame({"step": list(STEPS)})
    for name, part in _groups(runs, target).items():
        changes = [part[ways[after]] - part[ways[before]] for after, before in STEPS.values()]
        spread = [f" ± {change.std():.3f}" * (len(part) > 1) for change in changes]
        shown[name] = [f"{change.mean():+.3f}{of}" for change, of in zip(changes, spread, strict=True)]
        if "verdict" not in shown:  # the first group is the target's
            shown["verdict"] = [_verdict(change) for change in changes]
    return shown


def _verdict(changes: pd.Series) -> str:
    if len(changes) == 1:
        return "one run"
    return "open" if abs(changes.mean()) <= 2 * changes.std() else "helps" if changes.mean() > 0 else "harms"


def _groups(runs: pd.DataFrame, target: str) -> dict[str, pd.DataFrame]:
    """The runs of the target class, and of each other class; of more than three others together."""
    mine, others = runs[runs["target"] == target], runs[runs["target"] != target]
    groups = {f"this class, {len(mine)} runs" if len(mine) > 1 else "this class, one run": mine}
    if others["target"].nunique() > 3:
        return groups | {f"{others['target'].nunique()} other classes, one run each": others}
    return groups | {f"class {label}, one run": part for label, part in others.groupby("target")}
