"""Several members into one: a logarithmic pool whose weights are fitted on predictions out of fold.

Conventions: member probabilities are [M, N, K], weights are [M], non-negative. The pool is
p ~ prod_m p_m ** w_m (for several labels a clip: the same on each class's odds), so that a member's weight is at
once its say and its sharpness: with one member, w is an inverse temperature. The log loss is convex in the weights.
Sources: Genest and Zidek, "Combining probability distributions", 1986; Wolpert, "Stacked generalization", 1992.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earshot.errors import DataError, complaint
from earshot.evaluation.predictions import Predictions

Floats = NDArray[np.float64]

_SMALLEST_PROB = 1e-6  # one wrong member that is certain must not rule a class out for ever
_MAX_WEIGHT = 10.0
# Pull towards an even share, in clips: with a handful of clips the weights stay near even and mild.
_PRIOR_CLIPS = 2.0
_FITTABLE = ("oof", "valid")


def pool(
    probs: NDArray[np.floating], weights: Sequence[float] | Floats, *, multilabel: bool
) -> NDArray[np.float32]:
    """Pools members. Shape: probs [M, N, K], weights [M] -> [N, K].

    >>> even = pool(np.array([[[0.9, 0.1]], [[0.5, 0.5]]]), [1.0, 1.0], multilabel=False)
    >>> even.round(3).tolist()
    [[0.8999999761581421, 0.10000000149011612]]
    """
    mixed = np.tensordot(np.asarray(weights, dtype=np.float64), _scores(probs, multilabel), axes=1)
    return np.asarray(_probs_of(mixed, multilabel), dtype=np.float32)


def fit_weights(members: Sequence[Predictions]) -> Floats:
    """The weights [M] that make the targets most likely.

    Raises:
        DataError: the predictions are of clips that were trained on or are to be tested on, have no targets, or are
            not of the same clips.
    """
    first = members[0]
    for each in members:
        if each.split not in _FITTABLE:
            fix = "Weights fitted on what they are scored on flatter; use out-of-fold predictions."
            raise DataError(complaint("ensemble", "split", each.split, f"one of {', '.join(_FITTABLE)}", fix))
        if each.clip_ids != first.clip_ids or each.classes != first.classes:
            raise DataError("ensemble: the members predict different clips or classes; give them the same.")
    from scipy.optimize import minimize

    scores = _scores(np.stack([each.probs for each in members]), first.multilabel)
    targets = first.known_targets.astype(np.float64)
    even = np.full(len(members), 1.0 / len(members))

    def loss(weights: Floats) -> tuple[float, Floats]:
        mixed = np.tensordot(weights, scores, axes=1)
        probs = _probs_of(mixed, first.multilabel)
        error = probs - targets
        gradient = np.einsum("mnk,nk->m", scores, error) + 2 * _PRIOR_CLIPS * (weights - even)
        likely = np.log(np.clip(probs, 1e-300, None)) * targets
        if first.multilabel:
            likely += np.log(np.clip(1 - probs, 1e-300, None)) * (1 - targets)
        return float(-likely.sum() + _PRIOR_CLIPS * np.square(weights - even).sum()), gradient

    found = minimize(loss, even, jac=True, bounds=[(0.0, _MAX_WEIGHT)] * len(members), method="L-BFGS-B")
    return np.asarray(found.x, dtype=np.float64)


def nested_pool(members: Sequence[Predictions], folds: Sequence[NDArray[np.int64]]) -> Predictions:
    """Pools out-of-fold predictions so that they stay honest: each fold with weights fitted on the others.

    Args:
        folds: positions in the predictions of each fold's clips; together all of them.
    """
    first = members[0]
    pooled = np.empty_like(first.probs)
    everything = np.arange(len(first))
    for fold in folds:
        others = np.setdiff1d(everything, fold)
        weights = fit_weights([each.subset(others) for each in members])
        probs = np.stack([each.probs[fold] for each in members])
        pooled[fold] = pool(probs, weights, multilabel=first.multilabel)
    return Predictions(
        pooled,
        first.classes,
        clip_ids=first.clip_ids,
        targets=first.targets,
        split=first.split,
        groups=first.groups,
        multilabel=first.multilabel,
    )


def _scores(probs: NDArray[np.floating], multilabel: bool) -> Floats:
    """Log probabilities, or log odds for several labels a clip."""
    safe = np.clip(np.asarray(probs, dtype=np.float64), _SMALLEST_PROB, 1 - _SMALLEST_PROB)
    return np.asarray(np.log(safe) - (np.log1p(-safe) if multilabel else 0.0))


def _probs_of(scores: Floats, multilabel: bool) -> Floats:
    if multilabel:
        return np.asarray(1.0 / (1.0 + np.exp(-scores)))
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
