"""The paper's protocol with one choice changed at a time: what the gap to its numbers may hang on (chapter 10).

Some choices change the training and take a run each; the others change the scoring alone and are read off the
protocol's run. All runs of a cell start from the same seed, with the same rows, so that differences are paired.
"""

import copy
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

from rapp import cells, grid, pathway
from rapp.autoencoders import MODELS
from rapp.cells import Entry
from rapp.datasets import Dataset
from rapp.experiments import features, sap_and_nap, scored
from rapp.profiles import ParameterError
from rapp.run import Run, Trained
from rapp.settings import RivalSettings, Settings
from rapp.splits import Split
from rapp.threads import pinned
from rapp.training import say
from rapp.trials import SCORES, SCORING_THREADS, Cell, Trial

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
    run.adams["generator"] = torch.optim.Adam(run.model.encoder.parameters(), run.settings.lr, fused=True)


@dataclass(frozen=True)
class Variant:
    """What is changed before training."""

    factor: str
    value: str
    settings: dict[str, Any] = field(default_factory=dict)
    fresh: Callable[[Run], None] = lambda run: None
    pixels: Callable[[np.ndarray], np.ndarray] = lambda x: x
    of: Collection[str] = ("images", "table")  # data for which there is such a choice
    models: Collection[str] = tuple(MODELS)


TRAINED = (
    Variant(*PROTOCOL),
    Variant("order in a layer", "batch norm, then LeakyReLU", fresh=_norm_first),
    Variant("slope of LeakyReLU", "0.01", fresh=_slope(0.01)),
    Variant("learning rate", "0.0003", settings={"lr": 3e-4}),
    Variant("learning rate", "0.003", settings={"lr": 3e-3}),
    Variant("Adam of the AAE's generator", "one of its own", fresh=_generator_alone, models=("aae",)),
    Variant("bottleneck", "100", settings={"bottleneck": 100}, of=("images",)),
    Variant("precision", "bfloat16", settings={"precision": "bfloat16"}),
    Variant("pixels", "from −1 to 1", pixels=lambda x: 2 * x - 1, of=("images",)),
)


def scored_at(
    run: Run, data: Dataset, cell: Cell, rows: Split, x: np.ndarray, at: Collection[int], best: bool
) -> Iterator[Trial]:
    """A training run's trials after some of its epochs.

    Args:
        run: fresh; it is trained up to the last of the epochs.
        data, cell, rows, x: as for ``experiments.scored``.
        at: epochs to score after, counted from 1.
        best: by the best weights so far, as if the run ended there; else by those of the epoch itself.
    """
    for epoch in range(1, max(at) + 1):
        with pinned(run.settings.threads):
            run.epoch()
        if epoch not in at:
            continue
        model, settings = copy.deepcopy(run.model), replace(run.settings, epochs=epoch)
        if best:
            model.load_state_dict(run.best)
        about = run.best_epoch if best else epoch, run.seconds, run.history
        trained = Trained(model.eval(), settings, run.seed, str(run.device), *about)
        yield scored(data, replace(cell, settings=settings), rows, x, trained)


