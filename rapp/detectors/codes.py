"""Codes of images: a convolutional autoencoder, and what detectors that work on its codes have in common.

Where the constants come from:

- the Deep SVDD paper's: two convolutions, of 8 and 4 filters of 5 × 5, then 32 linear outputs; no biases; batch
  normalisation without affine parameters; leaky ReLU; 150 epochs of pre-training.
- The authors' README: batches of 200, Adam at 1e-4 and at a tenth of it after 50 of the 150 epochs (here: a third of
  them), weight decay 5e-4. Their code: global contrast normalisation by the L1 scale, then to [0, 1] by the least and
  greatest value of the normal class (here: of the training rows).
- Choices of ours: slope 0.1, a decoder of two transposed convolutions, torch's initial weights, and the weights of the
  last epoch.
- ``quick`` is a CPU's budget: the batch and the rate of the other chapters' small networks, and 6 epochs.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from rapp.detectors.base import CHUNK, Deep
from rapp.detectors.rows import batches
from rapp.models import take_step
from rapp.progress import rounds

SLOPE = 0.1  # of the leaky ReLU
CHANNELS = (8, 4)
Module = TypeVar("Module", bound=nn.Module)
QUICK = {"epochs": 6, "batch": 32, "lr": 1e-3}
TINY = {"epochs": 2, "batch": 32, "lr": 1e-3}


class Contrast(nn.Module):
    """Global contrast normalisation: each image by its own mean and L1 scale; then the training images to [0, 1]."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, 1, height, width) → the same shape."""
        x = x - x.mean((1, 2, 3), keepdim=True)
        x = x / x.abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-6)  # an image of one grey has no contrast
        return (x - self.low) / (self.high - self.low)

    def fit(self, x: Tensor) -> None:
        """Take the least and the greatest value from training images x (N, 1, height, width)."""
        contrast = self(x)  # as yet with low = 0 and high = 1
        self.low.copy_(contrast.min())
        self.high.copy_(torch.maximum(contrast.max(), self.low + 1e-6))


