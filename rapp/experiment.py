"""From cells to trials: data are split, a detector is trained on normal rows, test rows are scored.

Examples:
    >>> from rapp import data, detectors
    >>> from rapp.experiment import SCORES, Cell, rows_of, run
    >>> digits = data.load("digits")
    >>> config = detectors.config_for("quick", digits, "pca")
    >>> cells = [Cell(config, target="1", seed=seed) for seed in (0, 1)]
    >>> trials = run(digits, cells)  # a Trial for each
    >>> rows_of(trials)[["model", "seed", "score"]]
      model  seed  score
    0   pca     0  recon
    1   pca     1  recon
    >>> SCORES["nap"]
    'NAP'
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from rapp import cache, detectors, evaluation
from rapp.cell import Cell
from rapp.data.dataset import Dataset
from rapp.splits import Split

__all__ = ["SCORES", "Cell", "Trial", "features", "rows_of", "run", "run_cells", "untrained"]
SCORES = {"recon": "recon", "sap": "SAP", "nap": "NAP"}  #: along the pathway, and what tables call them


@dataclass(kw_only=True)
class Trial:
    """A cell on a data set, its detector trained and the test rows scored."""

    data: Dataset = field(repr=False)  #: all of it
    cell: Cell  #: what was asked for
    split: Split = field(repr=False)  #: row numbers into the data
    features: np.ndarray = field(repr=False)  #: (N, n_features) float32, all rows as the detector sees them
    detector: Any = field(repr=False)  #: a ``detectors.base.Detector``; of an autoencoder a ``PathwayDetector``
    scores: dict[str, np.ndarray] = field(default_factory=dict, repr=False)  #: (n_test,) each, of the test rows
    seconds_per_1000: float = 0.0  #: that scoring took, of 1,000 rows

    def x(self, part: str) -> np.ndarray:
        """The rows of a part, ``train``, ``val`` or ``test``: (n, n_features) float32."""
        return self.features[getattr(self.split, part)]

    def tensor(self, part: str) -> Tensor:
        """``x`` of a part as an autoencoder takes it, (n, n_features): in its dtype and on its device."""
        return self.detector.tensor(self.x(part))

    def scores_of(self, part: str) -> dict[str, np.ndarray]:
        """Scores (n,) of a part's rows, by name; those along a pathway in the paper's order."""
        scores = self.detector.scores(self.x(part))
        return {name: scores[name] for name in (SCORES if set(scores) == set(SCORES) else scores)}

    def score_test(self) -> "Trial":
        """Score the test rows and take the time."""
        start = time.perf_counter()
        self.scores = self.scores_of("test")
        self.seconds_per_1000 = (time.perf_counter() - start) / len(self.split.test) * 1000
        return self

    def aurocs(self) -> dict[str, float]:
        """AUROC of each score on the test rows."""
        return {name: evaluation.auroc(self.split.is_novel, values) for name, values in self.scores.items()}

    def rows(self) -> pd.DataFrame:
        """A tidy row per score."""
        common = {
            "dataset": self.data.name, "setting": self.cell.setting, "contamination": self.cell.contamination,
            "target": self.cell.target, "model": self.cell.config.model, "seed": self.cell.seed,
            "epochs": self.cell.config.epochs, "n_train": len(self.split.train),
            "seconds": round(self.detector.seconds, 1),
        }  # fmt: skip
        auprs = [evaluation.aupr(self.split.is_novel, values) for values in self.scores.values()]
        return pd.DataFrame({**common, "score": [*self.scores], "auroc": [*self.aurocs().values()], "aupr": auprs})


def features(data: Dataset, rows: Split) -> np.ndarray:
    """All rows as a detector sees them, (N, n_features) float32: a table's standardised on the training rows."""
    if data.image_shape is not None:
        return data.x
    return StandardScaler().fit(data.x[rows.train]).transform(data.x).astype(np.float32)


def untrained(data: Dataset, cell: Cell) -> Trial:
    """A trial before its detector is trained: split, features and detector."""
    rows = cell.split(data)
    detector = detectors.build(cell.config, data.image_shape)
    return Trial(data=data, cell=cell, split=rows, features=features(data, rows), detector=detector)


def run(data: Dataset, cells: Sequence[Cell]) -> list[Trial]:
    """Split ``data`` for each of the ``cells``, train (or fetch from the user's cache), score the test rows.

    Autoencoders of one config train together, and on a CPU side by side; no number depends on what else is run, nor
    on how many cores there are.

    Raises:
        ValueError: a cell whose class or settings do not fit the data.
        FloatingPointError: training diverged.
    """
    return list(run_cells(data, cells, cache.cache_folder() / "models", progress=True))


def run_cells(
    data: Dataset, cells: Sequence[Cell], models: Path | None, fill: int = 0, progress: bool = False
) -> Iterator[Trial]:
    """``run`` with a cache of the caller's, trial by trial, in the cells' order.

    Args:
        data, cells: as for ``run``.
        models: folder of trained models and checkpoints; None keeps nothing.
        fill: 0 for stacks of the usual size; else one stack of all, filled up to so many networks.
        progress: say on stderr how far it is.
    """
    trials = [untrained(data, cell) for cell in cells]
    for kind in dict.fromkeys(type(trial.detector) for trial in trials):
        alike = [trial for trial in trials if type(trial.detector) is kind]
        rows = [(trial.x("train"), trial.x("val"), trial.cell.seed) for trial in alike]
        kind.fit_all([trial.detector for trial in alike], rows, models, progress, fill)
    for trial in trials:
        yield trial.score_test()


def rows_of(trials: Iterable[Trial]) -> pd.DataFrame:
    """The tidy rows of several trials."""
    return pd.concat([trial.rows() for trial in trials], ignore_index=True)
