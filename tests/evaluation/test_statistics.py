import time

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from earshot.errors import DataError
from earshot.evaluation.statistics import (
    accuracy_interval,
    group_bootstrap,
    mean_and_error,
    paired_bootstrap,
    wilson,
    wilson_ends,
)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 3), (45, 60), (10, 10), (9_000, 10_000)])
def test_wilson_agrees_with_scipy(successes, n, level):
    expected = scipy.stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert wilson(successes, n, level=level) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(n=st.integers(1, 10_000), data=st.data())
def test_wilson_holds_the_fraction_and_stays_within_zero_and_one(n, data):
    successes = data.draw(st.integers(0, n))
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high


def test_clips_on_their_own_give_the_bootstrap_of_scipy():
    values = np.random.default_rng(0).random(200)
    ours = group_bootstrap(values, n_resamples=20_000, rng=np.random.default_rng(1))
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.002)


def test_the_mean_over_groups_agrees_with_a_plain_loop():
    rng = np.random.default_rng(3)
    groups = [f"g{i}" for i in rng.integers(0, 25, 300)]
    values = rng.random(300)
    fast = group_bootstrap(values, groups, n_resamples=8_000, rng=np.random.default_rng(4))
    slow = group_bootstrap(
        values, groups, statistic=lambda rows: rows.mean(), n_resamples=8_000, rng=np.random.default_rng(5)
    )
    assert fast == pytest.approx(slow, abs=0.004)


def test_copies_of_a_clip_widen_nothing_when_they_share_its_group():
    values = np.random.default_rng(6).integers(0, 2, 80)
    names = [f"g{i}" for i in range(80)]
    once = group_bootstrap(values, names, rng=np.random.default_rng(7))
    tenfold = group_bootstrap(np.repeat(values, 10), np.repeat(names, 10), rng=np.random.default_rng(7))
    blind = group_bootstrap(np.repeat(values, 10), rng=np.random.default_rng(7))
    assert tenfold == pytest.approx(once)
    assert blind[1] - blind[0] < 0.5 * (once[1] - once[0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(8)
    groups = np.repeat(np.arange(60), 4)
    n_covered = 0
    for _ in range(200):
        level_of_group = rng.beta(8, 2, 60)  # mean 0.8; clips of a group share it
        right = rng.random(240) < np.repeat(level_of_group, 4)
        low, high = group_bootstrap(right, groups, n_resamples=400, rng=rng)
        n_covered += low <= 0.8 <= high
    assert 0.89 <= n_covered / 200 <= 0.99


def test_rows_of_several_columns_reach_the_statistic_whole():
    rows = np.stack([np.arange(40), np.arange(40)], axis=1)
    low, high = group_bootstrap(
        rows,
        statistic=lambda drawn: np.mean(drawn[:, 0] == drawn[:, 1]),
        n_resamples=50,
        rng=np.random.default_rng(0),
    )
    assert (low, high) == (1.0, 1.0)


def test_one_generator_state_gives_one_interval():
    values = np.random.default_rng(0).random(50)
    one, two = (group_bootstrap(values, rng=np.random.default_rng(9)) for _ in range(2))
    assert one == two


def test_a_hundred_thousand_clips_take_seconds():
    right = np.random.default_rng(0).random(100_000) < 0.9
    start = time.perf_counter()
    low, high = accuracy_interval(right, n_resamples=500, rng=np.random.default_rng(1))
    assert time.perf_counter() - start < 10
    assert high - low == pytest.approx(2 * 1.96 * 0.3 / np.sqrt(100_000), rel=0.15)


def test_all_right_is_no_false_certainty():
    groups = np.repeat([f"g{i}" for i in range(10)], 8)
    low, high = accuracy_interval(np.ones(80), groups, rng=np.random.default_rng(0))
    assert (low, high) == wilson(10, 10)
    low, high = accuracy_interval(np.zeros(80), groups, rng=np.random.default_rng(0))
    assert (low, high) == wilson(0, 10)


def test_one_group_with_mixed_answers_says_nothing():
    assert accuracy_interval([1, 0, 1], ["g"] * 3, rng=np.random.default_rng(0)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda rng: group_bootstrap([1.0, 2.0], ["a", "a"], rng=rng), "number of groups is 1"),
        (lambda rng: group_bootstrap([1.0, 2.0], ["a"], rng=rng), "one a value"),
        (lambda rng: group_bootstrap([1.0, 2.0], level=95, rng=rng), "level"),
        (lambda rng: group_bootstrap([1.0, 2.0], n_resamples=0, rng=rng), "n_resamples"),
        (lambda rng: group_bootstrap([], rng=rng), "number of groups is 0"),
        (lambda rng: accuracy_interval([], rng=rng), "number of clips"),
        (lambda rng: wilson(5, 3), "successes"),
        (lambda rng: wilson(0, 0), "successes"),
        (lambda rng: wilson(1, 2, level=2), "level"),
    ],
)
def test_bad_arguments_are_named(call, word):
    with pytest.raises(DataError, match=word):
        call(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("runs", "mean", "error"),
    [
        ([74.687, 72.562, 79.312, 76.187, 75.937, 74.563], 75.54, 0.92),
        ([77.812, 76.875, 76.500, 73.687, 73.625, 78.562], 76.18, 0.85),
    ],
)
def test_mean_and_error_give_the_published_figures(runs, mean, error):
    assert mean_and_error(runs) == pytest.approx((mean, error), abs=0.005)
    assert mean_and_error(runs)[1] == pytest.approx(scipy.stats.sem(runs))


