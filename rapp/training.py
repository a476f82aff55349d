"""Rows in, trained autoencoders out: alone or as a stack, from the cache where the same run has been made before."""

import json
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from rapp import replicas, store
from rapp.run import Run, Trained, under
from rapp.settings import WITHOUT_BFLOAT16, Settings, resolve_device
from rapp.threads import one_thread_if_forked, pinned

CHECKPOINT_SECONDS = 60  # an interrupted run loses at most this, plus an epoch
CHECKPOINT_SHARE = 0.05  # of the time at most goes into checkpoints
LOG_SECONDS = 60  # where there is no terminal to draw a bar in
# The number goes up whenever the same seed gives another model, beyond rounding: rows and cached models of another
# recipe are made anew. `tests/test_recipe.py` notices when that is due. Rows from before recipes were numbered have 0.
RECIPE = 1


def say(text: str) -> None:
    """A line for whoever is waiting: on stderr, so that pages and pipes stay clean."""
    print(f"rapp: {text}", file=sys.stderr, flush=True)


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
        if found and all(under(f"kept.{epoch}.", found[0]) for epoch in run.marks):
            best = {name: value for name, value in found[0].items() if not name.startswith("kept.")}
            run.restore_results(best, *found)
        elif found := store.load_if_sound(self.checkpoint, self.key):
            run.restore(*found)

    def save(self) -> None:
        """Write a checkpoint or, after the last epoch, the result."""
        if not self.cached:
            return
        try:
            self._save()
        except OSError as error:  # such as a full disk; what was trained so far is not lost with it
            say(f"{error}: training goes on, and could not be taken up from here")

    def _save(self) -> None:
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
    """Train the remaining epochs of a stack of ``size``; checkpoints are written on the way, the result at the end."""
    runs = [cached.run for cached in stack]
    settings, first = runs[0].settings, runs[0]
    alone = size == 1 and first.device.type != "cuda"  # on a GPU a stack of one is faster, too (``replicas``)
    worker: Run | replicas.Stack = first if alone else replicas.Stack(runs, size)
    what = settings.model + (f", {len(runs)} models as one stack" if len(runs) > 1 else "")
    if progress:
        say(f"{what}, {first.left} epochs on {first.device}")
        slow = first.device.type == "cpu" and torch.backends.cpu.get_cpu_capability() in WITHOUT_BFLOAT16
        if slow and settings.precision == "bfloat16":
            say("this processor has no bfloat16 units: precision=float32 would take a tenth of the time")
    start = saved = said = time.monotonic()
    done = len(first.history)
    pause: float = CHECKPOINT_SECONDS
    bar = tqdm(initial=len(first.history), total=settings.epochs, unit="epoch", disable=None if progress else True)
    while any(run.left for run in runs):  # tqdm draws in a terminal only; a log gets a line a minute
        worker.epoch()
        bar.update(len(first.history) - bar.n)
        now = time.monotonic()
        if progress and bar.disable and now - said > LOG_SECONDS:
            minutes = (now - start) / (len(first.history) - done) * first.left / 60
            say(f"{what}, epoch {len(first.history)} of {settings.epochs}, about {minutes:.0f} min left")
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
