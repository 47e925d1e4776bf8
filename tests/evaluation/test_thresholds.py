import json
import time
from dataclasses import replace

import numpy as np
import pytest

from earshot.errors import ConfigError, DataError
from earshot.evaluation.predictions import Predictions
from earshot.evaluation.statistics import wilson
from earshot.evaluation.thresholds import ClassThresholds, fit_thresholds, nested_thresholds


def two_classes(p, truth, *, split="oof"):
    """Two labels a clip: the first as given, the second never there and never said."""
    probs = np.stack([p, np.zeros(len(p))], axis=1).astype(np.float32)
    targets = np.stack([truth, np.zeros(len(p))], axis=1).astype(np.float32)
    ids = tuple(map(str, range(len(p))))
    return Predictions(probs, ("owl", "fox"), clip_ids=ids, targets=targets, split=split, multilabel=True)


def test_the_threshold_is_the_lowest_that_reaches_the_precision():
    predictions = two_classes([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0])
    assert fit_thresholds(predictions, precision=0.75).thresholds[0] == pytest.approx(0.6)
    assert fit_thresholds(predictions, precision=0.9).thresholds[0] == pytest.approx(0.8)
    assert fit_thresholds(predictions, precision=0.6).thresholds[0] == pytest.approx(0.5)


def test_clips_of_equal_probability_are_said_together_or_not_at_all():
    predictions = two_classes([0.9, 0.5, 0.5, 0.5], [1, 1, 0, 0])
    assert fit_thresholds(predictions, precision=1.0).thresholds[0] == pytest.approx(0.9)


def test_a_class_that_never_gets_there_is_never_said():
    fitted = fit_thresholds(two_classes([0.9, 0.8], [0, 0]), precision=0.5)
    assert fitted.thresholds == (None, None)
    assert not fitted.apply(np.ones((3, 2))).any()


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("precision", [0.7, 0.9])
def test_on_what_it_was_fitted_on_every_class_said_is_right_often_enough(make, precision, multilabel):
    (predictions,) = make(n_clips=800, multilabel=multilabel)
    said = fit_thresholds(predictions, precision=precision).apply(predictions.probs)
    true = predictions.known_targets > 0.5
    for k in np.flatnonzero(said.any(axis=0)):
        assert true[said[:, k], k].mean() >= precision
    assert said.any()


def test_with_one_label_a_clip_only_the_most_probable_class_can_be_said(make):
    (predictions,) = make()
    said = fit_thresholds(predictions, precision=0.3).apply(predictions.probs)
    assert said.sum(axis=1).max() == 1
    assert (said.argmax(axis=1) == predictions.predicted)[said.any(axis=1)].all()


def test_a_lower_bound_keeps_the_promise_on_new_clips_more_often(make):
    misses = {None: 0, 0.9: 0}
    for seed in range(40):
        (predictions,) = make(n_clips=2100, n_classes=2, seed=seed)
        few, new = predictions.subset(np.arange(100)), predictions.subset(np.arange(100, 2100))
        for level in misses:
            said = fit_thresholds(few, precision=0.85, level=level).apply(new.probs)[:, 0]
            misses[level] += said.any() and (new.labels[said] == 0).mean() < 0.85
    assert misses[0.9] < 0.5 * misses[None]
    assert misses[0.9] <= 8


def test_the_nested_measure_does_not_see_the_labels_it_judges(make, folds_of):
    (predictions,) = make(n_clips=200)
    folds = folds_of(200)
    said, rows = nested_thresholds(predictions, folds, precision=0.8)
    targets = predictions.known_targets.copy()
    targets[folds[0]] = np.roll(targets[folds[0]], 1, axis=1)
    changed, _ = nested_thresholds(replace(predictions, targets=targets), folds, precision=0.8)
    np.testing.assert_array_equal(said[folds[0]], changed[folds[0]])
    assert [row["n_said"] for row in rows] == said.sum(axis=0).tolist()
    right = (said & (predictions.known_targets > 0.5)).sum(axis=0)
    for row, n_right, n_true in zip(rows, right, predictions.known_targets.sum(axis=0), strict=True):
        assert row["precision"] == pytest.approx(n_right / row["n_said"])
        assert row["recall"] == pytest.approx(n_right / n_true)


def test_thresholds_go_through_json_and_back():
    fitted = ClassThresholds((0.25, None), 0.9, multilabel=True)
    assert ClassThresholds.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


def test_thresholds_are_not_fitted_on_what_is_tested_nor_for_no_precision():
    with pytest.raises(DataError, match="split is 'test'"):
        fit_thresholds(two_classes([0.9], [1], split="test"))
    with pytest.raises(ConfigError, match="precision is 0"):
        fit_thresholds(two_classes([0.9], [1]), precision=0)


@pytest.mark.parametrize("level", [None, 0.5])
def test_the_threshold_is_that_of_a_plain_search(make, level):
    (predictions,) = make(n_clips=300, multilabel=True)
    fitted = fit_thresholds(predictions, precision=0.8, level=level)
    for k, limit in enumerate(fitted.thresholds):
        p, true = predictions.probs[:, k], predictions.known_targets[:, k] > 0.5
        reached = [
            threshold
            for threshold in np.unique(p)
            for n, right in [(int((p >= threshold).sum()), int(true[p >= threshold].sum()))]
            if (right / n if level is None else wilson(right, n, level=level)[0]) >= 0.8
        ]
        assert limit == (float(min(reached)) if reached else None)


def test_a_hundred_thousand_clips_take_no_time():
    rng = np.random.default_rng(0)
    truth = rng.random(100_000) < 0.3
    predictions = two_classes(np.clip(0.5 * truth + 0.5 * rng.random(100_000), 0, 1), truth)
    started_s = time.perf_counter()
    fit_thresholds(predictions, precision=0.999, level=0.5)
    assert time.perf_counter() - started_s < 1
