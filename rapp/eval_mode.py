"""Refuses layers in training mode: batches and dropout would enter the scores, and scoring would change the model."""

import functools
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import CodeType

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parameter import is_lazy


def require_eval(encoder: Iterable[object], decoder: object) -> None:
    """Raise an error if a module among the encoder's layers or the decoder is in training mode.

    The flag counts of a module that has weights or statistics of its own, and of one whose code reads ``training``. A
    container's flag does not count, for a fresh ``nn.Sequential`` of trained layers has it on.

    Raises:
        ValueError: naming the layer.
    """
    if getattr(decoder, "__name__", "") == "forward":  # a module's own, which ``in_eval_mode`` does not see called
        decoder = getattr(decoder, "__self__", decoder)
    parts = {f"layer {i} of the encoder": layer for i, layer in enumerate(encoder, 1)}
    for part, layer in {**parts, "the decoder": decoder}.items():
        if isinstance(layer, nn.Module):
            _refuse_training(part, layer)


@contextmanager
def in_eval_mode(part: str) -> Iterator[None]:
    """Raise ``require_eval``'s error as soon as a module in training mode is called here, before it computes anything.

    Rows pass through functions, too, and nobody can tell from outside which modules these call.

    Args:
        part: what the error calls the whole that rows pass through.
    """
    thread = threading.get_ident()  # another one may be training a model of its own

    def check(module: nn.Module, _: object) -> None:
        if threading.get_ident() == thread:
            _refuse_training(part, module)

    hook = register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        hook.remove()


def _refuse_training(part: str, layer: nn.Module) -> None:
    for name, module in layer.named_modules():
        what = f"{type(module).__name__}{f' {name!r}' if name else ''}"
        if any(map(is_lazy, [*module.parameters(recurse=False), *module.buffers(recurse=False)])):
            raise ValueError(f"{part} has no weights yet (its {what}): pass rows through it, then load or train them")
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise ValueError(
                f"{part} has no statistics of training rows (its {what}), so scores would depend on the batch: "
                f"train it with track_running_stats=True"
            )
        if module.training and _matters(module):
            raise ValueError(
                f"{part} is in training mode (its {what}), so scores would depend on the batch and change the "
                f"model; encoder and decoder must be in eval mode: call model.eval() first"
            )


def _matters(module: nn.Module) -> bool:
    """Whether a module's own flag counts: it learns and holds no others, or its code asks for the flag."""
    if getattr(module, "track_running_stats", True) is False:
        return False  # a normalisation that treats training and eval mode alike
    learns = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return _asks(type(module)) or bool(learns and not [*module.children()])  # type: ignore[arg-type]


@functools.cache
def _asks(kind: type) -> bool:
    """Whether a module's own code reads ``training``, as that of dropout by function does."""
    own = [base for base in kind.__mro__ if issubclass(base, nn.Module) and base is not nn.Module]
    codes = (getattr(value, "__code__", None) for base in own for value in vars(base).values())
    return any("training" in code.co_names for code in codes if isinstance(code, CodeType))
