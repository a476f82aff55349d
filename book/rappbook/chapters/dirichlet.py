"""Two transformations that nobody can tell apart: what the two scores of GEOM make of each answer."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import dirichlet

from rapp.detectors.self_supervised import fit_dirichlet


@dataclass(frozen=True)
class Toy:
    """What normal images are answered, and the distribution that GEOM fits to it."""

    normal: np.ndarray  # (n,) probabilities of the first of two answers, however the image was transformed
    alpha: np.ndarray  # (2,) of the Dirichlet distribution

    def density(self, p: ArrayLike) -> np.ndarray:
        """Dir((p, 1 − p); α) of probabilities p (m,) of the first answer, (m,)."""
        p = np.asarray(p, dtype=np.float64)
        return dirichlet.pdf(np.stack([p, 1 - p]), self.alpha)


def two_answers(n: int = 2000, seed: int = 0) -> Toy:
    """Made-up answers for n normal images, spread around one half; both transformations are answered alike."""
    normal = np.random.default_rng(seed).beta(12, 12, n)
    y = torch.tensor(np.stack([normal, 1 - normal], axis=1))  # (n, 2), the softmax outputs
    return Toy(normal, fit_dirichlet(y.mean(0), y.log().mean(0)).numpy())
