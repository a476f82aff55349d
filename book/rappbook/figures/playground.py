"""What the playground shows, as a still picture for who has no JavaScript."""

import numpy as np
from matplotlib.figure import Figure

from rappbook.figures import style
from rappbook.playground import SCORES, SHOWN, Shipped


def still(network: Shipped) -> Figure:
    """The first image of the unseen digit and of a known one: x, x̂, the layers' activations, the scores' places."""
    unseen = int(network.about["unseen"])
    known = 7 if unseen != 7 else 3
    figure, axes = style.subplots(2, 4, figsize=(9, 4), width_ratios=[1, 1, 3, 3])
    for row, digit in zip(axes, (unseen, known), strict=True):
        x = network.arrays["images"][[digit * SHOWN]] / 255.0
        x_hat, scores = network.differences(x)[0], network.scores(x)
        for ax, image, name in zip(row, (x, x_hat), ("x", "x̂"), strict=False):
            ax.imshow(image.reshape(28, 28), cmap="gray", vmin=0, vmax=1)
            ax.set(
                xticks=[],
                yticks=[],
                title=name if name == "x̂" else f"{name}: {'unseen' if digit == unseen else 'known'}",
            )
        h, h_hat = (np.concatenate(network.encode(part), axis=1)[0] for part in (x, x_hat))
        row[2].plot(h, color=style.INPUT, linewidth=0.8, label="h")
        row[2].plot(h_hat, color=style.RECONSTRUCTION, linewidth=0.8, label="ĥ")
        row[2].set(title="activations, all layers", xticks=[])
        row[2].legend(frameon=False, fontsize=8)
        places = [(network.arrays[f"{name}.normal"] < scores[name][0]).mean() for name in SCORES]
        row[3].barh(
            [style.SCORE_NAMES[name] for name in SCORES], places, color=[style.SCORE_COLOURS[name] for name in SCORES]
        )
        row[3].set(xlim=(0, 1), title="share of normal digits below")
        row[3].invert_yaxis()
    return figure
