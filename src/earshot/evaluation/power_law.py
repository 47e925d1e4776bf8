"""How an error falls with the number of training clips: a power law with a floor, and what it says of more clips.

Conventions: sizes [S] are training clips, ascending; errors are fractions in [0, 1]; R is resamples.

Source: Hestness et al., "Deep learning scaling is predictable, empirically" (2017), equation 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earshot.errors import DataError, complaint

Floats = NDArray[np.float64]
_EXPONENTS = np.geomspace(0.05, 2.0, 40)
_SMALLEST_VARIANCE = 0.01  # of one answer: an error measured as 0 is not known without doubt
MIN_SIZES = 3
_N_PARAMETERS = 3


@dataclass(frozen=True)
class PowerLaw:
    """error(n) = floor + scale * n ** -exponent; each parameter is a number or an array [R]."""

    floor: Floats
    scale: Floats
    exponent: Floats

    def at(self, n: float | Floats) -> Floats:
        """The error at n training clips."""
        return np.asarray(self.floor + self.scale * np.asarray(n, dtype=np.float64) ** -self.exponent)


def fit_power_law(sizes: ArrayLike, errors: ArrayLike, *, with_floor: bool = True) -> PowerLaw:
    """The law of least squares, with floor and scale of at least 0 and an exponent within 0.05 and 2.

    Points weigh by the variance of a fraction, so that small errors are fitted as closely as large ones deserve.

    Args:
        with_floor: else the floor is 0: with clips enough, every mistake would go.

    Shape: sizes [S], errors [S] or [R, S] -> parameters [] or [R].

    Raises:
        DataError: fewer than three sizes, or sizes that do not grow.
    """
    n, y = np.asarray(sizes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if n.ndim != 1 or len(n) < MIN_SIZES or (np.diff(n) <= 0).any() or n[0] <= 0:
        rule = f"at least {MIN_SIZES} growing numbers of clips"
        raise DataError(complaint("power law", "sizes", n.tolist(), rule, "Add clips."))
    if y.shape[-1] != len(n) or not np.isfinite(y).all():
        raise DataError(
            complaint("power law", "shape of errors", y.shape, f"finite, [{len(n)}] or [R, {len(n)}]")
        )
    rows = np.atleast_2d(y)
    weights = 1 / np.maximum(rows * (1 - rows), _SMALLEST_VARIANCE)
    best = [np.full(len(rows), np.inf), *(np.zeros(len(rows)) for _ in range(3))]
    for exponent in _EXPONENTS:
        shape = n**-exponent
        floor, scale = _line(shape, rows, weights, with_floor=with_floor)
        loss = (weights * np.square(floor[:, None] + scale[:, None] * shape - rows)).sum(axis=1)
        better = loss < best[0]
        for held, found in zip(best, (loss, floor, scale, np.full(len(rows), exponent)), strict=True):
            held[better] = found[better]
    parts = [part if y.ndim == 2 else part[0] for part in best[1:]]
    return PowerLaw(*parts)


def _line(x: Floats, y: Floats, w: Floats, *, with_floor: bool) -> tuple[Floats, Floats]:
    """Weighted intercept and slope of at least 0 each. Shape: x [S], y and w [R, S] -> [R], [R]."""
    total, mean_x, mean_y = w.sum(axis=1), (w * x).sum(axis=1), (w * y).sum(axis=1)
    xx, xy = (w * x * x).sum(axis=1), (w * x * y).sum(axis=1)
    if not with_floor:
        return np.zeros(len(y)), xy / xx
    scale = (total * xy - mean_x * mean_y) / np.maximum(total * xx - mean_x**2, np.finfo(np.float64).tiny)
    floor = (mean_y - scale * mean_x) / total
    scale, floor = np.where(floor < 0, xy / xx, scale), np.maximum(floor, 0)
    return np.where(scale < 0, mean_y / total, floor), np.maximum(scale, 0)


@dataclass(frozen=True)
class Outlook:
    """What a law says of another number of training clips, with 95 % intervals.

    Attributes:
        n: training clips. error, error_ci95: what to expect there.
        gain, gain_ci95: how much the error falls from the largest size that was tried.
    """

    n: int
    error: float
    error_ci95: tuple[float, float]
    gain: float
    gain_ci95: tuple[float, float]


def outlook(
    sizes: ArrayLike, wrong: ArrayLike, groups: ArrayLike, *, n: int, rng: np.random.Generator
) -> Outlook:
    """What n training clips would bring, by laws fitted to whole groups drawn anew.

    A few points hardly say how low the law's floor lies, so half of the draws are fitted with a floor and half
    without, and points stray from it by the luck of which clips were learned from: each draw strays alike. The
    interval covers these, and which recordings are scored; not clips of another kind, nor another model.

    Args:
        wrong: bool [S, N]: whether each clip was wrong at each size.
        groups: [N].

    Raises:
        DataError: as `fit_power_law`.
    """
    mistakes = np.asarray(wrong, dtype=np.float64)
    law = fit_power_law(sizes, mistakes.mean(axis=1))
    last = float(np.asarray(sizes, dtype=np.float64)[-1])
    errors = resampled_means(mistakes, groups, n_resamples=1000, rng=rng)
    strays = mistakes.mean(axis=1) - law.at(np.asarray(sizes, dtype=np.float64))
    spread = float(np.sqrt(np.square(strays).sum() / max(len(strays) - _N_PARAMETERS, 1)))
    errors = np.clip(errors + rng.normal(0, spread, errors.shape), 0, 1)
    laws = [fit_power_law(sizes, errors, with_floor=each) for each in (True, False)]
    gains = np.concatenate([each.at(last) - each.at(float(n)) for each in laws])
    # The law's own curve gives the gain; the error itself is taken from where the model stands now.
    now, gain = float(mistakes[-1].mean()), float(law.at(last) - law.at(float(n)))
    low, high = (float(each) for each in np.quantile(gains, [0.025, 0.975]))
    later = np.maximum(np.tile(errors[:, -1], 2) - gains, 0.0)
    ends = np.quantile(later, [0.025, 0.975])
    return Outlook(n, max(now - gain, 0.0), (float(ends[0]), float(ends[1])), gain, (low, high))


def resampled_means(
    values: Floats, groups: ArrayLike, *, n_resamples: int, rng: np.random.Generator
) -> Floats:
    """Means over whole groups drawn with replacement, the same draw for every row. Shape: [S, N] -> [R, S]."""
    _, group_of = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    n_groups = int(group_of.max()) + 1
    sums = np.stack([np.bincount(group_of, weights=row, minlength=n_groups) for row in values], axis=1)
    sizes = np.bincount(group_of, minlength=n_groups).astype(np.float64)
    means = np.empty((n_resamples, len(values)))
    for i in range(n_resamples):
        drawn = rng.integers(0, n_groups, size=n_groups)
        means[i] = sums[drawn].sum(axis=0) / sizes[drawn].sum()
    return means
