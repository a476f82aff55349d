"""Several training runs of one architecture as a single stack of tensors: classes × seeds train together.

Each replica keeps its own rows, shuffles, noise, validation and best epoch (those of its ``training.Run``); only the
arithmetic of a step is shared, by ``torch.func.vmap`` over the plain modules.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from rapp.autoencoders import descend

if TYPE_CHECKING:
    from rapp.training import Run

NARROW = 100  # features; up to here a stack trains faster on a CPU, too (`make bench` measures it)


def stack_is_faster(n_features: int, device: torch.device) -> bool:
    """Whether a stack beats one model after the other: on a GPU always, on a CPU for narrow networks."""
    return device.type == "cuda" or (device.type == "cpu" and n_features <= NARROW)


class _Loss(nn.Module):
    """One of a model's losses as a module's ``forward``, for that is what ``functional_call`` calls."""

    def __init__(self, model: nn.Module, name: str):
        super().__init__()
        self.model, self.name = model, name

    def forward(self, *inputs: Tensor) -> Tensor:
        return getattr(self.model, self.name)(*inputs)


class Stack:
    """Runs of equal settings, feature count and batch that have taken equally many steps; it moves them on together."""

    def __init__(self, runs: Sequence["Run"]):
        self.runs = runs
        first = runs[0]
        params, buffers = stack_module_state([run.model for run in runs])  # each (R, …)
        skeleton = copy.deepcopy(first.model).to("meta").train()
        for module in skeleton.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.num_batches_tracked = None  # vmap cannot count it up, and a fixed momentum needs it not
        self.params = dict(params)
        self.buffers = {name: value for name, value in buffers.items() if "num_batches_tracked" not in name}
        self.losses_of = [vmap(self._loss_of(_Loss(skeleton, update.loss))) for update in first.updates]
        self.adams = {}
        for part, lr in first.model.learning_rates(first.settings.lr).items():
            of = [value for name, value in self.params.items() if name.startswith(f"{part}.")]
            self.adams[part] = torch.optim.Adam(of, lr, fused=True)
            before = [run.adams[part].state_dict()["state"] for run in runs]
            if before[0]:
                state = self.adams[part].state_dict()
                state["state"] = {i: self._stacked([moments[i] for moments in before]) for i in range(len(of))}
                self.adams[part].load_state_dict(state)

    @staticmethod
    def _loss_of(module: _Loss) -> Callable:
        def loss_of(params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, noise: list[Tensor]) -> Tensor:
            state = {f"model.{name}": value for name, value in {**params, **buffers}.items()}
            return functional_call(module, state, (x, *noise))

        return loss_of

    @staticmethod
    def _stacked(moments: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {
            name: value if name == "step" else torch.stack([of_one[name] for of_one in moments])
            for name, value in moments[0].items()
        }

    def step(self) -> Tensor:
        """One training step of each replica; returns the first update's losses (R,)."""
        draws = [run.draw() for run in self.runs]
        x = torch.stack([rows for rows, _ in draws])
        noise = [torch.stack(parts) for parts in zip(*(noise for _, noise in draws), strict=True)]
        losses = []
        for loss_of, update in zip(self.losses_of, self.runs[0].updates, strict=True):
            with self.runs[0].autocast():
                loss = loss_of(self.params, self.buffers, x, noise)
            descend(loss.sum(), [self.adams[part] for part in update.parts])
            losses.append(loss.detach())
        return losses[0]

    def epoch(self) -> None:
        """One epoch of the first replica; the others' epochs may be longer or shorter."""
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

    def estimate(self) -> float:
        """Seconds an epoch, from a few steps of a throw-away stack."""
        settings = replace(self.runs[0].settings, compile=False)
        trial = Stack([type(run)(run.x_train, run.x_val, settings, seed=0) for run in self.runs])
        for warm_up in (True, False):
            start = time.perf_counter()
            for _ in range(1 if warm_up else 4):
                trial.step().sum().item()
        return (time.perf_counter() - start) / 4 * self.runs[0].steps

    def _load(self, r: int) -> None:
        """Copy replica r's weights into its own model."""
        model = self.runs[r].model
        state = {name: value[r].detach() for name, value in {**self.params, **self.buffers}.items()}
        model.load_state_dict({**model.state_dict(), **state})

    def settle(self) -> None:
        """Copy weights and moments into the runs, so that each can be saved as if it had trained alone."""
        for r, run in enumerate(self.runs):
            self._load(r)
            for part, adam in run.adams.items():
                state = adam.state_dict()
                state["state"] = {
                    i: {name: value if name == "step" else value[r].clone() for name, value in moments.items()}
                    for i, moments in self.adams[part].state_dict()["state"].items()
                }
                adam.load_state_dict(state)
