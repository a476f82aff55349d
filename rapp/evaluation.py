"""How well scores separate novel from normal. Scores are higher for more novel, everywhere.

Examples:
    >>> import pandas as pd
    >>> from rapp import evaluation
    >>> is_novel, scores = [False, False, True, True], [0.1, 0.3, 0.2, 0.4]
    >>> evaluation.auroc(is_novel, scores)
    0.75
    >>> round(evaluation.aupr(is_novel, scores), 3)
    0.833
    >>> evaluation.bootstrap_interval(is_novel, scores, n_resamples=100)
    (0.0, 1.0)
    >>> round(evaluation.threshold([0.1, 0.2, 0.3], false_alarm_rate=0.5), 3)
    0.2
    >>> rows = pd.DataFrame({"model": ["ae", "ae"], "seed": [0, 1], "auroc": [0.25, 0.75]})
    >>> evaluation.in_words(rows["auroc"])
    '**0.500** ± 0.354'
    >>> evaluation.mean_std(rows, by=["model"]).round(3)
      model  mean    std  seeds
    0    ae   0.5  0.354      2
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, roc_auc_score


def _checked(is_novel: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    is_novel, scores = np.asarray(is_novel, dtype=bool), np.asarray(scores, dtype=np.float64)
    if is_novel.shape != scores.shape or is_novel.ndim != 1:
        raise ValueError(
            f"is_novel and scores must be 1-d and equally long, got shapes {is_novel.shape} and {scores.shape}"
        )
    if is_novel.all() or not is_novel.any():
        side = "novel" if is_novel.all() else "normal"
        raise ValueError(f"all {len(is_novel)} samples are {side}: a ranking needs both kinds")
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} of {len(scores)} scores are NaN or infinite")
    return is_novel, scores


def auroc(is_novel: ArrayLike, scores: ArrayLike) -> float:
    """Chance that a random novel sample scores above a random normal one (0.5: no better than a coin).

    Args:
        is_novel: (N,) bool, the truth.
        scores: (N,) float, higher = more novel.

    Raises:
        ValueError: the shapes differ, only one kind is there, or a score is not finite.
    """
    return float(roc_auc_score(*_checked(is_novel, scores)))


def aupr(is_novel: ArrayLike, scores: ArrayLike) -> float:
    """Area under precision over recall, novel as the positive class (a coin: the novelty ratio).

    ``is_novel`` and ``scores``, (N,) each, are as for ``auroc``, and so are the errors.
    """
    return float(average_precision_score(*_checked(is_novel, scores)))


def threshold(train_scores: ArrayLike, false_alarm_rate: float = 0.05) -> float:
    """The score above which a sample is called novel, from normal training scores alone.

    Args:
        train_scores: (N,) scores of normal samples.
        false_alarm_rate: the fraction of them that may lie above, in [0, 1).

    Raises:
        ValueError: another rate.
    """
    if not 0 <= false_alarm_rate < 1:
        raise ValueError(f"false_alarm_rate must be in [0, 1), got {false_alarm_rate}")
    return float(np.quantile(np.asarray(train_scores, dtype=np.float64), 1 - false_alarm_rate))


def mean_std(rows: pd.DataFrame, by: Sequence[str], value: str = "auroc") -> pd.DataFrame:
    """Mean and sample standard deviation of ``value`` over seeds, a row per group (std is NaN for one seed).

    ``rows`` has a row per seed, as ``experiment.rows_of`` makes them; the columns ``by`` say which are of one group.
    """
    return rows.groupby(list(by), sort=False)[value].agg(mean="mean", std="std", seeds="count").reset_index()


def in_words(values: ArrayLike) -> str:
    """Mean ± sample standard deviation of a few values (n,), as Markdown; for a single value the mean alone."""
    values = np.asarray(values, dtype=np.float64)
    return f"**{values.mean():.3f}**" + (f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else "")


def bootstrap_interval(is_novel: ArrayLike, scores: ArrayLike, n_resamples: int = 1000) -> tuple[float, float]:
    """The interval that holds 95 % of the AUROCs over resampled test sets (normal and novel resampled apart).

    It covers what the size of the test set leaves open, and nothing of seeds, splits or training. ``is_novel`` and
    ``scores``, (N,) each, are as for ``auroc``, and so are the errors; ``n_resamples`` sets are drawn, always the same.
    """
    is_novel, scores = _checked(is_novel, scores)
    rng = np.random.default_rng(0)
    normal, novel = np.flatnonzero(~is_novel), np.flatnonzero(is_novel)
    samples = (np.append(rng.choice(normal, len(normal)), rng.choice(novel, len(novel))) for _ in range(n_resamples))
    values = [auroc(is_novel[rows], scores[rows]) for rows in samples]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
