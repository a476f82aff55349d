"""Shared by all tests. Nothing here touches the user's cache; real data come from RAPP_DATA where it is set."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rapp.data import Dataset
from rapp.data.images import CHECKSUMS, DIGITS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book"))  # for its scripts
# The AUROC of ``blobs``'s 43 novel and 80 normal test rows moves by 3e-4 when two that all but tie change places, as
# float32's rounding on another processor, or on another number of threads, may have them. Three such swaps:
SWAPS = 1e-3


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    os.environ["RAPP_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _same_draws():
    """What a test draws without a generator of its own is the same in every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def full_data():
    """RAPP_DATA with the full image sets, or a skip that says why."""
    folder = Path(os.environ.get("RAPP_DATA") or "none")
    if not (folder / "MNIST" / "raw").is_dir():
        pytest.skip("RAPP_DATA names no folder with MNIST/raw: the tests on full data are left out")
    return folder


@pytest.fixture
def blobs(monkeypatch):
    """A small data set of three overlapping classes, 200 rows × 16 features each, as images of 4 × 4."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(0.2, 0.8, (3, 16))
    x = np.concatenate([centre + 0.1 * rng.normal(size=(200, 16)) for centre in centres]).clip(0, 1).astype(np.float32)
    monkeypatch.setitem(CHECKSUMS, "blobs", "0" * 64)
    y = np.repeat(list("012"), 200)
    return Dataset("blobs", x, y, DIGITS[:3], (4, 4), "made up", "none", "none", ("zero", "one", "two"))


@pytest.fixture
def interrupted(monkeypatch):
    """Make a class's third ``epoch`` a KeyboardInterrupt; returns the list of calls."""

    def third(owner: type) -> list:
        epoch, calls = owner.epoch, []

        def counted(self):
            calls.append(self)
            if len(calls) == 3:
                raise KeyboardInterrupt
            epoch(self)

        monkeypatch.setattr(owner, "epoch", counted)
        return calls

    return third


@pytest.fixture(scope="session")
def make():
    """Run make in the checkout, with this Python's environment."""

    def run(*words: str, **env: str) -> subprocess.CompletedProcess:
        command = ["make", "--no-print-directory", f"VENV={sys.prefix}", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **env})

    return run


@pytest.fixture(scope="session")
def book(make, tmp_path_factory):
    """The whole book at its smallest profile, built by make as a user would. Yields the build folder."""
    build = tmp_path_factory.mktemp("build")
    result = make("book", "PROFILE=tiny", f"BUILD={build}", "JOBS=2")
    assert result.returncode == 0, result.stdout + result.stderr
    return build
