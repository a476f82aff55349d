"""Figures of chapter 08: transformations, the classifier that tells them apart, and its two scores."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rappbook.chapters.dirichlet import Toy
from rappbook.figures import style

COLUMNS = 4
WORDS = {"fontsize": 11}  # of the numbers in a heat map


def transformed(images: dict[str, np.ndarray]) -> Figure:
    """One image after each of several transformations.

    Args:
        images: what was done → (side, side), in rows of four.
    """
    rows = -(-len(images) // COLUMNS)
    figure, axes = style.subplots(rows, COLUMNS, figsize=(6.4, 1.75 * rows), squeeze=False)
    for ax in axes.flat[len(images) :]:
        ax.set_axis_off()
    for ax, (title, image) in zip(axes.flat, images.items(), strict=False):
        ax.imshow(image, cmap="gray")
        ax.set_title(title, fontsize=12)
        ax.set(xticks=[], yticks=[])
    return figure


def learning(history: Sequence[dict], accuracy: pd.DataFrame) -> Figure:
    """How often the transformation is recognised: above, during training; below, in the end, each by itself.

    Args:
        history: dicts with epoch, accuracy (on training batches) and val_accuracy.
        accuracy: a row for each transformation (its name is the index); columns normal and novel, of test images.
    """
    figure, (above, below) = style.subplots(2, 1, figsize=(6.8, 6.2))
    epochs = [entry["epoch"] for entry in history]
    curves = {"training images": ("accuracy", "--"), "validation images": ("val_accuracy", "-")}
    for label, (name, line) in curves.items():
        above.plot(epochs, [entry[name] for entry in history], color=style.NORMAL, linestyle=line, label=label)
    _by_chance(above, len(accuracy))
    above.set(xlabel="epochs", ylabel="share told right", ylim=(0, 1.03))
    above.legend(frameon=False, loc="center right")
    places = np.arange(len(accuracy))
    for side, (name, colour) in zip((-0.2, 0.2), (("normal", style.NORMAL), ("novel", style.NOVEL)), strict=True):
        below.bar(places + side, accuracy[name], 0.38, color=colour, label=name)
    _by_chance(below, len(accuracy))
    below.set_xticks(places, list(accuracy.index), rotation=35, ha="right", rotation_mode="anchor")
    below.set(ylabel="share told right", ylim=(0, 1.03))
    below.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def _by_chance(ax: Axes, n: int) -> None:
    """Draw the line of a classifier that guesses one of n kinds."""
    ax.axhline(1 / n, color="black", linewidth=1, linestyle="--", zorder=0)


def differences(values: pd.DataFrame, shown: Sequence[str]) -> Figure:
    """How much each class differs from its own flips and rotations.

    Args:
        values: class × transformation, in [0, 1].
        shown: classes that are trained on; their names are coloured.
    """
    figure, ax = style.subplots(figsize=(6.4, 0.42 * len(values) + 1.2))
    style.heat_map(values, ax, cmap="Blues_r", vmin=0, vmax=1, annot=100 * values, fmt=".0f", annot_kws=WORDS)
    ax.tick_params(axis="y", rotation=0)
    for label in ax.get_yticklabels():
        if label.get_text() in shown:
            label.set(color=style.NORMAL, fontweight="bold")
    ax.set_xticks(ax.get_xticks(), values.columns, rotation=35, ha="right", rotation_mode="anchor")
    ax.set(xlabel="", ylabel="class")
    return figure


def confusions(panels: dict[str, np.ndarray], names: Sequence[str]) -> Figure:
    """Which transformation is taken for which.

    Args:
        panels: title → (m, m) mean probabilities, row: what was done, column: the answer.
        names: of the transformations.
    """
    figure, axes = style.subplots(len(panels), 1, figsize=(5.4, 3.6 * len(panels)), sharex=True, squeeze=False)
    for ax, (title, values) in zip(axes[:, 0], panels.items(), strict=True):
        percent = np.where(values >= 0.05, np.char.mod("%.0f", 100 * values), "")  # more would hide those that matter
        table = pd.DataFrame(values, list(names), list(names))
        style.heat_map(table, ax, cmap="Blues", vmin=0, vmax=1, square=True, annot=percent, fmt="", annot_kws=WORDS)
        ax.tick_params(axis="y", rotation=0)
        ax.set_title(title, fontsize=13)
        ax.set_ylabel("what was done")
    axes[-1, 0].set_xticks(axes[-1, 0].get_xticks(), names, rotation=35, ha="right", rotation_mode="anchor")
    axes[-1, 0].set_xlabel("the classifier's answer (%)")
    return figure


def two_scores(simple: np.ndarray, dirichlet: np.ndarray, is_novel: np.ndarray) -> Figure:
    """Each test image by its two scores; both are higher for more novel.

    Args:
        simple, dirichlet: (N,) scores.
        is_novel: (N,) bool.
    """
    figure, ax = style.subplots(figsize=(6.4, 4.2))
    kinds = ((~is_novel, "normal", style.NORMAL, "o"), (is_novel, "novel", style.NOVEL, "x"))
    for rows, label, colour, marker in kinds:
        ax.scatter(simple[rows], dirichlet[rows], s=26, color=colour, marker=marker, alpha=0.6, label=label)
    ax.set(xlabel="1 − mean probability of the right one", ylabel="−log-likelihood (Dirichlet)")
    figure.legend(*ax.get_legend_handles_labels(), frameon=False, ncols=2, loc="outside upper center")
    return figure


def two_answers(toy: Toy, images: pd.DataFrame) -> Figure:
    """All answers on a line: the density of those for normal images above, those for a few images below.

    Args:
        images: a row for each, its name is the index; first and second (the first answer's probability after each of
            the transformations), normal (bool).
    """
    figure, (above, below) = style.subplots(2, 1, figsize=(6.8, 4.2), sharex=True, height_ratios=(3, 2))
    p = np.linspace(0.001, 0.999, 400)
    above.hist(toy.normal, np.linspace(0, 1, 41), density=True, color=style.NORMAL, alpha=0.35, label="normal images")
    above.plot(p, toy.density(p), color=style.NORMAL, linewidth=2, label="Dirichlet density fitted to them")
    above.set(ylabel="density", ylim=(0, None))
    for place, image in enumerate(images.itertuples()):
        colour = style.NORMAL if image.normal else style.NOVEL
        below.plot([0, 1], [place, place], color="0.8", linewidth=1, zorder=0)
        below.scatter(image.first, place, s=110, marker="o", facecolor="none", edgecolor=colour, linewidth=2)
        below.scatter(image.second, place, s=70, marker="x", color=colour, linewidth=2)
    below.set_yticks(range(len(images)), list(images.index))
    below.set(
        xlabel="probability that the classifier gives to the first answer",
        xlim=(-0.02, 1.02),
        ylim=(len(images) - 0.4, -0.6),
    )
    asked = [
        below.scatter([], [], s=110, marker="o", facecolor="none", edgecolor="0.3", linewidth=2),
        below.scatter([], [], s=70, marker="x", color="0.3", linewidth=2),
    ]
    asked_after = ["after the first transformation", "after the second"]
    figure.legend(*above.get_legend_handles_labels(), frameon=False, ncols=2, fontsize=11, loc="outside upper center")
    figure.legend(asked, asked_after, frameon=False, ncols=2, fontsize=11, loc="outside lower center")
    return figure
