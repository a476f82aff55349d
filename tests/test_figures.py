import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from rappbook.figures import models, nobody_picked, pathway, reconstruction, setups, why, your_rows, your_table

RNG = np.random.default_rng(0)
NOVEL = np.arange(60) >= 40
SCORES = {name: RNG.lognormal(size=60) for name in ("A", "B")}
AUROCS, CUTS = {"A": 0.3, "B": 0.7}, {"A": 1.0, "B": 2.0}
ROWS = pd.DataFrame({"model": ["vae", "vae", "ae"] * 3, "score": np.repeat(["recon", "sap", "nap"], 3), "auroc": 0.4})
LAYERS = pd.DataFrame(
    [
        {"score": s, "layers": w, "layer": i, "seed": 0, "auroc": 0.5}
        for s in ("sap", "nap") for w in ("alone", "up to") for i in (0, 1, 2)
    ]
)  # fmt: skip
PER_CLASS = pd.DataFrame({"target": ["0", "1", "1"], "auroc": [0.9, 0.3, 0.4]})
THEIRS = pd.DataFrame({"target": ["0", "1"], "auroc": [0.95, 0.45]})
CLOUD = RNG.normal(size=(30, 2))
CUTS_BY_ROWS = pd.DataFrame({"rows": [9, 9, 99, 99], "kept": [1, 5] * 2, "delta": [0.1, 0.5] * 2, "auroc": 0.6})
GRID = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9))
FIGURES = {
    "reconstructions": lambda: reconstruction.reconstructions(
        RNG.random((4, 16)), RNG.random((4, 16)), np.array([0, 0, 1, 1], bool), (4, 4), "1"
    ),
    "histograms": lambda: reconstruction.score_histograms(SCORES, NOVEL, AUROCS, CUTS),
    "per class": lambda: reconstruction.auroc_per_class(PER_CLASS, THEIRS, {"0": "0", "1": "1"}),
    "per class, long names": lambda: reconstruction.auroc_per_class(PER_CLASS, None, {"0": "Ankle boot", "1": "Bag"}),
    "pathway": lambda: pathway.pathway(RNG.random(16), RNG.random(16), (4, 4), 10),
    "whitening": lambda: pathway.whitening(RNG.normal(size=(50, 2)), {"A": (1.0, 2.0), "B": (0.5, 0.1)}),
    "layers": lambda: pathway.layer_contributions(LAYERS, 2),
    "assumptions": lambda: pathway.assumptions({"normal": [0.1], "novel": [0.3]}, {"normal": [0], "novel": [1]}),
    "prefixes and suffixes": lambda: pathway.layer_contributions(LAYERS.replace("alone", "from"), 2),
    "spectrum": lambda: why.spectrum({"float32": np.geomspace(1, 1e-7, 9), "float64": np.geomspace(1, 1e-16, 9)}, 7),
    "cuts": lambda: why.cuts(CUTS_BY_ROWS, CUTS_BY_ROWS, CUTS_BY_ROWS[::2]),
    "energies": lambda: why.energies(
        pd.DataFrame({"direction": [1, 4] * 2, "kind": ["normal", "novel"] * 2, "energy": [1.0, 2, 3, 4]})
    ),
    "scores": lambda: models.by_model(ROWS),
    "own table": lambda: your_table.compare(ROWS.assign(method="RaPP, AE, NAP")),
    "own rows": lambda: your_rows.distribution(pd.Series(RNG.lognormal(size=60)), [3, 5]),
    "ranks": lambda: nobody_picked.ranks(pd.DataFrame({"mean rank": [1.2, 2.4]}, ["RaPP's AE, NAP", "PCA"]), 0.8),
    "table slopes": lambda: nobody_picked.slopes(
        pd.DataFrame([[0.4, 0.6], [0.7, 0.6]], columns=["A, reconstruction error", "A, NAP"]), ["A"]
    ),
    "epochs": lambda: models.learning({"ae": [pd.DataFrame({"epoch": [1, 2], "val_error": [3, 2]})]}),
    "scores of others' networks": lambda: models.by_model(pd.concat([ROWS.assign(model=f"net {i}") for i in range(5)])),
    "classes": lambda: models.by_class(ROWS.assign(target="1", committed=[True, False, False] * 3), {"1": "1"}),
    "pathway of a table": lambda: pathway.pathway(RNG.normal(size=6), RNG.normal(size=6), None, 3),
    "boundaries": lambda: setups.boundaries(CLOUD, CLOUD + 3, CLOUD - 3, GRID, {"a": GRID[0], "b": GRID[1]}),
    "samples": lambda: setups.samples({"normal": RNG.random((5, 16)), "novel": RNG.random((5, 16))}, (4, 4), {"novel"}),
    "linear": lambda: setups.linear_failures(dict.fromkeys(("a", "b"), (CLOUD, CLOUD + 3, CLOUD[0], CLOUD[1]))),
    "curves": lambda: setups.curves(NOVEL, SCORES["A"], 0.5, 0.3),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_draws_and_leaves_no_open_window(name, tmp_path):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5_000
    assert plt.get_fignums() == []


def test_titles_carry_the_aurocs():
    titles = [ax.get_title() for ax in FIGURES["histograms"]().axes]
    assert titles == ["A\nAUROC 0.30", "B\nAUROC 0.70"]
