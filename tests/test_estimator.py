import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from rapp import RaPP
from rapp.evaluation import auroc


@pytest.mark.filterwarnings("ignore::rapp.estimator.CalibrationWarning", "ignore::rapp.whitening.FewRowsWarning")
@pytest.mark.filterwarnings("ignore:y has the values")
@parametrize_with_checks([RaPP(epochs=3, random_state=0), RaPP("sap", "vae", epochs=2), RaPP("recon", "aae", epochs=2)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def tumours():
    """scikit-learn's breast-cancer table: benign rows are normal; some of them are kept for testing."""
    X, y = load_breast_cancer(return_X_y=True)
    benign = np.random.default_rng(0).permutation(X[y == 1])
    return benign[:250], np.concatenate([benign[250:], X[y == 0]]), np.arange(len(X) - 250) >= len(benign) - 250


@pytest.mark.parametrize("method", ["nap", "sap", "recon"])
def test_real_novelties_score_lower_and_the_threshold_holds(tumours, method):
    train, test, is_novel = tumours
    detector = make_pipeline(StandardScaler(), RaPP(method, random_state=0)).fit(train)
    assert auroc(is_novel, -detector.score_samples(test)) > 0.85
    assert np.mean(detector.predict(test[~is_novel]) == -1) < 0.2
    assert np.mean(detector.predict(test[is_novel]) == -1) > 0.5
    assert np.array_equal(detector.predict(test) == -1, detector.decision_function(test) < 0)


def test_cross_validation_wants_scikit_learns_sign(tumours):
    train, test, is_novel = tumours
    pipeline = make_pipeline(StandardScaler(), RaPP(epochs=10, random_state=0))
    X, novel = np.concatenate([train, test]), np.concatenate([np.zeros(len(train), bool), is_novel])
    rows = np.random.default_rng(0).permutation(len(X))
    folds = [(rows[~novel[rows]][:200], rows[-150:])]
    right = cross_validate(pipeline, X, np.where(novel, -1, 1), cv=folds, scoring="roc_auc")["test_score"][0]
    wrong = cross_validate(pipeline, X, novel.astype(int), cv=folds, scoring="roc_auc")["test_score"][0]
    assert right > 0.8
    assert wrong == pytest.approx(1 - right)


def test_one_seed_one_result(tumours):
    a, b = (RaPP(epochs=2, random_state=1).fit(tumours[0] / 100).score_samples(tumours[1]) for _ in range(2))
    assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "map"}, ["method='map'", "nap, sap, recon"]),
        ({"model": "gan"}, ["model='gan'", "ae, vae, aae"]),
        ({"bottleneck": 31}, ["bottleneck=31", "30"]),
        ({"bottleneck": True}, ["bottleneck=True"]),
        ({"epochs": 0}, ["epochs=0"]),
        ({"epochs": np.float64(2)}, ["epochs=", "whole number"]),
        ({"batch": True}, ["batch=True"]),
        ({"hidden": (5, 2.5)}, ["hidden=(5.0, 2.5)", "positive widths"]),
        ({"hidden": 5, "n_layers": 3}, ["hidden=(5,)", "positive widths"]),
        ({"device": "gpu"}, ["device='gpu'", "cpu, cuda"]),
        ({"false_alarm_rate": 1.0}, ["false_alarm_rate"]),
    ],
)
def test_bad_parameters_are_named(tumours, change, words):
    with pytest.raises(ValueError, match=r".+") as error:
        RaPP(**{"epochs": 1, **change}).fit(tumours[0])
    assert all(word in str(error.value) for word in words)


NORMAL = np.random.default_rng(0).normal(size=(400, 4)) @ np.random.default_rng(1).normal(size=(4, 4))


def test_held_out_rows_alone_set_the_threshold():
    detector = RaPP(epochs=2, random_state=0).fit(NORMAL[:100])
    held_out = np.sort(detector.pathway_.normal["nap"])
    assert len(held_out) == 20
    assert detector.pathway_.whitening.n_rows == 75  # 5 choose the epoch
    scores = -detector.score_samples(NORMAL[:100])
    assert np.isclose(held_out[:, None], scores).any(axis=1).all()
    assert -detector.offset_ == pytest.approx(held_out[-1], rel=1e-5)


