"""From names to rows: one trial is a data set, a setting, a target class, a model and a seed.

Profiles fix the training settings, so that a page can name them in one word:

- ``tiny``: seconds a notebook, for tests; its numbers mean nothing.
- ``quick``: the default. On small data a shallower network in small batches; on full data the paper's network
  for fewer epochs.
- ``paper``: the protocol of the paper.
"""

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, cpu_count, delayed

from rapp import datasets, evaluation, store
from rapp.datasets import CHECKSUMS, Dataset
from rapp.pathway import Pathway, Whitening, encode, nap, sap
from rapp.splits import SETTINGS, Split, split
from rapp.training import Run, Settings, Trained, cache_files, model_key, pinned, resolve_device, say, train

SMALL = 10_000  # rows; below, `quick` uses a network of its own
PROFILES: dict[str, dict[str, Any]] = {
    "tiny": {"n_layers": 3, "bottleneck": 8, "samples": 1, "epochs": 2, "batch": 64, "threads": 1},
    "quick": {"epochs": 40, "precision": "bfloat16", "threads": 1},
    "quick, small data": {"n_layers": 5, "samples": 1, "epochs": 30, "batch": 32, "threads": 1},
    "paper": {"epochs": 200},
}
SHOWN = ("n_layers", "bottleneck", "samples", "epochs", "batch", "lr", "precision", "compile", "threads")
SCORING_THREADS = 2  # pinned as in training; what is left of a core more or less is in the seventh digit
TEST_SAMPLES = 10  # stochastic reconstructions that the VAE averages to score (authors' code)


class ParameterError(ValueError):
    """A parameter with a value that is not allowed; the message names both."""


def settings_for(profile: str, dataset: str | Dataset, model: str = "vae", **changes: Any) -> Settings:
    """The training settings of a profile for a data set, with changes by name; a change of None changes nothing.

    Raises:
        ParameterError: naming the parameter, its value and what is allowed.
    """
    names = [name for name in PROFILES if "," not in name]
    if profile not in names:
        raise ParameterError(f"profile {profile!r} is unknown; allowed: {', '.join(names)}")
    known = {f.name for f in fields(Settings)} - {"model"}
    if unknown := sorted(set(changes) - known):
        raise ParameterError(f"parameter {unknown[0]!r} is unknown; allowed: {', '.join(sorted(known))}")
    small = profile == "quick" and len(_dataset(dataset)) < SMALL
    values = PROFILES["quick, small data" if small else profile]
    changes = {name: value for name, value in changes.items() if value is not None}
    try:
        return replace(Settings(model=model), **{**values, **changes})
    except ValueError as error:
        raise ParameterError(str(error)) from error


def _dataset(dataset: str | Dataset) -> Dataset:
    return datasets.load(dataset) if isinstance(dataset, str) else dataset


