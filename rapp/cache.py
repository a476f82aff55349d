"""Files that are either whole or absent, and a cache of trained models that is checked before it is trusted."""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

import numpy as np
from torch import Tensor


class DamagedFileError(Exception):
    """A file that is not what its writer wrote.

    Examples:
        >>> import rapp
        >>> rapp.load("a folder that is not there")
        Traceback (most recent call last):
        rapp.cache.DamagedFileError: a folder that is not there holds no saved estimator...
    """


def cache_folder() -> Path:
    """Where trained models and downloads are kept: ``$RAPP_CACHE``, else ``~/.cache/rapp``.

    Who has no home, as a user of a container that is only a number, has them in the folder for temporary files.
    """
    try:
        return Path(os.environ.get("RAPP_CACHE") or Path.home() / ".cache" / "rapp").expanduser()
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"rapp-{os.getuid()}"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then rename it: readers see the old file or the whole new one.

    A link stays, and what it names is replaced; into what is no regular file, such as a pipe, it writes at once.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        write(path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(beside)
        if path.exists():
            shutil.copymode(path, beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def lock(path: Path, busy: str) -> TextIO:
    """A lock, held until what is returned is closed; the operating system takes it back from a process that dies.

    Args:
        path: of the lock's file, which is made.
        busy: what to say on stderr while another process has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"rapp: {busy}; waiting for it", file=sys.stderr, flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def write_text(path: Path, text: str) -> None:
    """``write_atomically`` for UTF-8 text."""
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def sha256(*parts: np.ndarray | Tensor | str | bytes) -> str:
    """One digest over arrays (dtype, shape and bytes), strings and bytes."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            part = part.detach().cpu().numpy()
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def _digest(tensors: Mapping[str, Tensor], about: str) -> str:
    parts = (part for name in sorted(tensors) for part in (name, tensors[name]))
    return sha256(about, *parts)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: dict) -> None:
    """Write tensors and a JSON-able ``about`` as one safetensors file that carries its own SHA-256, or an OSError."""
    from safetensors import SafetensorError  # here, so that a grid can run without it
    from safetensors.torch import save_file

    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(about, sort_keys=True, default=lambda value: value.tolist())  # NumPy's numbers
    meta = {"about": text, "sha256": _digest(flat, text)}

    def write(beside: Path) -> None:
        try:
            save_file(flat, beside, metadata=meta)
        except SafetensorError as error:  # it says so of a full disk, too
            raise OSError(f"{path} could not be written ({error})") from error

    write_atomically(path, write)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Read what ``save_tensors`` wrote.

    Raises:
        DamagedFileError: if the file is truncated, altered, pickled or from another program.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = path.read_bytes()  # at once: safetensors would open the file twice, and another process may replace it
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise DamagedFileError(f"{path} is no readable safetensors file ({error})") from error
    meta = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    if "about" not in meta or "sha256" not in meta:
        raise DamagedFileError(f"{path} was not written by rapp")
    if meta["sha256"] != _digest(tensors, meta["about"]):
        raise DamagedFileError(f"{path} does not match its own SHA-256")
    return tensors, json.loads(meta["about"])


def load_if_sound(path: Path, key: str) -> tuple[dict[str, Tensor], dict] | None:
    """``load_tensors``, but a file that is damaged or belongs to another key is named on stderr and set aside: None."""
    if not path.exists():
        return None
    try:
        tensors, about = load_tensors(path)
        if about.get("key") != key:
            raise DamagedFileError(f"{path} belongs to another model")
    except DamagedFileError as error:
        aside = path.replace(path.with_name(path.name + ".damaged"))
        print(f"rapp: {error}; set aside as {aside.name}, starting afresh", file=sys.stderr, flush=True)
        return None
    return tensors, about
