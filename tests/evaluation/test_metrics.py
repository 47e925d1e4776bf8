import json
import subprocess
import sys

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot.errors import DataError
from earshot.evaluation import metrics
from earshot.evaluation.predictions import Predictions


def random_case(seed, *, n=200, n_classes=5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    logits = rng.normal(size=(n, n_classes)) + 1.5 * np.eye(n_classes)[labels]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probs.astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_scores_agree_with_scikit_learn(seed):
    labels, probs = random_case(seed)
    said = probs.argmax(axis=1)
    as_float64 = probs / probs.sum(axis=1, keepdims=True, dtype=np.float64)  # scikit-learn wants exact sums
    assert metrics.accuracy(labels, said) == pytest.approx(oracle.accuracy_score(labels, said))
    expected = oracle.balanced_accuracy_score(labels, said)
    assert metrics.balanced_accuracy(labels, said) == pytest.approx(expected)
    assert metrics.macro_f1(labels, said) == pytest.approx(oracle.f1_score(labels, said, average="macro"))
    assert metrics.log_loss(labels, probs) == pytest.approx(oracle.log_loss(labels, as_float64), rel=1e-6)
    np.testing.assert_array_equal(
        metrics.confusion_matrix(labels, said, n_classes=5), oracle.confusion_matrix(labels, said)
    )
    for k in (1, 2, 5):
        assert metrics.top_k_accuracy(labels, probs, k=k) == pytest.approx(
            oracle.top_k_accuracy_score(labels, probs, k=k) if k < 5 else 1.0
        )
    expected = oracle.brier_score_loss(labels, as_float64, scale_by_half=False, labels=range(5))
    assert metrics.brier(labels, probs) == pytest.approx(expected, rel=1e-5)


def test_per_class_rows_agree_with_scikit_learn_also_for_a_class_without_clips():
    labels, probs = random_case(3, n_classes=4)
    labels[labels == 2] = 0
    said = probs.argmax(axis=1)
    rows = metrics.per_class(labels, said, classes=("a", "b", "c", "d"))
    expected = oracle.precision_recall_fscore_support(labels, said, labels=range(4), zero_division=0)
    for key, column in zip(("precision", "recall", "f1", "n"), expected, strict=True):
        assert [row[key] for row in rows] == pytest.approx(list(column))
    assert [row["label"] for row in rows] == ["a", "b", "c", "d"]
    assert rows[2]["n"] == 0


def test_a_class_without_clips_does_not_count_in_balanced_accuracy():
    assert metrics.balanced_accuracy([0, 0, 2, 2], [0, 0, 2, 1]) == pytest.approx(0.75)


@pytest.mark.parametrize("seed", range(3))
def test_mean_average_precision_agrees_with_scikit_learn_with_equal_scores_too(seed):
    rng = np.random.default_rng(seed)
    targets = (rng.random((120, 6)) < 0.3).astype(np.float32)
    probs = np.round(rng.random((120, 6)), 1)
    expected = oracle.average_precision_score(targets, probs, average="macro")
    assert metrics.mean_average_precision(targets, probs) == pytest.approx(expected)


def test_mean_average_precision_leaves_out_classes_without_clips():
    targets, probs = np.array([[1, 0], [0, 0]]), np.array([[0.9, 0.4], [0.1, 0.6]])
    assert metrics.mean_average_precision(targets, probs) == 1.0
    with pytest.raises(DataError, match="positive clip"):
        metrics.mean_average_precision(np.zeros((2, 2)), probs)


def test_calibration_error_of_a_case_worked_by_hand():
    # bins of width 1/15: 0.9 and 0.92 share one (one of two right), 0.6 stands alone (right)
    probs = np.array([[0.9, 0.1], [0.92, 0.08], [0.4, 0.6]])
    by_hand = (abs(1 - (0.9 + 0.92)) + abs(1 - 0.6)) / 3
    assert metrics.ece([0, 1, 1], probs) == pytest.approx(by_hand)


@pytest.mark.parametrize("seed", range(3))
def test_calibration_error_agrees_with_a_loop_over_bins(seed):
    labels, probs = random_case(seed, n=500)
    confidence, right = probs.max(axis=1).astype(np.float64), probs.argmax(axis=1) == labels
    total = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert metrics.ece(labels, probs) == pytest.approx(total)


def test_certain_and_right_is_perfect_and_certain_and_wrong_is_finite():
    sure = np.eye(3)[[0, 1, 2]]
    assert metrics.log_loss([0, 1, 2], sure) == 0
    assert metrics.brier([0, 1, 2], sure) == 0
    assert metrics.ece([0, 1, 2], sure) == 0
    assert metrics.log_loss([1, 2, 0], sure) == pytest.approx(15.94, abs=0.01)
    assert metrics.brier([1, 2, 0], sure) == 2
    assert metrics.ece([1, 2, 0], sure) == 1


def test_knowing_nothing_costs_the_logarithm_of_the_number_of_classes():
    assert metrics.log_loss([0, 1, 2, 3], np.full((4, 4), 0.25)) == pytest.approx(np.log(4))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 40), n_classes=st.integers(2, 7))