@dataclass(frozen=True)
class Cell:
    """What a trial is made of, but for the data."""

    settings: Settings
    target: str
    seed: int = 0
    setting: str = "multimodal"
    novelty_ratio: float | None = None  # None: the paper's

    def split(self, data: Dataset) -> Split:
        """This cell's rows of a data set."""
        return split(data.y, self.target, self.setting, self.seed, self.novelty_ratio)

    def train(self, data: Dataset, cache: Path, progress: bool = True) -> Trained:
        """Train this cell's model, or fetch it from the cache."""
        return train(*self.inputs(data), self.settings, self.seed, cache, progress)

    def is_trained(self, data: Dataset) -> bool:
        """Whether the cache has this cell's model."""
        key = model_key(*self.inputs(data), self.settings, self.seed)
        return cache_files(key, _models())[0].exists()

    def estimate(self, data: Dataset) -> float:
        """Seconds that training will take, roughly."""
        with pinned(self.settings.threads):
            return Run(*self.inputs(data), self.settings, self.seed).estimate() * self.settings.epochs

    def inputs(self, data: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
        """Training and validation rows."""
        rows = self.split(data)
        return torch.from_numpy(data.x[rows.train]), torch.from_numpy(data.x[rows.val])


def _models() -> Path:
    return store.cache_folder() / "models"


@dataclass
class Trial:
    """One trained and scored cell."""

    data: Dataset = field(repr=False)
    cell: Cell
    split: Split = field(repr=False)
    trained: Trained
    whitening: Whitening = field(repr=False)
    scores: dict[str, np.ndarray] = field(default_factory=dict, repr=False)  # of the test rows, higher = more novel

    def x(self, part: str) -> torch.Tensor:
        """The rows of ``train``, ``val`` or ``test`` in the model's dtype and on its device."""
        like = next(self.trained.model.parameters())
        return torch.from_numpy(self.data.x[getattr(self.split, part)]).to(like)

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


def run_trial(data: Dataset, cell: Cell, progress: bool = True) -> Trial:
    """Split, train (or fetch from the cache), fit the pathway on the training rows, score the test rows."""
    trial = Trial(data, cell, cell.split(data), cell.train(data, _models(), progress), Whitening())
    with pinned(SCORING_THREADS):
        trial.pathway(whitening=trial.whitening).fit(trial.x("train"))
    trial.scores = trial.scores_of("test")
    return trial


def run_trials(data: Dataset, cells: Sequence[Cell]) -> list[Trial]:
    """``run_trial`` for several cells. Models not yet in the cache train side by side, ``threads`` cores each.

    A model's numbers do not depend on how many train at once.
    """
    missing = [cell for cell in cells if not cell.is_trained(data)]
    jobs = 1
    if missing and resolve_device(missing[0].settings.device).type == "cpu":
        jobs = max(1, min(len(missing), cpu_count() // max(cell.settings.threads for cell in missing)))
    if jobs > 1:
        seconds = sum(cell.estimate(data) for cell in missing)
        say(f"{len(missing)} models to train, {jobs} at a time: about {seconds / jobs / 60:.0f} min or more")
        work = (delayed(cell.train)(data, _models(), progress=False) for cell in missing)
        for n, _ in enumerate(Parallel(n_jobs=jobs, return_as="generator_unordered")(work), 1):
            say(f"{n} of {len(missing)} models trained")
    return [run_trial(data, cell) for cell in cells]


def rows_of(trials: Iterable[Trial]) -> pd.DataFrame:
    """The tidy rows of several trials."""
    return pd.concat([trial.rows() for trial in trials], ignore_index=True)


def check(
    dataset: str,
    profile: str,
    target: object,
    seeds: int,
    setting: str = "multimodal",
    others: str | None = None,
    **changes: Any,
) -> None:
    """Everything that a notebook's parameters can get wrong, before anything is trained.

    Raises:
        ParameterError, datasets.DataError: one line that names the value and what is allowed.
    """
    data = datasets.load(dataset)
    other_classes(data, data.target(target), others)
    settings = settings_for(profile, data, **changes)
    try:
        resolve_device(settings.device)
    except ValueError as error:
        raise ParameterError(str(error)) from error
    if setting not in SETTINGS:
        raise ParameterError(f"setting {setting!r} is unknown; allowed: {', '.join(SETTINGS)}")
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise ParameterError(f"seeds={seeds!r} must be a whole number of at least 1")


def other_classes(data: Dataset, target: str, chosen: str | None = None) -> list[str]:
    """The classes that take their turn as the novel one beside the target.

    Args:
        data: the data set.
        target: the class to leave out.
        chosen: labels or names, separated by spaces; "all"; or None for all of a small data set and, to save
            hours, the first and last of a large one.
    """
    others = [label for label in data.classes if label != target]
    if chosen is None and len(data) >= SMALL:
        return [others[0], others[-1]]
    if chosen in (None, "all"):
        return others
    named = [data.target(name) for name in str(chosen).split()]
    return [label for label in named if label != target]


@pinned(SCORING_THREADS)
def layer_aurocs(trial: Trial) -> pd.DataFrame:
    """AUROC of SAP and NAP from each layer alone and from layers 1 up to it: score, layers, layer, auroc, seed."""
    n_layers = trial.cell.settings.n_layers
    every = range(n_layers + 1)
    d_train, d_test = (trial.pathway(every).differences(trial.x(part)) for part in ("train", "test"))
    sizes = [h.shape[1] for h in encode(trial.trained.model.encoder, trial.x("test")[:2])[0]]
    ends = np.cumsum([0, *sizes])
    rows = []
    for layer in every:
        for which, first in (("alone", layer), ("up to", 1)):
            columns = slice(ends[first], ends[layer + 1])
            if columns.start == columns.stop:  # layers 1 up to 0: none
                continue
            d = d_test[:, columns]
            scores = {"sap": sap(d), "nap": nap(d, Whitening().fit(d_train[:, columns].split(4096)))}
            for name, values in scores.items():
                auroc = evaluation.auroc(trial.split.is_novel, values.cpu())
                rows.append({"score": name, "layers": which, "layer": layer, "auroc": auroc, "seed": trial.cell.seed})
    return pd.DataFrame(rows)


def made_with(trials: Sequence[Trial], profile: str, seconds: float) -> pd.DataFrame:
    """What a page's numbers came from, as a table of two columns: parameters, data, device, seconds, versions."""
    data, cells = trials[0].data, [trial.cell for trial in trials]
    by_model = {cell.settings.model: cell.settings for cell in cells}
    settings = {name: getattr(next(iter(by_model.values())), name) for name in SHOWN}
    paper = Settings()
    stated = {name: getattr(paper, name) for name in ("n_layers", "samples", "batch", "lr")}
    differs = {name: f" (the paper: {value})" for name, value in stated.items() if settings[name] != value}
    trained = {id(trial.trained): trial.trained.seconds for trial in trials}
    about = {
        "data set": f"{data.name}: {len(data):,} rows × {data.x.shape[1]} features ({data.source})",
        "SHA-256 of the data": (CHECKSUMS.get(data.name) or store.sha256(data.x, data.y.astype("S")))[:16] + "…",
        "setting": f"{cells[0].setting}, target class {data.class_name(cells[0].target)}",
        "profile": profile,
        "models": f"{', '.join(model.upper() for model in by_model)}; {len(trials)} trained",
        "seeds": ", ".join(str(seed) for seed in sorted({cell.seed for cell in cells})),
        **{name: f"{value}{differs.get(name, '')}" for name, value in settings.items()},
        "samples to score": f"{TEST_SAMPLES} (VAE)",
        "device": f"{trials[0].trained.device}, {platform.machine()}, {cpu_count()} cores",
        "seconds": f"{sum(trained.values()):.0f} of training (one after the other), {seconds:.0f} for this page",
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }
    return pd.DataFrame({"what": about.keys(), "value": about.values()})


def versions() -> dict[str, str]:
    """Versions that numbers depend on."""
    from importlib.metadata import version

    packages = ("torch", "torchvision", "scikit-learn", "numpy", "mlxtend", "rapp")
    return {"Python": platform.python_version(), **{name: version(name) for name in packages}}
