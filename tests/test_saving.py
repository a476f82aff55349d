"""What ``save`` writes, ``rapp.load`` reads to the last digit, or refuses in one line."""

import json
import multiprocessing
import os
import pickle
import signal
import struct
import time

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from torch import nn

import rapp
from rapp import Pathway, RaPP, Whitening, saving
from rapp.cache import DamagedFileError, load_tensors, save_tensors

X = np.random.default_rng(0).normal(size=(120, 6)) @ np.random.default_rng(1).normal(size=(6, 6))
FRAME = pd.DataFrame(X, columns=list("abcdef"))
NAME = "rapp.safetensors"


@pytest.fixture(scope="module")
def fitted():
    return RaPP(epochs=2, random_state=0).fit(FRAME)


@pytest.fixture
def folder(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": "sap", "model": "vae", "random_state": np.random.RandomState(0)},
        {"method": "recon", "model": "aae", "hidden": np.array([5, 4]), "bottleneck": np.int64(2)},
        {"novel_label": "sick", "lr": np.float32(1e-2), "epochs": np.int64(1), "false_alarm_rate": np.float64(0.25)},
    ],
)
def test_a_loaded_estimator_is_the_saved_one(changes, tmp_path):
    fitted = RaPP(**{"epochs": 2, "random_state": 0, **changes}).fit(FRAME).set_false_alarm_rate(0.2)
    fitted.save(tmp_path / "a" / "b")
    assert [file.name for file in (tmp_path / "a" / "b").iterdir()] == [NAME]
    loaded = rapp.load(tmp_path / "a" / "b")
    for method in ("predict", "score_samples", "decision_function", "p_value", "scores", "explain"):
        assert np.array_equal(getattr(loaded, method)(FRAME[:9]), getattr(fitted, method)(FRAME[:9])), method
    assert loaded.method_ == fitted.method
    assert loaded.false_alarm_rate_ == 0.2
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(FRAME[list("fedcba")])
    again = clone(loaded).set_params(random_state=0).fit(FRAME)
    if not isinstance(fitted.random_state, np.random.RandomState):
        assert np.array_equal(again.score_samples(FRAME), fitted.score_samples(FRAME))
    loaded.save(tmp_path / "again")
    assert load_tensors(tmp_path / "again" / NAME)[1] == load_tensors(tmp_path / "a" / "b" / NAME)[1]


def test_a_whitening_goes_with_its_own_network(tmp_path):
    encoder = nn.Sequential(nn.Linear(6, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2))).double().eval()
    decoder, x = nn.Linear(2, 6).double().eval(), torch.from_numpy(X)
    pathway = Pathway(encoder, decoder, include_input=True).fit(x)
    rapp.save_whitening(pathway.whitening, tmp_path)
    again = Pathway(encoder, decoder, include_input=True, whitening=rapp.load(tmp_path))
    assert np.array_equal(again.score(x)["nap"], pathway.score(x)["nap"])
    with pytest.raises(ValueError, match="fitted to a pathway of 12 activations, got 6"):
        Pathway(encoder, decoder, whitening=rapp.load(tmp_path)).score(x)
    with pytest.raises(ValueError, match="not fitted"):
        rapp.save_whitening(Whitening(), tmp_path)


def truncated(file):
    file.write_bytes(file.read_bytes()[:-100])


def cut_in_the_header(file):
    file.write_bytes(file.read_bytes()[:200])


def empty(file):
    file.write_bytes(b"")


def a_bit_flipped(file):
    data = bytearray(file.read_bytes())
    data[-1000] ^= 1
    file.write_bytes(data)


def another_threshold(file):
    data = file.read_bytes()
    assert b'offset_\\": -' in data
    file.write_bytes(data.replace(b'offset_\\": -', b'offset_\\":  '))


def pickled(file):
    file.write_bytes(pickle.dumps({"a": 1}))


def of_another_program(file):
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0\0\0")


def a_cached_model(file):
    save_tensors(file, {"a": torch.ones(1)}, {"key": "k"})


def newer(file):
    about = {"format": saving.FORMAT + 1, "kind": "RaPP", "state": {}}
    save_tensors(file, {"a": torch.ones(1)}, about)


def missing(file):
    file.unlink()


def a_folder(file):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncated, "no readable safetensors file"),
        (cut_in_the_header, "no readable safetensors file"),
        (empty, "no readable safetensors file"),
        (pickled, "no readable safetensors file"),
        (a_bit_flipped, "does not match its own SHA-256"),
        (another_threshold, "does not match its own SHA-256"),
        (of_another_program, "was not written by rapp"),
        (a_cached_model, "but no saved model"),
        (newer, "has format 2, this rapp reads 1: update rapp"),
        (missing, "holds no saved estimator"),
        (a_folder, "holds no saved estimator"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(folder, damage, words):
    damage(folder / NAME)
    with pytest.raises(DamagedFileError, match=words) as error:
        rapp.load(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_folder_and_no_fit(tmp_path):
    with pytest.raises(DamagedFileError, match="holds no saved estimator"):
        rapp.load(tmp_path / "none")
    with pytest.raises(ValueError, match="not fitted"):
        RaPP().save(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_full_disk_leaves_the_old_model(fitted, folder, tmp_path):
    """The limit on a file's size fails a write where a full disk would; in a process of its own, for it stays."""

    def work():
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
        try:
            fitted.save(folder)
        except OSError:
            os._exit(7)

    child = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    child.start()
    child.join(60)
    child.kill()
    assert child.exitcode == 7
    assert [file.name for file in folder.iterdir()] == [NAME]
    assert np.array_equal(rapp.load(folder).predict(FRAME), fitted.predict(FRAME))


@pytest.mark.slow
def test_killed_savers_and_two_at_once_leave_a_whole_model(fitted, folder):
    """Two processes save different models into one folder and are killed in the midst of it, twenty times."""
    other = RaPP(epochs=1, random_state=1).fit(FRAME)
    either = [model.score_samples(FRAME).tolist() for model in (fitted, other)]

    def work(model):
        while True:
            model.save(folder)

    context, random = multiprocessing.get_context("fork"), np.random.default_rng(0)
    for _ in range(20):
        children = [context.Process(target=work, args=(model,), daemon=True) for model in (fitted, other)]
        for child in children:
            child.start()
        try:
            for _ in range(3):
                assert rapp.load(folder).score_samples(FRAME).tolist() in either
            time.sleep(random.uniform(0, 0.05))
        finally:
            for child in children:
                child.kill()
                child.join()
        assert rapp.load(folder).score_samples(FRAME).tolist() in either
