"""Figures of chapter 11: what NAP's whitening rests on."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from rappbook.figures import style


def spectrum(values: dict[str, np.ndarray], independent: int) -> Figure:
    """Singular values in falling order, relative to the largest, of the same differences in several precisions.

    Args:
        values: precision → (K,) singular values.
        independent: how many directions are independent in exact arithmetic, marked by a line.
    """
    figure, axes = style.subplots(1, 2, figsize=(6.8, 3.4), sharey=True, width_ratios=(3, 2))
    size = len(next(iter(values.values())))
    for ax, title in zip(axes, ("all directions", "the last ones"), strict=True):
        for (name, s), line, colour in zip(values.items(), ("-", "--"), (style.NORMAL, style.NOVEL), strict=True):
            ax.plot(np.arange(1, size + 1), s / s[0], line, color=colour, label=name, linewidth=2)
        ax.axvline(independent + 0.5, color="0.45", linestyle=":", zorder=0)
        ax.set(yscale="log", title=title, xlabel="direction", xlim=(1, size))
    axes[1].set(xlim=(max(1, 2 * independent - size), size))
    axes[0].set_ylabel("singular value / the largest")
    axes[0].legend(frameon=False, loc="lower left")
    return figure


def cuts(directions: pd.DataFrame, shrinkage: pd.DataFrame, chosen: pd.DataFrame) -> Figure:
    """AUROC of NAP by its leading directions alone and by shrunk covariances; means over seeds.

    Args:
        directions: rows (training rows that were used), kept, auroc.
        shrinkage: rows, delta, auroc.
        chosen: rows, delta, auroc at the intensity that Ledoit and Wolf's formula chooses.
    """
    figure, axes = style.subplots(1, 2, figsize=(6.8, 3.9), sharey=True)
    sizes = sorted(directions["rows"].unique())
    colours = dict(zip(sizes, sns.color_palette("viridis_r", len(sizes) + 1)[1:], strict=True))
    for ax, rows, x in ((axes[0], directions, "kept"), (axes[1], shrinkage, "delta")):
        for size, line in zip(sizes, (":", "-.", "--", "-")[-len(sizes) :], strict=True):
            mean = rows[rows["rows"] == size].groupby(x)["auroc"].mean()
            ax.plot(mean.index, mean, line, color=colours[size], label=f"{size:,}", linewidth=2)
        style.coin(ax)
        ax.set_xscale("log")
    for size, part in chosen.groupby("rows"):
        axes[1].scatter(part["delta"].mean(), part["auroc"].mean(), s=60, marker="D", color=colours[size], zorder=3)
    axes[0].set(xlabel="leading directions kept", ylabel="AUROC")
    axes[1].set(xlabel=r"shrinkage intensity $\delta$")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, title="training rows", frameon=False, ncols=4, loc="outside upper center")
    return figure


def energies(blocks: pd.DataFrame) -> Figure:
    """Mean whitened squares of test samples along the spectrum, relative to the training rows' own.

    Args:
        blocks: direction (middle of a block), kind ("normal" or "novel"), energy.
    """
    figure, ax = style.subplots(figsize=(6.4, 3.6))
    for kind, marker, colour in (("normal", "o", style.NORMAL), ("novel", "s", style.NOVEL)):
        mean = blocks[blocks["kind"] == kind].groupby("direction")["energy"].mean()
        ax.plot(mean.index, mean, marker=marker, color=colour, label=f"{kind} test samples")
    ax.axhline(1, color="black", linewidth=1, linestyle="--", zorder=0, label="training rows")
    ax.set(yscale="log", xlabel="direction, from largest to smallest variance")
    ax.set_ylabel("mean square / training rows'")
    style.plain_log(ax.yaxis)
    ax.legend(frameon=False)
    return figure
