"""Whether reconstruction error only follows how much there is in a sample."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rapp import evaluation
from rapp.experiment import Trial


def of(x: np.ndarray) -> np.ndarray:
    """Energies ‖x‖² of samples x (N, n_features), (N,)."""
    return (x.astype(np.float64) ** 2).sum(1)


def table(trials: Sequence[Trial], target: str) -> pd.DataFrame:
    """AUROC of energy, of reconstruction error, and of the error as a share of the energy, mean ± std.

    Args:
        trials: of the target class, over seeds, and of other classes, one run each.
        target: the class.

    Returns:
        score, and a column for each model and for the other classes, as text.
    """
    found = []
    for trial in trials:
        energy, error = of(trial.x("test")), trial.scores["recon"]
        scores = {"energy ‖x‖²": energy, "error ‖x − x̂‖²": error, "error / energy": error / np.maximum(energy, 1e-12)}
        what = trial.cell.config.model.upper() + ("" if trial.cell.target == target else ", other classes")
        for name, values in scores.items():
            found.append({"score": name, "of": what, "auroc": evaluation.auroc(trial.split.is_novel, values)})
    words = pd.DataFrame(found).groupby(["score", "of"], sort=False)["auroc"].apply(evaluation.in_words)
    return words.unstack(sort=False).reset_index()
