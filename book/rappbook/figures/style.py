"""One look for all figures: colours with a meaning, readable at phone width, safe for the colour-blind.

Notebooks show figures as SVG. On the site they lie in the page itself (``book/finish.py``): there ``PAPER`` is the
page's background, and every grey a share of the text's colour, so that they can be read in dark mode, too.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from matplotlib_inline.backend_inline import set_matplotlib_formats

if get_ipython():
    set_matplotlib_formats("svg")

PAPER = "#fffffe"  # white for who sees the figure alone
ON_COLOUR = "#26262b"  # of words on a coloured ground: no grey, so that it stays dark on a dark page

_COLOURS = sns.color_palette("colorblind")
NORMAL, NOVEL = _COLOURS[0], _COLOURS[1]
INPUT, RECONSTRUCTION = "#0072B2", "#D55E00"  # the two sides of the pathway, as in book/_static/rapp.css
SCORE_COLOURS = {"recon": _COLOURS[7], "sap": _COLOURS[2], "nap": _COLOURS[4]}
SCORE_NAMES = {"recon": "reconstruction error", "sap": "SAP", "nap": "NAP"}
MODEL_NAMES = {"ae": "AE", "vae": "VAE", "aae": "AAE"}


def subplots(rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """``plt.subplots`` in our style. The figure is closed at once, so that a notebook shows it once: as a result."""
    sns.set_theme(context="notebook", style="ticks")
    plt.rcParams.update({"figure.dpi": 150, "figure.constrained_layout.use": True})
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    plt.rcParams.update({"figure.facecolor": PAPER, "axes.facecolor": PAPER, "legend.facecolor": PAPER})
    plt.rcParams.update({"svg.hashsalt": "rapp", "patch.linewidth": 0.8})  # equal figures are equal files
    figure, axes = plt.subplots(rows, columns, **options)
    plt.close(figure)
    return figure, axes


def heat_map(values: pd.DataFrame, ax: Axes, **options: Any) -> None:
    """``seaborn.heatmap`` without a colour bar, whose words can be read on a dark page, too."""
    sns.heatmap(values, ax=ax, cbar=False, **options)
    for word in ax.texts:
        if word.get_color() == ".15":  # seaborn's, on light cells
            word.set_color(ON_COLOUR)


def image(
    ax: Axes, row: np.ndarray, image_shape: tuple[int, int], colour: object = "0.7", shades: str = "gray"
) -> None:
    """Draw an image (n_features,) of values in [0, 1], in a frame of a colour."""
    ax.imshow(row.reshape(image_shape), shades, vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, color=colour, linewidth=2)


def coin(ax: Axes) -> None:
    """Draw the line at AUROC 0.5, below which a score is worse than a coin."""
    ax.axhline(0.5, color="black", linewidth=1, linestyle="--", zorder=0)


def plain_log(axis: Axis) -> None:
    """Label a logarithmic axis, whose limits are set, by plain numbers: 1, 3, 10; over more than two decades 1, 10."""
    wide = np.ptp(np.log10(axis.get_view_interval())) > 2  # then labels at every 3, too, would lie over each other
    axis.set_major_locator(LogLocator(10, (1,) if wide else (1, 3), numticks=5 if wide else 8))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")
