"""Pictures of scores that were computed elsewhere: values in, matplotlib figures out.

Conventions: figures are made without pyplot, so that nothing global changes and nothing needs closing; labels
are never read as mathematics, and cut where long; the report maps the colours of `COLOURS` to its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from earshot.errors import DataError, complaint

COLOURS: dict[str, str] = {
    "text": "#1d2328",
    "muted": "#5a646d",
    "line": "#dedbd4",
    "held-out": "#0b6b75",
    "training": "#b9772b",
}
MAX_ANNOTATED_CLASSES = 20  # beyond, the numbers in the cells are too small to read
MAX_NAME = 32  # characters of a class name beside the matrix
TITLE: dict[str, Any] = {"fontsize": 11, "color": COLOURS["text"], "pad": 10}
CURVE_SIZE_INCHES = (4.5, 2.65)  # 324 x 191 points: readable unscaled on a phone


def confusion(matrix: ArrayLike, classes: Sequence[str]) -> Figure:
    """Confusion matrix in percent of the true class, with the counts below the percentages.

    Args:
        matrix: counts [K, K], row = true class, column = predicted class.
        classes: K names. A class without clips keeps an empty row.

    Raises:
        DataError: the matrix does not fit the classes.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    n = len(classes)
    if counts.shape != (n, n):
        rule = f"[classes, classes] = {n, n}"
        raise DataError(complaint("confusion plot", "shape of matrix", counts.shape, rule))
    percent = as_percent(counts)
    side = min(2.6 + (0.55 if n <= MAX_ANNOTATED_CLASSES else 0.26) * n, 30.0)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    shades = LinearSegmentedColormap.from_list("shades", ["#ffffff", COLOURS["held-out"]])
    axes.imshow(percent, cmap=shades, vmin=0, vmax=100)
    size = 9 if n <= MAX_ANNOTATED_CLASSES else 7
    names = [short(name, MAX_NAME) for name in classes]
    axes.set_xticks(np.arange(n), names, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(np.arange(n), names, fontsize=size, parse_math=False)
    axes.set_xlabel("predicted", color=COLOURS["muted"])
    axes.set_ylabel("true", color=COLOURS["muted"])
    axes.tick_params(length=0, labelcolor=COLOURS["text"])
    axes.spines[:].set_color(COLOURS["line"])
    if n <= MAX_ANNOTATED_CLASSES:
        _annotate(axes, counts, percent)
    return figure


def _annotate(axes: Axes, counts: NDArray[np.int64], percent: NDArray[np.float64]) -> None:
    for row, column in np.argwhere(counts > 0):
        share = percent[row, column]
        ink = "#ffffff" if share > 60 else COLOURS["text"]
        text = f"{share:.0f}\n({counts[row, column]})"
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=7.5, linespacing=1.05)


