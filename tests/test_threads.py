"""Forked processes: of the parent's OpenMP threads none is left there, and whoever waits for one waits for good."""

import multiprocessing

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import nn

from rapp import Pathway, RaPP, Whitening, detectors
from rapp.config import TrainingConfig
from rapp.data import load
from rapp.splits import split
from rapp.stacks import train
from rapp.threads import pinned

PATIENCE = 300  # seconds; a child needs a few, and on a machine that is busy with other things perhaps a minute
X = np.random.default_rng(0).normal(size=(400, 6))


@pytest.fixture(autouse=True)
def _threads_of_the_parent(monkeypatch):
    """Torch's threads and scikit-learn's have been at work here before the fork, so both pools exist."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with pinned(2):  # however many cores there are
        torch.randn(700, 700) @ torch.randn(700, 700)
        KMeans(2, n_init=1).fit(np.random.default_rng(0).normal(size=(5000, 4)))
        yield


def in_a_fork(work):
    """What ``work`` returns in a forked child; a child that hangs is killed, and the test fails."""
    context = multiprocessing.get_context("fork")
    mine, its = context.Pipe(duplex=False)
    child = context.Process(target=lambda: its.send(work()))
    child.start()
    its.close()
    try:
        assert mine.poll(PATIENCE), "the forked child hangs"
        return mine.recv()  # EOFError: it raised, and said why on stderr
    finally:
        child.kill()
        child.join()


def test_the_estimator_predicts_and_fits_in_forked_workers():
    estimator = RaPP(epochs=1, random_state=0).fit(X)
    expected = estimator.score_samples(X)
    np.testing.assert_allclose(in_a_fork(lambda: estimator.score_samples(X)), expected, rtol=1e-9)
    again = in_a_fork(lambda: RaPP(epochs=1, random_state=0).fit(X).score_samples(X))
    np.testing.assert_allclose(again, expected, rtol=1e-9)  # all of it runs on one thread, here as there


def test_the_estimators_scores_are_the_same_on_any_number_of_threads():
    wide = np.random.default_rng(1).normal(size=(3000, 40))  # enough for torch to share the work out
    estimator = RaPP(epochs=1, batch=500, random_state=0).fit(wide)
    one = estimator.score_samples(wide)
    with pinned(1):
        assert np.array_equal(estimator.score_samples(wide), one)
    assert torch.get_num_threads() == 2


def test_a_pathway_of_ones_own_model_fits_and_scores_in_forked_workers():
    encoder = nn.Sequential(nn.Sequential(nn.Linear(300, 200), nn.ReLU()), nn.Linear(200, 100)).eval()
    decoder = nn.Linear(100, 300).eval()
    x = torch.randn(600, 300, generator=torch.Generator().manual_seed(0))
    pathway = Pathway(encoder, decoder).fit(x)
    expected, d = pathway.score(x), pathway.differences(x)
    parts = [lambda: pathway.hidden(x)[1], lambda: pathway.reconstruct(x), lambda: pathway.whitening.parts(d)]
    for part in parts:
        np.testing.assert_allclose(in_a_fork(lambda part=part: part().numpy()), part().numpy(), rtol=1e-3, atol=1e-5)
    for again in in_a_fork(lambda: [pathway.score(x), Pathway(encoder, decoder).fit(x).score(x)]):
        for name, values in expected.items():
            np.testing.assert_allclose(again[name], values, rtol=1e-3)
    whitened = in_a_fork(lambda: Whitening().fit(pathway.differences(x).split(100)).transform(d).shape)
    assert whitened == (600, pathway.whitening.rank)


def test_training_on_two_threads_goes_on_in_forked_workers_on_one():
    rows = torch.from_numpy(X).float()
    settings = TrainingConfig(n_layers=2, bottleneck=2, epochs=1, threads=2, device="cpu")
    train(rows, rows, settings, progress=False)
    assert in_a_fork(lambda: (len(train(rows, rows, settings, progress=False).history), torch.get_num_threads())) == (
        1,
        2,
    )


@pytest.mark.parametrize("name", detectors.names())
def test_every_detector_scores_and_fits_in_forked_workers(name):
    data = load("digits")
    parts = split(data.y, "0", "unimodal")
    train_rows, val, test = (data.x[rows] for rows in (parts.train, parts.val, parts.test))
    detector = detectors.make(name, (8, 8), "tiny").fit(train_rows, val, progress=False)
    score, expected = next(iter(detector.scores(test).items()))

    def work():
        afresh = detectors.make(name, (8, 8), "tiny").fit(train_rows, val, progress=False)
        return detector.scores(test)[score], afresh.scores(test)[score].shape

    again, shape = in_a_fork(work)
    np.testing.assert_allclose(again, expected, rtol=1e-3, atol=1e-5)
    assert shape == expected.shape
