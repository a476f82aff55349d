from dataclasses import replace

import pytest
import torch

from rapp import stacks
from rapp.cache import load_tensors
from rapp.config import TrainingConfig
from rapp.stacks import Stack, train, train_stack
from rapp.threads import pinned
from rapp.training import Run, reconstruction_error

EXACT = TrainingConfig(n_layers=3, bottleneck=12, epochs=20, batch=32, threads=1, precision="float64", device="cpu")
GENERATOR = torch.Generator().manual_seed(0)
VAL = torch.randn(50, 24, generator=GENERATOR)
# Of different lengths, so that their epochs end at different steps: 10, 9 and 13.
INPUTS = [(torch.randn(n, 24, generator=GENERATOR), VAL, seed) for seed, n in enumerate((330, 300, 420))]


def same(a, b):
    return all(torch.equal(value, b.model.state_dict()[name]) for name, value in a.model.state_dict().items())


@pytest.mark.parametrize("model", ["ae", "vae", "aae"])
def test_each_replica_is_the_model_trained_alone(model):
    """Through 30 steps, in which each replica begins an epoch twice at least.

    The first losses differ by rounding alone. Training amplifies it: where a channel is linear in a whole batch, batch
    normalisation cancels its bias, whose gradient is then rounding and nothing else; Adam divides it by 1e-8. Over 30
    models of each kind, later losses were up to 3e-11 apart and outputs up to 3e-10. The bounds are a hundred times
    that and more, and any other rows, noise or statistics would be off by 1e-3.
    """
    config = replace(EXACT, model=model)
    stack = Stack([Run(*of[:2], config, of[2]) for of in INPUTS])
    alone = [Run(*of[:2], config, of[2]) for of in INPUTS]
    with pinned(1):
        for step in range(30):
            losses = stack.step().tolist()
            for run in alone:
                run.model.train()
            mine = [run.step(*run.draw()).item() for run in alone]
            assert losses == pytest.approx(mine, rel=5e-9 if step else 1e-13)
    stack.settle()
    for mine, theirs in zip(stack.runs, alone, strict=True):
        x = VAL.double()
        torch.testing.assert_close(mine.model.eval()(x), theirs.model.eval()(x), rtol=1e-7, atol=1e-7)


