"""From labels to a novelty-detection problem: which rows train, validate and test, and which are novel.

Splits are indices into the data set; nothing is copied. Normal rows are shuffled and cut 60/20/20 into
training, validation and test; training and validation hold normal rows only. The test set is then brought
to the paper's novelty ratio by leaving out rows of the side that is in excess (paper, section 5.1).

There are two more problems. Out-of-distribution: the novel rows come from another data set
(``data.as_two_classes``). Contaminated, or unsupervised: a stated fraction of the training and of the validation rows
is novel, and the detector does not know which.

Examples:
    >>> from rapp.splits import split
    >>> rows = split(["a"] * 100 + ["b"] * 100, target="b")  # a Split
    >>> len(rows.train), len(rows.val), len(rows.test), int(rows.is_novel.sum())
    (60, 20, 31, 11)
"""

from dataclasses import dataclass

import numpy as np

# Share of novel rows in the test set: the first two are the paper's, the last is a choice of ours.
NOVELTY_RATIO = {"multimodal": 0.35, "unimodal": 0.5, "out-of-distribution": 0.5}
SETTINGS = tuple(NOVELTY_RATIO)


@dataclass(frozen=True)
class Split:
    """Row numbers into one data set."""

    train: np.ndarray  #: (n_train,) int, all normal but for contamination
    val: np.ndarray  #: (n_val,) int, as train
    test: np.ndarray  #: (n_test,) int
    is_novel: np.ndarray  #: (n_test,) bool, the truth about ``test``


def split(
    y: np.ndarray,
    target: object,
    setting: str = "multimodal",
    seed: int = 0,
    novelty_ratio: float | None = None,
    contamination: float = 0.0,
) -> Split:
    """The split of labels for one target class and one seed.

    Args:
        y: (N,) class of each row.
        target: the class that is novel, or, if ``unimodal``, the only normal one.
        setting: ``multimodal`` and ``out-of-distribution`` (one class novel, the others normal) or ``unimodal`` (one
            normal, the others novel).
        seed: decides the shuffles; the same arguments give the same split.
        novelty_ratio: share of novel rows in the test set, in (0, 1); None for the setting's own.
        contamination: share of novel rows hidden among the training and among the validation rows, in [0, 1).

    Raises:
        ValueError: naming the value and what is allowed.
    """
    if setting not in SETTINGS:
        raise ValueError(f"setting {setting!r} is unknown; allowed: {', '.join(SETTINGS)}")
    ratio = NOVELTY_RATIO[setting] if novelty_ratio is None else novelty_ratio
    if not 0 < ratio < 1:
        raise ValueError(f"novelty_ratio must lie between 0 and 1, got {ratio}")
    if not 0 <= contamination < 1:
        raise ValueError(f"contamination must be at least 0 and below 1, got {contamination}")
    y = np.asarray(y)
    is_target = y == target
    if not is_target.any() or is_target.all():
        raise ValueError(f"target {target!r} must be one of at least two classes; there are: {sorted(set(y.tolist()))}")
    novel = ~is_target if setting == "unimodal" else is_target
    rng = np.random.default_rng(seed)
    normal_rows = rng.permutation(np.flatnonzero(~novel))
    novel_rows = rng.permutation(np.flatnonzero(novel))
    n_train, n_val = int(0.6 * len(normal_rows)), int(0.2 * len(normal_rows))
    if n_train < 2 or n_val < 1:
        raise ValueError(f"{len(normal_rows)} normal rows are too few to split 60/20/20")
    train, val, test = np.split(normal_rows, [n_train, n_train + n_val])
    hidden = [round(n * contamination / (1 - contamination)) for n in (n_train, n_val)]
    if sum(hidden) >= len(novel_rows):
        raise ValueError(
            f"contamination={contamination} would hide {sum(hidden)} of {len(novel_rows)} novel rows and leave none to "
            f"test; choose a smaller one"
        )
    in_train, in_val, novel_rows = np.split(novel_rows, np.cumsum(hidden))
    train, val = np.concatenate([train, in_train]), np.concatenate([val, in_val])
    n_normal, n_novel = len(test), len(novel_rows)
    if n_novel > ratio * (n_normal + n_novel):  # only the side in excess shrinks, so that ``ratio`` are novel
        n_novel = max(1, round(n_normal * ratio / (1 - ratio)))
    else:
        n_normal = max(1, round(n_novel * (1 - ratio) / ratio))
    test = np.concatenate([test[:n_normal], novel_rows[:n_novel]])
    return Split(train, val, test, np.arange(len(test)) >= n_normal)
