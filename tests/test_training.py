import os
import platform
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from rapp import stacks, training
from rapp.bfloat16 import PRODUCTS, Float32Products, has_units
from rapp.cache import load_tensors, save_tensors
from rapp.config import TrainingConfig
from rapp.stacks import Stack, train
from rapp.threads import pinned
from rapp.training import Run, reconstruction_error
from tests.conftest import ROOT

SMALL = TrainingConfig(n_layers=3, bottleneck=3, samples=2, epochs=4, batch=16, threads=1, device="cpu")
GENERATOR = torch.Generator().manual_seed(0)
X, X_VAL = (torch.randn(121, 2, generator=GENERATOR) @ torch.randn(2, 12, generator=GENERATOR)).split([101, 20])


def weights(trained):
    return trained.model.state_dict()


def same(a, b):
    return all(torch.equal(value, weights(b)[name]) for name, value in weights(a).items())


@pytest.mark.parametrize("model", ["ae", "vae", "aae"])
def test_one_seed_gives_the_same_bits_whatever_ran_before(model):
    config = replace(SMALL, model=model)
    first = train(X, X_VAL, config, seed=5, progress=False)
    state = torch.get_rng_state()
    torch.rand(7)
    second = train(X, X_VAL, config, seed=5, progress=False)
    assert same(first, second)
    assert [e["loss"] for e in first.history] == [e["loss"] for e in second.history]
    assert not same(first, train(X, X_VAL, config, seed=6, progress=False))
    torch.set_rng_state(state)
    train(X, X_VAL, config, seed=5, progress=False)
    assert torch.equal(torch.get_rng_state(), state)


def test_training_learns_and_keeps_the_best_epoch():
    trained = train(X, X_VAL, replace(SMALL, epochs=30), progress=False)
    errors = [entry["val_error"] for entry in trained.history]
    assert errors[-1] < 0.8 * errors[0]
    assert trained.best_epoch == 1 + errors.index(min(errors))
    assert reconstruction_error(trained.model, X_VAL) == pytest.approx(min(errors), rel=1e-6)
    assert not trained.model.training


@pytest.mark.parametrize("model", ["ae", "vae", "aae"])
def test_resuming_is_bit_equal(tmp_path, model):
    config = replace(SMALL, model=model, epochs=6)
    whole = Run(X, X_VAL, config, 1)
    for _ in range(6):
        whole.epoch()
    half = Run(X, X_VAL, config, 1)
    for _ in range(3):
        half.epoch()
    save_tensors(tmp_path / "c.safetensors", *half.state())
    resumed = Run(X, X_VAL, config, 1)
    resumed.restore(*load_tensors(tmp_path / "c.safetensors"))
    for _ in range(3):
        resumed.epoch()
    assert [e["loss"] for e in whole.history] == [e["loss"] for e in resumed.history]
    assert all(torch.equal(v, resumed.model.state_dict()[k]) for k, v in whole.model.state_dict().items())
    assert all(torch.equal(v, resumed.best[k]) for k, v in whole.best.items())


