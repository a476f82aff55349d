"""Figures of chapter 10: the paper's tables beside ours."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from rapp.experiment import SCORES
from rappbook.figures import style

LIMIT = 0.2  # differences beyond are drawn in the strongest colour


def differences(table: pd.DataFrame) -> Figure:
    """Ours minus the paper's for every number of Table 2, a panel per setting, ° at one seed; what is pending is empty.

    Args:
        table: as ``paper_tables.table2``.
    """
    settings = list(dict.fromkeys(table["setting"]))
    rows = [table.loc[table["setting"] == setting, "dataset"].nunique() for setting in settings]
    figure, axes = style.subplots(
        len(settings), 1, figsize=(5.8, 0.27 * sum(rows) + 1.7), height_ratios=rows, squeeze=False
    )
    for ax, setting in zip(axes[:, 0], settings, strict=True):
        part = table[table["setting"] == setting]
        columns = [(model, score) for model in style.MODEL_NAMES for score in style.SCORE_COLOURS]
        text = part["difference"].map("{:+.2f}".format).str.replace("0.", ".") + np.where(part["seeds"] == 1, "°", "")
        wide, texts = (
            part.assign(text=text)
            .pivot(index="dataset", columns=["model", "score"], values=values)
            .reindex(index=list(dict.fromkeys(part["dataset"])), columns=pd.MultiIndex.from_tuples(columns))
            for values in ("difference", "text")
        )
        style.heat_map(
            wide.astype(float), ax=ax, cmap="RdBu", center=0, vmin=-LIMIT, vmax=LIMIT, annot=texts, fmt="",
            linewidths=0.5, linecolor="white", annot_kws={"fontsize": 11},
        )  # fmt: skip
        ax.set_facecolor("0.92")
        ax.set(title=setting, xlabel="", ylabel="")
        ax.set_xticks(np.arange(len(columns)) + 0.5, [SCORES[score] for _, score in columns], rotation=0, fontsize=10)
        ax.tick_params(axis="y", rotation=0, labelsize=10)
        for i, model in enumerate(style.MODEL_NAMES.values()):
            ax.annotate(model, ((3 * i + 1.5) / len(columns), 0), (0, -22), xycoords="axes fraction",
                        textcoords="offset points", ha="center", va="top", weight="bold", fontsize=11)  # fmt: skip
            if i:
                ax.axvline(3 * i, color="black", linewidth=1.5)
    return figure


def slopes(table: pd.DataFrame, setting: str) -> Figure:
    """From reconstruction error over SAP to NAP, a panel per data set: ours as solid lines, the paper's as dotted ones.

    Args:
        table: as ``paper_tables.table2``.
        setting: "multimodal" or "unimodal".
    """
    table = table[(table["setting"] == setting)]
    known = list(dict.fromkeys(table.dropna(subset="ours")["dataset"]))
    columns = 3
    lines = max(1, -(-len(known) // columns))
    figure, axes = style.subplots(
        lines, columns, figsize=(6.8, 2.0 * lines + 0.8), sharex=True, sharey=True, squeeze=False
    )
    colours = dict(zip(style.MODEL_NAMES, sns.color_palette("colorblind")[:3], strict=True))
    for ax, name in zip(axes.flat, known, strict=False):
        for model, colour in colours.items():
            block = (
                table[(table["dataset"] == name) & (table["model"] == model)]
                .set_index("score")
                .loc[["recon", "sap", "nap"]]
            )
            ax.plot(range(3), block["ours"], color=colour, marker="o", label=f"{style.MODEL_NAMES[model]}, ours")
            ax.plot(range(3), block["paper"], color=colour, linestyle=":", label=f"{style.MODEL_NAMES[model]}, paper")
        style.coin(ax)
        in_part = table.loc[(table["dataset"] == name) & table["ours"].notna(), "partial"].any()
        one_seed = table.loc[(table["dataset"] == name) & table["ours"].notna(), "seeds"].max() == 1
        ax.set_title(name + (" (in part)" if in_part else " (one seed)" if one_seed else ""), fontsize=12)
        ax.set_xticks(range(3), ["recon", "SAP", "NAP"], fontsize=10)
    for ax in axes.flat[len(known) :]:
        ax.set_axis_off()
    if not known:
        figure.set_size_inches(6.8, 0.6)
        axes[0, 1].text(0.5, 0.5, "no rows yet", ha="center", va="center")
    for ax in axes[:, 0]:
        ax.set_ylabel("AUROC", fontsize=11)
    if known:
        entries = axes[0, 0].get_legend_handles_labels()
        figure.legend(*entries, frameon=False, ncols=3, loc="outside upper center", fontsize=10)
    return figure


def over_epochs(rows: pd.DataFrame) -> Figure:
    """AUROC of each score, and the validation error, against epochs: a column a network, a thin line a run.

    Args:
        rows: of one class, or means over classes; networks scored after one number of epochs alone are left out.
    """
    network = ["options", "model", "precision"]
    rows = rows.dropna(subset="val_error")
    ways = rows.groupby(network)["epochs"].nunique()
    whole = rows.groupby([*network, "seed"])["epochs"].nunique().groupby(network).max() == ways  # of some run
    drawn = sorted(ways.index[(ways > 1) & whole], key=lambda way: (way[0], list(style.MODEL_NAMES).index(way[1])))
    figure, axes = style.subplots(
        2, max(1, len(drawn)), figsize=(6.8, 4.2), sharex=True, sharey="row", squeeze=False, height_ratios=(2, 1)
    )
    for column, way in zip(axes.T, drawn, strict=False):
        part = rows[(rows[network] == way).all(axis=1)]
        for score, colour in style.SCORE_COLOURS.items():
            wide = part[part["score"] == score].pivot(index="epochs", columns="seed", values="auroc").dropna(axis=1)
            column[0].plot(wide, color=colour, linewidth=0.7, alpha=0.6)
            column[0].plot(wide.mean(axis=1), color=colour, linewidth=2.2, marker="o", label=SCORES[score])
        errors = part[part["score"] == "recon"].pivot(index="epochs", columns="seed", values="val_error").dropna(axis=1)
        column[1].plot(errors, color="0.3", linewidth=0.7, alpha=0.6)
        column[1].plot(errors.mean(axis=1), color="0.3", linewidth=2.2, marker="o")
        style.coin(column[0])
        name = style.MODEL_NAMES[way[1]] + ", other layers" * bool(way[0])
        column[0].set_title(f"{name}\n{wide.shape[1]} run{'s' * (wide.shape[1] > 1)}", fontsize=11)
        column[1].set(xscale="log", xlabel="epochs", xticks=wide.index, xticklabels=wide.index.astype(str))
        column[1].minorticks_off()
    if not drawn:
        axes[0, 0].text(0.5, 0.5, "no rows yet", ha="center", va="center")
        return figure
    axes[0, 0].set_ylabel("AUROC")
    axes[1, 0].set_ylabel("validation error")
    axes[0, 0].legend(frameon=False, fontsize=10)
    return figure
