"""What a page's numbers came from, as a table at its end: parameters, data, device, seconds, versions."""

from collections.abc import Sequence

import pandas as pd

from rapp.datasets import Dataset
from rapp.provenance import checksum, machine, versions
from rapp.settings import RivalSettings, Settings
from rapp.trials import TEST_SAMPLES, Scored, Trial

SHOWN = ("n_layers", "bottleneck", "samples", "epochs", "batch", "lr", "precision", "compile", "threads")


def made_with(trials: Sequence[Trial], profile: str, seconds: float) -> pd.DataFrame:
    """What a page's numbers came from, as a table of two columns: parameters, data, device, seconds, versions."""
    data, cells = trials[0].data, [trial.cell for trial in trials]
    by_model = {cell.settings.model: cell.settings for cell in cells}
    settings = {name: getattr(next(iter(by_model.values())), name) for name in SHOWN}
    paper = Settings()
    stated = {name: getattr(paper, name) for name in ("n_layers", "samples", "batch", "lr")}
    differs = {name: f" (the paper: {value})" for name, value in stated.items() if settings[name] != value}
    stack = trials[0].stack
    trained = {id(trial.trained): trial.trained.seconds for trial in trials}
    about = {
        **about_data(data),
        "setting": f"{cells[0].setting}, target class {data.class_name(cells[0].target)}",
        "profile": profile,
        "models": f"{', '.join(model.upper() for model in by_model)}; {len(trials)} trained",
        "seeds": ", ".join(str(seed) for seed in sorted({cell.seed for cell in cells})),
        **{name: f"{value}{differs.get(name, '')}" for name, value in settings.items()},
        **({"replicas": f"{stack} networks train as one stack (copies fill it up)"} if stack > 1 else {}),
        "samples to score": f"{TEST_SAMPLES} (VAE)",
        "device": f"{trials[0].trained.device}, {machine()}",
        "seconds": f"{sum(trained.values()):.0f} of training (one after the other), {seconds:.0f} for this page",
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }
    return pd.DataFrame({"what": about.keys(), "value": about.values()})


def made_with_rivals(trials: Sequence[Scored], profile: str, seconds: float) -> pd.DataFrame:
    """``made_with`` for a page of rivals: each model's settings are on a line of its own."""
    settings = {of.model: of for of in (trial.cell.settings for trial in trials)}
    options = {
        name: of.options if isinstance(of, RivalSettings) else [(option, getattr(of, option)) for option in SHOWN]
        for name, of in settings.items()
    }
    tested = dict.fromkeys((trial.cell.setting, trial.data.class_name(trial.cell.target)) for trial in trials)
    about = {
        **about_data(trials[0].data),
        "settings": "; ".join(f"{setting}, target class {target}" for setting, target in tested),
        "profile": profile,
        "seeds": ", ".join(str(seed) for seed in sorted({trial.cell.seed for trial in trials})),
        **{name: ", ".join(f"{option} {value}" for option, value in of) for name, of in options.items()},
        "device": f"{', '.join(sorted({trial.device for trial in trials}))}, {machine()}",
        "seconds": f"{sum(trial.seconds for trial in trials):.0f} of training, {seconds:.0f} for this page",
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }
    return pd.DataFrame({"what": about.keys(), "value": about.values()})


def made_without_networks(data: Dataset, seconds: float, **settings: object) -> pd.DataFrame:
    """``made_with`` for a page that trains no network."""
    about = {
        **about_data(data),
        **settings,
        "device": machine(),
        "seconds": f"{seconds:.0f}",
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }
    return pd.DataFrame({"what": about.keys(), "value": map(str, about.values())})


def about_data(data: Dataset) -> dict[str, str]:
    """Name, size, source and checksum of a data set, and what was left out of a table."""
    about = {
        "data set": f"{data.name}: {len(data):,} rows × {data.x.shape[1]} features ({data.source})",
        "SHA-256 of the data": f"{checksum(data)[:16]}…",
    }
    return about | ({"notes on the data": "; ".join(data.notes)} if data.notes else {})
