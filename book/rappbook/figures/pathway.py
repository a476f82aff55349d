"""Figures of chapter 03: the projection pathway and the scores along it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch

from rappbook.chapters.curve import Plane
from rappbook.figures import style


def pathway(x: np.ndarray, x_hat: np.ndarray, image_shape: tuple[int, int] | None, n_layers: int) -> Figure:
    """The projection pathway of one sample: x through the encoder, x̂ back through the same encoder.

    Args:
        x, x_hat: (n_features,) input and reconstruction.
        image_shape: (height, width); None draws the features of a table's row as a column of cells.
        n_layers: ℓ.
    """
    figure, ax = style.subplots(figsize=(6.8, 3.7))
    low, high = (0, 1) if image_shape else (min(x.min(), x_hat.min()), max(x.max(), x_hat.max()))
    left, right = (0, 1.2) if image_shape else (0.45, 0.75)
    ax.set(xlim=(-0.2, 8.6), ylim=(-0.3, 4.3))
    ax.axis("off")
    for y, image, label in ((3.2, x, "$x$"), (0.8, x_hat, r"$\hat x = f(g(x))$")):
        place = (left, right, y - 0.6, y + 0.6)
        ax.imshow(
            image.reshape(image_shape or (-1, 1)), "gray", vmin=low, vmax=high, extent=place, zorder=2, aspect="auto"
        )
        ink = style.INPUT if label == "$x$" else style.RECONSTRUCTION
        ax.text(0.6, y + 0.68, label, ha="center", va="bottom", fontsize=13, color=ink)
    places = [(2.4, 1.3, "1"), (4.2, 1.0, "2"), (6.9, 0.6, str(n_layers))]
    for (left, height, i), before in zip(places, [1.2, 2.75, 4.55], strict=True):
        for y, name, colour in ((3.2, rf"$h_{{{i}}}$", style.INPUT), (0.8, rf"$\hat h_{{{i}}}$", style.RECONSTRUCTION)):
            box = (left, y - height / 2)
            ax.add_patch(FancyBboxPatch(box, 0.3, height, boxstyle="round,pad=0.03", color=colour, alpha=0.7))
            ax.text(left + 0.45, y, name, ha="left", va="center", fontsize=14)
            ax.annotate("", (left - 0.08, y), (before + 0.55 if i != "1" else before + 0.1, y), arrowprops=_arrow())
            middle = (left + before + 0.4) / 2 if i != "1" else 1.85
            ax.text(middle, y + 0.1, rf"$g_{{{i}}}$" if i != str(n_layers) else "…", ha="center", fontsize=13)
        ax.annotate("", (left + 0.15, 1.6), (left + 0.15, 2.4), arrowprops={**_arrow(), "arrowstyle": "<->"})
        ax.text(left + 0.25, 2.0, rf"$h_{{{i}}}-\hat h_{{{i}}}$", va="center", fontsize=13)
    ax.plot([7.75, 8.15, 8.15, 0.6, 0.6], [3.2, 3.2, -0.15, -0.15, 0.05], color="0.25", linestyle="--", linewidth=1.3)
    ax.annotate("", (0.6, 0.2), (0.6, 0.04), arrowprops=_arrow())
    ax.text(8.3, 1.8, r"decoder $f$", va="center", rotation=90, fontsize=13)
    return figure


def _arrow() -> dict:
    return {"arrowstyle": "-|>", "color": "0.25", "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}


def planes(drawn: Sequence[Plane]) -> Figure:
    """What an autoencoder of points in the plane does to a normal and to a novel one, a panel for each plane."""
    figure, axes = style.subplots(1, len(drawn), figsize=(7, 3.2))
    for ax, plane in zip(axes, drawn, strict=True):
        ax.scatter(*plane.normal.T, s=6, color="0.6", alpha=0.5, linewidths=0, label="normal points")
        ax.plot(*plane.manifold.T, color=style.RECONSTRUCTION, linewidth=2, label="all that the network can answer")
        for i, marker in enumerate("os"):
            sample, copy = plane.samples[i], plane.copies[i]
            ax.annotate("", copy, sample, arrowprops={"arrowstyle": "->", "color": "0.3", "linewidth": 1.3})
            names = ("a normal sample", "a novel sample")
            ax.scatter(*sample, s=55, marker=marker, color=style.INPUT, zorder=3, label=names[i])
            ax.scatter(
                *copy,
                s=55,
                marker=marker,
                color=style.RECONSTRUCTION,
                zorder=3,
                label=None if i else "what each is compared with",
            )
        ax.set(title=plane.title, xticks=[], yticks=[])
        ax.title.set_fontsize(11)
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=9, ncols=3, loc="outside lower center")
    return figure


def whitening(d: np.ndarray, points: dict[str, tuple[float, float]]) -> Figure:
    """Why a distance wants whitening, in two dimensions: the same points before and after.

    Args:
        d: (n, 2) differences of normal samples.
        points: label → (2,) difference of a sample to judge.
    """
    figure, axes = style.subplots(1, 2, figsize=(6.8, 3.6))
    mean, covariance = d.mean(0), np.cov(d.T)
    values, vectors = np.linalg.eigh(covariance)
    to_white = vectors / np.sqrt(values)
    panels: list[tuple[Axes, np.ndarray, dict, str, str]] = [
        (axes[0], d, points, "SAP: from the origin", "difference"),
        (axes[1], (d - mean) @ to_white, {k: (np.array(p) - mean) @ to_white for k, p in points.items()},
         "NAP: after whitening", "whitened difference"),
    ]  # fmt: skip
    for ax, cloud, marks, title, unit in panels:
        ax.scatter(cloud[:, 0], cloud[:, 1], s=8, color=style.NORMAL, alpha=0.35, linewidths=0, label="normal")
        for i, (label, point) in enumerate(marks.items()):
            radius = float(np.hypot(*point))
            ax.add_patch(Ellipse((0, 0), 2 * radius, 2 * radius, fill=False, color="0.45", linestyle=":"))
            ax.scatter(point[0], point[1], s=90, marker="os"[i % 2], color=style.NOVEL, edgecolors="black", zorder=3)
            place = (6, -18) if i % 2 == 0 else (-10, 10)
            ax.annotate(f"{label}: {radius:.1f}", point, place, textcoords="offset points", fontsize=12)
        reach = 1.2 * max(np.abs(cloud).max(), *(np.hypot(*point) for point in marks.values()))
        ax.set(title=title, xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        ax.set(xlabel=f"first {unit}", ylabel=f"second {unit}")
    return figure


def layer_contributions(rows: pd.DataFrame, n_layers: int) -> Figure:
    """AUROC of SAP and NAP from two kinds of ranges of layers.

    Args:
        rows: score ("sap", "nap"), layers (two of "alone", "up to" and "from"), layer (0 … ℓ), seed, auroc.
        n_layers: ℓ.
    """
    figure, axes = style.subplots(1, 2, figsize=(6.8, 3.4), sharey=True)
    titles = {"alone": "from layer i alone", "up to": "from all layers up to i", "from": "from layer i to the last"}
    for ax, which in zip(axes, [which for which in titles if which in set(rows["layers"])], strict=True):
        for name, marker in (("sap", "o"), ("nap", "s")):
            part = rows[(rows["score"] == name) & (rows["layers"] == which)]
            grouped = part.groupby("layer")["auroc"]
            mean = grouped.mean()
            ax.plot(mean.index, mean, marker=marker, color=style.SCORE_COLOURS[name], label=style.SCORE_NAMES[name])
            ax.fill_between(mean.index, grouped.min(), grouped.max(), color=style.SCORE_COLOURS[name], alpha=0.2)
        style.coin(ax)
        ax.set(title=titles[which], xlabel="layer i", xticks=range(n_layers + 1), xlim=(-0.3, n_layers + 0.3))
    axes[0].set_ylabel("AUROC")
    axes[0].legend(frameon=False)
    return figure


def assumptions(inversion: dict[str, list[float]], hidden: dict[str, list[float]]) -> Figure:
    """The second assumption and its conclusion, layer by layer, for normal and novel test samples.

    Args:
        inversion: kind of sample → error of g_i∘f̃_i on M_i for i = 1 … ℓ.
        hidden: kind of sample → distance of the hidden reconstruction from ĥ_i for i = 0 … ℓ − 1.
    """
    figure, axes = style.subplots(1, 2, figsize=(6.8, 3.4))
    colours = {"normal": style.NORMAL, "novel": style.NOVEL}
    for ax, errors, first in ((axes[0], inversion, 1), (axes[1], hidden, 0)):
        for (kind, values), marker in zip(errors.items(), "os", strict=True):
            ax.plot(range(first, first + len(values)), values, marker=marker, color=colours[kind], label=kind)
        ax.set(xlabel="layer i", xticks=range(first, first + len(next(iter(errors.values())))))
    axes[0].set(title=r"$g_i(\tilde f_i(a))$ against $a$", ylabel="error relative to the variance")
    axes[1].set(title=r"hidden recon. against $\hat h_i$")
    for ax in axes:
        ax.set_ylim(bottom=0)
    axes[0].legend(frameon=False)
    return figure