def test_one_run_has_no_error():
    with pytest.raises(DataError, match="n >= 2"):
        mean_and_error([1.0])


def test_a_paired_interval_is_narrower_than_the_two_apart_where_models_err_together():
    rng = np.random.default_rng(0)
    hard = rng.random(400)
    first, second = (hard + 0.05 * rng.normal(size=400) < share for share in (0.75, 0.70))
    low, high = paired_bootstrap(first, second, rng=np.random.default_rng(1))
    assert low < first.mean() - second.mean() < high
    alone = accuracy_interval(first, rng=np.random.default_rng(1))
    assert high - low < 0.8 * (alone[1] - alone[0])


def test_a_paired_interval_turns_its_sign_with_the_models():
    rng = np.random.default_rng(2)
    first, second = rng.random((2, 60)) < 0.6
    groups = [f"g{i // 3}" for i in range(60)]
    low, high = paired_bootstrap(first, second, groups, rng=np.random.default_rng(3))
    turned = paired_bootstrap(second, first, groups, rng=np.random.default_rng(3))
    assert turned == pytest.approx((-high, -low))


def test_paired_scores_of_different_clips_are_refused():
    with pytest.raises(DataError, match="shapes"):
        paired_bootstrap([1.0, 0.0], [1.0], rng=np.random.default_rng(0))


@pytest.mark.parametrize(("share", "n_groups"), [(0.9, 2), (0.875, 5)])
def test_groups_that_are_all_alike_are_no_false_certainty(share, n_groups):
    right = np.tile(np.arange(40) < 40 * share, n_groups)
    groups = np.repeat([f"g{i}" for i in range(n_groups)], 40)
    found = accuracy_interval(right, groups, rng=np.random.default_rng(0))
    assert found == pytest.approx(wilson(share * n_groups, n_groups))
    assert found[0] < share < found[1]


def test_many_fractions_at_once_are_those_one_by_one():
    n = np.array([1, 5, 40, 1000])
    successes = np.array([0, 5, 13, 999])
    low, high = wilson_ends(successes, n, level=0.9)
    each = [wilson(int(s), int(m), level=0.9) for s, m in zip(successes, n, strict=True)]
    np.testing.assert_array_equal(np.stack([low, high], axis=1), each)
