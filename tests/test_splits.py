import numpy as np
import pytest

from rapp.splits import split

Y = np.repeat(list("0123456789"), 100)


@pytest.mark.parametrize("setting", ["multimodal", "unimodal"])
@pytest.mark.parametrize("target", ["1", "7"])
def test_no_row_leaks_and_training_is_all_normal(setting, target):
    s = split(Y, target, setting, seed=3)
    together = np.concatenate([s.train, s.val, s.test])
    assert len(np.unique(together)) == len(together)
    novel = (target == Y) if setting == "multimodal" else (target != Y)
    assert not novel[s.train].any()
    assert not novel[s.val].any()
    np.testing.assert_array_equal(novel[s.test], s.is_novel)


@pytest.mark.parametrize(("setting", "normal", "ratio"), [("multimodal", 900, 0.35), ("unimodal", 100, 0.5)])
def test_sixty_twenty_twenty_at_the_papers_novelty_ratio(setting, normal, ratio):
    s = split(Y, "4", setting)
    assert len(s.train) == 0.6 * normal
    assert len(s.val) == 0.2 * normal
    assert s.is_novel.mean() == pytest.approx(ratio, abs=0.005)


@pytest.mark.parametrize("ratio", [0.05, 0.2, 0.35, 0.6, 0.9])
def test_any_ratio_is_met_by_leaving_out_rows_of_one_side_alone(ratio):
    s = split(Y, "4", novelty_ratio=ratio)
    assert s.is_novel.mean() == pytest.approx(ratio, abs=0.01)
    assert s.is_novel.sum() == 100 or (~s.is_novel).sum() == 180


def test_a_seed_fixes_the_split_and_another_changes_it():
    a, b, c = split(Y, "4", seed=1), split(Y, "4", seed=1), split(Y, "4", seed=2)
    np.testing.assert_array_equal(a.train, b.train)
    np.testing.assert_array_equal(a.test, b.test)
    assert not np.array_equal(a.train, c.train)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": "11"}, ["'11'", "'0'"]),
        ({"target": "1", "setting": "bimodal"}, ["bimodal", "multimodal, unimodal"]),
        ({"target": "1", "novelty_ratio": 1.5}, ["novelty_ratio", "1.5"]),
        ({"target": "1", "y": np.array(["0", "0", "0", "1"])}, ["3 normal rows"]),
        ({"target": "0", "y": np.array(["0", "0"])}, ["two classes"]),
    ],
)
def test_bad_input_is_named(arguments, words):
    with pytest.raises(ValueError, match=r".+") as error:
        split(**{"y": Y, **arguments})
    assert all(word in str(error.value) for word in words)


def test_contamination_hides_novel_rows_that_are_not_tested():
    y = np.repeat(["a", "b"], [1000, 400])
    parts = split(y, "b", contamination=0.1, seed=3)
    for rows in (parts.train, parts.val):
        assert (y[rows] == "b").mean() == pytest.approx(0.1, abs=0.005)
    everything = np.concatenate([parts.train, parts.val, parts.test])
    assert len(set(everything.tolist())) == len(everything)
    clean = split(y, "b", seed=3)
    assert set(clean.train) <= set(parts.train)
    with pytest.raises(ValueError, match=r"contamination=0\.4 would hide"):
        split(y, "b", contamination=0.4)


def test_out_of_distribution_is_half_novel():
    y = np.repeat(["ours", "theirs"], [1000, 400])
    parts = split(y, "theirs", "out-of-distribution")
    assert parts.is_novel.mean() == pytest.approx(0.5)
    assert set(y[parts.train]) == {"ours"}
