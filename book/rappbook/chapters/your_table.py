"""RaPP and its rivals on one table, at their defaults, on the same splits; and which of its rows to look at first."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

from rapp import RaPP, detectors, evaluation
from rapp.data import Dataset
from rapp.detectors.rows import bottleneck
from rapp.splits import split

RIVALS = ("knn", "lof", "gmm", "iforest", "ocsvm", "pca")
REASONS = 3
SCORES = {"recon": "reconstruction error", "sap": "SAP", "nap": "NAP"}


def parts(data: Dataset, target: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Standardised training rows and test rows (N, d), which of the latter are novel (N,), and their numbers (N,)."""
    rows = split(data.y, target, seed=seed)
    train = np.concatenate([rows.train, rows.val])  # whoever has to choose something holds out some of these
    scaler = StandardScaler().fit(data.x[train])
    return scaler.transform(data.x[train]), scaler.transform(data.x[rows.test]), rows.is_novel, rows.test


def chosen(data: Dataset, asked: object) -> str:
    """Which class counts as novel or normal, and who chose it; ``asked`` is the target as it was given, or None."""
    target = data.target(asked)
    n, name = int((data.y == target).sum()), data.class_name(target)
    if data.normal:
        normal = data.class_name(data.normal)
        return f"Normal is **{normal}**, as you said (NORMAL); the {n:,} rows that are anything else are novel."
    if asked is not None:
        return f"Novel is **{name}** ({n:,} rows), as you said (target); all other classes are normal."
    return (
        f"Novel is **{name}** ({n:,} rows), because it is the rarest class and nothing else was said; all other "
        'classes are normal. Another: `PARAMS="target=…"`; or `NORMAL=…`, what is normal.'
    )


def compare(data: Dataset, target: str, seeds: int, epochs: int) -> tuple[pd.DataFrame, RaPP]:
    """AUROC of every method and seed, and the estimator of seed 0.

    Args:
        data: a data set.
        target: the novel class.
        seeds: how many splits and fits.
        epochs: of RaPP's networks.

    Returns:
        method, seed, auroc; and the fitted estimator.
    """
    found, first = [], None
    for seed in range(seeds):
        train, test, is_novel, _ = parts(data, target, seed)
        scores: dict[str, np.ndarray] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few rows: the page says how many there are
            for model in ("ae", "vae"):
                fitted = RaPP(model=model, epochs=epochs, random_state=seed).fit(train)
                first = first or fitted
                of_fit = fitted.scores(test)
                scores |= {f"RaPP, {model.upper()}, {title}": of_fit[name].to_numpy() for name, title in SCORES.items()}
            for name in RIVALS:
                changes: dict[str, Any] = {"n_components": bottleneck(train)} if name == "pca" else {}
                rival = detectors.make(name, None, "quick", **changes).fit(train, None, seed, progress=False)
                scores[detectors.DETECTORS[name].title] = next(iter(rival.scores(test).values()))
        found += [(method, seed, evaluation.auroc(is_novel, values)) for method, values in scores.items()]
    assert first is not None
    return pd.DataFrame(found, columns=["method", "seed", "auroc"]), first


def reasons(falls: np.ndarray, names: Sequence[str]) -> list[str]:
    """Up to three features for each row of ``RaPP.explain``'s falls (n, n_features), the largest fall first."""
    first = np.argsort(-falls, axis=1, kind="stable")[:, :REASONS]
    return [", ".join(names[j] for j in best if fall[j] > 0) for fall, best in zip(falls, first, strict=True)]


def suspects(data: Dataset, target: str, detector: RaPP, n: int = 10) -> pd.DataFrame:
    """The test rows of seed 0 with the highest scores: number in the file, class, score, p-value, and three reasons."""
    _, test, _, numbers = parts(data, target, 0)
    scores = -detector.score_samples(test)
    first = np.argsort(-scores, kind="stable")[:n]
    names = data.features or [f"feature {i}" for i in range(test.shape[1])]
    return pd.DataFrame(
        {
            "data row": numbers[first] + 1,
            "class": [data.class_name(label) for label in data.y[numbers[first]]],
            "score": scores[first],
            "p-value": detector.p_value(test[first]),
            "look at": reasons(detector.explain(test[first]).to_numpy(), names),
        }
    )
