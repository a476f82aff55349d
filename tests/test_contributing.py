"""``.github/CONTRIBUTING.md`` is true: its diffs apply, its code runs; what it names is there."""

import os
import re
import shutil
import subprocess
import sys
from itertools import groupby

import pytest

from tests.conftest import ROOT

TEXT = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
FILE = re.compile(r" ((?:rapp|book|tests|notebooks)/\S+)(  .*)?")
NEW = {"rapp/data/wine.py", "notebooks/13_distance.ipynb"}


def applied(diff):
    """Path → its text with the lines of a diff in it; those that are added at no place are added at the end."""
    texts, path = {}, ""
    for is_path, lines in groupby(diff.splitlines(), lambda line: bool(FILE.fullmatch(line))):
        lines = list(lines)
        if is_path:
            path = FILE.fullmatch(lines[-1])[1]
            if path not in NEW:
                texts[path] = (ROOT / path).read_text(encoding="utf-8")
            continue
        for hunk in re.findall(r"(?:[ -].*\n)*(?:\+.*\n)+", "\n".join(lines) + "\n"):
            old, new = (
                "".join(line[1:] for line in hunk.splitlines(True) if line[0] in marks) for marks in (" -", " +")
            )
            if old:
                assert texts[path].count(f"\n{old}") == 1, f"{path} has no such lines (or several):\n{old}"
                texts[path] = texts[path].replace(f"\n{old}", f"\n{new}")
            else:
                texts[path] += new if path.endswith(".csv") else f"\n\n{new}"
    return texts


DIFFS = [diff for language, diff in BLOCKS if language == "diff"]


def test_the_tests_and_files_that_it_names_are_there():
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("*.py"))
    for name in re.findall(r"`(test_\w+)`", TEXT):
        assert f"def {name}(" in tests or (ROOT / "tests" / f"{name}.py").exists(), name
    files = set(re.findall(r"(?<!\S)`?((?:rapp|book|tests|notebooks|\.github)/[\w/.]+\.\w+)", TEXT)) - NEW
    assert len(files) >= 8
    for name in files:
        assert (ROOT / name).exists(), name
    targets = re.findall(r"^([.\w-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert set(re.findall(r"`?\bmake ([a-z-]+)[` ]", TEXT)) - {"a"} <= set(targets)


@pytest.mark.parametrize("diff", DIFFS, ids=lambda diff: diff.split()[0])
def test_its_diffs_apply(diff):
    assert applied(diff)


@pytest.mark.slow
def test_the_data_set_and_the_detector_that_it_adds_pass_their_tests(tmp_path):
    """In a copy of the sources with both in it."""
    for folder in ("rapp", "book", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for diff in DIFFS[:2]:
        for path, text in applied(diff).items():
            (tmp_path / path).write_text(text, encoding="utf-8")
    (code,) = [text for language, text in BLOCKS if language == "python"]
    (tmp_path / "rapp" / "data" / "wine.py").write_text(code, encoding="utf-8")
    words = ["tests/test_data.py", "tests/test_classical.py", "-k", "told_of or centre or has_a_floor"]
    paths = os.pathsep.join(map(str, (tmp_path, tmp_path / "book")))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