def test_false_alarms_on_fresh_rows_are_what_was_asked_for():
    rng, rates = np.random.default_rng(0), []
    for seed in range(40):
        rows = rng.permutation(NORMAL)
        detector = RaPP(epochs=1, random_state=seed).fit(rows[:100])
        rates.append(np.mean(detector.predict(rows[100:]) == -1))
    assert 0.03 < np.mean(rates) < 0.07  # 1/21 is expected; a mean of 40 has a standard error of 0.008


@pytest.fixture(scope="module")
def labelled(tumours):
    train, test, is_novel = tumours
    rows = np.random.default_rng(1).permutation(len(train) + len(test))
    novel = np.concatenate([np.zeros(len(train), bool), is_novel])
    return np.concatenate([train, test])[rows] / 100, np.where(novel, -1, 1)[rows]


def test_rows_that_y_calls_novel_are_left_out(labelled, capsys):
    X, y = labelled
    expected = RaPP(epochs=2, random_state=0).fit(X[y == 1])
    cases = {-1: y, True: y == -1, "sick": np.where(y == 1, "well", "sick"), 2: (1 - y).astype(float)}
    for label, labels in cases.items():
        for of_kind in (labels, list(labels)):
            detector = RaPP(epochs=2, novel_label=label, random_state=0).fit(X, of_kind)
            assert np.array_equal(detector.score_samples(X), expected.score_samples(X))
    both = RaPP(epochs=2, random_state=0).fit_predict(X, y)
    assert np.array_equal(both, expected.predict(X))
    assert capsys.readouterr().err == ""
    RaPP(epochs=2, verbose=True, random_state=0).fit(X, y)
    assert "212 of 569 rows are left out, for their label is -1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.where(np.arange(100) < 99, -1, 1), "leaves 1 of 100 rows that are not -1; at least 2 are needed"),
        (np.ones(99), "99 labels for 100 rows"),
        ([1.0] * 99 + [np.nan], "1 missing labels"),
        (["ok"] * 99 + [None], "1 missing labels"),
    ],
)
def test_labels_that_cannot_be_used_are_told(y, words):
    with pytest.raises(ValueError, match=words):
        RaPP(epochs=1).fit(NORMAL[:100], y)


@pytest.mark.parametrize("y", [[0, 1] * 50, ["ok", "worn"] * 50])
def test_labels_of_which_none_is_novel_are_warned_of(y):
    with pytest.warns(UserWarning, match=r"y has the values .*none is -1, for novel: all rows are taken as normal"):
        RaPP(epochs=1).fit(NORMAL[:100], y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RaPP("sap", epochs=1, novel_label=None).fit(NORMAL[:100], y)


def test_fits_in_threads_side_by_side_are_those_of_one_after_the_other():
    def scores(seed):
        return RaPP(n_layers=3, epochs=2, random_state=seed).fit(NORMAL).score_samples(NORMAL)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(scores, range(12)))
    assert all(np.array_equal(mine, scores(seed)) for seed, mine in enumerate(together))


def test_what_torch_is_set_to_does_not_matter():
    expected = RaPP(epochs=1, random_state=0).fit(NORMAL).score_samples(NORMAL)
    for setting in (torch.no_grad, torch.inference_mode):
        with setting():
            again = RaPP(epochs=1, random_state=0).fit(NORMAL).score_samples(NORMAL)
        assert np.array_equal(again, expected)


def test_the_networks_widths_follow_what_is_said():
    def architecture(**params):
        return RaPP("sap", epochs=1, random_state=0, **params).fit(NORMAL).architecture_[2:]

    n_features = NORMAL.shape[1]
    width, *rest = architecture()
    assert 1 <= width <= n_features // 2
    assert rest == [3, (128, 64)]
    assert architecture(n_layers=4, bottleneck=n_features) == [n_features, 4, None]
    assert architecture(hidden=7, bottleneck=1) == [1, 2, (7,)]
