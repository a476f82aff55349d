"""Networks that people bring: layers by name, outputs that are tuples, rows as tensors, arrays or loaders."""

import difflib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler

Layers = Sequence[Any] | nn.Sequential  # each takes a tensor, and returns one but for `take`
Take = Callable[[object], Tensor]
# In eval mode these give back the numbers that they get, at most in another shape: their layer counts once.
SAME = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
        nn.FeatureAlphaDropout)  # fmt: skip


def tensor_of(output: object, take: Take | None, what: str) -> Tensor:
    """The tensor in a layer's output, which ``take`` finds where the output is none.

    Raises:
        ValueError: ``output`` is no tensor, and there is no ``take``, or it finds none.
    """
    if not isinstance(output, Tensor):
        if take is None:
            raise ValueError(
                f"{what} returned a {type(output).__name__}; say which tensor counts: Pathway(…, take=lambda output: "
                f"output[0]) takes the first, such as an LSTM's outputs; of (mu, logvar), "
                f"take=lambda output: torch.cat(output, 1) takes both"
            )
        output = take(output)
    if not isinstance(output, Tensor):
        raise ValueError(f"take made a {type(output).__name__} of what {what} returned; it must return one tensor")
    if output.ndim < 2:
        raise ValueError(f"{what} returned shape {tuple(output.shape)}; keep a dimension of units, which squeeze drops")
    return output


class NamedLayers:
    """Layers of a module by their names, read while rows pass through the whole of it.

    Args:
        module: an encoder, or a whole autoencoder.
        names: of its submodules, as ``module.named_modules()`` has them, in the order of the pathway.
        take: see ``tensor_of``.
    """

    def __init__(self, module: nn.Module, names: Sequence[str], take: Take | None = None):
        known = {name: part for name, part in module.named_modules() if name}
        for name in names:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1, cutoff=0) or ["none"]
                raise ValueError(f"there is no layer {name!r}; the closest is {close[0]!r} of {', '.join(known)}")
        self.module, self.take = module, take
        self.layers = {name: known[name] for name in names}

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter([self.module])

    def encode(self, x: Tensor) -> tuple[list[Tensor], object]:
        """[x, h_1, …, h_ℓ], each flattened to (N, d_i), and what the module returned."""
        found: dict[str, Tensor] = {}
        thread = threading.get_ident()  # another one may pass rows through the same module

        def keep(name: str) -> Callable:
            def hook(_module: nn.Module, _inputs: object, output: object) -> None:
                if threading.get_ident() != thread:
                    return
                if name in found:
                    raise ValueError(f"layer {name!r} ran twice in one pass; name layers that run once")
                found[name] = tensor_of(output, self.take, f"layer {name!r}").flatten(1).clone()

            return hook

        hooks = [layer.register_forward_hook(keep(name)) for name, layer in self.layers.items()]
        try:
            output = self.module(x.clone())  # it may work in place
        finally:
            for hook in hooks:
                hook.remove()
        if missing := [name for name in self.layers if name not in found]:
            raise ValueError(f"layer {missing[0]!r} did not run as rows passed; name layers that do")
        return [x.flatten(1), *(found[name] for name in self.layers)], output


def chunks(x: object, size: int, weights: Sequence[Tensor], ordered: bool = True) -> Iterator[Tensor]:
    """Yield the rows of x, at most ``size`` at a time, as (n, …) tensors.

    A tensor is taken as it is. An array's numbers become the weights' dtype, on their device, and so do the batches of
    a ``DataLoader``, whose first part counts if they have several, such as (x, y).

    Args:
        x: (N, …) tensor or array, or a ``DataLoader``.
        size: how many rows at a time.
        weights: of the network.
        ordered: whether each row counts, in its place: a loader that shuffles, draws or drops rows is refused.

    Raises:
        TypeError: x is none of these.
        ValueError: a single row, or a loader that holds none, or does not yield each in its place.
    """
    if isinstance(x, DataLoader):
        batches = x.batch_sampler
        samplers = {type(x.sampler), type(getattr(batches, "sampler", batches))}
        if ordered and not (samplers <= {SequentialSampler, type(None)} or isinstance(x.dataset, IterableDataset)):
            raise ValueError("this DataLoader shuffles, so nobody could tell which score is whose: use shuffle=False")
        if ordered and getattr(batches, "drop_last", False):
            raise ValueError("this DataLoader drops its last rows, so they would have no score: use drop_last=False")
        if ordered and isinstance(x.dataset, IterableDataset) and x.num_workers > 1:
            raise ValueError("several workers yield an IterableDataset's rows in no known order: use num_workers=0")
        batch = None
        for batch in x:
            yield from chunks(_like(batch[0] if isinstance(batch, list | tuple) else batch, weights), size, weights)
        if batch is None:
            raise ValueError("this DataLoader holds no rows")
        return
    rows = x if isinstance(x, Tensor) else _like(x, weights)
    if rows.is_sparse or rows.is_complex():
        raise ValueError(f"x must hold dense real numbers, got {rows.dtype}, {rows.layout}; x.to_dense() may help")
    if rows.ndim < 2:
        raise ValueError(f"x must hold rows, (N, …), got shape {tuple(rows.shape)}; of a single row x[None]")
    yield from rows.split(size)


def _like(x: object, weights: Sequence[Tensor]) -> Tensor:
    """x as a tensor on the weights' device; its numbers, if it has a fraction, in their dtype."""
    if not (isinstance(x, Tensor) or hasattr(x, "__array__")):
        raise TypeError(f"x must be a torch tensor, an array or a DataLoader, got {type(x).__name__}")
    if not isinstance(x, Tensor):
        array = np.asarray(np.ma.filled(x.astype(np.float64), np.nan) if isinstance(x, np.ma.MaskedArray) else x)
        fits = min(array.strides, default=0) >= 0 and array.dtype.isnative  # else torch refuses it
        x = torch.as_tensor(array if fits else np.require(array, array.dtype.newbyteorder("="), "C"))
    like = next((weight for weight in weights if weight.is_floating_point()), x)
    return x.to(like.device, like.dtype if x.is_floating_point() else x.dtype)
