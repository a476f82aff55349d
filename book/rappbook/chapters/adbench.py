"""Tables that nobody picked: ADBench's, the estimator at several settings, and what one would use instead.

``python -m rappbook.chapters.adbench`` computes what is missing of ``book/results/adbench/rows.csv`` and adds it, one
table and seed at a time; an interruption loses at most what is being computed. It wants ``$RAPP_DATA/adbench``.

**How the estimator's defaults were chosen.** Everything in this paragraph was written down before the first row was
computed. Tables in alphabetical order are dealt out in turn to a first and a second half. On the first, the candidates
below are compared by the AUROC of NAP, each on the same five splits of each table. Of those whose fits take at most a
third of today's time (all of the half together), the first in the order below is taken, from simple to less so, whose
AUROC is within one standard error of the best one's: the error of the mean difference over tables, each table's being
the mean over its seeds. The second half then decides: the choice becomes the default unless its mean AUROC there is
below today's.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
import torch
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from rapp import RaPP, data, detectors
from rapp.cache import write_text
from rapp.data.adbench import PREFIX, tables
from rapp.detectors.autoencoder import bottleneck
from rapp.estimator import ENOUGH
from rapp.evaluation import auroc
from rapp.progress import say
from rapp.threads import pinned

FILE = Path(__file__).resolve().parents[2] / "results" / "adbench" / "rows.csv"
KEYS = ["protocol", "table", "seed", "method"]
SEEDS = 5
NEIGHBOUR = 5  # whose distance among pathway differences is the open question's score
# Parameters of ``RaPP``; "cap" is the study's: the code is at most half as wide as the table.
CANDIDATES: dict[str, dict] = {
    "today": {"model": "ae", "n_layers": 3, "batch": 32},
    "batch 128": {"model": "ae", "n_layers": 3, "batch": 128},
    "batch 128, cap": {"model": "ae", "n_layers": 3, "batch": 128, "cap": True},
    "batch 128, cap, patience": {"model": "ae", "n_layers": 3, "batch": 128, "patience": 10, "cap": True},
    "VAE, batch 128, cap": {"model": "vae", "n_layers": 3, "batch": 128, "cap": True},
    "wide, batch 128, cap": {"model": "ae", "hidden": (128, 64), "batch": 128, "cap": True},
}
# Computed when the choice was made, and no candidate: what the default makes of a VAE.
AFTERWARDS: dict[str, dict] = {"VAE, wide, batch 128, cap": CANDIDATES["wide, batch 128, cap"] | {"model": "vae"}}
NETWORKS = CANDIDATES | AFTERWARDS
FILLED, SAMPLED = 1_000, 50_000  # rows; of fewer and of more, DTE's repository draws
RIVALS = ("knn", "gmm", "lof", "ocsvm", "iforest", "pca", "ecod")
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]  # training rows, test rows, which of the test rows are novel


def halves_of(names: Iterable[str]) -> dict[str, int]:
    """Each table's half, 1 or 2: dealt out in alphabetical order."""
    return {name: 1 + i % 2 for i, name in enumerate(sorted(names, key=str.lower))}


def shuffled(x: np.ndarray, y: np.ndarray, seed: int, size: int) -> Arrays:
    """A random half of the normal rows trains; the other half and all anomalies test. x (N, d), y (N,) bool."""
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(~y))
    return halved(x, y, normal)


def unshuffled(x: np.ndarray, y: np.ndarray, seed: int, size: int) -> Arrays:
    """The split of DTE's repository (``data_generator.py``): the first half of the normal rows in the file trains.

    Before that, a table of fewer than 1,000 rows is drawn with replacement up to 1,000, so that twins lie on both
    sides, and one of more than 50,000 is drawn from without putting back, which shuffles it. x (N, d), y (N,) bool;
    ``size`` is the table's in the file, before it was cut to what x has.
    """
    random = np.random.RandomState(seed)
    if size < FILLED or size > SAMPLED:
        drawn = random.choice(np.arange(len(y)), max(len(y), FILLED), replace=size < FILLED)
        x, y = x[drawn], y[drawn]
    return halved(x, y, np.flatnonzero(~y))


def halved(x: np.ndarray, y: np.ndarray, normal: np.ndarray) -> Arrays:
    """The first half of some rows to train on; the others, and where y (N,) is true, to test."""
    train, rest = np.split(normal, [round(len(normal) / 2)])
    test = np.concatenate([rest, np.flatnonzero(y)])
    return x[train], x[test], y[test]


PROTOCOLS: dict[str, Callable[[np.ndarray, np.ndarray, int, int], Arrays]] = {"shuffled": shuffled, "DTE": unshuffled}