def run(entry: Entry, variant: Variant) -> Iterator[dict]:
    """Train a cell with one choice changed and score it.

    The protocol's own run is also scored after fewer epochs and with each choice of scoring changed.

    Yields:
        Rows of ``COLUMNS``.
    """
    data = cells.data_of(entry.dataset)
    assert isinstance(entry.cell.settings, Settings)
    rows, settings = entry.cell.split(data), replace(entry.cell.settings, **variant.settings)
    cell, x = replace(entry.cell, settings=settings), variant.pixels(features(data, rows))
    training = Run(torch.from_numpy(x[rows.train]), torch.from_numpy(x[rows.val]), settings, cell.seed)
    variant.fresh(training)
    is_protocol = (variant.factor, variant.value) == PROTOCOL
    fewer = {max(1, settings.epochs // 4), max(1, settings.epochs // 2)} if is_protocol else set()
    for trial in scored_at(training, data, cell, rows, x, {*fewer, settings.epochs}, best=True):
        last = trial.settings.epochs == settings.epochs
        found = {(variant.factor, variant.value) if last else ("epochs", str(trial.settings.epochs)): trial.scores}
        if last and is_protocol:
            found |= _scored_otherwise(trial)
        for (factor, value), scores in found.items():
            of = replace(entry, cell=trial.cell)
            for row in cells.record(of, replace(trial, scores=scores))["rows"]:
                yield {"factor": factor, "value": value} | row


@torch.no_grad()
@pinned(SCORING_THREADS)
def _scored_otherwise(trial: Trial) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """(factor, value) → the scores that change if one choice of the scoring does."""
    model, has_input = trial.trained.model, 0 in trial.pathway().layers
    every = range(trial.settings.n_layers + 1)
    d_train, d_test = (trial.pathway(every).differences(trial.x(part)) for part in ("train", "test"))
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
        of_mean = pathway.Pathway(model.encoder, model.decode, include_input=has_input).fit(trial.x("train"))
        found["reconstruction", "of μ alone"] = of_mean.score(trial.x("test"))
    return found


def _nap_of_every_direction(d_train: np.ndarray, d_test: np.ndarray) -> np.ndarray:
    """NAP (N,) as the known code has it: divided by every singular value of d_train, rounding noise included."""
    fitted = PCA(svd_solver="full").fit(d_train)
    with np.errstate(divide="ignore", invalid="ignore"):  # a singular value can come out as 0
        whitened = fitted.transform(d_test).astype(np.float64) / fitted.singular_values_.astype(np.float64)
    return (whitened**2).sum(1)


def _has(entry: Entry, variant: Variant) -> bool:
    """Whether a cell has such a choice."""
    kind = "table" if cells.data_of(entry.dataset).image_shape is None else "images"
    return kind in variant.of and entry.cell.settings.model in variant.models


def _file(entry: Entry, variant: Variant) -> Path:
    name = f"{variant.factor} {variant.value}".replace(" ", "-")
    return Path("ablations", name, entry.file.with_suffix(SUFFIX))


def fill(entries: Sequence[Entry], folder: Path, workers: int = 1) -> list[str]:
    """Run what is missing of all variants of some cells, a file each. A run that was interrupted starts again.

    Returns:
        The runs that failed, with their errors; the others went on.

    Raises:
        ParameterError: a rival among the cells.
    """
    for entry in entries:
        if isinstance(entry.cell.settings, RivalSettings):
            raise ParameterError(f"{entry}: only autoencoders have variants")
    failed = []
    with grid.lock(folder):
        runs = [(entry, variant) for variant in TRAINED for entry in entries if _has(entry, variant)]
        todo = [(e, v) for e, v in runs if not cells.is_done(folder / _file(e, v), e)]
        say(f"{len(todo)} of {len(runs)} runs to train")
        progress = grid.Progress(len(todo), "run")
        work = (delayed(_attempt)(entry, variant) for entry, variant in todo)
        for file, found in Parallel(n_jobs=workers, return_as="generator_unordered")(work):
            if isinstance(found, str):
                failed.append(found)
            else:
                cells.write(folder / file, {"rows": found})
            progress.add(1)
        progress.close()
    return failed


def _attempt(entry: Entry, variant: Variant) -> tuple[Path, list[dict] | str]:
    """The file and its rows, or what went wrong."""
    try:
        return _file(entry, variant), list(run(entry, variant))
    except Exception as error:
        what = f"{entry}, {variant.factor} {variant.value}"
        return _file(entry, variant), f"{what}: {type(error).__name__}: {error}"


def collect(*folders: Path) -> pd.DataFrame:
    """The rows of all finished runs under some folders, as ``run``'s, sorted."""
    paths = [path for folder in folders for path in sorted(folder.rglob(f"*{SUFFIX}"))]
    rows = [row for path in paths for row in (cells.read(path) or {"rows": []})["rows"]]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.drop_duplicates(KEY).sort_values(KEY, kind="stable", ignore_index=True)


def table(rows: pd.DataFrame, target: str | None = None) -> pd.DataFrame:
    """What each choice changes: a row per choice, a column per model and score.

    The protocol's row holds mean AUROCs; the others hold the mean difference from the protocol's of the same class
    and seed, ± its standard deviation over classes and seeds.

    Args:
        rows: as ``collect``.
        target: of one novel class; None for all.

    Returns:
        choice, value, and the text of each model and score; no rows without a run of the protocol.
    """
    pairs = _paired(rows[rows["target"] == target] if target else rows)
    if pairs.empty:
        return pd.DataFrame()
    groups = pairs.groupby(["factor", "value", "model", "score"])
    text = pd.Series({what: _in_words(of) for what, of in groups}).unstack([2, 3]).fillna("")
    columns = [(model, score) for model in MODELS for score in SCORES if (model, score) in text]
    text = text.loc[sorted(text.index, key=lambda choice: (choice != PROTOCOL, choice)), columns]
    text.columns = [f"{model.upper()} {SCORES[score]}" for model, score in columns]
    return text.rename_axis(["choice", "value"]).reset_index()


def _paired(rows: pd.DataFrame) -> pd.DataFrame:
    """Each row with the AUROC that the protocol has in the same cell."""
    cell = [*cells.KEY, "score"]
    protocol = rows[rows["factor"] == PROTOCOL[0]]
    return rows.merge(protocol[[*cell, "auroc"]], on=cell, suffixes=("", "_of_protocol"))


def _in_words(pairs: pd.DataFrame) -> str:
    if pairs["factor"].iloc[0] == PROTOCOL[0]:
        return f"{pairs['auroc'].mean():.3f}"
    change = pairs["auroc"] - pairs["auroc_of_protocol"]
    return f"{change.mean():+.3f}" + (f" ± {change.std():.3f}" if len(change) > 1 else "")
