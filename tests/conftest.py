"""Shared by all tests. Nothing here touches the user's cache; real data come from RAPP_DATA where it is set."""

import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
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
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]  # fmt: skip
PATIENCE = 300_000  # milliseconds: a busy machine's pages take their time, and Playwright gives up after 30 seconds


class Links(HTMLParser):
    """What a page leads to, its anchors and its pictures."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.ids, self.images = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        about = dict(attributes)
        self.ids.add(about.get("id"))
        if tag == "img":
            self.images.append(about)
        for name in ("href", "src"):
            if about.get(name):
                self.targets.append(about[name])


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    os.environ["RAPP_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    torch.set_num_threads(1)  # two processes are at work, and a thread that waits for a core holds up all others
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of what tests start


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


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: the pages are not opened in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Open pages of a built site; at the end nothing may have gone wrong in them, or been asked of the network."""
    tabs, outside, complaints = [], [], []

    def at(path: Path, width: int = 1280, **options: object):
        tab = browser.new_page(viewport={"width": width, "height": 900}, **options)
        tab.set_default_timeout(PATIENCE)
        local = ("file:", "data:", "blob:")
        tab.on("request", lambda r: outside.append(r.url) if not r.url.startswith(local) else None)
        tab.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(f"file://{path}")
        tab.wait_for_load_state("load")
        tabs.append(tab)
        return tab

    yield at
    for tab in tabs:
        tab.close()
    assert outside == []
    assert complaints == []
