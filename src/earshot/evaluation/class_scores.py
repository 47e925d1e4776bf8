"""What can be said of each class on its own: intervals of precision, recall and F1, and curves over the threshold.

Conventions: a class is a yes-or-no question; `truth` is bool [N], `scores` float [N], the higher the surer; rates
are fractions in [0, 1]. Intervals are at 95 %, over whole groups drawn with replacement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from earshot.errors import DataError, complaint
from earshot.evaluation.metrics import average_precision
from earshot.evaluation.predictions import THRESHOLD, Predictions
from earshot.evaluation.statistics import wilson

Floats = NDArray[np.float64]
MAX_POINTS = 80  # of a drawn curve
_BLOCK = 4_000_000  # draws at once: 16 MB of float32
_SCORES = ("precision", "recall", "f1")


def class_details(
    predictions: Predictions, *, n_resamples: int = 1000, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """One dict a class: label, n_groups, precision_ci95, recall_ci95, f1_ci95, average_precision, roc_auc.

    An interval is None where the score itself is undefined. Where resampling has no spread, because all or none of
    the clips are right or as many of each group, it is Wilson's with the groups as trials. Areas are None without
    clips of the class, or of any other class.
    """
    true, said = _marks(predictions)
    group_of = _group_index(predictions)
    n_groups = _groups_with(true, group_of)
    ends = _bootstrapped(true, said, group_of, n_resamples=n_resamples, rng=rng)
    asked = {
        "precision": _groups_with(said, group_of),
        "recall": n_groups,
        "f1": _groups_with(true | said, group_of),
    }
    hits = (true & said).sum(axis=0)
    perfect = {"precision": said.sum(axis=0), "recall": true.sum(axis=0), "f1": (true | said).sum(axis=0)}
    rows = []
    for k, name in enumerate(predictions.classes):
        row: dict[str, Any] = {"label": name, "n_groups": int(n_groups[k])}
        for score in _SCORES:
            n, n_right = int(asked[score][k]), int(hits[k])
            flat = n_right in (0, int(perfect[score][k]))
            row[f"{score}_ci95"] = _interval(ends[score][k], n, n_right=n_right, flat=flat)
        rows.append(row | _areas(true[:, k], predictions.probs[:, k]))
    return rows


def with_details(
    per_class: Sequence[Mapping[str, Any]], predictions: Predictions, *, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The `per_class` of `summarise` with `class_details`."""
    details = class_details(predictions, rng=rng)
    return [{**row, **more} for row, more in zip(per_class, details, strict=True)]


def _interval(ends: Floats, n: int, *, n_right: int, flat: bool) -> list[float] | None:
    if n == 0:
        return None
    if flat:
        return list(wilson(n if n_right else 0, n))
    if n < 2:
        return [0.0, 1.0]
    return [float(ends[0]), float(ends[1])] if ends[0] < ends[1] else list(wilson(float(ends[0]) * n, n))


def _areas(true: NDArray[np.bool_], scores: NDArray[np.float32]) -> dict[str, float | None]:
    if not true.any() or true.all():
        return {"average_precision": None, "roc_auc": None}
    return {"average_precision": average_precision(true, scores), "roc_auc": roc_auc(true, scores)}


def _marks(predictions: Predictions) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """True and said classes, bool [N, K] each."""
    if predictions.multilabel:
        return predictions.known_targets >= THRESHOLD, predictions.probs >= THRESHOLD
    eye = np.eye(len(predictions.classes), dtype=bool)
    return eye[predictions.labels], eye[predictions.predicted]


def _group_index(predictions: Predictions) -> NDArray[np.intp]:
    if predictions.groups is None:
        return np.arange(len(predictions))
    return np.asarray(pd.factorize(np.asarray(predictions.groups, dtype=object))[0], dtype=np.intp)


def _sums(marks: NDArray[np.bool_], group_of: NDArray[np.intp]) -> sparse.csr_array:
    """Marks counted by group. Shape: [N, K] -> [G, K]."""
    rows, columns = np.nonzero(marks)
    shape = (int(group_of.max()) + 1, marks.shape[1])
    counts = sparse.csr_array((np.ones(len(rows), np.float32), (group_of[rows], columns)), shape=shape)
    counts.sum_duplicates()
    return counts


def _groups_with(marks: NDArray[np.bool_], group_of: NDArray[np.intp]) -> NDArray[np.int64]:
    return np.asarray((_sums(marks, group_of) > 0).sum(axis=0), dtype=np.int64).reshape(-1)


