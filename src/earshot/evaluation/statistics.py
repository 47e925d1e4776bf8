"""How far a score can be trusted: intervals that know clips of one recording are not independent.

Conventions: scores are fractions in [0, 1]; `groups` [N] names what each clip was cut from (a recording, a
speaker, a site); intervals are (low, high) at the stated level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earshot.errors import DataError, complaint

_BLOCK_DRAWS = 2_000_000  # drawn at once: 8 MB of int32 indices, 16 MB of what they fetch


def group_bootstrap(
    values: ArrayLike,
    groups: Sequence[str] | NDArray[Any] | None = None,
    *,
    statistic: Callable[[NDArray[Any]], Any] = np.mean,
    n_resamples: int = 2000,
    level: float = 0.95,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Percentile interval of a statistic over whole groups drawn with replacement.

    The mean is computed for all resamples at once; any other statistic is called once a resample.

    Args:
        values: [N] or [N, ...], one row a clip.
        groups: [N]; None makes every clip its own group.
        statistic: rows [M, ...] -> one number.

    Raises:
        DataError: shapes disagree, or there are fewer than two groups, which say nothing about spread.

    Source: Davison and Hinkley, "Bootstrap Methods and their Application" (1997), section 3.8.
    """
    array = np.asarray(values)
    members = _group_index(len(array), groups)
    n_groups = int(members.max()) + 1 if len(members) else 0
    if n_groups < 2:
        fix = "An interval needs clips from several recordings."
        raise DataError(complaint("group bootstrap", "number of groups", n_groups, "at least 2", fix))
    if not 0 < level < 1:
        raise DataError(complaint("group bootstrap", "level", level, "a fraction between 0 and 1"))
    if n_resamples < 1:
        raise DataError(complaint("group bootstrap", "n_resamples", n_resamples, "a whole number >= 1"))
    draw = _resampled_means if statistic is np.mean and array.ndim == 1 else _resampled
    scores = draw(array, members, n_groups=n_groups, statistic=statistic, n_resamples=n_resamples, rng=rng)
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _group_index(n: int, groups: Sequence[str] | NDArray[Any] | None) -> NDArray[np.intp]:
    if groups is None:
        return np.arange(n, dtype=np.intp)
    if len(groups) != n:
        raise DataError(complaint("group bootstrap", "number of groups", len(groups), f"one a value ({n})"))
    return np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)


def _resampled_means(
    values: NDArray[Any],
    members: NDArray[np.intp],
    *,
    n_groups: int,
    statistic: Callable[[NDArray[Any]], Any],
    n_resamples: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    sums = np.bincount(members, weights=values.astype(np.float64), minlength=n_groups)
    sizes = np.bincount(members, minlength=n_groups).astype(np.float64)
    n_block = max(1, _BLOCK_DRAWS // n_groups)
    means = np.empty(n_resamples)
    for start in range(0, n_resamples, n_block):
        n_rows = min(n_block, n_resamples - start)
        drawn = rng.integers(0, n_groups, size=(n_rows, n_groups), dtype=np.int32)
        means[start : start + n_rows] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return means


def _resampled(
    values: NDArray[Any],
    members: NDArray[np.intp],
    *,
    n_groups: int,
    statistic: Callable[[NDArray[Any]], Any],
    n_resamples: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    order = np.argsort(members, kind="stable")
    rows_of = np.split(order, np.cumsum(np.bincount(members, minlength=n_groups))[:-1])
    scores = np.empty(n_resamples)
    for i in range(n_resamples):
        rows = np.concatenate([rows_of[g] for g in rng.integers(0, n_groups, size=n_groups)])
        scores[i] = statistic(values[rows])
    return scores


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    groups: Sequence[str] | NDArray[Any] | None = None,
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Percentile interval of mean(first) - mean(second), two scores of each clip, over whole groups drawn anew.

    Args:
        first, second: [N], the same clips in the same order, such as whether two models were right.
        groups: [N]; None makes every clip its own group.

    Raises:
        DataError: as `group_bootstrap`, or the two differ in length.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise DataError(complaint("paired bootstrap", "shapes", (a.shape, b.shape), "[N] and [N]"))
    return group_bootstrap(a - b, groups, n_resamples=n_resamples, level=level, rng=rng)


def mean_and_error(runs: ArrayLike) -> tuple[float, float]:
    """Mean of repeated runs and its standard error, from the sample standard deviation (n - 1).

    >>> mean, error = mean_and_error([74.687, 72.562, 79.312, 76.187, 75.937, 74.563])
    >>> f"{mean:.2f} +- {error:.2f}"
    '75.54 +- 0.92'

    Raises:
        DataError: fewer than two runs, which say nothing about spread.
    """
    values = np.asarray(runs, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise DataError(complaint("mean and error", "shape of the runs", values.shape, "[n] with n >= 2"))
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def wilson(successes: float, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of a fraction from n independent trials; sound even at 0 and n successes.

    >>> tuple(round(end, 3) for end in wilson(10, 10))
    (0.722, 1.0)

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    """
    if n < 1 or not 0 <= successes <= n:
        raise DataError(complaint("wilson", "successes of n", (successes, n), "0 <= successes <= n, n >= 1"))
    if not 0 < level < 1:
        raise DataError(complaint("wilson", "level", level, "a fraction between 0 and 1"))
    low, high = wilson_ends(np.array(successes), np.array(n), level=level)
    return float(low), float(high)


def wilson_ends(
    successes: NDArray[np.number], n: NDArray[np.number], *, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`wilson` for many fractions at once; what is asked of its arguments is not checked."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    fraction, shrink = successes / n, 1 + z * z / n
    centre = (fraction + z * z / (2 * n)) / shrink
    half = z / shrink * np.sqrt(fraction * (1 - fraction) / n + z * z / (4 * n * n))
    return np.where(successes == 0, 0.0, centre - half), np.where(successes == n, 1.0, centre + half)


def accuracy_interval(
    correct: ArrayLike,
    groups: Sequence[str] | NDArray[Any] | None = None,
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Interval of an accuracy: bootstrap over groups, and never a false certainty where that has no spread.

    With every clip right (or wrong), or as many in each group, each resample says the same, and one group has
    nothing to resample. The first case falls back to Wilson's interval with the groups as trials; mixed answers in
    one group give (0, 1), which says that nothing is known.

    Args:
        correct: bool [N].
        groups: [N]; None makes every clip its own group.
    """
    right = np.asarray(correct, dtype=np.float64)
    if not len(right):
        raise DataError(complaint("accuracy interval", "number of clips", 0, "at least 1"))
    n_groups = int(_group_index(len(right), groups).max()) + 1
    if right.min() == right.max():
        return wilson(n_groups if right[0] else 0, n_groups, level=level)
    if n_groups < 2:
        return 0.0, 1.0
    low, high = group_bootstrap(right, groups, n_resamples=n_resamples, level=level, rng=rng)
    return (low, high) if low < high else wilson(low * n_groups, n_groups, level=level)
