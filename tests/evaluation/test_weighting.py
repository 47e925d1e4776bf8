"""Weights against grids and brute force: the convex one is the best there is, greedy and swarm do no harm."""

import numpy as np
import pytest

from earshot.evaluation import weighting
from earshot.evaluation.blending import weighted_mean
from earshot.evaluation.predictions import right_clips
from earshot.evaluation.weighting import (
    accuracy_weights,
    even_weights,
    greedy_weights,
    log_loss_weights,
    swarm_weights,
)


def stacked(members):
    return np.stack([m.probs for m in members]), members[0].known_targets


def log_loss_of(weights, probs, targets, multilabel):
    p = np.clip(np.tensordot(weights, probs.astype(np.float64), axes=1), 1e-6, 1 - 1e-6)
    likely = targets * np.log(p) + ((1 - targets) * np.log(1 - p) if multilabel else 0)
    return -likely.sum()


@pytest.mark.parametrize("multilabel", [False, True])
def test_no_weights_of_a_grid_have_a_lower_log_loss(make, multilabel):
    probs, targets = stacked(make(n_members=3, strengths=[2.0, 1.0, 1.5], shared=0.3, multilabel=multilabel))
    found = log_loss_weights(probs, targets, multilabel=multilabel)
    grid = [np.array([a, b, 20 - a - b]) / 20 for a in range(21) for b in range(21 - a)]
    best = min(log_loss_of(w, probs, targets, multilabel) for w in grid)
    assert found.sum() == pytest.approx(1)
    assert log_loss_of(found, probs, targets, multilabel) <= best + 1e-3


def test_the_mixture_weights_are_the_fixed_point_of_expectation_maximisation(make):
    probs, targets = stacked(make(n_members=4, strengths=[2.0, 1.0, 1.5, 0.2], shared=0.2))
    given = np.clip((probs * targets).sum(axis=-1).astype(np.float64), 1e-6, 1)  # [M, N]
    weights = np.full(4, 0.25)
    for _ in range(5000):
        share = weights[:, None] * given
        weights = (share / share.sum(axis=0)).mean(axis=1)
    np.testing.assert_allclose(log_loss_weights(probs, targets, multilabel=False), weights, atol=2e-3)


def test_a_member_of_noise_gets_no_say_by_log_loss(make):
    probs, targets = stacked(make(n_members=2, strengths=[3.0, 0.0], shared=0.0, n_clips=1000))
    assert log_loss_weights(probs, targets, multilabel=False)[1] < 0.05


def test_accuracy_weights_are_in_proportion():
    targets = np.eye(2, dtype=np.float32)[[0, 0, 0, 0]]
    good, fair = np.array([[1, 0]] * 4), np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    weights = accuracy_weights(np.stack([good, fair]).astype(np.float32), targets, multilabel=False)
    np.testing.assert_allclose(weights, [2 / 3, 1 / 3])


def test_greedy_choice_is_the_best_of_every_two_members_with_replacement(make):
    probs, targets = stacked(make(n_members=4, strengths=[1.2, 1.0, 1.1, 0.9], shared=0.2, seed=3))
    weights = greedy_weights(probs, targets, multilabel=False, n_rounds=2)
    accuracies = right_clips(probs, targets, multilabel=False).mean(axis=1)
    first = int(accuracies.argmax())
    best_pair = max(right_clips(probs[first] + p, targets, multilabel=False).mean() for p in probs)
    blended = right_clips(weighted_mean(probs, weights, multilabel=False), targets, multilabel=False)
    assert blended.mean() == pytest.approx(best_pair)


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("weigher", [greedy_weights, swarm_weights])
def test_a_search_is_never_worse_in_sample_than_the_best_member(make, weigher, multilabel):
    probs, targets = stacked(make(n_members=5, strengths=1.2, multilabel=multilabel, seed=5))
    weights = weigher(probs, targets, multilabel=multilabel, rng=np.random.default_rng(0))
    mixed = np.tensordot(weights, probs.astype(np.float64), axes=1)
    alone = right_clips(probs, targets, multilabel=multilabel).mean(axis=1)
    even = np.tensordot(even_weights(probs, targets, multilabel=multilabel), probs, axes=1)
    reached = right_clips(mixed, targets, multilabel=multilabel).mean()
    assert reached >= alone.max()
    assert reached >= right_clips(even, targets, multilabel=multilabel).mean()


def test_a_swarm_finds_the_two_members_that_complete_each_other():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=400)
    targets = np.eye(4, dtype=np.float32)[labels]
    blind = np.full((400, 4), 0.25)
    half = np.arange(400) < 200
    first, second = (np.where(seen[:, None], targets, blind) for seen in (half, ~half))
    wrong = np.roll(targets, 1, axis=1)
    probs = np.stack([wrong, first, wrong, second]).astype(np.float32)
    weights = swarm_weights(probs, targets, multilabel=False, rng=rng)
    mixed = weighted_mean(probs, weights, multilabel=False)
    assert right_clips(mixed, targets, multilabel=False).all()
    assert weights[[1, 3]].sum() > 0.6


def test_a_pool_s_weights_on_a_part_of_very_many_clips_are_nearly_those_on_all(make, monkeypatch):
    probs, targets = stacked(make(n_members=2, strengths=[2.0, 1.0], n_clips=6000))
    whole = weighting.log_pool_weights(probs, targets, multilabel=False)
    monkeypatch.setattr(weighting, "_MOST_VALUES", targets.size // 4)
    part = weighting.log_pool_weights(probs, targets, multilabel=False)
    assert not np.array_equal(part, whole)
    np.testing.assert_allclose(part, whole, rtol=0.15, atol=0.05)
