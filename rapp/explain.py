"""Which features and which layers make a score high."""

import numpy as np
import torch
from torch import Tensor

from rapp.pathway import Pathway

AT_ONCE = 20_000  # changed rows that are scored together


def by_layer(pathway: Pathway, x: Tensor, method: str) -> dict[int, np.ndarray]:
    """Layer → what it adds to the score of each row x (N, n_features), (N,); the sum over layers is the score.

    SAP and reconstruction error are sums over layers. NAP is a quadratic form, (d − μ)ᵀ M⁺ (d − μ): a layer's part is
    that of its own units, with all the others' differences in the product, so it can be negative.
    """
    d = pathway.differences(x)
    if method == "recon":
        return {0: d[:, : x.shape[1]].square().sum(1).numpy(force=True)}
    parts = d.square() if method == "sap" else pathway.whitening.parts(d)
    with torch.no_grad():
        widths = [h.shape[1] for h in pathway.hidden(x[:1])]
    split = parts.split([widths[i] for i in pathway.layers], dim=1)
    return {i: part.sum(1).numpy(force=True) for i, part in zip(pathway.layers, split, strict=True)}


def by_feature(pathway: Pathway, x: Tensor, method: str, quantiles: np.ndarray) -> np.ndarray:
    """How much each row's score falls if one feature takes its best value, (N, n_features), 0 or more.

    Args:
        pathway, x: a fitted one, and rows (N, n_features).
        method: "nap", "sap" or "recon".
        quantiles: (q, n_features) values to try, of training rows; the feature's reconstruction is tried, too.
    """
    n_features = x.shape[1]
    values = torch.as_tensor(quantiles, dtype=x.dtype).T  # (n_features, q)
    found = np.zeros((len(x), n_features))
    tried = values.shape[1] + 1
    step = max(1, AT_ONCE // (n_features * tried))
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        x_hat = pathway.reconstruct(rows)
        candidates = torch.cat([values.expand(len(rows), -1, -1), x_hat[:, :, None]], dim=2)  # (n, n_features, q + 1)
        changed = rows[:, None, None, :].repeat(1, n_features, tried, 1)  # (n, n_features, q + 1, n_features)
        each = torch.arange(n_features)
        changed[:, each, :, each] = candidates.permute(1, 0, 2)
        scores = pathway.score(changed.flatten(0, 2))[method].reshape(len(rows), n_features, tried)
        before = pathway.score(rows)[method]
        found[start : start + step] = np.maximum(before[:, None] - scores.min(2), 0)
    return found
