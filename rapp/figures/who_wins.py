"""Figures of chapter 09: all methods side by side."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from rapp.figures import style


def heat(wide: pd.DataFrame, target: str, names: dict[str, str]) -> Figure:
    """AUROC of every method with every class, the target's column set apart on the left.

    Args:
        wide: as ``ranking.by_class``.
        target: the class set apart.
        names: class → name on the axis.
    """
    if wide.empty:
        return _nothing()
    order = [target, *(label for label in names if label != target)]
    long_names = max(map(len, names.values())) > 2
    figure, axes = style.subplots(
        1,
        2,
        figsize=(6.8, 0.27 * len(wide) + (1.6 if long_names else 0.9)),
        width_ratios=[1, len(order) - 1],
        sharey=True,
    )
    for ax, columns in zip(axes, (order[:1], order[1:]), strict=True):
        sns.heatmap(
            wide.reindex(columns=columns), ax=ax, cmap="RdBu", center=0.5, vmin=0, vmax=1, annot=True, fmt=".2f",
            cbar=False, linewidths=0.5, linecolor="white", annot_kws={"fontsize": 9},
        )  # fmt: skip
        ax.set_facecolor("0.92")
        ax.set(xlabel="", ylabel="")
        ax.set_xticks(
            np.arange(len(columns)) + 0.5, [names[label] for label in columns], rotation=45 if long_names else 0
        )
        ax.set_yticks(np.arange(len(wide)) + 0.5, wide.index, rotation=0, fontsize=9)
        ax.tick_params(length=0)
    figure.supxlabel("class", fontsize=11)
    return figure


def cost(rows: pd.DataFrame) -> Figure:
    """Mean AUROC against the seconds that scoring 1,000 rows takes, a point per method.

    Args:
        rows: method, model, auroc, seconds_per_1000; as ``ranking.of_setting``.
    """
    points = rows.groupby("method").agg(auroc=("auroc", "mean"), seconds=("seconds_per_1000", "mean")).dropna()
    if points.empty:
        return _nothing()
    figure, ax = style.subplots(figsize=(6.8, 4.6))
    ax.scatter(points["seconds"], points["auroc"], color=style.NORMAL, s=26)
    for name, point in points.iterrows():
        ax.annotate(str(name), (point["seconds"], point["auroc"]), (4, 3), textcoords="offset points", fontsize=8)
    style.coin(ax)
    ax.set(xscale="log", xlabel="seconds to score 1,000 rows", ylabel="mean AUROC over classes")
    ax.margins(x=0.15)
    return figure


def contamination(table: pd.DataFrame) -> Figure:
    """AUROC against the share of novel rows in the training set, a line per method, a panel per setting.

    Args:
        table: as ``ranking.over_contamination``.
    """
    settings = list(dict.fromkeys(table["setting"]))
    if not settings:
        return _nothing()
    best = table[table["contamination"] == 0].groupby("method")["auroc"].mean().sort_values(ascending=False)
    colours = dict(zip(best.index, sns.color_palette("husl", len(best)), strict=True))
    markers = dict(zip(best.index, "osD^v<>PX*" * 5, strict=False))
    figure, axes = style.subplots(1, len(settings), figsize=(6.8, 4.6), squeeze=False, sharey=True)
    for ax, setting in zip(axes[0], settings, strict=True):
        for name in best.index:
            line = table[(table["setting"] == setting) & (table["method"] == name)].sort_values("contamination")
            ax.plot(100 * line["contamination"], line["auroc"], color=colours[name], marker=markers[name], label=name)
        style.coin(ax)
        ax.set(title=setting, xlabel="novel training rows in %", ylabel="AUROC")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), frameon=False, ncols=3, loc="outside lower center", fontsize=9
    )
    return figure


def _nothing() -> Figure:
    figure, ax = style.subplots(figsize=(6.8, 0.6))
    ax.text(0.5, 0.5, "no rows yet", ha="center", va="center")
    ax.set_axis_off()
    return figure
