import dataclasses

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from earshot.audio.augment import AugmentConfig
from earshot.audio.windows import InMemory
from earshot.errors import DataError
from earshot.models import MODELS
from earshot.models.cnn1d import Stack1dConfig
from earshot.models.cnn2d import Cnn2dConfig, Stack2dConfig
from earshot.models.mlp import MlpConfig
from earshot.models.rnn import LstmConfig
from earshot.training import networks
from earshot.training.batches import FixedBatches, TrainingBatches
from earshot.training.members import build_front_end
from earshot.training.networks import fixed_batches, prepared_network, training_batches
from earshot.training.options import TrainingConfig

OFF = AugmentConfig(enabled=False)
INNER = {"keep": "best", "inner_share": 0.3}


def in_one_window(data):
    clips = [data.view.get(i)[: data.length] for i in range(len(data.view))]
    return dataclasses.replace(data, view=InMemory(clips))


def batches_of(config, data):
    front_end = build_front_end(config, data.rate_hz)
    return training_batches(config, data, data.train, front_end=front_end, seed=0, device="cpu")


def test_features_are_computed_once_only_where_they_never_change(make_fold, network_config, monkeypatch):
    short, long = in_one_window(make_fold()), make_fold()
    assert isinstance(batches_of(network_config(augment=OFF), short), FixedBatches)
    assert isinstance(batches_of(network_config(augment=OFF), long), TrainingBatches)
    assert isinstance(batches_of(network_config(), short), TrainingBatches)
    monkeypatch.setattr(networks, "_MAX_FIXED_BYTES", 1_000)
    assert isinstance(batches_of(network_config(augment=OFF), short), TrainingBatches)


def test_fixed_features_are_those_that_would_have_been_computed_each_time(
    make_fold, network_config, monkeypatch
):
    data, config = in_one_window(make_fold()), network_config(augment=OFF)
    once = batches_of(config, data)
    monkeypatch.setattr(networks, "_MAX_FIXED_BYTES", 1_000)
    each_time = batches_of(config, data)
    for (one, targets), (other, others) in zip(once.epoch(2), each_time.epoch(2), strict=True):
        torch.testing.assert_close(one, other)
        assert torch.equal(targets, others)


def test_remembered_features_give_the_curve_of_computed_ones(fit, make_fold, network_config, monkeypatch):
    data = in_one_window(make_fold())
    config = network_config(augment=OFF, **INNER)
    remembered = fit(config, data, "remembered")
    monkeypatch.setattr(networks, "_MAX_FIXED_BYTES", 1_000)
    computed = fit(config, data, "computed")
    for one, other in zip(remembered.history, computed.history, strict=True):
        for key in ("test_loss", "inner_loss", "train_loss"):
            assert one[key] == pytest.approx(other[key], rel=1e-3)


def test_no_inner_clip_is_learned_from_and_no_held_out_clip_is_touched(
    fit, make_fold, network_config, monkeypatch
):
    learned, measured = [], {}
    real = TrainingBatches.__init__
    real_curve = networks._Curve.__init__

    def spy(self, view, **values):
        learned.extend(values["rows"])
        real(self, view, **values)

    def spy_curve(self, data, rows, front_end, **values):
        measured[values["prefix"]] = list(rows)
        real_curve(self, data, rows, front_end, **values)

    monkeypatch.setattr(TrainingBatches, "__init__", spy)
    monkeypatch.setattr(networks._Curve, "__init__", spy_curve)
    data = make_fold()
    fold = fit(network_config(**INNER), data)
    inner = measured["inner"]
    assert inner
    assert sorted([*learned, *inner]) == list(data.train)
    assert not set(data.groups[learned]) & set(data.groups[inner])
    assert measured["test"] == list(data.test)
    assert all(np.isfinite(row["inner_loss"]) for row in fold.history)


def test_what_is_decided_inside_does_not_depend_on_the_held_out_clips(fit, make_fold, network_config):
    config = network_config(**INNER)
    one, other = fit(config, make_fold(), "one"), fit(config, make_fold(test_seed=9), "other")
    for name, value in one.member.network.state_dict().items():
        assert torch.equal(value, other.member.network.state_dict()[name])
    assert [row["inner_loss"] for row in one.history] == [row["inner_loss"] for row in other.history]
    assert one.history[-1]["test_loss"] != other.history[-1]["test_loss"]


def test_clips_of_one_group_cannot_be_judged_inside(fit, make_fold, network_config):
    data = make_fold()
    data = dataclasses.replace(data, groups=np.array(["same"] * 24, dtype=object))
    with pytest.raises(DataError, match="groups to spare"):
        fit(network_config(**INNER), data)


@pytest.mark.parametrize(
    ("augment", "training", "rule"),
    [
        (OFF, {"loss": "mean_squared_error"}, "mean_squared_error is for numbers"),
        (
            AugmentConfig(),
            {"optimizer": "lbfgs", "schedule": "constant", "averaging_share": 0},
            "augment.enabled = false",
        ),
    ],
)
def test_a_member_whose_training_makes_no_sense_is_refused(network_config, augment, training, rule):
    with pytest.raises(ValidationError, match=rule):
        network_config(augment=augment, **training)


def test_one_seed_gives_one_network_and_leaves_the_callers_random_state_alone():
    config, before = Cnn2dConfig(n_stem_channels=2, block_channels=(3,)), torch.get_rng_state()
    one, again, other = (
        prepared_network(config, input_shape=(8, 9), n_classes=2, seed=seed).head.weight for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_a_pretrained_network_is_resolved_first_and_gets_its_weights(monkeypatch):
    class Config:
        kind = "borrowed"
        is_resolved = False

        def resolved(self):
            config = Config()
            config.is_resolved = True
            return config

    class Network(nn.Linear):
        def __init__(self, config, *, input_shape, n_classes):
            assert config.is_resolved
            super().__init__(*input_shape, n_classes)

        def load_pretrained(self):
            nn.init.constant_(self.weight, 7.0)

    monkeypatch.setitem(MODELS, "borrowed", Network)
    network = prepared_network(Config(), input_shape=(3,), n_classes=2, seed=0)
    assert (network.weight == 7).all()


def test_lbfgs_evens_classes_by_copies_not_by_draws():
    targets = torch.eye(2)[[0] * 9 + [1] * 3]
    training = TrainingConfig(optimizer="lbfgs", schedule="constant", averaging_share=0)
    values = {"balances": True, "seed": 0, "device": "cpu"}
    batches = fixed_batches(torch.arange(12.0)[:, None], targets, training, **values)
    ((features, wanted),) = batches.epoch(0)
    assert wanted.sum(dim=0).tolist() == [9, 9]
    assert set(features[:, 0].tolist()) == set(range(12))


@pytest.mark.parametrize(
    "model",
    [
        MlpConfig(hidden=(8,)),
        LstmConfig(),
        Stack1dConfig(layers=("conv 3 8 relu", "global average")),
        Stack2dConfig(layers=("conv 3 4 relu", "pool 2", "flatten")),
    ],
    ids=lambda model: model.kind,
)
@pytest.mark.parametrize("augment", [AugmentConfig(), OFF], ids=["augmented", "fixed"])
def test_every_kind_of_network_is_a_member(fit, make_fold, network_config, model, augment):
    config = network_config(augment=augment, epochs=2).model_copy(update={"model": model})
    fold = fit(config, in_one_window(make_fold()))
    np.testing.assert_allclose(fold.probs.sum(axis=1), 1, atol=1e-5)
    assert [row["epoch"] for row in fold.history] == [1, 2]
