"""What numbers came from: the data's checksum, the commit, the processor, the versions."""

import functools
import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from joblib import cpu_count

from rapp.cache import sha256
from rapp.data.dataset import Dataset
from rapp.data.images import CHECKSUMS


def checksum(data: Dataset) -> str:
    """SHA-256 of a data set: of its source's integers for images, of features and labels for tables."""
    labels = np.char.encode(data.y, "utf-8")  # a byte a character at least, as plain labels have
    return CHECKSUMS.get(data.name) or sha256(data.x, labels.astype(f"S{max(labels.itemsize, data.y.itemsize // 4)}"))


@functools.cache
def commit() -> str:
    """The commit of this checkout, with "+" if files differ from it; "" outside of a checkout.

    ``$RAPP_COMMIT`` takes its place where there is a copy of the files but no git.
    """
    if named := os.environ.get("RAPP_COMMIT"):
        return named
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], capture_output=True, check=True)
        head = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "--", "."], capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if changed else "")


def processor(device: str) -> str:
    """The hardware on which a device's rounding depends: the GPU's name, or the CPU's kind and widest instructions."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def machine() -> str:
    """This machine's kind of CPU and number of cores, in words."""
    return f"{platform.machine()}, {cpu_count()} cores"


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that numbers depend on.

    Examples:
        >>> from rapp.provenance import versions
        >>> list(versions())[:2]
        ['Python', 'torch']
    """
    found = {"Python": platform.python_version()}
    for name in ("torch", "torchvision", "scikit-learn", "numpy", "mlxtend", "rapp"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
