"""Figures of chapter 01: what anomaly detection is, and how it is set up and judged."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from rappbook.figures import style

Score = dict[str, np.ndarray]


def boundaries(
    normal: np.ndarray, known: np.ndarray, unseen: np.ndarray, grid: tuple[np.ndarray, np.ndarray], panels: Score
) -> Figure:
    """Two decision boundaries in the plane over the same points.

    Args:
        normal, known, unseen: (n, 2) normal points, novelties seen in training, novelties of kinds never seen.
        grid: x and y coordinates, (k, k) each.
        panels: title → (k, k) decision values on the grid, above 0 where a point is called novel.
    """
    figure, axes = style.subplots(1, 2, figsize=(6.8, 3.6), sharex=True, sharey=True)
    for ax, (title, values) in zip(axes, panels.items(), strict=True):
        ax.contourf(*grid, values > 0, levels=[0.5, 1.5], colors=["0.9"])
        ax.contour(*grid, values, levels=[0], colors="black", linewidths=1.5)
        for points, colour, marker, label in (
            (normal, style.NORMAL, "o", "normal"),
            (known, style.NOVEL, "s", "novelty seen in training"),
            (unseen, style.NOVEL, "x", "novelty of another kind"),
        ):
            ax.scatter(points[:, 0], points[:, 1], s=18, color=colour, marker=marker, alpha=0.7, label=label)
        ax.set(title=title, xticks=[], yticks=[])
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, ncols=3, fontsize=10, loc="outside upper center")
    return figure


def samples(rows: dict[str, np.ndarray], image_shape: tuple[int, int], novel: set[str]) -> Figure:
    """A row of sample images for each label.

    Args:
        rows: label → (n, n_features) images; equally many in each row.
        image_shape: (height, width).
        novel: which labels are novel; their frames have that colour.
    """
    n = len(next(iter(rows.values())))
    figure, axes = style.subplots(len(rows), n, figsize=(0.62 * n + 1.6, 0.72 * len(rows) + 0.2), squeeze=False)
    for i, (label, images) in enumerate(rows.items()):
        colour = style.NOVEL if label in novel else style.NORMAL
        for ax, image in zip(axes[i], images, strict=True):
            style.image(ax, image, image_shape, colour)
        axes[i, 0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=11, color=colour)
    return figure


def linear_failures(panels: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Where a straight line does not help: normal points, novel points and the line that PCA finds.

    Args:
        panels: title → normal (n, 2), novel (m, 2), and two points (2,) on the line.
    """
    figure, axes = style.subplots(1, 2, figsize=(6.8, 3.5))
    for ax, (title, (normal, novel, start, end)) in zip(axes, panels.items(), strict=True):
        ax.scatter(*normal.T, s=10, color=style.NORMAL, alpha=0.5, linewidths=0, label="normal")
        ax.scatter(*novel.T, s=26, color=style.NOVEL, marker="s", label="novel")
        ax.plot(*np.stack([start, end]).T, color="black", linewidth=1.5, label="first principal component")
        ax.set(title=title, xticks=[], yticks=[])
        ax.set_aspect("equal", adjustable="datalim")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, ncols=3, fontsize=10, loc="outside upper center")
    return figure


def curves(is_novel: np.ndarray, scores: np.ndarray, auroc: float, aupr: float) -> Figure:
    """The ROC curve and the precision-recall curve of one score.

    Args:
        is_novel: (N,) bool.
        scores: (N,) higher = more novel.
        auroc, aupr: areas under the two.
    """
    figure, axes = style.subplots(1, 2, figsize=(6.8, 3.5))
    false_alarms, found, _ = roc_curve(is_novel, scores)
    precision, recall, _ = precision_recall_curve(is_novel, scores)
    _area(axes[0], false_alarms, found, f"ROC, area {auroc:.2f}")
    axes[0].plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--")
    axes[0].set(xlabel="false alarms among normal", ylabel="found among novel")
    _area(axes[1], recall, precision, f"precision-recall, area {aupr:.2f}")
    axes[1].axhline(is_novel.mean(), color="black", linewidth=1, linestyle="--")
    axes[1].set(xlabel="recall: found among novel", ylabel="precision")
    return figure


def _area(ax: Axes, x: np.ndarray, y: np.ndarray, title: str) -> None:
    ax.fill_between(x, y, color=style.SCORE_COLOURS["recon"], alpha=0.25, linewidth=0)
    ax.plot(x, y, color="0.3", linewidth=1.8)
    ax.set(title=title, xlim=(0, 1), ylim=(0, 1.02), aspect="equal")


def confident(x: np.ndarray, sure: np.ndarray, kinds: np.ndarray, image_shape: tuple[int, int]) -> Figure:
    """Images (n, n_features) with what a classifier takes them for (n,), and how sure it is (n,)."""
    figure, axes = style.subplots(1, len(x), figsize=(0.85 * len(x), 1.5))
    for ax, row, share, kind in zip(axes, x, sure, kinds, strict=True):
        ax.imshow(row.reshape(image_shape), cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[], title=f"“{kind}”\n{share:.0%}")
        ax.title.set_fontsize(11)
    return figure
