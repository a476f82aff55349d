"""The paper's protocol with one choice changed at a time: what the gap to its numbers may hang on (chapter 10).

Some choices change the training and take a run each; the others change the scoring alone and are read off the
protocol's run. All runs of a cell start from the same seed, with the same rows, so that differences are paired.
``python -m rappbook.ablations --dataset mnist --model ae --target 1`` trains and scores what is missing.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from sklearn.decomposition import PCA
from torch import nn

from rapp import cache, cli, pathway
from rapp.cell import Cell
from rapp.config import ParameterError, TrainingConfig
from rapp.data import Dataset
from rapp.detectors.autoencoder import SCORING_THREADS, PathwayDetector, sap_and_nap
from rapp.experiment import SCORES, Trial, untrained
from rapp.grid import cells
from rapp.grid.cells import GridCell
from rapp.models import MODELS
from rapp.progress import Progress, say
from rapp.splits import Split
from rapp.threads import pinned
from rapp.training import Run, Trained

COLUMNS = ["factor", "value", *cells.COLUMNS]
KEY = ["factor", "value", *cells.KEY, "score"]  # of a row
SUFFIX = ".ablation"  # of a run's file, JSON as a cell's; it must not be taken for one
PROTOCOL = ("protocol", "as it is")


def _norm_first(run: Run) -> None:
    """Linear → BatchNorm → LeakyReLU."""
    for layer in (*run.model.encoder, *run.model.decoder):
        if len(layer) == 3:
            layer[1], layer[2] = layer[2], layer[1]


def _slope(value: float) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        for module in run.model.modules():
            if isinstance(module, nn.LeakyReLU):
                module.negative_slope = value

    return change


def _generator_alone(run: Run) -> None:
    """An Adam for the AAE's generator, apart from the encoder's."""
    *others, generator = run.updates
    run.updates = [*others, generator._replace(parts=("generator",))]
    run.adams["generator"] = torch.optim.Adam(run.model.encoder.parameters(), run.config.lr, fused=True)


@dataclass(frozen=True)
class Variant:
    """What is changed before training."""

    factor: str
    value: str
    options: dict[str, Any] = field(default_factory=dict)
    fresh: Callable[[Run], None] = lambda run: None
    pixels: Callable[[np.ndarray], np.ndarray] = lambda x: x
    kinds: Collection[str] = ("images", "table")  # of data for which there is such a choice
    models: Collection[str] = tuple(MODELS)


TRAINED = (
    Variant(*PROTOCOL),
    Variant("order in a layer", "batch norm, then LeakyReLU", fresh=_norm_first),
    Variant("slope of LeakyReLU", "0.01", fresh=_slope(0.01)),
    Variant("learning rate", "0.0003", options={"lr": 3e-4}),
    Variant("learning rate", "0.003", options={"lr": 3e-3}),
    Variant("Adam of the AAE's generator", "one of its own", fresh=_generator_alone, models=("aae",)),
    Variant("bottleneck", "100", options={"bottleneck": 100}, kinds=("images",)),
    Variant("precision", "bfloat16", options={"precision": "bfloat16"}),
    Variant("pixels", "from −1 to 1", pixels=lambda x: 2 * x - 1, kinds=("images",)),
)


def trained_at(run: Run, at: Collection[int]) -> Iterator[Trained]:
    """What a fresh training run would have come to, had it ended after some of its epochs; trained up to the last.

    Args:
        run: fresh.
        at: epochs, counted from 1.
    """
    for epoch in range(1, max(at) + 1):
        with pinned(run.config.threads):
            run.epoch()
        if epoch not in at:
            continue
        model, config = copy.deepcopy(run.model), replace(run.config, epochs=epoch)
        model.load_state_dict(run.best)
        yield Trained(model.eval(), config, run.seed, str(run.device), run.best_epoch, run.seconds, list(run.history))


def scored(data: Dataset, cell: Cell, rows: Split, x: np.ndarray, trained: Trained) -> Trial:
    """The trial of an autoencoder that was trained elsewhere on rows of x (N, n_features)."""
    cell = replace(cell, config=trained.config)
    detector = PathwayDetector(config=trained.config, image_shape=data.image_shape)
    detector._checked = lambda x, name: x  # type: ignore[method-assign,assignment,return-value]  # any pixels
    detector.adopt(trained, torch.from_numpy(x[rows.train]))
    return Trial(data=data, cell=cell, split=rows, features=x, detector=detector).score_test()


def run(grid_cell: GridCell, variant: Variant) -> Iterator[dict]:
    """Train a cell with one choice changed and score it.

    The protocol's own run is also scored after fewer epochs and with each choice of scoring changed.

    Yields:
        Rows of ``COLUMNS``.
    """
    data = cells.data_of(grid_cell.dataset)
    assert isinstance(grid_cell.cell.config, TrainingConfig)
    config = replace(grid_cell.cell.config, **variant.options)
    cell = replace(grid_cell.cell, config=config)
    fresh = untrained(data, cell)
    rows, x = fresh.split, variant.pixels(fresh.features)
    training = Run(torch.from_numpy(x[rows.train]), torch.from_numpy(x[rows.val]), config, cell.seed)
    variant.fresh(training)
    is_protocol = (variant.factor, variant.value) == PROTOCOL
    fewer = {max(1, config.epochs // 4), max(1, config.epochs // 2)} if is_protocol else set()
    for trained in trained_at(training, {*fewer, config.epochs}):
        trial, epochs = scored(data, cell, rows, x, trained), trained.config.epochs
        last = epochs == config.epochs
        found = {(variant.factor, variant.value) if last else ("epochs", str(epochs)): trial.scores}
        if last and is_protocol:
            found |= _scored_otherwise(trial)
        for (factor, value), scores in found.items():
            for row in cells.record(replace(grid_cell, cell=trial.cell), replace(trial, scores=scores))["rows"]:
                yield {"factor": factor, "value": value} | row


@torch.no_grad()
@pinned(SCORING_THREADS)
def _scored_otherwise(trial: Trial) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """(factor, value) → the scores that change if one choice of the scoring does."""
    detector, model = trial.detector, trial.detector.trained.model
    has_input = 0 in detector.pathway().layers
    x_train, x_test = (trial.tensor(part) for part in ("train", "test"))
    whole = detector.pathway(range(detector.trained.config.n_layers + 1))
    d_train, d_test = whole.differences(x_train), detector.pathway(whole.layers).differences(x_test)
    first, other = (0, trial.features.shape[1]) if has_input else (trial.features.shape[1], 0)  # of the columns
    own_train, own_test = (d[:, first:].numpy(force=True) for d in (d_train, d_test))
    plain = _nap_of_every_direction(own_train, own_test)
    found = {
        ("input in the pathway", "no" if has_input else "yes"): sap_and_nap(d_train[:, other:], d_test[:, other:]),
        ("rank cut", "none: every singular value"): {"nap": plain},
    }
    if model.codes == 2:
        mu = slice(first, -model.bottleneck)  # without log σ²
        found["code in the pathway", "μ alone"] = sap_and_nap(d_train[:, mu], d_test[:, mu])
        of_mean = pathway.Pathway(model.encoder, model.decode, include_input=has_input).fit(x_train)
        found["reconstruction", "of μ alone"] = of_mean.score(x_test)
    return found


def _nap_of_every_direction(d_train: np.ndarray, d_test: np.ndarray) -> np.ndarray:
    """NAP (N,) as the known code has it: divided by every singular value of d_train, rounding noise included."""
    fitted = PCA(svd_solver="full").fit(d_train)
    with np.errstate(divide="ignore", invalid="ignore"):  # a singular value can come out as 0
        whitened = fitted.transform(d_test).astype(np.float64) / fitted.singular_values_.astype(np.float64)
    return (whitened**2).sum(1)


def _has(grid_cell: GridCell, variant: Variant) -> bool:
    """Whether a cell has such a choice."""
    kind = "table" if cells.data_of(grid_cell.dataset).image_shape is None else "images"
    return kind in variant.kinds and grid_cell.cell.config.model in variant.models


def _file(grid_cell: GridCell, variant: Variant) -> Path:
    return Path("ablations", f"{variant.factor}-{variant.value}".replace(" ", "-"), grid_cell.file.with_suffix(SUFFIX))


def fill(grid_cells: Sequence[GridCell], folder: Path, workers: int = 1) -> list[str]:
    """Run what is missing of all variants of some cells, a file each. A run that was interrupted starts again.

    Returns:
        The runs that failed, with their errors; the others went on.

    Raises:
        ParameterError: a cell of no autoencoder.
    """
    if others := [cell for cell in grid_cells if not isinstance(cell.cell.config, TrainingConfig)]:
        raise ParameterError(f"{others[0]}: only autoencoders have variants")
    failed = []
    with cells.lock(folder):
        runs = [(grid_cell, variant) for variant in TRAINED for grid_cell in grid_cells if _has(grid_cell, variant)]
        todo = [(e, v) for e, v in runs if not cells.is_done(folder / _file(e, v), e)]
        say(f"{len(todo)} of {len(runs)} runs to train")
        progress = Progress(len(todo), "run", every=30)
        work = (delayed(_attempt)(grid_cell, variant) for grid_cell, variant in todo)
        for file, found in Parallel(n_jobs=workers, return_as="generator_unordered")(work):
            if isinstance(found, str):
                failed.append(found)
            else:
                cells.write(folder / file, {"rows": found})
            progress.add()
        progress.close()
    return failed


def _attempt(grid_cell: GridCell, variant: Variant) -> tuple[Path, list[dict] | str]:
    """The file and its rows, or what went wrong."""
    try:
        return _file(grid_cell, variant), list(run(grid_cell, variant))
    except Exception as error:
        what = f"{grid_cell}, {variant.factor} {variant.value}: {type(error).__name__}"
        return _file(grid_cell, variant), f"{what}: {error}"


def collect(*folders: Path) -> pd.DataFrame:
    """The rows of all finished runs under some folders, as ``run``'s, sorted."""
    files = (cells.read(path) for folder in folders for path in sorted(folder.rglob(f"*{SUFFIX}")))
    rows = [row for file in files if file for row in file["rows"]]
    frame = completed(pd.DataFrame(rows, columns=COLUMNS))
    return frame.drop_duplicates(KEY).sort_values(KEY, kind="stable", ignore_index=True)


