"""Every class of a data set as the novel one, by every base model: rows to commit under book/results/.

    python book/results.py --dataset mnist-5k --profile quick --seeds 1

The models come from the same cache as the book's; what is interrupted goes on where it was.
"""

import argparse
import datetime
import io
import json
import subprocess
import sys
from pathlib import Path

from rapp import datasets, profiles, provenance, store
from rapp.experiments import Cell, rows_of, run_trials

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist-5k")
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    try:
        data = profiles.check(arguments.dataset, arguments.profile, seeds=arguments.seeds)
    except (profiles.ParameterError, datasets.DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    models = [profiles.settings_for(arguments.profile, data, model) for model in ("ae", "vae", "aae")]
    trials = run_trials(
        data, [Cell(of, target, seed) for of in models for target in data.classes for seed in range(arguments.seeds)]
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=RESULTS.parent)
    about = {
        "of": f"{datetime.date.today():%Y-%m-%d}",
        "commit": commit.stdout.strip(),
        "profile": arguments.profile,
        "epochs": models[0].epochs,
        "seeds": ", ".join(map(str, range(arguments.seeds))),
        "device": trials[0].trained.device,
        "torch": provenance.versions()["torch"],
    }
    table = io.StringIO()
    rows_of(trials).round(4).to_csv(table, index=False, lineterminator="\n")
    path = RESULTS / f"{data.name}-{arguments.profile}.csv"
    store.write_atomically(path, lambda beside: beside.write_text(table.getvalue(), encoding="utf-8"))
    text = json.dumps(about, indent=1) + "\n"
    store.write_atomically(path.with_suffix(".json"), lambda beside: beside.write_text(text, encoding="utf-8"))
    print(f"{len(table.getvalue().splitlines()) - 1} rows: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