def test_a_stack_ends_where_single_runs_end_and_fills_a_cache_of_its_own_size(tmp_path):
    config = replace(EXACT, epochs=3)
    together = train_stack(INPUTS, config, tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 3
    for (x, val, seed), one in zip(INPUTS, together, strict=True):
        alone = train(x, val, config, seed, tmp_path, progress=False)
        assert len(one.history) == 3
        assert one.best_epoch == alone.best_epoch
        assert [e["val_error"] for e in one.history] == pytest.approx([e["val_error"] for e in alone.history], rel=1e-9)
    assert len(list(tmp_path.iterdir())) == 6  # rounding depends on the number of networks, so the models differ
    again = train_stack(INPUTS[1:2], config, tmp_path, progress=False, fill=3)[0]
    assert again.history == together[1].history
    assert (again.stack, alone.stack) == (3, 1)


@pytest.mark.parametrize("model", ["ae", "vae", "aae"])
def test_a_replica_does_not_depend_on_its_place_and_neighbours(model):
    config = replace(EXACT, model=model, precision="float32", epochs=2)
    alone = [train_stack([one], config, progress=False, fill=8)[0] for one in INPUTS]
    for order in ((0, 1, 2), (2, 0), (1, 2, 0, 1, 2, 0, 1, 2)):
        for which, one in zip(order, train_stack([INPUTS[i] for i in order], config, None, False, fill=8), strict=True):
            assert same(one, alone[which])


def test_the_models_of_earlier_epochs_are_those_of_shorter_runs(tmp_path):
    config = replace(EXACT, epochs=5)
    (whole,) = train_stack(INPUTS[:1], config, tmp_path, progress=False, marks=(2, 3))
    assert sorted(whole.earlier) == [2, 3]
    for epochs, earlier in whole.earlier.items():
        short = train(*INPUTS[0][:2], replace(config, epochs=epochs), INPUTS[0][2], progress=False)
        assert same(earlier, short)
        assert (earlier.history, earlier.best_epoch) == (short.history, short.best_epoch)
        assert earlier.config == short.config
    again = train_stack(INPUTS[:1], config, tmp_path, progress=False, marks=(2, 3))[0]  # of the cache
    assert same(again.earlier[2], whole.earlier[2])
    more = train_stack(INPUTS[:1], config, tmp_path, progress=False, marks=(2, 4))[0]  # which lacks what is asked for
    assert sorted(more.earlier) == [2, 4]


def test_the_model_of_an_earlier_epoch_is_the_best_until_then_and_not_the_last():
    """The validation rows lie on the other side of the training rows, so the more it learns the worse it does there."""
    x, val, seed = INPUTS[0][0].double() + 10, VAL.double() - 10, 0
    (whole,) = train_stack([(x, val, seed)], replace(EXACT, epochs=4, lr=0.01), progress=False, marks=(3,))
    earlier = whole.earlier[3]
    errors = [entry["val_error"] for entry in earlier.history]
    assert errors[-1] > 1.1 * min(errors)
    assert reconstruction_error(earlier.model, val) == pytest.approx(min(errors))


@pytest.mark.parametrize("model", ["ae", "aae"])
def test_an_interrupted_stack_goes_on_bit_for_bit(tmp_path, monkeypatch, interrupted, model):
    config = replace(EXACT, model=model, precision="float32", epochs=5)
    whole = train_stack(INPUTS, config, progress=False, fill=4, marks=(1, 4))
    monkeypatch.setattr(stacks, "CHECKPOINT_SECONDS", -1)
    monkeypatch.setattr(stacks, "CHECKPOINT_SHARE", float("inf"))
    interrupted(Stack)
    with pytest.raises(KeyboardInterrupt):
        train_stack(INPUTS, config, tmp_path, progress=False, fill=4, marks=(1, 4))
    checkpoints = sorted(tmp_path.glob("*.checkpoint.safetensors"))
    assert len(checkpoints) == 3
    assert {"order", "generator"} <= set(load_tensors(checkpoints[0])[0])
    resumed = train_stack(INPUTS, config, tmp_path, progress=False, fill=4, marks=(1, 4))
    for a, b in zip(whole, resumed, strict=True):
        assert a.history == b.history
        assert same(a, b)
        assert all(same(a.earlier[epochs], b.earlier[epochs]) for epochs in (1, 4))


def test_a_checkpoint_that_lies_behind_a_mark_is_not_gone_on_with(tmp_path, monkeypatch, interrupted):
    config = replace(EXACT, epochs=5)
    monkeypatch.setattr(stacks, "CHECKPOINT_SECONDS", -1)
    monkeypatch.setattr(stacks, "CHECKPOINT_SHARE", float("inf"))
    interrupted(Stack)
    with pytest.raises(KeyboardInterrupt):
        train_stack(INPUTS, config, tmp_path, progress=False, fill=4)  # was not asked to keep the first epoch's
    assert any(tmp_path.glob("*.checkpoint.safetensors"))
    asked = train_stack(INPUTS, config, tmp_path, progress=False, fill=4, marks=(1,))
    expected = train_stack(INPUTS, config, progress=False, fill=4, marks=(1,))
    for a, b in zip(asked, expected, strict=True):
        assert same(a, b)
        assert same(a.earlier[1], b.earlier[1])


@pytest.mark.slow
def test_the_adversarial_part_pushes_codes_towards_the_prior():
    x = 4 + torch.randn(640, 24, generator=torch.Generator().manual_seed(1))
    config = TrainingConfig(n_layers=2, bottleneck=2, epochs=60, batch=64, threads=1, device="cpu")
    distance = {}
    for name in ("aae", "ae"):
        seeds = train_stack([(x, x[:50], seed) for seed in range(4)], replace(config, model=name), progress=False)
        codes = [one.model.encoder(x).detach() for one in seeds]
        distance[name] = sum(float(h.mean(0).norm() + (h.std(0) - 1).abs().sum()) for h in codes) / 4
    # One seed's ratio lies between 0.3 and 0.9, and rounding moves it by 0.1; that of these four's means is 0.49.
    assert distance["aae"] < 0.75 * distance["ae"]
