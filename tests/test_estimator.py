import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from rapp import RaPP
from rapp.evaluation import auroc


@pytest.mark.filterwarnings("ignore::rapp.estimator.CalibrationWarning", "ignore::rapp.whitening.FewRowsWarning")
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
        ({"epochs": 0}, ["epochs=0"]),
        ({"false_alarm_rate": 1.0}, ["false_alarm_rate"]),
    ],
)
def test_bad_parameters_are_named(tumours, change, words):
    with pytest.raises(ValueError, match=r".+") as error:
        RaPP(**{"epochs": 1, **change}).fit(tumours[0])
    assert all(word in str(error.value) for word in words)