def completed(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of any age with all columns of today (``cells.completed``)."""
    return pd.concat([rows[["factor", "value"]], cells.completed(rows)], axis=1)


def table(rows: pd.DataFrame, target: str | None = None) -> pd.DataFrame:
    """A page's table of what each choice changes: a row per choice, a column per model and score.

    The protocol's row holds mean AUROCs; the others hold the mean difference from the protocol's of the same class
    and seed, ± its standard deviation over classes and seeds.

    Args:
        rows: as ``collect``.
        target: the novel class to show; None for all.

    Returns:
        choice, value, and the text of each model and score; no rows without a run of the protocol.
    """
    pairs = _paired(rows[rows["target"] == target] if target else rows)
    if pairs.empty:
        return pd.DataFrame()
    groups = pairs.groupby(["factor", "value", "model", "score"])
    text = pd.Series({what: _change_in_words(group) for what, group in groups}).unstack([2, 3]).fillna("")
    columns = [(model, score) for model in MODELS for score in SCORES if (model, score) in text]
    text = text.loc[sorted(text.index, key=lambda choice: (choice != PROTOCOL, choice)), columns]
    text.columns = [f"{model.upper()} {SCORES[score]}" for model, score in columns]
    return text.rename_axis(["choice", "value"]).reset_index()


def _paired(rows: pd.DataFrame) -> pd.DataFrame:
    """Each row with the AUROC of the protocol's run of the same cell, in ``auroc_of_protocol``."""
    protocol, cell = rows[rows["factor"] == PROTOCOL[0]], [*cells.KEY, "score"]
    return rows.merge(protocol[[*cell, "auroc"]], on=cell, suffixes=("", "_of_protocol"))


def _change_in_words(pairs: pd.DataFrame) -> str:
    """The protocol's mean AUROC, or another choice's mean difference from it ± standard deviation."""
    if pairs["factor"].iloc[0] == PROTOCOL[0]:
        return f"{pairs['auroc'].mean():.3f}"
    change = pairs["auroc"] - pairs["auroc_of_protocol"]
    return f"{change.mean():+.3f}" + (f" ± {change.std():.3f}" if len(change) > 1 else "")


def main(words: Sequence[str] | None = None) -> int:
    """Fill the runs that the words name; returns the exit status. What goes wrong is told in one line."""
    parser = argparse.ArgumentParser(prog="python -m rappbook.ablations", description=__doc__)
    cli.add_cells(parser)
    folder = cache.cache_folder() / "cells"
    parser.add_argument("--out", type=Path, default=folder, help="folder of the runs' files (default: in the cache)")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time (default: 1)")
    arguments = parser.parse_args(words)
    return cli.told(lambda: _filled(arguments))


def _filled(arguments: argparse.Namespace) -> int:
    if arguments.workers < 1:
        raise ParameterError(f"workers={arguments.workers} must be at least 1")
    failed = fill(cli.grid_cells(arguments), arguments.out, arguments.workers)
    if not failed:
        return 0
    print(f"{len(failed)} runs failed; the same command tries them again:", *failed, sep="\n  ", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
