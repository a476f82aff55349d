"""Thresholds and p-values from the scores of normal rows that were held out of training (split conformal prediction).

Among n held-out scores and that of a fresh normal row each rank is equally likely, whatever the scores' distribution:
so a false-alarm rate α takes n ≥ 1/α − 1 of them, and holds on average over such sets.
"""

import math
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

SHARE = 5  # one row in so many is held out
DEFAULT = 0.05  # false-alarm rate, where none is asked for


def scores_needed(rate: float) -> int:
    """The least n with 1/(n + 1) ≤ ``rate``."""
    return math.ceil(1 / rate - 1e-9) - 1


ENOUGH = SHARE * scores_needed(DEFAULT)  # rows in all, 95: from here on those held out have no other task


def check(rate: float, n: int) -> None:
    """Raise a ``ValueError`` if n held-out scores cannot keep to a false-alarm rate; it says what that needs."""
    if not (isinstance(rate, Real) and 0 < rate < 1):
        raise ValueError(f"false_alarm_rate={rate!r} must be a number between 0 and 1")
    if (needed := scores_needed(rate)) > n:
        raise ValueError(
            f"false_alarm_rate={float(rate)!r} needs {SHARE * needed} rows, of which {needed} are held out; "
            f"with {n} held out the least is 1/{n + 1} = {1 / (n + 1):.2g}"
        )


def threshold(held_out: ArrayLike, rate: float) -> float:
    """The score above which a row is called novel: order statistic ⌈(n + 1)(1 − α)⌉ of held-out scores (n,).

    A row is above it where its p-value is at most ``rate``, α. Raises ``check``'s error.
    """
    scores = np.sort(np.asarray(held_out, dtype=np.float64))
    check(rate, len(scores))
    above = math.floor((len(scores) + 1) * rate + 1e-9)  # (n + 1) − ⌈(n + 1)(1 − α)⌉, safe from rounding
    return float(scores[len(scores) - above])


def p_values(held_out: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """The share of n held-out rows and the row itself that score at least as high, (N,): small is novel."""
    known = np.sort(np.asarray(held_out, dtype=np.float64))
    at_least = len(known) - np.searchsorted(known, np.asarray(scores, dtype=np.float64), side="left")
    return (1 + at_least) / (len(known) + 1)


def reachable(n: int, asked: float | None) -> tuple[float, str]:
    """The false-alarm rate that n rows in all keep to, and what is doubtful about it, or "".

    ``asked`` None is ``DEFAULT``, or the least that the rows allow if that is more. Raises ``check``'s error.
    """
    held_out = n // SHARE
    rate = max(DEFAULT, 1 / (held_out + 1)) if asked is None else asked
    check(rate, held_out)
    if n >= ENOUGH:
        return rate, ""
    instead = f", and predict keeps to a false-alarm rate of {rate:.2g} instead of {DEFAULT}" if rate > DEFAULT else ""
    return rate, (
        f"{n} rows are few: the {held_out} that set the threshold choose the epoch, too, so p-values are approximate"
        f"{instead if asked is None else ''}; with {ENOUGH} or more neither is so"
    )
