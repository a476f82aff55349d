"""Figures of chapters 03 and 04: scores by model and by class."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rappbook.figures import style


def by_model(rows: pd.DataFrame) -> Figure:
    """AUROC of recon, SAP and NAP for each model: a bar for the mean, a point for each seed.

    Args:
        rows: model (one of ours, or any name), score, auroc.
    """
    models, scores = list(dict.fromkeys(rows["model"])), list(style.SCORE_COLOURS)
    figure, ax = style.subplots(figsize=(max(6.4, 1.5 * len(models)), 3.6))
    size = 12 if len(models) < 5 else 8
    for i, score in enumerate(scores):
        part = rows[rows["score"] == score]
        places = part["model"].map(models.index) + 0.26 * (i - 1)
        means = part.groupby("model")["auroc"].mean()
        at = [models.index(model) + 0.26 * (i - 1) for model in means.index]
        ax.bar(at, means, 0.24, color=style.SCORE_COLOURS[score], label=style.SCORE_NAMES[score])
        for place, mean in zip(at, means, strict=True):
            ax.text(place, 0.02, f"{mean:.2f}", ha="center", fontsize=size, color="white", weight="bold")
        ax.scatter(places, part["auroc"], color="black", s=14, zorder=3)
    style.coin(ax)
    ax.set_xticks(range(len(models)), [style.MODEL_NAMES.get(model, model) for model in models])
    ax.set(ylabel="AUROC", ylim=(0, 1))
    figure.legend(*ax.get_legend_handles_labels(), frameon=False, ncols=3, loc="outside upper center")
    return figure


def learning(histories: dict[str, list[pd.DataFrame]]) -> Figure:
    """Validation error epoch by epoch, a panel for each model, a line for each seed, a dot at the epoch that is kept.

    Args:
        histories: model → a frame with the columns epoch and val_error for each seed.
    """
    figure, axes = style.subplots(1, len(histories), figsize=(6.8, 2.8), sharey=True, squeeze=False)
    for ax, (model, runs) in zip(axes[0], histories.items(), strict=True):
        for run in runs:
            best = run.iloc[int(run["val_error"].argmin())]
            ax.plot(run["epoch"], run["val_error"], color=style.RECONSTRUCTION, linewidth=1.4)
            ax.scatter(best["epoch"], best["val_error"], color="black", s=22, zorder=3)
        ax.set(title=style.MODEL_NAMES[model], xlabel="epoch", yscale="log")
        ax.grid(axis="y", which="both", alpha=0.3)
    axes[0, 0].set_ylabel("validation error")
    return figure


def by_class(rows: pd.DataFrame, names: dict[str, str]) -> Figure:
    """AUROC of each score with each class as the novel one, a panel per model; means over seeds.

    Args:
        rows: model, score, target, auroc, committed (bool: drawn open).
        names: class → name on the axis; those without rows have no place on it.
    """
    names = {target: name for target, name in names.items() if target in set(rows["target"])}
    models = [model for model in style.MODEL_NAMES if model in set(rows["model"])]
    figure, axes = style.subplots(len(models), 1, figsize=(6.8, 1.9 * len(models) + 0.6), sharex=True, squeeze=False)
    order = list(names)
    for ax, model in zip(axes[:, 0], models, strict=True):
        for i, (score, marker) in enumerate(zip(style.SCORE_COLOURS, "Dos", strict=True)):
            part = rows[(rows["model"] == model) & (rows["score"] == score)]
            means = part.groupby(["target", "committed"])["auroc"].mean().reset_index()
            for earlier, group in means.groupby("committed"):
                colour = style.SCORE_COLOURS[score]
                at = group["target"].map(order.index) + 0.18 * (i - 1)
                face = "white" if earlier else colour
                label = "" if earlier else style.SCORE_NAMES[score]
                ax.scatter(at, group["auroc"], marker=marker, s=42, facecolors=face, edgecolors=colour, label=label)
        style.coin(ax)
        ax.set(ylabel="AUROC", ylim=(0, 1.03), title=style.MODEL_NAMES[model])
        ax.grid(axis="y", alpha=0.3)
    last = axes[-1, 0]
    last.set_xticks(range(len(order)), list(names.values()), rotation=0 if max(map(len, names.values())) < 3 else 35)
    last.set(xlabel="novel class", xlim=(-0.6, len(order) - 0.4))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), frameon=False, ncols=3, loc="outside upper center")
    return figure


def latent(maps: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Codes of two numbers, a panel for each model: codes (N, 2), labels (N,), whether each is novel (N,)."""
    figure, axes = style.subplots(1, len(maps), figsize=(6.8, 3.4), squeeze=False)
    for ax, (model, (codes, y, is_novel)) in zip(axes[0], maps.items(), strict=True):
        kinds = sorted(set(y[~is_novel].tolist()))
        for i, kind in enumerate(kinds):
            shade = f"{0.35 + 0.45 * i / max(1, len(kinds) - 1):.3f}"
            name = "normal, a shade for each class" if i == len(kinds) // 2 else None
            ax.scatter(*codes[(y == kind) & ~is_novel].T, s=6, color=shade, linewidths=0, label=name, rasterized=True)
        ring = {"facecolors": "none", "edgecolors": style.NOVEL, "linewidths": 0.7, "alpha": 0.8}  # to see through
        ax.scatter(*codes[is_novel].T, s=14, label="novel", rasterized=True, **ring)
        reach = np.quantile(codes, [0.002, 0.998])
        ax.set(title=style.MODEL_NAMES[model], xlabel="first number", xlim=reach, ylim=reach)
    axes[0, 0].set_ylabel("second number")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, frameon=False, ncols=2, fontsize=10, markerscale=1.5, loc="outside upper center")
    return figure
