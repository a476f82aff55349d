"""Several training runs of one architecture as a single stack of tensors: classes × seeds train together.

Each network keeps its own rows, shuffles, noise, validation and best epoch (those of its ``Run``); only the
arithmetic of a step is shared, by ``torch.func.vmap`` over the plain modules. How that rounds depends on the number of
networks in the stack, not on which they are: so a stack is filled up with copies to a fixed number, and every network
can be trained again alone, bit for bit (on the same machine, with the same versions).
"""

import copy
import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from rapp.cache import load_if_sound, save_tensors, sha256
from rapp.config import TrainingConfig, resolve_device
from rapp.cuda_graph import Replayed
from rapp.progress import Progress, say
from rapp.threads import one_thread_if_forked, pinned
from rapp.training import RECIPE, Run, Trained, adam, under

NARROW = 100  # features; up to here a stack trains faster on a CPU, too (`make bench` measures it)
STACK = 8  # networks in a CPU's stack: a fixed number, so that no rounding depends on cores or on other networks
CHECKPOINT_SECONDS = 60  # an interrupted run loses at most this, plus an epoch
CHECKPOINT_SHARE = 0.05  # of the time at most goes into checkpoints
LOG_SECONDS = 60  # between two lines, where there is no terminal to draw a bar in


def stack_size(n_features: int, device: torch.device) -> int:
    """How many networks train side by side unless a caller asks otherwise: on a CPU, wide ones are faster alone."""
    return STACK if device.type == "cuda" or (device.type == "cpu" and n_features <= NARROW) else 1


class _Loss(nn.Module):
    """One of a model's losses as a module's ``forward``, for that is what ``functional_call`` calls."""

    def __init__(self, model: nn.Module, name: str):
        super().__init__()
        self.model, self.name = model, name

    def forward(self, *inputs: Tensor) -> Tensor:
        return getattr(self.model, self.name)(*inputs)


