"""From cells to trials: what the cache lacks is trained, everything is scored."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, cpu_count, delayed
from sklearn.preprocessing import StandardScaler

from rapp import baselines, store
from rapp.datasets import Dataset
from rapp.pathway import Whitening, nap, sap
from rapp.replicas import stack_size
from rapp.run import Trained
from rapp.settings import RivalSettings, Settings, resolve_device
from rapp.splits import Split
from rapp.threads import pinned
from rapp.training import cache_files, model_key, say, train_stack
from rapp.trials import SCORING_THREADS, Cell, RivalTrial, Scored, Trial


def features(data: Dataset, rows: Split) -> np.ndarray:
    """All rows as a model sees them, (N, n_features) float32: a table's standardised on the training rows."""
    if data.image_shape is not None:
        return data.x
    return StandardScaler().fit(data.x[rows.train]).transform(data.x).astype(np.float32)


@dataclass(frozen=True)
class _Job:
    """A cell of an autoencoder with its rows."""

    cell: Cell
    settings: Settings
    split: Split
    features: np.ndarray

    def inputs(self) -> tuple[torch.Tensor, torch.Tensor, int]:
        train, val = (torch.from_numpy(self.features[rows]) for rows in (self.split.train, self.split.val))
        return train, val, self.cell.seed

    def scored(self, data: Dataset, trained: Trained) -> Trial:
        return scored(data, self.cell, self.split, self.features, trained)

    def stack_size(self) -> int:
        return stack_size(self.features.shape[1], resolve_device(self.settings.device))

    def is_trained(self) -> bool:
        key = model_key(*self.inputs()[:2], self.settings, self.cell.seed, self.stack_size())
        return cache_files(key, _models())[0].exists()


def _jobs(data: Dataset, cells: Sequence[Cell]) -> list[_Job]:
    rows = [(cell, cell.settings, cell.split(data)) for cell in cells]
    return [_Job(cell, of, s, features(data, s)) for cell, of, s in rows if isinstance(of, Settings)]


def _models() -> Path:
    return store.cache_folder() / "models"


def _train(jobs: Sequence[_Job], progress: bool) -> list[Trained]:
    return train_stack([job.inputs() for job in jobs], jobs[0].settings, _models(), progress, jobs[0].stack_size())


def run_trials(data: Dataset, cells: Sequence[Cell]) -> list[Trial]:
    """Split, train (or fetch from the cache), fit the pathway on the training rows, score the test rows.

    What the cache lacks trains first: as stacks of replicas where these are faster, and on a CPU side by side,
    ``threads`` cores each. A model's numbers do not depend on how many cores there are.
    """
    jobs = _jobs(data, cells)
    _train_missing([job for job in jobs if not job.is_trained()])
    return [job.scored(data, _train([job], progress=True)[0]) for job in jobs]


def run_trial(data: Dataset, cell: Cell) -> Trial:
    """``run_trials`` for one cell."""
    return run_trials(data, [cell])[0]


def _train_missing(jobs: Sequence[_Job]) -> None:
    if not jobs:
        return
    device = resolve_device(jobs[0].settings.device)
    size = jobs[0].stack_size()
    stacks: list[list[_Job]] = []
    for settings in dict.fromkeys(job.settings for job in jobs):
        alike = [job for job in jobs if job.settings == settings]
        stacks += [alike[i : i + size] for i in range(0, len(alike), size)]
    threads = max(job.settings.threads for job in jobs)
    at_once = max(1, min(len(stacks), cpu_count() // threads)) if device.type == "cpu" else 1
    if at_once == 1:
        for stack in stacks:
            _train(stack, progress=True)
        return
    say(f"{len(jobs)} models to train, {at_once} processes")
    done, start = 0, time.monotonic()
    work = (delayed(_train)(stack, progress=False) for stack in stacks)
    for trained in Parallel(n_jobs=at_once, return_as="generator_unordered")(work):
        done += len(trained)
        minutes = (time.monotonic() - start) / done * (len(jobs) - done) / 60
        say(f"{done} of {len(jobs)} models trained, about {minutes:.0f} min left")


def scored(data: Dataset, cell: Cell, rows: Split, x: np.ndarray, trained: Trained) -> Trial:
    """Fit a trained model's pathway on the training rows of x (N, n_features), score the test rows."""
    trial = Trial(data=data, cell=cell, split=rows, features=x, trained=trained, whitening=Whitening())
    with pinned(SCORING_THREADS):
        trial.pathway(whitening=trial.whitening).fit(trial.x("train"))
    trial.score_test()
    return trial


def run_rivals(data: Dataset, cells: Sequence[Cell]) -> Iterator[RivalTrial]:
    """Fit each rival on the training rows of its cell (or fetch it from the cache), score the test rows."""
    return _rivals(data, cells, _models())


def _rivals(data: Dataset, cells: Sequence[Cell], cache: Path | None) -> Iterator[RivalTrial]:
    for cell in cells:
        assert isinstance(cell.settings, RivalSettings)
        rows = cell.split(data)
        x = features(data, rows)
        detector = baselines.build(cell.settings, data.image_shape)
        detector.fit(x[rows.train], x[rows.val], cell.seed, cache)
        trial = RivalTrial(data=data, cell=cell, split=rows, features=x, detector=detector)
        trial.score_test()
        yield trial


def run_stack(data: Dataset, cells: Sequence[Cell], models: Path | None, fill: int = 0) -> Iterator[Trial]:
    """``run_trials`` for autoencoders trained as one stack, with a cache of the caller's or none, in the cells' order.

    Cells whose settings differ in their epochs alone are one run, scored on its way; other settings must be equal.

    Args:
        data, cells: as for ``run_trials``.
        models: folder of the cache.
        fill: how many networks the stack has at least; 0 for what ``replicas.stack_size`` says.
    """
    jobs = _jobs(data, cells)
    settings = max((job.settings for job in jobs), key=lambda settings: settings.epochs)
    runs = {(job.cell.target, job.cell.seed, job.cell.contamination): job for job in jobs}
    marks = {job.settings.epochs for job in jobs} - {settings.epochs}
    inputs = [job.inputs() for job in runs.values()]
    trained = train_stack(inputs, settings, models, False, fill or jobs[0].stack_size(), marks)
    of_run = dict(zip(runs, trained, strict=True))
    for job in jobs:
        whole = of_run[job.cell.target, job.cell.seed, job.cell.contamination]
        yield job.scored(data, whole.earlier.get(job.settings.epochs, whole))


def run_cells(data: Dataset, cells: Sequence[Cell], cache: Path | None = None, fill: int = 0) -> Iterator[Scored]:
    """Cells of autoencoders (``run_stack``) or of a rival, with a model cache of the caller's or none."""
    if isinstance(cells[0].settings, RivalSettings):
        return _rivals(data, cells, cache)
    return run_stack(data, cells, cache, fill)


def rows_of(trials: Iterable[Scored]) -> pd.DataFrame:
    """The tidy rows of several trials."""
    return pd.concat([trial.rows() for trial in trials], ignore_index=True)


def sap_and_nap(d_train: torch.Tensor, d_test: torch.Tensor) -> dict[str, np.ndarray]:
    """SAP and NAP, (N,) each, of test differences (N, D), with NAP fitted on training differences (M, D)."""
    whitening = Whitening().fit(d_train.split(4096))
    return {name: of.numpy(force=True) for name, of in (("sap", sap(d_test)), ("nap", nap(d_test, whitening)))}
