"""rapp fit, score and report where they are killed, where the disk is full, and where two write at once.

Each command runs in a process of its own, forked, in which what goes wrong is planted at a certain line: no test waits
for the clock.
"""

import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch

from rapp import cache, cli, training
from tests.test_table_model import rows

pytestmark = pytest.mark.slow
FORK = multiprocessing.get_context("fork")
FIT = ["fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model", "--epochs", "2"]
SCORE = ["score", "model", "train.csv", "--out", "scores.csv"]
REPORT = ["report", "model", "train.csv", "--out", "page.html"]
COMMANDS = [FIT, SCORE, REPORT]


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def small_disk():
    """A write fails where a file would grow above 3,000 bytes, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))


def begun(words, before=lambda: None):
    """Start a command in a process that first calls ``before``; what it says on stderr goes into ``said``."""

    def work():
        sys.stdout, sys.stderr = (Path(name).open("w") for name in ("heard", "said"))  # noqa: SIM115
        before()
        status = cli.main(words)
        sys.stderr.flush()
        os._exit(status)

    child = FORK.Process(target=work, daemon=True)
    child.start()
    return child


def ended(words, before=lambda: None):
    """Run a command; returns its exit status, −9 if it was killed, and what it said."""
    child = begun(words, before)
    child.join()
    return child.exitcode, Path("said").read_text()


def names():
    return sorted(path.name for path in Path().rglob("*") if path.is_file() and path.name not in ("said", "heard"))


def whole(words):
    """What a command has written, or None; reading a model checks its SHA-256."""
    path = Path(words[words.index("--out") + 1])
    path = path / "rapp.safetensors" if words[0] == "fit" else path
    if not path.exists():
        return None
    if words[0] != "fit":
        return path.read_bytes()
    tensors, about = cache.load_tensors(path)
    return cache.sha256(str(about), *(tensors[name] for name in sorted(tensors)))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder, here = tmp_path_factory.mktemp("fitted"), Path.cwd()
    os.chdir(folder)
    rows().to_csv("train.csv", index=False)
    assert cli.main(FIT) == 0
    os.chdir(here)
    return folder


@pytest.fixture(params=["nothing was there", "an older one was there"])
def old(request, fitted, tmp_path, monkeypatch):
    """A folder with what the commands read; returns a function: what a command would replace, if anything."""
    monkeypatch.chdir(tmp_path)

    def prepared(words):
        shutil.copy(fitted / "train.csv", ".")
        if words[0] != "fit":
            shutil.copytree(fitted / "model", "model")
        if request.param.startswith("an older"):
            status, said = ended([*words, "--method", "sap"] if words[0] == "fit" else words)
            assert status == 0, said
            if words[0] != "fit":
                Path(words[-1]).write_text("an older one")
        return whole(words)

    return prepared


def in_training():
    training.Run.epoch = die


def half_written():
    """Die when half of the file is there: a model's, or a text's."""

    def half(tensors, path, metadata):
        Path(path).write_bytes(safetensors.torch.save(tensors, metadata)[:2000])
        die()

    safetensors.torch.save_file = half
    write = cache.write_atomically

    def halved(path, fill):
        def filled(beside):
            fill(beside)
            os.truncate(beside, 1000)
            die()

        write(path, filled)

    cli.write_atomically = cache.write_atomically = halved


def before_the_rename():
    os.replace = die


def after_the_rename():
    replace = os.replace
    os.replace = lambda *paths: (replace(*paths), die())


KILLED = [(words, when) for words in COMMANDS for when in (half_written, before_the_rename, after_the_rename)]


@pytest.mark.parametrize(("words", "when"), [(FIT, in_training), *KILLED])
def test_what_is_killed_leaves_the_old_or_the_new_and_can_be_done_again(old, words, when):
    before = old(words)
    status, said = ended(words, when)
    assert status == -signal.SIGKILL, said
    found = whole(words)
    if when is not after_the_rename:
        assert found == before
    status, said = ended(words)
    assert status == 0, said
    if when is after_the_rename:
        assert whole(words) == found


@pytest.mark.parametrize("words", COMMANDS)
def test_a_full_disk_is_one_line_and_leaves_what_was_there(old, words):
    before, there = old(words), names()
    status, said = ended(words, small_disk)
    assert status == 1
    assert said.splitlines()[-1].startswith("error: ")
    assert said.splitlines()[-1].endswith("; no file is left half-written")
    assert "Traceback" not in said
    assert whole(words) == before
    assert names() == there


@pytest.mark.parametrize("n", [1, 900])  # less and more than Python keeps before it writes
def test_a_full_disk_behind_standard_output_is_told(fitted, tmp_path, monkeypatch, n):
    monkeypatch.chdir(tmp_path)
    rows(900)[:n].to_csv("new.csv", index=False)

    def full():
        sys.stdout = Path("/dev/full").open("w")  # noqa: SIM115

    status, said = ended(["score", str(fitted / "model"), "new.csv"], full)
    assert status == 1
    assert said.splitlines()[-1] == "error: [Errno 28] No space left on device; no file is left half-written"


def test_an_interruption_is_one_line(old):
    def pressed():
        def key(_):
            raise KeyboardInterrupt

        training.Run.epoch = key

    before = old(FIT)
    status, said = ended(FIT, pressed)
    assert status == 130
    assert said.splitlines()[-1] == "interrupted; no file is left half-written"
    assert whole(FIT) == before


def test_of_two_that_write_one_model_at_once_one_wins_whole(fitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(fitted / "train.csv", ".")
    alone = []
    for seed in "01":
        assert ended([*FIT, "--seed", seed])[0] == 0
        alone.append(whole(FIT))
    assert alone[0] != alone[1]
    for _ in range(3):
        shutil.rmtree("model")
        together = FORK.Barrier(2)

        def meet(barrier=together):
            replace = os.replace
            os.replace = lambda *paths: (barrier.wait(), replace(*paths))

        both = [begun([*FIT, "--seed", seed], meet) for seed in "01"]
        for child in both:
            child.join()
        assert [child.exitcode for child in both] == [0, 0], Path("said").read_text()
        assert whole(FIT) in alone
        assert names() == ["rapp.safetensors", "train.csv"]


def test_a_command_that_is_killed_while_it_trains(old):
    before = old(FIT)
    command = [sys.executable, "-m", "rapp.cli", *FIT]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert any("epochs on cpu" in line for line in process.stderr)  # waits for the line
        process.kill()
    assert whole(FIT) == before or process.returncode == 0  # it may have been faster than we
    assert subprocess.run(command).returncode == 0
    assert whole(FIT)


def test_a_reader_that_has_enough_is_no_error(fitted):
    command = f"{sys.executable} -m rapp.cli score model train.csv | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=fitted, capture_output=True, text=True)
    assert done.stdout.startswith("row,score")
    assert "rror" not in done.stderr
