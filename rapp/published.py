"""Numbers to stand beside ours: published ones, retyped (book/paper/), and our own earlier runs (book/results/)."""

import json
from pathlib import Path

import pandas as pd

from rapp import evaluation
from rapp.datasets import DataError

BOOK = Path(__file__).parents[1] / "book"
NAMES = {  # ours → the paper's
    "mnist": "MNIST", "mnist-5k": "MNIST", "fashion-mnist": "F-MNIST",
    "steel": "STL", "otto": "OTTO", "sensorless": "SNSR", "mill-finished": "MI-F", "mill-inspected": "MI-V",
    "hrss": "EOPT", "asteroids": "NASA", "robot-arm": "RARM",
}  # fmt: skip
COLUMNS = ["source", "model", "score", "auroc"]


def _read(name: str) -> pd.DataFrame:
    path = BOOK / "paper" / name
    if not path.exists():
        raise DataError(f"{path} is missing: rapp must be installed from its checkout (pip install --editable .)")
    return pd.read_csv(path, dtype={"target": str})


def per_class(dataset: str, target: str | None = None) -> pd.DataFrame:
    """The authors' AUROCs of a VAE on MNIST with each digit as the novel one, read off a chart in their post (± 0.01).

    Returns:
        source, model, score, target, auroc; of one target or of all; no rows if ``dataset`` has not MNIST's digits.
    """
    rows = _read("mnist_per_digit.csv")
    rows = rows[rows["source"].str.contains("bars") & (NAMES.get(dataset) == "MNIST")]
    return rows[rows["target"] == target if target else slice(None)].assign(source="authors' post")


def means(dataset: str, setting: str = "multimodal") -> pd.DataFrame:
    """Means over all classes: the paper's Table 2, and the known re-implementation's (one run a class, 200 epochs).

    Returns:
        source, model, score, auroc; without rows for a data set that neither has.
    """
    files = {"paper": "table2.csv", "re-implementation": "reimplementation.csv"}
    rows = pd.concat([_read(file).assign(source=source) for source, file in files.items()])
    return rows[(rows["dataset"] == NAMES.get(dataset)) & (rows["setting"] == setting)][COLUMNS]


def committed(dataset: str, profile: str) -> tuple[pd.DataFrame, str]:
    """Rows of our own earlier run of ``book/results.py``, and where they come from, in words; none: an empty frame, "".

    Returns:
        As ``experiments.rows_of``.
    """
    path = BOOK / "results" / f"{dataset}-{profile}.csv"
    if not path.exists():
        return pd.DataFrame(columns=["target", *COLUMNS[1:]]), ""
    about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    words = ", ".join(f"{name} {value}" for name, value in about.items())
    return pd.read_csv(path, dtype={"target": str}), words


def beside(ours: pd.DataFrame, published: pd.DataFrame, unit: str = "seeds") -> pd.DataFrame:
    """Our mean ± std next to each published value with the difference, ours − theirs, in brackets.

    Args:
        ours: model, score, auroc (a row per seed, or per whatever ``unit`` says).
        published: source, model, score, auroc.
        unit: what the mean is taken over.
    """
    table = evaluation.mean_std(ours, ["model", "score"])
    spread = table["std"].map(lambda std: "" if pd.isna(std) else f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{std:.3f}")
    shown = pd.DataFrame(
        {
            "model": table["model"].str.upper(),
            "score": table["score"].map({"recon": "recon", "sap": "SAP", "nap": "NAP"}),
            "ours": table["mean"].map("{:.3f}".format) + spread,
            unit: table["seeds"],
        }
    )
    for source in published["source"].unique():
        theirs = published[published["source"] == source]
        value = table.merge(theirs, how="left", on=["model", "score"])["auroc"]
        gap = table["mean"] - value
        text = value.map("{:.3f}".format) + gap.map(" ({:+.3f})".format)
        shown[f"{source} (difference)"] = text.where(value.notna(), "–")
    return shown
