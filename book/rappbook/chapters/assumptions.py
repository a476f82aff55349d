"""Why ĥ may stand for the hidden reconstruction: the paper's two assumptions, measured on a trained model.

With M_0 = {A(x)} and M_i = g_{:i}(M_0), the paper (section 3.2) assumes that

1. A(x) = x on M_0: reconstructing a reconstruction changes nothing;
2. some decoder f̃ = f̃_1∘…∘f̃_ℓ agrees with f on M_ℓ and its layers invert the encoder's on the manifold:
   (g_i∘f̃_i)(a) = a for a in M_i. It need not be the trained decoder.

Then the hidden reconstruction f̃_ℓ…f̃_{i+1}(g(x)) equals ĥ_i(x) = g_{:i}(A(x)). Here f̃_i is the affine map that
fits M_i → M_{i−1} best on training rows. Errors are shares of variance left unexplained: 0 means that the
assumption holds, 1 that the mean would do as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from rapp.pathway import Layers, project


def unexplained(a: Tensor, b: Tensor) -> float:
    """E‖a − b‖² / E‖b − mean(b)‖² over rows: the share of b's variance that a leaves unexplained."""
    return ((a - b).square().sum() / (b - b.mean(0)).square().sum()).item()


@torch.no_grad()
def idempotence(encoder: Layers, decoder: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """How far A(A(x)) is from A(x), for rows x (N, …): assumption 1."""
    _, x_hat, _ = project(encoder, decoder, x)
    _, again, _ = project(encoder, decoder, x_hat)
    return unexplained(again.flatten(1), x_hat.flatten(1))


@dataclass
class LayerInverses:
    """f̃_1 … f̃_ℓ: ``maps[i - 1]`` is the (d_i + 1, d_{i−1}) matrix of f̃_i, its last row the constant."""

    maps: list[Tensor]

    def step(self, a: Tensor, i: int) -> Tensor:
        """f̃_i: activations (N, d_i) → (N, d_{i−1})."""
        return _with_one(a) @ self.maps[i - 1]


def _with_one(a: Tensor) -> Tensor:
    return torch.cat([a, a.new_ones(len(a), 1)], dim=1)


@torch.no_grad()
def fit_inverses(encoder: Layers, decoder: Callable[[Tensor], Tensor], x_train: Tensor) -> LayerInverses:
    """Least-squares inverses of the encoder's layers on the manifold that the training rows' pathways trace."""
    h_hat = [a.cpu().double() for a in project(encoder, decoder, x_train)[2]]
    maps = []
    for below, above in pairwise(h_hat):
        solution = torch.linalg.lstsq(_with_one(above), below, driver="gelsd").solution
        maps.append(solution.to(x_train.dtype).to(x_train.device))
    return LayerInverses(maps)


@torch.no_grad()
def inversion_errors(
    encoder: Layers, decoder: Callable[[Tensor], Tensor], inverses: LayerInverses, x: Tensor
) -> list[float]:
    """For i = 1 … ℓ, how far (g_i∘f̃_i)(a) is from a on M_i: assumption 2. Layers must take flat (N, d) rows."""
    _, _, h_hat = project(encoder, decoder, x)
    return [unexplained(encoder[i - 1](inverses.step(h_hat[i], i)), h_hat[i]) for i in range(1, len(h_hat))]


@torch.no_grad()
def hidden_reconstruction_errors(
    encoder: Layers, decoder: Callable[[Tensor], Tensor], inverses: LayerInverses, x: Tensor
) -> list[float]:
    """For i = 0 … ℓ − 1, how far the hidden reconstruction f̃_{ℓ:i+1}(g(x)) is from ĥ_i(x): the conclusion."""
    h, _, h_hat = project(encoder, decoder, x)
    a, errors = h[-1], []
    for i in range(len(h_hat) - 1, 0, -1):
        a = inverses.step(a, i)
        errors.append(unexplained(a, h_hat[i - 1]))
    return errors[::-1]
