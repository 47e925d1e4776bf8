"""Ways to find a weight for each member of an ensemble: by accuracy, log loss, greedy choice or a swarm.

Conventions: member probabilities are [M, N, K], targets [N, K], weights [M], non-negative. Weights of a mean sum to
1, those of a logarithmic pool need not. These functions see arrays and cannot know whether fitting on them is
honest: `ensemble.Combination.fit` is the gate for predictions. An accuracy counts a clip as right when argmax (the
first of equals) is the true class, or, with several labels a clip, when every class is on its side of 0.5.
Sources: Caruana et al., "Ensemble selection from libraries of models" (2004); `swarm` for the methods there.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earshot.evaluation.blending import SMALLEST_PROB, log_scores, probs_of, shares
from earshot.evaluation.error_rate import ErrorRate
from earshot.evaluation.predictions import right_clips
from earshot.evaluation.swarm import Step, minimise

Floats = NDArray[np.float64]
Probs = NDArray[np.floating]

N_GREEDY_ROUNDS = 50
_MAX_POOL_WEIGHT = 10.0
# Pull towards an even share, in clips: with a handful of clips the weights stay near even and mild.
_PRIOR_CLIPS = 2.0
_MOST_VALUES = 1_000_000  # probabilities of a member that the weights of a pool are found on


class Weigher(Protocol):
    """A way to find weights; all take the same arguments, and only a swarm draws from `rng`."""

    def __call__(
        self, probs: Probs, targets: Probs, *, multilabel: bool, rng: np.random.Generator
    ) -> Floats: ...


def even_weights(
    probs: Probs, targets: Probs, *, multilabel: bool, rng: np.random.Generator | None = None
) -> Floats:
    """Even weights."""
    return np.full(len(probs), 1.0 / len(probs))


def accuracy_weights(
    probs: Probs, targets: Probs, *, multilabel: bool, rng: np.random.Generator | None = None
) -> Floats:
    """Weights in proportion to each member's accuracy."""
    return shares(right_clips(probs, targets, multilabel=multilabel).mean(axis=-1))


def log_loss_weights(
    probs: Probs, targets: Probs, *, multilabel: bool, rng: np.random.Generator | None = None
) -> Floats:
    """The weights of the mean with the lowest log loss: a convex problem, so the answer is the best there is.

    Adding the sum of the weights to the loss makes the best non-negative weights sum to 1 by themselves (the
    gradient along the weights is -1 + their sum), which leaves a problem with simple bounds.
    """
    from scipy.optimize import minimize

    given, counts = _given_to_the_truth(probs, targets, multilabel=multilabel)
    total = counts.sum()

    def loss(weights: Floats) -> tuple[float, Floats]:
        mixed = np.maximum(weights @ given, 1e-300)
        value = -(counts @ np.log(mixed)) / total + weights.sum()
        return float(value), np.asarray(1.0 - given @ (counts / mixed) / total)

    even = np.full(len(given), 1.0 / len(given))
    found = minimize(loss, even, jac=True, bounds=[(0.0, None)] * len(given), method="L-BFGS-B")
    return shares(found.x)


def log_pool_weights(
    probs: Probs, targets: Probs, *, multilabel: bool, rng: np.random.Generator | None = None
) -> Floats:
    """The weights of the logarithmic pool that make the targets most likely, pulled a little towards even ones.

    Of very many clips some, evenly spread, will do: there is one number a member to find.
    """
    from scipy.optimize import minimize

    step = -(-np.asarray(targets).size // _MOST_VALUES)
    probs, targets = np.asarray(probs)[:, ::step], np.asarray(targets)[::step]
    scores, truth = log_scores(probs, multilabel=multilabel), np.asarray(targets, dtype=np.float64)
    even = np.full(len(probs), 1.0 / len(probs))

    def loss(weights: Floats) -> tuple[float, Floats]:
        pooled = probs_of(np.tensordot(weights, scores, axes=1), multilabel=multilabel)
        gradient = np.einsum("mnk,nk->m", scores, pooled - truth) + 2 * _PRIOR_CLIPS * (weights - even)
        likely = np.log(np.clip(pooled, 1e-300, None)) * truth
        if multilabel:
            likely += np.log(np.clip(1 - pooled, 1e-300, None)) * (1 - truth)
        return float(-likely.sum() + _PRIOR_CLIPS * np.square(weights - even).sum()), gradient

    found = minimize(loss, even, jac=True, bounds=[(0.0, _MAX_POOL_WEIGHT)] * len(probs), method="L-BFGS-B")
    return np.asarray(found.x, dtype=np.float64)


def greedy_weights(
    probs: Probs,
    targets: Probs,
    *,
    multilabel: bool,
    n_rounds: int = N_GREEDY_ROUNDS,
    rng: np.random.Generator | None = None,
) -> Floats:
    """Adds the member that helps the accuracy of the sum most, again and again, with replacement.

    Of equally accurate choices the lower log loss wins. The weights are each member's share of the choices up to
    the best round, so that going on past it does no harm.
    """
    p = np.asarray(probs, dtype=np.float64)
    given, truth = _given_to_the_truth(probs, targets, multilabel=multilabel)
    chosen, best, best_score = np.zeros(len(p)), np.zeros(len(p)), (-1.0, -np.inf)
    total, total_given = np.zeros(p.shape[1:]), np.zeros(given.shape[1])
    for n in range(1, n_rounds + 1):
        right = right_clips((total + p) / n, targets, multilabel=multilabel).mean(axis=1)
        likely = np.log((total_given + given) / n) @ truth
        at = int(np.lexsort((-likely, -right))[0])
        total, total_given = total + p[at], total_given + given[at]
        chosen[at] += 1
        if (score := (float(right[at]), float(likely[at]))) > best_score:
            best, best_score = chosen.copy(), score
    return shares(best)


def swarm_weights(
    probs: Probs,
    targets: Probs,
    *,
    multilabel: bool,
    rng: np.random.Generator,
    method: str | Step = "jaya",
    n_particles: int = 20,
    n_iterations: int = 500,
) -> Floats:
    """The weights with the highest accuracy that a swarm finds in [0, 1]^M."""
    objective = ErrorRate(probs, targets, multilabel=multilabel)
    bounds = [(0.0, 1.0)] * len(probs)
    found = minimise(
        objective, bounds, method=method, rng=rng, n_particles=n_particles, n_iterations=n_iterations
    )
    return shares(found.position)


def _given_to_the_truth(probs: Probs, targets: Probs, *, multilabel: bool) -> tuple[Floats, Floats]:
    """Probability that each member gave to each thing that was true [M, I], and how true it was [I]."""
    p = np.clip(np.asarray(probs, dtype=np.float64), SMALLEST_PROB, 1 - SMALLEST_PROB).reshape(len(probs), -1)
    truth = np.asarray(targets, dtype=np.float64).reshape(-1)
    if multilabel:
        p, truth = np.concatenate([p, 1 - p], axis=1), np.concatenate([truth, 1 - truth])
    return p[:, truth > 0], truth[truth > 0]
