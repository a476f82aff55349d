"""One trial: a data set, a setting, a target class, a method and a seed; trained, and its test rows scored."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from joblib import cpu_count

from rapp import evaluation
from rapp.baselines.base import Detector
from rapp.datasets import Dataset
from rapp.pathway import Pathway, Whitening
from rapp.run import Trained
from rapp.settings import RivalSettings, Settings
from rapp.splits import Split, split
from rapp.threads import pinned
from rapp.training import RECIPE

SCORING_THREADS = min(2, cpu_count())  # pinned as in training; a core more or less is in the seventh digit
SCORES = {"recon": "recon", "sap": "SAP", "nap": "NAP"}  # along the pathway, and what tables call them
TEST_SAMPLES = 10  # stochastic reconstructions that the VAE averages to score (authors' code)


@dataclass(frozen=True)
class Cell:
    """What a trial is made of, but for the data."""

    settings: Settings | RivalSettings
    target: str
    seed: int = 0
    setting: str = "multimodal"
    novelty_ratio: float | None = None  # None: the setting's own
    contamination: float = 0.0  # share of novel rows in training and validation

    def split(self, data: Dataset) -> Split:
        """This cell's rows of a data set."""
        return split(data.y, self.target, self.setting, self.seed, self.novelty_ratio, self.contamination)


@dataclass(kw_only=True)
class Scored(ABC):
    """One trained and scored cell."""

    data: Dataset = field(repr=False)
    cell: Cell
    split: Split = field(repr=False)
    features: np.ndarray = field(repr=False)  # (N, n_features) float32, all rows of the data as the model sees them
    scores: dict[str, np.ndarray] = field(default_factory=dict, repr=False)  # of the test rows, higher = more novel
    seconds_per_1000: float = 0.0  # that scoring took, of 1,000 rows

    @property
    @abstractmethod
    def seconds(self) -> float:
        """Of training, wherever and whenever it ran."""

    @property
    @abstractmethod
    def device(self) -> str:
        """Device that it was trained on."""

    @property
    @abstractmethod
    def best_epoch(self) -> int:
        """The epoch whose weights are kept, counted from 1; 0 where there is no such choice."""

    @property
    def recipe(self) -> int:
        """Number of the recipe by which it was trained (``training.RECIPE`` or the rival's own)."""
        return RECIPE

    @property
    def stack(self) -> int:
        """How many networks were trained side by side."""
        return 1

    @property
    def val_error(self) -> float:
        """Reconstruction error on the validation rows, by which the epoch was chosen; NaN where there is none."""
        return math.nan

    @abstractmethod
    def scores_of(self, part: str) -> dict[str, np.ndarray]:
        """Scores of the rows of ``train``, ``val`` or ``test``."""

    def aurocs(self) -> dict[str, float]:
        """AUROC of each score on the test rows."""
        return {name: evaluation.auroc(self.split.is_novel, values) for name, values in self.scores.items()}

    def rows(self) -> pd.DataFrame:
        """A tidy row per score."""
        about = {
            "dataset": self.data.name,
            "setting": self.cell.setting,
            "contamination": self.cell.contamination,
            "target": self.cell.target,
            "model": self.cell.settings.model,
            "seed": self.cell.seed,
            "epochs": self.cell.settings.epochs,
            "n_train": len(self.split.train),
            "seconds": round(self.seconds, 1),
        }
        return pd.DataFrame(
            {
                **about,
                "score": name,
                "auroc": evaluation.auroc(self.split.is_novel, values),
                "aupr": evaluation.aupr(self.split.is_novel, values),
            }
            for name, values in self.scores.items()
        )

    def score_test(self) -> None:
        """Score the test rows and take the time."""
        start = time.perf_counter()
        self.scores = self.scores_of("test")
        self.seconds_per_1000 = (time.perf_counter() - start) / len(self.split.test) * 1000


def pathway_of(
    trained: Trained, include_input: bool, layers: Sequence[int] | None = None, whitening: Whitening | None = None
) -> Pathway:
    """A trained model's pathway; its noise starts anew, so that scores do not depend on what was scored before."""
    generator = torch.Generator(torch.device(trained.device)).manual_seed(trained.seed)
    decoder = trained.model.decoding(TEST_SAMPLES, generator)
    return Pathway(trained.model.encoder, decoder, layers, include_input, whitening=whitening)


@dataclass(kw_only=True)
class Trial(Scored):
    """A cell of an autoencoder, scored along its pathway."""

    trained: Trained
    whitening: Whitening = field(repr=False)

    @property
    def settings(self) -> Settings:
        """The autoencoder's."""
        return self.trained.settings

    @property
    def seconds(self) -> float:
        return self.trained.seconds

    @property
    def device(self) -> str:
        return self.trained.device

    @property
    def best_epoch(self) -> int:
        return self.trained.best_epoch

    @property
    def stack(self) -> int:
        return self.trained.stack

    @property
    def val_error(self) -> float:
        return min(entry["val_error"] for entry in self.trained.history)

    def x(self, part: str) -> torch.Tensor:
        """The rows of ``train``, ``val`` or ``test`` in the model's dtype and on its device."""
        like = next(self.trained.model.parameters())
        return torch.from_numpy(self.features[getattr(self.split, part)]).to(like)

    def pathway(self, layers: Sequence[int] | None = None, whitening: Whitening | None = None) -> Pathway:
        """``pathway_of`` this trial's model; a table's has the input in it."""
        return pathway_of(self.trained, self.data.image_shape is None, layers, whitening)

    def scores_of(self, part: str) -> dict[str, np.ndarray]:
        with pinned(SCORING_THREADS):
            return self.pathway(whitening=self.whitening).score(self.x(part))


@dataclass(kw_only=True)
class RivalTrial(Scored):
    """A cell of a rival."""

    detector: Detector

    @property
    def seconds(self) -> float:
        return self.detector.seconds

    @property
    def device(self) -> str:
        return self.detector.where

    @property
    def best_epoch(self) -> int:
        return 0

    @property
    def recipe(self) -> int:
        return self.detector.RECIPE

    def scores_of(self, part: str) -> dict[str, np.ndarray]:
        return self.detector.scores(self.features[getattr(self.split, part)])
