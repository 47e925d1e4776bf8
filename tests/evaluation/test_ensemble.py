"""The pool's algebra, its weights against a grid search, and the refusal to fit on what is scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from earshot.errors import ConfigError, DataError
from earshot.evaluation.ensemble import (
    COMBINATIONS,
    comparison_table,
    fit_weights,
    in_sample,
    nested,
    nested_pool,
    pool,
)
from earshot.evaluation.metrics import log_loss
from earshot.evaluation.predictions import Predictions

CLASSES = ("a", "b", "c")


def noisy_member(
    labels: NDArray[np.int64], *, strength: float, sharpness: float, seed: int
) -> NDArray[np.float32]:
    """Probabilities that lean to the truth by `strength`, then raised to the power `sharpness`."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(len(labels), len(CLASSES)))
    scores[np.arange(len(labels)), labels] += strength
    powers = np.exp(sharpness * scores)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def predictions(probs: NDArray[np.float32], labels: NDArray[np.int64], *, split: str = "oof") -> Predictions:
    targets = np.eye(len(CLASSES), dtype=np.float32)[labels]
    ids = tuple(f"clip {i}" for i in range(len(labels)))
    return Predictions(probs, CLASSES, clip_ids=ids, targets=targets, split=split)


@pytest.fixture
def labels() -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(3, size=600)


def test_a_pool_of_equal_members_with_weights_that_sum_to_one_is_the_member(labels):
    member = noisy_member(labels, strength=1.0, sharpness=1.0, seed=1)
    pooled = pool(np.stack([member, member]), [0.3, 0.7], multilabel=False)
    np.testing.assert_allclose(pooled, member, atol=1e-6)


def test_an_even_pool_is_the_normalised_geometric_mean(labels):
    members = np.stack([noisy_member(labels, strength=1.0, sharpness=1.0, seed=s) for s in (1, 2)])
    wanted = np.sqrt(members[0] * members[1])
    wanted /= wanted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(pool(members, [0.5, 0.5], multilabel=False), wanted, atol=1e-5)


def test_several_labels_pool_the_odds_of_each_class():
    members = np.array([[[0.9, 0.2]], [[0.5, 0.4]]])
    odds = np.sqrt((members[0] / (1 - members[0])) * (members[1] / (1 - members[1])))
    np.testing.assert_allclose(pool(members, [0.5, 0.5], multilabel=True), odds / (1 + odds), atol=1e-6)


def test_one_overconfident_member_gets_the_weight_of_its_temperature(labels):
    sharp = noisy_member(labels, strength=1.0, sharpness=1.0, seed=1)
    true_sharpness = 1.0  # scores of strength s with unit noise are calibrated at sharpness s
    weight = fit_weights([predictions(pool(sharp[None], [4.0], multilabel=False), labels)])
    assert weight[0] == pytest.approx(true_sharpness / 4.0, rel=0.15)


def test_the_fitted_weights_are_as_good_as_the_best_of_a_grid(labels):
    members = [
        noisy_member(labels, strength=1.5, sharpness=0.5, seed=1),
        noisy_member(labels, strength=0.7, sharpness=2.0, seed=2),
    ]
    weights = fit_weights([predictions(m, labels) for m in members])
    grid = np.linspace(0, 4, 41)
    best = min(
        log_loss(labels, pool(np.stack(members), [a, b], multilabel=False)) for a in grid for b in grid
    )
    assert log_loss(labels, pool(np.stack(members), weights, multilabel=False)) <= best + 2e-3


def test_a_member_of_pure_noise_gets_almost_no_say(labels):
    good = noisy_member(labels, strength=2.0, sharpness=2.0, seed=1)
    noise = noisy_member(labels, strength=0.0, sharpness=1.0, seed=2)
    weights = fit_weights([predictions(good, labels), predictions(noise, labels)])
    assert weights[1] < 0.1 * weights[0]


@pytest.mark.parametrize("split", ["test", "train"])
def test_weights_are_never_fitted_on_what_is_scored_or_was_trained_on(labels, split):
    member = noisy_member(labels, strength=1.0, sharpness=1.0, seed=1)
    with pytest.raises(DataError, match=f"split is '{split}'"):
        fit_weights([predictions(member, labels, split=split)])


