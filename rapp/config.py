"""The training config, profiles (configs by name), and the device that a run computes on."""

import ast
import math
import shlex
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch

MODEL_NAMES = ("ae", "vae", "aae")  # of ``models.MODELS``
LAYER_KINDS = ("paper", "reimplementation")  # of ``models.KINDS``
PRECISIONS = ("float32", "bfloat16", "float64")
DEVICES = ("auto", "cpu", "cuda", "mps")

SMALL = 10_000  # rows; below, `quick` uses a network of its own
# - tiny: seconds a notebook, for tests; its numbers mean nothing.
# - quick: the default. On small data a shallower and narrower network in small batches, on full data the paper's for
#   fewer epochs.
# - paper: the protocol of the paper, which says only that the epoch of the lowest validation loss is kept.
PROFILES: dict[str, dict[str, Any]] = {
    "tiny": {"n_layers": 3, "bottleneck": 8, "samples": 1, "epochs": 2, "batch": 64, "threads": 1},
    "quick": {"epochs": 40, "precision": "bfloat16", "threads": 1},
    "quick, small data": {"n_layers": 4, "samples": 1, "epochs": 40, "batch": 32, "threads": 1},
    "paper": {"epochs": 100, "threads": 1},
}


class ParameterError(ValueError):
    """A parameter with a value that is not allowed; the message names both.

    Examples:
        >>> from rapp import detectors
        >>> detectors.make("vea")
        Traceback (most recent call last):
        rapp.config.ParameterError: model 'vea' is unknown; allowed: ae, vae, ...
    """


def parse(pairs: str) -> dict[str, object]:
    """Parameters from a text such as ``target=8 epochs=30``, by name; other words raise a ``ParameterError``.

    A value that is no Python literal stays text.
    """
    values = {}
    try:
        words = shlex.split(pairs)
    except ValueError as error:
        raise ParameterError(f"PARAMS: {pairs!r}: {error}") from error
    for pair in words:
        name, equals, text = pair.partition("=")
        if not equals or not text:
            raise ParameterError(f"PARAMS: {pair!r} must have the form name=value")
        if name in ("dataset", "profile", "label", "normal"):
            raise ParameterError(f"PARAMS: say {name.upper()}={text} instead of {pair!r}")
        if name in values:
            raise ParameterError(f"PARAMS: {pair!r} is the second value of {name}; say one")
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError):
            values[name] = text
    return values


def check_name(profile: str) -> None:
    """Raise a ``ParameterError`` if no profile has this name."""
    names = [name for name in PROFILES if "," not in name]
    if profile not in names:
        raise ParameterError(f"profile {profile!r} is unknown; allowed: {', '.join(names)}")


def plain(value: Any) -> Any:
    """A number as Python's own: NumPy's, as ``np.arange`` gives it, is no int and cannot be written as JSON."""
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class TrainingConfig:
    """All that decides a training run but data and seed; the defaults are the paper's protocol (book/protocol.md).

    Raises:
        ParameterError: naming the value and what is allowed.

    Examples:
        >>> from rapp.config import TrainingConfig
        >>> TrainingConfig(model="vae", epochs=30).bottleneck
        20
    """

    model: str = "ae"  #: "ae", "vae" or "aae"
    n_layers: int = 10  #: of encoder and decoder each
    bottleneck: int = 20  #: width k of the code
    hidden: tuple[int, ...] | None = None  #: the widths between input and code; None interpolates them
    layers: str = "paper"  #: or "reimplementation", with batch norm first, and on the last layers, too
    samples: int = 10  #: Monte-Carlo samples a step, of a VAE
    epochs: int = 100  #: passes over the training rows
    batch: int = 256  #: rows a step
    lr: float = 1e-3  #: of Adam
    precision: str = "float32"  #: or "bfloat16" (autocast), "float64"
    compile: bool = False  #: by torch.compile: starts slower, steps faster; not in bfloat16 without units for it
    threads: int = 2  #: pinned, for the last digits depend on it
    device: str = "auto"  #: "cuda" or "mps" where there is one, else "cpu"; or any of the three

    def __post_init__(self) -> None:
        for option in fields(self):
            object.__setattr__(self, option.name, plain(getattr(self, option.name)))
        allowed = {"model": MODEL_NAMES, "layers": LAYER_KINDS, "precision": PRECISIONS, "device": DEVICES}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ParameterError(f"{name}={getattr(self, name)!r} is unknown; allowed: {', '.join(values)}")
        why = {"batch": ": batch normalisation cannot train on one row", "samples": " (0 trains on μ alone)"}
        least = {"n_layers": 1, "bottleneck": 1, "epochs": 1, "batch": 2, "threads": 1, "samples": 0}
        for name, low in least.items():
            if not is_whole(value := getattr(self, name)) or value < low:
                raise ParameterError(f"{name}={value!r} must be a whole number of at least {low}{why.get(name, '')}")
        if self.hidden is not None:
            if (
                not isinstance(self.hidden, tuple | list)
                or len(self.hidden) != self.n_layers - 1
                or not all(is_whole(width) and width > 0 for width in self.hidden)
            ):
                raise ParameterError(f"hidden={self.hidden!r} must be {self.n_layers - 1} positive widths (n_layers−1)")
            object.__setattr__(self, "hidden", tuple(int(width) for width in self.hidden))
        if not (isinstance(self.lr, Real) and 0 < self.lr < math.inf):
            raise ParameterError(f"lr={self.lr!r} must be a positive number")
        object.__setattr__(self, "lr", float(self.lr))


def is_whole(value: object) -> bool:
    """Whether this is an integer, NumPy's included; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def resolve_device(name: str) -> torch.device:
    """The device of a name: "auto" is cuda, else mps, else cpu; a named one that is absent raises a ``ValueError``."""
    if name not in DEVICES:
        raise ParameterError(f"device={name!r} is unknown; allowed: {', '.join(DEVICES)}")
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in present.items() if there)
    if not present[name]:
        raise ParameterError(f"device={name!r} is not present on this machine; use 'auto' or 'cpu'")
    return torch.device(name)


@dataclass(frozen=True)
class DetectorOptions:
    """All that decides a detector but data and seed: its name and its options; an autoencoder has a ``TrainingConfig``.

    Both can be asked for ``model``, ``epochs``, ``precision``, ``device`` and ``threads``.
    """

    model: str  # its name in ``detectors.DETECTORS``
    options: tuple[tuple[str, object], ...] = ()  # sorted by name
    device: str = "auto"
    threads: int = 1
    precision: ClassVar[str] = "float32"

    @property
    def epochs(self) -> int:
        """Passes over the training rows; 0 if it does not learn in passes."""
        return dict(self.options).get("epochs", 0)  # type: ignore[return-value]
