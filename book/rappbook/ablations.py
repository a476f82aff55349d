"""What each choice of the protocol changes: published rows of ``rapp ablate``, for a page."""

import pandas as pd

from rapp.experiment import SCORES
from rapp.grid import ablate, cells
from rapp.models import MODELS


def table(rows: pd.DataFrame, target: str | None = None) -> pd.DataFrame:
    """A page's table of what each choice changes: a row per choice, a column per model and score.

    The protocol's row holds mean AUROCs; the others hold the mean difference from the protocol's of the same class
    and seed, ± its standard deviation over classes and seeds.

    Args:
        rows: as ``ablate.collect``.
        target: the novel class to show; None for all.

    Returns:
        choice, value, and the text of each model and score; no rows without a run of the protocol.
    """
    pairs = _paired(rows[rows["target"] == target] if target else rows)
    if pairs.empty:
        return pd.DataFrame()
    groups = pairs.groupby(["factor", "value", "model", "score"])
    text = pd.Series({what: _in_words(group) for what, group in groups}).unstack([2, 3]).fillna("")
    columns = [(model, score) for model in MODELS for score in SCORES if (model, score) in text]
    text = text.loc[sorted(text.index, key=lambda choice: (choice != ablate.PROTOCOL, choice)), columns]
    text.columns = [f"{model.upper()} {SCORES[score]}" for model, score in columns]
    return text.rename_axis(["choice", "value"]).reset_index()


def _paired(rows: pd.DataFrame) -> pd.DataFrame:
    """Each row with the AUROC of the protocol's run of the same cell, in ``auroc_of_protocol``."""
    cell = [*cells.KEY, "score"]
    protocol = rows[rows["factor"] == ablate.PROTOCOL[0]]
    return rows.merge(protocol[[*cell, "auroc"]], on=cell, suffixes=("", "_of_protocol"))


def _in_words(pairs: pd.DataFrame) -> str:
    """The protocol's mean AUROC, or another choice's mean difference from it ± standard deviation."""
    if pairs["factor"].iloc[0] == ablate.PROTOCOL[0]:
        return f"{pairs['auroc'].mean():.3f}"
    change = pairs["auroc"] - pairs["auroc_of_protocol"]
    return f"{change.mean():+.3f}" + (f" ± {change.std():.3f}" if len(change) > 1 else "")
