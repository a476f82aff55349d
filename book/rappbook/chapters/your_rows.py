"""A table without labels: which rows are unlike the others, by RaPP and two rivals that did not train on them."""

import warnings
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from rapp import RaPP, detectors
from rapp.data import DataError, Dataset
from rapp.data.schema import encode, learn
from rapp.data.table_file import read as read_table
from rapp.data.user_table import MIN_ROWS, is_table, plain, say_once
from rapp.estimator import ENOUGH
from rappbook.chapters.your_table import reasons

FOLDS = 5
FIRST = 10  # rows to look at
RAPP = "RaPP"  # its default: an autoencoder, and NAP
RIVALS = ("knn", "iforest")
UNKNOWN = "no label"  # the one class of such a table


@dataclass
class Fit:
    """What one part of the rows was scored with; it was fitted on the others."""

    rows: np.ndarray  # (n,) numbers of the part's rows, from 0
    scaler: StandardScaler
    detector: RaPP


def read(path: str) -> Dataset:
    """Every column of a table as features, numbers as they are and text one-hot, as ``rapp fit`` takes them.

    Raises:
        DataError: no table, too few rows, or values that cannot be used, with what to do.
    """
    file = Path(path).expanduser()
    if not is_table(path):
        raise DataError(f"{path} is no table; a data set by name has labels, and its book shows them")
    frame, notes = read_table(file, None)
    if len(frame) < MIN_ROWS:
        raise DataError(f"{file.name} has {len(frame)} rows; at least {MIN_ROWS} are needed")
    columns, more = learn(frame, file.name)
    x = encode(frame, columns, file.name)[0]
    for note in [*notes, *more]:
        say_once(file, note)
    say_once(file, "no LABEL=… was given: all columns are features, nothing can be measured, and the book is one page")
    names = tuple(plain(name) for column in columns for name in column.features)
    about = (None, f"{plain(file.name)}, no label column", "its owner's", "", (UNKNOWN,))
    shown = tuple(map(plain, [*notes, *more]))
    return Dataset(plain(file.name), x, np.full(len(x), UNKNOWN), (UNKNOWN,), *about, shown, features=names)


def cross_fit(data: Dataset, seeds: int, epochs: int) -> tuple[pd.DataFrame, list[Fit]]:
    """Score each row by methods that did not train on it: the rows in five parts, each scored by a fit on the others.

    Args:
        data: a table.
        seeds: how often, each time with other parts and other networks.
        epochs: of RaPP's networks.

    Returns:
        seed, row, RaPP's score and p-value and a column for each rival's score; and the fits.
    """
    fits, found = [], []
    for seed in range(seeds):
        for others, rows in KFold(FOLDS, shuffle=True, random_state=seed).split(data.x):
            scaler = StandardScaler().fit(data.x[others])
            train, part = scaler.transform(data.x[others]), scaler.transform(data.x[rows])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of few rows: the page says how many there are
                detector = RaPP(epochs=epochs, random_state=seed).fit(train)
            scores = {"seed": seed, "row": rows, RAPP: -detector.score_samples(part), "p": detector.p_value(part)}
            for name in RIVALS:
                rival = detectors.make(name, None, "quick").fit(train, None, seed, progress=False)
                scores[detectors.DETECTORS[name].title] = next(iter(rival.scores(part).values()))
            found.append(pd.DataFrame(scores))
            fits.append(Fit(rows, scaler, detector))
    return pd.concat(found, ignore_index=True).sort_values(["seed", "row"], ignore_index=True), fits


def by_row(scores: pd.DataFrame) -> pd.DataFrame:
    """The median of each row's scores over seeds, ``times`` that of RaPP's median row, and the largest p-value."""
    found = scores.groupby("row").median().drop(columns="seed")  # one fit can be far off in a single row
    return found.assign(times=found[RAPP] / found[RAPP].median(), p=scores.groupby("row")["p"].max())


def top(values: pd.Series) -> list[int]:
    """The rows of the ten highest scores, the highest first; of equal ones the first in the file."""
    return [int(row) for row in values.sort_values(ascending=False, kind="stable").index[:FIRST]]


def are_few(data: Dataset) -> bool:
    """Whether so few rows train that the estimator's p-values are approximate."""
    return len(data) * (FOLDS - 1) // FOLDS < ENOUGH


def _rivals(medians: pd.DataFrame) -> list[str]:
    return [name for name in map(str, medians) if name not in (RAPP, "p", "times")]


def first_rows(data: Dataset, scores: pd.DataFrame, fits: list[Fit]) -> pd.DataFrame:
    """The ten rows of the highest median score: number in the file, score, places, p-value, who else, and reasons."""
    medians = by_row(scores)
    rows = top(medians[RAPP])
    places = scores.groupby("seed")[RAPP].rank(ascending=False, method="first").astype(int)
    rivals = {name: top(medians[name]) for name in _rivals(medians)}
    falls = np.zeros((len(rows), data.x.shape[1]))
    for fit in fits:
        if mine := [i for i, row in enumerate(rows) if row in fit.rows]:
            falls[mine] += fit.detector.explain(fit.scaler.transform(data.x[[rows[i] for i in mine]])).to_numpy()
    return pd.DataFrame(
        {
            "data row": [row + 1 for row in rows],
            "score": medians.loc[rows, "times"].to_numpy(),
            "place": [", ".join(map(str, places[scores["row"] == row])) for row in rows],
            "p-value": medians.loc[rows, "p"].to_numpy(),
            "also first for": [", ".join(name for name, its in rivals.items() if row in its) or "–" for row in rows],
            "look at": [names or "–" for names in reasons(falls, data.features)],
        }
    )


def first_of_rivals(medians: pd.DataFrame) -> pd.DataFrame:
    """What each rival puts first, of ``by_row``: its name, and its ten rows as numbers in the file."""
    rivals = _rivals(medians)
    rows = [", ".join(str(row + 1) for row in top(medians[name])) for name in rivals]
    return pd.DataFrame({"method": rivals, f"its first {FIRST} data rows": rows})


def agreement(scores: pd.DataFrame) -> pd.DataFrame:
    """How alike two orders of the rows are: rank correlation, and how many of the first ten they share.

    RaPP beside itself with another seed, over all pairs of seeds; beside each rival, over seeds.
    """
    names = [name for name in map(str, scores) if name not in ("row", "seed", "p")]
    orders = {name: scores.pivot(index="row", columns="seed", values=name) for name in names}
    ours = orders.pop(RAPP)
    pairs = {"RaPP, another seed": [(ours[a], ours[b]) for a, b in combinations(ours, 2)]}
    pairs |= {name: [(ours[seed], its[seed]) for seed in ours] for name, its in orders.items()}
    found = []
    for name, both in pairs.items():
        alike = [(spearmanr(a, b).statistic, len({*top(a)} & {*top(b)})) for a, b in both]
        found += [(name, *np.mean(alike, axis=0))] if both else []
    return pd.DataFrame(found, columns=["RaPP beside", "rank correlation", f"shared of the first {FIRST}"])
