"""A fitted estimator in a folder: one safetensors file that carries its own SHA-256, and nothing that is pickled."""

import contextlib
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rapp.cache import DamagedFileError, load_tensors, save_tensors
from rapp.config import ParameterError, is_whole
from rapp.models import MODELS
from rapp.pathway import Pathway
from rapp.training import under
from rapp.whitening import Whitening

FORMAT = 1  # raised whenever an older rapp could not read what is written
FILE = "rapp.safetensors"
FITTED = ("method_", "offset_", "false_alarm_rate_", "n_iter_")


def save(estimator: Any, folder: Path, **more: object) -> None:
    """Write a fitted ``RaPP`` and what else belongs to it, JSON-able; an interruption leaves the old one, or none."""
    model = estimator.model_
    whitening, about_whitening = estimator.pathway_.whitening.state()
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"whitening.{name}": value for name, value in whitening.items()}
    tensors |= {f"normal.{name}": torch.from_numpy(values) for name, values in estimator.pathway_.normal.items()}
    tensors["quantiles"] = torch.from_numpy(estimator.quantiles_)
    params = estimator.get_params()
    if not is_whole(params["random_state"]):
        params["random_state"] = None  # it has done its work
    about = {
        "format": FORMAT,
        "params": params,
        "architecture": estimator.architecture_,
        "whitening": about_whitening,
        "fitted": {name: getattr(estimator, name) for name in FITTED},
        "features": [str(name) for name in getattr(estimator, "feature_names_in_", [])],
    }
    refuse_another_kind(folder, about | more)
    save_tensors(folder / FILE, tensors, about | more)


def save_whitening(whitening: Whitening, folder: str | PathLike) -> None:
    """Write NAP's fitted ``whitening``, for a network of one's own; ``rapp.load(folder)`` reads it.

    Raises:
        ValueError: it is not fitted, or the folder holds a model of another kind.

    Examples:
        >>> import rapp
        >>> import torch
        >>> rapp.save_whitening(rapp.Whitening().fit([torch.eye(3)]), "nap")
        >>> rapp.load("nap").n_rows
        3
    """
    if not whitening.n_rows:
        raise ValueError("this Whitening is not fitted: call Pathway.fit(x_train) first")
    tensors, about = whitening.state()
    refuse_another_kind(Path(folder), about := {"format": FORMAT, "whitening": about})
    save_tensors(Path(folder) / FILE, tensors, about)


def refuse_another_kind(folder: Path, about: dict) -> None:
    """Raise a ParameterError if a folder holds a model of another kind than ``about`` is of, which would be lost."""
    kinds = {"table": "the model of a table (rapp fit)", "params": "a RaPP", "whitening": "a Whitening"}
    with contextlib.suppress(DamagedFileError):  # then nothing is there that could be lost
        there, new = (next(kinds[key] for key in kinds if key in of) for of in (read(folder)[1], about))
        if there != new:
            raise ParameterError(f"{folder} holds {there}, and would lose it to {new}; name another folder")


def read(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """What ``save`` wrote: tensors, and what they are.

    Raises:
        DamagedFileError: there is no saved estimator, it was altered or cut short, or a newer rapp wrote it.
    """
    path = folder / FILE
    if not path.is_file():
        raise DamagedFileError(f"{folder} holds no saved estimator ({FILE} is missing); RaPP.save(folder) writes one")
    tensors, about = load_tensors(path)
    if "format" not in about:
        raise DamagedFileError(f"{path} is a file of rapp's, but no saved model; name a folder that save() wrote")
    if about["format"] != FORMAT:
        raise DamagedFileError(f"{path} has format {about.get('format')}, this rapp reads {FORMAT}: update rapp")
    return tensors, about


def restore(estimator: Any, tensors: dict[str, Tensor], about: dict) -> None:
    """Make a fresh estimator the fitted one that was saved."""
    kind, *sizes = about["architecture"]
    model = MODELS[kind](*sizes).double()
    model.load_state_dict(under("model.", tensors))
    estimator.model_ = model.eval()
    whitening = Whitening.restored(under("whitening.", tensors), about["whitening"])
    estimator.pathway_ = Pathway(model.encoder, model.decode, include_input=True, whitening=whitening)
    estimator.pathway_.normal = {name: value.numpy() for name, value in under("normal.", tensors).items()}
    estimator.quantiles_, estimator.n_features_in_ = tensors["quantiles"].numpy(), sizes[0]
    estimator.architecture_ = about["architecture"]
    if about["features"]:
        estimator.feature_names_in_ = np.array(about["features"], dtype=object)
    for name, value in about["fitted"].items():
        setattr(estimator, name, value)
