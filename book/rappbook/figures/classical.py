"""Figures of chapter 05: what classical detectors take for normal, and how well that serves."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from rappbook.chapters.toys import Map
from rappbook.figures import style


def boundaries(maps: dict[str, Map]) -> Figure:
    """What a detector takes for normal in the plane, a panel for each shape of the normal points."""
    figure, axes = style.subplots(1, len(maps), figsize=(6.8, 2.6), sharex=True, sharey=True)
    for ax, (shape, plane) in zip(axes, maps.items(), strict=True):
        ax.contourf(*plane.grid, plane.values > plane.cut, levels=[-0.5, 0.5, 1.5], colors=[style.PAPER, "0.88"])
        ax.contour(*plane.grid, plane.values, levels=[plane.cut], colors="black", linewidths=1.5, linestyles="solid")
        ax.scatter(*plane.normal.T, s=7, color=style.NORMAL, alpha=0.6, linewidths=0)
        ax.set_title(f"{shape}\nAUROC {plane.auroc:.2f}", fontsize=12)
        ax.set(xticks=[], yticks=[], aspect="equal")
        sns.despine(ax=ax, top=False, right=False)
    return figure


def angles(series: dict[str, np.ndarray]) -> Figure:
    """Principal angles between subspaces.

    Args:
        series: label → (k,) degrees, ascending; the trained subspace comes first.
    """
    figure, ax = style.subplots(figsize=(6.4, 3.2))
    for (label, degrees), colour, marker in zip(series.items(), (style.NORMAL, "0.55"), "os", strict=True):
        ax.plot(np.arange(1, len(degrees) + 1), degrees, marker=marker, markersize=5, color=colour, label=label)
    ax.set(xlabel="principal angle, from the smallest", ylabel="degrees", ylim=(-3, 93), yticks=[0, 30, 60, 90])
    ax.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*ax.get_legend_handles_labels(), frameon=False, ncols=2, fontsize=11, loc="outside upper center")
    return figure


def by_detector(rows: pd.DataFrame, titles: dict[str, str]) -> Figure:
    """AUROC of each detector, a panel per setting: a bar for the mean, a point for each seed.

    Args:
        rows: model, setting, auroc.
        titles: model → name on the axis, from top to bottom.
    """
    settings = list(dict.fromkeys(rows["setting"]))
    figure, axes = style.subplots(
        1, len(settings), figsize=(6.8, 0.42 * len(titles) + 1.1), sharex=True, sharey=True, squeeze=False
    )
    for ax, setting in zip(axes[0], settings, strict=True):
        part = rows[rows["setting"] == setting]
        means = part.groupby("model")["auroc"].mean()[list(titles)]
        ax.barh(range(len(titles)), means, 0.72, color=style.NORMAL, alpha=0.75)
        for place, mean in enumerate(means):
            ax.text(1.04, place, f"{mean:.2f}", va="center", fontsize=11)
        ax.scatter(part["auroc"], part["model"].map(list(titles).index), color="black", s=14, zorder=3, clip_on=False)
        ax.axvline(0.5, color="black", linewidth=1, linestyle="--")
        ax.tick_params(axis="y", length=0)
        ax.set(title=setting, xlabel="AUROC", xlim=(0, 1), xticks=[0, 0.5, 1])
    axes[0, 0].set_yticks(range(len(titles)), list(titles.values()), fontsize=11)
    axes[0, 0].invert_yaxis()
    return figure


def agreement(ranks: pd.DataFrame) -> Figure:
    """Rank correlations of scores: the lower triangle of a square table (k, k) with names on both sides."""
    n = len(ranks)
    figure, ax = style.subplots(figsize=(6.8, 0.48 * n + 1.6))
    hidden = np.triu(np.ones((n, n), bool))
    style.heat_map(
        ranks.mask(hidden).iloc[1:, :-1], vmin=-1, vmax=1, cmap="vlag", annot=True, fmt=".2f",
        annot_kws={"fontsize": 10}, linewidths=1, ax=ax,
    )  # fmt: skip
    ax.tick_params(length=0, labelsize=10)
    ax.set_xticklabels(ax.get_xticklabels(), rotation=35, ha="right", rotation_mode="anchor")
    return figure
