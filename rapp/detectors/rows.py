"""Rows as people hand them over, checked, in batches, and how wide a code they need."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from sklearn.utils import column_or_1d
from torch import Tensor

NOVEL = -1  # scikit-learn's label
# Of a table's variance, by as many principal components as its bottleneck is wide: our choice, the paper is silent.
EXPLAINED = 0.9
WHITES = (16, 255, 65535)  # what images are usually stored with


def bottleneck(x: np.ndarray) -> int:
    """How many principal components explain 90 % of the variance of standardised features x (N, n_features)."""
    ratios = PCA().fit(StandardScaler().fit_transform(x)).explained_variance_ratio_
    return int(np.searchsorted(np.cumsum(ratios), EXPLAINED) + 1)


def rows_of(x: ArrayLike, name: str) -> np.ndarray:
    """Rows × features, at least one row, as an array of numbers that can be written to.

    Raises:
        ValueError: naming the rows, and of a DataFrame the column, and what is wrong.
    """
    if isinstance(x, Tensor):
        x = x.detach().cpu().float() if x.dtype == torch.bfloat16 else x.detach().cpu()
    for column, values in getattr(x, "items", dict)() if hasattr(x, "columns") else ():
        try:
            np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name}: column {column!r} holds no numbers or has gaps ({error}); mend or drop it"
            ) from error
    found = np.asarray(np.ma.filled(x.astype(np.float64), np.nan) if isinstance(x, np.ma.MaskedArray) else x)
    if found.dtype.kind not in "biuf":
        try:
            found = found.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: rows must hold numbers alone ({error})") from error
    if found.ndim != 2 or not len(found):
        flat = "; flatten images: x.reshape(len(x), -1)" if found.ndim > 2 else ""
        raise ValueError(f"{name}: need rows × features with at least one row, got the shape {found.shape}{flat}")
    return np.require(found, found.dtype.newbyteorder("="), ["C", "W"])  # torch takes no views backwards


def parted(train: ArrayLike, validation: ArrayLike | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train and to validate on: as given, or 20 % held out; labels are no rows, and −1 is left out."""
    x = rows_of(train, "train")
    if validation is not None and np.ndim(validation) != 1:
        return x, rows_of(validation, "validation")
    is_normal, doubt = normal_rows(validation, NOVEL, len(x))
    if doubt:
        warnings.warn(doubt, stacklevel=3)
    x = x[is_normal]
    order = np.random.default_rng(seed).permutation(len(x))
    fitted, held_out = np.split(x[order], [len(x) - max(1, len(x) // 5)])
    return fitted, held_out


def normal_rows(y: ArrayLike | None, novel_label: Any, n: int) -> tuple[np.ndarray, str]:
    """Which of n rows y (n,) does not call ``novel_label``, (n,) bool, and what is doubtful about that, or "".

    Raises:
        ValueError: y has another length, holes, or leaves fewer than two rows.
    """
    if y is None or novel_label is None:
        return np.ones(n, dtype=bool), ""
    labels = pd.Series(y if isinstance(y, np.ma.MaskedArray) else column_or_1d(y))
    if len(labels) != n:
        raise ValueError(f"y has {len(labels)} labels for {n} rows of X")
    if missing := int(labels.isna().sum()):
        raise ValueError(f"y has {missing} missing labels; label these rows, or leave them out")
    is_normal = np.array([label != novel_label for label in labels], dtype=bool)
    if (left := int(is_normal.sum())) < 2:
        raise ValueError(f"y leaves {left} of {n} rows that are not {novel_label!r}; at least 2 are needed")
    values = labels.unique().tolist()
    if len(values) == 1 or not is_normal.all():
        return is_normal, ""
    some = ", ".join(map(repr, values[:3])) + (", …" if len(values) > 3 else "")
    return is_normal, (
        f"y has the values {some}, but none is {novel_label!r}, for novel: all rows are taken as normal; "
        f"pass 1 for normal and {novel_label!r} for novel rows"
    )


def check_shape(image_shape: tuple[int, int] | None, n_features: int, detector: str, needs_images: bool) -> None:
    """Refuse rows that are no images of a shape, and none where images are needed."""
    if image_shape is None and needs_images:
        raise ValueError(f"{detector} needs images: say image_shape=(height, width), for {n_features} features")
    if image_shape is not None and (np.shape(image_shape) != (2,) or np.prod(image_shape) != n_features):
        what = f"{detector} needs images: " if needs_images else ""
        raise ValueError(f"{what}image_shape={image_shape} does not give rows of {n_features} features")


def check_pixels(x: np.ndarray, name: str) -> None:
    """Refuse pixels outside [0, 1], which networks whose output is in there would take silently."""
    low, high = x.min(), x.max()
    if low >= 0 and high <= 1:
        return
    if low >= 0:
        remedy = f"divide by {next((white for white in WHITES if high <= white), high):g}"
    else:
        remedy = "take (x + 1) / 2" if low >= -1 and high <= 1 else "undo their standardisation"
    raise ValueError(f"{name}: pixels must lie in [0, 1], these lie in [{low:g}, {high:g}]; {remedy}")


def batches(x: Tensor, size: int) -> Iterator[Tensor]:
    """Yield the rows of x in a new random order, ``size`` at a time; the last rows, if fewer, are left out."""
    size = min(size, len(x))
    order = torch.randperm(len(x), device=x.device)
    yield from (x[rows] for rows in order[: len(x) // size * size].split(size))
