"""Pictures of scores class by class, member by member, fold by fold, and over the number of clips.

Conventions: as `plots`: no pyplot, labels are never read as mathematics; values arrive computed, most of them from
metrics.json.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter

from earshot.report.plots import COLOURS, CURVE_SIZE_INCHES, TITLE, calm, short

_N_COLUMNS = 5
_SCORES = ("precision", "recall", "f1")


def roc(curves: Sequence[Mapping[str, Any]]) -> Figure:
    """Clips found over false alarms, one small picture a class.

    Args:
        curves: what `class_scores.class_curves` returns.
    """
    return _multiples(curves, "roc", x="false_alarms", y="recall", labels=("false alarms", "found"))


def precision_recall(curves: Sequence[Mapping[str, Any]]) -> Figure:
    """Precision over recall, one small picture a class.

    Args:
        curves: what `class_scores.class_curves` returns.
    """
    return _multiples(curves, "precision_recall", x="recall", y="precision", labels=("recall", "precision"))


def _multiples(
    curves: Sequence[Mapping[str, Any]], kind: str, *, x: str, y: str, labels: tuple[str, str]
) -> Figure:
    n_columns = min(_N_COLUMNS, max(len(curves), 1))
    n_rows = max(1, math.ceil(len(curves) / n_columns))
    figure = Figure(figsize=(1.9 * n_columns, 1.9 * n_rows), layout="constrained")
    for i, each in enumerate(curves):
        axes = figure.add_subplot(n_rows, n_columns, i + 1)
        axes.plot(each[kind][x], each[kind][y], color=COLOURS["held-out"], linewidth=1.5)
        _unit_square(axes)
        axes.set_title(short(str(each["label"]), 20), fontsize=9, color=COLOURS["text"], parse_math=False)
    figure.supxlabel(labels[0], fontsize=10, color=COLOURS["muted"])
    figure.supylabel(labels[1], fontsize=10, color=COLOURS["muted"])
    return figure


def _unit_square(axes: Axes) -> None:
    calm(axes)
    axes.set_xlabel("")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0, 0.5, 1]))
        axis.set_tick_params(labelsize=8)


def per_class_intervals(per_class: Sequence[Mapping[str, Any]], *, score: str = "f1") -> Figure:
    """One score of every class with its 95 % interval, the hardest class on top.

    Args:
        per_class: the rows of metrics.json.
        score: precision, recall or f1.
    """
    rows = sorted((row for row in per_class if row["n"]), key=lambda row: float(row[score]))
    names = [str(row["label"]) for row in rows]
    values = [float(row[score]) for row in rows]
    ends = [row.get(f"{score}_ci95") or (value, value) for row, value in zip(rows, values, strict=True)]
    return _rows(names, values, ends, title=f"{score.upper() if score == 'f1' else score.capitalize()}")


def weights(members: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Each member's say in the pool.

    Args:
        members: as in metrics.json, with a weight each.
    """
    names = list(members)
    values = [float(members[name].get("weight") or 0.0) for name in names]
    return _rows(names, values, None, title="Weight in the pool")


