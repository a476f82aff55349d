"""Two transformations that nobody can tell apart: what the two scores of GEOM make of each answer."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import beta

from rapp.detectors.self_supervised import fit_dirichlet


@dataclass(frozen=True)
class Answers:
    """The first of two answers' probabilities, and scores of an image with each."""

    normal: np.ndarray  # (n,) of normal images
    p: np.ndarray  # (m,)
    simple: np.ndarray  # (m,) 1 − p, for the first answer is the right one
    dirichlet: np.ndarray  # (m,) −log-likelihood


def two_answers(seed: int = 0) -> Answers:
    """Normal images get answers around one half; a Dirichlet distribution is fitted to them as GEOM does."""
    normal = np.random.default_rng(seed).beta(12, 12, 2000)
    both = torch.tensor(np.column_stack([normal, 1 - normal]))
    alpha = fit_dirichlet(both.mean(0), both.log().mean(0)).numpy()
    p = np.linspace(0.01, 0.99, 99)
    return Answers(normal, p, 1 - p, -beta.logpdf(p, *alpha))
