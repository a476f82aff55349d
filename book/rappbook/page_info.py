"""What a page's numbers came from, as a table at its end: parameters, data, device, seconds, versions."""

from collections.abc import Sequence

import pandas as pd

from rapp.config import TrainingConfig
from rapp.data import Dataset
from rapp.detectors import Config
from rapp.detectors.autoencoder import TEST_SAMPLES
from rapp.experiment import Trial
from rapp.provenance import checksum, machine, versions

SHOWN = ("n_layers", "bottleneck", "samples", "epochs", "batch", "lr", "precision", "compile", "threads")
STATED = ("n_layers", "samples", "batch", "lr")  # of these, what paper or authors state


def made_with(trials: Sequence[Trial], profile: str, seconds: float) -> pd.DataFrame:
    """What a page's numbers came from, as a table of two columns; each model's options are on a line of its own."""
    configs = {trial.cell.config.model: trial.cell.config for trial in trials}
    tested: dict[str, dict[str, None]] = {}  # setting → its target classes, in their order
    for trial in trials:
        tested.setdefault(trial.cell.setting, {})[trial.data.class_name(trial.cell.target)] = None
    trained = {id(trial.detector): trial.detector.seconds for trial in trials}
    stack = max(trial.detector.stack for trial in trials)
    about: dict[str, object] = {
        **about_data(trials[0].data),
        "settings": "; ".join(f"{setting}, target class {', '.join(names)}" for setting, names in tested.items()),
        "profile": profile,
        "models": f"{len(trained)} trained",
        "seeds": ", ".join(str(seed) for seed in sorted({trial.cell.seed for trial in trials})),
        **{name: _in_words(config) for name, config in configs.items()},
        **({"stacks": f"{stack} networks train side by side (copies fill a stack up)"} if stack > 1 else {}),
        "device": f"{', '.join(sorted({trial.detector.where for trial in trials}))}, {machine()}",
        "seconds": f"{sum(trained.values()):.0f} of training (one after the other), {seconds:.0f} for this page",
    }
    return as_table(about)


def as_table(about: dict[str, object]) -> pd.DataFrame:
    """Facts about a page as a table of two columns, the versions of libraries last."""
    about = about | {"versions": ", ".join(f"{name} {number}" for name, number in versions().items())}
    return pd.DataFrame({"what": about.keys(), "value": map(str, about.values())})


def _in_words(config: Config) -> str:
    """A detector's options; those of an autoencoder that differ from what the paper states say so."""
    if not isinstance(config, TrainingConfig):
        return ", ".join(f"{option} {value}" for option, value in config.options)
    paper = TrainingConfig()
    words = []
    for option in SHOWN:
        value, stated = getattr(config, option), getattr(paper, option)
        if option != "samples" or config.model == "vae":
            differs = option in STATED and value != stated
            words.append(f"{option} {value} (the protocol: {stated})" if differs else f"{option} {value}")
    words += [f"hidden {'-'.join(map(str, config.hidden))} (the protocol: in equal steps)"] if config.hidden else []
    return ", ".join(words) + (f", samples to score {TEST_SAMPLES}" if config.model == "vae" else "")


def made_without_networks(data: Dataset, seconds: float, **settings: object) -> pd.DataFrame:
    """``made_with`` for a page that trains no network."""
    return as_table({**about_data(data), **settings, "device": machine(), "seconds": f"{seconds:.0f}"})


def about_data(data: Dataset) -> dict[str, str]:
    """Name, size, source and checksum of a data set, and what was left out of a table."""
    about = {
        "data set": f"{data.name}: {len(data):,} rows × {data.x.shape[1]} features ({data.source})",
        "SHA-256 of the data": f"{checksum(data)[:16]}…",
    }
    return about | ({"notes on the data": "; ".join(data.notes)} if data.notes else {})
