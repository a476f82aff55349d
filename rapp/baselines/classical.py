"""Detectors from before deep learning."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from rapp.baselines.base import Detector


@dataclass(kw_only=True)
class PCAReconstruction(Detector):
    """PCA as an autoencoder with linear layers: project on the first directions, come back, measure the error.

    Args:
        n_components: how many directions; at most the number of rows or features is used.
    """

    n_components: int = 20

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int, cache: Path | None, progress: bool) -> None:
        self._pca = PCA(min(self.n_components, *train.shape), random_state=seed).fit(train)

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """x (N, n_features) → x̂ (N, n_features)."""
        return self._pca.inverse_transform(self._pca.transform(x))

    def _scores(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """‖x − x̂‖²."""
        return {"recon": np.square(x - self.reconstruct(x)).sum(1)}
