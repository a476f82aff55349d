"""Figures of chapter 09: all methods side by side."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rappbook.figures import style

WIDTH = 5.8  # inches; at phone width the numbers can still be read


def heat(wide: pd.DataFrame, target: str, names: dict[str, str]) -> Figure:
    """AUROC of every method with every class, the target's column set apart on the left.

    Args:
        wide: as ``ranking.by_class``.
        target: the class set apart.
        names: class → name on the axis.
    """
    order = [target, *(label for label in names if label != target)]
    panels = {"": wide.reindex(columns=order[:1]), "class": wide.reindex(columns=order[1:])}
    return _heat({title: part.rename(columns=names) for title, part in panels.items()})


def contamination(table: pd.DataFrame) -> Figure:
    """AUROC of every method with a share of novel rows in the training set, a panel per setting.

    Args:
        table: as ``ranking.over_contamination``.
    """
    wide = table.pivot_table(index="method", columns=["setting", "contamination"], values="auroc")
    wide = wide.loc[wide.mean(axis=1).sort_values(ascending=False).index]
    classes = dict(zip(table["setting"], table["classes"], strict=True))
    return _heat({f"{of}: {which}": wide[of].rename(columns="{:.0%}".format) for of, which in classes.items()})


def _heat(panels: dict[str, pd.DataFrame]) -> Figure:
    """Heat maps side by side, a line per method; what is missing is grey."""
    lines = max((len(part) for part in panels.values()), default=0)
    if not lines:
        return _nothing()
    columns = [len(part.columns) for part in panels.values()]
    long_names = max(len(str(name)) for part in panels.values() for name in part.columns) > 3
    figure, axes = style.subplots(
        1, len(panels), figsize=(WIDTH, 0.25 * lines + (1.6 if long_names else 0.8)), width_ratios=columns,
        sharey=True, squeeze=False,
    )  # fmt: skip
    for ax, (title, part) in zip(axes[0], panels.items(), strict=True):
        texts = part.map(lambda value: "" if pd.isna(value) else f"{value:.2f}".removeprefix("0"))
        style.heat_map(
            part.astype(float), ax=ax, cmap="RdBu", center=0.5, vmin=0, vmax=1, annot=texts, fmt="",
            linewidths=0.5, linecolor="white", annot_kws={"fontsize": 10},
        )  # fmt: skip
        ax.set_facecolor("0.92")
        ax.set_xticks(np.arange(len(part.columns)) + 0.5, part.columns, rotation=45 if long_names else 0, fontsize=10)
        ax.set_yticks(np.arange(len(part)) + 0.5, part.index, rotation=0, fontsize=10)
        ax.set_xlabel(title, fontsize=10)
        ax.set_ylabel("")
        ax.tick_params(length=0)
    return figure


def cost(rows: pd.DataFrame) -> Figure:
    """What a method costs: seconds to train and to score 1,000 rows, the slowest scores on top.

    Args:
        rows: method, seconds, seconds_per_1000; as ``ranking.of_setting``.
    """
    means = rows.groupby("method")[["seconds", "seconds_per_1000"]].mean().dropna().sort_values("seconds_per_1000")
    if means.empty:
        return _nothing()
    figure, ax = style.subplots(figsize=(WIDTH, 0.25 * len(means) + 1.2))
    ax.scatter(means["seconds_per_1000"], means.index, color=style.NORMAL, s=40, label="to score 1,000 rows")
    ax.scatter(
        means["seconds"].clip(lower=0.1), means.index, facecolors="none", edgecolors=style.NOVEL, s=40, label="to train"
    )
    ax.set(xscale="log", xlabel="seconds")
    ax.tick_params(axis="y", labelsize=10, length=0)
    ax.grid(axis="y", alpha=0.3)
    figure.legend(*ax.get_legend_handles_labels(), frameon=False, ncols=2, loc="outside upper center", fontsize=10)
    return figure


def _nothing() -> Figure:
    figure, ax = style.subplots(figsize=(6.8, 0.6))
    ax.text(0.5, 0.5, "no rows yet", ha="center", va="center")
    ax.set_axis_off()
    return figure
