"""Training settings by name, and the check of everything that a notebook's parameters can get wrong.

- ``tiny``: seconds a notebook, for tests; its numbers mean nothing.
- ``quick``: the default. On small data a shallower network in small batches; on full data the paper's network
  for fewer epochs.
- ``paper``: the protocol of the paper.
"""

import ast
import shlex
from dataclasses import fields, replace
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from rapp import baselines, datasets
from rapp.datasets import Dataset
from rapp.settings import RivalSettings, Settings, resolve_device
from rapp.splits import SETTINGS, split

SMALL = 10_000  # rows; below, `quick` uses a network of its own
PROFILES: dict[str, dict[str, Any]] = {
    "tiny": {"n_layers": 3, "bottleneck": 8, "samples": 1, "epochs": 2, "batch": 64, "threads": 1},
    "quick": {"epochs": 40, "precision": "bfloat16", "threads": 1},
    "quick, small data": {"n_layers": 5, "samples": 1, "epochs": 20, "batch": 32, "threads": 1},
    "paper": {"epochs": 100, "threads": 1},  # the paper says only that the epoch of the lowest validation loss is kept
}
# Of a table's variance, by as many principal components as its bottleneck is wide: our choice, the paper is silent.
EXPLAINED = 0.9


class ParameterError(ValueError):
    """A parameter with a value that is not allowed; the message names both."""


def parse(pairs: str) -> dict[str, object]:
    """``target=8 epochs=30`` → a dict; a value that is no Python literal is text."""
    values = {}
    try:
        words = shlex.split(pairs)
    except ValueError as error:
        raise ParameterError(f"PARAMS: {pairs!r}: {error}") from error
    for pair in words:
        name, equals, text = pair.partition("=")
        if not equals or not text:
            raise ParameterError(f"PARAMS: {pair!r} must have the form name=value")
        if name in ("dataset", "profile", "label"):
            raise ParameterError(f"PARAMS: say {name.upper()}={text} instead of {pair!r}")
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError):
            values[name] = text
    return values


def check_name(profile: str) -> None:
    """Raises a ``ParameterError`` for what is not the name of a profile."""
    names = [name for name in PROFILES if "," not in name]
    if profile not in names:
        raise ParameterError(f"profile {profile!r} is unknown; allowed: {', '.join(names)}")


def settings_for(profile: str, data: str | Dataset, model: str = "vae", **changes: Any) -> Settings:
    """The training settings of a profile for a data set, with changes by name; a change of None changes nothing.

    Raises:
        ParameterError: naming the parameter, its value and what is allowed.
    """
    check_name(profile)
    known = {f.name for f in fields(Settings)} - {"model"}
    if unknown := sorted(set(changes) - known):
        raise ParameterError(f"parameter {unknown[0]!r} is unknown; allowed: {', '.join(sorted(known))}")
    data = datasets.load(data) if isinstance(data, str) else data
    small = profile == "quick" and len(data) < SMALL
    values = dict(PROFILES["quick, small data" if small else profile])
    if data.image_shape is None:
        values["bottleneck"] = bottleneck(data.x)
    values |= {name: value for name, value in changes.items() if value is not None}
    try:
        return replace(Settings(model=model), **values)
    except ValueError as error:
        raise ParameterError(str(error)) from error


def rival_for(profile: str, data: Dataset, name: str, **changes: Any) -> RivalSettings:
    """The settings of a rival (``rapp.baselines``) for a data set; linear ones are as wide as an autoencoder's code.

    Raises:
        ParameterError: naming the value and what is allowed.
    """
    check_name(profile)
    rival = baselines.RIVALS[name]
    if rival.of.NEEDS_IMAGES and data.image_shape is None:
        raise ParameterError(f"{name} needs images, and {data.name} is a table")
    if data.image_shape is None and "n_components" in rival.allowed():
        changes = {"n_components": bottleneck(data.x)} | changes
    try:
        return baselines.settings(name, profile, **changes)
    except ValueError as error:
        raise ParameterError(str(error)) from error


def bottleneck(x: np.ndarray) -> int:
    """How many principal components explain 90 % of the variance of standardised features x (N, n_features)."""
    ratios = PCA().fit(StandardScaler().fit_transform(x)).explained_variance_ratio_
    return int(np.searchsorted(np.cumsum(ratios), EXPLAINED) + 1)


def check(
    dataset: str = "mnist-5k",
    profile: str = "quick",
    target: object = None,
    seeds: int = 1,
    setting: str = "multimodal",
    others: str | None = None,
    label: str | None = None,
    other: str | None = None,
    contamination: float = 0.0,
    results: str = "paper",
    images: bool = False,
    **changes: Any,
) -> Dataset:
    """Everything that a notebook's parameters can get wrong, before anything is trained.

    Args: those of the notebooks (``results``: a profile whose published rows are shown); ``images`` says that nothing
        but images will do.

    Returns:
        The data set, for it had to be loaded.

    Raises:
        ParameterError, datasets.DataError: one line that names the value and what is allowed.
    """
    data = datasets.load(dataset, label)
    if images and data.image_shape is None:
        raise ParameterError(f"{data.name} is a table, and this chapter needs images")
    novel = data.target(target)
    other_classes(data, novel, others)
    settings = settings_for(profile, data, **changes)
    settings_for(results, data)
    if setting not in SETTINGS:
        raise ParameterError(f"setting {setting!r} is unknown; allowed: {', '.join(SETTINGS)}")
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise ParameterError(f"seeds={seeds!r} must be a whole number of at least 1")
    try:
        resolve_device(settings.device)
        split(data.y, novel, setting, contamination=contamination)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{data.name}: {error}") from error
    if other is not None and data.image_shape is not None:
        datasets.beside(data, other)
    return data


def other_classes(data: Dataset, target: str, chosen: str | None = None) -> list[str]:
    """The classes that take their turn as the novel one beside the target: none if only one class can be novel.

    Args:
        data: the data set.
        target: the class to leave out.
        chosen: labels or names, separated by spaces; "all"; or None for all of a small data set and, to save
            hours, the first and last of a large one.
    """
    if data.normal:
        return []
    others = [label for label in data.classes if label != target]
    if chosen is None and len(data) >= SMALL:
        return list(dict.fromkeys([others[0], others[-1]]))
    if chosen in (None, "all"):
        return others
    named = [data.target(name) for name in str(chosen).split()]
    return [label for label in named if label != target]
