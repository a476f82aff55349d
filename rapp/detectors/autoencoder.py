"""The paper's method as a detector: an autoencoder, scored along its pathway. Networks and losses: ``rapp.models``."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed
from torch import Tensor

from rapp.cache import sha256
from rapp.config import PROFILES, SMALL, ParameterError, TrainingConfig, check_name, resolve_device
from rapp.detectors.base import Detector, Rows
from rapp.detectors.rows import bottleneck
from rapp.models import shrinking
from rapp.pathway import FewRowsWarning, Pathway, Whitening, nap, sap
from rapp.progress import Progress, say
from rapp.stacks import cache_files, model_key, stack_size, train_stack
from rapp.threads import pinned
from rapp.training import RECIPE, Trained

SCORING_THREADS = min(2, cpu_count())  # pinned as in training; a core more or less is in the seventh digit
TEST_SAMPLES = 10  # stochastic reconstructions that the VAE averages to score (authors' code)
Input = tuple[Tensor, Tensor, int]  # rows to train on, rows that choose the epoch, seed


def training_config(profile: str, model: str, x: np.ndarray, is_image: bool, **changes: Any) -> TrainingConfig:
    """The training config of a profile, with changes by name; a change of None changes nothing.

    Args:
        profile: of ``config.PROFILES``.
        model: "ae", "vae" or "aae".
        x: (N, n_features) rows of the data set; their number and, of a table, their variance decide.
        is_image: whether they are images.

    Raises:
        ParameterError: naming the parameter, its value and what is allowed.
    """
    check_name(profile)
    is_small = profile == "quick" and len(x) < SMALL
    values = dict(PROFILES["quick, small data" if is_small else profile])
    if not is_image:
        values["bottleneck"] = bottleneck(x)
    config = changed(TrainingConfig(model=model, **values), **changes)
    if is_small and config.hidden is None:  # fewer weights than by the paper's widths, so more epochs in the time
        config = replace(config, hidden=shrinking(x.shape[1], config.bottleneck, config.n_layers))
    return config


def changed(config: TrainingConfig, **changes: Any) -> TrainingConfig:
    """A config with changes by name; a change of None changes nothing. Errors as in ``training_config``."""
    known = sorted({f.name for f in fields(TrainingConfig)} - {"model"})
    if unknown := sorted(set(changes) - set(known)):
        raise ParameterError(f"{config.model} has no parameter {unknown[0]!r}; allowed: {', '.join(known)}")
    return replace(config, **{name: value for name, value in changes.items() if value is not None})


@dataclass(kw_only=True)
class PathwayDetector(Detector):
    """An autoencoder scored along its pathway: nap, sap, recon (paper, section 4).

    Args:
        config: all that decides its training; None for that of a profile, for the rows that ``fit`` gets.
        model: "ae", "vae" or "aae", where ``config`` is None.
        profile: of ``config.PROFILES``, where ``config`` is None.
        changes: options that differ from the profile's, where ``config`` is None.

    Attributes:
        trained: the autoencoder, in eval mode, and how it came about.
        whitening: NAP's normaliser, fitted on the training rows.
    """

    config: TrainingConfig | None = None
    model: str = "ae"
    profile: str = "paper"
    changes: dict[str, Any] = field(default_factory=dict)

    RECIPE: ClassVar[int] = RECIPE

    def __post_init__(self) -> None:
        super().__post_init__()
        changed(TrainingConfig(self.model), **self.changes)  # it says what it cannot do

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int, cache: Path | None, progress: bool) -> float:
        self._fit_checked([self], [(train, validation, seed)], cache, progress, fill=0)
        return self.seconds

    @classmethod
    def _fit_checked(
        cls, detectors: Sequence[Self], rows: Sequence[Rows], cache: Path | None, progress: bool, fill: int
    ) -> None:
        """Train together what can, then fit each pathway on its training rows."""
        inputs, configs = [], []
        for detector, (*parts, seed) in zip(detectors, rows, strict=True):
            x_train, x_val = (torch.as_tensor(np.asarray(part, dtype=np.float32)) for part in parts)
            inputs.append((x_train, x_val, seed))
            x, is_image = np.concatenate(parts), detector.image_shape is not None
            how = detector.profile, detector.model, x, is_image
            configs.append(detector.config or training_config(*how, **detector.changes))
        trained = train_all(inputs, configs, cache, progress, fill)
        for detector, result, (x_train, _, _) in zip(detectors, trained, inputs, strict=True):
            detector.adopt(result, x_train)

    def adopt(self, trained: Trained, x_train: Tensor) -> Self:
        """Take over a trained autoencoder, and fit its pathway on training rows x_train (N, n_features)."""
        self.trained, self.where, self.seconds = trained, trained.device, trained.seconds
        self.best_epoch, self.stack = trained.best_epoch, trained.stack
        self.val_error = min(entry["val_error"] for entry in trained.history)
        self.whitening, self._n_features = Whitening(), x_train.shape[1]
        with pinned(SCORING_THREADS), warnings.catch_warnings():
            warnings.simplefilter("ignore", FewRowsWarning)  # the book's small networks; chapter 11 says what it costs
            self.pathway(whitening=self.whitening).fit(self.tensor(x_train))
        self._fitted = True
        return self

    def pathway(self, layers: Sequence[int] | None = None, whitening: Whitening | None = None) -> Pathway:
        """The trained model's pathway; a table's has the input in it.

        Its noise starts anew, so that scores do not depend on what was scored before.
        """
        generator = torch.Generator(torch.device(self.trained.device)).manual_seed(self.trained.seed)
        decoder = self.trained.model.decoding(TEST_SAMPLES, generator)
        return Pathway(self.trained.model.encoder, decoder, layers, self.image_shape is None, whitening=whitening)

    def tensor(self, x: np.ndarray | Tensor) -> Tensor:
        """Rows in the model's dtype and on its device."""
        return torch.as_tensor(x).to(next(self.trained.model.parameters()))

    def _scores(self, x: np.ndarray) -> dict[str, np.ndarray]:
        with pinned(SCORING_THREADS):
            scores = self.pathway(whitening=self.whitening).score(self.tensor(x))
        return {name: scores[name] for name in ("nap", "sap", "recon")}


