"""The figure of the page on a table without labels."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rappbook.figures import style


def distribution(times: pd.Series, first: list[int]) -> Figure:
    """How the rows' scores lie, in units of the median row's, on two logarithmic axes; the first rows are marked.

    Args:
        times: by row.
        first: the rows to mark.
    """
    figure, ax = style.subplots(figsize=(6.8, 3))
    least = times[times > 0].min()
    ax.hist(times.clip(lower=least), bins=np.geomspace(least, times.max() * 1.01, 41), color=style.NORMAL)
    ax.plot(times[first], np.full(len(first), 0.7), "v", color=style.NOVEL, clip_on=False, label="the rows to look at")
    ax.set(xscale="log", yscale="log", ylim=(0.5, None), xlabel="score, 1 is the median row's", ylabel="rows")
    ax.legend(frameon=False)
    return figure
