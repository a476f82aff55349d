"""Fitted detectors as files: safetensors with JSON in their header. No pickle, so loading runs no foreign code."""

import json
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from rapp.cache import DamagedFileError, load_tensors, save_tensors

FORMAT = 1  # goes up when older code could not read what newer code writes
NAME = "model.safetensors"


class SavedModelError(Exception):
    """A saved detector that cannot be loaded; one line says which file, why and what to do."""


def save(fitted: Any, folder: str | PathLike) -> Path:
    """Write a fitted ``RaPP`` or ``Whitening`` into a folder, which is made; ``rapp.load(folder)`` reads it.

    It is one file, ``model.safetensors``, with a SHA-256 over all that it holds, and replaces an older one in one step:
    who reads meanwhile, or after this process was killed, finds one of the two whole. Returns its path.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; what lay there before stays.
    """
    tensors, state = fitted.state()
    about = {"format": FORMAT, "kind": type(fitted).__name__, "state": state}
    file = Path(folder) / NAME
    save_tensors(file, tensors, json.loads(json.dumps(about, default=lambda value: value.tolist())))  # as NumPy has
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
        raise SavedModelError(f"{file} is a file of rapp's, but no saved model; name a folder that save() wrote")
    if about["format"] > FORMAT:
        raise SavedModelError(
            f"{file} was written by a newer rapp (format {about['format']}; this one reads up to {FORMAT}): update rapp"
        )
    return about["kind"], tensors, about["state"]
