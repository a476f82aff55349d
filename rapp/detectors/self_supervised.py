"""Self-supervised: a classifier that tells which transformation an image went through (GEOM, also called GT).

Golan and El-Yaniv, Deep Anomaly Detection Using Geometric Transformations, NeurIPS 2018 (arXiv:1805.10917). Settings
that the paper leaves open were read in the authors' code: filling by reflection with the edge pixel repeated, a weight
decay on all parameters, the initial guess of the Dirichlet fit and when it stops.

Examples:
    >>> from rapp.detectors.self_supervised import differences, transformed
    >>> round(differences([[1, 0], [0, 0]])["90°"], 3), len(transformed([1.0, 0, 0, 0], (2, 2)))
    (1.0, 16)
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rapp.detectors.base import CHUNK, Deep
from rapp.detectors.rows import batches
from rapp.models import take_step
from rapp.progress import rounds

MNIST_SHAPE, MNIST_SIDE = (28, 28), 32  # such images are padded to CIFAR's side (authors, Fashion-MNIST)
AT_ONCE = 256  # images that pass the network at once without gradients
POINTS = 20  # entries of the history
CHECKED = 512  # transformed validation images that each of them is checked on


@dataclass(frozen=True)
class Transform:
    """Mirror left and right, shift, then turn: in this order, as the authors do."""

    flip: bool = False
    down: int = 0  # pixels; negative: up
    right: int = 0
    turns: int = 0  # by 90° counterclockwise

    def __call__(self, x: Tensor) -> Tensor:
        """Square images (N, 1, side, side) → the same shape. Pixels move, and are copied by a shift; none changes."""
        x = x.flip(3) if self.flip else x
        return torch.rot90(shifted(shifted(x, self.down, 2), self.right, 3), self.turns, (2, 3))

    @property
    def name(self) -> str:
        """Short, for an axis: "flip 90°"."""
        down = f"{'↓' if self.down > 0 else '↑'}{abs(self.down)}" if self.down else ""
        right = f"{'→' if self.right > 0 else '←'}{abs(self.right)}" if self.right else ""
        turns = f"{90 * self.turns}°" if self.turns else ""
        return " ".join(filter(None, ["flip" if self.flip else "", down, right, turns])) or "0°"


def shifted(x: Tensor, by: int, axis: int) -> Tensor:
    """Images x moved by some pixels along an axis; what is left empty mirrors what borders it, edge pixel included."""
    if by == 0:
        return x
    n = x.shape[axis]
    if by > 0:
        return torch.cat([x.narrow(axis, 0, by).flip(axis), x.narrow(axis, 0, n - by)], axis)
    return torch.cat([x.narrow(axis, -by, n + by), x.narrow(axis, n + by, -by).flip(axis)], axis)


def transforms(shift: int = 0) -> list[Transform]:
    """Flip × rotation (8), and with a shift in pixels also × {0, −shift, shift}² (72); the identity comes first."""
    steps = (0, -shift, shift) if shift else (0,)
    return [Transform(*parts) for parts in product((False, True), steps, steps, range(4))]


def side_of(image_shape: tuple[int, int]) -> int:
    """The side of the squares that images are padded to: 32 for MNIST's, else the next multiple of 4."""
    return MNIST_SIDE if tuple(image_shape) == MNIST_SHAPE else math.ceil(max(image_shape) / 4) * 4


def squares(images: Tensor) -> Tensor:
    """Images (N, 1, height, width) in [0, 1] → (N, 1, side, side) in [−1, 1], padded with black evenly on all sides."""
    height, width = images.shape[2:]
    side = side_of((height, width))
    top, left = (side - height) // 2, (side - width) // 2
    return F.pad(images, (left, side - width - left, top, side - height - top)) * 2 - 1


