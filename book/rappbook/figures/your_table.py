"""The figure of the page on one's own table."""

import pandas as pd
from matplotlib.figure import Figure

from rappbook.figures import style


def compare(rows: pd.DataFrame) -> Figure:
    """AUROC of every method, the best on top: a bar for the mean, a point for each split.

    Args:
        rows: method, seed, auroc.
    """
    means = rows.groupby("method")["auroc"].mean().sort_values()
    figure, ax = style.subplots(figsize=(6.8, 0.32 * len(means) + 1))
    is_rapp = means.index.str.startswith("RaPP")
    colours = [style.SCORE_COLOURS["nap" if ours else "recon"] for ours in is_rapp]
    ax.barh(range(len(means)), means, color=colours, alpha=0.75)
    ax.scatter(rows["auroc"], rows["method"].map(means.index.get_loc), color="black", s=12, zorder=3)
    ax.axvline(0.5, color="black", linewidth=1, linestyle="--")
    ax.set_yticks(range(len(means)), means.index, fontsize=10)
    ax.set(xlabel="AUROC", xlim=(0, 1.02))
    return figure
