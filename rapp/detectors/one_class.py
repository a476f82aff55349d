"""Deep one-class detectors for images: Deep SVDD, OC-NN, and a one-class SVM on the codes of an autoencoder.

All three start from the autoencoder of ``rapp.detectors.codes``, which says where its constants come from. Of those
here, Deep SVDD's 150 epochs and its weight decay of 5e-7 are its paper's, batch and rate its authors' README's. Choices
of ours: ν = 0.1 for all three; R's warm-up; the SVM's kernel, a Gaussian as wide as scikit-learn's "scale"; and of
OC-NN all but its objective and the 32 hidden units with a sigmoid, which its authors' first code has. At ``quick`` all
rates are ten times the defaults.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from sklearn.svm import OneClassSVM
from torch import Tensor, nn

from rapp.detectors.codes import QUICK, TINY, ImageAutoencoder, LeNet, OnCodes, descend

APART = 0.1  # no entry of the centre is closer to zero


class Sphere(nn.Module):
    """An encoder, a centre c (width,) and a radius R."""

    c: Tensor
    r: Tensor

    def __init__(self, encoder: LeNet, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("c", torch.zeros(width))
        self.register_buffer("r", torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """d² = ‖φ(x) − c‖² of images x (N, 1, height, width), (N,)."""
        return (self.encoder(x) - self.c).square().sum(1)


@dataclass(kw_only=True)
class DeepSVDD(OnCodes):
    """A network that draws the training rows together around a fixed centre; rows far from it are novel.

    Hard: min mean d². Soft: min R² + 1/ν · mean max(0, d² − R²), where R is not learned by gradients: once an epoch it
    is set to the (1 − ν)-quantile of that epoch's distances d.

    Args:
        pretrain_epochs: of the autoencoder; its batch and rate are the same as afterwards.
        soft: the soft boundary.
        warm_up: epochs before R, which starts at 0, is first set.
        weight_decay: λ of Adam's L2 penalty.
        biases: see ``LeNet``; with them the network can collapse.
        centre: "codes", the mean of the training rows' codes after pre-training, or "zero", with which it can, too.
    """

    pretrain_epochs: int = 150
    soft: bool = False
    warm_up: int = 10
    weight_decay: float = 5e-7
    biases: bool = False
    centre: str = "codes"

    LEAST: ClassVar[dict[str, int]] = OnCodes.LEAST | {"warm_up": 0}
    PROFILES: ClassVar[dict[str, dict]] = {
        "tiny": TINY | {"pretrain_epochs": 2, "warm_up": 1},
        "quick": QUICK | {"pretrain_epochs": 6, "warm_up": 2},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.centre not in ("codes", "zero"):
            raise ValueError(f"centre={self.centre!r} is unknown; allowed: codes, zero")

    def autoencoder(self) -> ImageAutoencoder:
        return dataclasses.replace(super().autoencoder(), epochs=self.pretrain_epochs, biases=self.biases)

    def build(self) -> nn.Module:
        return Sphere(self.encoder(), self.width)

    def learn(self, net: Any, x: Tensor, validation: Tensor, progress: bool) -> list[dict]:
        codes = self.start(net, x)
        if self.centre == "codes":
            net.c.copy_(away_from_zero(codes.mean(0)))
        history, distances = [], []

        def loss(images: Tensor) -> Tensor:
            squares = net(images)
            distances.append(squares.detach())
            if not self.soft:
                return squares.mean()
            return net.r**2 + (squares - net.r**2).clamp(min=0).mean() / self.nu

        net.train()
        for epoch, value in enumerate(descend(self, net.parameters(), loss, self.images(x), progress), 1):
            squares = torch.cat(distances)
            distances.clear()
            if self.soft and epoch >= self.warm_up:
                net.r.copy_(squares.sqrt().quantile(1 - self.nu))
            history.append({"loss": value, "squares": float(squares.mean()), "radius": float(net.r)})
        if self.soft:  # once more, with the weights and the normalisation that score
            net.r.copy_((self.codes(net, x) - net.c).square().sum(1).sqrt().quantile(1 - self.nu))
        return history

    @torch.no_grad()
    def measure(self, net: Any, x: Tensor) -> dict[str, Tensor]:
        """The score d² − R² of each row, (N,); R is 0 if hard."""
        return {"score": net(self.images(x)) - net.r**2}


def away_from_zero(c: Tensor) -> Tensor:
    """A centre (width,) with ±0.1 in place of smaller entries: weights of zero would reach an entry of zero."""
    return torch.where(c.abs() < APART, torch.where(c < 0, -APART, APART), c)


class HalfSpace(nn.Module):
    """An encoder, ŷ = wᵀ sigmoid(V φ(x)), and the threshold r."""

    scale: Tensor
    r: Tensor

    def __init__(self, encoder: LeNet, width: int, hidden: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.v, self.w = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, 1, bias=False)
        self.register_buffer("scale", torch.tensor(1.0))  # of the codes: the root of their mean square entry
        self.register_buffer("r", torch.tensor(0.0))

    def forward(self, z: Tensor) -> Tensor:
        """ŷ (N,) of codes z (N, width)."""
        return self.w(torch.sigmoid(self.v(z / self.scale)))[:, 0]


@dataclass(kw_only=True)
class OCNN(OnCodes):
    """A one-class SVM whose kernel is a layer that learns: most training rows should lie beyond a plane.

    min ½‖w‖² + ½‖V‖² + 1/ν · mean max(0, r − ŷ) − r. Adam moves V and w; the loss restrains nothing else, so the
    encoder stays as it is. Once an epoch, r is set to the ν-quantile of ŷ. The score is r − ŷ.

    Args:
        pretrain_epochs, pretrain_lr: of the autoencoder.
        hidden: units, the rows of V.
    """

    lr: float = 1e-3
    pretrain_epochs: int = 150
    pretrain_lr: float = 1e-4
    hidden: int = 32

    PROFILES: ClassVar[dict[str, dict]] = {
        "tiny": TINY | {"pretrain_epochs": 2, "pretrain_lr": 1e-3},
        "quick": {"epochs": 20, "batch": 32, "lr": 1e-2, "pretrain_epochs": 6, "pretrain_lr": 1e-3},
    }

    def autoencoder(self) -> ImageAutoencoder:
        return dataclasses.replace(super().autoencoder(), epochs=self.pretrain_epochs, lr=self.pretrain_lr)

    def build(self) -> nn.Module:
        return HalfSpace(self.encoder(), self.width, self.hidden)

    def learn(self, net: Any, x: Tensor, validation: Tensor, progress: bool) -> list[dict]:
        codes = self.start(net, x)
        net.scale.copy_(codes.square().mean().sqrt().clamp(min=1e-6))
        weights = [net.v.weight, net.w.weight]

        def loss(z: Tensor) -> Tensor:
            penalty = sum(weight.square().sum() for weight in weights) / 2
            return penalty + (net.r - net(z)).clamp(min=0).mean() / self.nu - net.r

        history = []
        self._set_r(net, codes)
        for value in descend(self, weights, loss, codes, progress):
            self._set_r(net, codes)
            history.append({"loss": value, "r": float(net.r)})
        return history

    @torch.no_grad()
    def _set_r(self, net: Any, codes: Tensor) -> None:
        net.r.copy_(net(codes).quantile(self.nu))

    @torch.no_grad()
    def measure(self, net: Any, x: Tensor) -> dict[str, Tensor]:
        return {"score": net.r - net(self.codes(net, x))}


class KernelMachine(nn.Module):
    """An encoder and a one-class SVM: f(z) = Σ αᵢ exp(−γ‖z − zᵢ‖²) − ρ over its support vectors zᵢ."""

    z: Tensor
    alpha: Tensor
    rho: Tensor
    gamma: Tensor

    def __init__(self, encoder: LeNet, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        for name, shape in {"z": (0, width), "alpha": (0,), "rho": (), "gamma": ()}.items():
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, z: Tensor) -> Tensor:
        """f (N,) of codes z (N, width)."""
        return torch.exp(-self.gamma * torch.cdist(z, self.z).square()) @ self.alpha - self.rho

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Make room for the support vectors, whose number is known only from the file."""
        for name in ("z", "alpha"):
            setattr(self, name, state[prefix + name].to(self.rho.device, copy=True))
        super()._load_from_state_dict(state, prefix, *rest)


@dataclass(kw_only=True)
class DeepOCSVM(OnCodes):
    """A one-class SVM on the codes of the autoencoder: the features are learned, but not for this. Scores −f."""

    def build(self) -> nn.Module:
        return KernelMachine(self.encoder(), self.width)

    def learn(self, net: Any, x: Tensor, validation: Tensor, progress: bool) -> list[dict]:
        codes = self.start(net, x)
        gamma = 1 / max(1e-12, self.width * float(codes.var(correction=0)))
        svm = OneClassSVM(nu=self.nu, gamma=gamma)
        svm.random_state = self._seed  # it draws nothing, but would take a seed from NumPy's global state
        svm.fit(codes.cpu().numpy())
        learned = {"z": svm.support_vectors_, "alpha": svm.dual_coef_[0], "rho": svm.offset_[0], "gamma": gamma}
        for name, value in learned.items():
            setattr(net, name, torch.as_tensor(value, dtype=torch.float32, device=x.device))
        return [{"support vectors": len(svm.support_)}]

    @torch.no_grad()
    def measure(self, net: Any, x: Tensor) -> dict[str, Tensor]:
        return {"score": -net(self.codes(net, x))}
