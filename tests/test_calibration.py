import numpy as np
import pytest

from rapp import calibration


def test_the_threshold_by_hand():
    scores = np.arange(19, 0, -1)  # 1 … 19, in any order
    assert calibration.threshold(scores, 0.05) == pytest.approx(19, rel=1e-5)  # ⌈20 · 0.95⌉ = 19th
    assert calibration.threshold(scores, 0.1) == pytest.approx(18, rel=1e-5)
    assert calibration.threshold(scores, 0.149) == pytest.approx(18, rel=1e-5)  # ⌈20 · 0.851⌉ = ⌈17.02⌉
    assert calibration.p_values(scores, [20, 19, 18.5, 0]).tolist() == [1 / 20, 2 / 20, 2 / 20, 1]


@pytest.mark.parametrize("n", [1, 19, 20, 99, 250])
def test_a_row_is_above_the_threshold_where_its_p_value_is_at_most_the_rate(n):
    rng = np.random.default_rng(n)
    held_out, scores = rng.integers(0, 30, n), rng.integers(0, 32, 500)  # ties
    for rate in [*(k / (n + 1) for k in (1, 2, 7) if k <= n), 0.5, 0.77]:
        above = scores > calibration.threshold(held_out, rate)
        assert np.array_equal(above, calibration.p_values(held_out, scores) <= rate + 1e-12)


@pytest.mark.parametrize(("n", "rate"), [(19, 0.05), (40, 0.05), (6, 1 / 7), (200, 0.01)])
def test_fresh_scores_lie_above_at_the_asked_rate_on_average(n, rate):
    rng = np.random.default_rng(0)
    draws = rng.exponential(size=(4000, n + 1))
    above = np.mean([draw[0] > calibration.threshold(draw[1:], rate) for draw in draws])
    assert above < rate + 4 * np.sqrt(rate / 4000)
    assert above > np.floor((n + 1) * rate + 1e-9) / (n + 1) - 4 * np.sqrt(rate / 4000)


@pytest.mark.parametrize(("rate", "needed"), [(0.05, 19), (0.01, 99), (1 / 7, 6), (0.001, 999), (0.5, 1)])
def test_a_rate_that_is_too_small_names_the_rows_it_needs(rate, needed):
    assert calibration.rows_needed(rate) == needed
    assert calibration.threshold(np.arange(needed), rate) >= needed - 1
    with pytest.raises(ValueError, match=rf"needs at least {needed} held-out normal rows, and there are {needed - 1}"):
        calibration.threshold(np.arange(needed - 1), rate)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 5, float("nan"), "0.05", True])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match=r"false_alarm_rate=.* must be a number between 0 and 1"):
        calibration.threshold(np.arange(100), rate)
