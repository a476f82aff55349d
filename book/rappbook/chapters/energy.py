"""Whether reconstruction error only follows how much there is in a sample."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rapp import evaluation
from rapp.experiment import Trial


def of(x: np.ndarray) -> np.ndarray:
    """Energies ‖x‖² of samples x (N, n_features), (N,)."""
    return (x.astype(np.float64) ** 2).sum(1)


def table(trials: Sequence[Trial]) -> pd.DataFrame:
    """AUROC of energy, of reconstruction error, and of the error as a share of the energy.

    Returns:
        network, novel class, and a column for each of the three, as text: mean ± std over the trials of a line.
    """
    found = []
    for trial in trials:
        energy, error = of(trial.x("test")), trial.scores["recon"]
        scores = {"energy ‖x‖²": energy, "error ‖x − x̂‖²": error, "error / energy": error / np.maximum(energy, 1e-12)}
        which = {"network": trial.cell.config.model.upper(), "novel class": trial.cell.target}
        found.append(which | {name: evaluation.auroc(trial.split.is_novel, values) for name, values in scores.items()})
    groups = pd.DataFrame(found).groupby(["network", "novel class"], sort=False)
    return groups.agg(evaluation.in_words).reset_index()