def _bootstrapped(
    true: NDArray[np.bool_],
    said: NDArray[np.bool_],
    group_of: NDArray[np.intp],
    *,
    n_resamples: int,
    rng: np.random.Generator,
) -> dict[str, Floats]:
    """Ends of each score's interval [K, 2]; a resample without the class counts for no score of it."""
    sums = [_sums(marks, group_of) for marks in (true & said, said, true)]
    n_groups = sums[0].shape[0]
    step = max(1, _BLOCK // n_groups)
    drawn: dict[str, list[Floats]] = {score: [] for score in _SCORES}
    for start in range(0, n_resamples, step):
        n = min(step, n_resamples - start)
        weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n).astype(np.float32)
        hits, n_said, n_true = (np.asarray(weights @ each, dtype=np.float64) for each in sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn["precision"].append(hits / n_said)
            drawn["recall"].append(hits / n_true)
            drawn["f1"].append(2 * hits / (n_said + n_true))
    return {score: _quantiles(np.concatenate(parts)) for score, parts in drawn.items()}


def _quantiles(samples: Floats) -> Floats:
    """2.5 % and 97.5 % quantiles of each column that has a number. Shape: [R, K] -> [K, 2]."""
    ends = np.tile([0.0, 1.0], (samples.shape[1], 1))
    for k, column in enumerate(samples.T):
        known = column[np.isfinite(column)]
        if len(known):
            ends[k] = np.quantile(known, [0.025, 0.975])
    return ends


def roc_auc(truth: ArrayLike, scores: ArrayLike) -> float:
    """Chance that a clip of the class scores above one that is not; ties count half.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75

    Raises:
        DataError: all clips are of the class, or none is.
    """
    curve = roc_curve(truth, scores)
    return float(np.trapezoid(curve["recall"], curve["false_alarms"]))


def roc_curve(truth: ArrayLike, scores: ArrayLike) -> dict[str, Floats]:
    """Share of others taken for the class (false_alarms) and of its clips found (recall), from (0, 0) to (1, 1).

    Raises:
        DataError: all clips are of the class, or none is.
    """
    hits, n_said, n_true, n = _steps(truth, scores)
    if n_true in (0, n):
        raise DataError(complaint("ROC curve", "clips of the class", n_true, f"between 1 and {n - 1}"))
    return {
        "false_alarms": np.append(0.0, (n_said - hits) / (n - n_true)),
        "recall": np.append(0.0, hits / n_true),
    }


def precision_recall_curve(truth: ArrayLike, scores: ArrayLike) -> dict[str, Floats]:
    """Precision at each recall that a threshold can give, the highest threshold first; starts at recall 0.

    Raises:
        DataError: no clip is of the class.
    """
    hits, n_said, n_true, _ = _steps(truth, scores)
    if n_true == 0:
        raise DataError(complaint("precision-recall curve", "clips of the class", 0, "at least 1"))
    precision = hits / n_said
    return {"recall": np.append(0.0, hits / n_true), "precision": np.append(precision[0], precision)}


def _steps(truth: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, int, int]:
    """Hits and all that is said at each distinct score, from the highest on; clips of the class, and all clips."""
    positive, score = np.asarray(truth) > THRESHOLD, np.asarray(scores, dtype=np.float64)
    if positive.ndim != 1 or positive.shape != score.shape or not len(score):
        raise DataError(
            complaint("class scores", "shapes", (positive.shape, score.shape), "[N] and [N], N >= 1")
        )
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # equal scores form one step
    hits = np.cumsum(positive[order])[ends].astype(np.float64)
    return hits, (ends + 1).astype(np.float64), int(positive.sum()), len(score)


def class_curves(predictions: Predictions) -> list[dict[str, Any]]:
    """One dict a class that has clips and is not the only one: label, roc and precision_recall, thinned."""
    true, _ = _marks(predictions)
    rows = []
    for k, name in enumerate(predictions.classes):
        if true[:, k].any() and not true[:, k].all():
            scores = predictions.probs[:, k]
            roc, pr = roc_curve(true[:, k], scores), precision_recall_curve(true[:, k], scores)
            rows.append({"label": name, "roc": _thin(roc), "precision_recall": _thin(pr)})
    return rows


def _thin(curve: dict[str, Floats]) -> dict[str, Floats]:
    """At most MAX_POINTS points of a curve, spread evenly along its length, both ends included."""
    x, y = curve.values()
    if len(x) <= MAX_POINTS:
        return curve
    along = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    picked = np.unique(np.searchsorted(along, np.linspace(0, along[-1], MAX_POINTS)))
    picked = np.union1d(picked, [0, len(x) - 1])
    return {name: values[picked] for name, values in curve.items()}
