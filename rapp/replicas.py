"""Several training runs of one architecture as a single stack of tensors: classes × seeds train together.

Each replica keeps its own rows, shuffles, noise, validation and best epoch (those of its ``Run``); only the
arithmetic of a step is shared, by ``torch.func.vmap`` over the plain modules. How that rounds depends on the number of
networks in the stack, not on which they are: so a stack is filled up with copies to a fixed number, and every network
can be trained again alone, bit for bit (on the same machine, with the same versions).
"""

import copy
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from rapp.autoencoders import descend
from rapp.run import Run, adam

NARROW = 100  # features; up to here a stack trains faster on a CPU, too (`make bench` measures it)
STACK = 8  # networks in a CPU's stack: a fixed number, so that no rounding depends on cores or on other networks


def stack_is_faster(n_features: int, device: torch.device) -> bool:
    """Whether a stack beats one model after the other: on a GPU always, on a CPU for narrow networks."""
    return device.type == "cuda" or (device.type == "cpu" and n_features <= NARROW)


def stack_size(n_features: int, device: torch.device) -> int:
    """How many networks train side by side unless a caller asks for another number: 1 or ``STACK``."""
    return STACK if stack_is_faster(n_features, device) else 1


class _Replayed:
    """A function of tensors, recorded as a CUDA graph at its fourth call and replayed from then on.

    A step launches hundreds of small kernels; launched one by one from Python they would cost several times as long
    as they run. Shapes and the tensors that the function changes must stay the same.
    """

    WARM_UP = 3  # calls that let libraries allocate what they need, as ordinary steps

    def __init__(self, function: Callable[..., Tensor]):
        self.function, self.calls = function, 0

    def __call__(self, *inputs: Tensor) -> Tensor:
        self.calls += 1
        if self.calls <= self.WARM_UP:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                output = self.function(*inputs)
            torch.cuda.current_stream().wait_stream(side)
            return output
        if self.calls == self.WARM_UP + 1:
            self.inputs, self.graph = [value.clone() for value in inputs], torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):  # recorded, not computed
                self.output = self.function(*self.inputs)
        for mine, value in zip(self.inputs, inputs, strict=True):
            mine.copy_(value)
        self.graph.replay()
        return self.output.clone()


class _Loss(nn.Module):
    """One of a model's losses as a module's ``forward``, for that is what ``functional_call`` calls."""

    def __init__(self, model: nn.Module, name: str):
        super().__init__()
        self.model, self.name = model, name

    def forward(self, *inputs: Tensor) -> Tensor:
        return getattr(self.model, self.name)(*inputs)


class Stack:
    """Runs of equal settings, feature count and batch that have taken equally many steps; it moves them on together.

    Args:
        runs: what to train.
        size: number R of networks in the stack; copies of the first run fill it up. 0 stands for as many as runs.
    """

    def __init__(self, runs: Sequence[Run], size: int = 0):
        self.runs, self.copies = runs, max(0, size - len(runs))
        first, filled = runs[0], [*runs, *[runs[0]] * self.copies]
        params, buffers = stack_module_state([run.model for run in filled])  # each (R, …)
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
            self.adams[part] = adam(of, lr)
            before = [run.adams[part].state_dict()["state"] for run in filled]
            if before[0]:
                state = self.adams[part].state_dict()
                state["state"] = {i: self._stacked([moments[i] for moments in before]) for i in range(len(of))}
                self.adams[part].load_state_dict(state)
        self._moved = _Replayed(self._move) if first.device.type == "cuda" else self._move

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
        """One training step of each run; returns the first update's losses (len(runs),)."""
        draws = [run.draw() for run in self.runs]
        draws += draws[:1] * self.copies
        x = torch.stack([rows for rows, _ in draws])
        noise = [torch.stack(parts) for parts in zip(*(noise for _, noise in draws), strict=True)]
        return self._moved(x, *noise)[: len(self.runs)]

    def _move(self, x: Tensor, *noise: Tensor) -> Tensor:
        """Every update of one step on rows x (R, B, n_features); returns the first one's losses (R,)."""
        losses = []
        for loss_of, update in zip(self.losses_of, self.runs[0].updates, strict=True):
            with self.runs[0].autocast():
                loss = loss_of(self.params, self.buffers, x, list(noise))
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

    def _load(self, r: int) -> None:
        """Copy replica r's weights into its own model."""
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
