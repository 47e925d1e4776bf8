"""Several members into one: named combinations, fitted on predictions out of fold and scored without seeing them.

Conventions: `members` are `Predictions` of the same clips in the same order; probabilities are [M, N, K], weights
[M]. A score is nested where each fold is combined with weights fitted on the other folds, and in-sample where the
weights saw what they are scored on; only the first is honest.
Source: Wolpert, "Stacked generalization", 1992.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earshot.errors import ConfigError, complaint
from earshot.evaluation.blending import Blend, pool
from earshot.evaluation.cross_fitting import (
    Folds,
    cross_fitted,
    require_fittable,
    require_same_clips,
    with_probs,
)
from earshot.evaluation.metrics import summarise
from earshot.evaluation.predictions import Predictions
from earshot.evaluation.swarm import METHODS
from earshot.evaluation.weighting import (
    Weigher,
    accuracy_weights,
    even_weights,
    greedy_weights,
    log_loss_weights,
    log_pool_weights,
    swarm_weights,
)

__all__ = [
    "COMBINATIONS",
    "Combination",
    "combination_of",
    "comparison_table",
    "fit_weights",
    "in_sample",
    "nested",
    "nested_pool",
    "pool",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Combination:
    """A rule (a key of `blending.RULES`) and a way to find its weights."""

    rule: str
    weigher: Weigher

    def fit(self, members: Sequence[Predictions], *, rng: np.random.Generator) -> Blend:
        """The blend for these members; only swarms draw from `rng`.

        Raises:
            DataError: the predictions are of clips that were trained on or are to be tested on, have no targets, or
                are not of the same clips.
        """
        require_same_clips("ensemble", members)
        for each in members:
            require_fittable("ensemble", each)
        return _blend(self, members, rng=rng)


COMBINATIONS: dict[str, Combination] = {
    "mean": Combination("mean", even_weights),
    "geometric_mean": Combination("log_pool", even_weights),
    "maximum": Combination("maximum", even_weights),
    "majority_vote": Combination("vote", even_weights),
    "accuracy": Combination("mean", accuracy_weights),
    "log_loss": Combination("mean", log_loss_weights),
    "log_pool": Combination("log_pool", log_pool_weights),
    "greedy": Combination("mean", greedy_weights),
    **{f"swarm_{name}": Combination("mean", partial(swarm_weights, method=name)) for name in METHODS},
}


def combination_of(name: str | Combination) -> Combination:
    """The combination of a name. Raises ConfigError for one that is not known."""
    if isinstance(name, Combination):
        return name
    if name not in COMBINATIONS:
        raise ConfigError(complaint("ensemble", "combination", name, f"one of {', '.join(COMBINATIONS)}"))
    return COMBINATIONS[name]


def nested(
    members: Sequence[Predictions],
    folds: Folds,
    *,
    combination: str | Combination,
    rng: np.random.Generator,
) -> Predictions:
    """Combines out-of-fold predictions so that they stay honest: each fold with weights fitted on the others.

    Args:
        folds: positions in the predictions of each fold's clips; together all of them.
        combination: a key of `COMBINATIONS`, or one of your own.

    Raises:
        DataError: as `Combination.fit`, or the folds do not hold each clip once.
    """
    how = combination_of(combination)
    require_same_clips("ensemble", members)
    first = members[0]

    def predict(others: NDArray[np.int64], fold: NDArray[np.int64]) -> NDArray[np.float32]:
        blend = how.fit([each.subset(others) for each in members], rng=rng)
        return blend.combine(np.stack([each.probs[fold] for each in members]), multilabel=first.multilabel)

    return with_probs(first, cross_fitted(len(first), folds, predict))


def in_sample(
    members: Sequence[Predictions], *, combination: str | Combination, rng: np.random.Generator
) -> Predictions:
    """The members as one, where the weights saw the very targets that are judged: flattering by design.

    Some published figures are such; beside a nested score they show what that is worth. The weights are dropped, so
    that nobody ships them, and any split is accepted.
    """
    require_same_clips("ensemble", members)
    first = members[0]
    blend = _blend(combination_of(combination), members, rng=rng)
    return with_probs(
        first, blend.combine(np.stack([each.probs for each in members]), multilabel=first.multilabel)
    )


def comparison_table(
    members: Mapping[str, Predictions],
    folds: Folds,
    *,
    methods: Sequence[str] = tuple(COMBINATIONS),
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Members and combinations side by side: how much of a gain is left once the weights cannot see the answers.

    Columns: method, accuracy and its 95 % interval (low, high) by groups, log_loss: all nested; accuracy_in_sample,
    log_loss_in_sample; seconds that one fit on everything took. For a member alone both are the same.
    """
    rows: list[dict[str, Any]] = []
    for name, each in members.items():
        rows.append(_row(name, each, in_sample=_scores(each), seconds=0.0, rng=rng))
    for name in methods:
        listed = list(members.values())
        together = nested(listed, folds, combination=name, rng=rng)
        started = time.perf_counter()
        scores = _scores(in_sample(listed, combination=name, rng=rng))
        rows.append(_row(name, together, in_sample=scores, seconds=time.perf_counter() - started, rng=rng))
    return pd.DataFrame(rows)


def fit_weights(members: Sequence[Predictions]) -> Floats:
    """The weights [M] of `pool` that make the targets most likely.

    Raises:
        DataError: as `Combination.fit`.
    """
    blend = COMBINATIONS["log_pool"].fit(members, rng=np.random.default_rng(0))  # draws nothing
    return np.asarray(blend.weights, dtype=np.float64)


def nested_pool(members: Sequence[Predictions], folds: Folds) -> Predictions:
    """`nested` with the logarithmic pool."""
    return nested(members, folds, combination="log_pool", rng=np.random.default_rng(0))  # draws nothing


def _blend(how: Combination, members: Sequence[Predictions], *, rng: np.random.Generator) -> Blend:
    first, probs = members[0], np.stack([each.probs for each in members])
    weights = how.weigher(probs, first.known_targets, multilabel=first.multilabel, rng=rng)
    return Blend(how.rule, tuple(weights.tolist()))


def _scores(predictions: Predictions) -> dict[str, float]:
    found = summarise(predictions, n_bootstrap=1, rng=np.random.default_rng(0))  # the interval is not read
    return {name: found[name] for name in ("accuracy", "log_loss")}


def _row(
    method: str,
    predictions: Predictions,
    *,
    in_sample: Mapping[str, float],
    seconds: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    honest = summarise(predictions, rng=rng)
    low, high = honest["accuracy_ci95"]
    return {
        "method": method,
        "accuracy": honest["accuracy"],
        "low": low,
        "high": high,
        "log_loss": honest["log_loss"],
        "accuracy_in_sample": in_sample["accuracy"],
        "log_loss_in_sample": in_sample["log_loss"],
        "seconds": seconds,
    }
