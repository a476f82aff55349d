"""False alarms of ``RaPP`` on fresh normal rows, asked for 5 %, by number of training rows: the old rule and today's.

    RAPP_DATA=folder .venv/bin/python tests/bench_false_alarms.py    # a few minutes on one core

It takes ten of ADBench's tables (``RAPP_DATA/adbench``), three seeds each: 30 fits of 20 epochs for a number. Before,
the threshold was the interpolated 95 % quantile of the fifth of the rows that chose the epoch; here it is taken of the
rows that calibrate, which differs from before by the order statistic alone.
"""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

from rapp import RaPP

SIZES, SEEDS, RATE, TABLES = (30, 50, 100, 200, 500), 3, 0.05, 10


def main() -> int:
    """Print a line for each number of rows."""
    warnings.simplefilter("ignore")
    tables = []
    for file in sorted((Path(os.environ["RAPP_DATA"]) / "adbench").glob("*.npz")):
        with np.load(file) as table:
            normal = table["X"][table["y"] == 0].astype(np.float64)
        if len(normal) >= 1000 and normal.shape[1] <= 40:
            tables.append(normal)
    rows = []
    for n in SIZES:
        for normal in tables[:TABLES]:
            for seed in range(SEEDS):
                x = np.random.default_rng(seed).permutation(normal)[: n + 500]
                x = StandardScaler().fit(x[:n]).transform(x)
                detector = RaPP(epochs=20, false_alarm_rate=RATE, random_state=seed).fit(x[:n])
                scores, held_out = detector.scores(x[n:])["nap"], detector.pathway_.normal["nap"]
                found = {"quantile": (scores > np.quantile(held_out, 1 - RATE)).mean()}
                rows.append({"rows": n, **found, "today": (scores > -detector.offset_).mean()})
        print(pd.DataFrame(rows).groupby("rows").mean().map("{:.1%}".format).iloc[-1:], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