def folds(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy fold by fold, with intervals where there are any.

    Args:
        rows: the folds of metrics.json.
    """
    values = [float(row["accuracy"]) for row in rows]
    ends = [row.get("accuracy_ci95") or (value, value) for row, value in zip(rows, values, strict=True)]
    return _rows([str(row["name"]) for row in rows], values, ends, title="Accuracy")


def _rows(
    names: Sequence[str],
    values: Sequence[float],
    ends: Sequence[Sequence[float]] | None,
    *,
    title: str,
) -> Figure:
    """A row a name: a dot at the value and a bar over its interval, or a bar from 0 without intervals."""
    n = len(names)
    figure = Figure(figsize=(CURVE_SIZE_INCHES[0], 0.75 + 0.3 * max(n, 1)), layout="constrained")
    axes = figure.add_subplot()
    for row, value in enumerate(values):
        if ends is None:
            axes.barh(row, value, height=0.5, color=COLOURS["held-out"])
            continue
        axes.plot(list(ends[row]), [row, row], color=COLOURS["held-out"], linewidth=4, alpha=0.35)
        axes.plot([value], [row], "o", color=COLOURS["held-out"], markersize=5)
    calm(axes)
    axes.grid(visible=False)
    axes.set_xlabel("")
    axes.set_xlim(0, 1.02 * max([1.0, *values]))
    axes.set_ylim(n - 0.4, -0.6)
    axes.yaxis.set_major_locator(FixedLocator(list(range(n))))
    labels = [short(name, 24) for name in names]
    axes.set_yticklabels(labels, fontsize=9, color=COLOURS["text"], parse_math=False)
    axes.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    if ends is not None:
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.set_title(title, loc="left", **TITLE)
    return figure


def learning_curve(curve: Mapping[str, Any]) -> Figure:
    """Error over the number of training clips, both axes logarithmic, and the law fitted to it up to twice as many.

    Args:
        curve: `learning_curve` of metrics.json.
    """
    figure = Figure(figsize=(CURVE_SIZE_INCHES[0], 1.3 * CURVE_SIZE_INCHES[1]), layout="constrained")
    axes = figure.add_subplot()
    points = curve["points"]
    n = np.array([row["n_train"] for row in points], dtype=np.float64)
    errors = 100 * (1 - np.array([row["accuracy"] for row in points]))
    ends = 100 * (1 - np.array([row["accuracy_ci95"] for row in points]))
    floor = _lowest(errors)
    for at, (high, low) in zip(n, ends, strict=True):
        axes.plot([at, at], [max(low, floor), max(high, floor)], color=COLOURS["line"], linewidth=4)
    axes.plot(n, np.maximum(errors, floor), "o", color=COLOURS["held-out"], markersize=6)
    ticks = n
    if curve.get("law"):
        ticks = _draw_law(axes, curve, n, floor)
    calm(axes)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.minorticks_off()
    shown = [tick for i, tick in enumerate(ticks) if i % 2 == (len(ticks) - 1) % 2]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter("{x:.0f}")
    low_y, high_y = axes.get_ylim()
    axes.yaxis.set_major_locator(FixedLocator(_steps_within(low_y, high_y)))
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.set_xlabel("training clips", fontsize=10, color=COLOURS["muted"])
    axes.set_title("Error", loc="left", **TITLE)
    return figure


def _steps_within(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis: 1, 2, 5 of each decade, evenly spaced ones where few of those fit."""
    decades = [float(f"{part}e{power}") for power in range(-2, 3) for part in (1, 2, 5)]
    steps = [step for step in decades if low <= step <= high]
    if len(steps) > 2:
        return steps
    return [float(step) for step in MaxNLocator(nbins=5).tick_values(low, high) if low <= step <= high]


def _lowest(errors: np.ndarray[Any, Any]) -> float:
    """What an error of 0 is drawn as: a logarithmic axis has no 0."""
    known = errors[errors > 0]
    return float(known.min()) / 3 if len(known) else 0.1


def _draw_law(axes: Axes, curve: Mapping[str, Any], n: Any, floor: float) -> np.ndarray[Any, Any]:
    law, doubled = curve["law"], curve["doubled"]
    twice = float(doubled["n_train"])
    along = np.geomspace(n[0], twice, 60)
    drawn = 100 * (law["floor"] + law["scale"] * along ** -law["exponent"])
    axes.plot(
        along, np.maximum(drawn, floor), color=COLOURS["training"], linewidth=1.4, linestyle=(0, (4, 3))
    )
    low, high = (max(100 * (1 - end), floor) for end in reversed(doubled["accuracy_ci95"]))
    axes.plot([twice, twice], [low, high], color=COLOURS["training"], linewidth=4, alpha=0.35)
    now = max(100 * (1 - doubled["accuracy"]), floor)
    axes.plot([twice], [now], "o", color=COLOURS["training"], markersize=6)
    return np.append(n, twice)
