"""AUROCs other than a trial's own: of ranges of layers, of a detector over seeds, of models trained afresh."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from rapp import evaluation
from rapp.data import Dataset
from rapp.detectors.autoencoder import SCORING_THREADS, sap_and_nap
from rapp.detectors.base import Detector
from rapp.experiment import Cell, Trial, features, run_cells
from rapp.pathway import encode
from rapp.splits import split
from rapp.threads import pinned


def trained_afresh(data: Dataset, cells: Sequence[Cell], stack: bool = False) -> list[Trial]:
    """The trials of ``experiment.run`` without a cache, one model after the other or as a stack."""
    groups = [cells] if stack else [[cell] for cell in cells]
    return [trial for group in groups for trial in run_cells(data, group, None, fill=len(group))]


def detector_aurocs(
    detector: Detector, data: Dataset, target: str, setting: str, seeds: int, contamination: float = 0.0
) -> np.ndarray:
    """AUROCs (seeds,) of a detector's first score, each on a split of its own."""
    results = []
    for seed in range(seeds):
        rows = split(data.y, target, setting, seed, contamination=contamination)
        x = features(data, rows)
        scores = detector.fit(x[rows.train], x[rows.val], seed).scores(x[rows.test])
        results.append(evaluation.auroc(rows.is_novel, next(iter(scores.values()))))
    return np.array(results)


@pinned(SCORING_THREADS)
def layer_aurocs(trial: Trial, ranges: Sequence[str] = ("alone", "up to")) -> pd.DataFrame:
    """AUROC of SAP and NAP from ranges of layers: each layer alone, the pathway's layers up to it, or those from it on.

    Args:
        trial: trained and scored.
        ranges: which of "alone", "up to" and "from".

    Returns:
        score, layers (one of ``ranges``), layer, auroc, seed.
    """
    n_layers = len(trial.detector.trained.model.encoder)
    every, start = range(n_layers + 1), trial.detector.pathway().layers[0]
    d_train, d_test = (trial.detector.pathway(every).differences(trial.tensor(part)) for part in ("train", "test"))
    sizes = [h.shape[1] for h in encode(trial.detector.trained.model.encoder, trial.tensor("test")[:2])[0]]
    ends = np.cumsum([0, *sizes])
    rows = []
    for layer in every:
        bounds = {"alone": (layer, layer), "up to": (start, layer), "from": (layer, n_layers)}
        for which in ranges:
            first, last = bounds[which]
            columns = slice(ends[first], ends[last + 1])
            if columns.start == columns.stop:  # the input up to itself, where it is left out
                continue
            for name, values in sap_and_nap(d_train[:, columns], d_test[:, columns]).items():
                auroc = evaluation.auroc(trial.split.is_novel, values)
                rows.append({"score": name, "layers": which, "layer": layer, "auroc": auroc, "seed": trial.cell.seed})
    return pd.DataFrame(rows)


def sharpness(rows: np.ndarray, image_shape: tuple[int, int]) -> np.ndarray:
    """Steepness of edges, (N,): of all slopes between pixels, the mean of the top 5 %.

    ``rows`` (N, n_features) are images of ``image_shape`` (height, width), flattened.

    Examples:
        >>> import numpy as np
        >>> from rappbook.chapters.measures import sharpness
        >>> sharpness(np.array([[0.0, 1.0, 0.0, 1.0]]), image_shape=(2, 2))
        array([1.])
    """
    x = rows.reshape(-1, *image_shape)
    slopes = np.hypot(x[:, 1:, :-1] - x[:, :-1, :-1], x[:, :-1, 1:] - x[:, :-1, :-1]).reshape(len(x), -1)
    top = math.ceil(slopes.shape[1] / 20)
    return np.sort(slopes, axis=1)[:, -top:].mean(1)
