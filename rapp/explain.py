"""Why a row scores as it does: by feature and by layer of the pathway."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rapp.pathway import Pathway, project


def by_feature(score: Callable[[np.ndarray], np.ndarray], x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How much each row's score falls if one feature alone takes the best of some values, (N, n_features), at least 0.

    Args:
        score: rows (n, n_features) → scores (n,), higher = more novel; asked for K · n_features rows at a time.
        x: (N, n_features) rows to explain.
        values: (K, n_features) to try, a column per feature. Deciles of the training rows found more planted faults
            than the reconstruction's value, for the fault has entered that; the two together found no more.
    """
    (n_values, d), lowest = values.shape, np.empty(x.shape)
    for row, best in zip(x, lowest, strict=True):
        changed = np.tile(row, (d, n_values, 1))
        changed[np.arange(d), :, np.arange(d)] = values.T
        best[:] = score(changed.reshape(-1, d)).reshape(d, n_values).min(axis=1)
    return np.maximum(score(x)[:, None] - lowest, 0)


@torch.no_grad()
def by_layer(pathway: Pathway, x: Tensor, method: str) -> dict[int, np.ndarray]:
    """Each layer's part of the score, by its number in ``pathway.layers``: (N,) each; together they are the score.

    SAP is a sum of squares. Of NAP, (d − μ)ᵀ M⁺ (d − μ), layer i has (d − μ)_iᵀ [M⁺ (d − μ)]_i. That can be negative:
    with this layer's differences the others' are less unusual than without. The reconstruction error is layer 0's.
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
