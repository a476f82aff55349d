import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf, ShrunkCovariance

from rapp.pathway import Whitening, nap
from rappbook.chapters import whitenings

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(6, 6))
TRAIN = RNG.normal(size=(40, 6)) @ MIX + 3
TEST = RNG.normal(size=(9, 6)) @ MIX


def test_all_directions_are_nap():
    scores = whitenings.leading(whitenings.decompose(TRAIN), TEST)
    expected = nap(torch.from_numpy(TEST), Whitening().fit([torch.from_numpy(TRAIN)]))
    assert scores.shape == (9, 6)
    np.testing.assert_allclose(scores[:, -1], expected)


def test_dependent_features_leave_as_many_directions_as_are_independent():
    both = [np.hstack([d, d @ np.ones((6, 2))]) for d in (TRAIN, TEST)]
    expected = nap(torch.from_numpy(TEST), Whitening().fit([torch.from_numpy(TRAIN)]))
    np.testing.assert_allclose(whitenings.by_rank(*both, independent=6), expected)


@pytest.mark.parametrize("n", [40, 4])
def test_shrinkage_is_scikit_learns(n):
    """With fewer rows than features too, where the inverse reaches beyond the directions of the rows."""
    alphas = np.array([0.01, 0.3, 1.0])
    scores = whitenings.shrunk(whitenings.decompose(TRAIN[:n]), TEST, alphas)
    for alpha, column in zip(alphas, scores.T, strict=True):
        np.testing.assert_allclose(column, ShrunkCovariance(shrinkage=alpha).fit(TRAIN[:n]).mahalanobis(TEST))
    np.testing.assert_allclose(
        whitenings.by_ledoit_wolf(TRAIN[:n], TEST), LedoitWolf().fit(TRAIN[:n]).mahalanobis(TEST)
    )


def test_few_rows_that_whiten_themselves_are_all_equally_far():
    """A batch of no more rows than independent directions: every row has the same NAP, 1 − 1/n."""
    scores = whitenings.per_batch(TRAIN, 5, lambda fit, d: whitenings.by_rank(fit, d, 6))
    assert (scores == 0.8).all()


def test_a_batch_of_all_rows_is_a_fit_on_them():
    scores = whitenings.per_batch(TRAIN, 40, whitenings.by_ledoit_wolf)
    np.testing.assert_allclose(scores, whitenings.by_ledoit_wolf(TRAIN, TRAIN), atol=1e-8)
