"""Which rows are normal, as labels tell it."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import column_or_1d

LEAST = 2  # normal rows


def normal_rows(y: ArrayLike | None, novel_label: Any, n: int) -> tuple[np.ndarray, str]:
    """Which of n rows y (n,) does not call ``novel_label``, (n,) bool, and what is doubtful about that, or "".

    Raises:
        ValueError: y has another length, holes, or leaves fewer rows than ``LEAST``.
    """
    if y is None or novel_label is None:
        return np.ones(n, dtype=bool), ""
    labels = pd.Series(column_or_1d(y))
    if len(labels) != n:
        raise ValueError(f"y has {len(labels)} labels for {n} rows of X")
    if missing := int(labels.isna().sum()):
        raise ValueError(f"y has {missing} missing labels; label these rows, or leave them out")
    is_normal = np.array([label != novel_label for label in labels], dtype=bool)
    if (left := int(is_normal.sum())) < LEAST:
        raise ValueError(f"y leaves {left} of {n} rows that are not {novel_label!r}; at least {LEAST} are needed")
    values = labels.unique().tolist()
    if len(values) == 1 or not is_normal.all():
        return is_normal, ""
    some = ", ".join(map(repr, values[:3])) + (", …" if len(values) > 3 else "")
    return is_normal, (
        f"y has the values {some}, but none is novel_label={novel_label!r}: all rows are taken as normal; "
        f"pass 1 for normal and -1 for novel rows, or set novel_label"
    )