def test_train_takes_an_interrupted_run_up_from_its_checkpoint(tmp_path, monkeypatch, interrupted):
    whole = train(X, X_VAL, SMALL, seed=2, progress=False)
    monkeypatch.setattr(stacks, "CHECKPOINT_SECONDS", -1)
    monkeypatch.setattr(stacks, "CHECKPOINT_SHARE", float("inf"))
    calls = interrupted(Run)
    with pytest.raises(KeyboardInterrupt):
        train(X, X_VAL, SMALL, seed=2, cache=tmp_path, progress=False)
    assert [path.name.split(".", 1)[1] for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    resumed = train(X, X_VAL, SMALL, seed=2, cache=tmp_path, progress=False)
    assert len(calls) == 3 + 2  # two epochs were in the checkpoint, two of four remained
    assert same(whole, resumed)
    assert [path.name.split(".", 1)[1] for path in tmp_path.iterdir()] == ["safetensors"]


ENDLESS = replace(SMALL, epochs=10**9)  # however fast the machine is and however late we kill, it is not done
KILLED = """
import sys
from pathlib import Path
from rapp import stacks
from tests.test_training import ENDLESS, X, X_VAL
stacks.CHECKPOINT_SECONDS = 0
stacks.train(X, X_VAL, ENDLESS, seed=2, cache=Path(sys.argv[1]), progress=False)
"""


@pytest.mark.slow
def test_a_kill_leaves_a_whole_checkpoint(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT)
    deadline = time.monotonic() + 600  # where others keep all cores busy, importing torch alone can take a minute
    while not list(tmp_path.glob("*.checkpoint.safetensors")) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    (checkpoint,) = tmp_path.glob("*.checkpoint.safetensors")
    run = Run(X, X_VAL, ENDLESS, 2)
    run.restore(*load_tensors(checkpoint))
    assert run.history
    fresh = Run(X, X_VAL, run.config, 2)
    with pinned(SMALL.threads):
        for _ in run.history:
            fresh.epoch()
    assert run.history == fresh.history
    assert all(torch.equal(v, fresh.model.state_dict()[k]) for k, v in run.model.state_dict().items())


def test_the_cache_is_used_and_its_key_holds_what_matters(tmp_path):
    first = train(X, X_VAL, SMALL, seed=1, cache=tmp_path, progress=False)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    again = train(X, X_VAL, SMALL, seed=1, cache=tmp_path, progress=False)
    assert same(first, again)
    assert again.seconds == first.seconds
    assert again.history == first.history
    assert file.stat().st_mtime_ns == written
    for x, config, seed in ((X, SMALL, 2), (X, replace(SMALL, epochs=5), 1), (X + 1e-6, SMALL, 1)):
        train(x, X_VAL, config, seed=seed, cache=tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_cached_model_of_another_recipe_is_trained_anew(tmp_path, monkeypatch):
    train(X, X_VAL, SMALL, cache=tmp_path, progress=False)
    monkeypatch.setattr(stacks, "RECIPE", stacks.RECIPE + 1)
    train(X, X_VAL, SMALL, cache=tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_corrupted_cache_file_is_retrained(tmp_path, capsys):
    first = train(X, X_VAL, SMALL, cache=tmp_path, progress=False)
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[-50] ^= 4
    file.write_bytes(data)
    assert same(first, train(X, X_VAL, SMALL, cache=tmp_path, progress=False))
    assert file.name in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {file.name, file.name + ".damaged"}


@pytest.mark.parametrize("model", ["ae", "vae", "aae"])
@pytest.mark.parametrize("change", [{"precision": "bfloat16"}, {"precision": "float64"}, {"batch": 1000}])
def test_precisions_and_batches_larger_than_the_data(change, model):
    trained = train(X, X_VAL, replace(SMALL, model=model, epochs=20, **change), progress=False)
    expected = torch.float64 if change.get("precision") == "float64" else torch.float32
    assert next(trained.model.parameters()).dtype == expected
    assert trained.history[-1]["val_error"] < trained.history[0]["val_error"]


@pytest.mark.parametrize("model", ["ae", "vae", "aae"])
@pytest.mark.parametrize("size", [1, 2])
def test_without_units_for_bfloat16_products_are_exact_up_to_one_rounding(model, size, monkeypatch):
    """All products of a step take part, those of its gradients, too; losses and gradients are as with torch's own."""
    seen = []
    as_before = Float32Products.__torch_dispatch__

    def compared(self, func, types, args=(), kwargs=None):
        result = as_before(self, func, types, args, kwargs)
        if func.overloadpacket in PRODUCTS:
            assert result.dtype == torch.bfloat16
            exact = func(*(matrix.double() for matrix in args), **(kwargs or {}))
            torch.testing.assert_close(result.double(), exact, rtol=2**-8, atol=1e-4 * exact.abs().max().item())
            seen.append(func)
        return result

    monkeypatch.setattr(Float32Products, "__torch_dispatch__", compared)
    losses, gradients = [], []
    for units in (True, False):
        monkeypatch.setattr(training, "has_units", lambda units=units: units)
        config = replace(SMALL, model=model, precision="bfloat16", device="cpu")
        runs = [Run(X, X_VAL, config, seed) for seed in range(size)]
        for run in runs:
            run.model.train()
        worker = Stack(runs) if size > 1 else runs[0]
        losses.append(worker.step() if size > 1 else worker.step(*worker.draw()))
        moments = [moment for part in worker.adams.values() for moment in part.state_dict()["state"].values()]
        gradients.append(torch.cat([moment["exp_avg"].flatten() for moment in moments]))
        assert units is not bool(seen)
    assert len(seen) >= 3 * 2 * SMALL.n_layers - 1  # forward, gradients of weights, and of all inputs but the first
    torch.testing.assert_close(losses[1], losses[0], rtol=0.02, atol=0)
    assert (gradients[1] - gradients[0]).norm() < 0.1 * gradients[0].norm()


@pytest.mark.parametrize(
    ("machine", "capability", "has"),
    [("x86_64", "AVX2", False), ("AMD64", "DEFAULT", False), ("x86_64", "AVX512", True), ("arm64", "DEFAULT", True)],
)
def test_which_processors_are_slow_in_bfloat16(machine, capability, has, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert has_units() is has


def test_widths_can_be_set_and_threads_are_given_back():
    before = torch.get_num_threads()
    trained = train(X, X_VAL, replace(SMALL, hidden=(9, 5), threads=before + 1), progress=False)
    assert [layer[0].out_features for layer in trained.model.encoder] == [9, 5, 3]
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_compiling_trains_the_same_model_up_to_rounding():
    plain = train(X, X_VAL, replace(SMALL, epochs=2), progress=False)
    compiled = train(X, X_VAL, replace(SMALL, epochs=2, compile=True), progress=False)
    assert compiled.history[-1]["val_error"] == pytest.approx(plain.history[-1]["val_error"], rel=1e-2)


def test_a_log_says_what_is_trained_and_the_time_left_and_nothing_goes_to_stdout(capsys, monkeypatch):
    monkeypatch.setattr(stacks, "LOG_SECONDS", -1)
    train(X, X_VAL, SMALL, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rapp: ae, 4 epochs on cpu\n")
    assert re.search(r"ae, 1 of 4 epochs, about \d+ min left", err)  # how many, a busy machine decides


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "gan"}, ["model='gan'", "ae, vae, aae"]),
        ({"precision": "half"}, ["precision='half'", "bfloat16"]),
        ({"device": "tpu"}, ["device='tpu'", "auto"]),
        ({"epochs": -1}, ["epochs=-1", "at least 1"]),
        ({"epochs": 2.5}, ["epochs=2.5", "whole"]),
        ({"samples": -1}, ["samples=-1"]),
        ({"batch": 1}, ["batch=1", "batch normalisation"]),
        ({"lr": 0.0}, ["lr=0.0"]),
        ({"hidden": (4,)}, ["hidden=(4,)", "2 positive widths"]),
    ],
)
def test_bad_config_are_named(change, words):
    with pytest.raises(ValueError, match=r".+") as error:
        replace(SMALL, **change)
    assert all(word in str(error.value) for word in words)


def test_divergence_and_bad_rows_are_named():
    with pytest.raises(FloatingPointError, match="epoch 1"):
        train(X * 1e30, X_VAL * 1e30, SMALL, progress=False)
    with pytest.raises(ValueError, match=r"\(1, 12\)"):
        train(X[:1], X_VAL, SMALL, progress=False)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="'cuda' is not present"):
            train(X, X_VAL, replace(SMALL, device="cuda"), progress=False)
