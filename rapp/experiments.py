"""From names to rows: one trial is a data set, a setting, a target class, a model and a seed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, cpu_count, delayed
from sklearn.preprocessing import StandardScaler

from rapp import evaluation, store
from rapp.datasets import Dataset
from rapp.pathway import Pathway, Whitening, encode, nap, sap
from rapp.replicas import stack_is_faster
from rapp.settings import Settings, pinned, resolve_device
from rapp.splits import Split, split
from rapp.training import Run, Trained, cache_files, model_key, say, train_stack

SCORING_THREADS = 2  # pinned as in training; what is left of a core more or less is in the seventh digit
TEST_SAMPLES = 10  # stochastic reconstructions that the VAE averages to score (authors' code)
STACK = 8  # replicas in one stack at most: a fixed number, so that no rounding depends on the number of cores


class Detector(Protocol):
    """What every rival of ``rapp.baselines`` can do."""

    def fit(self, x: np.ndarray) -> "Detector": ...
    def score(self, x: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Cell:
    """What a trial is made of, but for the data."""

    settings: Settings
    target: str
    seed: int = 0
    setting: str = "multimodal"
    novelty_ratio: float | None = None  # None: the setting's own
    contamination: float = 0.0  # share of novel rows in training and validation

    def split(self, data: Dataset) -> Split:
        """This cell's rows of a data set."""
        return split(data.y, self.target, self.setting, self.seed, self.novelty_ratio, self.contamination)


@dataclass
class Trial:
    """One trained and scored cell."""

    data: Dataset = field(repr=False)
    cell: Cell
    split: Split = field(repr=False)
    features: np.ndarray = field(repr=False)  # (N, n_features) float32, all rows of the data as the model sees them
    trained: Trained
    whitening: Whitening = field(repr=False)
    scores: dict[str, np.ndarray] = field(default_factory=dict, repr=False)  # of the test rows, higher = more novel

    def x(self, part: str) -> torch.Tensor:
        """The rows of ``train``, ``val`` or ``test`` in the model's dtype and on its device."""
        like = next(self.trained.model.parameters())
        return torch.from_numpy(self.features[getattr(self.split, part)]).to(like)

    def pathway(self, layers: Sequence[int] | None = None, whitening: Whitening | None = None) -> Pathway:
        """The model's pathway; its noise starts anew, so that scores do not depend on what was scored before."""
        generator = torch.Generator(torch.device(self.trained.device)).manual_seed(self.cell.seed)
        decoder = self.trained.model.decoding(TEST_SAMPLES, generator)
        include_input = self.data.image_shape is None
        return Pathway(self.trained.model.encoder, decoder, layers, include_input, whitening=whitening)

    def scores_of(self, part: str) -> dict[str, np.ndarray]:
        """Scores of the rows of ``train``, ``val`` or ``test``."""
        with pinned(SCORING_THREADS):
            return self.pathway(whitening=self.whitening).score(self.x(part))

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
            "seconds": round(self.trained.seconds, 1),
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


def features(data: Dataset, rows: Split) -> np.ndarray:
    """All rows as a model sees them, (N, n_features) float32: a table's standardised on the training rows."""
    if data.image_shape is not None:
        return data.x
    return StandardScaler().fit(data.x[rows.train]).transform(data.x).astype(np.float32)


@dataclass(frozen=True)
class _Job:
    """A cell with its rows."""

    cell: Cell
    split: Split
    features: np.ndarray

    def inputs(self) -> tuple[torch.Tensor, torch.Tensor, int]:
        train, val = (torch.from_numpy(self.features[rows]) for rows in (self.split.train, self.split.val))
        return train, val, self.cell.seed

    def is_trained(self) -> bool:
        train, val, seed = self.inputs()
        return cache_files(model_key(train, val, self.cell.settings, seed), _models())[0].exists()


def _jobs(data: Dataset, cells: Sequence[Cell]) -> list[_Job]:
    rows = [cell.split(data) for cell in cells]
    return [_Job(cell, of, features(data, of)) for cell, of in zip(cells, rows, strict=True)]


def _models() -> Path:
    return store.cache_folder() / "models"


def _train(jobs: Sequence[_Job], progress: bool) -> list[Trained]:
    return train_stack([job.inputs() for job in jobs], jobs[0].cell.settings, _models(), progress)


def run_trials(data: Dataset, cells: Sequence[Cell]) -> list[Trial]:
    """Split, train (or fetch from the cache), fit the pathway on the training rows, score the test rows.

    What the cache lacks trains first: as stacks of replicas where these are faster, and on a CPU side by side,
    ``threads`` cores each. A model's numbers do not depend on how many cores there are.
    """
    jobs = _jobs(data, cells)
    _train_missing([job for job in jobs if not job.is_trained()])
    return [_scored(data, job, _train([job], progress=True)[0]) for job in jobs]


def run_trial(data: Dataset, cell: Cell) -> Trial:
    """``run_trials`` for one cell."""
    return run_trials(data, [cell])[0]


