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

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rapp.eval_mode import in_eval_mode, require_eval
from rapp.threads import one_thread_if_forked
from rapp.whitening import Whitening

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


def nap(d: Tensor, whitening: Whitening) -> Tensor:
    """Normalized aggregation along the pathway, ‖(d − μ)ᵀ V Σ⁻¹‖² (paper, section 4.2): d (N, D) → (N,)."""
    return whitening.transform(d).square().sum(1)


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
                dtypes = ", ".join({str(p.dtype) for p in weights})
                about = f"of shape {tuple(rows.shape[1:])} and {rows.dtype} (its weights: {dtypes or 'none'})"
                raise ValueError(f"the autoencoder cannot take rows {about}: {error}") from error
            d = torch.cat([h[i] - h_hat[i] for i in self.layers], dim=1)
            # What is 16 bits wide is aggregated in 32.
            yield (recon(rows, x_hat), d) if d.dtype.itemsize > 2 else (recon(rows.float(), x_hat.float()), d.float())

    @one_thread_if_forked()
    def differences(self, x: Tensor) -> Tensor:
        """d(x), (N, Σ d_i), in one piece."""
        return torch.cat([d for _, d in self._chunks(x)])

    def fit(self, x_train: Tensor) -> "Pathway":
        """Fit NAP's normaliser on normal training rows (N, …), in one pass; of too few it warns.

        Raises:
            ValueError: fewer than 2 rows; as ``score``.
        """
        self.fit_quietly(x_train)
        if shortage := self.whitening.shortage():
            warnings.warn(shortage, stacklevel=2)
        return self

    @one_thread_if_forked()
    def fit_quietly(self, x_train: Tensor) -> "Pathway":
        """``fit`` without its warning."""
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
