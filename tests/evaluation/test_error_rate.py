"""The fast error rate is the plain loop's, ties and all, and sure clips are really sure."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot.evaluation.error_rate import ErrorRate
from earshot.evaluation.predictions import right_clips


def plain(weights, probs, targets, multilabel):
    """One weighting after another, member by member, in float64."""
    rates = []
    for row in weights:
        shares = row / row.sum() if row.sum() > 0 else np.full(len(row), 1 / len(row))
        mixed = np.zeros(targets.shape)
        for share, p in zip(shares, probs, strict=True):
            mixed = mixed + share * p.astype(np.float64)
        if multilabel:
            right = ((mixed >= 0.5) == (targets >= 0.5)).all(axis=1)
        else:
            right = mixed.argmax(axis=1) == targets.argmax(axis=1)
        rates.append(1 - right.mean())
    return np.array(rates)


def corner_weights(rng, n, n_members):
    """Random weights of which many are 0, 1 or equal, so that ties happen."""
    coarse = rng.integers(0, 3, (n, n_members)) / 2
    return np.concatenate([coarse, rng.random((n, n_members)), np.eye(n_members)])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_members=st.integers(1, 7),
    n_classes=st.integers(2, 6),
    n_levels=st.sampled_from([1, 2, 4, 20, 10**6]),
    multilabel=st.booleans(),
)
def test_it_is_exactly_the_plain_loop_even_where_probabilities_tie(
    seed, n_members, n_classes, n_levels, multilabel
):
    rng = np.random.default_rng(seed)
    # Few levels make many exact ties, as votes and small forests do.
    levels = rng.integers(0, n_levels + 1, (n_members, 40, n_classes)).astype(np.float64)
    probs = levels / n_levels
    if not multilabel:
        probs = (levels + (levels.sum(axis=-1, keepdims=True) == 0)) / np.maximum(
            levels.sum(-1, keepdims=True), 1
        )
        probs /= probs.sum(axis=-1, keepdims=True)
    probs = probs.astype(np.float32)
    targets = (
        (rng.random((40, n_classes)) < 0.5).astype(np.float32)
        if multilabel
        else np.eye(n_classes, dtype=np.float32)[rng.integers(n_classes, size=40)]
    )
    weights = corner_weights(rng, 20, n_members)
    ours = ErrorRate(probs, targets, multilabel=multilabel)(weights)
    np.testing.assert_allclose(ours, plain(weights, probs, targets, multilabel), rtol=0, atol=1e-12)


@pytest.mark.parametrize("multilabel", [False, True])
def test_on_realistic_members_it_is_the_plain_loop_over_thousands_of_weights(make, multilabel):
    members = make(n_members=6, n_clips=500, n_classes=8, strengths=2.0, multilabel=multilabel)
    probs, targets = np.stack([m.probs for m in members]), members[0].known_targets
    weights = corner_weights(np.random.default_rng(1), 500, 6)
    ours = ErrorRate(probs, targets, multilabel=multilabel)(weights)
    np.testing.assert_allclose(ours, plain(weights, probs, targets, multilabel), rtol=0, atol=1e-12)
    assert len(np.unique(ours)) > 20


def test_clips_that_all_members_agree_on_are_not_searched(make):
    members = make(n_members=3, n_clips=400, strengths=1.5)
    probs, targets = np.stack([m.probs for m in members]), members[0].known_targets
    objective = ErrorRate(probs, targets)
    right = right_clips(probs, targets, multilabel=False)
    disputed = int((right.any(axis=0) & ~right.all(axis=0)).sum())
    # Clips that every member gets wrong are open too where a blend could still be right.
    assert disputed <= objective.n_open < 400
    assert ErrorRate(probs[:1], targets).n_open == 0


def test_of_equal_probabilities_the_first_class_is_said():
    probs = np.full((2, 2, 3), 1 / 3, dtype=np.float32)
    targets = np.eye(3, dtype=np.float32)[[0, 1]]
    np.testing.assert_array_equal(ErrorRate(probs, targets)(np.ones((1, 2))), [0.5])


def test_weights_of_zero_count_as_even(make):
    members = make(n_members=4)
    probs, targets = np.stack([m.probs for m in members]), members[0].known_targets
    objective = ErrorRate(probs, targets)
    assert objective(np.zeros((1, 4))) == objective(np.ones((1, 4)))
