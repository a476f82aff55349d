"""Why a row is called novel: planted faults are found, and the layers' parts are the score."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn

from rapp import Pathway, RaPP, explain


def correlated(seed, shift=2):
    """300 rows of 10 features that three hidden ones mix, and 30 more, each with one feature shifted up or down."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(330, 3)) @ rng.normal(size=(3, 10)) + 0.3 * rng.normal(size=(330, 10))
    x = StandardScaler().fit(x[:300]).transform(x)
    planted = rng.integers(10, size=30)
    x[np.arange(300, 330), planted] += rng.choice([-shift, shift], 30)
    return x[:300], x[300:], planted


@pytest.mark.parametrize(("method", "shift"), [("nap", 2), ("sap", 3), ("recon", 3)])  # standard deviations
def test_the_planted_feature_comes_first(method, shift):
    first = []
    for seed in range(3):
        train, faulty, planted = correlated(seed, shift)
        falls = RaPP(method, epochs=60, random_state=seed).fit(train).explain(faulty)
        assert falls.shape == faulty.shape
        assert (falls >= 0).all(axis=None)
        first += [*(falls.to_numpy().argmax(axis=1) == planted)]
    assert np.mean(first) >= 0.9


def test_layers_that_repeat_each_other_share_the_score():
    """The layer hands the input on, so each of the two has half of NAP."""
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 3)))
    pathway = Pathway([nn.Identity()], torch.zeros_like, layers=[0, 1]).fit(x)
    parts, score = explain.by_layer(pathway, x, "nap"), pathway.score(x)["nap"]
    for part in parts.values():
        np.testing.assert_allclose(part, score / 2)


def test_rows_keep_their_names_and_none_may_be_flagged():
    train, faulty, _ = correlated(0)
    names = [f"f{j}" for j in range(10)]
    frame = pd.DataFrame(faulty, columns=names, index=range(7, 37))
    detector = RaPP(epochs=1, random_state=0).fit(pd.DataFrame(train, columns=names))
    for table in (detector.explain(frame[:3]), detector.explain(frame[:3], by="layer"), detector.scores(frame[:3])):
        assert table.index.tolist() == [7, 8, 9]
    for by, width in (("feature", 10), ("layer", 4)):
        assert detector.explain(frame[:0], by).shape == (0, width)


def test_wide_tables_are_explained_a_few_features_at_a_time(monkeypatch):
    X = np.random.default_rng(0).normal(size=(100, 12))
    detector = RaPP(epochs=2, random_state=0).fit(X)
    whole = detector.explain(X[:5])
    monkeypatch.setattr("rapp.explain.NUMBERS", 1200)  # of one row three or four features are changed at once
    np.testing.assert_allclose(detector.explain(X[:5]), whole, rtol=1e-6, atol=1e-9)
