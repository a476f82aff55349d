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
    "hidden, h − ĥ, squared": "SAP without the input",
    "hidden, h − ĥ, whitened": "NAP without the input",
    "hidden, h alone, whitened": "Mahalanobis distance of h",
}


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


def table(trials: Sequence[Trial], target: str) -> pd.DataFrame:
    """Mean ± std of each way: of the target class over its seeds, and over the other classes, one run each.

    Returns:
        compared, also called, and a column for each of the two, as text.
    """
    found = pd.DataFrame([aurocs(trial) | {"target": trial.cell.target} for trial in trials])
    mine, others = found[found["target"] == target], found[found["target"] != target]
    shown = pd.DataFrame({"compared": list(WAYS), "also called": list(WAYS.values())})
    shown[f"this class, {len(mine)} seeds"] = [evaluation.in_words(mine[way]) for way in WAYS]
    if len(others):
        names = f"{others['target'].nunique()} other classes, one run each"
        shown[names] = [evaluation.in_words(others.groupby("target")[way].mean()) for way in WAYS]
    return shown
