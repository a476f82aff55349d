"""GPND (Pidhorskyi et al., 2018): how dense normal images lie on an autoencoder's manifold and off it; chapter 07."""

import math
import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy.stats import gennorm
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, softplus

from rapp.detectors.base import CHUNK
from rapp.detectors.gan import Gan, mean_of
from rapp.detectors.rows import batches
from rapp.models import SLOPE, take_step
from rapp.progress import rounds

DISCRIMINATOR = 128  # units of the latent discriminator's two hidden layers
CONSTANT = 1e-6  # what varies less, does not vary


@dataclass(kw_only=True)
class GPND(Gan):
    """GPND: minus the log-density of x, split at the decoder's image of its code (section 3).

    With code z = g(x) of k numbers, reconstruction x̂ = f(z) of d pixels and the Jacobian J = ∂f/∂z (d, k), an
    orthogonal change of coordinates splits x into a part along J's columns, tangent to the manifold of reconstructions,
    and a part normal to it, taken as independent:

        −log p(x) = [ ½ log det JᵀJ − Σ log p_i(z_i) ] + [ (d − k − 1) log r − log p_R(r) + constant ],  r = ‖x − x̂‖.

    Left, the density of z carried over to the manifold: it is divided by the volume that f gives to a unit of z. Right,
    the density of the distance r, spread over the sphere of that radius in d − k dimensions. p_i are generalised
    Gaussians, as in the paper, fitted to the training rows' codes; p_R is a log-normal fitted to their distances (the
    paper has a histogram, which says nothing beyond its last bin). The whole ‖x − x̂‖ stands for the normal part, as in
    the authors' code; that code leaves out the Jacobian, the paper does not, and neither do we.

    The autoencoder is adversarial twice (section 4): a discriminator tells codes from draws of N(0, I), another tells
    decoded draws from training images. Cross-entropy over pixels, its mean weighted by λ, completes the loss. The
    networks are AnoGAN's (a departure), and the learning rate is divided by 4 every 30 epochs (authors' code). "quick"
    has a quarter of the width and a fifth of the epochs.

    Args:
        balance: λ, the weight of the reconstruction.
        decay: epochs after which the learning rate is divided by 4.
    """

    epochs: int = 80
    lr: float = 2e-3
    latent: int = 16
    balance: float = 10.0
    decay: int = 30

    PROFILES: ClassVar[dict[str, dict]] = {
        "tiny": {"epochs": 2, "width": 2, "latent": 4},
        "quick": {"epochs": 15, "decay": 6, "batch": 32, "width": 16},
    }

    def parts(self) -> dict[str, nn.Module]:
        assert self.image_shape
        if self.latent > math.prod(self.image_shape) - 2:
            raise ValueError(
                f"latent={self.latent} leaves no dimensions beside the manifold in images {self.image_shape}"
            )
        layers: list[nn.Module] = [nn.Linear(self.latent, DISCRIMINATOR), nn.LeakyReLU(SLOPE)]
        layers += [nn.Linear(DISCRIMINATOR, DISCRIMINATOR), nn.LeakyReLU(SLOPE), nn.Linear(DISCRIMINATOR, 1)]
        densities = nn.Module()
        for name, size in {"shape": self.latent, "place": self.latent, "scale": self.latent, "distance": 2}.items():
            densities.register_buffer(name, torch.ones(size))
        return {
            "encoder": self.reader(self.latent), "judge": self.reader(), "code_judge": nn.Sequential(*layers),
            "densities": densities,
        }  # fmt: skip

    def learn(self, net: nn.Module, x: Tensor, validation: Tensor, progress: bool) -> list[dict]:
        assert isinstance(net, nn.ModuleDict)
        sides = [["judge"], ["generator"], ["code_judge"], ["encoder", "generator"]]
        adams = [self.adam(*(net[name] for name in side)) for side in sides]
        schedules = [torch.optim.lr_scheduler.StepLR(adam, self.decay, 0.25) for adam in adams]
        history = []
        for epoch in rounds(self.epochs, "GPND", progress):
            steps = [self._step(net, rows, adams) for rows in batches(x, self.batch)]
            for schedule in schedules:
                schedule.step()
            history.append({"epoch": epoch + 1, **mean_of(steps)})
        self._settle(net, x)
        self._fit_densities(net.eval(), x)
        return history

    @torch.no_grad()
    def _settle(self, net: nn.ModuleDict, x: Tensor) -> None:
        """Batch normalisation's means and variances anew, of training codes alone: it has met draws of N(0, I), too."""
        norms = [layer for layer in net["generator"].modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # averages over all batches
        for rows in batches(x, self.batch):
            net["generator"](net["encoder"](self.centred(rows)))

    def _step(self, net: nn.ModuleDict, x: Tensor, adams: list[torch.optim.Adam]) -> dict[str, Tensor]:
        """One step of each of the four: image discriminator, decoder, discriminator of codes, autoencoder."""
        real, judge, code_judge = self.centred(x), net["judge"], net["code_judge"]
        made = net["generator"](self.prior(len(x), x))
        losses = {"discriminator": softplus(-judge(real)).mean() + softplus(judge(made.detach())).mean()}
        take_step(losses["discriminator"], adams[0])
        losses["generator"] = softplus(-judge(made)).mean()
        take_step(losses["generator"], adams[1])
        z, drawn = net["encoder"](real), self.prior(len(x), x)
        losses["of codes"] = softplus(-code_judge(drawn)).mean() + softplus(code_judge(z.detach())).mean()
        take_step(losses["of codes"], adams[2])
        losses["reconstruction"] = binary_cross_entropy(self.decode(net, z), x)
        take_step(self.balance * losses["reconstruction"] + softplus(-code_judge(z)).mean(), adams[3])
        return losses

    def decode(self, net: nn.Module, z: Tensor) -> Tensor:
        """Codes (N, k) → rows (N, d) in [0, 1]."""
        return (net["generator"](z).flatten(1) + 1) / 2  # type: ignore[index]

    @torch.no_grad()
    def _codes(self, net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (N, k) of rows (N, d), and distances r (N,) to their reconstructions."""
        z = net["encoder"](self.centred(x))  # type: ignore[index]
        return z, (x - self.decode(net, z)).norm(dim=1).clamp(min=CONSTANT)

    def _fit_densities(self, net: nn.ModuleDict, x: Tensor) -> None:
        pairs = [self._codes(net, chunk) for chunk in x.split(CHUNK)]
        z, r = (torch.cat(parts).cpu().double().numpy() for parts in zip(*pairs, strict=True))
        columns = np.array([_generalised_gaussian(column) for column in z.T])  # (k, 3)
        log_r = np.log(r)
        distance = [log_r.mean(), max(log_r.std(), CONSTANT)]
        for name, values in zip(("shape", "place", "scale", "distance"), [*columns.T, distance], strict=True):
            getattr(net["densities"], name).copy_(torch.as_tensor(values))

    def jacobian(self, net: nn.Module, z: Tensor) -> Tensor:
        """∂f/∂z (N, d, k) of the decoder at codes (N, k): forward derivatives, all rows and directions at once."""
        along = torch.eye(self.latent, dtype=z.dtype, device=z.device)
        with warnings.catch_warnings():  # torch itself uses what it calls deprecated
            warnings.simplefilter("ignore", FutureWarning)
            slope = torch.func.vmap(lambda e: torch.func.jvp(lambda z: self.decode(net, z), (z,), (e.expand_as(z),))[1])
            return slope(along).detach().permute(1, 2, 0)

    def log_volume(self, net: nn.Module, z: Tensor) -> Tensor:
        """½ log det JᵀJ (N,), float64: the log-volume on the manifold of a unit of z."""
        j = self.jacobian(net, z).cpu().double()
        floor = CONSTANT**2 * torch.eye(self.latent, dtype=j.dtype)  # a direction that changes nothing has no logarithm
        return torch.linalg.slogdet(j.mT @ j + floor).logabsdet / 2

    def measure(self, net: nn.Module, x: Tensor) -> dict[str, Tensor]:
        z, r = self._codes(net, x)
        volume = torch.cat([self.log_volume(net, part) for part in z.split(128)])  # J of more rows fills the memory
        density = {name: values.cpu().double() for name, values in net["densities"].named_buffers()}  # type: ignore[index]
        z, log_r, dims = z.cpu().double(), r.cpu().double().log(), x.shape[1] - self.latent
        log_z = (density["shape"] / (2 * density["scale"])).log() - (1 / density["shape"]).lgamma()
        log_z = log_z - ((z - density["place"]).abs() / density["scale"]) ** density["shape"]  # (N, k)
        mean, std = density["distance"]
        log_p = -log_r - (std * math.sqrt(2 * math.pi)).log() - ((log_r - mean) / std) ** 2 / 2
        sphere = math.log(2) + dims / 2 * math.log(math.pi) - math.lgamma(dims / 2)  # log-surface, of radius 1
        tangent, normal = volume - log_z.sum(1), sphere + (dims - 1) * log_r - log_p
        return {"score": tangent + normal, "tangent": tangent, "normal": normal, "residual": r}


def _generalised_gaussian(values: np.ndarray) -> tuple[float, float, float]:
    """Shape, place and scale of the generalised Gaussian of highest likelihood; the shape within reason, 0.3 to 20."""
    std = values.std()
    if std < CONSTANT:
        return 2.0, values.mean(), CONSTANT
    shape, place, scale = gennorm.fit(values, 2.0, loc=values.mean(), scale=std * math.sqrt(2))
    return float(np.clip(shape, 0.3, 20)), place, max(scale, CONSTANT)