class Stack:
    """Runs of equal config, feature count and batch that have taken equally many steps; it moves them on together.

    Args:
        runs: what to train.
        size: number R of networks in the stack; copies of the first run fill it up. 0 stands for as many as runs.
    """

    def __init__(self, runs: Sequence[Run], size: int = 0):
        self.runs, self.copies = runs, max(0, size - len(runs))
        first, filled = runs[0], [*runs, *[runs[0]] * self.copies]
        self.params, buffers = stack_module_state([run.model for run in filled])  # each (R, …)
        skeleton = copy.deepcopy(first.model).to("meta").train()
        for module in skeleton.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.num_batches_tracked = None  # vmap cannot count it up, and a fixed momentum needs it not
        self.buffers = {name: value for name, value in buffers.items() if "num_batches_tracked" not in name}
        self.loss_functions = [vmap(self._loss_of(_Loss(skeleton, update.loss))) for update in first.updates]
        self.adams = {}
        for part, lr in first.model.learning_rates(first.config.lr).items():
            weights = [value for name, value in self.params.items() if name.startswith(f"{part}.")]
            self.adams[part] = adam(weights, lr)
            before = [run.adams[part].state_dict()["state"] for run in filled]
            if before[0]:
                state = self.adams[part].state_dict()
                state["state"] = {i: self._stacked([moments[i] for moments in before]) for i in range(len(weights))}
                self.adams[part].load_state_dict(state)
        # rows x (R, B, n_features) and noise → the first update's losses (R,)
        move = partial(first.descend, self.loss_functions, self.adams, self.params, self.buffers)
        self._moved = Replayed(move) if first.device.type == "cuda" else move

    @staticmethod
    def _loss_of(module: _Loss) -> Callable:
        def loss_of(params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, *noise: Tensor) -> Tensor:
            state = {f"model.{name}": value for name, value in {**params, **buffers}.items()}
            return functional_call(module, state, (x, *noise))

        return loss_of

    @staticmethod
    def _stacked(moments: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {
            name: value if name == "step" else torch.stack([network[name] for network in moments])
            for name, value in moments[0].items()
        }

    def step(self) -> Tensor:
        """One training step of each run; returns the first update's losses (len(runs),)."""
        draws = [run.draw() for run in self.runs]
        draws += draws[:1] * self.copies
        x = torch.stack([rows for rows, _ in draws])
        noise = [torch.stack(parts) for parts in zip(*(noise for _, noise in draws), strict=True)]
        return self._moved(x, *noise)[: len(self.runs)]

    def epoch(self) -> None:
        """One epoch of the first network; the others' epochs may be longer or shorter."""
        start = time.perf_counter()
        for _ in range(self.runs[0].steps):
            for r, (run, loss) in enumerate(zip(self.runs, self.step(), strict=True)):
                run.losses.append(loss)
                if len(run.order):
                    continue
                if run.left:
                    self._load(r)
                    run.validate()
                else:  # done before the others: it is carried along, and nothing of it is kept
                    run.losses = []
        for run in self.runs:
            run.seconds += (time.perf_counter() - start) / len(self.runs)

    def _load(self, r: int) -> None:
        """Copy network r's weights into its own model."""
        model = self.runs[r].model
        state = {name: value[r].detach() for name, value in {**self.params, **self.buffers}.items()}
        model.load_state_dict({**model.state_dict(), **state})

    def settle(self) -> None:
        """Copy weights and moments into the runs, so that each can be saved as if it had trained alone."""
        for r, run in enumerate(self.runs):
            self._load(r)
            for part, mine in run.adams.items():
                state = mine.state_dict()
                state["state"] = {
                    i: {name: value if name == "step" else value[r].clone() for name, value in moments.items()}
                    for i, moments in self.adams[part].state_dict()["state"].items()
                }
                mine.load_state_dict(state)


def model_key(x_train: Tensor, x_val: Tensor, config: TrainingConfig, seed: int, stack: int = 1) -> str:
    """What determines the weights: config, seed, data, device, recipe, how many train at once, torch's version."""
    what = {**asdict(config), "device": resolve_device(config.device).type, "seed": seed}
    what |= {"recipe": RECIPE, "stack": stack, "torch": torch.__version__}
    return sha256(json.dumps(what, sort_keys=True), x_train, x_val)


def cache_files(key: str, cache: Path) -> tuple[Path, Path]:
    """The files of a finished model and of its checkpoint."""
    return cache / f"{key[:16]}.safetensors", cache / f"{key[:16]}.checkpoint.safetensors"


def train(
    x_train: Tensor,
    x_val: Tensor,
    config: TrainingConfig,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool = True,
    patience: int | None = None,
) -> Trained:
    """Train one autoencoder, or fetch it from the cache where the same run has been made before.

    Args:
        x_train: (N, n_features) float rows, all normal; they stay on the device in one piece.
        x_val: (M, n_features) float rows, all normal, that choose the best epoch.
        config: see ``TrainingConfig``.
        seed: decides initialisation, order of batches and noise.
        cache: folder of trained models and checkpoints (``cache.cache_folder()``); None keeps nothing.
        progress: say on stderr how long it will take, and show a bar if that is a terminal.
        patience: epochs without a new best after which training ends; None trains all. Such runs are not cached.

    Raises:
        ValueError: too few rows, or a device that is not there.
        FloatingPointError: the loss became NaN or infinite.
    """
    return train_stack([(x_train, x_val, seed)], config, None if patience else cache, progress, patience=patience)[0]


@one_thread_if_forked()
def train_stack(
    inputs: Sequence[tuple[Tensor, Tensor, int]],
    config: TrainingConfig,
    cache: Path | None = None,
    progress: bool = True,
    fill: int = 1,
    marks: Collection[int] = (),
    patience: int | None = None,
) -> list[Trained]:
    """``train`` for several (x_train, x_val, seed) of one architecture, as one stack.

    In exact arithmetic each network is the model that ``train`` gives; rounding differs, and training amplifies it.
    What a network becomes depends on the number of networks in the stack, and on no neighbour. Models in the cache
    are taken from it. Networks that were interrupted at different steps go on in stacks of their own, as do those
    whose batches are cut short by few rows.

    Args:
        inputs: (x_train, x_val, seed) of each.
        config, cache, progress: as for ``train``.
        fill: a stack of fewer is filled up to so many networks, with copies.
        marks: numbers of epochs to keep the model of as well (``Trained.earlier``), as if the run had ended there.
        patience: as for ``train``.
    """
    size = max(fill, len(inputs))
    runs = []
    for x_train, x_val, seed in inputs:
        if x_train.ndim != 2 or x_val.ndim != 2 or len(x_train) < 2 or len(x_val) < 1:
            shapes = f"{tuple(x_train.shape)}, {tuple(x_val.shape)}"
            raise ValueError(f"need 2-d training (≥ 2) and validation (≥ 1) rows, got {shapes}")
        runs.append(_Cached(Run(x_train, x_val, config, seed, marks, patience), cache, x_train, x_val, size))
    stacks: dict[tuple, list[_Cached]] = {}
    for cached in runs:
        if cached.run.left:
            stacks.setdefault((cached.run.batch, cached.run.taken), []).append(cached)
    with pinned(config.threads):
        for stack in stacks.values():
            _finish(stack, size, progress)
    return [cached.run.result(size) for cached in runs]


class _Cached:
    """A run with its files in the cache, if there is one."""

    def __init__(self, run: Run, cache: Path | None, x_train: Tensor, x_val: Tensor, size: int):
        self.run, self.cached = run, cache is not None
        if cache is None:
            return
        self.key = model_key(x_train, x_val, run.config, run.seed, size)
        self.done, self.checkpoint = cache_files(self.key, cache)
        for path in (self.done, self.checkpoint):
            if not (found := load_if_sound(path, self.key)):
                continue
            behind = [epoch for epoch in run.marks if epoch <= len(found[1]["history"])]
            if not all(under(f"kept.{epoch}.", found[0]) for epoch in behind):
                continue  # that run was not asked to keep these, and cannot give them any more
            if path == self.checkpoint:
                run.restore(*found)
            else:
                best = {name: value for name, value in found[0].items() if not name.startswith("kept.")}
                run.restore_results(best, *found)
            break

    def save(self) -> None:
        """Write a checkpoint or, after the last epoch, the result."""
        if not self.cached:
            return
        tensors, about = self.run.state()
        about["key"] = self.key
        try:
            if self.run.left:
                save_tensors(self.checkpoint, tensors, about)
            else:
                save_tensors(self.done, self.run.best | self.run.marked(), about | {"config": asdict(self.run.config)})
                self.checkpoint.unlink(missing_ok=True)
        except OSError as error:  # such as a full disk; what was trained so far is not lost with it
            say(f"{error}: training goes on, and could not be taken up from here")


def _finish(stack: list[_Cached], size: int, progress: bool) -> None:
    """Train the remaining epochs of a stack of ``size``; checkpoints are written on the way, the result at the end."""
    runs = [cached.run for cached in stack]
    config, first = runs[0].config, runs[0]
    alone = size == 1 and first.device.type != "cuda"  # on a GPU a stack of one is faster, too
    worker: Run | Stack = first if alone else Stack(runs, size)
    what = config.model + (f", {len(runs)} models as one stack" if len(runs) > 1 else "")
    if progress:
        say(f"{what}, {first.left} epochs on {first.device}")
    saved = time.monotonic()
    pause: float = CHECKPOINT_SECONDS
    bar = Progress(config.epochs, "epoch", what, len(first.history), not progress, LOG_SECONDS)
    while any(run.left for run in runs):
        worker.epoch()
        bar.add(len(first.history) - bar.done)
        now = time.monotonic()
        if now - saved > pause and any(run.left for run in runs):
            if isinstance(worker, Stack):
                worker.settle()
            for cached in stack:
                cached.save()
            saved = time.monotonic()
            pause = max(CHECKPOINT_SECONDS, (saved - now) / CHECKPOINT_SHARE)
    bar.close()
    for cached in stack:
        cached.save()
