"""The runs of a network as one: as a source does it, with weights fitted on what they are scored on, or nested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from earshot.data.splits import Fold
from earshot.evaluation.cross_fitting import Folds
from earshot.evaluation.ensemble import combination_of, in_sample, nested
from earshot.evaluation.metrics import accuracy
from earshot.evaluation.predictions import Predictions
from earshot.evaluation.weighting import even_weights
from earshot.studies.spec import Protocol


def combined(
    members: Sequence[Predictions], combination: str, *, protocol: Protocol, folds: Folds, seed: int
) -> tuple[Predictions, str]:
    """Members as one, and what is to be said of the weights.

    A random split fits them on the labels that are judged, as published. Folds fit each fold's weights on the
    others, and say what fitting on everything would have claimed.

    Raises:
        EarshotError: weights cannot be fitted honestly on a single fold, or the combination is not known.
    """
    how = combination_of(combination)
    flattering = in_sample(members, combination=how, rng=np.random.default_rng(seed))
    if how.weigher is even_weights:  # learns from nothing
        return flattering, ""
    if protocol.split == "random":
        return flattering, "weights fitted on the labels that are judged, as published"
    honest = nested(members, folds, combination=how, rng=np.random.default_rng(seed))
    claimed = 100 * accuracy(flattering.labels, flattering.predicted)
    return honest, f"fitted on the labels that are judged it would claim {claimed:.1f}"


def fold_positions(folds: Sequence[Fold]) -> Folds:
    """Where each fold's clips stand in predictions that join the folds one after another."""
    ends = np.cumsum([len(fold.test) for fold in folds])
    return [np.arange(end - len(fold.test), end) for fold, end in zip(folds, ends, strict=True)]