def test_members_of_different_clips_are_refused(labels):
    member = predictions(noisy_member(labels, strength=1.0, sharpness=1.0, seed=1), labels)
    with pytest.raises(DataError, match="different clips"):
        fit_weights([member, member.subset(np.arange(10))])


def test_a_nested_pool_does_not_see_the_labels_of_the_fold_it_pools(labels):
    members = [predictions(noisy_member(labels, strength=1.0, sharpness=1.0, seed=s), labels) for s in (1, 2)]
    folds = [np.arange(0, 300), np.arange(300, 600)]
    pooled = nested_pool(members, folds)
    flipped = labels.copy()
    flipped[:300] = (flipped[:300] + 1) % 3
    again = nested_pool([predictions(m.probs, flipped) for m in members], folds)
    np.testing.assert_array_equal(pooled.probs[:300], again.probs[:300])
    assert np.abs(pooled.probs[300:] - again.probs[300:]).max() > 1e-3


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_combination_scores_a_fold_without_its_labels(make, folds_of, name, multilabel):
    members = make(n_members=3, n_clips=80, multilabel=multilabel)
    folds = folds_of(80, 2)

    def combined(targets):
        given = [replace(each, targets=targets) for each in members]
        return nested(given, folds, combination=name, rng=np.random.default_rng(0)).probs

    targets = members[0].known_targets
    changed = targets.copy()
    changed[folds[0]] = np.roll(targets[folds[0]], 1, axis=1)
    np.testing.assert_array_equal(combined(targets)[folds[0]], combined(changed)[folds[0]])


@pytest.mark.parametrize("split", ["test", "train"])
@pytest.mark.parametrize("name", COMBINATIONS)
def test_no_combination_is_fitted_on_what_is_tested_or_was_trained_on(make, name, split):
    with pytest.raises(DataError, match=f"split is '{split}'"):
        COMBINATIONS[name].fit(make(n_members=2, split=split), rng=np.random.default_rng(0))


@pytest.mark.parametrize("name", COMBINATIONS)
def test_three_members_that_err_apart_are_better_together(make, folds_of, name):
    members = make(n_members=3, n_clips=900, strengths=1.5, shared=0.0)
    together = nested(members, folds_of(900), combination=name, rng=np.random.default_rng(0))
    accuracy = (together.predicted == together.labels).mean()
    assert accuracy > max((each.predicted == each.labels).mean() for each in members) + 0.02


def test_the_geometric_mean_is_the_pool_with_even_weights(make):
    members = make(n_members=2)
    probs = np.stack([each.probs for each in members])
    blend = COMBINATIONS["geometric_mean"].fit(members, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(blend.combine(probs), pool(probs, [0.5, 0.5], multilabel=False))


def test_in_sample_weights_take_a_test_split_and_are_dropped(make):
    members = make(n_members=3, split="test")
    together = in_sample(members, combination="swarm_jaya", rng=np.random.default_rng(0))
    assert isinstance(together, Predictions)
    assert together.right.mean() >= max(each.right.mean() for each in members)


def test_the_gain_of_a_swarm_over_noise_is_gone_once_it_cannot_see_the_answers(make, folds_of):
    """Members that guess: what a search gains in sample is luck, and the table shows it."""
    members = make(n_members=8, n_clips=120, strengths=0.0, shared=0.0, n_groups=40)
    named = {f"seed {i}": each for i, each in enumerate(members)}
    methods = ["mean", "swarm_differential_evolution"]
    table = comparison_table(named, folds_of(120), methods=methods, rng=np.random.default_rng(0))
    assert table["method"].tolist() == [*named, *methods]
    swarm = table.set_index("method").loc["swarm_differential_evolution"]
    assert swarm["accuracy_in_sample"] > swarm["accuracy"] + 0.1
    assert swarm["low"] < 0.25 < swarm["high"]


def test_an_unknown_combination_is_refused_by_name(make, folds_of):
    with pytest.raises(ConfigError, match="combination is 'median'"):
        nested(make(n_members=2), folds_of(300), combination="median", rng=np.random.default_rng(0))
