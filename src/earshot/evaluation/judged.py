"""What answers are worth that no fold's own labels had a part in: coverage of sets, precision at thresholds.

Conventions: sets and what is said are bool [N, K]; shares are fractions, None where nothing was said; intervals are
at 95 %, by group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.evaluation.calibration import reliability
from earshot.evaluation.conformal import ConformalSets
from earshot.evaluation.cross_fitting import Folds, check_folds, with_probs
from earshot.evaluation.decisions import DecisionsConfig, fit_decisions, stacked
from earshot.evaluation.predictions import THRESHOLD, Predictions
from earshot.evaluation.statistics import accuracy_interval

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """Predictions and what is answered by them.

    Attributes:
        sets: [N, K], or None with several labels a clip.
        said: for each wanted precision what is said of each clip [N, K].
    """

    predictions: Predictions
    sets: Mask | None = None
    said: dict[float, Mask] = field(default_factory=dict)


def cross_judged(
    members: Sequence[Predictions], folds: Folds, *, methods: Sequence[str], config: DecisionsConfig
) -> Judged:
    """Answers for every clip, each fold's by what `fit_decisions` learned on the others.

    Args:
        methods: of calibration, for each fold one that its own labels had no part in.

    Raises:
        DataError: as `fit_decisions`, or the folds do not hold each clip once.
    """
    first, many = members[0], members[0].multilabel
    check_folds(len(first), folds)
    probs = np.empty_like(first.probs)
    sets = None if many else np.zeros(first.probs.shape, dtype=bool)
    said = {each: np.zeros(first.probs.shape, dtype=bool) for each in config.wanted_precisions}
    for fold, method in zip(folds, methods, strict=True):
        others = np.setdiff1d(np.arange(len(first)), fold)
        fitted = fit_decisions([each.subset(others) for each in members], method=method, config=config)
        probs[fold] = fitted.probs(stacked(members)[:, fold], multilabel=many)
        for limits in fitted.thresholds:
            said[limits.precision][fold] = limits.apply(probs[fold])
        if sets is not None and fitted.sets is not None:
            sets[fold] = fitted.sets.apply(probs[fold])
    return Judged(with_probs(first, probs), sets, said)


def answer_scores(judged: Judged, sets: ConformalSets | None, *, rng: np.random.Generator) -> dict[str, Any]:
    """Keys of metrics.json: reliability, precision and, where there are any, sets."""
    scores: dict[str, Any] = {
        "reliability": reliability(judged.predictions).to_dict("records"),
        "precision": _precision_rows(judged),
    }
    if judged.sets is not None and sets is not None:
        covered = judged.sets[np.arange(len(judged.sets)), judged.predictions.labels]
        sizes = judged.sets.sum(axis=1)
        scores["sets"] = {
            "score": sets.score,
            "miss_rate": sets.miss_rate,
            "coverage": float(covered.mean()),
            "coverage_ci95": list(accuracy_interval(covered, judged.predictions.groups, rng=rng)),
            "mean_size": float(sizes.mean()),
            "single_share": float((sizes == 1).mean()),
        }
    return scores


def _precision_rows(judged: Judged) -> list[dict[str, Any]]:
    """For each wanted precision: what was reached, and the share of clips of which something was said."""
    predictions = judged.predictions
    true = predictions.known_targets >= THRESHOLD
    if not predictions.multilabel:
        true = np.eye(len(predictions.classes), dtype=bool)[predictions.labels]
    rows = []
    for wanted, said in judged.said.items():
        n_said, n_right = int(said.sum()), int((said & true).sum())
        reached = n_right / n_said if n_said else None
        rows.append({"wanted": wanted, "precision": reached, "answered": float(said.any(axis=1).mean())})
    return rows