def _train_missing(jobs: Sequence[_Job]) -> None:
    if not jobs:
        return
    device = resolve_device(jobs[0].cell.settings.device)
    size = STACK if stack_is_faster(jobs[0].features.shape[1], device) else 1
    stacks: list[list[_Job]] = []
    for settings in dict.fromkeys(job.cell.settings for job in jobs):
        alike = [job for job in jobs if job.cell.settings == settings]
        stacks += [alike[i : i + size] for i in range(0, len(alike), size)]
    threads = max(job.cell.settings.threads for job in jobs)
    at_once = max(1, min(len(stacks), cpu_count() // threads)) if device.type == "cpu" else 1
    if at_once == 1:
        for stack in stacks:
            _train(stack, progress=True)
        return
    with pinned(threads):
        one_of = {stack[0].cell.settings: stack[0].inputs() for stack in stacks}
        each = {of: Run(*rows[:2], of, seed=0).estimate() * of.epochs for of, rows in one_of.items()}
        seconds = sum(each[stack[0].cell.settings] for stack in stacks)
    say(f"{len(jobs)} models to train, {at_once} processes: about {seconds / at_once / 60:.0f} min or more")
    done = 0
    work = (delayed(_train)(stack, progress=False) for stack in stacks)
    for trained in Parallel(n_jobs=at_once, return_as="generator_unordered")(work):
        done += len(trained)
        say(f"{done} of {len(jobs)} models trained")


def _scored(data: Dataset, job: _Job, trained: Trained) -> Trial:
    """Fit the pathway on the training rows, score the test rows."""
    trial = Trial(data, job.cell, job.split, job.features, trained, Whitening())
    with pinned(SCORING_THREADS):
        trial.pathway(whitening=trial.whitening).fit(trial.x("train"))
    trial.scores = trial.scores_of("test")
    return trial


def run_stack(data: Dataset, cells: Sequence[Cell], models: Path | None) -> Iterator[Trial]:
    """``run_trials`` for cells of equal settings, trained as one stack, with a model cache of the caller's or none."""
    jobs = _jobs(data, cells)
    trained = train_stack([job.inputs() for job in jobs], cells[0].settings, models, progress=False)
    for job, model in zip(jobs, trained, strict=True):
        yield _scored(data, job, model)


def trained_afresh(data: Dataset, cells: Sequence[Cell], stack: bool = False) -> list[Trial]:
    """``run_trials`` without the cache, one model after the other or as a stack: to see what that changes."""
    groups = [cells] if stack else [[cell] for cell in cells]
    return [trial for group in groups for trial in run_stack(data, group, None)]


def detector_aurocs(
    detector: Detector, data: Dataset, target: str, setting: str, seeds: int, contamination: float = 0.0
) -> np.ndarray:
    """AUROC of any detector with ``fit(x)`` and ``score(x)``, higher = more novel, (seeds,): one split each."""
    results = []
    for seed in range(seeds):
        rows = split(data.y, target, setting, seed, contamination=contamination)
        x = features(data, rows)
        results.append(evaluation.auroc(rows.is_novel, detector.fit(x[rows.train]).score(x[rows.test])))
    return np.array(results)


def rows_of(trials: Iterable[Trial]) -> pd.DataFrame:
    """The tidy rows of several trials."""
    return pd.concat([trial.rows() for trial in trials], ignore_index=True)


@pinned(SCORING_THREADS)
def layer_aurocs(trial: Trial, ranges: Sequence[str] = ("alone", "up to")) -> pd.DataFrame:
    """AUROC of SAP and NAP from ranges of layers: each layer alone, the pathway's layers up to it, or those from it on.

    Args:
        trial: trained and scored.
        ranges: which of "alone", "up to" and "from".

    Returns:
        score, layers (one of ``ranges``), layer, auroc, seed.
    """
    n_layers = trial.cell.settings.n_layers
    every, start = range(n_layers + 1), trial.pathway().layers[0]
    d_train, d_test = (trial.pathway(every).differences(trial.x(part)) for part in ("train", "test"))
    sizes = [h.shape[1] for h in encode(trial.trained.model.encoder, trial.x("test")[:2])[0]]
    ends = np.cumsum([0, *sizes])
    rows = []
    for layer in every:
        bounds = {"alone": (layer, layer), "up to": (start, layer), "from": (layer, n_layers)}
        for which in ranges:
            first, last = bounds[which]
            columns = slice(ends[first], ends[last + 1])
            if columns.start == columns.stop:  # the input up to itself, where it is left out
                continue
            d = d_test[:, columns]
            scores = {"sap": sap(d), "nap": nap(d, Whitening().fit(d_train[:, columns].split(4096)))}
            for name, values in scores.items():
                auroc = evaluation.auroc(trial.split.is_novel, values.cpu())
                rows.append({"score": name, "layers": which, "layer": layer, "auroc": auroc, "seed": trial.cell.seed})
    return pd.DataFrame(rows)
