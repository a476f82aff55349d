"""Made-up points in the plane, to see what a detector takes for normal."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rapp import evaluation
from rapp.detectors.base import Detector

HALF = 3.0  # of the square's side; points lie within
GRID = 80  # places at which a score is drawn, along each side


@dataclass(frozen=True)
class Map:
    """A detector's score over the square, after it has learned from normal points."""

    normal: np.ndarray  # (n, 2) training points
    grid: tuple[np.ndarray, np.ndarray]  # x and y, (k, k) each
    values: np.ndarray  # (k, k) score
    cut: float  # the score that 5 % of the validation points exceed
    auroc: float  # of further normal points against points spread evenly over the square


def points(shape: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """n normal points of a shape of ``SHAPES``, (n, 2)."""
    if shape == "a cloud":
        return rng.normal(size=(n, 2)) * (1.1, 0.25) @ np.array([[1, 1], [-1, 1]]) / np.sqrt(2)
    if shape == "two densities":
        tight = rng.random((n, 1)) < 0.5
        return np.where(tight, rng.normal((-1.5, 1.2), 0.12, (n, 2)), rng.normal((0.9, -0.7), 0.55, (n, 2)))
    angle = rng.uniform(0, 1.5 * np.pi, n)
    return 2 * np.column_stack([np.cos(angle), np.sin(angle)]) + rng.normal(0, 0.15, (n, 2))


SHAPES = ("a cloud", "two densities", "a curve")
# Of chapter 05's rivals in the plane, where a second component leaves nothing out.
OPTIONS: dict[str, dict[str, Any]] = {
    "pca": {"n_components": 1},
    "ocsvm": {},
    "gmm": {"explained": 1.0},
    "kde": {"explained": 1.0},
    "iforest": {},
    "lof": {},
}


def maps(detector: Detector, n: int = 200, seed: int = 0) -> dict[str, Map]:
    """Fit a detector to n points of each shape and see what it makes of the square; shape → map."""
    axis = np.linspace(-HALF, HALF, GRID)
    grid = np.meshgrid(axis, axis)
    everywhere = np.stack([values.ravel() for values in grid], axis=1)
    made = {}
    for shape in SHAPES:
        rng = np.random.default_rng(seed)
        train, validation, normal = (points(shape, n, rng) for _ in range(3))
        tested = np.concatenate([normal, rng.uniform(-HALF, HALF, (n, 2))])
        detector.fit(train, validation, seed, progress=False)
        of_map, of_validation, of_tested = (
            next(iter(detector.scores(x).values())) for x in (everywhere, validation, tested)
        )
        made[shape] = Map(
            normal=train,
            grid=(grid[0], grid[1]),
            values=of_map.reshape(grid[0].shape),
            cut=evaluation.threshold(of_validation),
            auroc=evaluation.auroc(np.arange(2 * n) >= n, of_tested),
        )
    return made
