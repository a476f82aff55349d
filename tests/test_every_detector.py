"""What every detector promises, each on the 8 × 8 digits at the smallest profile."""

import numpy as np
import pytest
import torch

from rapp import detectors
from rapp.config import ParameterError
from rapp.data import Dataset, load
from rapp.detectors.autoencoder import PathwayDetector
from rapp.detectors.base import Deep
from rapp.experiment import run_cells
from rapp.grid import cells
from rapp.splits import split

pytestmark = pytest.mark.parametrize("name", detectors.DETECTORS)


@pytest.fixture(scope="module")
def digits():
    """Training, validation and test rows, the first class being the normal one."""
    data = load("digits")
    rows = split(data.y, "0", "unimodal")
    return [data.x[part] for part in (rows.train, rows.val, rows.test)]


def make(name, shape=(8, 8)):
    return detectors.make(name, shape, "tiny")


def test_one_seed_gives_one_set_of_bits_and_the_cache_the_same(name, digits, tmp_path):
    train, val, test = digits
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = make(name).fit(train, val, seed=1, cache=tmp_path, progress=False).scores(test)
    torch.rand(3)
    np.random.rand(3)
    again = make(name).fit(train, val, seed=1, progress=False).scores(test)
    cached = make(name).fit(train, val, seed=1, cache=tmp_path, progress=False)
    assert list(first) == list(again)
    for score, values in first.items():
        np.testing.assert_array_equal(values, again[score])
        np.testing.assert_array_equal(values, cached.scores(test)[score])
        assert values.shape == (len(test),)
        assert values.dtype == np.float64
    assert any(tmp_path.iterdir()) == isinstance(cached, Deep | PathwayDetector)
    torch.set_rng_state(before)


def test_the_global_random_state_is_left_alone(name, digits):
    train, val, test = digits
    torch.manual_seed(5)
    np.random.seed(5)
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    make(name).fit(train, val, progress=False).scores(test[:5])
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpys)


def test_its_own_score_comes_first(name, digits):
    train, val, test = digits
    scores = make(name).fit(train, val, progress=False).scores(test[:3])
    compared = detectors.DETECTORS[name].scores
    assert compared[0] == next(iter(scores))
    assert set(compared) <= set(scores)


def test_what_cannot_be_used_is_refused_in_words(name, digits):
    train, val, test = digits
    with pytest.raises(RuntimeError, match="has not been fitted"):
        make(name).scores(test)
    holed = train.copy()
    holed[3, 5] = np.nan
    with pytest.raises(ValueError, match=r"train: 1 of .* NaN or infinite"):
        make(name).fit(holed, val)
    with pytest.raises(ValueError, match="train: need rows × features"):
        make(name).fit(train[:0], val)
    with pytest.raises(ValueError, match="validation: need rows × features"):
        make(name).fit(train, val[:0])
    with pytest.raises(ValueError, match="train: fewer than two different rows"):
        make(name).fit(np.full((20, 64), 0.5, np.float32), val)
    with pytest.raises(ValueError, match="validation: rows have 63 features, expected 64"):
        make(name).fit(train, val[:, :63])
    fitted = make(name).fit(train, val, progress=False)
    with pytest.raises(ValueError, match="x: rows have 49 features, expected 64"):
        fitted.scores(test[:, :49])
    with pytest.raises(ValueError, match="x: need rows × features"):
        fitted.scores(test[0])
    holed = test[:4].copy()
    holed[0, 0] = np.inf
    with pytest.raises(ValueError, match="x: 1 of 4 rows"):
        fitted.scores(holed)


def test_images_of_another_shape_are_refused_where_images_are_needed(name, digits):
    if not detectors.DETECTORS[name].detector.NEEDS_IMAGES:
        assert make(name, None).fit(*digits[:2], progress=False).scores(digits[2][:2])
        return
    for shape in (None, (7, 8)):
        with pytest.raises(ValueError, match="needs images"):
            make(name, shape).fit(*digits[:2])
    with pytest.raises(ParameterError, match=f"{name} needs images, and asteroids is a table"):
        detectors.config_for("tiny", Dataset("asteroids", *[None] * 3, None, *[""] * 4), name)


def test_wrong_options_are_named(name):
    with pytest.raises(ValueError, match=f"{name} has no parameter 'wings'; allowed: "):
        detectors.make(name, wings=2)
    if issubclass(detectors.DETECTORS[name].detector, Deep | PathwayDetector):
        with pytest.raises(ValueError, match="epochs=-1 must be"):
            detectors.make(name, epochs=-1)


def test_a_grid_cell_of_it(name, tmp_path):
    data = load("digits")
    entry = cells.plan("tiny", ["digits"], ["unimodal"], [name], seeds=1, targets=["0"], contaminations=[0.05])[0]
    (trial,) = run_cells(data, [entry.cell], tmp_path)
    rows = cells.record(entry, trial)["rows"]
    assert {row["model"] for row in rows} == {name}
    assert {row["contamination"] for row in rows} == {0.05}
    assert all(0 <= row["auroc"] <= 1 for row in rows)
    assert name in str(entry.file)
