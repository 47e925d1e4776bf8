import io
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earshot.errors import DataError
from earshot.report.page import inline_svg
from earshot.report.plots import (
    COLOURS,
    accuracy_by_cost,
    as_percent,
    confusion,
    curve,
    differences,
    learning_curves,
    reliability_diagram,
    short,
)


def history(*, n_folds=3, n_epochs=4, **changes):
    rows = [
        {
            "member": "cnn", "fold": k, "epoch": e, "train_loss": 2.0 / e, "test_loss": 2.2 / e,
            "test_accuracy": 1 - 0.5 / e, "lr": 1e-3, "seconds": 1.0,
        }
        for k in range(n_folds)
        for e in range(1, n_epochs + 1)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**changes)


def drawn(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue()


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_each_cell_shows_percent_of_the_true_class_and_the_count():
    figure = confusion([[3, 1], [0, 8]], ("dog", "rain"))
    assert texts(figure) == ["75\n(3)", "25\n(1)", "100\n(8)"]
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[75, 25], [0, 100]])
    assert drawn(figure).startswith(b"\x89PNG")


def test_a_class_without_clips_keeps_an_empty_row():
    figure = confusion([[2, 0], [0, 0]], ("dog", "never"))
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array()[1], [0, 0])
    assert drawn(figure)


def test_fifty_classes_are_drawn_without_numbers_and_within_thirty_inches():
    figure = confusion(np.eye(50, dtype=int) * 40, [f"class {i}" for i in range(50)])
    assert texts(figure) == []
    assert max(figure.get_size_inches()) <= 30
    assert drawn(figure)


@pytest.mark.parametrize("label", ["$\\frac{", "a$b$c", "<script>alert(1)</script>", "_^{}", "%"])
def test_labels_are_drawn_as_they_are(label):
    figure = confusion([[1, 0], [0, 1]], (label, "rain"))
    assert drawn(figure)
    assert figure.axes[0].get_xticklabels()[0].get_text() == label


def test_long_labels_are_cut_so_that_the_matrix_keeps_its_room():
    figure = confusion([[1, 0], [0, 1]], ("x" * 300, "rain"))
    assert drawn(figure)
    assert figure.axes[0].get_yticklabels()[0].get_text() == "x" * 16 + "…" + "x" * 15


def test_a_matrix_that_does_not_fit_the_classes_is_refused():
    with pytest.raises(DataError, match="shape of matrix"):
        confusion([[1, 2, 3]], ("a", "b", "c"))


@given(st.integers(1, 8), st.integers(0, 2**31))
def test_percentages_of_a_row_sum_to_a_hundred_or_to_nothing(n_classes, seed):
    counts = np.random.default_rng(seed).integers(0, 4, (n_classes, n_classes))
    sums = as_percent(counts).sum(axis=1)
    np.testing.assert_allclose(sums, np.where(counts.sum(axis=1) > 0, 100, 0))


def test_there_is_one_line_a_fold_and_one_name_a_kind_of_line():
    loss, accuracy = learning_curves(history(n_folds=3)).axes
    assert len(loss.lines) == 6
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training clips", "held-out clips"]
    assert len(accuracy.lines) == 3
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), [0.5, 0.75, 1 - 0.5 / 3, 0.875])


def test_epochs_out_of_order_are_drawn_in_order():
    shuffled = history(n_folds=1).sample(frac=1, random_state=0)
    np.testing.assert_array_equal(learning_curves(shuffled).axes[0].lines[0].get_xdata(), [1, 2, 3, 4])


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(),
        pd.DataFrame(columns=["member", "fold", "epoch", "train_loss", "test_loss", "test_accuracy"]),
        history(train_loss=np.nan, test_loss=np.nan, test_accuracy=np.nan),
    ],
)
def test_a_history_without_numbers_gives_an_empty_figure_and_no_panel(table):
    assert drawn(learning_curves(table))
    assert curve(table, "loss") is None
    assert curve(table, "accuracy") is None