class LeNet(nn.Module):
    """φ: an image to a code.

    Args:
        image_shape: (height, width).
        width: of the code.
        biases: let layers have biases, and batch normalisation its affine parameters.
    """

    def __init__(self, image_shape: tuple[int, int], width: int, biases: bool) -> None:
        super().__init__()
        self.contrast = Contrast()
        layers: list[nn.Module] = []
        for n_in, n_out in zip((1, *CHANNELS), CHANNELS, strict=False):
            layers += [nn.Conv2d(n_in, n_out, 5, padding=2, bias=biases), nn.BatchNorm2d(n_out, affine=biases)]
            layers += [nn.MaxPool2d(2, ceil_mode=True), nn.LeakyReLU(SLOPE)]  # the other order does the same, slower
        h, w = halves(image_shape)[-1]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(CHANNELS[-1] * h * w, width, bias=biases))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, 1, height, width) → φ(x) (N, width)."""
        return self.layers(self.contrast(x))


def halves(image_shape: tuple[int, int]) -> list[tuple[int, int]]:
    """The shapes of an image before the first and after each pooling; odd sides are rounded up."""
    shapes = [image_shape]
    for _ in CHANNELS:
        shapes.append(((shapes[-1][0] + 1) // 2, (shapes[-1][1] + 1) // 2))
    return shapes


class Decoder(nn.Sequential):
    """The way back: a code (N, width) to an image (N, 1, height, width) in [0, 1]."""

    def __init__(self, image_shape: tuple[int, int], width: int, biases: bool) -> None:
        *larger, smallest = halves(image_shape)
        layers: list[nn.Module] = [
            nn.Linear(width, CHANNELS[-1] * smallest[0] * smallest[1], bias=biases),
            nn.Unflatten(1, (CHANNELS[-1], *smallest)),
        ]
        for n_in, n_out, shape in zip(CHANNELS[::-1], (*CHANNELS[-2::-1], 1), larger[::-1], strict=True):
            even = (1 - shape[0] % 2, 1 - shape[1] % 2)  # sides that need another row or column
            layers += [nn.BatchNorm2d(n_in, affine=biases), nn.LeakyReLU(SLOPE)]
            layers += [nn.ConvTranspose2d(n_in, n_out, 5, 2, 2, output_padding=even, bias=biases)]
        super().__init__(*layers, nn.Sigmoid())


def fast(net: Module) -> Module:
    """A module whose convolutions have their channels last in memory, which on a CPU saves a third of the time."""
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@dataclass(kw_only=True)
class ImageAutoencoder(Deep):
    """What the others start from; a detector by itself, which scores by reconstruction error.

    Args:
        width: of the code.
        biases: see ``LeNet``.
        weight_decay: λ of Adam's L2 penalty.
    """

    epochs: int = 150
    batch: int = 200
    lr: float = 1e-4
    width: int = 32
    biases: bool = False
    weight_decay: float = 5e-4

    NEEDS_IMAGES: ClassVar[bool] = True

    def build(self) -> nn.Module:
        assert self.image_shape
        shape = (self.image_shape, self.width, self.biases)
        return fast(nn.ModuleDict({"encoder": LeNet(*shape), "decoder": Decoder(*shape)}))

    def learn(self, net: Any, x: Tensor, validation: Tensor, progress: bool) -> list[dict]:
        images = self.images(x)
        net["encoder"].contrast.fit(images)
        losses = descend(self, net.parameters(), lambda rows: self._errors(net, rows).mean(), images, progress)
        return [{"loss": loss} for loss in losses]

    def _errors(self, net: Any, images: Tensor) -> Tensor:
        """‖x − x̂‖² of normalised images, (N,)."""
        encoder = net["encoder"]
        x = encoder.contrast(images)
        return (net["decoder"](encoder.layers(x)) - x).square().flatten(1).sum(1)

    @torch.no_grad()
    def measure(self, net: Any, x: Tensor) -> dict[str, Tensor]:
        return {"recon": self._errors(net, self.images(x))}


def descend(
    detector: Deep, parameters: Iterable[nn.Parameter], loss: Callable[[Tensor], Tensor], x: Tensor, progress: bool
) -> Iterator[float]:
    """Minimise the loss of batches of x by Adam; yields the mean loss of each epoch.

    The detector says epochs, batch, lr and, if it has one, weight_decay.
    """
    optimizer = torch.optim.Adam(parameters, detector.lr, weight_decay=getattr(detector, "weight_decay", 0.0))
    fall = torch.optim.lr_scheduler.MultiStepLR(optimizer, [max(1, detector.epochs // 3)])  # once, to a tenth
    for _ in rounds(detector.epochs, type(detector).__name__, progress):
        losses = []
        for rows in batches(x, detector.batch):
            value = loss(rows)
            take_step(value, optimizer)
            losses.append(value.detach())
        fall.step()
        yield float(torch.stack(losses).mean())


@dataclass(kw_only=True)
class OnCodes(Deep):
    """A detector in the space of the autoencoder's codes. The autoencoder is kept in the cache for all that share it.

    Args:
        width: of the code.
        nu: ν, the share of training rows that may lie outside.
    """

    epochs: int = 150  # of the autoencoder, unless a subclass has epochs of its own
    batch: int = 200
    lr: float = 1e-4
    width: int = 32
    nu: float = 0.1

    NEEDS_IMAGES: ClassVar[bool] = True
    LEAST: ClassVar[dict[str, int]] = {"batch": 2}  # batch normalisation cannot train on one row
    PROFILES: ClassVar[dict[str, dict]] = {"tiny": TINY, "quick": QUICK}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.nu < 1:
            raise ValueError(f"nu={self.nu!r} must lie between 0 and 1")

    def autoencoder(self) -> ImageAutoencoder:
        """That the encoder is taken from, not yet fitted."""
        same = {name: getattr(self, name) for name in ("image_shape", "epochs", "batch", "lr", "width", "device")}
        return ImageAutoencoder(**same, threads=self.threads)

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int, cache: Path | None, progress: bool) -> float:
        """Counts the autoencoder's seconds even where another detector has trained it."""
        self.pretrained = self.autoencoder().fit(train, validation, seed, cache, progress)
        return self.pretrained.seconds + super()._fit(train, validation, seed, cache, progress)

    def encoder(self) -> LeNet:
        """Untrained."""
        assert self.image_shape
        return fast(LeNet(self.image_shape, self.width, getattr(self, "biases", False)))

    def embed(self, x: np.ndarray) -> np.ndarray:
        """φ(x) (N, width) of rows x (N, n_features), once fitted."""
        like = next(self.net.parameters())
        with self._seeded(like.device):
            return self.codes(self.net, torch.as_tensor(x).to(like)).cpu().numpy()

    @torch.no_grad()
    def codes(self, net: Any, x: Tensor) -> Tensor:
        """φ(x) (N, width) of rows x (N, n_features), the encoder in eval mode."""
        net.encoder.eval()
        return torch.cat([net.encoder(self.images(rows)) for rows in x.split(CHUNK)])

    def start(self, net: Any, x: Tensor) -> Tensor:
        """Put the trained encoder into a new module; returns the codes (N, width) of training rows x."""
        net.encoder.load_state_dict(self.pretrained.net.get_submodule("encoder").state_dict())
        return self.codes(net, x)
