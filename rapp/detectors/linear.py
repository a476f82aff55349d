"""The autoencoder without non-linearities, which learns by gradient descent what PCA computes at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from scipy.linalg import subspace_angles
from torch import Tensor, nn

from rapp.detectors.base import Deep
from rapp.detectors.rows import batches, bottleneck
from rapp.models import take_step
from rapp.progress import rounds


class Flat(nn.Module):
    """A linear autoencoder, x̂ = b + D (a + E x); at first, E is random and orthogonal, and D its transpose."""

    def __init__(self, n_features: int, k: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(n_features, k), nn.Linear(k, n_features)
        nn.init.orthogonal_(self.encoder.weight)
        with torch.no_grad():
            self.decoder.weight.copy_(self.encoder.weight.T)

    def centre(self, mean: Tensor) -> None:
        """Make the mean (n_features,) its own reconstruction."""
        with torch.no_grad():
            self.decoder.bias.copy_(mean)
            self.encoder.bias.copy_(-self.encoder.weight @ mean)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


@dataclass(kw_only=True)
class LinearAutoencoder(Deep):
    """A linear encoder and a linear decoder with biases, trained by Adam on ‖x − x̂‖² as any autoencoder is.

    At the least error the decoder's columns span the first principal directions, and no other minimum is in the way,
    only saddles (Baldi and Hornik 1989). Training starts around the training rows' mean, and its rate falls along a
    cosine to 0, for the error hardly says which of two directions to keep that explain almost the same.

    Args:
        n_components: width of the code, below the number of features, for else x̂ = x is learned. None for as many as
            the principal components that explain 90 % of the training rows' variance.
    """

    n_components: int | None = 20

    epochs: int = 200
    batch: int = 64
    lr: float = 1e-2

    PROFILES: ClassVar[dict[str, dict]] = {"tiny": {"epochs": 2}, "quick": {"epochs": 20}}

    def build(self) -> nn.Module:
        return Flat(self._n_features, min(self._width, self._n_features - 1))

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int, cache: Path | None, progress: bool) -> float:
        self._width = bottleneck(train) if self.n_components is None else self.n_components
        return super()._fit(train, validation, seed, cache, progress)

    def learn(self, net: nn.Module, x: Tensor, validation: Tensor, progress: bool) -> list[dict]:
        assert isinstance(net, Flat)
        net.centre(x.mean(0))
        optimizer = torch.optim.Adam(net.parameters(), self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
        history = []
        for _ in rounds(self.epochs, "linear autoencoder", progress):
            for rows in batches(x, self.batch):
                take_step(self._errors(net, rows).mean(), optimizer)
            schedule.step()
            with torch.no_grad():
                history.append({"val_error": self._errors(net, validation).mean().item()})
        return history

    @staticmethod
    def _errors(net: nn.Module, x: Tensor) -> Tensor:
        """‖x − x̂‖² of each row, (N,)."""
        return (x - net(x)).square().sum(1)

    def measure(self, net: nn.Module, x: Tensor) -> dict[str, Tensor]:
        return {"recon": self._errors(net, x)}

    @property
    def directions(self) -> np.ndarray:
        """The decoder's columns as rows, (n_components, n_features); they are not orthonormal."""
        assert isinstance(self.net, Flat)
        return self.net.decoder.weight.detach().cpu().numpy().T.astype(np.float64)


def principal_angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angles (min(k, m),) in degrees between the subspaces that two sets of directions span, ascending.

    The first is the smallest angle between a direction of one subspace and one of the other, the next the smallest
    at right angles to those, and so on: all are 0 where the subspaces are the same, one if they are only a point.

    Args:
        one, other: (k, n_features) and (m, n_features) linearly independent rows.

    Examples:
        >>> import numpy as np
        >>> from rapp.detectors.linear import principal_angles
        >>> principal_angles(np.eye(3)[:1], np.eye(3)[1:]).round()
        array([90.])
    """
    if not (len(one) and len(other)):
        return np.zeros(1)
    return np.sort(np.degrees(subspace_angles(one.T, other.T)))
