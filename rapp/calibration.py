"""From scores of held-out normal rows to p-values and to a threshold that keeps a promise (conformal prediction).

If a new normal row and the held-out ones are equally likely in any order, the chance that the new one scores above the
⌈(n + 1)(1 − α)⌉-th smallest of n held-out scores is at most α, whatever the score's distribution.

Examples:
    >>> from rapp import calibration
    >>> normal = range(1, 20)
    >>> calibration.p_values(normal, scores=[0.5, 18.5, 100]).round(3)
    array([1.  , 0.1 , 0.05])
    >>> round(calibration.threshold(normal, false_alarm_rate=0.05), 3)
    19.0
"""

import math
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

ROUNDING = 1e-6  # of a score, in float32


def rows_needed(false_alarm_rate: float) -> int:
    """How many held-out normal rows a rate of false alarms needs: below 1 / (n + 1) none can be promised."""
    return math.ceil(1 / false_alarm_rate - 1e-9) - 1


def check(false_alarm_rate: float) -> None:
    """Raise a ValueError if a rate is no number between 0 and 1."""
    if not (isinstance(false_alarm_rate, Real) and 0 < false_alarm_rate < 1):
        raise ValueError(f"false_alarm_rate={false_alarm_rate!r} must be a number between 0 and 1")


def threshold(normal: ArrayLike, false_alarm_rate: float = 0.05) -> float:
    """The score above which a row is called novel.

    Args:
        normal: (n,) scores of normal rows that neither trained nor chose anything.
        false_alarm_rate: α, the share of normal rows that may score above, in (0, 1).

    Raises:
        ValueError: a rate outside of (0, 1), or one that needs more rows.
    """
    scores = np.sort(np.asarray(normal, dtype=np.float64))
    check(false_alarm_rate)
    if len(scores) < (least := rows_needed(false_alarm_rate)):
        raise ValueError(
            f"false_alarm_rate={false_alarm_rate} needs at least {least} held-out normal rows, and there are "
            f"{len(scores)}; hold out more, or accept a rate of {1 / (len(scores) + 1):.3g} or more"
        )
    return above(float(scores[math.ceil((len(scores) + 1) * (1 - false_alarm_rate) - 1e-9) - 1]))


def above(score: float) -> float:
    """A hair above a score, so that its row, scored again in another batch, does not pass it by rounding."""
    return score + ROUNDING * abs(score)


def p_values(normal: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """How unusual scores (N,) are among normal ones (n,): (1 + how many of these are at least as high) / (n + 1).

    Of new normal rows, at most a share α has a p-value of at most α. Scores that rounding may part count as equal.
    """
    ascending, scores = np.sort(np.asarray(normal, dtype=np.float64)), np.asarray(scores, dtype=np.float64)
    as_high = len(ascending) - np.searchsorted(ascending, scores - ROUNDING * np.abs(scores), side="left")
    return (1 + as_high) / (len(ascending) + 1)
