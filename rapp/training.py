"""The training loop. It knows nothing of novelty: rows in, the model with the lowest validation error out."""

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from rapp import autoencoders, store
from rapp.autoencoders import MODELS, Autoencoder

CHECKPOINT_SECONDS = 60  # an interrupted run loses at most this, plus an epoch
LOG_SECONDS = 60  # where there is no terminal to draw a bar in
CODE = store.sources_key(autoencoders, sys.modules[__name__])  # as imported, should a file change later
PRECISIONS = ("float32", "bfloat16", "float64")


def say(text: str) -> None:
    """A line for whoever is waiting: on stderr, so that pages and pipes stay clean."""
    print(f"rapp: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Settings:
    """All that decides a training run but data and seed. Defaults: the paper's protocol, where it states one."""

    model: str = "ae"  # "ae" or "vae"
    n_layers: int = 10  # of encoder and decoder each
    bottleneck: int = 20  # width k of the code
    hidden: tuple[int, ...] | None = None  # the widths between input and code; None interpolates them
    samples: int = 10  # VAE: Monte-Carlo samples a step
    epochs: int = 100  # passes over the training rows
    batch: int = 256  # rows a step
    lr: float = 1e-3  # of Adam
    precision: str = "float32"  # or "bfloat16" (autocast), "float64"
    compile: bool = False  # torch.compile: slower to start, faster a step
    threads: int = 2  # pinned, for the last digits depend on it
    device: str = "auto"  # "cuda" or "mps" where there is one, else "cpu"; or any of the three

    def __post_init__(self) -> None:
        allowed = {"model": tuple(MODELS), "precision": PRECISIONS, "device": ("auto", "cpu", "cuda", "mps")}
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


@dataclass
class Trained:
    """A trained model, in eval mode, and how it came about."""

    model: Autoencoder
    settings: Settings
    seed: int
    device: str
    best_epoch: int  # counted from 1; its weights are `model`'s
    seconds: float  # of training, wherever and whenever it ran
    history: list[dict] = field(repr=False)  # an entry per epoch: epoch, loss, val_error


def resolve_device(name: str) -> torch.device:
    """``auto`` → cuda, else mps, else cpu. A named device that is not there is an error, never replaced."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in present.items() if there)
    if not present[name]:
        raise ValueError(f"device={name!r} is not present on this machine; use 'auto' or 'cpu'")
    return torch.device(name)


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Compute on so many threads, and on as many as before afterwards: sums depend on it in their last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def build(settings: Settings, n_features: int, seed: int) -> Autoencoder:
    """A freshly initialised model; the global random state stays untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return MODELS[settings.model](n_features, settings.bottleneck, settings.n_layers, settings.hidden)


@torch.no_grad()
def reconstruction_error(model: Autoencoder, x: Tensor, chunk: int = 4096) -> float:
    """Mean over rows of ‖x − A(x)‖², the VAE decoding μ: by it the best epoch is chosen."""
    model.eval()
    total = sum((model(rows) - rows).square().sum().item() for rows in x.split(chunk))
    return total / len(x)


class Run:
    """A training run that can be saved after any epoch and taken up again, bit for bit."""

    def __init__(self, x_train: Tensor, x_val: Tensor, settings: Settings, seed: int):
        self.settings, self.device = settings, resolve_device(settings.device)
        if settings.precision == "float64" and self.device.type == "mps":
            raise ValueError("precision='float64' is not possible on device='mps'; use device='cpu'")
        dtype = torch.float64 if settings.precision == "float64" else torch.float32
        self.x_train, self.x_val = (x.to(self.device, dtype) for x in (x_train, x_val))
        self.model = build(settings, x_train.shape[1], seed).to(self.device, dtype)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.lr, fused=True)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.loss = torch.compile(self.model.loss) if settings.compile else self.model.loss
        self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.best_epoch, self.seconds = 0, 0.0
        self.history: list[dict] = []

    def step(self, x: Tensor) -> Tensor:
        """One gradient step on rows x (B, n_features); returns the loss."""
        half = self.settings.precision == "bfloat16"
        noise = self.model.noise(len(x), self.settings.samples, self.generator)
        with torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext():
            loss = self.loss(x, noise)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def epoch(self) -> None:
        """One pass in shuffled full batches (the rows left over are other ones each time), then validation."""
        start = time.perf_counter()
        self.model.train()
        n = len(self.x_train)
        batch = min(self.settings.batch, n)
        order = torch.randperm(n, generator=self.generator, device=self.device)[: n - n % batch]
        losses = [self.step(self.x_train[rows]) for rows in order.split(batch)]
        error = reconstruction_error(self.model, self.x_val)
        if not math.isfinite(error):
            raise FloatingPointError(
                f"training diverged in epoch {len(self.history) + 1} (validation error {error}); "
                f"try an lr below {self.settings.lr} or rows on a smaller scale"
            )
        if not self.history or error < min(entry["val_error"] for entry in self.history):
            self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.best_epoch = len(self.history) + 1
        loss = torch.stack(losses).mean().item()
        self.history.append({"epoch": len(self.history) + 1, "loss": loss, "val_error": error})
        self.seconds += time.perf_counter() - start

    def estimate(self) -> float:
        """Seconds an epoch, from a few steps of a throw-away run (without ``torch.compile``'s gain)."""
        trial = Run(self.x_train, self.x_val, replace(self.settings, compile=False), seed=0)
        trial.model.train()
        batch = min(self.settings.batch, len(self.x_train))
        for warm_up in (True, False):
            start = time.perf_counter()
            for _ in range(1 if warm_up else 4):
                trial.step(self.x_train[:batch]).item()
        return (time.perf_counter() - start) / 4 * (len(self.x_train) // batch)

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """All that the next epoch depends on, as tensors and JSON."""
        tensors = {"generator": self.generator.get_state()}
        tensors |= {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{i}.{name}": value for name, value in moments.items()}
        return tensors, {"history": self.history, "best_epoch": self.best_epoch, "seconds": self.seconds}

    def restore(self, tensors: dict[str, Tensor], about: dict) -> None:
        """Take up where ``state`` was taken."""

        def under(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        self.generator.set_state(tensors["generator"])
        self.model.load_state_dict(under("model."))
        self.best = {name: value.to(self.device) for name, value in under("best.").items()}
        adam = self.optimizer.state_dict()
        adam["state"] = {i: under(f"adam.{i}.") for i in range(len(list(self.model.parameters())))}
        self.optimizer.load_state_dict(adam)
        self.history, self.best_epoch, self.seconds = about["history"], about["best_epoch"], about["seconds"]


def model_key(x_train: Tensor, x_val: Tensor, settings: Settings, seed: int) -> str:
    """What determines the weights: settings, seed, data, device, the code that trains, and torch's version."""
    what = {**asdict(settings), "device": resolve_device(settings.device).type, "seed": seed}
    return store.sha256(json.dumps(what, sort_keys=True), CODE, x_train, x_val)


def cache_files(key: str, cache: Path) -> tuple[Path, Path]:
    """The files of a finished model and of its checkpoint."""
    return cache / f"{key[:16]}.safetensors", cache / f"{key[:16]}.checkpoint.safetensors"


def train(
    x_train: Tensor,
    x_val: Tensor,
    settings: Settings,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool = True,
) -> Trained:
    """Train one autoencoder, or fetch it from the cache where the same run has been made before.

    Args:
        x_train: (N, n_features) float rows, all normal; they stay on the device in one piece.
        x_val: (M, n_features) float rows, all normal, that choose the best epoch.
        settings: see ``Settings``.
        seed: decides initialisation, order of batches and noise.
        cache: folder of trained models and checkpoints (``store.cache_folder()``); None keeps nothing.
        progress: say on stderr how long it will take, and show a bar if that is a terminal.

    Raises:
        ValueError: too few rows, or a device that is not there.
        FloatingPointError: the loss became NaN or infinite.
    """
    if x_train.ndim != 2 or x_val.ndim != 2 or len(x_train) < 2 or len(x_val) < 1:
        raise ValueError(
            f"need 2-d training (≥ 2) and validation (≥ 1) rows, got {tuple(x_train.shape)}, {tuple(x_val.shape)}"
        )
    run = Run(x_train, x_val, settings, seed)
    if cache is not None:
        key = model_key(x_train, x_val, settings, seed)
        done, checkpoint = cache_files(key, cache)
        if found := store.load_if_sound(done, key):
            run.best, about = found
            run.history, run.best_epoch, run.seconds = about["history"], about["best_epoch"], about["seconds"]
        elif found := store.load_if_sound(checkpoint, key):
            run.restore(*found)
    with pinned(settings.threads):
        _finish(run, None if cache is None else (key, done, checkpoint), progress)
    run.model.load_state_dict(run.best)
    return Trained(run.model.eval(), settings, seed, str(run.device), run.best_epoch, run.seconds, run.history)


def _finish(run: Run, files: tuple[str, Path, Path] | None, progress: bool) -> None:
    """The remaining epochs, with a checkpoint a minute and the whole result at the end."""
    total, left = run.settings.epochs, range(len(run.history), run.settings.epochs)
    if not left:
        return
    if progress:
        say(
            f"{run.settings.model}, {len(left)} epochs: about {run.estimate() * len(left) / 60:.1f} min on {run.device}"
        )
    saved = said = time.monotonic()
    bar = tqdm(left, initial=left.start, total=total, unit="epoch", disable=None if progress else True)
    for i in bar:  # tqdm draws in a terminal only; a log gets a line a minute
        run.epoch()
        now = time.monotonic()
        if progress and bar.disable and now - said > LOG_SECONDS:
            say(f"{run.settings.model}, epoch {i + 1} of {total}")
            said = now
        if files and now - saved > CHECKPOINT_SECONDS:
            tensors, about = run.state()
            store.save(files[2], tensors, {**about, "key": files[0]})
            saved = time.monotonic()
    if files:
        key, done, checkpoint = files
        about = {"history": run.history, "best_epoch": run.best_epoch, "seconds": run.seconds, "key": key}
        store.save(done, run.best, {**about, "settings": asdict(run.settings)})
        checkpoint.unlink(missing_ok=True)
