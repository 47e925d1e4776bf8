"""From which probability a class is said, so that it is right as often as wanted.

Conventions: probabilities are [N, K], what is said is bool [N, K], precision is the share of right ones among the
clips a class is said of. Thresholds are fitted on predictions out of fold; what they are worth is measured on folds
they were not fitted on (`nested_thresholds`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.errors import ConfigError, complaint
from earshot.evaluation.cross_fitting import Folds, cross_fitted, require_fittable
from earshot.evaluation.predictions import THRESHOLD, Predictions
from earshot.evaluation.statistics import wilson_ends

Probs = NDArray[np.floating]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ClassThresholds:
    """For each class the probability from which it is said, or None where no threshold reached the precision.

    With one label a clip only the most probable class can be said; a clip with nothing said is left to a person.
    """

    thresholds: tuple[float | None, ...]
    precision: float
    multilabel: bool

    def apply(self, probs: Probs) -> Mask:
        """Which classes are said. Shape: [N, K] -> bool [N, K]."""
        limits = np.array([np.inf if each is None else each for each in self.thresholds])
        return np.asarray((np.asarray(probs) >= limits) & _candidates(probs, self.multilabel))

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON knows them."""
        return {
            "thresholds": list(self.thresholds),
            "precision": self.precision,
            "multilabel": self.multilabel,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClassThresholds:
        """The value of `to_dict`."""
        limits = tuple(None if each is None else float(each) for each in values["thresholds"])
        return cls(limits, float(values["precision"]), bool(values["multilabel"]))


def fit_thresholds(
    predictions: Predictions, *, precision: float = 0.95, level: float | None = None
) -> ClassThresholds:
    """The lowest threshold of each class at and above which it is right often enough.

    Args:
        precision: wanted share of right ones among the clips a class is said of.
        level: ask that the lower end of Wilson's interval at this level reach the precision, not only the share
            seen. A threshold picked for its share flatters itself where a class has few clips; this does not.

    Raises:
        DataError: as `require_fittable`.
        ConfigError: the precision is no fraction.
    """
    require_fittable("thresholds", predictions)
    if not 0 < precision <= 1:
        raise ConfigError(complaint("thresholds", "precision", precision, "a fraction above 0, up to 1"))
    candidates = _candidates(predictions.probs, predictions.multilabel)
    true = predictions.known_targets >= THRESHOLD if predictions.multilabel else _one_hot(predictions)
    limits = [
        _lowest(p[here], t[here], precision=precision, level=level)
        for p, t, here in zip(predictions.probs.T, true.T, candidates.T, strict=True)
    ]
    return ClassThresholds(tuple(limits), precision, predictions.multilabel)


def nested_thresholds(
    predictions: Predictions, folds: Folds, *, precision: float = 0.95, level: float | None = None
) -> tuple[Mask, list[dict[str, Any]]]:
    """What each fold says at thresholds from the other folds, and for each class how that went.

    Returns:
        said, bool [N, K]; and a dict a class: label, n_said, precision (None where nothing was said), recall.
    """

    def predict(others: NDArray[np.int64], fold: NDArray[np.int64]) -> Mask:
        fitted = fit_thresholds(predictions.subset(others), precision=precision, level=level)
        return fitted.apply(predictions.probs[fold])

    said = cross_fitted(len(predictions), folds, predict) > 0
    true = predictions.known_targets >= THRESHOLD if predictions.multilabel else _one_hot(predictions)
    rows = []
    for k, label in enumerate(predictions.classes):
        n_said, n_true, n_right = (int(each[:, k].sum()) for each in (said, true, said & true))
        found = n_right / n_said if n_said else None
        recall = n_right / n_true if n_true else None
        rows.append({"label": label, "n_said": n_said, "precision": found, "recall": recall})
    return said, rows


def _lowest(p: Probs, true: Mask, *, precision: float, level: float | None) -> float | None:
    order = np.argsort(-p, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(p[order]) != 0, True)) if len(p) else np.empty(0, dtype=np.int64)
    n_right = np.cumsum(true[order], dtype=np.int64)[ends] if len(p) else ends
    reached = n_right / (ends + 1) if level is None else wilson_ends(n_right, ends + 1, level=level)[0]
    enough = np.flatnonzero(reached >= precision)
    return float(p[order[ends[enough[-1]]]]) if len(enough) else None


def _candidates(probs: Probs, multilabel: bool) -> Mask:
    p = np.asarray(probs)
    return np.ones(p.shape, dtype=bool) if multilabel else np.eye(p.shape[1], dtype=bool)[p.argmax(axis=1)]


def _one_hot(predictions: Predictions) -> Mask:
    return np.eye(len(predictions.classes), dtype=bool)[predictions.labels]