def transformed(row: np.ndarray, image_shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """A row (n_features,) of image_shape after each flip and rotation, then each shift alone: name → (side, side)."""
    x = squares(torch.as_tensor(row)[None, None].view(1, 1, *image_shape))
    shifts = [t for t in transforms(x.shape[2] // 4) if not (t.flip or t.turns) and (t.down or t.right)]
    return {t.name: t(x)[0, 0].numpy() for t in (*transforms(), *shifts)}


def differences(image: np.ndarray) -> dict[str, float]:
    """Σ(x − t(x))² / Σ(x² + t(x)²) of an image x (height, width) in [0, 1], by t: flips, rotations. 1: no overlap."""
    x = squares(torch.as_tensor(image, dtype=torch.float64)[None, None]) / 2 + 0.5
    total = 2 * x.square().sum()
    return {t.name: ((x - t(x)).square().sum() / total).item() for t in transforms()[1:]}


def fit_dirichlet(mean: Tensor, mean_log: Tensor) -> Tensor:
    """Maximum likelihood of Dirichlet distributions by Minka's fixed point (paper, Algorithm 1): α (…, K).

    Args:
        mean, mean_log: (…, K) float64, means over the samples of p and of log p, p on the simplex and above 0.
    """
    k, tiny = mean.shape[-1], 1e-12
    spread = (mean * (mean.clamp_min(tiny).log() - mean_log)).sum(-1, keepdim=True)  # ≥ 0; 0 if all samples agree
    at_1 = torch.digamma(torch.ones((), dtype=mean.dtype))
    alpha = mean.clamp_min(tiny) * (k - 1) * -at_1 / spread.clamp_min(1e-6)  # Wicker's initial guess
    for _ in range(1000):  # at most, as in the authors' code, which stops at the same step, too
        new = inverse_digamma(torch.digamma(alpha.sum(-1, keepdim=True)) + mean_log)
        step, alpha = (new - alpha).norm(dim=-1).max(), new
        if step < 1e-9:
            break
    return alpha


def inverse_digamma(y: Tensor) -> Tensor:
    """ψ⁻¹(y) by Newton's method (Minka, Estimating a Dirichlet distribution, appendix C)."""
    at_1 = torch.digamma(torch.ones((), dtype=y.dtype))
    x = torch.where(y >= -2.22, y.clamp_max(50).exp() + 0.5, -1 / (y.clamp_max(-2.22) - at_1))
    for _ in range(5):
        x = x - (torch.digamma(x) - y) / torch.polygamma(1, x)
    return x


class Block(nn.Module):
    """Two 3×3 convolutions, each after BatchNorm and ReLU, beside a shortcut (Zagoruyko and Komodakis 2016)."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(n_in), nn.BatchNorm2d(n_out)])
        self.first = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, stride, bias=False)  # in depth 10 every block changes the width

    def forward(self, x: Tensor) -> Tensor:
        h = self.norms[0](x).relu()
        return self.second(self.norms[1](self.first(h)).relu()) + self.shortcut(h)


def wide(n_out: int, side: int) -> nn.Sequential:
    """WideResNet-10-4: one block at each of three widths, 4 times those of the plain network. Logits (N, n_out)."""
    blocks = [Block(16, 64, 1), Block(64, 128, 2), Block(128, 256, 2)]
    end = [nn.BatchNorm2d(256), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, n_out)]
    net = nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1, bias=False), *blocks, *end)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return net


def small(n_out: int, side: int) -> nn.Sequential:
    """Two convolutions and a linear layer: ours, for a few seconds on a CPU. Logits (N, n_out)."""
    layers: list[nn.Module] = []
    for n_in, width, kernel, stride in ((1, 16, 7, 4), (16, 32, 3, 2)):
        layers += [nn.Conv2d(n_in, width, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        side = math.ceil(side / stride)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * side**2, n_out))


NETWORKS: dict[str, Callable[[int, int], nn.Sequential]] = {"wide": wide, "small": small}


class Classifier(nn.Module):
    """A network that tells transformations apart, and what its answers for normal images are like.

    Attributes:
        pixels: (T, side²) int64, which pixel of the square each pixel of the transformed one is: so a batch in which
            each image has a transformation of its own is one ``gather``.
        alpha: (T, T), row t: Dirichlet parameters of the softmax outputs for normal images transformed by t.
    """

    def __init__(self, body: nn.Sequential, transforms: list[Transform], side: int):
        super().__init__()
        self.body, self.side = body, side
        numbers = torch.arange(side**2).view(1, 1, side, side)
        self.pixels: Tensor
        self.alpha: Tensor
        self.register_buffer("pixels", torch.stack([t(numbers).flatten() for t in transforms]), persistent=False)
        self.register_buffer("alpha", torch.ones(len(transforms), len(transforms)))

    def forward(self, x: Tensor, applied: Tensor) -> Tensor:
        """Squares x (N, side²), transformed by the transformations of these numbers (N,) → log-probabilities (N, T)."""
        moved = x.gather(1, self.pixels[applied]).view(-1, 1, self.side, self.side)
        return F.log_softmax(self.body(moved), dim=1)  # finite where the logarithm of a softmax would be −∞

    @torch.no_grad()
    def each(self, x: Tensor) -> Iterator[Tensor]:
        """Log-probabilities (N, T) of squares x (N, side²), for one transformation after the other."""
        for t in range(len(self.pixels)):
            yield torch.cat([self(part, torch.full((len(part),), t, device=x.device)) for part in x.split(AT_ONCE)])


@dataclass(kw_only=True)
class SelfSupervised(Deep):
    """Novel is an image whose transformations the classifier does not recognise as it does those of normal images.

    Scores: "dirichlet", −mean over the transformations of the log-likelihood of the softmax output (paper, section
    4.2); "softmax", 1 − mean probability of the right transformation (the paper's simple variant).

    Args:
        epochs: passes over all rows in all transformations: ⌈200 / number of transformations⌉.
        shifts: 72 transformations with shifts by a quarter of the side, or without them 8.
        network: "wide" (WideResNet-10-4) or "small" (ours).
        steps: optimizer steps at most, each of ``batch`` transformed images; None: as many as the epochs have.
        weight_decay: on all parameters, added to the gradient.

    Attributes:
        history: a dict for each twentieth of training: epoch, loss, accuracy, and val_accuracy on validation rows.
    """

    epochs: int = 3
    shifts: bool = True
    network: str = "wide"
    steps: int | None = None
    weight_decay: float = 5e-4

    NEEDS_IMAGES: ClassVar[bool] = True
    # The rate: of 1e-3, 3e-3 and 1e-2 the one at which the small network was right most often on validation images.
    PROFILES: ClassVar[dict[str, dict]] = {
        "tiny": {"network": "small", "steps": 20, "lr": 3e-3},
        "quick": {"network": "small", "steps": 200, "lr": 3e-3},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network not in NETWORKS:
            raise ValueError(f"network={self.network!r} is unknown; allowed: {', '.join(NETWORKS)}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay={self.weight_decay!r} must be a number of at least 0")

    @property
    def transforms(self) -> list[Transform]:
        """In the order of the network's outputs."""
        assert self.image_shape
        return transforms(side_of(self.image_shape) // 4 if self.shifts else 0)

    def build(self) -> Classifier:
        assert self.image_shape
        side, turns = side_of(self.image_shape), self.transforms
        return Classifier(NETWORKS[self.network](len(turns), side), turns, side)

    def inputs(self, x: Tensor) -> Tensor:
        """Rows (N, n_features) in [0, 1] → squares (N, side²) in [−1, 1]."""
        return squares(self.images(x)).flatten(1)

    def learn(self, net: Any, x: Tensor, validation: Tensor, progress: bool) -> list[dict]:
        x, val, n = self.inputs(x), self.inputs(validation), len(self.transforms)
        optimizer = torch.optim.Adam(net.parameters(), self.lr, weight_decay=self.weight_decay)
        pairs = torch.arange(len(x) * n, device=x.device)  # row · T + transformation
        checked = torch.randint(len(val) * n, (CHECKED,), device=x.device)
        an_epoch = max(1, len(pairs) // self.batch)
        total = min(self.epochs * an_epoch, self.steps or self.epochs * an_epoch)
        order = (chosen for _ in range(self.epochs) for chosen in batches(pairs, self.batch))
        history, steps = [], []
        for step, chosen in zip(rounds(total, "steps", progress), order, strict=False):
            log_p = net.train()(x[chosen // n], chosen % n)
            loss = F.nll_loss(log_p, chosen % n)
            take_step(loss, optimizer)
            steps.append(torch.stack([loss.detach(), share_right(log_p, chosen % n)]))
            if (step + 1) * POINTS // total > step * POINTS // total:
                mean_loss, accuracy = torch.stack(steps).mean(0).tolist()
                with torch.no_grad():
                    seen = share_right(net.eval()(val[checked // n], checked % n), checked % n).item()
                epoch = (step + 1) / an_epoch
                history.append({"epoch": epoch, "loss": mean_loss, "accuracy": accuracy, "val_accuracy": seen})
                steps = []
        net.eval()  # and the fit in float64 on the CPU, for not every device has it
        means = [(p.exp().mean(0), p.mean(0)) for p in (log_p.cpu().double() for log_p in net.each(x))]
        mean, mean_log = map(torch.stack, zip(*means, strict=True))
        net.alpha.copy_(fit_dirichlet(mean, mean_log))
        return history

    def measure(self, net: Any, x: Tensor) -> dict[str, Tensor]:
        likelihood, probability = torch.zeros(len(x), device=x.device), torch.zeros(len(x), device=x.device)
        constants = net.alpha.sum(1).lgamma() - net.alpha.lgamma().sum(1)
        for t, log_p in enumerate(net.each(self.inputs(x))):
            likelihood += constants[t] + log_p @ (net.alpha[t] - 1)
            probability += log_p[:, t].exp()
        return {"dirichlet": -likelihood / len(net.alpha), "softmax": 1 - probability / len(net.alpha)}

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Softmax outputs for rows x (N, n_features) in all transformations: (N, T, T), transformation × answer."""
        where = next(self.net.parameters()).device
        rows = torch.as_tensor(self._checked(x, "x"), dtype=torch.float32, device=where)
        with self._seeded(where):
            parts = [torch.stack(list(self.net.each(self.inputs(chunk))), 1).exp() for chunk in rows.split(CHUNK)]  # type: ignore[operator]
        return torch.cat(parts).cpu().numpy()


def share_right(log_p: Tensor, applied: Tensor) -> Tensor:
    """The share of rows of log_p (N, T) whose largest entry is the one in ``applied`` (N,)."""
    return (log_p.argmax(1) == applied).float().mean()
