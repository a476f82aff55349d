from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import book
import keys
from rapp.config import ParameterError, TrainingConfig, parse
from rapp.data import DataError, load
from rapp.detectors import config_for
from rapp.detectors.autoencoder import bottleneck
from rappbook import parameters
from rappbook.parameters import check, other_classes
from tests.conftest import ROOT


def test_other_classes(blobs, monkeypatch):
    assert other_classes(blobs, "1") == ["0", "2"]
    assert other_classes(blobs, "1", "two one") == ["2"]
    monkeypatch.setattr(parameters, "FEW", 10)
    assert other_classes(blobs, "0") == ["1", "2"]
    assert other_classes(blobs, "0", "all") == ["1", "2"]
    assert other_classes(replace(blobs, normal="0"), "1", "all") == []
    with pytest.raises(DataError, match="target 'ten'"):
        other_classes(blobs, "0", "ten")


def test_profiles_and_changes():
    data = load("digits")
    assert config_for("paper", data, "vae") == TrainingConfig(model="vae", epochs=100, threads=1)
    quick = config_for("quick", data, "ae")
    assert (quick.n_layers, quick.hidden, quick.batch) == (4, (48, 36, 27), 32)
    assert config_for("quick", data, "vae", epochs=7, precision=None).epochs == 7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"profile": "fast"}, ["'fast'", "tiny, quick, paper"]),
        ({"epochs": -1}, ["epochs=-1"]),
        ({"epoch": 3}, ["'epoch'", "epochs"]),
        ({"seeds": 0}, ["seeds=0"]),
        ({"seeds": True}, ["seeds=True"]),
        ({"setting": "both"}, ["'both'", "multimodal, unimodal"]),
        ({"precision": "int8"}, ["'int8'", "float32"]),
        ({"device": "tpu"}, ["'tpu'", "cpu"]),
        ({"contamination": -0.1}, ["contamination", "-0.1"]),
        ({"contamination": 0.5}, ["contamination=0.5", "none to test"]),
        ({"contamination": "a lot"}, ["digits"]),
    ],
)
def test_wrong_parameters_are_named(change, words):
    right = {"dataset": "digits", "profile": "tiny", "target": 1, "seeds": 1}
    check(**right)
    with pytest.raises(ParameterError) as error:
        check(**{**right, **change})
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_wrong_data_are_named():
    with pytest.raises(DataError, match="target 11"):
        check("digits", "tiny", 11, 1)
    with pytest.raises(DataError, match="label='x'"):
        check("digits", label="x")
    with pytest.raises(DataError, match=r"other='digits'.*\(28, 28\), not \(8, 8\)"):
        check("mnist-5k", other="digits")


def test_a_tables_bottleneck_is_as_wide_as_what_explains_its_variance(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 9)) + 1e-3 * rng.normal(size=(300, 9))
    assert bottleneck(x * rng.uniform(1, 1e6, 9)) in (2, 3)
    frame = pd.DataFrame(x).assign(label=rng.integers(0, 2, 300))
    frame.columns = frame.columns.astype(str)
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = check(str(tmp_path / "t.csv"), label="label")
    assert config_for("quick", data, "vae").bottleneck == bottleneck(data.x)
    assert config_for("quick", data, "vae", bottleneck=5).bottleneck == 5


def test_a_table_gives_linear_detectors_the_width_of_its_bottleneck(blobs):
    table = replace(blobs, image_shape=None)
    for name in ("pca", "linear-ae"):
        of = config_for("tiny", table, name)
        assert dict(of.options)["n_components"] == bottleneck(table.x)
        assert dict(config_for("tiny", blobs, name).options)["n_components"] == 20
    with pytest.raises(ParameterError, match="anogan needs images, and blobs is a table"):
        config_for("tiny", table, "anogan")


@pytest.fixture
def table(tmp_path):
    kind = np.repeat(["ok", "scratch", "dent"], [30, 12, 8])
    path = tmp_path / "t.csv"
    pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3))).assign(kind=kind, **{"4": kind}).to_csv(
        path, index=False
    )
    return str(path)


def test_the_class_that_is_chosen_for_the_user_is_said_once(table, capsys, monkeypatch):
    monkeypatch.setenv("RAPP_SAID", "")
    for _ in range(2):
        check(table, "tiny", label="kind")
    assert (
        capsys.readouterr().err.count("t.csv: novel is 'dent', the rarest class (8 of 50 rows); another: PARAMS=") == 1
    )
    check(table, "tiny", label="kind", target="scratch")
    check(table, "tiny", label="kind=ok")
    assert "novel is" not in capsys.readouterr().err


def test_what_is_said_of_a_table_is_said_before_its_notebooks_run(table, capsys, monkeypatch):
    monkeypatch.setenv("RAPP_SAID", "")
    runs = [keys.Run(ROOT / "notebooks" / "03_rapp.ipynb", ROOT, str(table), "", "")]
    assert book.check(keys.asked(table, "", "kind=ok", "tiny", "seeds=2"), runs) == 0
    assert capsys.readouterr().err.count("normal is 'ok', as you said") == 1
    check(table, "tiny", label="kind=ok")
    assert capsys.readouterr().err == ""
    assert book.check(keys.asked(table, "", "kinds", "tiny", ""), runs) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: t.csv has no column 'kinds'; did you mean 'kind'?")


def test_what_is_normal_is_known_to_chapters(table):
    data = check(table, "tiny", label="kind=ok")
    assert (data.target(), other_classes(data, data.target())) == ("not ok", [])
    with pytest.raises(ParameterError, match="target='ok' is the class that is normal"):
        check(table, "tiny", "ok", label="kind=ok")
    with pytest.raises(DataError, match=r"target 'dent' is no class of t.csv; allowed: ok, not ok"):
        check(table, "tiny", "dent", label="kind=ok")


def test_papermill_makes_a_number_of_a_label(table):
    assert check(table, "tiny", label=4).classes == ("dent", "ok", "scratch")


def test_params_are_no_place_for_what_has_a_word_of_its_own():
    with pytest.raises(ParameterError, match="say NORMAL=ok instead of 'normal=ok'"):
        parse("normal=ok")
