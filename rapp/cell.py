"""One cell of an experiment: a detector's config, a class, a seed and a setting. Its file: ``rapp.grid.cells``."""

from dataclasses import dataclass
from typing import Any

from rapp.data.dataset import Dataset
from rapp.splits import Split, split


@dataclass(frozen=True)
class Cell:
    """All that decides a trial but the data."""

    config: Any  #: of its detector, a ``detectors.Config``
    target: str  #: the novel class, or the normal one
    seed: int = 0  #: of split and training
    setting: str = "multimodal"  #: of ``splits.SETTINGS``
    novelty_ratio: float | None = None  #: of the test rows; None for the setting's own
    contamination: float = 0.0  #: share of novel rows in training and validation

    def split(self, data: Dataset) -> Split:
        """This cell's split of a data set; errors as in ``splits.split``."""
        return split(data.y, self.target, self.setting, self.seed, self.novelty_ratio, self.contamination)
