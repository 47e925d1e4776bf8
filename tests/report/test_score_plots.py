import io

import numpy as np
import pytest

from earshot.report import score_plots

HOSTILE = r"$\frac{ <script>"
CURVES = [
    {
        "label": name,
        "roc": {"false_alarms": np.array([0, 0.1, 1]), "recall": np.array([0, 0.8, 1])},
        "precision_recall": {"recall": np.array([0, 0.5, 1]), "precision": np.array([1, 0.9, 0.4])},
    }
    for name in ("rain", HOSTILE, "siren", "dog", "cat", "cow")
]
PER_CLASS = [
    {"label": HOSTILE, "n": 4, "f1": 0.9, "f1_ci95": [0.7, 0.95]},
    {"label": "rain", "n": 4, "f1": 0.4, "f1_ci95": None},
    {"label": "none", "n": 0, "f1": 0.0},
]
POINTS = [
    {
        "share": share,
        "n_train": round(320 * share),
        "accuracy": a,
        "accuracy_ci95": [a - 0.1, min(a + 0.1, 1)],
    }
    for share, a in ((0.25, 0.6), (0.5, 0.75), (1.0, 1.0))
]
LAW = {
    "law": {"floor": 0.0, "scale": 2.0, "exponent": 0.5},
    "doubled": {"n_train": 640, "accuracy": 1.0, "accuracy_ci95": [0.9, 1.0]},
}


@pytest.mark.parametrize(
    "figure",
    [
        lambda: score_plots.roc(CURVES),
        lambda: score_plots.precision_recall(CURVES[:1]),
        lambda: score_plots.per_class_intervals(PER_CLASS),
        lambda: score_plots.weights({"fast": {"weight": 0.3}, HOSTILE: {"weight": 0.7}}),
        lambda: score_plots.folds([{"name": "fold 1", "accuracy": 0.8, "accuracy_ci95": [0.7, 0.9]}]),
        lambda: score_plots.learning_curve({"points": POINTS} | LAW),
        lambda: score_plots.learning_curve({"points": POINTS[:1], "law": None, "doubled": None}),
    ],
)
def test_every_picture_can_be_drawn_whatever_the_names(figure):
    buffer = io.BytesIO()
    figure().savefig(buffer, format="png", dpi=30)
    assert buffer.getvalue()[:4] == b"\x89PNG"


def test_curves_are_drawn_as_given():
    axes = score_plots.roc(CURVES).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0, 0.1, 1])
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0, 0.8, 1])


def test_the_hardest_class_stands_on_top_and_one_without_clips_nowhere():
    axes = score_plots.per_class_intervals(PER_CLASS).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["rain", HOSTILE]


def test_the_learning_curve_reaches_twice_the_clips():
    axes = score_plots.learning_curve({"points": POINTS} | LAW).axes[0]
    assert max(max(line.get_xdata()) for line in axes.lines) == 640
    assert axes.get_xscale() == "log"


@pytest.mark.parametrize(
    "errors", [(44, 38, 32, 27), (8.5, 7.4, 6.6, 6.2), (30.3, 30.2, 30.1, 30.0), (60, 20, 9, 2)]
)
def test_the_learning_curve_names_the_errors_on_its_axis(errors):
    shares = (0.25, 0.5, 0.75, 1.0)
    points = [
        {"n_train": 4_000 * share, "share": share, "accuracy": 1 - error / 100,
         "accuracy_ci95": [1 - error / 100 - 0.001, 1 - error / 100 + 0.001]}
        for share, error in zip(shares, errors, strict=True)
    ]  # fmt: skip
    axes = score_plots.learning_curve({"points": points, "law": None}).axes[0]
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert 2 <= len(ticks) <= 12
