"""The training loop. It knows nothing of novelty: rows in, the model with the lowest validation error out."""

import copy
import json
import math
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from rapp import replicas, store
from rapp.autoencoders import MODELS, Autoencoder, descend
from rapp.settings import Settings, pinned, resolve_device
from rapp.threads import one_thread_if_forked

CHECKPOINT_SECONDS = 60  # an interrupted run loses at most this, plus an epoch
CHECKPOINT_SHARE = 0.05  # of the time at most goes into checkpoints
LOG_SECONDS = 60  # where there is no terminal to draw a bar in
# Raised whenever the same seed gives another model, beyond rounding: rows and cached models of another recipe are made
# anew, those of this one never. `tests/test_recipe.py` notices when that is due. (Rows of before it was counted: 0.)
RECIPE = 1


def say(text: str) -> None:
    """A line for whoever is waiting: on stderr, so that pages and pipes stay clean."""
    print(f"rapp: {text}", file=sys.stderr, flush=True)


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
    stack: int = 1  # how many networks were trained side by side; rounding depends on it
    earlier: "dict[int, Trained]" = field(default_factory=dict, repr=False)  # the same run, had it ended there


@torch.no_grad()
def reconstruction_error(model: Autoencoder, x: Tensor, chunk: int = 4096) -> float:
    """Mean over rows of ‖x − A(x)‖², the VAE decoding μ: by it the best epoch is chosen."""
    model.eval()
    total = sum((model(rows) - rows).square().sum().item() for rows in x.split(chunk))
    return total / len(x)


