import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from rapp import Pathway, RaPP
from rapp.evaluation import auroc


@pytest.mark.filterwarnings("ignore:.* rows are few", "ignore:NAP measures", "ignore:y has the values")
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
    assert np.mean(detector.predict(test[is_novel]) == -1) > 0.6
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
        ({"hidden": (5, 0)}, ["hidden=(5, 0)", "positive widths"]),
        ({"device": "gpu"}, ["device='gpu'", "cpu, cuda"]),
        ({"false_alarm_rate": 1.0}, ["false_alarm_rate=1.0", "between 0 and 1"]),
        ({"false_alarm_rate": 0.01}, ["false_alarm_rate=0.01", "495 rows", "99 are held out", "with 50", "1/51"]),
    ],
)
def test_bad_parameters_are_named(tumours, change, words):
    with pytest.raises(ValueError, match=r".+") as error:
        RaPP(**{"epochs": 1, **change}).fit(tumours[0])
    assert all(word in str(error.value) for word in words)


NORMAL = np.random.default_rng(0).normal(size=(400, 4)) @ np.random.default_rng(1).normal(size=(4, 4))


def test_held_out_rows_alone_set_the_threshold():
    detector = RaPP(epochs=2, random_state=0).fit(NORMAL[:100])
    assert len(detector.held_out_scores_) == 20
    assert not detector.approximate_
    assert detector.pathway_.whitening.n_rows == 75  # 5 choose the epoch
    scores = -detector.score_samples(NORMAL[:100])
    assert np.isclose(detector.held_out_scores_[:, None], scores).any(axis=1).all()
    assert (scores > detector.held_out_scores_[-1]).sum() < 5  # no other row sets it
    assert -detector.offset_ == detector.held_out_scores_[-1]
    assert detector.p_value(NORMAL).min() == 1 / 21
    assert np.array_equal(detector.predict(NORMAL) == -1, detector.p_value(NORMAL) <= 0.05)


def test_false_alarms_on_fresh_rows_are_what_was_asked_for():
    rng, rates = np.random.default_rng(0), []
    for seed in range(40):
        rows = rng.permutation(NORMAL)
        detector = RaPP(epochs=1, random_state=seed).fit(rows[:100])
        rates.append(np.mean(detector.predict(rows[100:]) == -1))
    assert 0.03 < np.mean(rates) < 0.07  # 1/21 is expected; a mean of 40 has a standard error of 0.008


def test_another_rate_needs_no_fit(tumours):
    train, test, _ = tumours
    fitted, again = (RaPP(epochs=2, false_alarm_rate=rate, random_state=0).fit(train) for rate in (0.3, 0.1))
    assert fitted.offset_ > again.offset_
    assert np.array_equal(fitted.set_false_alarm_rate(0.1).predict(test), again.predict(test))
    assert fitted.get_params() == again.get_params()
    with pytest.raises(ValueError, match=r"needs 495 rows, of which 99 are held out; with 50 held out"):
        fitted.set_false_alarm_rate(0.01)
    assert fitted.false_alarm_rate == fitted.false_alarm_rate_ == 0.1


def test_few_rows_are_warned_of_and_refused_a_rate_by_name():
    with pytest.warns(UserWarning, match=r"40 rows are few: the 8 .* p-values are approximate, .* 0.11 instead"):
        detector = RaPP("sap", epochs=1, random_state=0).fit(NORMAL[:40])
    assert detector.approximate_
    assert detector.false_alarm_rate_ == detector.p_value(NORMAL).min() == 1 / 9
    with pytest.raises(ValueError, match="needs 95 rows, of which 19 are held out; with 8 held out the least is 1/9"):
        RaPP(false_alarm_rate=0.05, epochs=1).fit(NORMAL[:40])


def test_too_few_rows_for_nap_are_told_and_sap_is_not_bothered():
    wide = np.random.default_rng(0).normal(size=(100, 60))
    with pytest.warns(UserWarning, match=r"74 directions by 75 training rows, so that every one .* same NAP.* SAP"):
        detector = RaPP(epochs=1, random_state=0).fit(wide)
    d = detector.pathway_
    assert d.whitening.rank == 74
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RaPP("sap", epochs=1, random_state=0).fit(wide)
        RaPP(epochs=1, random_state=0).fit(NORMAL)
        for n in (30, 31):
            Pathway([torch.nn.Identity()], torch.zeros_like).fit(torch.from_numpy(wide[:n, :15]))
    layers = [torch.nn.Identity()]
    for n, words in (
        (29, "14|15 directions by 29 .* hardly differ: fit on at least 30"),
        (9, "8 directions by 9 .* the same"),
    ):
        with pytest.warns(UserWarning, match=words):
            pathway = Pathway(layers, torch.zeros_like).fit(torch.from_numpy(wide[:n, :15]))
    scores = pathway.score(torch.from_numpy(wide[:9, :15]))["nap"]
    np.testing.assert_allclose(scores, scores[0])


def test_one_fit_has_all_scores_and_keeps_its_method(tumours):
    train, test, _ = tumours
    fits = {method: RaPP(method, epochs=2, random_state=0).fit(train / 100) for method in ("nap", "sap", "recon")}
    scores = fits["nap"].scores(test / 100)
    assert list(scores) == ["recon", "sap", "nap"]
    for method, detector in fits.items():
        assert np.array_equal(scores[method], -detector.score_samples(test / 100))
    before = fits["nap"].predict(test / 100)
    assert np.array_equal(fits["nap"].set_params(method="sap").predict(test / 100), before)
    assert fits["nap"].method_ == "nap"
    assert fits["nap"].fit(train / 100).method_ == "sap"


