"""Fitted detectors as files: safetensors with JSON in their header. No pickle, so loading runs no foreign code."""

import json
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from rapp.cache import DamagedFileError, load_tensors, save_tensors

FORMAT = 1  # goes up when older code could not read what newer code writes
NAME = "model.safetensors"


class SavedModelError(Exception):
    """A saved detector that cannot be loaded; one line says which file, why and what to do."""


class Saveable(Protocol):
    """What ``save`` takes: a ``RaPP`` or a ``Whitening``, fitted."""

    def state(self) -> tuple[dict[str, Tensor], dict]: ...


def save(fitted: Saveable, folder: str | PathLike) -> Path:
    """Write a fitted ``RaPP`` or ``Whitening`` into a folder, which is made; ``rapp.load(folder)`` reads it.

    It is one file, ``model.safetensors``, with a SHA-256 over all that it holds. A model that lies there is replaced
    in one step: whoever reads, or kills this process, finds the old one or the new one whole.

    Returns:
        the file's path.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; what lay there before stays.
    """
    tensors, state = fitted.state()
    about = {"format": FORMAT, "kind": type(fitted).__name__, "rapp": _version(), "state": state}
    file = Path(folder) / NAME
    save_tensors(file, tensors, json.loads(json.dumps(about, default=_plain)))
    return file


def read(folder: str | PathLike) -> tuple[str, dict[str, Tensor], dict]:
    """What ``save`` wrote: the kind, "RaPP" or "Whitening", and what its ``state`` gave.

    Raises:
        SavedModelError: there is none, it is damaged or altered, or a newer rapp wrote it.
    """
    file = Path(folder) / NAME
    if not file.is_file():
        raise SavedModelError(f"{folder} holds no saved model: there is no file {file}")
    try:
        tensors, about = load_tensors(file)
    except (DamagedFileError, OSError) as error:
        reason = " ".join(str(error).split())
        raise SavedModelError(f"{reason}; save the model again, or take it from a backup") from error
    if "format" not in about:
        raise SavedModelError(f"{file} is a file of rapp's, but no saved detector; give a folder that save() wrote")
    if about["format"] > FORMAT:
        raise SavedModelError(
            f"{file} was written by a newer rapp ({about['rapp']}, format {about['format']}; this is {_version()}, "
            f"which reads formats up to {FORMAT}): update rapp"
        )
    return about["kind"], tensors, about["state"]


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as JSON has them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} cannot be saved: {type(value).__name__} has no place in JSON")


def _version() -> str:
    try:
        return version("rapp")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"
