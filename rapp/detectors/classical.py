"""Detectors from before deep learning: scikit-learn's, with options set by rules that look at normal rows alone.

All get the same rows (images in [0, 1], tables standardised on the training rows). A density of as many
dimensions as an image has pixels is singular, so the two densities first project rows on the principal components that
explain 90 % of the training rows' variance: the share by which the book also chooses a table's bottleneck. What the
components leave out, these two do not see.
"""

import dataclasses
import warnings
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import skew
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity, LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import Pipeline
from sklearn.svm import OneClassSVM
from threadpoolctl import threadpool_limits

from rapp.detectors.base import Detector
from rapp.detectors.rows import bottleneck
from rapp.threads import allowed

MEDIAN_OF = 1000  # rows between which distances are measured


@dataclass(kw_only=True)
class PCAReconstruction(Detector):
    """PCA as an autoencoder with linear layers: project on the first directions, come back, measure the error.

    Args:
        n_components: how many directions; at most the number of rows, and fewer than there are features, for with all
            of them nothing is left to measure. None for as many as explain 90 % of the training rows' variance.

    Examples:
        >>> import numpy as np
        >>> from rapp.detectors.classical import PCAReconstruction
        >>> x = np.random.default_rng(0).normal(size=(100, 5))
        >>> PCAReconstruction(n_components=2).fit(x).directions.shape
        (2, 5)
    """

    n_components: int | None = 20

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int, cache: Path | None, progress: bool) -> None:
        width = bottleneck(train) if self.n_components is None else self.n_components
        self._pca = PCA(min(width, len(train), train.shape[1] - 1), random_state=seed).fit(train)

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """Reconstructions x̂ (N, n_features) of rows x (N, n_features)."""
        return self._pca.transform(x) @ self.directions + self._pca.mean_  # of a single feature, too, which has none

    @property
    def directions(self) -> np.ndarray:
        """Principal directions as rows, (n_components, n_features), orthonormal."""
        return self._pca.components_

    def _scores(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Reconstruction errors ‖x − x̂‖², (N,)."""
        return {"recon": np.square(x - self.reconstruct(x)).sum(1)}


@dataclass(kw_only=True)
class Estimated(Detector):
    """An estimator of scikit-learn's. A subclass says how it is fitted; its score, negated, is higher = more novel.

    Args:
        threads: pinned, for the last digits depend on it.
    """

    threads: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in dataclasses.fields(self):
            if field.type is float and not 0 < getattr(self, field.name) <= 1:  # a number, as the base class asks
                raise ValueError(f"{field.name}={getattr(self, field.name)!r} must be a share above 0, at most 1")

    @abstractmethod
    def estimator(self, train: np.ndarray, validation: np.ndarray, seed: int) -> Any:
        """A fitted estimator whose ``score_samples`` takes (N, n_features) float64 to (N,), higher = more normal."""

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int, cache: Path | None, progress: bool) -> None:
        with threadpool_limits(allowed(self.threads)):
            self._estimator = self.estimator(train.astype(np.float64), validation.astype(np.float64), seed)

    def _scores(self, x: np.ndarray) -> dict[str, np.ndarray]:
        with threadpool_limits(allowed(self.threads)):
            return {"score": -self._estimator.score_samples(x.astype(np.float64))}


@dataclass(kw_only=True)
class OneClass(Estimated):
    """One-class support vector machine with a Gaussian kernel (Schölkopf et al. 2001).

    The kernel's width σ is the median distance between training rows (the median heuristic), γ = 1 / 2σ².

    Args:
        nu: at most this share of the training rows lies outside: the book's rate of false alarms.
    """

    nu: float = 0.05

    def estimator(self, train: np.ndarray, validation: np.ndarray, seed: int) -> OneClassSVM:
        distances = pdist(np.random.default_rng(seed).permutation(train)[:MEDIAN_OF])
        width = np.median(distances[distances > 0])
        svm = OneClassSVM(nu=self.nu, gamma=1 / (2 * width**2))
        svm.random_state = seed  # it draws nothing, but would take a seed from NumPy's global state
        return svm.fit(train)


@dataclass(kw_only=True)
class Forest(Estimated):
    """Isolation forest (Liu et al. 2008), with its authors' number of trees and of rows for each.

    Args:
        trees: each splits rows at random until they are alone.
        rows: drawn for each tree; at most all.
    """

    trees: int = 100
    rows: int = 256

    def estimator(self, train: np.ndarray, validation: np.ndarray, seed: int) -> IsolationForest:
        rows = min(self.rows, len(train))
        return IsolationForest(n_estimators=self.trees, max_samples=rows, random_state=seed).fit(train)


@dataclass(kw_only=True)
class LocalOutliers(Estimated):
    """Local outlier factor (Breunig et al. 2000) of new rows among the training rows; scikit-learn's defaults.

    Args:
        neighbours: training rows by which a density is measured, and with whose densities it is compared.
    """

    neighbours: int = 20

    def estimator(self, train: np.ndarray, validation: np.ndarray, seed: int) -> LocalOutlierFactor:
        return LocalOutlierFactor(n_neighbors=min(self.neighbours, len(train) - 1), novelty=True).fit(train)


@dataclass(kw_only=True)
class Neighbours(Detector):
    """Distance to the k-th nearest training row (Ramaswamy et al. 2000).

    Args:
        k: which neighbour, at most the number of training rows; 5 is the default of PyOD, with which ADBench was run.
    """

    k: int = 5

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int, cache: Path | None, progress: bool) -> None:
        self._neighbours = NearestNeighbors(n_neighbors=min(self.k, len(train))).fit(train.astype(np.float64))

    def _scores(self, x: np.ndarray) -> dict[str, np.ndarray]:
        with threadpool_limits(1):
            return {"score": self._neighbours.kneighbors(x.astype(np.float64))[0][:, -1]}


@dataclass(kw_only=True)
class Tails(Detector):
    """ECOD (Li et al. 2022, algorithm 1): how far out a row lies in the tails of each feature's distribution.

    Both tails' probabilities are those of training and scored row together, as in the paper, so that none is 0. The
    score is the largest of three sums over features of −log p: left tails, right tails, and of each feature the tail
    that is longer (the left one where the skewness is negative).
    """

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int, cache: Path | None, progress: bool) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)  # of a constant feature
            self._left_is_longer = skew(train) < 0
        self._sorted = np.sort(train.astype(np.float64), axis=0)

    def _scores(self, x: np.ndarray) -> dict[str, np.ndarray]:
        n, columns = len(self._sorted), list(zip(self._sorted.T, x.astype(np.float64).T, strict=True))
        below = np.column_stack([np.searchsorted(known, new, "right") for known, new in columns])
        above = n - np.column_stack([np.searchsorted(known, new, "left") for known, new in columns])
        left, right = (-np.log((count + 1) / (n + 1)) for count in (below, above))
        sums = left, right, np.where(self._left_is_longer, left, right)
        return {"score": np.max([tail.sum(1) for tail in sums], axis=0)}


@dataclass(kw_only=True)
class Density(Estimated):
    """A density of the first principal components; −log p(x) is the score.

    Candidates are tried from coarse to fine, for as long as the validation rows become more likely.

    Args:
        explained: share of the training rows' variance that the components explain; 1 keeps rows as they are.
    """

    explained: float = 0.9

    @abstractmethod
    def candidates(self, z: np.ndarray, seed: int) -> Iterable[Any]:
        """Unfitted densities for z (N, n_components), from coarse to fine."""

    def estimator(self, train: np.ndarray, validation: np.ndarray, seed: int) -> Pipeline:
        steps = [("pca", PCA(self.explained, svd_solver="covariance_eigh"))] if self.explained < 1 else []
        before = Pipeline([*steps, ("rows", "passthrough")]).fit(train)
        z, z_val = before.transform(train), before.transform(validation)
        best, likelihood = None, -np.inf
        for density in self.candidates(z, seed):
            if (now := density.fit(z).score_samples(z_val).mean()) <= likelihood:
                break
            best, likelihood = density, now
        return Pipeline([*steps, ("density", best)])


@dataclass(kw_only=True)
class Mixture(Density):
    """Gaussian mixture: 1, 2, 4, … normal distributions with full covariances.

    Args:
        at_most: the largest number of them to try.
    """

    at_most: int = 64

    PROFILES: ClassVar[dict[str, dict]] = {"tiny": {"at_most": 1}, "quick": {"at_most": 8}}

    def candidates(self, z: np.ndarray, seed: int) -> Iterable[GaussianMixture]:
        return (GaussianMixture(2**i, random_state=seed) for i in range(min(self.at_most, len(z)).bit_length()))


@dataclass(kw_only=True)
class Kernels(Density):
    """Kernel density (Parzen 1962): a round normal distribution on each training row.

    Their width starts at the components' root mean square spread and is halved from candidate to candidate.

    Args:
        halvings: how often the width may be halved.
    """

    halvings: int = 10

    PROFILES: ClassVar[dict[str, dict]] = {"tiny": {"halvings": 1}}

    def candidates(self, z: np.ndarray, seed: int) -> Iterable[KernelDensity]:
        spread = np.sqrt(z.var(0).mean())
        widths = (spread / 2**i for i in range(self.halvings + 1))
        # One leaf: a tree of several is wrong far from all rows, by tens in log p (scikit-learn issue 25799, open).
        return (KernelDensity(bandwidth=width, leaf_size=len(z)) for width in widths)
