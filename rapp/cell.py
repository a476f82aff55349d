"""What one trial is made of."""

from dataclasses import dataclass
from typing import Any

from rapp.data.dataset import Dataset
from rapp.splits import Split, split


@dataclass(frozen=True)
class Cell:
    """What a trial is made of, but for the data."""

    config: Any  # of its detector: a ``detectors.Config``
    target: str
    seed: int = 0
    setting: str = "multimodal"
    novelty_ratio: float | None = None  # None: the setting's own
    contamination: float = 0.0  # share of novel rows in training and validation

    def split(self, data: Dataset) -> Split:
        """This cell's rows of a data set."""
        return split(data.y, self.target, self.setting, self.seed, self.novelty_ratio, self.contamination)
