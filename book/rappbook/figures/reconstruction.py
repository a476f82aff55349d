"""Figures of chapter 02: what reconstruction error sees and misses."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rappbook.figures import style


def reconstructions(
    x: np.ndarray, x_hat: np.ndarray, is_novel: np.ndarray, image_shape: tuple[int, int], novel_name: str
) -> Figure:
    """Input, reconstruction and absolute difference, a column per sample, each with its squared error.

    Args:
        x, x_hat: (n, n_features) inputs and reconstructions.
        is_novel: (n,) bool; novel columns have a colour of their own.
        image_shape: (height, width).
        novel_name: what to call the novel class.
    """
    n = len(x)
    figure, axes = style.subplots(3, n, figsize=(0.8 * n + 0.5, 3.6))
    error = (x - x_hat) ** 2
    colours = [style.NOVEL if novel else style.NORMAL for novel in is_novel]
    rows = [("input x", x, "gray"), ("output x̂", x_hat, "gray"), ("|x − x̂|", np.sqrt(error), "magma")]
    for of_row, (label, images, shades) in zip(axes, rows, strict=True):
        for ax, image, colour in zip(of_row, images, colours, strict=True):
            style.image(ax, image, image_shape, colour, shades)
        of_row[0].set_ylabel(label, fontsize=12)
    for j in range(n):
        kind = f"novel\n({novel_name})" if is_novel[j] else "normal\n"
        axes[0, j].set_title(kind, fontsize=10, color=colours[j])
        axes[2, j].set_xlabel(f"{error[j].sum():.1f}", fontsize=12)
    figure.supxlabel("squared error, summed over pixels", fontsize=12)
    return figure


def energy(energies: np.ndarray, errors: np.ndarray, is_novel: np.ndarray) -> Figure:
    """How the error of a sample goes with its energy; all (N,)."""
    figure, ax = style.subplots(figsize=(6.4, 3.6))
    flat = len(energies) > 3000  # as a picture, which is smaller; drawn points take the colours of a dark page
    for kind, colour, rows in (("normal", style.NORMAL, ~is_novel), ("novel", style.NOVEL, is_novel)):
        ax.scatter(energies[rows], errors[rows], s=9, c=[colour], alpha=0.5, linewidths=0, label=kind, rasterized=flat)
        ax.axvline(np.median(energies[rows]), color=colour, linestyle="--", linewidth=1.2)
    ax.set(xlabel="energy ‖x‖²", ylabel="error ‖x − x̂‖²", yscale="log")
    style.plain_log(ax.yaxis)
    figure.legend(*ax.get_legend_handles_labels(), frameon=False, ncols=2, markerscale=2.5, loc="outside upper center")
    return figure


def score_histograms(
    scores: dict[str, np.ndarray], is_novel: np.ndarray, aurocs: dict[str, float], thresholds: dict[str, float]
) -> Figure:
    """Score distributions of normal and novel test samples, a panel per score.

    Args:
        scores: title → (N,) scores.
        is_novel: (N,) bool.
        aurocs: by the same titles.
        thresholds: by the same titles, drawn as a line.
    """
    figure, axes = style.subplots(1, len(scores), figsize=(6.8, 3.2), squeeze=False)
    for ax, (title, values) in zip(axes[0], scores.items(), strict=True):
        shown = np.maximum(values, 1e-12)
        bins = np.geomspace(np.quantile(shown, 0.001), np.quantile(shown, 0.999), 45)
        for kind, colour, rows in (("normal", style.NORMAL, ~is_novel), ("novel", style.NOVEL, is_novel)):
            share = np.full(rows.sum(), 1 / max(1, rows.sum()))
            ax.hist(shown[rows], bins, weights=share, color=colour, alpha=0.55, label=kind)
        ax.axvline(thresholds[title], color="black", linewidth=1.2, linestyle="--", label="threshold")
        ax.set(title=f"{title}\nAUROC {aurocs[title]:.2f}", xscale="log", xlabel="score", yticks=[])
        style.plain_log(ax.xaxis)
    axes[0, 0].set_ylabel("share of samples")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), frameon=False, ncols=3, loc="outside upper center")
    return figure


def auroc_per_class(
    rows: pd.DataFrame, published: pd.DataFrame | None, names: dict[str, str], full: pd.DataFrame | None = None
) -> Figure:
    """AUROC with each class in turn as the novel one.

    Args:
        rows: target, auroc; several rows of a target are shown as points with their mean.
        published: target, auroc by others, or None.
        names: target → name on the axis.
        full: target, auroc of ours at full scale, or None.
    """
    figure, ax = style.subplots(figsize=(6.8, 3.9))
    order = list(names)
    means = rows.groupby("target")["auroc"].mean().reindex(order)
    colours = [style.NOVEL if value < 0.5 else style.SCORE_COLOURS["recon"] for value in means]
    places = np.arange(len(order))
    ax.bar(places, means, color=colours, alpha=0.75, label="this page (mean)")
    ax.scatter(
        rows["target"].map(order.index), rows["auroc"], color="black", s=14, zorder=3, label="this page, each seed"
    )
    if published is not None and len(published):
        at = published["target"].map(order.index)
        ax.scatter(at, published["auroc"], marker="D", s=42, facecolors="white", edgecolors="black", zorder=3,
                   label="published, full data, VAE")  # fmt: skip
    if full is not None and len(full):
        at = full.groupby("target")["auroc"].mean().reindex(order)
        ax.scatter(places, at, marker="s", s=36, facecolors="white", edgecolors=style.SCORE_COLOURS["recon"], zorder=3,
                   label="ours, full data (mean)")  # fmt: skip
    style.coin(ax)
    ax.set_xticks(places, [names[target] for target in order], rotation=0 if max(map(len, names.values())) < 3 else 35)
    ax.set(xlabel="novel class", ylabel="AUROC of reconstruction error", ylim=(0, 1.02))
    figure.legend(*ax.get_legend_handles_labels(), frameon=False, fontsize=10, ncols=3, loc="outside upper center")
    return figure
