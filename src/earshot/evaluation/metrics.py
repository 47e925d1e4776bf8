"""Scores of predictions: pure functions of arrays, and `summarise`, which gathers them for `metrics.json`.

Conventions: `labels` and `predicted` are int [N], class numbers from 0; `probs` and `targets` are float
[N, K]; scores are fractions in [0, 1] unless said otherwise. A ratio of 0 / 0 (a class never seen or said)
counts as 0; means over classes leave out those without clip and prediction, as scikit-learn does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earshot.errors import DataError, complaint
from earshot.evaluation.predictions import THRESHOLD, Predictions
from earshot.evaluation.statistics import accuracy_interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
N_ECE_BINS = 15  # Guo et al. (2017)
SMALLEST_PROB = float(np.finfo(np.float32).eps)  # 1.2e-7: a certain mistake costs 15.9 nats, not infinity


def _pair(labels: ArrayLike, other: ArrayLike, *, n_dims: int = 1) -> tuple[Ints, NDArray[Any]]:
    """Checks labels [N] against predicted [N] or probs [N, K]."""
    true, said = np.asarray(labels).astype(np.int64), np.asarray(other)
    if true.ndim != 1 or said.ndim != n_dims or len(true) != len(said):
        rule = "[N] and [N]" if n_dims == 1 else "[N] and [N, K]"
        raise DataError(complaint("metrics", "shapes", (true.shape, said.shape), rule))
    if not len(true):
        raise DataError(
            complaint("metrics", "number of clips", 0, "at least 1", "There is nothing to score.")
        )
    n_classes = said.shape[1] if n_dims == 2 else None
    if true.min() < 0 or (n_classes is not None and true.max() >= n_classes):
        rule = f"class numbers from 0 to {n_classes - 1}" if n_classes else "class numbers from 0"
        raise DataError(complaint("metrics", "labels", (int(true.min()), int(true.max())), rule))
    return true, said.astype(np.int64) if n_dims == 1 else said.astype(np.float64)


def accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Share of clips whose predicted class is the true one.

    >>> accuracy([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    true, said = _pair(labels, predicted)
    return float(np.mean(true == said))


def top_k_accuracy(labels: ArrayLike, probs: ArrayLike, *, k: int = 5) -> float:
    """Share of clips whose true class is among the k most probable; of equals the first ranks higher."""
    true, p = _pair(labels, probs, n_dims=2)
    p_true = p[np.arange(len(true)), true][:, None]
    earlier = np.arange(p.shape[1]) < true[:, None]
    rank = (p > p_true).sum(axis=1) + ((p == p_true) & earlier).sum(axis=1)
    return float(np.mean(rank < k))


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, *, n_classes: int) -> Ints:
    """Counts int64 [K, K]: row = true class, column = predicted class."""
    true, said = _pair(labels, predicted)
    lowest, highest = int(said.min()), int(max(true.max(), said.max()))
    if lowest < 0 or highest >= n_classes:
        rule = f"class numbers from 0 to {n_classes - 1}"
        raise DataError(complaint("metrics", "class number", lowest if lowest < 0 else highest, rule))
    return (
        np.bincount(true * n_classes + said, minlength=n_classes**2)
        .reshape(n_classes, n_classes)
        .astype(np.int64)
    )


def _counts(labels: ArrayLike, predicted: ArrayLike) -> Ints:
    true, said = _pair(labels, predicted)
    return confusion_matrix(true, said, n_classes=int(max(true.max(), said.max())) + 1)


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)
    return ratio


def _class_scores(confusion: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 [K] from counts [K, K]."""
    right, n_true, n_said = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return _ratio(right, n_said), _ratio(right, n_true), _ratio(2 * right, n_true + n_said)


def balanced_accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Mean recall over the classes that have clips: every class weighs the same, however few its clips."""
    confusion = _counts(labels, predicted)
    return float(_class_scores(confusion)[1][confusion.sum(axis=1) > 0].mean())


def macro_f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Mean F1 over the classes that have a clip or a prediction."""
    confusion = _counts(labels, predicted)
    met = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    return float(_class_scores(confusion)[2][met].mean())


