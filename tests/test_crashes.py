"""What rapp fit, score and report leave behind when killed, when the disk is full, and when two write at once."""

import resource
import signal
import subprocess
import sys

import pytest

from tests.test_table_model import rows

pytestmark = pytest.mark.slow
RAPP = [sys.executable, "-m", "rapp.cli"]
FIT = ["fit", "train.csv", "--label", "state", "--normal", "ok", "--out", "model"]
WRITE = (
    [*FIT, "--epochs", "2"],
    ["score", "model", "train.csv", "--out", "scores.csv"],
    ["report", "model", "train.csv", "--out", "page.html"],
)
DIES = """
import os, sys
from rapp import cache, cli
cache.os.replace = lambda *_: os.kill(os.getpid(), 9)
cli.main(sys.argv[1:])
"""


@pytest.fixture
def run(tmp_path):
    rows().to_csv(tmp_path / "train.csv", index=False)

    def command(*words, program=RAPP, **options):
        return subprocess.run([*program, *words], cwd=tmp_path, capture_output=True, text=True, **options)

    return command


def test_killed_while_it_trains_nothing_is_left(run, tmp_path):
    fit = subprocess.Popen([*RAPP, *FIT, "--epochs", "1000000"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert any("1000000 epochs" in line for line in fit.stderr)  # it says so when training begins
    fit.kill()
    assert fit.wait() == -signal.SIGKILL
    fit.stderr.close()
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]
    assert run(*FIT, "--epochs", "1").returncode == 0


def test_killed_while_it_writes_the_old_file_is_whole(run, tmp_path):
    files = [tmp_path / "model" / "rapp.safetensors", tmp_path / "scores.csv", tmp_path / "page.html"]
    for words, file in zip(WRITE, files, strict=True):
        assert run(*words).returncode == 0
        before = file.read_bytes()
        assert run(*words, program=[sys.executable, "-c", DIES]).returncode == -signal.SIGKILL
        assert file.read_bytes() == before
        assert run(*words).returncode == 0


def test_a_full_disk_is_one_line_and_leaves_what_was_there(run, tmp_path):
    def small():  # a disk on which no file can have more than a hundred bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    assert run(*FIT, "--epochs", "1").returncode == 0
    for words in WRITE:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        ended = run(*words, preexec_fn=small)
        assert ended.returncode == 1, ended.stderr
        assert "Traceback" not in ended.stderr
        assert ended.stderr.splitlines()[-1].startswith("error: ")
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_two_at_once_leave_one_whole_model(run, tmp_path):
    both = [
        subprocess.Popen([*RAPP, *FIT, "--epochs", "3", "--seed", seed], cwd=tmp_path, stderr=subprocess.DEVNULL)
        for seed in "01"
    ]
    assert [each.wait() for each in both] == [0, 0]
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["rapp.safetensors"]
    assert run("score", "model", "train.csv").returncode == 0
