"""False alarms of ``RaPP`` on fresh normal rows, by number of training rows: today's threshold and the one before it.

    RAPP_DATA=… python tests/bench_false_alarms.py    # about 10 minutes on one core

Needs the folder ``adbench`` with ADBench's ``NN_name.npz`` files. It takes every table of 5 to 40 features and at least
900 normal rows; of each and for each seed, n random normal rows train and up to 1,000 others are judged, at 5 %.
Before, a fifth of the rows chose the epoch, and its interpolated quantile was the threshold. Means are over tables and
seeds.
"""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.preprocessing import StandardScaler

from rapp import Pathway, RaPP
from rapp.config import TrainingConfig
from rapp.detectors.autoencoder import bottleneck
from rapp.evaluation import auroc, threshold
from rapp.stacks import train
from rapp.threads import pinned

SIZES, SEEDS, RATE = (30, 50, 100, 200, 500), 3, 0.05


def tables(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Normal rows and anomalies, by name."""
    found = {}
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as table:
            x, y = table["X"].astype(np.float64), table["y"]
        if 5 <= x.shape[1] <= 40 and (y == 0).sum() >= 900:
            found[file.stem] = x[y == 0], x[y == 1]
    return found


def before(x: np.ndarray, test: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of test rows and whether they are called novel, by the rule of before."""
    rows = torch.from_numpy(x[np.random.RandomState(seed).permutation(len(x))])
    held_out, fitted = rows[: len(x) // 5], rows[len(x) // 5 :]
    config = TrainingConfig("ae", 3, bottleneck(x), samples=1, batch=32, device="cpu", threads=1)
    model = train(fitted.float(), held_out.float(), config, seed, progress=False).model.double()
    pathway = Pathway(model.encoder, model.decode, include_input=True).fit(fitted)
    scores = pathway.score(torch.from_numpy(test))["nap"]
    return scores, scores > threshold(pathway.score(held_out)["nap"], RATE)


def today(x: np.ndarray, test: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The same by today's rule."""
    detector = RaPP(random_state=seed).fit(x)
    return -detector.score_samples(test), detector.predict(test) == -1


def main() -> None:
    warnings.simplefilter("ignore")  # of few rows; that is what is measured
    rows = []
    for name, (normal, novel) in tables(Path(os.environ["RAPP_DATA"]) / "adbench").items():
        print(name, file=sys.stderr, flush=True)
        for seed in range(SEEDS):
            random = np.random.default_rng(seed)
            order, some = random.permutation(len(normal)), novel[random.permutation(len(novel))[:500]]
            fresh = normal[order[max(SIZES) :][:1000]]
            is_novel = np.arange(len(fresh) + len(some)) >= len(fresh)
            for n in SIZES:
                scaler = StandardScaler().fit(normal[order[:n]])
                x, test = scaler.transform(normal[order[:n]]), scaler.transform(np.concatenate([fresh, some]))
                for rule in (before, today):
                    with pinned(1):
                        scores, is_called = rule(x, test, seed)
                    alarms = is_called[~is_novel].mean()
                    rows.append({"rows": n, "rule": rule.__name__, "table": name, "alarms": alarms,
                                 "AUROC": auroc(is_novel, scores)})  # fmt: skip
    grouped = pd.DataFrame(rows).groupby(["rows", "rule"])
    alarms = grouped["alarms"].agg(fits="count", mean="mean", sem="sem", highest="max")
    print(pd.concat([alarms, grouped["AUROC"].mean()], axis=1).round(3).to_markdown())


if __name__ == "__main__":
    main()
