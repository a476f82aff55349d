"""RaPP (Kim et al., ICLR 2020): novelty scores from the projection pathway of a trained autoencoder.

Given the encoder's layers g_1 … g_ℓ and a decoder f, with A = f∘g (paper, sections 3 and 4):

    h_i(x)  = g_i∘…∘g_1(x)            hidden activations of the input
    ĥ_i(x)  = g_i∘…∘g_1(A(x))         hidden activations of its reconstruction
    d(x)    = [h_1 − ĥ_1; …; h_ℓ − ĥ_ℓ]
    recon(x) = ‖x − x̂‖²
    SAP(x)  = ‖d(x)‖²
    NAP(x)  = ‖(d(x) − μ)ᵀ V Σ⁻¹‖²     with rows d(x_j) − μ over the training set = U Σ Vᵀ

All scores are higher for more novel. The functions know tensors only: they train nothing, draw nothing and
change nothing. Encoder layers are any ``nn.Module``s that follow one another, convolutional ones too; put them
in eval mode first.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from scipy.linalg import lapack, solve_triangular
from torch import Tensor, nn

from rapp.eval_mode import in_eval_mode, require_eval
from rapp.threads import one_thread_if_forked

Layers = Sequence[Callable[[Tensor], Tensor]] | nn.Sequential


def encode(encoder: Layers, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """[h_0 = x, h_1, …, h_ℓ], each flattened to (N, d_i), and the last layer's output in its own shape.

    Copies are kept, for layers may work in place.
    """
    hidden, code = [x.flatten(1)], x.clone()
    for layer in encoder:
        code = layer(code)
        hidden.append(code.flatten(1).clone())
    return hidden, code


def project(
    encoder: Layers, decoder: Callable[[Tensor], Tensor], x: Tensor
) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """The whole pathway of x (N, …): h_0 … h_ℓ, x̂ (N, …), ĥ_0 … ĥ_ℓ."""
    require_eval(encoder, decoder)
    with in_eval_mode("a layer of the encoder"):
        h, code = encode(encoder, x)
    with in_eval_mode("the decoder"):
        x_hat = decoder(code)
    if x_hat.shape != x.shape:
        raise ValueError(f"the decoder returned shape {tuple(x_hat.shape)} for an input of shape {tuple(x.shape)}")
    return h, x_hat, encode(encoder, x_hat)[0]


def recon(x: Tensor, x_hat: Tensor) -> Tensor:
    """Reconstruction error ‖x − x̂‖², (N,)."""
    return (x - x_hat).flatten(1).square().sum(1)


def sap(d: Tensor) -> Tensor:
    """Simple aggregation along the pathway, ‖d‖² (paper, section 4.1): d (N, D) → (N,)."""
    return d.square().sum(1)


class Whitening:
    """NAP's normaliser: the Mahalanobis form of training differences on their row space.

    It sees rows chunk by chunk; memory is O(D²) whatever N is. With M = Σ_j (d_j − μ)(d_j − μ)ᵀ = V Σ² Vᵀ,
    NAP(d) = (d − μ)ᵀ M⁺ (d − μ). M is summed in float64 and factored by Cholesky with pivoting on the unit
    diagonal; a pivot is the share of a feature's variance that the features before it leave unexplained, and
    from the first pivot below ``cut`` on they count as linearly dependent. So a linear last layer, fewer rows
    than features or a constant feature divide by no rounding noise, and rescaling a feature changes nothing.

    Args:
        products: float64, or float32 to multiply and add faster within a chunk (the sums over chunks stay float64).
        scoring: None to score in the differences' own precision, or bfloat16 to score faster on processors with
            matrix units for it; relative errors of NAP are then about 3e-4 (measured on MNIST).
        cut: see above; None for 1e-8 (float64) or 1e-5 (float32), both far above the rounding noise of float32
            activations (1e-10 and 1e-6 were measured) and below the pivots that carry signal (1e-4 and more).

    Attributes:
        rank: number of independent directions found, at most min(N − 1, D); 0 before ``fit``. If it is N − 1, every
            training row has the same NAP, and thresholds from them mean nothing: fit on more rows, or fewer layers.
        n_rows: rows that were fitted; 0 before ``fit`` and after one that failed.
    """

    def __init__(
        self,
        products: torch.dtype = torch.float64,
        scoring: torch.dtype | None = None,
        cut: float | None = None,
    ):
        if products not in (torch.float32, torch.float64):
            raise ValueError(f"products must be torch.float32 or torch.float64, got {products}")
        if scoring not in (None, torch.bfloat16):
            raise ValueError(f"scoring must be None or torch.bfloat16, got {scoring}")
        self.products, self.scoring, self.n_rows, self.rank = products, scoring, 0, 0
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
            self._shift = d.mean(0)  # near μ, so that nothing cancels
            self._sum = d.new_zeros(d.shape[1], dtype=torch.float64)
            self._gram = d.new_zeros(d.shape[1], d.shape[1], dtype=torch.float64)
        if first or len(d) > len(
            self._work
        ):  # one buffer for all chunks: fresh memory costs as much as the subtraction
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

    @one_thread_if_forked()
    def transform(self, d: Tensor) -> Tensor:
        """Whitened differences (N, rank) in d's dtype; their squared length is NAP."""
        return torch.cat([d[:, :0], *self._blocks(d)], dim=1)

    @one_thread_if_forked()
    def squared_length(self, d: Tensor) -> Tensor:
        """Of the whitened differences, (N,) in d's dtype."""
        return sum((block.square().sum(1) for block in self._blocks(d)), d.new_zeros(len(d)))

    def _blocks(self, d: Tensor) -> Iterator[Tensor]:
        """Columns of the whitened differences, one block after the other."""
        order, mu, null, last = self._parts_like(d)
        z = d - mu if order is None else d.index_select(1, order).sub_(mu)
        z.addmm_(z @ null, null.T, alpha=-1)  # onto the row space
        if self.scoring is None:
            yield torch.linalg.solve_triangular(last, z[:, : self.rank], upper=True, left=False)
            return
        z, step = z.to(self.scoring), max(256, -(-self.rank // 4))
        for j in range(0, self.rank, step):  # below this block's rows, last holds zeros only
            end = int(self._kept[min(j + step, self.rank) - 1]) + 1
            yield (z[:, :end] @ last[:end, j : j + step]).to(d.dtype)

    def _parts_like(self, d: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
        """Order of the features (None: their own), and with it μ, null space and last factor, in d's dtype and on its
        device; converted once, not for every chunk."""
        if (key := (d.dtype, d.device)) != self._parts_for:
            mu, null, last = self._mu, self._null, self._lower.T
            order: Tensor | None = self._order.to(d.device)
            if self.scoring is not None:  # the features stay in their own order, which saves a copy of d
                order, own = None, self._order.argsort()
                mu, null = mu[own], null[own]
                self._kept, rows = self._order[: self.rank].sort()
                triangle = torch.linalg.qr(self._lower[rows].T, mode="r").R
                eye = torch.eye(self.rank, dtype=torch.float64)
                last = torch.zeros(len(mu), self.rank, dtype=torch.float64)
                last[self._kept] = torch.linalg.solve_triangular(triangle, eye, upper=True)
            self._parts = order, mu.to(d), null.to(d), last.to(d.device, self.scoring or d.dtype)
            self._parts_for = key
        return self._parts


def nap(d: Tensor, whitening: Whitening) -> Tensor:
    """Normalized aggregation along the pathway, ‖(d − μ)ᵀ V Σ⁻¹‖² (paper, section 4.2): d (N, D) → (N,)."""
    return whitening.squared_length(d)


class Pathway:
    """An autoencoder's pathway, ready to score.

    Args:
        encoder: the layers g_1 … g_ℓ, in order (an ``nn.Sequential`` or a list).
        decoder: f, from the last layer's output to x̂ in x's shape.
        layers: which of 0 … ℓ enter d, e.g. ``range(1, 4)``; None for all. 0 is the input space (x − x̂).
        include_input: whether None starts at 0 (the authors' code) or at 1 (image data, as we read the paper).
        chunk: rows at a time; it bounds memory and changes no score, except through the order in which a
            stochastic decoder draws its noise.
        whitening: how to fit NAP's normaliser, if not by ``Whitening()``.
    """

    def __init__(
        self,
        encoder: Layers,
        decoder: Callable[[Tensor], Tensor],
        layers: Sequence[int] | None = None,
        include_input: bool = False,
        chunk: int = 2048,
        whitening: Whitening | None = None,
    ):
        if not hasattr(encoder, "__len__"):
            kind = type(encoder).__name__
            raise TypeError(f"encoder must be a sequence of layers, such as an nn.Sequential or a list, got {kind}")
        depth = len(encoder)
        self.layers = list(range(0 if include_input else 1, depth + 1)) if layers is None else list(layers)
        if not self.layers or not all(0 <= i <= depth for i in self.layers):
            raise ValueError(f"layers must be numbers from 0 (input) to {depth} (last layer), got {self.layers}")
        require_eval(encoder, decoder)
        self.encoder, self.decoder, self.chunk = encoder, decoder, chunk
        self.whitening = whitening or Whitening()

    @torch.no_grad()
    def _chunks(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        if not isinstance(x, Tensor):
            raise TypeError(
                f"x must be a torch tensor, got {type(x).__name__}; torch.as_tensor(x) makes one of an array"
            )
        if x.ndim < 2:
            raise ValueError(f"x must hold rows, (N, …), got shape {tuple(x.shape)}; of a single row x[None]")
        for rows in x.split(self.chunk):
            try:
                h, x_hat, h_hat = project(self.encoder, self.decoder, rows)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # torch's, of shapes or dtypes that do not fit
                weights = (p for layer in self.encoder if isinstance(layer, nn.Module) for p in layer.parameters())
                of = ", ".join({str(p.dtype) for p in weights})
                about = f"of shape {tuple(rows.shape[1:])} and {rows.dtype} (its weights: {of or 'none'})"
                raise ValueError(f"the autoencoder cannot take rows {about}: {error}") from error
            d = torch.cat([h[i] - h_hat[i] for i in self.layers], dim=1)
            # What is 16 bits wide is aggregated in 32.
            yield (recon(rows, x_hat), d) if d.dtype.itemsize > 2 else (recon(rows.float(), x_hat.float()), d.float())

    @one_thread_if_forked()
    def differences(self, x: Tensor) -> Tensor:
        """d(x), (N, Σ d_i), in one piece."""
        return torch.cat([d for _, d in self._chunks(x)])

    @one_thread_if_forked()
    def fit(self, x_train: Tensor) -> "Pathway":
        """Fit NAP's normaliser on normal training rows (N, …), in one pass.

        Raises:
            ValueError: fewer than 2 rows; as ``score``.
        """
        try:
            self.whitening.fit(d for _, d in self._chunks(x_train))
        except ValueError:
            self.score(x_train)  # of values that are not finite, it names the row
            raise
        return self

    @one_thread_if_forked()
    @torch.no_grad()
    def score(self, x: Tensor) -> dict[str, np.ndarray]:
        """``recon``, ``sap`` and, once fitted, ``nap`` of x (N, …): (N,) float64 each, higher = more novel.

        Raises:
            ValueError: a score that is NaN or infinite, for so is x or what the network makes of it, with the row;
                rows that the autoencoder cannot take.
        """
        parts = []
        for error, d in self._chunks(x):
            scores = {"recon": error, "sap": sap(d)}
            if self.whitening.n_rows:
                scores["nap"] = nap(d, self.whitening)
            parts.append(scores)
        whole = {name: torch.cat([part[name] for part in parts]).cpu().double().numpy() for name in parts[0]}
        for name, values in whole.items():
            if not np.isfinite(values).all():
                row = int(np.flatnonzero(~np.isfinite(values))[0])
                raise ValueError(
                    f"{name} of row {row} is {values[row]}: x, or what the network makes of it, holds NaN or infinite "
                    f"values there; fill or leave out such rows"
                )
        return whole
