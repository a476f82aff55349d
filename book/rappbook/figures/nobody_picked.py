"""Figures of chapter 12: mean ranks with a critical difference, slopes, and what the splits change."""

import pandas as pd
from matplotlib.figure import Figure

from rappbook.figures import style


def ranks(table: pd.DataFrame, critical: float) -> Figure:
    """Mean ranks, the best on top; two methods whose bars do not overlap differ.

    Args:
        table: name → "mean rank", as ``nobody_picked.ranking``.
        critical: the difference from which on two mean ranks differ.
    """
    table = table.sort_values("mean rank", ascending=False)
    figure, ax = style.subplots(figsize=(6.8, 0.32 * len(table) + 1))
    is_rapp = table.index.str.startswith("RaPP")
    for i, (name, rank) in enumerate(table["mean rank"].items()):
        colour = style.SCORE_COLOURS["nap"] if is_rapp[i] else style.SCORE_COLOURS["recon"]
        ax.plot([rank - critical / 2, rank + critical / 2], [i, i], color=colour, linewidth=3, alpha=0.55)
        ax.scatter(rank, i, color=colour, s=36, zorder=3, label=name)
    ax.set_yticks(range(len(table)), table.index, fontsize=10)
    ax.set(xlabel="mean rank (1 = best)")
    ax.grid(axis="x", alpha=0.3)
    return figure


def slopes(aurocs: pd.DataFrame, networks: list[str]) -> Figure:
    """From reconstruction error to NAP on the same networks, a panel for each, a line for each table.

    Args:
        aurocs: table → AUROC, with the columns "NETWORK, reconstruction error" and "NETWORK, NAP".
        networks: the networks' names.
    """
    figure, axes = style.subplots(1, len(networks), figsize=(6.8, 4), sharey=True, squeeze=False)
    for ax, network in zip(axes[0], networks, strict=True):
        for start, end in aurocs[[f"{network}, reconstruction error", f"{network}, NAP"]].to_numpy():
            colour = style.SCORE_COLOURS["nap"] if end > start else style.NOVEL
            ax.plot([0, 1], [start, end], color=colour, linewidth=1.3, alpha=0.8)
        ax.set_xticks([0, 1], ["reconstruction\nerror", "NAP"])
        ax.set(title=network, xlim=(-0.15, 1.15))
        style.coin(ax)
    axes[0, 0].set_ylabel("AUROC")
    return figure