def test_what_was_not_measured_is_left_out():
    table = history().drop(columns=["test_loss", "test_accuracy"])
    (loss,) = learning_curves(table).axes
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training clips"]
    assert curve(table, "accuracy") is None


def test_a_single_epoch_is_visible_as_a_dot():
    line = curve(history(n_folds=1, n_epochs=1), "loss").axes[0].lines[0]
    assert line.get_marker() == "o"
    assert drawn(curve(history(n_folds=1, n_epochs=1), "loss"))


def test_missing_values_within_a_line_are_skipped():
    table = history(n_folds=1)
    table.loc[1, "test_accuracy"] = None
    np.testing.assert_array_equal(curve(table, "accuracy").axes[0].lines[0].get_xdata(), [1, 3, 4])


def test_pyplot_is_never_loaded():
    code = "import sys, earshot.report.html; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def reliability(*rows):
    names = ("confidence", "accuracy", "accuracy_low", "accuracy_high", "n")
    return pd.DataFrame(rows, columns=names)


def test_bins_of_more_clips_are_larger_points_and_the_diagonal_is_drawn():
    figure = reliability_diagram(reliability((0.3, 0.2, 0.1, 0.4, 5), (0.9, 0.95, 0.9, 1.0, 95)))
    [axes] = figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_data(), [[0, 1], [0, 1]])
    points = axes.collections[-1]
    np.testing.assert_allclose(points.get_offsets(), [[0.3, 0.2], [0.9, 0.95]])
    small, large = points.get_sizes()
    assert large > 5 * small
    assert drawn(figure)


def pairs(*rows):
    return pd.DataFrame(rows, columns=("first", "second", "difference", "low", "high", "clear"))


def test_clear_differences_stand_out_and_are_drawn_in_points():
    figure = differences(
        pairs(("a", "b", 0.05, 0.01, 0.09, True), ("a" * 40, "c", -0.01, -0.04, 0.02, False))
    )
    [axes] = figure.axes
    spans = [line for line in axes.lines if line.get_linewidth() == 4]
    np.testing.assert_allclose([line.get_xdata() for line in spans], [[1, 9], [-4, 2]])
    assert [line.get_color() for line in spans] == [COLOURS["held-out"], COLOURS["muted"]]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "a\n− b"
    assert len(labels[1].split("\n")[0]) == 16
    assert drawn(figure)


def test_more_pairs_make_a_taller_figure():
    few, many = (differences(pairs(*[("a", "b", 0.0, -0.1, 0.1, False)] * n)) for n in (1, 20))
    assert many.get_size_inches()[1] > 5 * few.get_size_inches()[1]
    assert drawn(many)


def runs(*costs):
    return pd.DataFrame(
        [
            {"name": f"$run {i}$", "accuracy": 0.9, "low": 0.8, "high": 0.95, "cost": cost}
            for i, cost in enumerate(costs)
        ]
    )


@pytest.mark.parametrize(("costs", "scale"), [((1.0, 3.0), "linear"), ((1.0, 300.0), "log")])
def test_costs_far_apart_have_a_logarithmic_axis(costs, scale):
    figure = accuracy_by_cost(runs(*costs), cost="cost", label="s")
    assert figure.axes[0].get_xscale() == scale
    assert drawn(figure)


def test_runs_without_a_cost_are_left_out():
    figure = accuracy_by_cost(runs(1.0, None, 2.0, float("nan")), cost="cost", label="s")
    assert texts(figure) == ["$run 0$", "$run 2$"]
    assert accuracy_by_cost(runs(1.0, None), cost="cost", label="s") is None


def test_names_that_begin_alike_stay_apart_when_they_are_cut():
    names = [f"esc10-default-seed{i}" for i in (1, 2, 3)]
    cut = [short(name, 16) for name in names]
    assert len(set(cut)) == 3
    assert all(len(name) == 16 for name in cut)
    assert short("rain", 16) == "rain"


def test_letters_that_matplotlib_cannot_draw_make_no_noise():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "海" in inline_svg(confusion([[1, 0], [0, 1]], ("海", "🐶")), prefix="a-")
