"""What decides a training run, and what it computes on."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from rapp.autoencoders import KINDS, MODELS

PRECISIONS = ("float32", "bfloat16", "float64")
WITHOUT_BFLOAT16 = ("DEFAULT", "AVX2")  # x86's instruction sets that multiply bfloat16 ten times slower than float32


@dataclass(frozen=True)
class Settings:
    """All that decides a training run but data and seed. Defaults: the paper's protocol, where it states one."""

    model: str = "ae"  # "ae", "vae" or "aae"
    n_layers: int = 10  # of encoder and decoder each
    bottleneck: int = 20  # width k of the code
    hidden: tuple[int, ...] | None = None  # the widths between input and code; None interpolates them
    layers: str = "paper"  # or "reimplementation": batch norm first, and on the last layers, too (``autoencoders``)
    samples: int = 10  # VAE: Monte-Carlo samples a step
    epochs: int = 100  # passes over the training rows
    batch: int = 256  # rows a step
    lr: float = 1e-3  # of Adam
    precision: str = "float32"  # or "bfloat16" (autocast), "float64"
    compile: bool = False  # torch.compile: slower to start, faster a step
    threads: int = 2  # pinned, for the last digits depend on it
    device: str = "auto"  # "cuda" or "mps" where there is one, else "cpu"; or any of the three

    def __post_init__(self) -> None:
        allowed = {
            "model": tuple(MODELS),
            "layers": tuple(KINDS),
            "precision": PRECISIONS,
            "device": ("auto", "cpu", "cuda", "mps"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; allowed: {', '.join(values)}")
        for name in ("n_layers", "bottleneck", "epochs", "batch", "threads"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be a whole number of at least 1")
        if self.batch < 2:
            raise ValueError(f"batch={self.batch} must be at least 2: batch normalisation cannot train on one row")
        if not isinstance(self.samples, int) or self.samples < 0:
            raise ValueError(f"samples={self.samples!r} must be a whole number of at least 0 (0 trains on μ alone)")
        if self.hidden is not None and (len(self.hidden) != self.n_layers - 1 or min(self.hidden, default=1) < 1):
            raise ValueError(f"hidden={self.hidden!r} must be n_layers − 1 = {self.n_layers - 1} positive widths")
        if not (isinstance(self.lr, int | float) and 0 < self.lr < math.inf):
            raise ValueError(f"lr={self.lr!r} must be a positive number")


@dataclass(frozen=True)
class RivalSettings:
    """``Settings`` of a rival (``rapp.baselines``): its name and options."""

    model: str  # of ``baselines.RIVALS``
    options: tuple[tuple[str, object], ...] = ()  # sorted by name
    device: str = "auto"
    threads: int = 1

    precision: ClassVar[str] = "float32"

    @property
    def epochs(self) -> int:
        """Passes over the training rows; 0 if it does not learn in passes."""
        return dict(self.options).get("epochs", 0)  # type: ignore[return-value]


def resolve_device(name: str) -> torch.device:
    """``auto`` → cuda, else mps, else cpu. A named device that is not there is an error, never replaced."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in present.items() if there)
    if not present[name]:
        raise ValueError(f"device={name!r} is not present on this machine; use 'auto' or 'cpu'")
    return torch.device(name)
