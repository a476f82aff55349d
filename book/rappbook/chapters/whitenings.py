"""Other ways to whiten the pathway's differences, to compare NAP's own normaliser with (chapter 11).

All start from one singular value decomposition of the training differences, scikit-learn's ``PCA``, which yields

    NAP by the first k directions   Σ_{i≤k} p_i² / σ_i²        with p_i the component of d − μ along direction i,
    NAP by a shrunk covariance      Σ_i p_i² / v_i(δ)          with v_i(δ) = (1 − δ) σ_i²/N + δ v, v = Σ σ_i² / (N D),

for shrinking towards v·I (Ledoit & Wolf, 2004) keeps the directions and changes their variances alone. Directions that
no training row has (N ≤ D) count with the variance δ v. A plain SVD, as in the known code, divides by every singular
value, and so is the case k = K. ``rapp.pathway.Whitening`` is the one to use; these are for looking into it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.decomposition import PCA

Rows = np.ndarray[Any, np.dtype[np.floating[Any]]]


def decompose(d: Rows) -> PCA:
    """SVD of centred training differences d (N, D), in d's own precision, of all K = min(N, D) singular values."""
    return PCA(svd_solver="full").fit(d)


def squares(pca: PCA, d: Rows) -> Rows:
    """Squared components p_i² (N, K) float64 of rows d (N, D) along the training rows' directions."""
    return pca.transform(d).astype(np.float64) ** 2


def leading(pca: PCA, d: Rows) -> Rows:
    """NAP of rows d (N, D) by the first 1, 2, … K directions, (N, K); the last column is the plain SVD's."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a singular value can come out as 0
        return np.cumsum(squares(pca, d) / pca.singular_values_.astype(np.float64) ** 2, axis=1)


def shrunk(pca: PCA, d: Rows, deltas: Rows) -> Rows:
    """Squared Mahalanobis distances of rows d (N, D) by shrunk covariances, (N, len(deltas)).

    Args:
        pca: the training rows' decomposition.
        d: rows to score.
        deltas: shares δ in (0, 1].
    """
    p2 = squares(pca, d)
    beyond = np.maximum(((d.astype(np.float64) - pca.mean_) ** 2).sum(1) - p2.sum(1), 0)  # outside all K directions
    variances = pca.singular_values_.astype(np.float64) ** 2 / pca.n_samples_
    mean = variances.sum() / d.shape[1]
    scores = [p2 @ (1 / ((1 - delta) * variances + delta * mean)) + beyond / (delta * mean) for delta in deltas]
    return np.stack(scores, axis=1)


def by_rank(d_fit: Rows, d: Rows, independent: int) -> Rows:
    """NAP (N,) of rows d (N, D) by as many directions as rows d_fit (M, D) have: M − 1, at most ``independent``."""
    return leading(decompose(d_fit), d)[:, min(len(d_fit) - 1, independent) - 1]


def by_ledoit_wolf(d_fit: Rows, d: Rows) -> Rows:
    """Squared Mahalanobis distances (N,) of rows d by rows d_fit's covariance, shrunk as Ledoit and Wolf choose."""
    delta = ledoit_wolf_shrinkage(d_fit.astype(np.float64))
    return shrunk(decompose(d_fit), d, np.array([delta]))[:, 0]


def per_batch(d: Rows, size: int, score: Callable[[Rows, Rows], Rows], seed: int = 0) -> Rows:
    """Scores (N,) of test rows d (N, D), each batch whitened by its own rows instead of by training rows.

    Rows are put into batches of about ``size`` at random. Scores are rounded to 9 digits after the point, for equal
    ones (see ``by_rank``) must not be ranked by their rounding errors.

    Args:
        d: differences of the test rows.
        size: rows a batch, at least 2.
        score: (rows to fit on, rows to score) → scores, e.g. ``by_ledoit_wolf``.
        seed: of the order.
    """
    d = d.astype(np.float64)
    order = np.random.default_rng(seed).permutation(len(d))
    scores = np.empty(len(d))
    for rows in np.array_split(order, max(1, len(d) // size)):
        scores[rows] = score(d[rows], d[rows])
    return scores.round(9)