@pytest.fixture(scope="module")
def labelled(tumours):
    train, test, is_novel = tumours
    rows = np.random.default_rng(1).permutation(len(train) + len(test))
    novel = np.concatenate([np.zeros(len(train), bool), is_novel])
    return np.concatenate([train, test])[rows], np.where(novel, -1, 1)[rows]


def test_rows_that_y_calls_novel_are_left_out(labelled, capsys):
    X, y = labelled
    expected = RaPP(epochs=2, random_state=0).fit(X[y == 1] / 100)
    cases = {-1: y, True: y == -1, "sick": np.where(y == 1, "well", "sick"), 2: (1 - y).astype(float)}
    for label, labels in cases.items():
        for of_kind in (labels, list(labels)):
            detector = RaPP(epochs=2, novel_label=label, random_state=0).fit(X / 100, of_kind)
            assert np.array_equal(detector.score_samples(X / 100), expected.score_samples(X / 100))
            assert detector.n_left_out_ == 212
    both = RaPP(epochs=2, random_state=0).fit_predict(X / 100, y)
    assert np.array_equal(both, expected.predict(X / 100))
    assert capsys.readouterr().err == ""
    RaPP(epochs=2, verbose=True, random_state=0).fit(X / 100, y)
    said = capsys.readouterr().err
    assert "212 of 569 rows are -1 in y: left out of training" in said
    assert "2 epochs on cpu" in said


def test_scikit_learns_model_selection_trains_on_normal_rows(labelled):
    X, y = labelled
    pipeline = make_pipeline(StandardScaler(), RaPP(epochs=10, random_state=0))
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    naive = cross_val_score(pipeline, X, y, cv=folds, scoring="roc_auc")
    splits = [(train[y[train] == 1], test) for train, test in folds.split(X, y)]
    by_hand = cross_val_score(pipeline, X, y, cv=splits, scoring="roc_auc")
    blind = cross_val_score(pipeline.set_params(rapp__novel_label=None), X, y, cv=folds, scoring="roc_auc")
    assert naive.mean() > blind.mean() + 0.03
    np.testing.assert_allclose(naive, by_hand, atol=0.01)  # the pipeline's scaler saw novel rows; it changes rounding
    search = GridSearchCV(RaPP(epochs=1, random_state=0), {"method": ["sap", "nap"], "n_layers": np.arange(2, 4)},
                          scoring="roc_auc", cv=folds, error_score="raise").fit(X / 100, y)  # fmt: skip
    assert search.best_estimator_.n_left_out_ == 212
    alone = RaPP(epochs=1, random_state=0, **search.best_params_).fit(X[y == 1] / 100)
    assert np.array_equal(search.score_samples(X / 100), alone.score_samples(X / 100))


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.where(np.arange(100) < 96, -1, 1), "leaves 4 of 100 rows that are not -1; at least 5 are needed"),
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
    with pytest.warns(UserWarning, match=r"y has the values .*none is novel_label=-1: all rows are taken as normal"):
        RaPP(epochs=1).fit(NORMAL[:100], y)


def test_fits_in_threads_side_by_side_are_those_of_one_after_the_other():
    def scores(seed):
        return RaPP(epochs=2, random_state=seed).fit(NORMAL).score_samples(NORMAL)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(scores, range(12)))
    assert all(np.array_equal(mine, scores(seed)) for seed, mine in enumerate(together))


def test_what_torch_is_set_to_does_not_matter():
    expected = RaPP(epochs=1, random_state=0).fit(NORMAL).score_samples(NORMAL)
    for setting in (torch.no_grad, torch.inference_mode):
        with setting():
            again = RaPP(epochs=1, random_state=0).fit(NORMAL).score_samples(NORMAL)
        assert np.array_equal(again, expected)


def test_a_scaler_before_it_changes_nothing_but_rounding(tumours):
    train, test, _ = tumours
    alone, scaled = RaPP(epochs=1, random_state=0), make_pipeline(StandardScaler(), RaPP(epochs=1, random_state=0))
    a, b = (detector.fit(train).score_samples(test) for detector in (alone, scaled))
    assert np.corrcoef(a, b)[0, 1] > 0.999
    far = RaPP(epochs=1, random_state=0).fit(train * 1e20 + 1e22).score_samples(test * 1e20 + 1e22)
    assert np.corrcoef(a, far)[0, 1] > 0.99


def test_numpys_numbers_and_widths_of_ones_own():
    numbers = {"n_layers": np.int64(3), "bottleneck": np.int32(2), "epochs": np.int64(2), "batch": np.int16(16),
               "lr": np.float32(1e-3), "false_alarm_rate": np.float64(0.1), "random_state": np.int64(0)}  # fmt: skip
    python = {name: value.item() for name, value in numbers.items()}
    a, b = (RaPP(**values).fit(NORMAL).score_samples(NORMAL) for values in (numbers, python))
    assert np.array_equal(a, b)
    assert len(RaPP(hidden=np.int64(5), epochs=1).fit(NORMAL).model_.encoder) == 2
    for hidden in ((7, 5, 3), [7, 5, 3], np.array([7, 5, 3])):
        widths = [
            layer[0].out_features for layer in RaPP(hidden=hidden, bottleneck=2, epochs=1).fit(NORMAL).model_.encoder
        ]
        assert widths == [7, 5, 3, 2]
