"""Which features and which layers make a score high."""

import numpy as np
import torch
from torch import Tensor

from rapp.pathway import Pathway

AT_ONCE, NUMBERS = 20_000, 30_000_000  # changed rows that are scored together at most, and numbers in them


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
    at_once = min(AT_ONCE, NUMBERS // n_features)
    step, width = max(1, at_once // (n_features * tried)), max(1, at_once // tried)  # rows, and features of each
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        x_hat = pathway.reconstruct(rows)
        candidates = torch.cat([values.expand(len(rows), -1, -1), x_hat[:, :, None]], dim=2)  # (n, n_features, q + 1)
        before = pathway.score(rows)[method]
        for part in torch.arange(n_features).split(width):
            changed = rows[:, None, None, :].repeat(1, len(part), tried, 1)  # (n, width, q + 1, n_features)
            changed[:, torch.arange(len(part)), :, part] = candidates[:, part].permute(1, 0, 2)
            scores = pathway.score(changed.flatten(0, 2))[method].reshape(len(rows), len(part), tried)
            found[start : start + step, part] = np.maximum(before[:, None] - scores.min(2), 0)
    return found
