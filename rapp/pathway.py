"""RaPP (Kim et al., ICLR 2020): novelty scores from the projection pathway of a trained autoencoder.

Given the encoder's layers g_1 … g_ℓ and a decoder f, with A = f∘g (paper, sections 3 and 4)::

    h_i(x)  = g_i∘…∘g_1(x)            hidden activations of the input
    ĥ_i(x)  = g_i∘…∘g_1(A(x))         hidden activations of its reconstruction
    d(x)    = [h_1 − ĥ_1; …; h_ℓ − ĥ_ℓ]
    recon(x) = ‖x − x̂‖²
    SAP(x)  = ‖d(x)‖²
    NAP(x)  = ‖(d(x) − μ)ᵀ V Σ⁻¹‖²     with rows d(x_j) − μ over the training set = U Σ Vᵀ

All scores are higher for more novel. The functions know tensors only: they train nothing, draw nothing and
change nothing. Encoder layers are any torch modules that follow one another, convolutional ones too; put them in
eval mode first.

Examples:
    >>> import torch
    >>> from rapp import Whitening, nap, recon, sap
    >>> from rapp.pathway import project
    >>> x = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    >>> h, x_hat, h_hat = project([lambda x: 2 * x], lambda code: code / 4, x)
    >>> recon(x, x_hat)
    tensor([1.2500, 2.2500])
    >>> d = h[1] - h_hat[1]
    >>> sap(d)
    tensor([5., 9.])
    >>> nap(d, Whitening().fit([d]))
    tensor([0.5000, 0.5000])
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rapp import calibration
from rapp.eval_mode import in_eval_mode, require_eval
from rapp.networks import SAME, Layers, NamedLayers, Take, chunks, tensor_of
from rapp.threads import one_thread_if_forked
from rapp.whitening import FewRowsWarning, Whitening


def encode(encoder: Layers | NamedLayers, x: Tensor, take: Take | None = None) -> tuple[list[Tensor], Any]:
    """[h_0 = x, h_1, …, h_ℓ], each flattened to (N, d_i), and the last layer's output as it is.

    Copies are kept, for layers may work in place.
    """
    if isinstance(encoder, NamedLayers):
        return encoder.encode(x)
    hidden, code = [x.flatten(1)], x.clone()
    for i, layer in enumerate(encoder, 1):
        code = layer(code)
        hidden.append(tensor_of(code, take, f"layer {i} of the encoder").flatten(1).clone())
    return hidden, code


def project(
    encoder: Layers | NamedLayers, decoder: Callable[[Any], Any] | None, x: Tensor, take: Take | None = None
) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """The whole pathway of x (N, …): h_0 … h_ℓ, (N, d_i) each, x̂ (N, …), ĥ_0 … ĥ_ℓ. No decoder: the encoder returns x̂.

    Args:
        encoder, decoder, take: as for ``Pathway``; names of layers are for ``Pathway`` alone.
        x: rows (N, …).

    Raises:
        ValueError: a layer in training mode, or one that changes the number of rows; an x̂ of another shape than x.
    """
    require_eval(encoder, decoder)
    with in_eval_mode("a layer of the encoder"):
        h, code = encode(encoder, x, take)
    if odd := [(i, len(part)) for i, part in enumerate(h) if len(part) != len(x)]:
        raise ValueError(
            f"layer {odd[0][0]} of the pathway made {odd[0][1]} rows of {len(x)}; rows must come first: an LSTM "
            f"without batch_first=True has them second, so say take=lambda output: output[0].transpose(0, 1)"
        )
    with in_eval_mode("the decoder"):
        x_hat = tensor_of(decoder(code) if decoder else code, take, "the decoder")
    if x_hat.shape != x.shape:
        raise ValueError(f"the decoder returned shape {tuple(x_hat.shape)} for an input of shape {tuple(x.shape)}")
    return h, x_hat, encode(encoder, x_hat, take)[0]


def recon(x: Tensor, x_hat: Tensor) -> Tensor:
    """Reconstruction error ‖x − x̂‖² of x (N, …) and x_hat (N, …): (N,)."""
    return (x - x_hat).flatten(1).square().sum(1)


def sap(d: Tensor) -> Tensor:
    """Simple aggregation along the pathway, ‖d‖² (paper, section 4.1): d (N, D) → (N,)."""
    return d.square().sum(1)


def nap(d: Tensor, whitening: Whitening) -> Tensor:
    """Normalized aggregation along the pathway, ‖(d − μ)ᵀ V Σ⁻¹‖² (paper, section 4.2): d (N, D) → (N,).

    Raises:
        ValueError: the fitted ``whitening`` is of rows of another width.
    """
    return whitening.transform(d).square().sum(1)


class Pathway:
    """An autoencoder's pathway, ready to score.

    Rows x can be tensors, arrays or a ``DataLoader`` (``networks.chunks``), wherever they are asked for.

    Args:
        encoder: the layers g_1 … g_ℓ, in order (an ``nn.Sequential`` or a list); or any module, where ``layers`` has
            names.
        decoder: f, from the last layer's output to x̂ in x's shape. None where ``encoder`` is a whole autoencoder.
        layers: which of 0 … ℓ enter d, e.g. ``range(1, 4)``, where 0 is the input space (x − x̂); or names of submodules
            in the pathway's order, e.g. ``["conv1", "conv2", "code"]``. None for all layers, but for those that only
            pass numbers on in eval mode, such as ``Flatten``, ``Dropout`` and ``Identity``: they would count twice.
        include_input: whether None and names start at 0 (the authors' code) or at 1 (image data, as we read the paper).
        chunk: rows at a time; it bounds memory and changes no score, except through the order in which a
            stochastic decoder draws its noise.
        whitening: how to fit NAP's normaliser, if not by ``Whitening()``.
        take: finds the tensor in outputs that are none, such as an LSTM's: ``take=lambda output: output[0]``. The next
            layer, or the decoder, gets the output as it is.

    Attributes:
        normal: the scores of held-out normal rows, by name, after ``calibrate``.

    Raises:
        TypeError: ``encoder``, ``decoder`` and ``layers`` do not go together.
        ValueError: layers that are not there, or in training mode.

    Examples:
        >>> import torch
        >>> from rapp import Pathway
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Linear(2, 4)).eval()
        >>> x = torch.rand(50, 4)
        >>> pathway = Pathway(net[:1], net[1]).fit(x[:20]).calibrate(x[20:40])
        >>> {name: s.shape for name, s in pathway.score(x[40:]).items()}
        {'recon': (10,), 'sap': (10,), 'nap': (10,)}
        >>> pathway.predict(x[40:], false_alarm_rate=0.1).shape
        (10,)
    """

    def __init__(
        self,
        encoder: Any,
        decoder: Callable[[Any], Any] | None = None,
        layers: Sequence[int] | Sequence[str] | None = None,
        include_input: bool = False,
        chunk: int = 2048,
        whitening: Whitening | None = None,
        take: Take | None = None,
    ):
        if not isinstance(chunk, int | np.integer) or chunk < 1:
            raise ValueError(f"chunk={chunk!r} must be a whole number of at least 1")
        encoder = getattr(encoder, "_orig_mod", encoder)  # of torch.compile, which has no layers of its own
        wanted = None if layers is None else [layers] if isinstance(layers, int | np.integer | str) else list(layers)
        names = [str(name) for name in wanted or () if isinstance(name, str)]
        kinds = str if names else int | np.integer
        if wanted is not None and (len({*wanted}) < len(wanted) or not all(isinstance(i, kinds) for i in wanted)):
            raise ValueError(f"layers={wanted} must be whole numbers, or else names, each once")
        is_row = hasattr(encoder, "__len__") and not isinstance(encoder, nn.ModuleDict)
        if not (isinstance(encoder, nn.Module) if names else is_row and decoder is not None):
            raise TypeError(
                f"encoder must be a sequence of layers, such as an nn.Sequential or a list, with a decoder; or a "
                f'module, with layers=["name", …] of its submodules; got {type(encoder).__name__}, {len(names)} names '
                f"and {'no' if decoder is None else 'a'} decoder"
            )
        self.encoder = NamedLayers(encoder, names, take) if names else encoder
        depth = len(self.encoder)
        if names or wanted is None:
            repeats = [] if names else [i for i, layer in enumerate(self.encoder, 1) if isinstance(layer, SAME)]
            self.layers = [i for i in range(0 if include_input else 1, depth + 1) if i not in repeats]
        else:
            self.layers = [int(i) for i in wanted]  # type: ignore[call-overload]
        if not self.layers or not all(0 <= i <= depth for i in self.layers):
            raise ValueError(f"layers must be numbers from 0 (input) to {depth} (last layer), got {self.layers}")
        require_eval(self.encoder, decoder)
        self.decoder, self.chunk, self.take = decoder, int(chunk), take
        self.whitening = whitening or Whitening()
        self.normal: dict[str, np.ndarray] = {}

    def _weights(self) -> list[Tensor]:
        parts = [part for part in [*self.encoder, self.decoder] if isinstance(part, nn.Module)]
        return [weight for part in parts for weight in part.parameters()]

    def _project(self, rows: Tensor) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        with torch.autocast(rows.device.type, enabled=False):  # a caller's would round what scores are made of
            return project(self.encoder, self.decoder, rows, self.take)

    def _warn_of_neighbours(self, rows: Tensor) -> None:
        """Warn if an activation of rows x (n, …) hangs on the rows beside it, unless two passes differ anyway."""
        passes = (encode(self.encoder, part, self.take)[0] for part in (rows, rows, rows[-2:]))
        with torch.autocast(rows.device.type, enabled=False), suppress(RuntimeError, AssertionError, ValueError):
            for h, again, alone in zip(*passes, strict=True):
                if torch.equal(h, again) and (h[-2:] - alone).abs().max() > 0.05 * h.abs().max():
                    said = "rows change each other's activations; do they come first (batch_first)?"
                    return warnings.warn(said, stacklevel=5)

    @torch.no_grad()
    def _chunks(self, x: object, ordered: bool = True) -> Iterator[tuple[Tensor, Tensor]]:
        weights = self._weights()
        for i, rows in enumerate(chunks(x, self.chunk, weights, ordered)):
            try:
                h, x_hat, h_hat = self._project(rows)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, TypeError, AttributeError, IndexError, AssertionError) as error:  # these do not fit
                dtypes = ", ".join({str(weight.dtype) for weight in weights})
                about = f"of shape {tuple(rows.shape[1:])} and {rows.dtype} (its weights: {dtypes or 'none'})"
                raise ValueError(f"the autoencoder cannot take rows {about}, scaled as in training? {error}") from error
            if not ordered and i == 0:
                self._warn_of_neighbours(rows[:9])
            d = torch.cat([h[i] - h_hat[i] for i in self.layers], dim=1)
            # What is 16 bits wide is aggregated in 32.
            yield (recon(rows, x_hat), d) if d.dtype.itemsize > 2 else (recon(rows.float(), x_hat.float()), d.float())

    @one_thread_if_forked()
    @torch.no_grad()
    def hidden(self, x: object) -> list[Tensor]:
        """h_0 = x, h_1, …, h_ℓ of rows x (N, …), (N, d_i) each."""
        parts = [self._project(rows)[0] for rows in chunks(x, self.chunk, self._weights())]
        return [torch.cat(layer) for layer in zip(*parts, strict=True)]

    @one_thread_if_forked()
    @torch.no_grad()
    def reconstruct(self, x: object) -> Tensor:
        """x̂ of rows x (N, …), in their shape."""
        return torch.cat([self._project(rows)[1] for rows in chunks(x, self.chunk, self._weights())])

    @one_thread_if_forked()
    def differences(self, x: object) -> Tensor:
        """d(x), (N, Σ d_i), in one piece."""
        return torch.cat([d for _, d in self._chunks(x)])

    @one_thread_if_forked()
    def fit(self, x_train: object) -> "Pathway":
        """Fit NAP's normaliser on normal training rows x_train (N, …), in one pass.

        Raises:
            ValueError: fewer than 2 rows; as ``score``.

        Warns:
            FewRowsWarning: fewer than two rows a direction, so that NAP hardly tells training rows apart.
        """
        self.normal = {}  # of another fit
        try:
            self.whitening.fit(d for _, d in self._chunks(x_train, ordered=False))
        except ValueError:
            if hasattr(x_train, "__array__"):
                self.score(x_train)  # of values that are not finite, it names the row
            raise
        if said := self.whitening.shortage:
            warnings.warn(said, FewRowsWarning, stacklevel=3)  # 3: there is a decorator in between
        return self

    @one_thread_if_forked()
    @torch.no_grad()
    def score(self, x: object) -> dict[str, np.ndarray]:
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

    def calibrate(self, x: object) -> "Pathway":
        """Keep the scores of normal rows x (n, …) that trained nothing; p-values and decisions are made of them."""
        self.normal = self.score(x)
        return self

    def p_value(self, x: object, score: str = "nap") -> np.ndarray:
        """How unusual rows x (N, …) are by a score among those of ``calibrate``: ``calibration.p_values``, (N,)."""
        return calibration.p_values(self._calibrated(score), self.score(x)[score])

    def predict(self, x: object, false_alarm_rate: float = 0.05, score: str = "nap") -> np.ndarray:
        """Whether rows x (N, …) are novel by a score, (N,) bool, at a false_alarm_rate: ``calibration.threshold``."""
        return calibration.threshold(self._calibrated(score), false_alarm_rate) < self.score(x)[score]

    def _calibrated(self, score: str) -> np.ndarray:
        if score not in self.normal:
            known = f"score={score!r} is unknown; allowed: {', '.join(self.normal)}, or nap after fit and calibrate"
            raise ValueError(known if self.normal else "call calibrate(x) first, with normal rows that trained nothing")
        return self.normal[score]
