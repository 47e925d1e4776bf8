"""The two toy problems of the lab: a bent line with noise, and two overlapping clouds of points.

Conventions: inputs are float32 [N, D], targets float32 [N, K]; every draw comes from the seed given.
Source: M. Cobos, "Machine Learning for Audio and Acoustic Engineering", laboratory 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earshot.evaluation.predictions import Predictions

Floats = NDArray[np.float32]

_MEANS = ((-1.0, -1.0), (1.0, 1.0))
_VARIANCES = (4.0, 3.0)


@dataclass(frozen=True)
class Toy:
    """Points to learn from and points to judge on; in the regression these are the same, as published."""

    inputs: Floats
    targets: Floats
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def bent_line(n: int = 1000, *, seed: int) -> Toy:
    """y = (2 x + 1) where x > 0, else 0, plus 0.2 N(0, 1); x is U(0, 1) - 0.5. Shape: [n, 1] -> [n, 1].

    The best possible mean squared error is the noise's, 0.04.
    """
    rng = np.random.default_rng(seed)
    x = rng.random(n) - 0.5
    y = (2 * x + 1) * (x > 0) + 0.2 * rng.standard_normal(n)
    everything = np.arange(n)
    return Toy(_column(x), _column(y), everything, everything)


def two_clouds(n_each: int = 1000, *, test_share: float = 0.3, seed: int) -> Toy:
    """Two normal clouds around (-1, -1) and (1, 1) with covariances 4 I and 3 I. Shape: [2 n, 2] -> [2 n, 1].

    The target is 1 for the second cloud; 30 % of the points are held out.
    """
    rng = np.random.default_rng(seed)
    clouds = [
        np.asarray(mean) + np.sqrt(variance) * rng.standard_normal((n_each, 2))
        for mean, variance in zip(_MEANS, _VARIANCES, strict=True)
    ]
    labels = np.repeat([0.0, 1.0], n_each)
    order = rng.permutation(2 * n_each)
    n_test = round(test_share * len(order))
    inputs = np.concatenate(clouds).astype(np.float32)
    return Toy(inputs, _column(labels), np.sort(order[n_test:]), np.sort(order[:n_test]))


def toy_predictions(toy: Toy, probs: Floats) -> Predictions:
    """Two classes from the one probability of the toy. Shape: [n, 1] -> [n, 2]."""
    second = probs[:, 0]
    truth = toy.targets[toy.test, 0]
    return Predictions(
        np.stack([1 - second, second], axis=1),
        ("first cloud", "second cloud"),
        clip_ids=tuple(str(i) for i in toy.test),
        targets=np.stack([1 - truth, truth], axis=1),
        split="test",
    )


def _column(values: NDArray[np.float64]) -> Floats:
    return values.astype(np.float32)[:, None]


TOYS: dict[str, Callable[..., Toy]] = {"regression": bent_line, "classification": two_clouds}
