"""Pictures of what an audit measured: classes, lengths, levels and bandwidths, shortcuts, the price of a leak.

Conventions: as `report.plots`: no pyplot, labels are never read as mathematics; values arrive computed. What a
picture shows is for the page to say, in words that wrap. Of very many classes the `MAX_CLASSES` largest are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from earshot.audit.models import LeakPrice, Shortcut
from earshot.report.plots import COLOURS, CURVE_SIZE_INCHES, short

MAX_CLASSES = 30
_MAX_NAME = 22


def class_sizes(table: pd.DataFrame) -> Figure | None:
    """Clips of each class, and how many groups they come from; None where there are no labels.

    Args:
        table: columns label (several as "a;b") and group.
    """
    parts = table.assign(label=table["label"].astype(str).str.split(";")).explode("label")
    parts = parts[parts["label"] != ""]
    if parts.empty:
        return None
    sizes = parts.groupby("label")["group"].agg(["size", "nunique"]).sort_values("size", ascending=False)
    shown = sizes.head(MAX_CLASSES)
    figure, axes = _rows([str(name) for name in shown.index])
    y = np.arange(len(shown))
    axes.barh(y, shown["size"], height=0.62, color=COLOURS["line"], label="clips")
    axes.barh(y, shown["nunique"], height=0.24, color=COLOURS["held-out"], label="groups")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=9,
        labelcolor=COLOURS["muted"], handlelength=1.2, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip
    return figure


def lengths(duration_s: Sequence[float]) -> Figure | None:
    """How many clips have which length; None where none is known."""
    known = np.asarray(duration_s, dtype=np.float64)
    known = known[np.isfinite(known) & (known > 0)]
    if not len(known):
        return None
    wide = known.max() > 10 * known.min()
    ends = np.geomspace if wide else np.linspace
    low, high = (known.min(), known.max()) if known.max() > 1.01 * known.min() else (0.0, 2 * known.max())
    figure = Figure(figsize=CURVE_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.hist(known, bins=ends(low, high, 31).tolist(), color=COLOURS["held-out"])
    if wide:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    _dress(axes, "seconds")
    axes.grid(axis="y", color=COLOURS["line"], linewidth=0.8)
    return figure


def spread_by_class(table: pd.DataFrame, column: str, *, unit: str, scale: float = 1.0) -> Figure | None:
    """Median and the range of the middle 80 % of a figure in each class; None with fewer than two classes."""
    known = table[(table["label"] != "") & table[column].notna()]
    groups = {str(name): rows[column].to_numpy(np.float64) * scale for name, rows in known.groupby("label")}
    if len(groups) < 2:
        return None
    names = sorted(groups, key=lambda name: -len(groups[name]))[:MAX_CLASSES]
    names.sort(key=lambda name: float(np.median(groups[name])))
    figure, axes = _rows(names, label=unit)
    for y, name in enumerate(names):
        low, middle, high = np.quantile(groups[name], [0.1, 0.5, 0.9])
        axes.plot(
            [low, high], [y, y], color=COLOURS["held-out"], linewidth=5, alpha=0.35, solid_capstyle="round"
        )
        axes.plot([middle], [y], "o", color=COLOURS["held-out"], markersize=5)
    return figure


def shortcut_scores(shortcuts: Sequence[Shortcut]) -> Figure:
    """Balanced accuracy of each family with its interval; the dashed line is chance, clear ones are coloured."""
    figure, axes = _rows([each.name for each in shortcuts], label="balanced accuracy, %")
    for y, each in enumerate(shortcuts):
        colour = COLOURS["held-out" if each.is_clear else "muted"]
        ends = [100 * each.low, 100 * each.high]
        axes.plot(ends, [y, y], color=colour, linewidth=5, alpha=0.35, solid_capstyle="round")
        axes.plot([100 * each.score], [y], "o", color=colour, markersize=5)
    axes.axvline(100 * shortcuts[0].chance, color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(0, 101)
    return figure


def leak_bars(leak: LeakPrice) -> Figure:
    """The two scores, and the interval of their difference on the second."""
    figure, axes = _rows(["groups together", "dealt at random"], label="%; whiskers: 95 % of the difference")
    axes.barh(
        [0, 1],
        [100 * leak.grouped, 100 * leak.random],
        height=0.5,
        color=[COLOURS["held-out"], COLOURS["line"]],
    )
    ends = [100 * (leak.grouped + each) for each in (leak.low, leak.high)]
    axes.plot(ends, [1, 1], color=COLOURS["text"], linewidth=1.5, marker="|", markersize=9)
    axes.set_xlim(0, 101)
    return figure


def _rows(names: Sequence[str], *, label: str = "") -> tuple[Figure, Axes]:
    """A chart with one row a name, the first on top."""
    height = 0.95 + 0.27 * max(len(names), 2)
    figure = Figure(figsize=(CURVE_SIZE_INCHES[0], height), layout="constrained")
    axes = figure.add_subplot()
    _dress(axes, label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.grid(axis="x", color=COLOURS["line"], linewidth=0.8)
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(names)))))
    shown = [short(name, _MAX_NAME) for name in names]
    axes.set_yticklabels(shown, fontsize=10, color=COLOURS["text"], parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    return figure, axes


def _dress(axes: Axes, label: str) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(COLOURS["line"])
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=COLOURS["muted"], labelsize=10, pad=5)
    axes.set_xlabel(label, fontsize=10, color=COLOURS["muted"])
