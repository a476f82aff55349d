"""What all detectors have in common: checked rows, a seed, a device, a cache."""

import dataclasses
import json
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OutlierMixin
from torch import Tensor, nn

from rapp import calibration
from rapp.cache import load_if_sound, save_tensors, sha256
from rapp.config import is_whole, plain, resolve_device
from rapp.detectors.rows import NOVEL, check_pixels, check_shape, parted, rows_of
from rapp.progress import say
from rapp.threads import pinned

CHUNK = 1024  # rows scored at once
Rows = tuple[np.ndarray, np.ndarray, int]  # to train on, to validate on (N, n_features each), and the seed


@dataclass(kw_only=True)
class Detector(OutlierMixin, BaseEstimator, ABC):
    """A method that learns from normal rows and then scores any. Its fields are all that decides it but data and seed.

    It is a scikit-learn estimator, too, with scikit-learn's signs in ``predict`` and ``decision_function`` alone; in
    ``fit``, labels may stand in the place of validation rows. A field's value that is not allowed raises a ValueError.

    Args:
        image_shape: (height, width) of the rows, flattened, or None for a table's.

    Attributes:
        seconds, where: time of training, wherever and whenever it ran; device it was trained on.
        best_epoch: the epoch whose weights are kept, counted from 1; 0 where there is no such choice.
        val_error: reconstruction error of the validation rows, by which that epoch was chosen; NaN where there is none.
        stack: how many networks were trained side by side.
    """

    image_shape: tuple[int, int] | None = None

    NEEDS_IMAGES: ClassVar[bool] = False
    RECIPE: ClassVar[int] = 1  # raised whenever the same seed gives another model; ``test_recipe`` notices
    PROFILES: ClassVar[dict[str, dict]] = {}  # what differs from the defaults, which are the protocol's
    LEAST: ClassVar[dict[str, int]] = {}  # of fields that are whole numbers; of all others 1

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):
            setattr(self, option.name, value := plain(getattr(self, option.name)))
            if option.type is float and not (isinstance(value, int | float) and math.isfinite(value)):
                raise ValueError(f"{option.name}={value!r} must be a number")
            least, may_lack = self.LEAST.get(option.name, 1), value is None and option.type == int | None
            if option.type in (int, int | None) and not may_lack and not (is_whole(value) and value >= least):
                raise ValueError(f"{option.name}={value!r} must be a whole number of at least {least}")

    def fit(
        self,
        train: ArrayLike,
        validation: ArrayLike | None = None,
        seed: int = 0,
        cache: str | os.PathLike | None = None,
        progress: bool = True,
    ) -> Self:
        """Learn from normal rows; returns self.

        Args:
            train: (N, n_features) numbers, N ≥ 2: an array, a DataFrame or a tensor; images in [0, 1].
            validation: (M, n_features), normal rows for whatever has to be chosen without novelties, and for the
                threshold of ``predict``. None holds out 20 % of the training rows, at random. Labels (N,), as
                scikit-learn gives them, do the same without the rows whose label is −1, which are novel.
            seed: decides all that is random.
            cache: folder of trained models; None keeps nothing. Models that train in seconds are never kept.
            progress: say on stderr how far it is, where it takes long.

        Raises:
            ValueError: rows or options that cannot be used.
            FloatingPointError: training diverged.
        """
        x, val = parted(train, validation, plain(seed))
        self._refuse_other_columns(validation, names := list(getattr(train, "columns", ())))
        self.fit_all([self], [(x, val, seed)], Path(cache) if cache is not None else None, progress)
        self._held_out, self._names = val, names
        return self

    @classmethod
    def fit_all(
        cls,
        detectors: Sequence[Self],
        rows: Sequence[Rows],
        cache: Path | None = None,
        progress: bool = True,
        fill: int = 0,
    ) -> None:
        """Fit several detectors of this class, each on its own rows (train, validation, seed).

        Args:
            cache, progress: as for ``fit``.
            fill: for detectors that train as a stack: 0 for stacks of the usual size; else one stack of all of them,
                which copies fill up to ``fill`` networks.
        """
        pairs = zip(detectors, rows, strict=True)
        checked = [(*detector._checked_training(train, val), plain(seed)) for detector, (train, val, seed) in pairs]
        cls._fit_checked(detectors, checked, cache, progress, fill)
        for detector in detectors:
            detector._fitted = True

    @classmethod
    def _fit_checked(
        cls, detectors: Sequence[Self], rows: Sequence[Rows], cache: Path | None, progress: bool, fill: int
    ) -> None:
        """``fit_all`` on checked rows: one detector after the other, unless a subclass trains several together."""
        for detector, (train, validation, seed) in zip(detectors, rows, strict=True):
            start = time.perf_counter()
            seconds = detector._fit(train, validation, seed, cache, progress)
            detector.seconds = time.perf_counter() - start if seconds is None else seconds

    def _checked_training(self, train: np.ndarray, validation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._fitted, self._held_out, self.where, self.seconds = False, np.empty((0, 0)), "cpu", 0.0
        self.best_epoch, self.val_error, self.stack, self._names = 0, math.nan, 1, []
        train = rows_of(train, "train")
        self._n_features = train.shape[1]
        check_shape(self.image_shape, self._n_features, type(self).__name__, self.NEEDS_IMAGES)
        train, validation = self._checked(train, "train"), self._checked(validation, "validation")
        if len(train) < 2 or (train == train[0]).all():
            raise ValueError("train: fewer than two different rows; there is nothing to learn from")
        return train, validation

    def scores(self, x: ArrayLike) -> dict[str, np.ndarray]:
        """Named scores of rows x (N, n_features), each (N,) float64, higher = more novel; the method's own comes first.

        Raises:
            ValueError: rows that cannot be used.
            RuntimeError: ``fit`` has not been called.
            FloatingPointError: a score is NaN or infinite.
        """
        if not getattr(self, "_fitted", False):
            raise RuntimeError(f"{type(self).__name__} has not been fitted: call fit(train, validation) first")
        self._refuse_other_columns(x, getattr(self, "_names", []))
        scores = self._scores(self._checked(x, "x"))
        for name, values in scores.items():
            if not np.isfinite(values).all():
                raise FloatingPointError(f"{(~np.isfinite(values)).sum()} scores {name!r} are NaN or infinite")
        return {name: np.asarray(values, dtype=np.float64) for name, values in scores.items()}

    def decision_function(self, X: ArrayLike, false_alarm_rate: float = 0.05) -> np.ndarray:
        """The threshold minus the method's own score, (N,): higher = more normal, below 0 = novel.

        The threshold is ``calibration.threshold`` of the validation rows' scores: approximate where these rows have
        chosen anything else, as the epoch of a network. X is (N, n_features), and false_alarm_rate the share of normal
        rows that may be called novel, in (0, 1).

        Raises:
            ValueError: there are too few validation rows for this rate; and as ``scores``.
        """
        scores = next(iter(self.scores(X).values()))
        if not len(self._held_out):
            raise RuntimeError("there are no validation rows to take a threshold from: call fit, not fit_all")
        known = next(iter(self.scores(self._held_out).values()))
        return calibration.threshold(known, false_alarm_rate) - scores

    def predict(self, X: ArrayLike, false_alarm_rate: float = 0.05) -> np.ndarray:
        """1 for normal and −1 for novel rows X (N, n_features), (N,); false_alarm_rate as in ``decision_function``."""
        return np.where(self.decision_function(X, false_alarm_rate) < 0, NOVEL, 1)

    def _refuse_other_columns(self, x: object, names: list) -> None:
        if names and isinstance(x, pd.DataFrame) and list(x.columns) != names:
            raise ValueError(f"the columns are {list(x.columns)}, but {names} in fit; bring them into this order")

    def __sklearn_is_fitted__(self) -> bool:
        return getattr(self, "_fitted", False)

    def _checked(self, x: ArrayLike, name: str) -> np.ndarray:
        x = rows_of(x, name)
        if x.shape[1] != self._n_features:
            raise ValueError(f"{name}: rows have {x.shape[1]} features, expected {self._n_features}")
        if bad := int((~np.isfinite(x)).any(1).sum()):
            raise ValueError(f"{name}: {bad} of {len(x)} rows have NaN or infinite values; leave them out or fill them")
        if self.image_shape is not None:
            check_pixels(x, name)
        return x

    @abstractmethod
    def _fit(
        self, train: np.ndarray, validation: np.ndarray, seed: int, cache: Path | None, progress: bool
    ) -> float | None:
        """Learn from rows that have been checked; returns the seconds of training, if they were not spent here."""

    @abstractmethod
    def _scores(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Score rows that have been checked."""


@dataclass(kw_only=True)
class Deep(Detector):
    """A detector that is a torch module and no autoencoder. Seeds, device, threads and the cache are dealt with here.

    A subclass says how the module is made (``build``), trained (``learn``) and read (``measure``); in all three,
    torch's global random state is seeded, and put back afterwards. All that was learned must lie in the module's
    parameters and buffers, for these are what the cache keeps.

    Args:
        epochs, batch: passes over the training rows; rows a step.
        lr: the optimizer's learning rate.
        device, threads: "auto", "cpu", "cuda" or "mps"; threads are pinned, for the last digits depend on them.

    Attributes:
        net: the module, in eval mode.
        history: a dict for each epoch, from ``learn``.
    """

    epochs: int = 100
    batch: int = 128
    lr: float = 1e-3
    device: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lr <= 0:
            raise ValueError(f"lr={self.lr!r} must be a positive number")

    @abstractmethod
    def build(self) -> nn.Module:
        """The untrained module, with buffers for whatever is learned otherwise than by gradients."""

    @abstractmethod
    def learn(self, net: nn.Module, x: Tensor, validation: Tensor, progress: bool) -> list[dict]:
        """Train on x (N, n_features) in [0, 1]; returns the history, a dict of numbers for each epoch."""

    @abstractmethod
    def measure(self, net: nn.Module, x: Tensor) -> dict[str, Tensor]:
        """Scores of up to ``CHUNK`` rows x (N, n_features), each (N,)."""

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int, cache: Path | None, progress: bool) -> float:
        self._seed, where = seed, resolve_device(self.device)
        self.where = where.type
        with self._seeded(where):
            x, val = (torch.as_tensor(rows, dtype=torch.float32, device=where) for rows in (train, validation))
            self.net = self.build().to(where)
            key = self._key(x, val, where)
            path = cache / f"{key[:16]}.safetensors" if cache else None
            if path and (found := load_if_sound(path, key)):
                self.net.load_state_dict(found[0])
                self.history, seconds = found[1]["history"], found[1]["seconds"]
            else:
                if progress:
                    say(f"{type(self).__name__}: learning from {len(x)} rows on {where}")
                start = time.perf_counter()
                self.history = self.learn(self.net, x, val, progress)
                seconds = time.perf_counter() - start
                if not all(value.isfinite().all() for value in self.net.state_dict().values()):
                    raise FloatingPointError(f"training diverged; try an lr below {self.lr}")
                about = {"key": key, "history": self.history, "seconds": seconds, "detector": repr(self)}
                try:
                    save_tensors(path, self.net.state_dict(), about) if path else None
                except OSError as error:  # such as a full disk; what was trained is not lost with it
                    say(f"{error}: this model is not kept")
        self.net.eval()
        return seconds

    def _scores(self, x: np.ndarray) -> dict[str, np.ndarray]:
        where = next(self.net.parameters()).device
        self.net.eval()  # a caller may have changed it, and in training mode a score depends on the other rows
        with self._seeded(where):
            rows = torch.as_tensor(x, dtype=torch.float32, device=where)
            parts = [self.measure(self.net, chunk) for chunk in rows.split(CHUNK)]
        return {name: torch.cat([part[name] for part in parts]).detach().cpu().numpy() for name in parts[0]}

    def _key(self, x: Tensor, val: Tensor, where: torch.device) -> str:
        """Checksum of what decides the weights: options, seed, data, device, recipe and torch's version."""
        what = {**dataclasses.asdict(self), "device": where.type, "seed": self._seed, "of": type(self).__name__}
        what |= {"recipe": self.RECIPE, "torch": torch.__version__}
        return sha256(json.dumps(what, sort_keys=True), x, val)

    @contextmanager
    def _seeded(self, where: torch.device) -> Iterator[None]:
        """Use this detector's seed and threads inside the block; afterwards torch's state is as before."""
        with pinned(self.threads), torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
            torch.manual_seed(self._seed)
            yield

    def images(self, x: Tensor) -> Tensor:
        """Rows (N, n_features) as images (N, 1, height, width)."""
        assert self.image_shape
        return x.view(-1, 1, *self.image_shape)
