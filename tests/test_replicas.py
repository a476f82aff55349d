from dataclasses import replace

import pytest
import torch

from rapp import store, training
from rapp.replicas import Stack
from rapp.settings import Settings, pinned
from rapp.training import Run, train, train_stack

EXACT = Settings(n_layers=3, bottleneck=12, epochs=20, batch=32, threads=1, precision="float64", device="cpu")
GENERATOR = torch.Generator().manual_seed(0)
VAL = torch.randn(50, 24, generator=GENERATOR)
# Of different lengths, so that their epochs end at different steps: 10, 9 and 13.
OF = [(torch.randn(n, 24, generator=GENERATOR), VAL, seed) for seed, n in enumerate((330, 300, 420))]


@pytest.mark.parametrize("model", ["ae", "vae", "aae"])
def test_each_replica_is_the_model_trained_alone(model):
    settings = replace(EXACT, model=model)
    stack = Stack([Run(*of[:2], settings, of[2]) for of in OF])
    alone = [Run(*of[:2], settings, of[2]) for of in OF]
    with pinned(1):
        for _ in range(200):
            stack.step()
            for run in alone:
                run.model.train()
                run.step(*run.draw())
    stack.settle()
    for mine, theirs in zip(stack.runs, alone, strict=True):
        x = VAL.double()
        torch.testing.assert_close(mine.model.eval()(x), theirs.model.eval()(x), rtol=1e-10, atol=1e-10)


def test_a_stack_ends_where_single_runs_end_and_fills_the_same_cache(tmp_path):
    settings = replace(EXACT, epochs=3)
    together = train_stack(OF, settings, tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 3
    for (x, val, seed), one in zip(OF, together, strict=True):
        alone = train(x, val, settings, seed, progress=False)
        assert len(one.history) == 3
        assert one.best_epoch == alone.best_epoch
        assert [e["val_error"] for e in one.history] == pytest.approx([e["val_error"] for e in alone.history], rel=1e-9)
        again = train(x, val, settings, seed, tmp_path, progress=False)
        assert again.history == one.history


@pytest.mark.parametrize("model", ["ae", "aae"])
def test_an_interrupted_stack_goes_on_bit_for_bit(tmp_path, monkeypatch, interrupted, model):
    settings = replace(EXACT, model=model, precision="float32", epochs=5)
    whole = train_stack(OF, settings, progress=False)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1)
    interrupted(Stack)
    with pytest.raises(KeyboardInterrupt):
        train_stack(OF, settings, tmp_path, progress=False)
    checkpoints = sorted(tmp_path.glob("*.checkpoint.safetensors"))
    assert len(checkpoints) == 3
    assert {"order", "generator"} <= set(store.load(checkpoints[0])[0])
    resumed = train_stack(OF, settings, tmp_path, progress=False)
    for a, b in zip(whole, resumed, strict=True):
        assert a.history == b.history
        assert all(torch.equal(value, b.model.state_dict()[name]) for name, value in a.model.state_dict().items())


def test_the_adversarial_part_pushes_codes_towards_the_prior():
    x = 4 + torch.randn(640, 24, generator=torch.Generator().manual_seed(1))
    settings = Settings(model="aae", n_layers=2, bottleneck=2, epochs=60, batch=64, threads=1, device="cpu")
    aae = train(x, x[:50], settings, progress=False).model
    ae = train(x, x[:50], replace(settings, model="ae"), progress=False).model
    off = {name: model.encoder(x).detach() for name, model in (("aae", aae), ("ae", ae))}
    distance = {name: float(h.mean(0).norm() + (h.std(0) - 1).abs().sum()) for name, h in off.items()}
    assert distance["aae"] < 0.5 * distance["ae"]