class Run:
    """A training run that can be saved between any two steps and taken up again, bit for bit."""

    def __init__(self, x_train: Tensor, x_val: Tensor, settings: Settings, seed: int, marks: Collection[int] = ()):
        self.settings, self.seed, self.device = settings, seed, resolve_device(settings.device)
        if settings.precision == "float64" and self.device.type == "mps":
            raise ValueError("precision='float64' is not possible on device='mps'; use device='cpu'")
        dtype = torch.float64 if settings.precision == "float64" else torch.float32
        self.x_train, self.x_val = (x.to(self.device, dtype) for x in (x_train, x_val))
        sizes = x_train.shape[1], settings.bottleneck, settings.n_layers, settings.hidden
        with torch.random.fork_rng(devices=[]):  # the global random state stays untouched
            torch.default_generator.manual_seed(seed)
            self.model = MODELS[settings.model](*sizes, settings.layers).to(self.device, dtype)
        self.updates = self.model.updates()
        self.adams = {
            part: replicas.adam(self.model.get_submodule(part).parameters(), lr)
            for part, lr in self.model.learning_rates(settings.lr).items()
        }
        losses = [getattr(self.model, update.loss) for update in self.updates]
        self.losses_of = [torch.compile(loss) for loss in losses] if settings.compile else losses
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.batch = min(settings.batch, len(self.x_train))
        self.steps = len(self.x_train) // self.batch  # an epoch; the rows left over are other ones each time
        self.order = torch.empty(0, dtype=torch.int64, device=self.device)  # rows that this epoch has yet to see
        self.losses: list[Tensor] = []  # of this epoch's steps so far
        self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.best_epoch, self.seconds = 0, 0.0
        self.history: list[dict] = []
        self.marks = frozenset(marks)  # epochs after which the best so far is kept, too
        self.kept: dict[int, dict[str, Tensor]] = {}

    @property
    def left(self) -> int:
        """Epochs yet to train."""
        return self.settings.epochs - len(self.history)

    @property
    def taken(self) -> int:
        """Steps so far."""
        return len(self.history) * self.steps + len(self.losses)

    def draw(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The next step's rows (B, n_features) and noise."""
        if not len(self.order):
            order = torch.randperm(len(self.x_train), generator=self.generator, device=self.device)
            self.order = order[: self.steps * self.batch]
        rows, self.order = self.order[: self.batch], self.order[self.batch :]
        return self.x_train[rows], self.model.noise(self.batch, self.settings.samples, self.generator)

    def autocast(self) -> AbstractContextManager:
        """bfloat16 where the settings ask for it."""
        half = self.settings.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext()

    def step(self, x: Tensor, noise: tuple[Tensor, ...] = ()) -> Tensor:
        """One training step on rows x (B, n_features); returns the first update's loss."""
        losses = []
        for loss_of, update in zip(self.losses_of, self.updates, strict=True):
            with self.autocast():
                loss = loss_of(x, *noise)
            descend(loss, [self.adams[part] for part in update.parts])
            losses.append(loss.detach())
        return losses[0]

    def epoch(self) -> None:
        """The rest of this pass over the training rows in shuffled full batches, then validation."""
        start = time.perf_counter()
        self.model.train()
        while not self.losses or len(self.order):
            self.losses.append(self.step(*self.draw()))
        self.validate()
        self.seconds += time.perf_counter() - start

    def validate(self) -> None:
        """End an epoch: measure the model on the validation rows, keep it if it is the best so far."""
        error = reconstruction_error(self.model, self.x_val)
        if not math.isfinite(error):
            raise FloatingPointError(
                f"training diverged in epoch {len(self.history) + 1} (validation error {error}); "
                f"try an lr below {self.settings.lr} or rows on a smaller scale"
            )
        if not self.history or error < min(entry["val_error"] for entry in self.history):
            self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.best_epoch = len(self.history) + 1
        loss = torch.stack(self.losses).mean().item()
        self.history.append({"epoch": len(self.history) + 1, "loss": loss, "val_error": error})
        self.losses = []
        if len(self.history) in self.marks:
            self.kept[len(self.history)] = self.best

    def estimate(self) -> float:
        """Seconds an epoch, from a few steps of a throw-away run (without ``torch.compile``'s gain)."""
        trial = Run(self.x_train, self.x_val, replace(self.settings, compile=False), seed=0)
        trial.model.train()
        for warm_up in (True, False):
            start = time.perf_counter()
            for _ in range(1 if warm_up else 4):
                trial.step(*trial.draw()).item()
        return (time.perf_counter() - start) / 4 * self.steps

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """All that the next step depends on, as tensors and JSON."""
        tensors = {"generator": self.generator.get_state(), "order": self.order}
        if self.losses:
            tensors["losses"] = torch.stack(self.losses)
        tensors |= {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()} | self.marked()
        for part, adam in self.adams.items():
            for i, moments in adam.state_dict()["state"].items():
                tensors |= {f"adam.{part}.{i}.{name}": value for name, value in moments.items()}
        return tensors, {"history": self.history, "best_epoch": self.best_epoch, "seconds": self.seconds}

    def marked(self) -> dict[str, Tensor]:
        """What is kept of the marks, as tensors; copies, for safetensors takes no tensor twice."""
        kept = ((epoch, name, value) for epoch, best in self.kept.items() for name, value in best.items())
        return {f"kept.{epoch}.{name}": value.clone() for epoch, name, value in kept}

    def restore_results(self, best: dict[str, Tensor], kept: dict[str, Tensor], about: dict) -> None:
        """Take over what a run has come to: its best weights, those of its marks, its history."""
        self.best = {name: value.to(self.device) for name, value in best.items()}
        for epoch in self.marks:
            if found := _under(f"kept.{epoch}.", kept):
                self.kept[epoch] = {name: value.to(self.device) for name, value in found.items()}
        self.history, self.best_epoch, self.seconds = about["history"], about["best_epoch"], about["seconds"]

    def restore(self, tensors: dict[str, Tensor], about: dict) -> None:
        """Take up where ``state`` was taken."""
        self.generator.set_state(tensors["generator"])
        self.order = tensors["order"].to(self.device)
        self.losses = list(tensors["losses"].to(self.device)) if "losses" in tensors else []
        self.model.load_state_dict(_under("model.", tensors))
        for part, adam in self.adams.items():
            state = adam.state_dict()
            n_params = len(state["param_groups"][0]["params"])
            state["state"] = {i: _under(f"adam.{part}.{i}.", tensors) for i in range(n_params)}
            adam.load_state_dict(state)
        self.restore_results(_under("best.", tensors), tensors, about)

    def result(self, stack: int) -> Trained:
        """The model of the lowest validation error, and that of each mark."""

        def trained(epochs: int, best: dict[str, Tensor]) -> Trained:
            model = copy.deepcopy(self.model)
            model.load_state_dict(best)
            history = self.history[:epochs]
            best_epoch = min(history, key=lambda entry: entry["val_error"])["epoch"]
            seconds = self.seconds * epochs / len(self.history)
            settings = replace(self.settings, epochs=epochs)
            return Trained(model.eval(), settings, self.seed, str(self.device), best_epoch, seconds, history, stack)

        whole = trained(self.settings.epochs, self.best)
        whole.earlier = {epochs: trained(epochs, best) for epochs, best in self.kept.items()}
        return whole


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def model_key(x_train: Tensor, x_val: Tensor, settings: Settings, seed: int, stack: int = 1) -> str:
    """What determines the weights: settings, seed, data, device, recipe, how many train at once, torch's version."""
    what = {**asdict(settings), "device": resolve_device(settings.device).type, "seed": seed}
    what |= {"recipe": RECIPE, "stack": stack, "torch": torch.__version__}
    return store.sha256(json.dumps(what, sort_keys=True), x_train, x_val)


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
    return train_stack([(x_train, x_val, seed)], settings, cache, progress)[0]


@one_thread_if_forked()
def train_stack(
    of: Sequence[tuple[Tensor, Tensor, int]],
    settings: Settings,
    cache: Path | None = None,
    progress: bool = True,
    fill: int = 1,
    marks: Collection[int] = (),
) -> list[Trained]:
    """``train`` for several (x_train, x_val, seed) of one architecture, as one stack of replicas.

    In exact arithmetic each replica is the model that ``train`` gives; rounding differs, and training amplifies it.
    What a replica becomes depends on the number of networks in the stack, and on no neighbour. Models in the cache
    are taken from it. Replicas that were interrupted at different steps go on in stacks of their own, as do those
    whose batches are cut short by few rows.

    Args:
        of, settings, cache, progress: as for ``train``.
        fill: a stack of fewer is filled up to so many networks, with copies.
        marks: numbers of epochs to keep the model of as well (``Trained.earlier``), as if the run had ended there.
    """
    size = max(fill, len(of))
    runs = []
    for x_train, x_val, seed in of:
        if x_train.ndim != 2 or x_val.ndim != 2 or len(x_train) < 2 or len(x_val) < 1:
            shapes = f"{tuple(x_train.shape)}, {tuple(x_val.shape)}"
            raise ValueError(f"need 2-d training (≥ 2) and validation (≥ 1) rows, got {shapes}")
        runs.append(_Cached(Run(x_train, x_val, settings, seed, marks), cache, x_train, x_val, size))
    stacks: dict[tuple, list[_Cached]] = {}
    for cached in runs:
        if cached.run.left:
            stacks.setdefault((cached.run.batch, cached.run.taken), []).append(cached)
    with pinned(settings.threads):
        for stack in stacks.values():
            _finish(stack, size, progress)
    return [cached.run.result(size) for cached in runs]


class _Cached:
    """A run with its files in the cache, if there is one."""

    def __init__(self, run: Run, cache: Path | None, x_train: Tensor, x_val: Tensor, size: int):
        self.run, self.cached = run, cache is not None
        if cache is None:
            return
        self.key = model_key(x_train, x_val, run.settings, run.seed, size)
        self.done, self.checkpoint = cache_files(self.key, cache)
        found = store.load_if_sound(self.done, self.key)
        if found and all(_under(f"kept.{epoch}.", found[0]) for epoch in run.marks):
            best = {name: value for name, value in found[0].items() if not name.startswith("kept.")}
            run.restore_results(best, *found)
        elif found := store.load_if_sound(self.checkpoint, self.key):
            run.restore(*found)

    def save(self) -> None:
        """A checkpoint, or the result once there is one."""
        if not self.cached:
            return
        tensors, about = self.run.state()
        if self.run.left:
            store.save(self.checkpoint, tensors, {**about, "key": self.key})
        else:
            store.save(
                self.done,
                self.run.best | self.run.marked(),
                {**about, "key": self.key, "settings": asdict(self.run.settings)},
            )
            self.checkpoint.unlink(missing_ok=True)


def _finish(stack: list[_Cached], size: int, progress: bool) -> None:
    """The remaining epochs of a stack of ``size``, with checkpoints on the way and the whole result at the end."""
    runs = [cached.run for cached in stack]
    settings, first = runs[0].settings, runs[0]
    alone = size == 1 and first.device.type != "cuda"  # on a GPU a stack of one is faster, too (``replicas``)
    worker: Run | replicas.Stack = first if alone else replicas.Stack(runs, size)
    what = settings.model + (f", {len(runs)} models as one stack" if len(runs) > 1 else "")
    if progress:
        say(f"{what}, {first.left} epochs: about {worker.estimate() * first.left / 60:.1f} min on {first.device}")
    saved = said = time.monotonic()
    pause: float = CHECKPOINT_SECONDS
    bar = tqdm(initial=len(first.history), total=settings.epochs, unit="epoch", disable=None if progress else True)
    while any(run.left for run in runs):  # tqdm draws in a terminal only; a log gets a line a minute
        worker.epoch()
        bar.update(len(first.history) - bar.n)
        now = time.monotonic()
        if progress and bar.disable and now - said > LOG_SECONDS:
            say(f"{what}, epoch {len(first.history)} of {settings.epochs}")
            said = now
        if now - saved > pause and any(run.left for run in runs):
            if isinstance(worker, replicas.Stack):
                worker.settle()
            for cached in stack:
                cached.save()
            saved = time.monotonic()
            pause = max(CHECKPOINT_SECONDS, (saved - now) / CHECKPOINT_SHARE)
    bar.close()
    for cached in stack:
        cached.save()
