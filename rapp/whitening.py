"""NAP's normaliser: a Mahalanobis distance on the row space, in one pass over the training differences."""

import os
from collections.abc import Iterable

import numpy as np
import torch
from scipy.linalg import lapack, solve_triangular
from torch import Tensor

from rapp.threads import one_thread_if_forked


class FewRowsWarning(UserWarning):
    """NAP was fitted on fewer than two rows a direction.

    Examples:
        >>> import warnings
        >>> from rapp.whitening import FewRowsWarning
        >>> warnings.simplefilter("ignore", FewRowsWarning)  # who wants SAP alone
    """


class Whitening:
    """NAP's normaliser: the Mahalanobis form of training differences on their row space.

    It sees rows chunk by chunk; memory is O(D²) whatever N is. With M = Σ_j (d_j − μ)(d_j − μ)ᵀ = V Σ² Vᵀ,
    NAP(d) = (d − μ)ᵀ M⁺ (d − μ). M is summed in float64 and factored by Cholesky with pivoting on the unit
    diagonal; a pivot is the share of a feature's variance that the features before it leave unexplained, and
    from the first pivot below ``cut`` on they count as linearly dependent. So a linear last layer, fewer rows
    than features or a constant feature divide by no rounding noise, and rescaling a feature changes nothing.

    Args:
        products: float64, or float32 to multiply and add faster within a chunk (the sums over chunks stay float64).
        cut: see above; None for 1e-8 (float64) or 1e-5 (float32), both far above the rounding noise of float32
            activations (1e-10 and 1e-6 were measured) and below the pivots that carry signal (1e-4 and more).

    Attributes:
        rank: number of independent directions found, at most min(N − 1, D); 0 before ``fit``. If it is N − 1, every
            training row has the same NAP, and thresholds from them mean nothing: fit on more rows, or fewer layers.
        n_rows: rows that were fitted; 0 before ``fit`` and after one that failed.

    Raises:
        ValueError: other ``products``, or a cut that is not between 0 and 1.

    Examples:
        >>> import torch
        >>> from rapp import Whitening
        >>> d = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
        >>> whitening = Whitening().fit([d])
        >>> whitening.rank, whitening.transform(d).square().sum(1)
        (2, tensor([0.5000, 0.5000, 0.5000, 0.5000]))
    """

    def __init__(self, products: torch.dtype = torch.float64, cut: float | None = None):
        if products not in (torch.float32, torch.float64):
            raise ValueError(f"products must be torch.float32 or torch.float64, got {products}")
        self.products, self.n_rows, self.rank = products, 0, 0
        self.cut = cut if cut is not None else 1e-8 if products == torch.float64 else 1e-5
        if not 0 < self.cut < 1:
            raise ValueError(f"cut must lie between 0 and 1, got {cut}")

    @one_thread_if_forked()
    def fit(self, chunks: Iterable[Tensor]) -> "Whitening":
        """One pass over chunks (n, D) of training differences.

        Raises:
            ValueError: fewer than 2 rows, or values that are not finite.
        """
        self.n_rows, n, self._work = 0, 0, torch.empty(0)
        for d in chunks:
            self._add(d, first=n == 0)
            n += len(d)
        if n < 2:
            raise ValueError(f"NAP needs at least 2 training rows, got {n}")
        self._factor(n)
        self.n_rows = n
        return self

    def _add(self, d: Tensor, first: bool) -> None:
        d = d.cpu() if d.device.type == "mps" else d  # Apple's GPU has no float64
        if first:
            need, there = 24 * d.shape[1] ** 2, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # bytes
            if need > there and d.device.type == "cpu":
                many = f"NAP of {d.shape[1]:,} activations needs {need / 2**30:,.0f} GB"
                raise ValueError(f"{many}, and there are {there / 2**30:,.0f}; take fewer layers or features")
            self._shift = d.mean(0)  # near μ, so that nothing cancels
            self._sum = d.new_zeros(d.shape[1], dtype=torch.float64)
            self._gram = d.new_zeros(d.shape[1], d.shape[1], dtype=torch.float64)
        # One buffer for all chunks: fresh memory costs as much as the subtraction.
        if first or len(d) > len(self._work):
            self._work = torch.empty_like(d, dtype=self.products)
        d = torch.sub(d, self._shift.to(self.products), out=self._work[: len(d)])
        self._sum += d.sum(0)
        step = max(256, -(-d.shape[1] // 6))
        for j in range(0, d.shape[1], step):  # the lower triangle alone, in blocks
            self._gram[j:, j : j + step] += d[:, j:].T @ d[:, j : j + step]

    def _factor(self, n: int) -> None:
        mean = self._sum / n  # of the shifted rows
        gram = (self._gram - n * torch.outer(mean, mean)).cpu().numpy()
        if not np.isfinite(gram).all():
            raise ValueError("the training differences hold NaN or infinite values")
        scale = np.sqrt(np.maximum(gram.diagonal(), 0))
        scale[scale <= 1e-12 * scale.max(initial=0)] = 0  # constant features
        divisor = np.where(scale > 0, scale, np.inf)
        factor, pivots, rank, _ = lapack.dpstrf(gram / np.outer(divisor, divisor), lower=1, tol=self.cut)
        self.rank = int(rank) if scale.any() else 0
        order = pivots.astype(np.int64) - 1
        lower = np.tril(factor)[:, : self.rank] * scale[order, None]  # (D, rank): M, reordered, = lower lowerᵀ
        dependent = solve_triangular(lower[: self.rank], lower[self.rank :].T, lower=True, trans="T")
        null, _ = np.linalg.qr(np.vstack([-dependent, np.eye(len(lower) - self.rank)]))  # lowerᵀ null = 0
        self._order = torch.from_numpy(order)
        self._mu, self._null = (self._shift + mean).cpu()[self._order], torch.from_numpy(null)
        self._lower = torch.from_numpy(lower[: self.rank].copy())
        self._parts_for: tuple[torch.dtype, torch.device] | None = None  # see _parts_like
        del self._gram, self._sum, self._shift, self._work

    @property
    def shortage(self) -> str:
        """What is wrong with NAP where there were fewer than two rows a direction, in words; else ""."""
        if self.rank and self.n_rows >= 2 * self.rank:
            return ""
        equal = "the same" if self.rank in (0, self.n_rows - 1) else "nearly the same"
        return (
            f"NAP of every training row is {equal}: {self.n_rows} rows for {self.rank} directions; fit on more rows, "
            f"or take fewer layers, or SAP"
        )

    @one_thread_if_forked()
    def transform(self, d: Tensor) -> Tensor:
        """Whitened differences (N, rank) of d (N, D), in its dtype; their squared length is NAP.

        Raises:
            ValueError: d has another width than the rows of the fit.
        """
        if d.shape[1] != len(self._order):
            raise ValueError(f"this NAP was fitted to a pathway of {len(self._order)} activations, got {d.shape[1]}")
        order, mu, null, last = self._parts_like(d)
        z = d.index_select(1, order).sub_(mu)
        with torch.autocast(d.device.type, enabled=False):
            z.addmm_(z @ null, null.T, alpha=-1)  # onto the row space
        return torch.linalg.solve_triangular(last, z[:, : self.rank], upper=True, left=False)

    @one_thread_if_forked()
    def parts(self, d: Tensor) -> Tensor:
        """What each of d (N, D) adds to NAP, (N, D): (d − μ) times M⁺ (d − μ), unit by unit; it can be negative."""
        mean = self._mu[self._order.argsort()].to(d)
        to_white = self.transform(torch.eye(d.shape[1], dtype=d.dtype, device=d.device) + mean)  # (D, rank)
        return (d - mean) * (((d - mean) @ to_white) @ to_white.T)

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """All that a fit has found, as tensors and JSON; ``restored`` takes it back."""
        tensors = {"order": self._order, "mu": self._mu, "null": self._null, "lower": self._lower}
        return tensors, {"n_rows": self.n_rows, "rank": self.rank, "cut": self.cut}

    @classmethod
    def restored(cls, tensors: dict[str, Tensor], about: dict) -> "Whitening":
        """A fitted normaliser from its ``state``: tensors of shapes (D,), (D, D − rank), (rank, rank), and about."""
        whitening = cls(cut=about["cut"])
        whitening.n_rows, whitening.rank = about["n_rows"], about["rank"]
        for name in ("order", "mu", "null", "lower"):
            setattr(whitening, f"_{name}", tensors[name])
        whitening._parts_for = None
        return whitening

    def _parts_like(self, d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Order of the features, and in it μ, null space and factor, in d's dtype and on its device; converted once."""
        if (key := (d.dtype, d.device)) != self._parts_for:
            self._parts = self._order.to(d.device), self._mu.to(d), self._null.to(d), self._lower.T.to(d)
            self._parts_for = key
        return self._parts
