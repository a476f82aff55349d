"""What the detectors with a generative adversarial network share (Goodfellow et al., 2014), and AnoGAN. Chapter 07.

A generator G makes images from latent vectors z ~ N(0, I); a discriminator D tells them from training images. No
paper's network is for images as small as these. Ours is the one that later work uses on MNIST (Zenati et al., 2018),
for any height and width of at least 4 pixels, and without batch normalisation in D (a departure): its features are
compared in AnoGAN's score, and the gradient penalty of f-AnoGAN's critic forbids it.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from rapp.detectors.base import Deep
from rapp.detectors.rows import batches
from rapp.models import SLOPE, take_step
from rapp.progress import rounds
from rapp.threads import pinned

DENSE = 16  # units of the dense layers for each channel of the convolutions: 1024 for 64


class Generator(nn.Module):
    """Latent vectors (N, latent) → images (N, 1, h, w) in [−1, 1]: dense, dense, two transposed convolutions."""

    def __init__(self, image_shape: tuple[int, int], latent: int, width: int):
        super().__init__()
        self.image_shape = image_shape
        h, w = (math.ceil(side / 4) for side in image_shape)
        self.layers = nn.Sequential(
            nn.Linear(latent, DENSE * width), nn.BatchNorm1d(DENSE * width), nn.ReLU(),
            nn.Linear(DENSE * width, 2 * width * h * w), nn.BatchNorm1d(2 * width * h * w), nn.ReLU(),
            nn.Unflatten(1, (2 * width, h, w)),  # (N, 128, 7, 7) in the paper's width
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.ConvTranspose2d(width, 1, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        h, w = self.image_shape
        return self.layers(z)[..., :h, :w]  # sides that are no multiple of 4 come out longer


class Reader(nn.Module):
    """Images (N, 1, h, w) → numbers (N, outputs): a discriminator, a critic or an encoder.

    Two convolutions of stride 2 and a dense layer, whose activations (N, 16·width) are the features.
    """

    def __init__(self, image_shape: tuple[int, int], width: int, outputs: int = 1):
        super().__init__()
        h, w = (side // 4 for side in image_shape)
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, width, 4, 2, 1), nn.LeakyReLU(SLOPE), nn.Flatten(),
            nn.Linear(width * h * w, DENSE * width), nn.LeakyReLU(SLOPE),
        )  # fmt: skip
        self.head = nn.Linear(DENSE * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@dataclass(kw_only=True)
class Gan(Deep):
    """What the detectors with a generator share.

    Args:
        latent: numbers that the generator makes an image from.
        width: channels of the convolutions; the dense layers have 16 times as many units.
    """

    latent: int = 200
    width: int = 64

    NEEDS_IMAGES = True
    LEAST: ClassVar[dict[str, int]] = {"batch": 2}  # batch normalisation cannot train on one row

    @abstractmethod
    def parts(self) -> dict[str, nn.Module]:
        """The networks beside the generator, by name."""

    def build(self) -> nn.Module:
        assert self.image_shape
        if min(self.image_shape) < 4:
            raise ValueError(f"{type(self).__name__} needs images of at least 4 × 4 pixels, got {self.image_shape}")
        generator = Generator(self.image_shape, self.latent, self.width)
        return nn.ModuleDict({"generator": generator, **self.parts()})

    def reader(self, outputs: int = 1) -> Reader:
        """A ``Reader`` of our size."""
        assert self.image_shape
        return Reader(self.image_shape, self.width, outputs)

    def adam(self, *parts: nn.Module, betas: tuple[float, float] = (0.5, 0.999)) -> torch.optim.Adam:
        """The optimizer of some parts together."""
        return torch.optim.Adam([p for part in parts for p in part.parameters()], self.lr, betas, fused=True)

    def centred(self, x: Tensor) -> Tensor:
        """Rows (N, n_features) in [0, 1] → images (N, 1, h, w) in [−1, 1], as the generator makes them."""
        return 2 * self.images(x) - 1

    def prior(self, n: int, like: Tensor) -> Tensor:
        """Latent vectors (n, latent) to generate from."""
        return torch.randn(n, self.latent, device=like.device)

    def samples(self, n: int, seed: int = 0) -> np.ndarray:
        """Generated images, (n, n_features) in [0, 1]."""
        z = torch.randn(n, self.latent, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad(), pinned(self.threads):
            return to_rows(self.net["generator"](z.to(next(self.net.parameters()).device)))  # type: ignore[index]

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """G(E(x)) for rows x (N, n_features), where there is an encoder E."""
        rows = torch.as_tensor(x, dtype=torch.float32, device=next(self.net.parameters()).device)
        with torch.no_grad(), pinned(self.threads):
            return to_rows(self.net["generator"](self.net["encoder"](self.centred(rows))))  # type: ignore[index]


def to_rows(images: Tensor) -> np.ndarray:
    """Images (N, 1, h, w) in [−1, 1] → rows (N, n_features) in [0, 1]."""
    return ((images.detach().flatten(1) + 1) / 2).cpu().numpy()


def mean_of(steps: list[dict[str, Tensor]]) -> dict[str, float]:
    """Mean of each number over the steps of an epoch."""
    return {name: torch.stack([step[name].detach() for step in steps]).mean().item() for name in steps[0]}


class Path(NamedTuple):
    """What a search came to on its way."""

    steps: list[int]
    images: np.ndarray  # (steps, N, n_features) in [0, 1]
    scores: np.ndarray  # (steps, N)
    z: np.ndarray  # (N, latent), in the end


@dataclass(kw_only=True)
class AnoGAN(Gan):
    """AnoGAN (Schlegl et al., 2017): search the latent space for the generator's most similar image.

    Score (their section 2.3): 0.9·Σ|x − G(z)| + 0.1·Σ|f(x) − f(G(z))|, f the discriminator's features and images in
    [−1, 1], at the z that gradient descent on this very sum finds. It is summed over images, and Adam moves each number
    by its own gradient, so that a batch of images is searched at once and none knows of the others. All start from the
    same z, drawn once (in the paper each from its own).

    The defaults are Zenati et al.'s for MNIST, of the search's learning rates the first one alone; the number of epochs
    is ours. At "quick" the networks have a quarter of the width and learn at 1e-3, for 1e-5 leads nowhere in so few
    steps (of 1e-3 and the customary 2e-4, it is the one whose search comes closer to validation images). A tenth of the
    steps search at ten times the rate, so that z can go as far.

    Args:
        steps: of the search.
        search_lr: Adam's in the search.
        weight: of the features.
    """

    lr: float = 1e-5
    steps: int = 500
    search_lr: float = 0.01
    weight: float = 0.1

    LEAST: ClassVar[dict[str, int]] = Gan.LEAST | {"steps": 0}
    PROFILES: ClassVar[dict[str, dict]] = {
        "tiny": {"epochs": 2, "width": 2, "latent": 8, "steps": 5, "search_lr": 0.1, "lr": 1e-3},
        "quick": {"epochs": 30, "batch": 32, "width": 16, "steps": 50, "search_lr": 0.1, "lr": 1e-3},
    }

    def parts(self) -> dict[str, nn.Module]:
        start = nn.Module()
        start.register_buffer("z", torch.randn(1, self.latent))
        return {"discriminator": self.reader(), "start": start}

    def learn(self, net: nn.Module, x: Tensor, validation: Tensor, progress: bool) -> list[dict]:
        """The usual, non-saturating losses; one step of D, then one of G."""
        assert isinstance(net, nn.ModuleDict)
        generator, discriminator = net["generator"], net["discriminator"]
        of_d, of_g = self.adam(discriminator), self.adam(generator)
        history = []
        for epoch in rounds(self.epochs, "AnoGAN", progress):
            steps = []
            for real in map(self.centred, batches(x, self.batch)):
                made = generator(self.prior(len(real), x))
                on_real, on_made = discriminator(real), discriminator(made.detach())
                d_loss = (softplus(-on_real) + softplus(on_made)).mean()
                take_step(d_loss, of_d)
                g_loss = softplus(-discriminator(made)).mean()
                take_step(g_loss, of_g)
                seen = {"real": on_real.sigmoid().mean(), "made": on_made.sigmoid().mean()}
                steps.append({"discriminator": d_loss, "generator": g_loss, **seen})
            history.append({"epoch": epoch + 1, **mean_of(steps)})
        return history

    def measure(self, net: nn.Module, x: Tensor) -> dict[str, Tensor]:
        real = self.centred(x)
        z, _ = self.search(net, real, ())
        with torch.no_grad():
            residual, features = self.differences(net, real, net["generator"](z))  # type: ignore[index]
        score = (1 - self.weight) * residual + self.weight * features
        return {"score": score, "residual": residual, "features": features}

    def differences(self, net: nn.Module, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        """Σ|x − G(z)| over pixels and Σ|f(x) − f(G(z))| over features, (N,) each."""
        f = net["discriminator"].features  # type: ignore[index]
        return (real - made).abs().flatten(1).sum(1), (f(real) - f(made)).abs().sum(1)

    def search(self, net: nn.Module, real: Tensor, at: Sequence[int]) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """The latent vectors (N, latent) for images (N, 1, h, w), and image and score after each number of steps."""
        z = net["start"].z.repeat(len(real), 1).requires_grad_()  # type: ignore[index]
        adam, seen = torch.optim.Adam([z], self.search_lr), []
        for step in range(self.steps + 1):
            with torch.enable_grad():
                made = net["generator"](z)  # type: ignore[index]
                residual, features = self.differences(net, real, made)
                score = (1 - self.weight) * residual + self.weight * features
            if step in at:
                seen.append((made.detach(), score.detach()))
            if step < self.steps:
                (z.grad,) = torch.autograd.grad(score.sum(), z)
                adam.step()
        return z.detach(), seen

    def path(self, x: np.ndarray, at: Sequence[int]) -> Path:
        """The search for rows x (N, n_features) after so many steps each, in rising order and up to ``steps``."""
        rows = torch.as_tensor(x, dtype=torch.float32, device=next(self.net.parameters()).device)
        with pinned(self.threads):
            z, seen = self.search(self.net, self.centred(rows), at)
        images = np.stack([to_rows(made) for made, _ in seen])
        return Path(list(at), images, torch.stack([score for _, score in seen]).cpu().numpy(), z.cpu().numpy())
