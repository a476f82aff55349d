"""Figures of chapter 06: networks that draw one class together."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from rappbook.chapters.sphere import Course
from rappbook.figures import style

LINES = {"unimodal": "0.1", "multimodal": "0.6"}  # shades of grey: colours mean normal and novel


def training(histories: Mapping[tuple[str, str], tuple[list[dict], list[dict]]]) -> Figure:
    """The loss of the autoencoder, then the mean squared distance to the centre, epoch by epoch.

    Args:
        histories: (setting, "hard" or "soft") → epochs of the autoencoder and of Deep SVDD after it.
    """
    figure, (before, after) = style.subplots(1, 2, figsize=(6.8, 3.4))
    for (setting, boundary), (pretraining, own) in histories.items():
        look = {
            "color": LINES[setting],
            "linestyle": "-" if boundary == "hard" else "--",
            "marker": ".",
            "linewidth": 1.8,
        }
        if boundary == "hard":  # both start from the same autoencoder
            before.plot(range(1, len(pretraining) + 1), [epoch["loss"] for epoch in pretraining], **look)
        squares = [epoch["squares"] for epoch in own]
        after.plot(range(1, len(own) + 1), squares, **look, label=f"{setting}, {boundary}")
    for ax in (before, after):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    before.set(title="autoencoder", xlabel="epoch", ylabel="squared error of an image", yscale="log")
    after.set(title="Deep SVDD", xlabel="epoch", ylabel="mean squared distance", yscale="log")
    figure.legend(*after.get_legend_handles_labels(), frameon=False, ncols=2, loc="outside lower center")
    return figure


def collapse(rows: pd.DataFrame) -> Figure:
    """What fading out the last layer does to the loss and to the AUROC.

    Args:
        rows: network (name, for the legend), factor (1: as trained, 0: nothing is left), loss, auroc.
    """
    figure, axes = style.subplots(1, 2, figsize=(6.8, 3.8), sharex=True)
    for (name, part), line, width in zip(
        rows.groupby("network", sort=False), ("-", "--", ":"), (2, 2, 2.6), strict=False
    ):
        for ax, value in zip(axes, ("loss", "auroc"), strict=True):
            ax.plot(part["factor"], part[value], line, color="0.15", linewidth=width, label=name)
            ax.plot(part["factor"].iloc[-1], part[value].iloc[-1], "o", color="0.15", markersize=6, clip_on=False)
            ax.set(xlabel="what is left of $W$", xlim=(1, 0))
    style.coin(axes[1])
    axes[0].set_yscale(
        "symlog", linthresh=rows["loss"].iloc[0]
    )  # above the loss as trained logarithmic, linear to zero
    axes[0].set(ylabel="mean square, training rows", ylim=(0, None))
    axes[1].set(ylabel="AUROC", ylim=(0, 1.03))
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="outside upper center")
    return figure


def near_and_far(x: np.ndarray, scores: np.ndarray, is_novel: np.ndarray, image_shape: tuple[int, int]) -> Figure:
    """The images nearest to the centre and farthest from it, of the normal and of the novel test rows.

    Args:
        x: (N, n_features).
        scores: (N,) distance.
        is_novel: (N,) bool.
    """
    shown = 8
    figure, axes = style.subplots(4, shown, figsize=(6.8, 4.2), squeeze=False)
    for i, (novel, end) in enumerate(((False, "nearest"), (False, "farthest"), (True, "nearest"), (True, "farthest"))):
        order = np.flatnonzero(is_novel == novel)
        order = order[np.argsort(scores[order], kind="stable")]
        chosen = order[:shown] if end == "nearest" else order[::-1][:shown]
        colour = style.NOVEL if novel else style.NORMAL
        for ax, j in zip(axes[i], chosen, strict=False):
            style.image(ax, x[j], image_shape, colour)
            ax.set_xlabel(f"{np.sqrt(max(scores[j], 0)):.2g}", fontsize=10, labelpad=1)
        for ax in axes[i, len(chosen) :]:
            ax.set_axis_off()
        axes[i, 0].set_ylabel(f"{'novel' if novel else 'normal'},\n{end}", fontsize=11, color=colour)
    return figure


def distances(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], classes: Sequence[str], names: Sequence[str]
) -> Figure:
    """Distances to the centre, class by class: a box for the middle half, whiskers for the middle nine tenths.

    Args:
        panels: setting → d (N,) distances of test rows, y (N,) classes, is_novel (N,) bool.
        classes: all labels, in order, and their ``names`` for people.
    """
    tall = 0.2 * len(classes) + 1.1
    figure, axes = style.subplots(len(panels), 1, figsize=(6.4, tall * len(panels)), squeeze=False)
    for ax, (setting, (d, y, is_novel)) in zip(axes[:, 0], panels.items(), strict=True):
        for i, label in enumerate(classes):
            mine = y == label
            if not mine.any():
                continue
            colour = style.NOVEL if is_novel[mine].any() else style.NORMAL
            ax.boxplot(
                d[mine], positions=[i], orientation="horizontal", widths=0.65, whis=(5, 95), showfliers=False,
                patch_artist=True, boxprops={"facecolor": colour, "linewidth": 0.8},
                medianprops={"color": "black", "linewidth": 1.8},
            )  # fmt: skip
        ax.set_yticks(range(len(classes)), names, fontsize=10)
        ax.set(title=setting, ylabel="class", ylim=(len(classes) - 0.4, -0.6), xlim=(0, None))
    axes[-1, 0].set_xlabel("distance to the centre")
    marks = [axes[0, 0].scatter([], [], marker="s", s=80, color=colour) for colour in (style.NORMAL, style.NOVEL)]
    figure.legend(marks, ["normal class", "novel class"], frameon=False, ncols=2, loc="outside upper center")
    return figure


def drawn_together(course: Course) -> Figure:
    """Codes drawn to a centre (above), and what of the plane lies in the sphere (below), a column for each moment.

    The star is the novel point nearest to the middle of the plane.
    """
    star = np.argmin(np.linalg.norm(course.novel, axis=1))
    figure, axes = style.subplots(2, len(course.moments), figsize=(6.8, 4.2))
    for (above, below), moment in zip(axes.T, course.moments, strict=True):
        for ax, normal, novel in ((above, moment.normal, moment.novel), (below, course.normal, course.novel)):
            ax.scatter(*normal.T, s=9, color=style.NORMAL, alpha=0.9, linewidths=0, label="normal")
            ax.scatter(*novel.T, s=9, color=style.NOVEL, marker="s", linewidths=0, label="novel")
            ax.scatter(*novel[star], s=110, color=style.NOVEL, marker="*", edgecolors="black", zorder=3)
            ax.set(xticks=[], yticks=[], aspect="equal")
        above.add_patch(Circle(tuple(course.c), moment.radius, fill=False, color="black", linewidth=1.5))
        above.scatter(*course.c, marker="+", s=70, color="black", zorder=3)
        reach = 4 * moment.radius
        above.set(title=f"{moment.steps} steps" if moment.steps else "untrained", xlabel=f"$R$ = {moment.radius:.2g}")
        above.set(xlim=course.c[0] + np.array([-reach, reach]), ylim=course.c[1] + np.array([-reach, reach]))
        below.contourf(*course.grid, moment.d, levels=[moment.radius, np.inf], colors=["0.88"], zorder=0)
        below.contour(*course.grid, moment.d, levels=[moment.radius], colors="black", linewidths=1.5)
    axes[0, 0].set_ylabel("codes")
    axes[1, 0].set_ylabel("points")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), frameon=False, ncols=2, loc="outside upper center")
    return figure
