"""``.github/CONTRIBUTING.md`` is true: its code runs; the tests, files and commands that it names are there."""

import re

import numpy as np

from rapp.data import Dataset
from rapp.detectors import classical
from rapp.evaluation import auroc
from rapp.splits import split
from tests.conftest import ROOT

TEXT = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)


def wine():
    """The data set that is added there."""
    (code,) = [text for language, text in BLOCKS if language == "python"]
    exec(code, made := {})
    return made["load"]("wine")


def test_the_tests_and_files_that_it_names_are_there():
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("*.py"))
    for name in re.findall(r"`(test_\w+)`", TEXT):
        assert f"def {name}(" in tests or (ROOT / "tests" / f"{name}.py").exists(), name
    new = {"rapp/data/wine.py", "notebooks/13_distance.ipynb"}
    files = set(re.findall(r"(?<!\S)`?((?:rapp|book|tests|notebooks|\.github)/[\w/.]+\.\w+)", TEXT)) - new
    assert len(files) >= 8
    for name in files:
        assert (ROOT / name).exists(), name
    targets = re.findall(r"^([.\w-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert set(re.findall(r"`?\bmake ([a-z-]+)[` ]", TEXT)) - {"a"} <= set(targets)


def test_the_data_set_that_it_adds_is_one():
    data = wine()
    assert isinstance(data, Dataset)
    assert data.x.shape == (178, 13)
    assert set(data.y) == set(data.classes)


def test_the_detector_that_it_adds_is_one():
    (diff,) = [text for language, text in BLOCKS if language == "diff" and "class Centre" in text]
    added = diff.split(" rapp/detectors/__init__.py")[0].splitlines()[1:]
    exec("\n".join(line.removeprefix("+") for line in added), made := {**vars(classical)})
    rows, data = split(wine().y, "2"), wine()
    x = (data.x - data.x[rows.train].mean(0)) / data.x[rows.train].std(0)
    scores = made["Centre"]().fit(x[rows.train], x[rows.val], progress=False).scores(x[rows.test])
    assert list(scores) == ["score"]
    assert np.isfinite(scores["score"]).all()
    assert auroc(rows.is_novel, scores["score"]) > 0.5
