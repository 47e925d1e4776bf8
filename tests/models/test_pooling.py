import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot.evaluation.blending import RULES
from earshot.models.pooling import WINDOW_SCORES, ClipPool, pool_windows

# The same rules for members of an ensemble, written separately, with even weights that sum to 1.
ORACLES = {"mean": "mean", "mean_logit": "log_pool", "max": "maximum", "vote": "vote"}


def probs_of(n, n_classes=3, *, multilabel=False, seed=0):
    values = np.random.default_rng(seed).uniform(size=(n, n_classes)) ** 3
    return (values if multilabel else values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def pooled(windows, score, multilabel=False):
    return pool_windows(windows, np.zeros(len(windows), np.int64), score=score, multilabel=multilabel)[0]


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("score", WINDOW_SCORES)
@given(n=st.integers(1, 40), n_classes=st.integers(2, 6), seed=st.integers(0, 9_999))
@settings(max_examples=30, deadline=None)
def test_windows_are_pooled_as_members_of_an_ensemble_are(score, multilabel, n, n_classes, seed):
    windows = probs_of(n, n_classes, multilabel=multilabel, seed=seed)
    expected = RULES[ORACLES[score]](windows[:, None], np.full(n, 1 / n), multilabel=multilabel)[0]
    np.testing.assert_allclose(pooled(windows, score, multilabel), expected, atol=2e-6)


@pytest.mark.parametrize("score", WINDOW_SCORES)
@given(cuts=st.lists(st.integers(1, 29), max_size=4), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_portions_of_windows_add_up_to_the_clip(score, cuts, seed):
    windows = np.stack([probs_of(30, seed=seed), probs_of(30, seed=seed + 1)])
    pool = ClipPool(score)
    for part in np.split(windows, sorted(set(cuts)), axis=1):
        pool.add(part)
    expected = [pooled(each, score) for each in windows]
    np.testing.assert_allclose(pool.result(), expected, atol=1e-6)


def test_the_mean_is_that_of_double_precision_bit_for_bit():
    windows = probs_of(23)
    expected = (windows.sum(axis=0, dtype=np.float64) / 23).astype(np.float32)
    np.testing.assert_array_equal(pooled(windows, "mean"), expected)


@pytest.mark.parametrize("score", WINDOW_SCORES)
def test_one_label_a_clip_sums_to_one_and_certain_windows_give_no_nan(score):
    windows = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    probs = pooled(windows, score)
    assert probs.sum() == pytest.approx(1, abs=1e-6)
    assert np.isfinite(np.log(probs[:2])).all()
    if score != "max":
        assert probs.argmax() == 0


@pytest.mark.parametrize("score", ["mean", "mean_logit", "max"])
@pytest.mark.parametrize("multilabel", [False, True])
def test_a_single_window_is_the_clip(score, multilabel):
    windows = probs_of(1, multilabel=multilabel)
    np.testing.assert_allclose(pooled(windows, score, multilabel), windows[0], atol=2e-6)


@pytest.mark.parametrize("score", WINDOW_SCORES)
def test_several_labels_are_scored_one_by_one(score):
    windows = probs_of(9, multilabel=True)
    together = pooled(windows, score, multilabel=True)
    for k in range(3):
        np.testing.assert_allclose(pooled(windows[:, [k]], score, multilabel=True), together[[k]], atol=1e-7)
    assert ((together >= 0) & (together <= 1)).all()


def test_the_largest_finds_a_label_that_one_window_has_and_the_mean_dilutes_it():
    windows = np.full((10, 2), 0.02, np.float32)
    windows[4, 1] = 0.97
    assert pooled(windows, "max", multilabel=True)[1] == pytest.approx(0.97)
    assert pooled(windows, "mean", multilabel=True)[1] < 0.2


def test_votes_are_shares_of_windows_and_the_mean_decides_ties():
    windows = np.array([[0.6, 0.4], [0.6, 0.4], [0.1, 0.9], [0.2, 0.8]], np.float32)
    probs = pooled(windows, "vote")
    assert probs[0] == pytest.approx(0.5, abs=1e-3)
    assert probs.argmax() == 1
    three_to_one = np.array([[0.51, 0.49]] * 3 + [[0.0, 1.0]], np.float32)
    assert pooled(three_to_one, "vote").argmax() == 0
    assert pooled(three_to_one, "mean").argmax() == 1


@pytest.mark.parametrize("score", WINDOW_SCORES)
def test_clips_are_pooled_each_from_its_own_windows(score):
    windows, owners = probs_of(10), np.array([0, 0, 0, 1, 2, 2, 2, 2, 2, 3])
    expected = [pooled(windows[owners == i], score) for i in range(4)]
    np.testing.assert_array_equal(pool_windows(windows, owners, score=score), expected)


@pytest.mark.parametrize("score", WINDOW_SCORES)
def test_columns_that_are_no_probabilities_are_averaged(score):
    windows = np.concatenate([probs_of(7), np.arange(14, dtype=np.float32).reshape(7, 2) - 5], axis=1)
    pool = ClipPool(score, n_classes=3)
    pool.add(windows[:4])
    pool.add(windows[4:])
    np.testing.assert_allclose(pool.result()[:3], pooled(windows[:, :3], score), atol=1e-6)
    np.testing.assert_allclose(pool.result()[3:], windows[:, 3:].mean(axis=0), atol=1e-6)
