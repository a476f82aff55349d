"""Figures of chapter 07: what a GAN makes, how it is searched, how it learns."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rapp.detectors.gan import Path
from rappbook.figures import style

GENERATOR, DISCRIMINATOR = style.SCORE_COLOURS["sap"], style.SCORE_COLOURS["nap"]
MARKERS = {"PCA": "o", "autoencoder": "s"}


def search(x: np.ndarray, path: Path, image_shape: tuple[int, int], names: tuple[str, str]) -> Figure:
    """A normal and a novel sample, and what the search has come to after so many steps, with the score.

    Args:
        x: (2, n_features), the normal one first.
        path: of the two.
        names: what to call them.
    """
    figure, axes = style.subplots(2, len(path.steps) + 1, figsize=(6.8, 3))
    for row, (name, colour) in enumerate(zip(names, (style.NORMAL, style.NOVEL), strict=True)):
        style.image(axes[row, 0], x[row], image_shape, colour)
        axes[row, 0].set_ylabel(name, fontsize=11, color=colour)
        for column, step in enumerate(path.steps):
            ax = axes[row, column + 1]
            style.image(ax, path.images[column, row], image_shape)
            ax.set_xlabel(f"{path.scores[column, row]:.0f}", fontsize=11)
            if row == 0:
                ax.set_title(f"step {step}" if column == 0 else f"{step}", fontsize=11)
    axes[0, 0].set_title("x", fontsize=11)
    return figure


def balance(histories: dict[str, list[list[dict]]]) -> Figure:
    """Losses, and how real the discriminator takes training and generated images to be, a column for each kind of run.

    Args:
        histories: title → ``AnoGAN.history`` of each run.
    """
    figure, axes = style.subplots(2, len(histories), figsize=(6.8, 4.4), sharex=True, sharey="row", squeeze=False)
    lines = [
        {"discriminator": (DISCRIMINATOR, "-", "discriminator"), "generator": (GENERATOR, "--", "generator")},
        {"real": (style.NORMAL, "-", "training images"), "made": (style.NOVEL, "--", "generated images")},
    ]
    for column, (title, runs) in zip(axes.T, histories.items(), strict=True):
        for ax, curves in zip(column, lines, strict=True):
            for name, (colour, dashes, label) in curves.items():
                for i, course in enumerate(map(pd.DataFrame, runs)):
                    ax.plot(course["epoch"], course[name], dashes, color=colour, label=label if i == 0 else None)
        column[0].set_title(title, fontsize=12)
        column[1].axhline(0.5, color="black", linewidth=1, linestyle=":")
        column[1].set(xlabel="epoch", ylim=(0, 1))
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("taken for real")
    look = {"frameon": False, "fontsize": 11, "ncols": 2}
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", **look)
    figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", **look)
    return figure


def rebuilt(rows: dict[str, np.ndarray], image_shape: tuple[int, int]) -> Figure:
    """Images, a row for each way in which they were made: label → (n, n_features)."""
    n = len(next(iter(rows.values())))
    figure, axes = style.subplots(len(rows), n, figsize=(6.8, 0.88 * len(rows)))
    for of_row, (label, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(of_row, images, strict=True):
            style.image(ax, image, image_shape)
        of_row[0].set_ylabel(label, fontsize=10, rotation=0, ha="right", va="center")
    return figure


def error_against_auroc(rows: pd.DataFrame) -> Figure:
    """AUROC over the reconstruction error of normal samples, a panel for each setting, a line for each family.

    Args:
        rows: setting, family (of ``MARKERS``), size (of the code, written beside the point), error, auroc.
    """
    settings = list(dict.fromkeys(rows["setting"]))
    figure, axes = style.subplots(1, len(settings), figsize=(6.8, 3.6), sharey=True, squeeze=False)
    families = zip(MARKERS.items(), (style.SCORE_COLOURS["recon"], style.SCORE_COLOURS["nap"]), strict=True)
    looks = [(family, marker, colour) for (family, marker), colour in families]
    for ax, setting in zip(axes[0], settings, strict=True):
        for family, marker, colour in looks:
            part = rows[(rows["setting"] == setting) & (rows["family"] == family)].sort_values("size")
            ax.plot(part["error"], part["auroc"], color=colour, marker=marker, label=family)
            for at in part.itertuples(index=False):
                above = (3, 5) if family == "PCA" else (-3, -14)
                ax.annotate(f"{at.size}", (at.error, at.auroc), above, textcoords="offset points", fontsize=10)
        style.coin(ax)
        ax.set(xscale="log", xlabel="reconstruction error", title=setting)
        ax.margins(x=0.12, y=0.1)
        style.plain_log(ax.xaxis)
    axes[0, 0].set_ylabel("AUROC")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), frameon=False, ncols=3, loc="outside upper center")
    return figure


def mean_of_two(one: np.ndarray, other: np.ndarray, answer: np.ndarray, image_shape: tuple[int, int]) -> Figure:
    """Two images and an answer to "one of the two", (n_features,) each, with their mean squared errors as answers."""
    figure, axes = style.subplots(1, 3, figsize=(5.4, 2.2))
    for ax, (name, image) in zip(axes, {"$x_1$": one, "$x_2$": other, "answer": answer}.items(), strict=True):
        style.image(ax, image, image_shape)
        error = (np.square(image - one).sum() + np.square(image - other).sum()) / 2
        ax.set(title=name, xlabel=f"error {error:.1f}")
    return figure


X, Z, MADE = (0.17, 0.86), (0.5, 0.3), (0.83, 0.86)  # places of x, its latent vector and the image made of that
WAYS = {  # method → names of encoder and generator, of the image made, of what joins both; what is compared; the price
    "AnoGAN": ("", "$G$", "$G(z)$", "search", "pixels, and\nfeatures of $D$", "many steps an image"),
    "f-AnoGAN": ("$g$", "$G$", "$G(g(x))$", "", "pixels, and\nfeatures of the critic", "one pass"),
    "GPND": ("$g$", "$f$", "$f(g(x))$", "", "the distance $r$, and\nhow usual $z$ is", "one pass and slopes of $f$"),
}


def three_ways() -> Figure:
    """AnoGAN, f-AnoGAN and GPND side by side: from x by z to an image, and what is compared."""
    figure, axes = style.subplots(1, 3, figsize=(6.8, 3.7))
    for ax, (title, (encoder, generator, made, search, compared, price)) in zip(axes, WAYS.items(), strict=True):
        ax.set(xlim=(0, 1), ylim=(-0.32, 1))
        ax.set_title(title, fontsize=13)
        ax.axis("off")
        for (x, y), text, ink in ((X, "$x$", style.INPUT), (Z, "$z$", "0.2"), (MADE, "", style.RECONSTRUCTION)):
            ax.scatter(x, y, s=560, facecolor=style.PAPER, edgecolor=ink, linewidth=1.8, zorder=2)
            ax.text(x, y, text or r"$\hat x$", ha="center", va="center", fontsize=14, color=ink, zorder=3)
        _arrow(ax, X, MADE, "<->", "0.2")
        ax.text(0.5, 0.9, "compare", ha="center", fontsize=11)
        _arrow(ax, Z, MADE, "-|>", style.RECONSTRUCTION)
        ax.text(0.72, 0.53, generator, fontsize=13, color=style.RECONSTRUCTION)
        if encoder:
            _arrow(ax, X, Z, "-|>", style.INPUT)
            ax.text(0.28, 0.53, encoder, fontsize=13, ha="right", color=style.INPUT)
        else:
            _arrow(ax, (0.5, 0.86), Z, "-|>", "0.2", linestyle="--", shrinkA=2)
            ax.text(0.46, 0.66, search, fontsize=11, ha="right")
        ax.text(0.5, 0.06, rf"$\hat x = $ {made}", ha="center", fontsize=12, color=style.RECONSTRUCTION)
        ax.text(0.5, -0.14, compared, ha="center", va="center", fontsize=11)
        ax.text(0.5, -0.32, price, ha="center", fontsize=11, color="0.35")
    return figure


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], style: str, ink: str, **more: Any) -> None:
    """An arrow between two of the places."""
    look = {"arrowstyle": style, "color": ink, "linewidth": 1.6, "shrinkA": 15, "shrinkB": 15, "mutation_scale": 14}
    ax.annotate("", end, start, arrowprops=look | more)
