"""One thing changed at a time, on networks that are trained: what chapter 11 scores beyond the paper."""

import copy
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.decomposition import PCA

from rapp import evaluation
from rapp.detectors.autoencoder import SCORING_THREADS
from rapp.experiment import Trial
from rapp.threads import pinned
from rappbook.chapters import whitenings


def in_double(trial: Trial) -> Trial:
    """The same trial with its network in float64, to tell rounding noise from signal."""
    detector = copy.copy(trial.detector)
    detector.trained = replace(detector.trained, model=copy.deepcopy(detector.trained.model).double())
    return replace(trial, detector=detector)


def independent(trial: Trial, n_rows: int) -> int:
    """The largest number of independent directions that n_rows training differences can have.

    The last layer is linear, so its differences are combinations of those before; and centring costs one row.
    """
    model = trial.detector.trained.model
    n_features = trial.detector.pathway().differences(trial.tensor("test")[:1]).shape[1]
    return min(n_features - model.codes * model.bottleneck, n_rows - 1)


def differences(trial: Trial, part: str) -> np.ndarray:
    """Differences d (N, D) of the rows of ``train``, ``val`` or ``test``, as a NumPy array."""
    with pinned(SCORING_THREADS):
        return trial.detector.pathway().differences(trial.tensor(part)).cpu().numpy()


def whitening_sweep(
    trial: Trial, d: np.ndarray, d_test: np.ndarray, sizes: Iterable[int], whole: PCA | None = None
) -> pd.DataFrame:
    """AUROC of NAP by every way of ``whitenings``, fitted on some or all of the training rows.

    Args:
        trial: trained and scored.
        d, d_test: its ``differences`` of training and test rows, which take a while to make.
        sizes: training rows to fit on; more than there are means all. Fewer are drawn at random by the trial's seed.
        whole: ``whitenings.decompose`` of all training rows, where it is there already.

    Returns:
        way, rows, value, auroc, seed. The ways: "directions" (value: how many leading ones are kept), "rank" (all that
        are independent), "smallest half" (those of them with the smallest variances), "plain" (every one that the SVD
        returns), "shrinkage" (value: δ) and "chosen" (by Ledoit and Wolf's formula).
    """
    order = np.random.default_rng(trial.cell.seed).permutation(len(d))
    parts = []
    for n in sorted({min(n, len(d)) for n in sizes}):
        fitted = whole if whole is not None and n == len(d) else whitenings.decompose(d[order[:n]])
        most, kept_all = len(fitted.singular_values_), independent(trial, n)
        kept = np.unique([*np.geomspace(1, kept_all, 25).astype(int), max(1, kept_all // 2), kept_all])
        deltas = np.append(np.geomspace(1e-6, 1, 13), ledoit_wolf_shrinkage(d[order[:n]].astype(np.float64)))
        by_k, by_delta = whitenings.leading(fitted, d_test), whitenings.shrunk(fitted, d_test, deltas)
        ways = [("directions", k, by_k[:, k - 1]) for k in kept]
        ways += [("rank", kept_all, by_k[:, kept_all - 1]), ("plain", most, by_k[:, most - 1])]
        half = max(1, kept_all // 2)
        ways += [("smallest half", half, by_k[:, kept_all - 1] - by_k[:, half - 1])]
        ways += [("shrinkage", delta, by_delta[:, i]) for i, delta in enumerate(deltas[:-1])]
        ways += [("chosen", deltas[-1], by_delta[:, -1])]
        found = [(way, n, value, evaluation.auroc(trial.split.is_novel, scores)) for way, value, scores in ways]
        parts.append(pd.DataFrame(found, columns=["way", "rows", "value", "auroc"]))
    return pd.concat(parts, ignore_index=True).assign(seed=trial.cell.seed)


def energies(pca: PCA, d_test: np.ndarray, is_novel: np.ndarray, independent: int, blocks: int = 12) -> pd.DataFrame:
    """Mean square of normal and novel test rows along blocks of directions, relative to the training rows' own.

    Args:
        pca: the training rows' decomposition.
        d_test: (N, D) differences of test rows.
        is_novel: (N,) which of them are novel.
        independent: how many directions count.
        blocks: into how many they are put together.

    Returns:
        direction (middle of its block), kind ("normal", "novel"), energy (1: as large as in training).
    """
    ratios = whitenings.squares(pca, d_test)[:, :independent]
    ratios *= pca.n_samples_ / pca.singular_values_[:independent].astype(np.float64) ** 2
    rows = []
    for columns in np.array_split(np.arange(independent), min(blocks, independent)):
        for kind, which in (("normal", ~is_novel), ("novel", is_novel)):
            rows.append({"direction": columns.mean() + 1, "kind": kind, "energy": ratios[which][:, columns].mean()})
    return pd.DataFrame(rows)


def refitted(trial: Trial, d: np.ndarray, size: int, shares: Iterable[float]) -> pd.DataFrame:
    """AUROC of NAP fitted on training rows, and of whitenings fitted on each batch of test rows itself.

    Args:
        trial: trained and scored.
        d: its ``differences`` of test rows.
        size: test rows a batch.
        shares: of novel rows in the test set, by leaving novel rows out; at most the trial's own.

    Returns:
        share, fitted ("training rows", "batch, rank", "batch, shrunk"), auroc, seed.
    """
    is_novel = trial.split.is_novel
    normal, novel = np.flatnonzero(~is_novel), np.flatnonzero(is_novel)
    rows = []
    for share in shares:
        few = max(1, min(len(novel), round(len(normal) * share / (1 - share))))
        kept = np.concatenate([normal, np.random.default_rng(trial.cell.seed).permutation(novel)[:few]])
        scores = {
            "training rows": trial.scores["nap"][kept],
            "batch, rank": whitenings.per_batch(
                d[kept], size, lambda fit, batch: whitenings.by_rank(fit, batch, independent(trial, len(fit)))
            ),
            "batch, shrunk": whitenings.per_batch(d[kept], size, whitenings.by_ledoit_wolf),
        }
        for fitted, values in scores.items():
            auroc = evaluation.auroc(is_novel[kept], values)
            rows.append({"share": share, "fitted": fitted, "auroc": auroc, "seed": trial.cell.seed})
    return pd.DataFrame(rows)
