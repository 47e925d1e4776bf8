import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from earshot.audio.augment import AugmentConfig
from earshot.audio.windows import Gate, InMemory, window_starts
from earshot.models.pooling import WINDOW_SCORES, pool_windows
from earshot.training.fit import measure_scale
from earshot.training.fold import build_front_end, features_of, held_out_probs
from earshot.training.networks import prepared_network, training_batches

GATE = Gate(below_loudest_db=15)


class Same(nn.Module):
    """A front end that passes waveforms through."""

    def forward(self, waveforms):
        return waveforms


def long_and_uneven(data):
    """The clips of a fold, each followed by two windows of nearly nothing and itself again."""
    clips = [data.view.get(i) for i in range(len(data.view))]
    quiet = np.random.default_rng(0).integers(-20, 20, 2 * data.length).astype(np.int16)
    return dataclasses.replace(data, view=InMemory([np.concatenate([c, quiet, c]) for c in clips]))


@pytest.fixture
def heard_by_scoring(monkeypatch):
    """Every window that is scored, as int16 rows."""
    from earshot.models import scoring

    rows = []
    real = scoring.predict_windows

    def spy(cut, members):
        rows.extend(cut.tolist())
        return real(cut, members)

    monkeypatch.setattr(scoring, "predict_windows", spy)
    return rows


@pytest.mark.parametrize("gate", [Gate(), GATE])
def test_a_classical_model_learns_from_the_windows_that_scoring_hears(
    fit, make_fold, svm_config, heard_by_scoring, gate
):
    data = dataclasses.replace(long_and_uneven(make_fold()), gate=gate)
    rows = np.arange(len(data.view))
    learned, owners = features_of(Same(), data, rows)
    member = fit(svm_config, data).member
    heard_by_scoring.clear()
    held_out_probs(member, data, rows)
    assert (learned * 32_768).round().int().tolist() == heard_by_scoring
    n_all = [len(window_starts(int(n), length=data.length, hop=data.hop)) for n in data.view.n_samples]
    assert (np.bincount(owners) == n_all).all() == gate.is_open


