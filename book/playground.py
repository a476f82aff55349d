"""``make playground``: train the playground's ten networks on all 70,000 digits, and write what its page ships."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from rapp.cache import write_text
from rapp.cli import told
from rapp.data import load
from rapp.experiment import run
from rappbook import playground
from rappbook.figures import playground as figures

BOOK = Path(__file__).parent
FRONT = "1"  # the unseen digit of the front page


def made(out: Path, table: Path) -> int:
    """Train, write a script for each network, the front page's data, the still picture and the table."""
    data, tables = load("mnist"), []
    for trial in run(data, playground.cells(data)):
        network, lines = playground.shipped(trial)
        write_text(out / f"net-{trial.cell.target}.js", network.script())
        tables.append(lines)
        if trial.cell.target == FRONT:
            write_text(out / "front-data.js", playground.first_page(network))
            figures.still(network).savefig(out / "still.png", dpi=110)
    write_text(table, pd.concat(tables).to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    print(f"{len(tables)} networks: {out}; what they reach: {table}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=BOOK / "_static" / "playground")
    parser.add_argument("--table", type=Path, default=BOOK / "results" / "playground" / "networks.csv")
    arguments = parser.parse_args()
    return told(lambda: made(arguments.out, arguments.table))


if __name__ == "__main__":
    sys.exit(main())
