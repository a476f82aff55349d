"""The estimator in use: calibrated, explained, saved, within scikit-learn's searches."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import rapp
from rapp import RaPP, calibration, load
from rapp.cache import DamagedFileError
from rapp.estimator import CalibrationWarning

QUICK = {"epochs": 5, "random_state": 0}


def correlated(n, seed=0):
    """Rows of six features that go together, (n, 6)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(n, 6))


@pytest.fixture(scope="module")
def fitted():
    X = correlated(500)
    names = [f"f{i}" for i in range(6)]
    return RaPP(epochs=60, random_state=0).fit(pd.DataFrame(X[:400], columns=names)), pd.DataFrame(
        X[400:], columns=names
    )


def test_the_threshold_is_the_order_statistic_and_p_values_agree(fitted):
    detector, X = fitted
    normal = np.sort(detector.pathway_.normal["nap"])
    assert len(normal) == 80
    for rate, k in ((0.05, 77), (0.1, 73), (0.5, 41)):
        assert -detector.set_false_alarm_rate(rate).offset_ == pytest.approx(normal[k - 1], rel=1e-5)
        novel = detector.predict(X) == -1
        assert (novel == (detector.p_value(X) <= rate)).all()
        assert novel.mean() < rate + 0.15
    with pytest.raises(ValueError, match=r"needs at least 999 held-out normal rows, and there are 80"):
        detector.set_false_alarm_rate(0.001)
    detector.set_false_alarm_rate(0.05)


def test_of_exchangeable_rows_no_more_than_promised_are_called_novel():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(400):
        scores = rng.gamma(2, size=19 + 200)
        shares.append((scores[19:] > calibration.threshold(scores[:19], 0.05)).mean())
    assert np.mean(shares) == pytest.approx(0.05, abs=0.012)  # ten standard errors of the mean are .025


def test_among_equal_rows_the_promise_holds_row_by_row_too():
    def draw(seed, n):
        return np.random.default_rng(seed).integers(0, 2, (n, 3)).astype(float)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector = RaPP(**QUICK).fit(draw(2, 200))
    kinds = np.unique(draw(9, 1000), axis=0)
    alone = [detector.p_value(row[None])[0] for row in kinds]
    assert alone == detector.p_value(kinds).tolist()
    assert [p <= 0.05 for p in alone] == (detector.predict(kinds) == -1).tolist()
    with pytest.raises(NotFittedError):
        RaPP().p_value(kinds)


def test_few_rows_are_told_and_a_rate_out_of_reach_is_refused():
    with pytest.warns(
        CalibrationWarning, match=r"fewer than 95 rows, .* 11.1% are approximate; 8 rows that .* no less"
    ):
        assert RaPP(**QUICK).fit(correlated(40)).false_alarm_rate_ == pytest.approx(1 / 9)
    with pytest.raises(ValueError, match=r"false_alarm_rate=0.05 needs 19 rows .*, a fifth of 95; there are 40 rows"):
        RaPP(false_alarm_rate=0.05, **QUICK).fit(correlated(40))
    with pytest.warns(CalibrationWarning, match=r"a false-alarm rate of 20.0% are approximate$"):
        RaPP(false_alarm_rate=0.2, **QUICK).fit(correlated(40))
    with pytest.raises(ValueError, match=r"needs 99 rows that calibrate, a fifth of 495; there are 100 rows"):
        RaPP(false_alarm_rate=0.01, **QUICK).fit(correlated(100))
    with warnings.catch_warnings():
        warnings.simplefilter("error", CalibrationWarning)
        RaPP(**QUICK).fit(correlated(95))


def test_all_scores_come_from_one_fit_and_the_fitted_method_counts(fitted):
    detector, X = fitted
    scores = detector.scores(X)
    assert list(scores) == ["recon", "sap", "nap"]
    before = detector.predict(X)
    detector.set_params(method="recon")
    np.testing.assert_array_equal(detector.score_samples(X), -scores["nap"])
    np.testing.assert_array_equal(detector.predict(X), before)
    detector.set_params(method="nap")


def test_numpy_numbers_are_numbers(tmp_path):
    search = {"n_layers": np.arange(2, 4), "lr": np.float32([1e-3]), "epochs": np.int64([2]), "batch": np.array([16])}
    grid = GridSearchCV(RaPP(random_state=0), search, scoring=lambda d, X, y=None: d.score_samples(X).mean(), cv=2)
    assert grid.fit(correlated(200)).best_params_["epochs"] == 2
    for hidden, kept in ((np.array([5, 4]), (5, 4)), ([np.int64(5), 4], (5, 4)), (16, (16,))):
        RaPP(hidden=hidden, bottleneck=np.int32(2), **QUICK).fit(correlated(100)).save(tmp_path)
        assert load(tmp_path).hidden == kept


