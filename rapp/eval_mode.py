"""Refuses layers in training mode: batches and dropout would enter the scores, and scoring would change the model."""

import dis
import functools
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType

from torch import nn

DEEP = 3  # a decoder may be a function of a function of a list of modules


def require_eval(encoder: Iterable[object], decoder: object) -> None:
    """Raise an error if a layer that rows are about to pass is in training mode.

    It takes a tenth of a millisecond, so it is asked for each chunk. The flag counts of a module that has weights or
    statistics of its own, and of one whose code reads ``training``. A container's flag does not count, for a fresh
    ``nn.Sequential`` of trained layers has it on. Of a decoder that is a function, the modules count that it closes
    over, names as globals, or is a method of.

    Raises:
        ValueError: naming the layer.
    """
    parts = {f"layer {i} of the encoder": layer for i, layer in enumerate(encoder, 1)}
    for part, layer in {**parts, "the decoder": decoder}.items():
        for module in _modules(layer, DEEP):
            for name, one in module.named_modules():
                if one.training and _matters(one):
                    what = f"{type(one).__name__}{f' {name!r}' if name else ''}"
                    raise ValueError(
                        f"{part} is in training mode (its {what}), so scores would depend on the batch and change the "
                        f"model; encoder and decoder must be in eval mode: call model.eval() first"
                    )


def _matters(module: nn.Module) -> bool:
    """Whether a module's own flag counts: it learns and holds no others, or its code asks for the flag."""
    learns = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    asks = _asks(type(module))  # type: ignore[arg-type]
    return asks or bool(learns and not [*module.children()])


@functools.cache
def _asks(kind: type) -> bool:
    """Whether a module's own code reads ``training``, as that of dropout by function does."""
    own = [base for base in kind.__mro__ if issubclass(base, nn.Module) and base is not nn.Module]
    codes = (getattr(value, "__code__", None) for base in own for value in vars(base).values())
    return any("training" in code.co_names for code in codes if isinstance(code, CodeType))


def _modules(part: object, deep: int) -> Iterator[nn.Module]:
    """The modules that a callable runs, as far as it shows them."""
    if isinstance(part, nn.Module):
        yield part
    elif deep and not isinstance(part, type | ModuleType | BuiltinFunctionType):
        for held in _held(part):
            yield from _modules(held, deep - 1)


def _held(part: object) -> list[object]:
    """What a callable that is no module holds and may run."""
    if isinstance(part, functools.partial):
        return [part.func, *part.args, *part.keywords.values()]
    if isinstance(part, MethodType):
        return [part.__self__] if isinstance(part.__self__, nn.Module) else _of_object(part.__self__)
    if isinstance(part, FunctionType):
        return _captured(part)
    if isinstance(part, list | tuple):
        return [*part]
    return _of_object(part) if callable(part) else []


def _of_object(part: object) -> list[object]:
    """The modules among an object's attributes."""
    return [value for value in getattr(part, "__dict__", {}).values() if isinstance(value, nn.Module)]


def _captured(function: FunctionType) -> list[object]:
    """What a function closes over and its global names; of a module whose children it names, these children alone."""
    values = [function.__globals__[name] for name in _global_names(function.__code__) if name in function.__globals__]
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # not yet assigned
            continue
    found: list[object] = []
    for value in values:
        children = dict(value.named_children()) if isinstance(value, nn.Module) else {}
        found += [child for name, child in children.items() if name in function.__code__.co_names] or [value]
    return found


@functools.cache
def _global_names(code: CodeType) -> frozenset[str]:
    """The global names that a function reads."""
    return frozenset(step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