def test_scores_stay_in_range_and_do_not_depend_on_the_order_of_clips(seed, n, n_classes):
    labels, probs = random_case(seed, n=n, n_classes=n_classes)
    said = probs.argmax(axis=1)
    order = np.random.default_rng(seed).permutation(n)
    for score in (metrics.accuracy, metrics.balanced_accuracy, metrics.macro_f1):
        assert 0 <= score(labels, said) <= 1
        assert score(labels, said) == pytest.approx(score(labels[order], said[order]))
    for score in (metrics.ece, metrics.brier, metrics.log_loss):
        assert score(labels, probs) >= 0
        assert score(labels, probs) == pytest.approx(score(labels[order], probs[order]))
    assert metrics.top_k_accuracy(labels, probs, k=1) == metrics.accuracy(labels, said)
    assert metrics.confusion_matrix(labels, said, n_classes=n_classes).sum() == n


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: metrics.accuracy([], []), "number of clips"),
        (lambda: metrics.accuracy([0, 1], [0]), "shapes"),
        (lambda: metrics.log_loss([0, 5], np.full((2, 2), 0.5)), "class numbers from 0 to 1"),
        (lambda: metrics.accuracy([-1], [0]), "labels"),
        (lambda: metrics.confusion_matrix([0], [7], n_classes=3), "class number is 7"),
        (lambda: metrics.confusion_matrix([0], [-2], n_classes=3), "class number is -2"),
        (lambda: metrics.mean_average_precision([[1]], [1]), "shapes"),
    ],
)
def test_bad_arguments_are_named(call, word):
    with pytest.raises(DataError, match=word):
        call()


def summary_case(**changes):
    labels, probs = random_case(0, n=60, n_classes=3)
    values = {
        "probs": probs,
        "classes": ("a", "b", "c"),
        "clip_ids": tuple(f"clip{i}" for i in range(60)),
        "targets": np.eye(3)[labels],
        "split": "oof",
        "groups": tuple(f"g{i // 5}" for i in range(60)),
    }
    return Predictions(**(values | changes))


def test_the_summary_has_every_key_and_is_json():
    summary = metrics.summarise(summary_case(), n_bootstrap=200, rng=np.random.default_rng(0))
    assert set(summary) == {
        "accuracy", "accuracy_ci95", "balanced_accuracy", "macro_f1", "log_loss", "ece", "brier",
        "n_clips", "n_groups", "per_class", "confusion",
    }  # fmt: skip
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    low, high = summary["accuracy_ci95"]
    assert low < summary["accuracy"] < high
    assert (summary["n_clips"], summary["n_groups"]) == (60, 12)
    assert np.sum(summary["confusion"]) == 60


def test_the_summary_is_the_same_for_the_same_generator():
    one, two = (metrics.summarise(summary_case(), rng=np.random.default_rng(7)) for _ in range(2))
    assert one == two


def test_without_groups_every_clip_is_its_own():
    summary = metrics.summarise(summary_case(groups=None), n_bootstrap=50, rng=np.random.default_rng(0))
    assert summary["n_groups"] == 60


def test_the_summary_of_several_labels_a_clip_agrees_with_scikit_learn():
    rng = np.random.default_rng(1)
    targets = (rng.random((80, 3)) < 0.4).astype(np.float32)
    probs = np.clip(0.35 * targets + 0.6 * rng.random((80, 3)), 0, 1).astype(np.float32)
    case = summary_case(
        probs=probs, targets=targets, multilabel=True, groups=None, clip_ids=tuple(map(str, range(80)))
    )
    summary = metrics.summarise(case, n_bootstrap=50, rng=rng)
    said = probs >= 0.5
    assert summary["accuracy"] == pytest.approx(oracle.accuracy_score(targets, said))
    assert summary["macro_f1"] == pytest.approx(oracle.f1_score(targets, said, average="macro"))
    assert summary["mean_average_precision"] == pytest.approx(oracle.average_precision_score(targets, probs))
    one_by_one = [oracle.balanced_accuracy_score(targets[:, k], said[:, k]) for k in range(3)]
    assert summary["balanced_accuracy"] == pytest.approx(np.mean(one_by_one))
    losses = [oracle.log_loss(targets[:, k], probs[:, k].astype(np.float64)) for k in range(3)]
    assert summary["log_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert summary["confusion"] is None
    json.dumps(summary, allow_nan=False)


def test_several_labels_with_no_positive_clip_leave_undefined_scores_empty():
    case = summary_case(
        probs=np.full((2, 3), 0.1),
        targets=np.zeros((2, 3)),
        multilabel=True,
        groups=None,
        clip_ids=("a", "b"),
    )
    summary = metrics.summarise(case, n_bootstrap=50, rng=np.random.default_rng(0))
    assert summary["mean_average_precision"] is None
    assert summary["balanced_accuracy"] is None
    assert summary["accuracy"] == 1


def test_clips_without_truth_cannot_be_summarised():
    with pytest.raises(DataError, match="came without labels"):
        metrics.summarise(summary_case(targets=None), rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="nothing to score"):
        metrics.summarise(summary_case().subset([]), rng=np.random.default_rng(0))


def test_importing_evaluation_loads_neither_torch_nor_scikit_learn_nor_scipy():
    code = (
        "import sys, earshot.evaluation.metrics, earshot.evaluation.statistics\n"
        "print([name for name in ('torch', 'sklearn', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
