"""The plan of the house as a drawing."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from rappbook import architecture
from rappbook.figures import style

IN_A_ROW = 4
WIDTH, HEIGHT, FLOOR = 0.84, 0.44, 0.62  # a box's, where a place in a row is 1 wide, and the gap between floors
MODULE, PACKAGE = "#cfe4f3", "#f7dcc4"


def places(imports: Mapping[str, set[str]]) -> dict[str, tuple[float, float]]:
    """Module → (x, y) of its box's middle: by floor, the lowest at y = 0, each as near as can be to what it touches."""
    heights = architecture.floors(imports)
    touches = {name: below | {other for other in imports if name in imports[other]} for name, below in imports.items()}
    levels = [sorted(name for name in heights if heights[name] == floor) for floor in sorted(set(heights.values()))]
    at: dict[str, tuple[float, float]] = {}
    for _ in range(8):  # enough for the order to settle
        y = 0.0
        for level in levels:
            x = [float(np.mean([at.get(other, (0.0, 0.0))[0] for other in touches[name] or [name]])) for name in level]
            order = [name for _, name in sorted(zip(x, level, strict=True))]
            n_rows = -(-len(order) // IN_A_ROW)
            for row in range(n_rows):
                part = order[row::n_rows]
                for i, name in enumerate(part):
                    at[name] = i - (len(part) - 1) / 2 + 0.25 * (row - (n_rows - 1) / 2) / max(1, n_rows - 1), y
                y += HEIGHT + 0.14
            y += FLOOR
    return at


def word(name: str, packages: set[str]) -> str:
    """What a box is called: ``pathway``, ``data/``, or ``rapp`` for its face."""
    return name.partition(".")[2] + ("/" if name in packages else "") or name


def plan(imports: Mapping[str, set[str]], packages: set[str]) -> Figure:
    """A box for each module, floor by floor, and an arrow to each that it imports, unless a chain leads there anyway.

    Args:
        imports: module → those that it imports.
        packages: those that stand for several files.
    """
    at = places(architecture.bare(imports))
    high = max(y for _, y in at.values())
    figure, ax = style.subplots(figsize=(5.0, 0.62 * (high + 1)))
    heights = architecture.floors(imports)
    for name, below in architecture.bare(imports).items():
        for other in below:
            (x, y), (to_x, to_y) = at[name], at[other]
            ends = (x + 0.12 * (to_x - x), y - HEIGHT / 2), (to_x + 0.12 * (x - to_x), to_y + HEIGHT / 2)
            dashes = "-" if heights[name] == heights[other] + 1 else (0, (4, 2.5))  # it may pass behind boxes
            arrow = FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=7, color="#7d7d7d", linewidth=0.9,
                                    linestyle=dashes, shrinkA=0, shrinkB=0, zorder=1)  # fmt: skip
            ax.add_patch(arrow)
    for name, (x, y) in at.items():
        colour = PACKAGE if name in packages else MODULE
        corner, shape = (x - WIDTH / 2, y - HEIGHT / 2), "round,pad=0,rounding_size=0.08"
        box = FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle=shape, facecolor=colour, edgecolor="none", zorder=2)
        ax.add_patch(box)
        ax.text(x, y, word(name, packages), ha="center", va="center", fontsize=10, color=style.ON_COLOUR, zorder=3)
    half = IN_A_ROW / 2 + 0.05
    for floor in set(heights.values()):
        middle = float(np.mean(list({at[name][1] for name in at if heights[name] == floor})))
        ax.text(-half - 0.12, middle, str(floor), ha="center", va="center", fontsize=9, color="#4d4d4d")
    ax.set(xlim=(-half - 0.2, half), ylim=(-0.35, high + 0.35))
    ax.axis("off")
    return figure