def test_novel_rows_are_left_out_of_training_wherever_scikit_learn_calls_fit():
    rng = np.random.default_rng(1)
    X = np.concatenate([correlated(300), 3 * rng.normal(size=(100, 6))])
    y = np.repeat([1, -1], [300, 100])
    pipeline = make_pipeline(StandardScaler(), RaPP(epochs=20, random_state=0))
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    assert cross_val_score(pipeline, X, y, cv=folds, scoring="roc_auc").min() > 0.9
    found = GridSearchCV(RaPP(**QUICK), {"method": ["recon", "nap"]}, scoring="roc_auc", cv=folds).fit(X, y)
    alone = RaPP(found.best_params_["method"], **QUICK).fit(X[:300])
    np.testing.assert_array_equal(found.best_estimator_.score_samples(X), alone.score_samples(X))
    with pytest.raises(ValueError, match=r"y leaves 0 of 100 rows that are not -1"):
        RaPP(**QUICK).fit(X[300:], y[300:])
    with pytest.raises(ValueError, match="5 labels for 400 rows"):
        RaPP(**QUICK).fit(X, y[:5])


def test_a_planted_fault_is_named(fitted):
    detector, X = fitted
    rng = np.random.default_rng(2)
    planted = rng.integers(0, 6, len(X))
    faulty = X.copy()
    for row, feature in enumerate(planted):
        faulty.iloc[row, feature] += 3 * X.to_numpy().std()
    why = detector.explain(faulty)
    assert list(why.columns) == list(X.columns)
    assert list(why.index) == list(X.index)
    assert (why.to_numpy() >= 0).all()
    assert (why.to_numpy().argmax(1) == planted).mean() >= 0.9


@pytest.mark.parametrize("method", ["nap", "sap", "recon"])
def test_the_layers_parts_sum_to_the_score(fitted, method):
    detector, X = fitted
    detector.method_ = method
    parts = detector.explain(X, by="layer")
    assert list(parts.columns) == ([0] if method == "recon" else [0, 1, 2, 3])
    np.testing.assert_allclose(parts.sum(axis=1), detector.scores(X)[method], rtol=1e-6)
    detector.method_ = "nap"
    with pytest.raises(ValueError, match="by='pixel' is unknown; allowed: feature, layer"):
        detector.explain(X, by="pixel")


@pytest.mark.parametrize("model", ["ae", "vae", "aae"])
def test_what_is_saved_scores_the_same(tmp_path, model):
    X = correlated(150)
    detector = RaPP("sap", model, hidden=(5, 4), **QUICK).fit(X)
    detector.save(tmp_path / "model")
    again = rapp.load(tmp_path / "model")
    for name, values in detector.scores(X).items():
        np.testing.assert_array_equal(again.scores(X)[name], values)
    np.testing.assert_array_equal(again.predict(X), detector.predict(X))
    np.testing.assert_array_equal(again.p_value(X), detector.p_value(X))
    np.testing.assert_array_equal(again.explain(X[:3]), detector.explain(X[:3]))
    assert again.get_params() == detector.get_params()
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["rapp.safetensors"]


def test_names_of_features_are_kept(tmp_path, fitted):
    detector, X = fitted
    detector.save(tmp_path)
    again = rapp.load(tmp_path)
    assert list(again.feature_names_in_) == list(X.columns)
    np.testing.assert_array_equal(again.predict(X), detector.predict(X))
    with pytest.raises(ValueError, match="feature names"):
        again.predict(X.rename(columns={"f0": "g0"}))


def test_what_cannot_be_loaded_is_one_line(tmp_path, fitted):
    detector, _ = fitted
    detector.save(tmp_path)
    path, whole = tmp_path / "rapp.safetensors", (tmp_path / "rapp.safetensors").read_bytes()
    with pytest.raises(DamagedFileError, match="holds no saved estimator"):
        rapp.load(tmp_path / "nowhere")
    path.write_bytes(whole[:-100])
    with pytest.raises(DamagedFileError, match="no readable safetensors file"):
        rapp.load(tmp_path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DamagedFileError, match="does not match its own SHA-256"):
        rapp.load(tmp_path)
    path.write_bytes(b"\x80\x04K\x01.")  # a pickle
    with pytest.raises(DamagedFileError):
        rapp.load(tmp_path)


def test_a_newer_file_is_told(tmp_path, fitted, monkeypatch):
    monkeypatch.setattr("rapp.saving.FORMAT", 2)
    fitted[0].save(tmp_path)
    monkeypatch.undo()
    with pytest.raises(DamagedFileError, match="has format 2, this rapp reads 1: update rapp"):
        rapp.load(tmp_path)


def test_rows_may_run_backwards_and_masks_are_refused():
    X = correlated(60, seed=1)
    detector = RaPP(**QUICK).fit(correlated(100))
    np.testing.assert_allclose(detector.score_samples(X[::-1]), detector.score_samples(X)[::-1])
    assert len(detector.explain(X[::-1][:3])) == 3
    with pytest.raises(ValueError, match="contains NaN"):
        detector.predict(np.ma.masked_greater(X, 1))


def test_what_failed_to_fit_is_not_fitted():
    X = correlated(100)
    X[:20] = 1e200
    detector = RaPP(**QUICK)
    with pytest.raises((ValueError, FloatingPointError)):
        detector.fit(X)
    with pytest.raises(NotFittedError):
        detector.predict(X)