def test_few_windows_of_a_clip_are_spread_over_it_and_a_single_one_is_from_its_middle(make_fold):
    data = make_fold()
    clip = np.arange(5 * data.length).astype(np.int16)  # five windows
    data = dataclasses.replace(data, view=InMemory([clip, clip[: data.length]]))
    taken = {}
    for n_most in (1, 2, 3, 9):
        learned, owners = features_of(Same(), data, np.arange(2), n_most=n_most)
        first = (learned[owners == 0][:, 0] * 32_768).round().int()
        taken[n_most] = [int(sample) // data.length for sample in first]
        assert (owners == 1).sum() == 1
    assert taken == {1: [2], 2: [0, 4], 3: [0, 2, 4], 9: [0, 1, 2, 3, 4]}


def test_training_and_use_see_the_same_windows_of_clips_no_longer_than_a_window(
    fit, make_fold, network_config, heard_by_scoring
):
    data = make_fold()
    clips = [data.view.get(i)[: data.length] for i in range(len(data.view))]
    data = dataclasses.replace(data, view=InMemory(clips), gate=GATE)
    batches = training_batches(
        network_config(augment=AugmentConfig(enabled=False, n_copies=0)),
        data,
        data.train,
        front_end=Same(),
        seed=0,
        device="cpu",
    )
    trained = torch.cat([features for features, _ in batches.epoch(0)])
    held_out_probs(fit(network_config(), data).member, data, data.train)
    scored = heard_by_scoring[-len(data.train) :]
    assert sorted((trained * 32_768).round().int().tolist()) == sorted(scored)


@pytest.mark.parametrize("kind", ["network", "svm"])
@pytest.mark.parametrize("score", WINDOW_SCORES)
def test_held_out_clips_are_scored_by_the_rule_of_the_fold(
    fit, make_fold, network_config, svm_config, kind, score
):
    config = network_config() if kind == "network" else svm_config
    data = dataclasses.replace(long_and_uneven(make_fold()), gate=GATE, window_score=score)
    fitted = fit(config, data)
    features, owners = features_of(build_front_end(config, data.rate_hz), data, data.test)
    expected = pool_windows(fitted.member.predict_features(features), owners, score=score)
    np.testing.assert_allclose(fitted.probs, expected, atol=2e-3)
    np.testing.assert_array_equal(fitted.probs.argmax(axis=1), expected.argmax(axis=1))


def test_remembered_features_give_a_curve_of_the_same_rule(fit, make_fold, network_config):
    still = AugmentConfig(enabled=False)
    data = long_and_uneven(make_fold())
    short = [data.view.get(i)[: data.length] for i in data.train]
    data = dataclasses.replace(data, view=InMemory([*short, *(data.view.get(i) for i in data.test)]))
    curves = {}
    for score in ("mean", "max"):
        fitted = fit(network_config(augment=still), dataclasses.replace(data, window_score=score), score)
        likely = fitted.probs[np.arange(len(data.test)), data.targets[data.test].argmax(axis=1)]
        curves[score] = fitted.history[-1]["test_loss"]
        assert curves[score] == pytest.approx(float(-np.log(likely).mean()), rel=0.02)
    assert curves["mean"] != curves["max"]


def test_the_scale_of_the_inputs_depends_on_training_clips_and_on_no_label(make_fold, network_config):
    data, config = long_and_uneven(make_fold()), network_config()

    def scale(data):
        front_end = build_front_end(config, data.rate_hz)
        batches = training_batches(config, data, data.train, front_end=front_end, seed=0, device="cpu")
        shape = data.input_shape(config)
        network = prepared_network(config.model, input_shape=shape, n_classes=data.targets.shape[1], seed=0)
        measure_scale(network, batches, n_clips=256)
        return torch.cat([network.scaler.mean.flatten(), network.scaler.deviation.flatten()])

    expected = scale(data)
    rng = np.random.default_rng(0)
    relabelled = dataclasses.replace(data, targets=rng.permutation(data.targets))
    assert torch.equal(scale(relabelled), expected)
    one_class = np.zeros_like(data.targets)
    one_class[:, 0] = 1
    assert torch.equal(scale(dataclasses.replace(data, targets=one_class)), expected)
    clips = [data.view.get(i) for i in range(len(data.view))]
    other_test = InMemory([c if i in data.train else c // 7 for i, c in enumerate(clips)])
    assert torch.equal(scale(dataclasses.replace(data, view=other_test)), expected)
    other_train = InMemory([c // 7 if i in data.train else c for i, c in enumerate(clips)])
    assert not torch.equal(scale(dataclasses.replace(data, view=other_train)), expected)


def test_gated_training_is_the_same_each_time_and_another_than_without_a_gate(fit, make_fold, network_config):
    data = dataclasses.replace(long_and_uneven(make_fold()), gate=GATE)
    one, other = fit(network_config(), data, "one"), fit(network_config(), data, "other")
    np.testing.assert_array_equal(one.probs, other.probs)
    open_gate = fit(network_config(), dataclasses.replace(data, gate=Gate()), "open")
    assert not np.array_equal(one.probs, open_gate.probs)


@pytest.mark.parametrize("kind", ["network", "svm"])
def test_no_window_of_a_held_out_clip_is_looked_at_before_the_model_is_fitted(
    fit, make_fold, network_config, svm_config, kind
):
    asked = set()

    class Watched(InMemory):
        def get(self, i):
            asked.add(i)
            return super().get(i)

        def fill(self, out, i, start):
            asked.add(i)
            super().fill(out, i, start)

    data = long_and_uneven(make_fold())
    view = Watched([data.view.get(i) for i in range(len(data.view))])
    data = dataclasses.replace(data, view=view, gate=GATE, test=data.test[:0])
    fit(network_config() if kind == "network" else svm_config, data)
    assert asked == set(data.train.tolist())