def of_candidate(name: str, arrays: Arrays, seed: int) -> Iterator[dict]:
    """A row for each score of an autoencoder: along its pathway, and the distance among its differences."""
    train, test, is_novel = arrays
    params = {"epochs": 100, "patience": None} | NETWORKS[name]
    width = bottleneck(train)
    if params.pop("cap", False):
        width = min(width, max(1, train.shape[1] // 2))
    start = time.process_time()
    fitted = RaPP(bottleneck=width, random_state=seed, **params).fit(train)
    seconds = time.process_time() - start
    about = {"seconds": seconds, "epochs": fitted.n_iter_, "bottleneck": width}
    scores = dict(fitted.scores(test)) | {"5th neighbour": among_differences(fitted, train, test, seed)}
    for score, values in scores.items():
        yield about | {"score": score, "auroc": auroc(is_novel, values)}


def among_differences(fitted: RaPP, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Distance of each test row's pathway difference, standardised unit by unit, to the fifth neighbour's, (n,).

    The neighbours are those that NAP's normaliser was fitted on: the rows that trained the network.
    """
    rows = np.random.RandomState(seed).permutation(len(train))[len(train) // 5 :]  # as in ``RaPP.fit``
    rows = rows[len(train) // 20 :] if len(train) >= ENOUGH else rows
    with pinned(1):
        known, new = (fitted.pathway_.differences(torch.from_numpy(x)).numpy() for x in (train[rows], test))
    scaler = StandardScaler().fit(known)
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOUR, len(known))).fit(scaler.transform(known))
    return neighbours.kneighbors(scaler.transform(new))[0][:, -1]


def of_rival(name: str, arrays: Arrays, seed: int) -> Iterator[dict]:
    """The row of a detector at its defaults; one that has to choose something does so on a fifth of the rows."""
    train, test, is_novel = arrays
    order, fifth = np.random.RandomState(seed).permutation(len(train)), len(train) // 5
    parts = (train[order[fifth:]], train[order[:fifth]]) if name == "gmm" else (train, train)
    changes: dict[str, Any] = {"n_components": bottleneck(train)} if name == "pca" else {}
    start = time.process_time()
    fitted = detectors.make(name, **changes).fit(*parts, seed, progress=False)
    seconds = time.process_time() - start
    ((score, values),) = fitted.scores(test).items()
    yield {"score": score, "auroc": auroc(is_novel, values), "seconds": seconds}


def rows(protocol: str, table: str, seed: int, methods: list[str]) -> pd.DataFrame:
    """A row for each method and score of one table and seed."""
    whole = data.load(PREFIX + table)
    with np.load(tables()[table]) as file:
        size = len(file["y"])  # before it was cut
    train, test, is_novel = PROTOCOLS[protocol](whole.x, whole.y == "1", seed, size)
    scaler = StandardScaler().fit(train)
    arrays = scaler.transform(train), scaler.transform(test), is_novel
    about = {"n_train": len(train), "n_test": len(test), "n_novel": is_novel.sum(), "n_features": train.shape[1]}
    about["versions"] = f"torch {torch.__version__}, scikit-learn {sklearn.__version__}"
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few rows: such tables are part of the collection
        for method in methods:
            of = of_candidate if method in NETWORKS else of_rival
            keys = dict(zip(KEYS, (protocol, table, seed, method), strict=True))
            found += [keys | about | row for row in of(method, arrays, seed)]
    return pd.DataFrame(found)


def compute(protocol: str, names: list[str], methods: list[str], seeds: int) -> None:
    """Add the rows that are missing of some tables and methods, a table and a seed at a time."""
    for seed in range(seeds):
        for table in names:
            there = pd.read_csv(FILE) if FILE.exists() else pd.DataFrame(columns=KEYS)
            done = there[(there["protocol"] == protocol) & (there["table"] == table) & (there["seed"] == seed)]
            if missing := [method for method in methods if method not in set(done["method"])]:
                start = time.perf_counter()
                new = rows(protocol, table, seed, missing).round({"auroc": 5, "seconds": 3})
                whole = pd.concat([there, new]) if len(there) else new
                write_text(FILE, whole.to_csv(index=False))
                say(f"{protocol}, {table}, seed {seed}: {len(missing)} methods, {time.perf_counter() - start:.0f} s")


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--protocol", choices=PROTOCOLS, default="shuffled")
    parser.add_argument("--half", type=int, choices=(1, 2), help="of the tables; both if not said")
    parser.add_argument("--tables", nargs="*", help="by name; all if not said")
    parser.add_argument("--methods", nargs="*", default=[*NETWORKS, *RIVALS])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    args = parser.parse_args()
    chosen = [name for name, half in halves_of(tables()).items() if args.half in (None, half)]
    compute(args.protocol, args.tables or chosen, args.methods, args.seeds)


if __name__ == "__main__":
    main()
