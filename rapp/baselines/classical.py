"""Detectors from before deep learning."""

import numpy as np
from sklearn.decomposition import PCA


class PCAReconstruction:
    """PCA as an autoencoder with linear layers: project on the first directions, come back, measure the error.

    Args:
        n_components: how many directions; at most the number of rows or features is used.
    """

    def __init__(self, n_components: int = 20):
        self.n_components = n_components

    def fit(self, x: np.ndarray) -> "PCAReconstruction":
        """Learn the directions from normal rows x (N, n_features)."""
        self._pca = PCA(min(self.n_components, *x.shape), random_state=0).fit(x)
        return self

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """x (N, n_features) → x̂ (N, n_features)."""
        return self._pca.inverse_transform(self._pca.transform(x))

    def score(self, x: np.ndarray) -> np.ndarray:
        """‖x − x̂‖², (N,), higher = more novel."""
        return np.square(x - self.reconstruct(x)).sum(1)
