"""One run as one HTML page: self-contained, opens offline, safe whatever the labels say.

Conventions: every value arrives computed; here it is only put into words, sorted and shaded. The page holds
no script and asks for nothing from outside; its policy forbids both, so that a hostile label stays text.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from earshot.report.plots import COLOURS, as_percent, curve

N_HARDEST = 8  # confusions named one by one
N_LISTED_PROBLEMS = 200  # rows of bad files in the page; all of them are in clips.csv
N_WIDE_CLASSES = 16  # from here on the confusion matrix has small cells and upright names
WRONG_STEPS = (0, 2, 5, 10, 20, 35)  # percent above which a mistake gets the next shade
THIN_SPACE = "\u202f"  # narrow and unbreakable: keeps a number and its unit together


# Keys of metrics.json that the page shows one by one; an older file may lack some.
_SCORES = (
    "accuracy", "accuracy_ci95", "balanced_accuracy", "macro_f1", "log_loss", "ece", "brier",
    "n_clips", "n_groups", "n_failed", "protocol", "seconds",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ReportValues:
    """What the page shows.

    Args:
        title: of the run. created: when, as text. command: what reproduces it.
        metrics: the content of `metrics.json`; keys that are missing are left out of the page.
        history: columns member, fold, epoch, train_loss, test_loss, test_accuracy, lr, seconds; may be empty.
        config_toml: the resolved configuration. environment: versions and machine.
        problems: files with a warning or failure, as dicts of id, status, reason, message.
        notes: what the reader of the page has to know, one sentence each.
    """

    title: str
    created: str
    command: str
    metrics: Mapping[str, Any]
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    config_toml: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    problems: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()


def write_report(path: str | os.PathLike[str], values: ReportValues) -> None:
    """Writes the page in one move: a reader sees the old page or the new one, never a part."""
    target = Path(path)
    page = render(values).encode("utf-8", errors="backslashreplace")  # names of files need not be Unicode
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(page)
        Path(temporary).chmod(0o644)  # mkstemp makes it private; a report is there to be read
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def render(report: ReportValues) -> str:
    """The page as text."""
    metrics = dict.fromkeys(_SCORES) | dict(report.metrics)
    per_class = list(metrics.get("per_class") or ())
    return _template().render(
        report=report,
        metrics=metrics,
        gains=_gain_sentence(metrics),
        strips=list(_strips(metrics)),
        per_class=sorted(per_class, key=lambda row: (row["n"] > 0, row["f1"], row["label"])),
        confusion=_confusion_view(metrics),
        curves=list(_curves(report.history)),
        folds=list(metrics.get("folds") or ()),
        reasons=Counter(str(row.get("reason", "")) for row in report.problems).most_common(),
        listed=list(report.problems)[:N_LISTED_PROBLEMS],
        environment=[(str(name), _plain(value)) for name, value in report.environment.items()],
    )


@cache
def _template() -> jinja2.Template:
    world = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    world.filters |= {"percent": percent, "number": number, "count": count, "duration": duration}
    return world.from_string(resources.files("earshot.report").joinpath("report.html.j2").read_text("utf-8"))


def percent(fraction: float | None, digits: int = 1) -> str:
    """0.918 -> '91.8 %'; an unknown fraction -> an en dash."""
    known = fraction is not None and math.isfinite(fraction)
    return f"{100 * fraction:.{digits}f}{THIN_SPACE}%" if fraction is not None and known else "–"


def number(value: float | None, digits: int = 3) -> str:
    """A plain number, or an en dash where there is none."""
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else "–"


def count(value: int | None) -> str:
    """12345 -> '12 345'."""
    return "–" if value is None else f"{int(value):,}".replace(",", THIN_SPACE)


def duration(seconds: float | None) -> str:
    """75.2 -> '1 min 15 s'."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 59.95:  # what would be rounded to 60.0 is a minute
        return f"{seconds:.1f}{THIN_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{THIN_SPACE}h {minutes}{THIN_SPACE}min"
    return f"{minutes}{THIN_SPACE}min {rest}{THIN_SPACE}s"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _strips(metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of the score chart: the shipped model, out of fold and on the data's test split, then each member."""
    members = dict(metrics.get("members") or {})
    alone = len(members) == 1 and next(iter(members.values())).get("accuracy") == metrics.get("accuracy")
    rows = [("This model", dict(metrics), "")]
    if metrics.get("test"):
        rows.append(("On the test split", dict(metrics["test"]), ""))
    if not alone:
        for name, scores in members.items():
            rows.append((name, scores, "baseline" if name == metrics.get("baseline") else ""))
    for name, scores, role in rows:
        if scores.get("accuracy") is None:
            continue
        low, high = scores.get("accuracy_ci95") or (scores["accuracy"],) * 2
        ends = {"at": scores["accuracy"], "low": low, "high": high}
        places = {key: f"{100 * min(max(end, 0.0), 1.0):.2f}" for key, end in ends.items()}
        width = f"{float(places['high']) - float(places['low']):.2f}"
        yield {"name": name, "role": role, "scores": scores, **ends, "place": places, "width": width}


def _gain_sentence(metrics: Mapping[str, Any]) -> str:
    """How the model stands to its baseline, in words; empty where there is nothing to compare."""
    name, members = metrics.get("baseline"), metrics.get("members") or {}
    base = members.get(name) or {}
    ours, theirs = metrics.get("accuracy"), base.get("accuracy")
    if ours is None or theirs is None or (len(members) == 1 and ours == theirs):
        return ""
    points = 100 * (ours - theirs)
    side = "above" if points > 0 else "below"
    gap = f"{abs(points):.1f} points {side}" if abs(points) >= 0.05 else "level with"
    sentence = f"That is {gap} the baseline “{name}” ({percent(theirs)})."
    (low, high), (base_low, base_high) = (
        scores.get("accuracy_ci95") or (math.nan, math.nan) for scores in (metrics, base)
    )
    if low <= base_high and base_low <= high:
        sentence += " Their intervals overlap, so take the difference with care."
    return sentence


def _confusion_view(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    if metrics.get("confusion") is None:
        return None
    counts = np.asarray(metrics["confusion"], dtype=np.int64)
    named = metrics.get("classes") or [row["label"] for row in metrics.get("per_class") or ()]
    classes = [str(name) for name in named]
    share, n_true, small = as_percent(counts), counts.sum(axis=1), len(classes) >= N_WIDE_CLASSES
    rows = [
        {
            "label": name,
            "n": int(n_true[i]),
            "cells": [
                _cell(int(counts[i, j]), int(n_true[i]), names=(name, said), right=i == j, small=small)
                for j, said in enumerate(classes)
            ],
        }
        for i, name in enumerate(classes)
    ]
    mistakes = [(int(counts[i, j]), float(share[i, j]), i, j) for i, j in np.argwhere(counts > 0) if i != j]
    hardest = [
        {"true": classes[i], "said": classes[j], "count": n, "n": int(n_true[i]), "share": part / 100}
        for n, part, i, j in sorted(mistakes, key=lambda each: (-each[0], -each[1], each[2:]))[:N_HARDEST]
    ]
    return {"classes": classes, "rows": rows, "hardest": hardest, "small": small}


def _cell(n: int, n_true: int, *, names: tuple[str, str], right: bool, small: bool) -> dict[str, str]:
    if n == 0:
        return {"text": "", "shade": "", "title": ""}
    (true, said), share = names, 100 * n / n_true
    title = f"{n} of {n_true} “{true}” clips predicted as “{said}”"
    shade = f"r{math.ceil(share / 10)}" if right else f"w{sum(share > step for step in WRONG_STEPS)}"
    return {"text": _share_text(share, digits=0 if small else 1), "shade": shade, "title": title}


def _share_text(share: float, *, digits: int) -> str:
    """Percent, rounded half up; something is never shown as nothing, nor almost all as all."""
    unit = 10**digits
    rounded = math.floor(share * unit + 0.5) / unit
    if rounded == 0:
        return f"<{1 / unit:g}"
    return f"{100 - 1 / unit:g}" if rounded == 100 and share < 100 else f"{rounded:g}"


def _curves(history: pd.DataFrame) -> Iterator[dict[str, Any]]:
    unnamed = pd.Series("", index=history.index, dtype=object)
    names = history["member"].fillna("").astype(str) if "member" in history else unnamed
    members = list(names.unique())
    for i, member in enumerate(members):
        for panel in ("loss", "accuracy"):
            if (figure := curve(history[names == member], panel)) is not None:
                words = f"{panel.capitalize()} of {member or 'the model'} over the epochs, one line a fold"
                svg = inline_svg(figure, prefix=f"curve{i}-{panel}-")
                yield {"member": member, "several": len(members) > 1, "svg": svg, "words": words}


def inline_svg(figure: Figure, *, prefix: str) -> str:
    """A figure as an <svg> element that takes the colours, font and width of the page around it.

    Args:
        prefix: put before every id, so that several figures can live in one page.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "earshot"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # drop the XML declaration and the DTD address
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # its `*` would reach the whole page
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r'\bid="|xlink:href="#|url\(#', lambda hit: hit[0] + prefix, text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--plot-{name})")
    return text