def reliability_diagram(reliability: pd.DataFrame) -> Figure:
    """How often the model is right at each confidence; the dashed line is where it should be.

    Args:
        reliability: columns confidence, accuracy, accuracy_low, accuracy_high and n, a row a bin.
    """
    figure = Figure(figsize=CURVE_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
    x, y = _numbers(reliability["confidence"]), _numbers(reliability["accuracy"])
    ends = np.stack([y - _numbers(reliability["accuracy_low"]), _numbers(reliability["accuracy_high"]) - y])
    axes.errorbar(x, y, yerr=np.maximum(ends, 0), fmt="none", ecolor=COLOURS["line"], elinewidth=3)
    share = _numbers(reliability["n"]) / max(float(_numbers(reliability["n"]).sum()), 1.0)
    axes.scatter(x, y, s=14 + 220 * share, color=COLOURS["held-out"], linewidths=0, zorder=3, clip_on=False)
    calm(axes)
    axes.set_xlim(-0.02, 1.04)
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel("confidence", fontsize=10, color=COLOURS["muted"])
    axes.set_title("How often it is right", loc="left", **TITLE)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        axis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    return figure


def differences(pairs: pd.DataFrame) -> Figure:
    """Differences in accuracy with their intervals, a row a pair; those that are clear are drawn in colour.

    Args:
        pairs: columns first, second, difference, low, high and clear.
    """
    n = len(pairs)
    figure = Figure(figsize=(CURVE_SIZE_INCHES[0], 0.7 + 0.46 * max(n, 1)), layout="constrained")
    axes = figure.add_subplot()
    points = {name: 100 * _numbers(pairs[name]) for name in ("difference", "low", "high")}
    for row, clear in enumerate(pairs["clear"]):
        colour = COLOURS["held-out" if clear else "muted"]
        ends = [points["low"][row], points["high"][row]]
        axes.plot(ends, [row, row], color=colour, linewidth=4, alpha=0.35, solid_capstyle="round")
        axes.plot([points["difference"][row]], [row], "o", color=colour, markersize=5)
    calm(axes)
    axes.axvline(0, color=COLOURS["muted"], linewidth=1, zorder=0)
    axes.set_ylim(n - 0.4, -0.6)
    names = [
        f"{short(a, 16)}\n− {short(b, 16)}" for a, b in zip(pairs["first"], pairs["second"], strict=True)
    ]
    axes.yaxis.set_major_locator(FixedLocator(list(range(n))))
    axes.set_yticklabels(names, fontsize=9, color=COLOURS["text"], parse_math=False)
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.set_xlabel("difference in accuracy, points", fontsize=10, color=COLOURS["muted"])
    return figure


def accuracy_by_cost(runs: pd.DataFrame, *, cost: str, label: str) -> Figure | None:
    """Accuracy against a cost, a point a run; None where fewer than two costs are known.

    The axis starts at 0, or is logarithmic where the costs are more than a factor of 20 apart.

    Args:
        runs: columns name, accuracy, low, high and `cost`.
        label: of the axis, with the unit.
    """
    values = _numbers(runs[cost])
    known = np.isfinite(values) & (values > 0)
    if known.sum() < 2:
        return None
    figure = Figure(figsize=CURVE_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    y, low, high = (100 * _numbers(runs[name]) for name in ("accuracy", "low", "high"))
    for i, row in enumerate(np.flatnonzero(known)[np.argsort(values[known], kind="stable")]):
        axes.plot([values[row]] * 2, [low[row], high[row]], color=COLOURS["line"], linewidth=3)
        axes.plot([values[row]], [y[row]], "o", color=COLOURS["held-out"], markersize=6)
        axes.annotate(
            short(runs["name"].iloc[row], 18), (values[row], y[row]), xytext=(6, 5 if i % 2 else -11),
            textcoords="offset points", fontsize=9, color=COLOURS["text"], parse_math=False,
        )  # fmt: skip
    calm(axes)
    if values[known].max() > 20 * values[known].min():
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.margins(x=0.25)
    else:
        axes.set_xlim(0, 1.3 * values[known].max())
    axes.set_xlabel(label, fontsize=10, color=COLOURS["muted"])
    axes.set_title("Accuracy, %", loc="left", **TITLE)
    return figure


def short(name: str, n: int) -> str:
    """A name cut to n characters in its middle: names of runs and classes often begin alike."""
    front = n // 2
    return name if len(name) <= n else f"{name[:front]}…{name[len(name) - (n - 1 - front) :]}"


def as_percent(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts [K, K] as percent of each row; a row without clips stays 0."""
    n_true = counts.sum(axis=1, keepdims=True)
    percent: NDArray[np.float64] = 100.0 * counts / np.maximum(n_true, 1)
    return percent


def learning_curves(history: pd.DataFrame) -> Figure:
    """Loss and, where it was measured, held-out accuracy over the epochs: one line a fold.

    Args:
        history: columns `epoch` and any of `fold`, `train_loss`, `test_loss`, `test_accuracy`; may be empty.
    """
    panels = [draw for measured, draw in _PANELS.values() if has_values(history, *measured)] or [_draw_loss]
    width, height = CURVE_SIZE_INCHES
    figure = Figure(figsize=(width * len(panels), height), layout="constrained")
    for i, draw in enumerate(panels):
        draw(figure.add_subplot(1, len(panels), i + 1), history)
    return figure


def curve(history: pd.DataFrame, panel: str) -> Figure | None:
    """The "loss" or "accuracy" panel of `learning_curves` on its own; None if it was not measured."""
    measured, draw = _PANELS[panel]
    if not has_values(history, *measured):
        return None
    figure = Figure(figsize=CURVE_SIZE_INCHES, layout="constrained")
    draw(figure.add_subplot(), history)
    return figure


def has_values(history: pd.DataFrame, *columns: str) -> bool:
    """Whether one of the columns is there and holds a finite number."""
    return "epoch" in history and any(
        column in history and bool(np.isfinite(_numbers(history[column])).any()) for column in columns
    )


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


def _draw_loss(axes: Axes, history: pd.DataFrame) -> None:
    _lines(axes, history, {"train_loss": "training", "test_loss": "held-out"})
    axes.set_title("Loss", loc="left", **TITLE)
    axes.set_ylim(bottom=0)


def _draw_accuracy(axes: Axes, history: pd.DataFrame) -> None:
    _lines(axes, history, {"test_accuracy": "held-out"})
    axes.set_title("Accuracy", loc="left", **TITLE)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))


_PANELS = {
    "loss": (("train_loss", "test_loss"), _draw_loss),
    "accuracy": (("test_accuracy",), _draw_accuracy),
}


def _lines(axes: Axes, history: pd.DataFrame, columns: dict[str, str]) -> None:
    """One thin line a fold and column; the legend names each column once."""
    by_fold = [rows for _, rows in history.groupby("fold", sort=True)] if "fold" in history else [history]
    for column, name in columns.items():
        if not has_values(history, column):
            continue
        for i, rows in enumerate(by_fold):
            epochs, values = _numbers(rows["epoch"]), _numbers(rows[column])
            known = np.isfinite(epochs) & np.isfinite(values)
            order = np.argsort(epochs[known], kind="stable")
            axes.plot(
                epochs[known][order],
                values[known][order],
                color=COLOURS[name],
                linewidth=1.4,
                alpha=0.75,
                marker="o" if known.sum() == 1 else None,
                markersize=4,
                label=f"{name} clips" if i == 0 else None,
            )
    axes.margins(x=0.02)
    calm(axes)


def calm(axes: Axes) -> None:
    """Takes away all lines but those that help to read a value."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(COLOURS["line"])
    axes.grid(axis="y", color=COLOURS["line"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=COLOURS["muted"], labelsize=10, pad=5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.set_xlabel("epoch", fontsize=10, color=COLOURS["muted"])
    if axes.get_legend_handles_labels()[1]:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.03), ncols=2, frameon=False, fontsize=10,
            labelcolor=COLOURS["muted"], handlelength=1.2, columnspacing=1.2, borderaxespad=0.2,
        )  # fmt: skip
