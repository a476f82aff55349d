"""Numbers that others published, retyped from the sources named in each file (book/paper/)."""

from pathlib import Path

import pandas as pd

from rapp import evaluation
from rapp.datasets import DataError

FOLDER = Path(__file__).parents[1] / "book" / "paper"


def per_digit(dataset: str, model: str = "vae") -> pd.DataFrame:
    """The authors' AUROCs on MNIST with each digit as the novel one, read off their charts (± 0.01).

    Returns:
        source, model, score, target, auroc; without rows if ``dataset`` does not hold MNIST's digits.
    """
    path = FOLDER / "mnist_per_digit.csv"
    if not path.exists():
        raise DataError(f"{path} is missing: rapp must be installed from its checkout (pip install --editable .)")
    rows = pd.read_csv(path, dtype={"target": str})
    return rows[(rows["model"] == model) & (dataset in ("mnist", "mnist-5k"))]


def beside(ours: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Our mean ± std over seeds next to the published value, and the difference.

    Args:
        ours: model, score, auroc (a row per seed).
        published: model, score, auroc.
    """
    table = evaluation.mean_std(ours, ["model", "score"]).merge(
        published[["model", "score", "auroc"]], how="left", on=["model", "score"]
    )
    spread = table["std"].map(lambda std: "" if pd.isna(std) else f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{std:.3f}")
    gap = table["mean"] - table["auroc"]
    return pd.DataFrame(
        {
            "model": table["model"].str.upper(),
            "score": table["score"].map({"recon": "recon", "sap": "SAP", "nap": "NAP"}),
            "ours": table["mean"].map("{:.3f}".format) + spread,
            "seeds": table["seeds"],
            "published": table["auroc"].map("{:.3f}".format).where(table["auroc"].notna(), "–"),
            "difference": gap.map("{:+.3f}".format).where(gap.notna(), "–"),
        }
    )
