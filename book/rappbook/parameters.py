"""The check of everything that a notebook's parameters can get wrong, before anything is trained."""

from pathlib import Path
from typing import Any

from rapp import detectors
from rapp.config import ParameterError, check_name, resolve_device
from rapp.data import Dataset, as_two_classes, load
from rapp.data.user_table import is_table, say_once
from rapp.splits import SETTINGS, split
from rappbook import published
from rappbook.chapters import your_rows

FEW = 2_000  # rows; of fewer, all other classes take their turn


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
    protocol: str = "shuffled",
    **changes: Any,
) -> Dataset:
    """The data set that a notebook's parameters name, once all of these are checked; nothing is trained yet.

    Args: the notebooks' own (``results``: a profile whose published rows are shown), and ``images``: whether the data
        must be images.

    Raises:
        ParameterError, data.DataError: one line that names the value and what is allowed.
    """
    data = load(dataset, label)
    if images and data.image_shape is None:
        raise ParameterError(f"{data.name} is a table, and this chapter needs images")
    novel = data.target(target)
    if target is None and is_table(dataset) and not data.normal:
        chosen = f"{novel!r}, the rarest class ({(data.y == novel).sum()} of {len(data)} rows)"
        say_once(
            Path(dataset).expanduser(), f'novel is {chosen}; another: PARAMS="target=…"; or NORMAL=…, what is normal'
        )
    if data.normal and is_table(dataset):
        n_normal = (data.y == data.normal).sum()
        say_once(Path(dataset).expanduser(), f"normal is {data.normal!r}, as you said ({n_normal} of {len(data)} rows)")
    if data.normal and novel == data.normal and setting == "multimodal":
        raise ParameterError(f"target={target!r} is the class that is normal; leave it out, and all else is novel")
    other_classes(data, novel, others)
    config = detectors.config_for(profile, data, "vae", **changes)
    check_name(results)
    published.adbench(protocol)
    if setting not in SETTINGS:
        raise ParameterError(f"setting {setting!r} is unknown; allowed: {', '.join(SETTINGS)}")
    _check_seeds(seeds)
    try:
        resolve_device(config.device)
        split(data.y, novel, setting, contamination=contamination)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{data.name}: {error}") from error
    if other is not None and data.image_shape is not None:
        as_two_classes(data, other)
    return data


def check_rows(dataset: str, profile: str = "quick", seeds: int = 1) -> Dataset:
    """The table without labels that a notebook's parameters name; it raises as ``check``."""
    data = your_rows.read(str(dataset))
    detectors.config_for(profile, data, "vae")
    _check_seeds(seeds)
    return data


def _check_seeds(seeds: object) -> None:
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise ParameterError(f"seeds={seeds!r} must be a whole number of at least 1")


def other_classes(data: Dataset, target: str, chosen: str | None = None) -> list[str]:
    """The classes other than the target that take their turn as the novel one; none if only one class can be novel.

    Args:
        data: the data set.
        target: the class to leave out.
        chosen: labels or names, separated by spaces; "all"; or None for all of a very small data set and, to save
            time, the first and last of others.
    """
    if data.normal:
        return []
    others = [label for label in data.classes if label != target]
    if chosen is None and len(data) >= FEW:
        return list(dict.fromkeys([others[0], others[-1]]))
    if chosen in (None, "all"):
        return others
    named = [data.target(name) for name in str(chosen).split()]
    return [label for label in named if label != target]
