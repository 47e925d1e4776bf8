"""How a model bears damaged sounds, as one HTML page: a table shaded by what is lost, and curves by severity.

Conventions: every value arrives computed; here it is only put into words, sorted, shaded and drawn. The page holds
no script and asks for nothing from outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from earshot.audio.corruptions import CORRUPTIONS
from earshot.evaluation.corruptions import CorruptionErrors, CorruptionScores
from earshot.report.page import inline_svg, number, percent, template, write_page
from earshot.report.plots import COLOURS, CURVE_SIZE_INCHES

LOST_STEPS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35)  # of the accuracy, above which a cell gets the next shade
_OTHER = "other"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)))
_TITLES = {
    "noise": "Noise",
    "room": "A room",
    "filter": "Filters",
    "level": "Level",
    "tempo": "Tempo",
    "pitch": "Pitch",
    "codec": "Codecs and rates",
    "loss": "What is lost",
    _OTHER: "Others",
}


@dataclass(frozen=True, kw_only=True)
class RobustnessValues:
    """What the page shows.

    Args:
        title: of the evaluation. created: when, as text. command: what reproduces it.
        scores: accuracies by corruption and severity.
        errors: beside those of a baseline, and what the baseline is called; None and "" without one.
        protocol: which model judged which clips, in words.
        notes: what the reader of the page has to know, one sentence each.
    """

    title: str
    created: str
    command: str
    scores: CorruptionScores
    errors: CorruptionErrors | None = None
    baseline: str = ""
    protocol: str = ""
    notes: Sequence[str] = ()


def write_robustness(path: str | os.PathLike[str], values: RobustnessValues) -> None:
    """Writes the page in one move."""
    write_page(path, render_robustness(values))


def render_robustness(values: RobustnessValues) -> str:
    """The page as text."""
    scores = values.scores
    return template("robustness.html.j2").render(
        page=values,
        scores=scores,
        verdict=_verdict(scores),
        sentences=list(_sentences(values)),
        rows=list(_rows(values)),
        severities=[str(i + 1) for i in range(scores.n_severities)],
        overview=inline_svg(overview(scores), prefix="overview-"),
        groups=[
            {
                "title": _TITLES.get(group, group),
                "svg": inline_svg(group_curves(scores, names), prefix=f"{group}-"),
                "words": f"Accuracy by severity: {', '.join(map(spoken, names))}",
            }
            for group, names in _groups(scores).items()
        ],
    )


def spoken(name: str) -> str:
    """The name of a corruption in words."""
    return name.replace("_", " ")


def _verdict(scores: CorruptionScores) -> str:
    """What is left on average, in one sentence."""
    left = (
        "" if scores.relative is None else f": {percent(scores.relative, 0)} of the accuracy on clean clips"
    )
    return f"{percent(scores.mean)} of the damaged clips are right on average{left}."


def _sentences(values: RobustnessValues) -> Iterator[str]:
    scores = values.scores
    worst = scores.worst
    mean, last = scores.means[worst], scores.accuracy[worst][-1]
    yield (
        f"{spoken(worst).capitalize()} hurts most: {percent(mean)} over its severities, {percent(last)} at the "
        f"worst of them ({_value(worst, scores.n_severities - 1)})."
    )
    if scores.mean_held_out is not None:
        n = len(scores.held_out)
        yield (
            f"{n} of {len(scores.accuracy)} corruptions were held out, nothing like them was in the training: "
            f"{percent(scores.mean_held_out)} over those."
        )
    else:
        yield "The training had something like every one of these corruptions: none is held out."
    if values.errors is not None:
        yield from _error_sentences(values.errors, values.baseline)


def _error_sentences(errors: CorruptionErrors, baseline: str) -> Iterator[str]:
    if errors.mean is None:
        yield f"{baseline} makes no error on any damaged clip, so there is no mean corruption error beside it."
        return
    change = f"{percent(abs(1 - errors.mean), 0)} {'fewer' if errors.mean < 1 else 'more'} errors"
    yield (
        f"Mean corruption error beside {baseline}: {number(errors.mean)}, that is {change} than it makes, on "
        "average over the corruptions."
    )
    if errors.relative_mean is not None:
        yield (
            f"Relative mean corruption error: {number(errors.relative_mean)}; below 1, damage costs less accuracy "
            "than it costs the baseline."
        )
    if left_out := sorted({*errors.without, *errors.without_relative}):
        yield (
            "Without a ratio, because they cost the baseline nothing: "
            f"{', '.join(spoken(name) for name in left_out)}."
        )


def _rows(values: RobustnessValues) -> Iterator[dict[str, Any]]:
    """Rows of the table, worst first."""
    scores = values.scores
    ratios: Mapping[str, float] = values.errors.each if values.errors else {}
    for name, mean in sorted(scores.means.items(), key=lambda pair: pair[1]):
        yield {
            "name": spoken(name),
            "held_out": name in scores.held_out,
            "cells": [_cell(scores, name, i) for i in range(scores.n_severities)],
            "mean": {"text": _short(mean), "shade": _shade(scores.clean - mean)},
            "lost": f"{100 * (scores.clean - mean):.1f}",
            "ratio": number(ratios.get(name), 2) if values.errors else "",
        }


def _cell(scores: CorruptionScores, name: str, i: int) -> dict[str, str]:
    accuracy = scores.accuracy[name][i]
    lost = 100 * (scores.clean - accuracy)
    title = (
        f"{spoken(name)}, severity {i + 1} ({_value(name, i)}): {percent(accuracy)}, {lost:.1f} points lost"
    )
    return {"text": _short(accuracy), "shade": _shade(scores.clean - accuracy), "title": title}


def _value(name: str, i: int) -> str:
    """What a severity means; names of other suites have none."""
    known = CORRUPTIONS.get(name)
    if known is None or i >= len(known.values):
        return f"severity {i + 1}"
    return f"{known.unit}: {known.values[i]:g}"


def _short(accuracy: float) -> str:
    return f"{100 * accuracy:.0f}"


def _shade(lost: float) -> str:
    return f"w{sum(lost > step + 1e-9 for step in LOST_STEPS)}"


def _groups(scores: CorruptionScores) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in scores.accuracy:
        found.setdefault(CORRUPTIONS[name].group if name in CORRUPTIONS else _OTHER, []).append(name)
    return found


def overview(scores: CorruptionScores) -> Figure:
    """Mean accuracy by severity, over what is held out and over the rest, each corruption as a thin line."""
    figure, axes = _axes(scores)
    for each in scores.accuracy.values():
        _draw(axes, scores, each, color=COLOURS["line"], linewidth=1, zorder=1)
    sides = {"held-out": scores.held_out, "training": set(scores.accuracy) - scores.held_out}
    for colour, names in sides.items():
        if names:
            mean = np.mean([scores.accuracy[name] for name in sorted(names)], axis=0)
            label = "held out" if colour == "held-out" else "like something in training"
            _draw(axes, scores, mean, color=COLOURS[colour], linewidth=2.4, label=label)
    _legend(axes)
    return figure


def group_curves(scores: CorruptionScores, names: Sequence[str]) -> Figure:
    """Accuracy by severity of each of these corruptions; the colour says whether it was held out."""
    figure, axes = _axes(scores)
    for i, name in enumerate(names):
        colour = COLOURS["held-out" if name in scores.held_out else "training"]
        dashes = _DASHES[i % len(_DASHES)]
        _draw(axes, scores, scores.accuracy[name], color=colour, linestyle=dashes, label=spoken(name))
    _legend(axes)
    return figure


def _axes(scores: CorruptionScores) -> tuple[Figure, Axes]:
    figure = Figure(figsize=CURVE_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(COLOURS["line"])
    axes.tick_params(colors=COLOURS["muted"], labelsize=9, length=0)
    axes.grid(axis="y", color=COLOURS["line"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_ylim(0, 102)
    axes.set_xlim(-0.1, scores.n_severities + 0.1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("severity; 0 is clean", fontsize=10, color=COLOURS["muted"])
    axes.set_title("Accuracy, %", loc="left", fontsize=11, color=COLOURS["text"], pad=10)
    return figure, axes


def _draw(axes: Axes, scores: CorruptionScores, accuracies: Sequence[float] | Any, **style: Any) -> None:
    """From the clean clips on."""
    axes.plot(range(scores.n_severities + 1), [100 * scores.clean, *(100 * np.asarray(accuracies))], **style)


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", fontsize=9, frameon=False, labelcolor=COLOURS["text"], handlelength=3.2)
