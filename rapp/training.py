"""The training loop. It knows nothing of novelty: rows in, the model of the lowest validation error out."""

import copy
import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from rapp.bfloat16 import Float32Products, has_units
from rapp.config import TrainingConfig, resolve_device
from rapp.models import MODELS, Autoencoder, take_step

# The number goes up whenever the same seed gives another model, beyond rounding: rows and cached models of another
# recipe are made anew. `tests/test_recipe.py` notices when that is due. Rows from before recipes were numbered have 0.
RECIPE = 1
DRAWS = threading.Lock()  # one network at a time is initialised: its draws come from torch's global generator


@dataclass
class Trained:
    """A trained model, in eval mode, and how it came about."""

    model: Autoencoder
    config: TrainingConfig
    seed: int
    device: str
    best_epoch: int  # counted from 1; its weights are `model`'s
    seconds: float  # of training, wherever and whenever it ran
    history: list[dict] = field(repr=False)  # an entry per epoch: epoch, loss, val_error
    stack: int = 1  # how many networks were trained side by side; rounding depends on it
    earlier: "dict[int, Trained]" = field(default_factory=dict, repr=False)  # the same run, had it ended there


@torch.no_grad()
def reconstruction_error(model: Autoencoder, x: Tensor) -> float:
    """Mean over rows of ‖x − A(x)‖², the VAE decoding μ: by it the best epoch is chosen."""
    model.eval()
    return sum((model(rows) - rows).square().sum().item() for rows in x.split(4096)) / len(x)


def adam(parameters: Iterable[Tensor], lr: float) -> torch.optim.Adam:
    """The optimizer of all updates; one that a CUDA graph can record, where there is CUDA."""
    parameters = list(parameters)
    return torch.optim.Adam(parameters, lr, fused=True, capturable=parameters[0].is_cuda)


class Run:
    """A training run that can be saved between any two steps and taken up again, bit for bit."""

    def __init__(
        self,
        x_train: Tensor,
        x_val: Tensor,
        config: TrainingConfig,
        seed: int,
        marks: Collection[int] = (),
        patience: int | None = None,
    ):
        self.config, self.seed, self.device = config, seed, resolve_device(config.device)
        self.patience = patience or config.epochs  # epochs without a new best after which a run ends
        if config.precision == "float64" and self.device.type == "mps":
            raise ValueError("precision='float64' is not possible on device='mps'; use device='cpu'")
        dtype = torch.float64 if config.precision == "float64" else torch.float32
        self.x_train, self.x_val = (x.to(self.device, dtype) for x in (x_train, x_val))
        sizes = x_train.shape[1], config.bottleneck, config.n_layers, config.hidden
        with DRAWS, torch.random.fork_rng(devices=[]):  # the global random state stays untouched
            torch.default_generator.manual_seed(seed)
            self.model = MODELS[config.model](*sizes, config.layers).to(self.device, dtype)
        self.updates = self.model.updates()
        self.adams = {
            part: adam(self.model.get_submodule(part).parameters(), lr)
            for part, lr in self.model.learning_rates(config.lr).items()
        }
        losses = [getattr(self.model, update.loss) for update in self.updates]
        self.loss_functions = [torch.compile(loss) for loss in losses] if config.compile else losses
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.batch = min(config.batch, len(self.x_train))
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
        """How many epochs are yet to be trained, at most."""
        done = len(self.history)
        return 0 if done - self.best_epoch >= self.patience else self.config.epochs - done

    @property
    def taken(self) -> int:
        """How many steps were taken so far."""
        return len(self.history) * self.steps + len(self.losses)

    def draw(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The next step's rows (B, n_features) and noise."""
        if not len(self.order):
            order = torch.randperm(len(self.x_train), generator=self.generator, device=self.device)
            self.order = order[: self.steps * self.batch]
        rows, self.order = self.order[: self.batch], self.order[self.batch :]
        return self.x_train[rows], self.model.noise(self.batch, self.config.samples, self.generator)

    def step(self, x: Tensor, noise: tuple[Tensor, ...] = ()) -> Tensor:
        """One training step on rows x (B, n_features); returns the first update's loss."""
        return self.descend(self.loss_functions, self.adams, x, *noise)

    def descend(self, loss_functions: Sequence[Callable], adams: dict[str, torch.optim.Adam], *inputs: Any) -> Tensor:
        """Every update of one step, of this run or of a stack of its kind; returns the first one's loss or losses."""
        half = self.config.precision == "bfloat16"
        losses = []
        with Float32Products() if half and self.device.type == "cpu" and not has_units() else nullcontext():
            for loss_of, update in zip(loss_functions, self.updates, strict=True):
                with torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext():
                    loss = loss_of(*inputs)
                take_step(loss.sum(), *(adams[part] for part in update.parts))
                losses.append(loss.detach())
        return losses[0]

    def epoch(self) -> None:
        """Train the rest of this epoch, in shuffled full batches, and validate."""
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
                f"try an lr below {self.config.lr} or rows on a smaller scale"
            )
        if not self.history or error < min(entry["val_error"] for entry in self.history):
            self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.best_epoch = len(self.history) + 1
        loss = torch.stack(self.losses).mean().item()
        self.history.append({"epoch": len(self.history) + 1, "loss": loss, "val_error": error})
        self.losses = []
        if len(self.history) in self.marks:
            self.kept[len(self.history)] = self.best

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
            if found := under(f"kept.{epoch}.", kept):
                self.kept[epoch] = {name: value.to(self.device) for name, value in found.items()}
        self.history, self.best_epoch, self.seconds = about["history"], about["best_epoch"], about["seconds"]

    def restore(self, tensors: dict[str, Tensor], about: dict) -> None:
        """Take up where ``state`` was taken."""
        self.generator.set_state(tensors["generator"])
        self.order = tensors["order"].to(self.device)
        self.losses = list(tensors["losses"].to(self.device)) if "losses" in tensors else []
        self.model.load_state_dict(under("model.", tensors))
        for part, adam in self.adams.items():
            state = adam.state_dict()
            n_params = len(state["param_groups"][0]["params"])
            state["state"] = {i: under(f"adam.{part}.{i}.", tensors) for i in range(n_params)}
            adam.load_state_dict(state)
        self.restore_results(under("best.", tensors), tensors, about)

    def result(self, stack: int) -> Trained:
        """The model of the lowest validation error, of a ``stack`` of so many; ``earlier`` holds that of each mark."""

        def trained(epochs: int, best: dict[str, Tensor]) -> Trained:
            model = copy.deepcopy(self.model)
            model.load_state_dict(best)
            history = self.history[:epochs]
            best_epoch = min(history, key=lambda entry: entry["val_error"])["epoch"]
            seconds = self.seconds * len(history) / len(self.history)
            config = replace(self.config, epochs=epochs)
            return Trained(model.eval(), config, self.seed, str(self.device), best_epoch, seconds, history, stack)

        whole = trained(self.config.epochs, self.best)
        whole.earlier = {epochs: trained(epochs, best) for epochs, best in self.kept.items()}
        return whole


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