def per_class(labels: ArrayLike, predicted: ArrayLike, *, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One dict a class: label, n (its clips), precision, recall, f1."""
    confusion = confusion_matrix(labels, predicted, n_classes=len(classes))
    return _class_rows(classes, confusion.sum(axis=1), *_class_scores(confusion))


def _class_rows(classes: Sequence[str], n: NDArray[Any], *scores: Floats) -> list[dict[str, Any]]:
    rows = zip(classes, n.tolist(), *(score.tolist() for score in scores), strict=True)
    return [dict(zip(("label", "n", "precision", "recall", "f1"), row, strict=True)) for row in rows]


def log_loss(labels: ArrayLike, probs: ArrayLike) -> float:
    """Mean of -ln(probability of the true class), in nats; 0 is perfect, ln K is knowing nothing."""
    true, p = _pair(labels, probs, n_dims=2)
    # 0 minus, for minus the mean would be -0 where all is right.
    return float(0.0 - np.log(np.clip(p[np.arange(len(true)), true], SMALLEST_PROB, 1.0)).mean())


def brier(labels: ArrayLike, probs: ArrayLike) -> float:
    """Mean squared distance between probabilities and truth, summed over classes: 0 is perfect, 2 the worst.

    Source: Brier, "Verification of forecasts expressed in terms of probability" (1950).
    """
    true, p = _pair(labels, probs, n_dims=2)
    return float(np.square(p - np.eye(p.shape[1])[true]).sum(axis=1).mean())


def ece(labels: ArrayLike, probs: ArrayLike, *, n_bins: int = N_ECE_BINS) -> float:
    """Expected calibration error: the gap between confidence and accuracy, over equal-width bins.

    Source: Guo et al., "On calibration of modern neural networks" (2017), equation 3.
    """
    true, p = _pair(labels, probs, n_dims=2)
    return _binned_gap(p.max(axis=1), p.argmax(axis=1) == true, n_bins=n_bins)


def _binned_gap(confidence: Floats, right: NDArray[np.bool_], *, n_bins: int) -> float:
    at = np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)  # bins are (low, high]
    gap = np.bincount(at, weights=right - confidence, minlength=n_bins)  # n_bin * (accuracy - confidence)
    return float(np.abs(gap).sum() / len(confidence))


def average_precision(truth: ArrayLike, scores: ArrayLike) -> float:
    """Area under the precision-recall steps of one class: truth [N], scores [N]; NaN without positives."""
    positive, score = np.asarray(truth) > THRESHOLD, np.asarray(scores, dtype=np.float64)
    if not positive.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # equal scores form one step
    found = np.cumsum(positive[order])[ends]
    return float(np.sum(np.diff(found, prepend=0) * (found / (ends + 1))) / positive.sum())


def mean_average_precision(targets: ArrayLike, probs: ArrayLike) -> float:
    """Mean of `average_precision` over the classes that have a clip, for several labels a clip [N, K]."""
    truth, p = np.asarray(targets), np.asarray(probs)
    if truth.ndim != 2 or truth.shape != p.shape:
        raise DataError(complaint("metrics", "shapes", (truth.shape, p.shape), "[N, K] and [N, K]"))
    each = [
        average_precision(truth[:, k], p[:, k])
        for k in range(truth.shape[1])
        if (truth[:, k] > THRESHOLD).any()
    ]
    if not each:
        raise DataError(complaint("metrics", "targets", 0, "a positive clip in one class or more"))
    return float(np.mean(each))


def summarise(
    predictions: Predictions, *, n_bootstrap: int = 2000, rng: np.random.Generator
) -> dict[str, Any]:
    """Every score of labelled predictions as plain numbers, ready for JSON.

    Keys: accuracy, accuracy_ci95 (bootstrap over groups), balanced_accuracy, macro_f1, log_loss, ece, brier,
    n_clips, n_groups, per_class [{label, n, precision, recall, f1}], confusion [K][K]. With several labels a
    clip, accuracy is the share of clips with exactly the right labels, the other scores take each class as a
    yes-or-no question (log loss, ece and brier over all N x K of them), confusion is None and
    mean_average_precision is added; a score that the labels leave undefined is None.

    Raises:
        DataError: no clip, or no targets.
    """
    if not len(predictions):
        raise DataError(
            complaint("metrics", "number of clips", 0, "at least 1", "There is nothing to score.")
        )
    right, groups = predictions.right, predictions.groups
    low, high = accuracy_interval(right, groups, n_resamples=n_bootstrap, rng=rng)
    scores = _multi_scores(predictions) if predictions.multilabel else _single_scores(predictions)
    head = {"accuracy": float(right.mean()), "accuracy_ci95": [low, high]}
    sizes = {"n_clips": len(predictions), "n_groups": len(predictions if groups is None else set(groups))}
    return head | scores | sizes


def _single_scores(predictions: Predictions) -> dict[str, Any]:
    labels, predicted, probs = predictions.labels, predictions.predicted, predictions.probs
    return {
        "balanced_accuracy": balanced_accuracy(labels, predicted),
        "macro_f1": macro_f1(labels, predicted),
        "log_loss": log_loss(labels, probs),
        "ece": ece(labels, probs),
        "brier": brier(labels, probs),
        "per_class": per_class(labels, predicted, classes=predictions.classes),
        "confusion": confusion_matrix(labels, predicted, n_classes=len(predictions.classes)).tolist(),
    }


def _multi_scores(predictions: Predictions) -> dict[str, Any]:
    p = np.clip(predictions.probs.astype(np.float64), SMALLEST_PROB, 1 - SMALLEST_PROB)
    true, said = predictions.known_targets >= THRESHOLD, predictions.probs >= THRESHOLD
    hits, n_true, n_said = (true & said).sum(axis=0), true.sum(axis=0), said.sum(axis=0)
    recall, f1 = _ratio(hits, n_true), _ratio(2 * hits, n_true + n_said)
    rejection = _ratio((~true & ~said).sum(axis=0), (~true).sum(axis=0))
    judged = (n_true > 0) & (n_true < len(true))
    any_positive = bool(n_true.any())
    return {
        "balanced_accuracy": float(((recall + rejection) / 2)[judged].mean()) if judged.any() else None,
        "macro_f1": float(f1[(n_true + n_said) > 0].mean()) if (n_true + n_said).any() else None,
        "mean_average_precision": mean_average_precision(true, p) if any_positive else None,
        "log_loss": float(-np.where(true, np.log(p), np.log1p(-p)).mean()),
        "ece": _binned_gap(np.maximum(p, 1 - p).reshape(-1), (true == said).reshape(-1), n_bins=N_ECE_BINS),
        "brier": float(np.square(p - true).mean()),
        "per_class": _class_rows(predictions.classes, n_true, _ratio(hits, n_said), recall, f1),
        "confusion": None,
    }
