import os

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from earshot.training.checkpoint import Checkpoint
from earshot.training.options import TrainingConfig
from earshot.training.stopping import Judge


class State:
    """A small network, its average and its optimiser, after a few steps."""

    def __init__(self, seed=0, *, steps=3):
        torch.manual_seed(seed)
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
        self.network = layers.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.01, fused=True)
        ema = get_ema_multi_avg_fn(0.9)
        self.average = AveragedModel(self.network, multi_avg_fn=ema, use_buffers=True)
        for i in range(steps):
            self.step(i)

    def step(self, number):
        rng = torch.Generator().manual_seed(number)
        loss = self.network(torch.randn(5, 3, 4, 4, generator=rng)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.average.update_parameters(self.network)

    def save(self, checkpoint, *, epoch=3, history=()):
        checkpoint.save(
            epoch=epoch,
            network=self.network,
            average=self.average,
            optimizer=self.optimizer,
            history=list(history),
        )

    def load(self, checkpoint):
        return checkpoint.load(network=self.network, average=self.average, optimizer=self.optimizer)

    def tensors(self):
        moments = self.optimizer.state_dict()["state"]
        return {
            **{f"n.{k}": v.clone() for k, v in self.network.state_dict().items()},
            **{f"a.{k}": v.clone() for k, v in self.average.state_dict().items()},
            **{f"o.{i}.{k}": v.clone() for i, state in moments.items() for k, v in state.items()},
        }


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(tmp_path / "checkpoint", identity="this training")


def test_everything_comes_back(checkpoint):
    saved, fresh = State(0), State(1, steps=0)
    history = [{"epoch": 1, "train_loss": 0.1 + 0.2}, {"epoch": 2, "train_loss": 1e-30}]
    saved.save(checkpoint, epoch=2, history=history)
    assert fresh.load(checkpoint) == (2, history)
    assert_equal(saved.tensors(), fresh.tensors())


def test_steps_after_a_restore_are_the_steps_there_would_have_been(checkpoint):
    unbroken, resumed = State(0), State(1, steps=0)
    unbroken.save(checkpoint)
    resumed.load(checkpoint)
    for i in range(3, 7):
        unbroken.step(i)
        resumed.step(i)
    assert_equal(unbroken.tensors(), resumed.tensors())


def test_moments_lie_in_memory_as_their_weights_do(checkpoint):
    State(0).save(checkpoint)
    fresh = State(1, steps=0)
    fresh.load(checkpoint)
    for parameter, state in fresh.optimizer.state.items():
        assert state["exp_avg"].stride() == parameter.stride()


def test_without_a_file_training_starts_anew(checkpoint):
    fresh = State(1)
    before = fresh.tensors()
    assert fresh.load(checkpoint) == (0, [])
    assert_equal(before, fresh.tensors())


def test_a_checkpoint_of_another_training_is_ignored(checkpoint):
    State(0).save(checkpoint)
    assert State(1).load(Checkpoint(checkpoint.path, identity="another training")) == (0, [])


def test_every_damage_is_ignored_and_leaves_the_network_alone(checkpoint):
    State(0).save(checkpoint)
    whole = checkpoint.path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[: int(n)] for n in rng.integers(0, len(whole), 20)]
    for at, bit in zip(rng.integers(0, len(whole), 100), rng.integers(0, 8, 100), strict=True):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << bit
        damaged.append(bytes(flipped))
    fresh = State(1)
    before = fresh.tensors()
    for content in [*damaged, b"", b"\x80" * 31, whole + b"\0"]:
        checkpoint.path.write_bytes(content)
        assert fresh.load(checkpoint) == (0, [])
    assert_equal(before, fresh.tensors())


def test_a_save_that_fails_leaves_the_one_before(checkpoint, monkeypatch):
    State(0).save(checkpoint, epoch=1)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        State(2).save(checkpoint, epoch=2)
    monkeypatch.undo()
    assert State(1).load(checkpoint)[0] == 1
    assert {path.name for path in checkpoint.path.parent.iterdir()} == {"checkpoint", "checkpoint.before"}


def test_where_the_last_is_damaged_the_one_before_is_taken(checkpoint):
    for epoch in (1, 2, 3):
        State(epoch).save(checkpoint, epoch=epoch)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-100])
    fresh = State(9)
    assert fresh.load(checkpoint)[0] == 2
    assert_equal(fresh.tensors(), State(2).tensors())
    State(0).save(checkpoint, epoch=3)
    checkpoint.path.write_bytes(b"")
    assert fresh.load(checkpoint)[0] == 2


def test_without_links_there_is_the_last_one(checkpoint, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    for epoch in (1, 2):
        State(epoch).save(checkpoint, epoch=epoch)
    assert State(0).load(checkpoint)[0] == 2


def test_a_removed_checkpoint_is_gone_and_removing_twice_is_fine(checkpoint):
    State(0).save(checkpoint)
    State(0).save(checkpoint)
    checkpoint.remove()
    checkpoint.remove()
    assert not list(checkpoint.path.parent.iterdir())


def descend(weights, optimizer, *, steps):
    def evaluated():
        optimizer.zero_grad()
        loss = ((weights - 1) ** 4).sum() + weights.prod()
        loss.backward()
        return float(loss.detach())

    for _ in range(steps):
        optimizer.step(evaluated)
    return weights.detach().clone()


@pytest.mark.parametrize("before", [1, 2, 7])
def test_lbfgs_goes_on_as_it_would_have(checkpoint, before):
    def fresh():
        layer = nn.Linear(3, 1, bias=False)
        nn.init.constant_(layer.weight, 3.0)
        options = {"max_iter": 1, "history_size": 4, "line_search_fn": "strong_wolfe"}
        return layer, torch.optim.LBFGS(layer.parameters(), **options)

    layer, optimizer = fresh()
    descend(layer.weight, optimizer, steps=before)
    checkpoint.save(epoch=1, network=layer, average=None, optimizer=optimizer, history=[])
    expected = descend(layer.weight, optimizer, steps=5)
    again, other = fresh()
    checkpoint.load(network=again, average=None, optimizer=other)
    assert torch.equal(descend(again.weight, other, steps=5), expected)


def test_what_was_judged_comes_back(checkpoint):
    state, judge = State(0), Judge(TrainingConfig(keep="best"))
    judge.see(1, 0.1 + 0.2, state.network)
    judge.see(2, float("nan"), state.network)
    parts = {"network": state.network, "average": state.average, "optimizer": state.optimizer}
    checkpoint.save(epoch=2, history=[], judge=judge, **parts)
    restored = Judge(judge.config)
    checkpoint.load(judge=restored, **parts)
    assert restored.numbers() == judge.numbers()
    assert_equal(restored.best_weights, judge.best_weights)


def test_a_judge_that_has_seen_nothing_comes_back_as_such(checkpoint):
    state = State(0)
    parts = {"network": state.network, "average": state.average, "optimizer": state.optimizer}
    checkpoint.save(epoch=1, history=[], judge=Judge(TrainingConfig()), **parts)
    restored = Judge(TrainingConfig())
    checkpoint.load(judge=restored, **parts)
    assert restored.numbers() == Judge(TrainingConfig()).numbers()
