import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve as sk_precision_recall
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sk_roc

from earshot.errors import DataError
from earshot.evaluation.class_scores import (
    MAX_POINTS,
    class_curves,
    class_details,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)
from earshot.evaluation.metrics import summarise
from earshot.evaluation.predictions import Predictions
from earshot.evaluation.statistics import wilson


def made(probs, labels, *, groups=None, multilabel=False):
    probs = np.asarray(probs, dtype=np.float32)
    return Predictions(
        probs,
        tuple(f"c{k}" for k in range(probs.shape[1])),
        clip_ids=tuple(map(str, range(len(probs)))),
        targets=labels if multilabel else np.eye(probs.shape[1])[labels],
        groups=groups,
        multilabel=multilabel,
    )


def scores(n, *, seed=0, digits=8):
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.3
    return truth, np.round(rng.normal(size=n) + truth, digits)


@pytest.mark.parametrize("digits", [8, 1, 0])  # fewer digits make ties
def test_curves_and_area_agree_with_scikit_learn(digits):
    truth, score = scores(300, digits=digits)
    assert roc_auc(truth, score) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    ours = roc_curve(truth, score)
    false_alarms, found, _ = sk_roc(truth, score, drop_intermediate=False)
    np.testing.assert_allclose(ours["false_alarms"], false_alarms)
    np.testing.assert_allclose(ours["recall"], found)
    ours = precision_recall_curve(truth, score)
    precision, recall, _ = sk_precision_recall(truth, score)
    np.testing.assert_allclose(ours["recall"][1:], recall[-2::-1])
    np.testing.assert_allclose(ours["precision"][1:], precision[-2::-1])


def test_curves_without_both_kinds_of_clips_are_refused():
    with pytest.raises(DataError, match="clips of the class"):
        roc_curve([1, 1], [0.1, 0.2])
    with pytest.raises(DataError, match="clips of the class"):
        precision_recall_curve([0, 0], [0.1, 0.2])


def test_a_thinned_curve_keeps_its_ends_and_shape():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 20_000)
    p = 1 / (1 + np.exp(-(rng.normal(size=20_000) + 2 * labels - 1)))
    (row, _) = class_curves(made(np.stack([1 - p, p], axis=1), labels))
    roc = row["roc"]
    assert len(roc["recall"]) <= MAX_POINTS + 2
    assert (roc["recall"][0], roc["recall"][-1]) == (0, 1)
    assert np.trapezoid(roc["recall"], roc["false_alarms"]) == pytest.approx(
        roc_auc(labels == 0, 1 - p), abs=2e-3
    )


def test_classes_without_clips_have_no_curve_and_no_area():
    predictions = made([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]], [0, 1])
    assert [row["label"] for row in class_curves(predictions)] == ["c0", "c1"]
    rows = class_details(predictions, rng=np.random.default_rng(0))
    assert rows[2]["roc_auc"] is None
    assert rows[2]["recall_ci95"] is None
    assert rows[2]["n_groups"] == 0


def test_intervals_hold_the_score_and_grow_when_clips_come_in_groups():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 5)
    labels = np.repeat(rng.integers(0, 3, 60), 5)
    said = np.where(np.repeat(rng.random(60) < 0.25, 5), (labels + 1) % 3, labels)  # a group errs as one
    probs = 0.1 + 0.7 * np.eye(3)[said]
    wide, narrow = (
        class_details(made(probs, labels, groups=groups), rng=np.random.default_rng(0))
        for groups in (tuple(map(str, group)), None)
    )
    points = summarise(made(probs, labels), n_bootstrap=10, rng=rng)["per_class"]
    for row, other, point in zip(wide, narrow, points, strict=True):
        for score in ("precision", "recall", "f1"):
            low, high = row[f"{score}_ci95"]
            assert 0 <= low < point[score] < high <= 1
            assert high - low > 1.4 * (other[f"{score}_ci95"][1] - other[f"{score}_ci95"][0])


def test_all_right_is_not_taken_for_certainty():
    rows = class_details(
        made(np.eye(2)[[0] * 4 + [1] * 4] * 0.8 + 0.1, [0] * 4 + [1] * 4), rng=np.random.default_rng(0)
    )
    assert rows[0]["recall_ci95"] == pytest.approx([0.51, 1.0], abs=0.01)  # Wilson for 4 of 4
    lone = class_details(
        made([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1], groups=("a", "b", "b")),
        rng=np.random.default_rng(0),
    )
    assert lone[1]["recall_ci95"] == [0.0, 1.0]  # one group, part right: nothing is known


def test_recall_intervals_cover_the_truth():
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        right = rng.random(120) < 0.7
        labels = rng.integers(0, 2, 120)
        probs = 0.1 + 0.8 * np.eye(2)[np.where(right, labels, 1 - labels)]
        low, high = class_details(made(probs, labels), n_resamples=300, rng=rng)[0]["recall_ci95"]
        covered += low <= 0.7 <= high
    assert covered >= 52


def test_with_several_labels_each_class_is_its_own_question():
    probs = np.array([[0.9, 0.8], [0.9, 0.2], [0.2, 0.7], [0.1, 0.1]])
    rows = class_details(
        made(probs, [[1, 1], [1, 0], [0, 0], [0, 1]], multilabel=True), rng=np.random.default_rng(0)
    )
    assert rows[0]["roc_auc"] == 1.0
    assert rows[1]["roc_auc"] == 0.5
    assert rows[1]["n_groups"] == 2


def test_groups_that_are_all_alike_are_not_taken_for_certainty():
    """In each of five recordings one of two clips of a class is found."""
    labels, groups = [0, 0, 1, 1] * 5, [f"g{i // 4}" for i in range(20)]
    said = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.1, 0.9]] * 5)
    row = class_details(made(said, labels, groups=tuple(groups)), rng=np.random.default_rng(0))[0]
    assert row["recall_ci95"] == pytest.approx(list(wilson(2.5, 5)))
