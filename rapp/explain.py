"""Why a row scores as it does: by feature and by layer of the pathway."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rapp.pathway import Pathway, project

# Values that are tried in the place of a row's own. The reconstruction's is none of them: the fault has entered it. On
# planted faults it came first less often when alone, and added nothing to these; 21 quantiles did no better than 11.
LEVELS = 11
ROWS = 4096  # at a time


def levels(x: np.ndarray) -> np.ndarray:
    """Deciles of each feature over training rows x (N, n_features), both ends included: (11, n_features)."""
    return np.quantile(x, np.linspace(0, 1, LEVELS), axis=0)


def by_feature(score: Callable[[np.ndarray], np.ndarray], x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How much each row's score falls if one feature alone takes the best of some values.

    The best is the one of the lowest score, so that a fall is never below 0; where several features would do, each has
    its own. It takes ``K · n_features`` scores a row.

    Args:
        score: rows (n, n_features) → scores (n,), higher = more novel.
        x: (N, n_features) rows to explain.
        values: (K, n_features) to try, a column per feature.

    Returns:
        (N, n_features) falls, at least 0, in the score's unit.
    """
    n, d = x.shape
    before = np.repeat(score(x)[:, None], d, axis=1)
    lowest = before.copy()
    row, feature = (index.ravel() for index in np.indices((n, d)))
    step = max(1, ROWS // len(values))
    for start in range(0, n * d, step):
        i, j = row[start : start + step], feature[start : start + step]
        changed = np.repeat(x[i, None], len(values), axis=1)  # (pairs, K, n_features)
        changed[np.arange(len(i)), :, j] = values[:, j].T
        best = score(changed.reshape(-1, d)).reshape(len(i), -1).min(axis=1)
        lowest[i, j] = np.minimum(lowest[i, j], best)
    return before - lowest


@torch.no_grad()
def by_layer(pathway: Pathway, x: Tensor, method: str) -> dict[int, np.ndarray]:
    """Each layer's part of the score, by its number in ``pathway.layers``: (N,) each; together they are the score.

    SAP is a sum of squares. NAP, (d − μ)ᵀ M⁺ (d − μ), is split by rows of the quadratic form: layer i has
    (d − μ)_iᵀ [M⁺ (d − μ)]_i. That can be negative: together with the other layers' differences this layer's make the
    row less unusual than these would be alone. The reconstruction error lies in the input space, layer 0.
    """
    if method == "recon":
        return {0: pathway.score(x)["recon"]}
    d = pathway.differences(x)
    hidden = project(pathway.encoder, pathway.decoder, x[:1])[0]
    blocks = d.split([hidden[i].shape[1] for i in pathway.layers], dim=1)
    if method == "sap":
        return {i: block.square().sum(1).numpy(force=True) for i, block in zip(pathway.layers, blocks, strict=True)}
    whitened, mu = pathway.whitening.transform(d), pathway.whitening.mean.to(d)
    parts, start = {}, 0
    for i, block in zip(pathway.layers, blocks, strict=True):
        alone = mu.expand_as(d).clone()
        alone[:, start : start + block.shape[1]] = block
        parts[i] = (pathway.whitening.transform(alone) * whitened).sum(1).numpy(force=True)
        start += block.shape[1]
    return parts
