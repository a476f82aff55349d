import numpy as np
import pandas as pd
import pytest

from rapp import evaluation as ev


def test_auroc_is_the_chance_that_a_novel_sample_scores_higher():
    # Pairs (novel, normal): 3>1, 3>2, 1.5>1 right, 1.5>2 wrong.
    assert ev.auroc([True, True, False, False], [3, 1.5, 1, 2]) == 0.75


def test_aupr_by_hand():
    # Ranked 3 (novel), 2 (normal), 1.5 (novel): precision 1 at the first hit, 2/3 at the second.
    assert ev.aupr([True, True, False, False], [3, 1.5, 1, 2]) == pytest.approx((1 + 2 / 3) / 2)


def test_higher_means_more_novel():
    is_novel = np.arange(10) >= 6
    assert ev.auroc(is_novel, np.arange(10)) == 1
    assert ev.auroc(is_novel, -np.arange(10)) == 0


def test_threshold_is_exceeded_by_the_asked_share():
    scores = np.random.default_rng(0).normal(size=10_000)
    assert (scores > ev.threshold(scores, 0.05)).mean() == pytest.approx(0.05, abs=1e-3)
    with pytest.raises(ValueError, match=r"\[0, 1\), got 1"):
        ev.threshold(scores, 1)


def test_mean_and_sample_std_over_seeds():
    rows = pd.DataFrame({"model": ["ae", "ae", "vae"], "auroc": [0.2, 0.4, 0.7]})
    table = ev.mean_std(rows, ["model"]).set_index("model")
    assert table.loc["ae", "mean"] == pytest.approx(0.3)
    assert table.loc["ae", "std"] == pytest.approx(np.sqrt(0.02))
    assert np.isnan(table.loc["vae", "std"])
    assert table["seeds"].tolist() == [2, 1]


def test_bootstrap_interval_covers_the_estimate_and_repeats():
    rng = np.random.default_rng(1)
    is_novel, scores = np.arange(300) < 100, rng.normal(size=300)
    scores[:100] += 1
    low, high = ev.bootstrap_interval(is_novel, scores, n_resamples=200)
    assert low < ev.auroc(is_novel, scores) < high
    assert 0.05 < high - low < 0.2
    assert (low, high) == ev.bootstrap_interval(is_novel, scores, n_resamples=200)


@pytest.mark.parametrize(
    ("is_novel", "scores", "word"),
    [
        ([True, True], [1, 2], "novel"),
        ([False, False], [1, 2], "normal"),
        ([True, False], [1, np.nan], "NaN"),
        ([True, False], [1, 2, 3], "shapes"),
    ],
)
def test_what_cannot_be_ranked_is_named(is_novel, scores, word):
    with pytest.raises(ValueError, match=word):
        ev.auroc(is_novel, scores)