def train_all(
    inputs: Sequence[Input],
    configs: Sequence[TrainingConfig],
    cache: Path | None = None,
    progress: bool = True,
    fill: int = 0,
) -> list[Trained]:
    """Train autoencoders of any configs; the results are in the order of the inputs.

    Those of one config train as stacks where that is faster, and on a CPU several stacks side by side, ``threads``
    cores each. Those whose configs differ in their epochs alone and that have the same rows and seed are one run,
    kept on its way. No model depends on the number of cores, nor on what trains beside it.

    Args:
        inputs, configs: one of each for an autoencoder.
        cache, progress: as for ``fit``.
        fill: 0 for stacks of the usual size (``stacks.stack_size``); else one stack of all, filled up to so many.
    """
    stacks = _stacks(inputs, configs, fill)
    missing = [i for i, stack in enumerate(stacks) if not stack.is_cached(cache)]
    on_cpu = all(resolve_device(config.device).type == "cpu" for config in configs)
    at_once = min(len(missing), cpu_count() // max(config.threads for config in configs)) if on_cpu and not fill else 1
    results: dict[int, list[Trained]] = {}
    if at_once > 1:
        n_models = sum(len(stacks[i].runs) for i in missing)
        if progress:
            say(f"{n_models} models to train, {at_once} processes")
        bar = Progress(n_models, "model", quiet=not progress, every=0)
        work = (delayed(stacks[i].train)(cache, progress=False) for i in missing)
        for i, trained in zip(missing, Parallel(n_jobs=at_once, return_as="generator")(work), strict=True):
            results[i] = trained
            bar.add(len(trained))
        bar.close()
    by_input: dict[int, Trained] = {}
    for i, stack in enumerate(stacks):
        for members, whole in zip(stack.runs, results.get(i) or stack.train(cache, progress), strict=True):
            of_epochs = {**whole.earlier, whole.config.epochs: whole}
            by_input |= {member: of_epochs[configs[member].epochs] for member in members}
    return [by_input[i] for i in range(len(inputs))]


@dataclass(frozen=True)
class _Stack:
    """What trains together: runs, each of one input or of several that differ in their epochs."""

    runs: list[list[int]]  # numbers of inputs
    inputs: list[Input]  # of each run
    config: TrainingConfig
    marks: frozenset[int]  # epochs to keep the models of, too
    size: int

    def is_cached(self, cache: Path | None) -> bool:
        """Whether the cache holds every run."""
        keys = (model_key(x, val, self.config, seed, self.size) for x, val, seed in self.inputs)
        return cache is not None and all(cache_files(key, cache)[0].exists() for key in keys)

    def train(self, cache: Path | None, progress: bool) -> list[Trained]:
        """The trained runs."""
        return train_stack(self.inputs, self.config, cache, progress, self.size, self.marks)


def _stacks(inputs: Sequence[Input], configs: Sequence[TrainingConfig], fill: int) -> list[_Stack]:
    alike: dict[TrainingConfig, list[int]] = {}
    for i, config in enumerate(configs):
        alike.setdefault(replace(config, epochs=1), []).append(i)
    stacks = []
    for members in alike.values():
        config = max((configs[i] for i in members), key=lambda config: config.epochs)
        marks = frozenset(configs[i].epochs for i in members) - {config.epochs}
        runs: dict[object, list[int]] = {}
        for i in members:
            x_train, x_val, seed = inputs[i]
            runs.setdefault((sha256(x_train, x_val), seed) if marks else i, []).append(i)
        usual = stack_size(inputs[members[0]][0].shape[1], resolve_device(config.device))
        each, size = (len(runs), fill) if fill else (usual, usual)
        listed = list(runs.values())
        for part in (listed[k : k + each] for k in range(0, len(listed), each)):
            stacks.append(_Stack(part, [inputs[run[0]] for run in part], config, marks, size))
    return stacks


def sap_and_nap(d_train: Tensor, d_test: Tensor) -> dict[str, np.ndarray]:
    """SAP and NAP, (N,) each, of test differences (N, D), with NAP fitted on training differences (M, D)."""
    whitening = Whitening().fit(d_train.split(4096))
    return {"sap": sap(d_test).numpy(force=True), "nap": nap(d_test, whitening).numpy(force=True)}
