"""One run as one HTML page: self-contained, opens offline, safe whatever the labels say.

Conventions: every value arrives computed; here it is only put into words, sorted and shaded. The page asks for
nothing from outside and runs one script of its own, which its policy names by hash: a hostile label stays text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from earshot.report.audited import AuditSummary
from earshot.report.evidence import Evidence
from earshot.report.media import Embedding, as_json, embedded
from earshot.report.page import inline_svg, isolated, template, write_page
from earshot.report.plots import as_percent, curve, reliability_diagram
from earshot.report.score_plots import learning_curve
from earshot.report.summary import gain_sentence, limits_of_trust

__all__ = ["ReportValues", "inline_svg", "render", "write_report"]

N_HARDEST = 8  # confusions named one by one
N_LISTED_PROBLEMS = 200  # rows of bad files in the page; all of them are in clips.csv
MAX_MATRIX_CLASSES = 100  # a larger matrix nobody reads, and it is more than all sounds
N_WIDE_CLASSES = 16  # from here on the confusion matrix has small cells and upright names
WRONG_STEPS = (0, 2, 5, 10, 20, 35)  # percent above which a mistake gets the next shade
_CLIPS_GO_HERE = '<script type="application/json" id="clips"></script>'


# Keys of metrics.json that the page shows one by one; an older file may lack some.
_SCORES = (
    "accuracy", "accuracy_ci95", "balanced_accuracy", "macro_f1", "log_loss", "ece", "brier",
    "n_clips", "n_groups", "n_failed", "n_heard_in_training", "protocol", "seconds",
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
        evidence: clips to hear, see `evidence.gather`. embedding: how much of them the page may hold.
        curves: of each class, see `class_scores.class_curves`.
        audit: of the same data; None where none was found.
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
    evidence: Evidence | None = None
    embedding: Embedding = field(default_factory=Embedding)
    curves: Sequence[Mapping[str, Any]] = ()
    audit: AuditSummary | None = None


def write_report(path: str | os.PathLike[str], values: ReportValues) -> None:
    """Writes the page in one move: a reader sees the old page or the new one, never a part."""
    write_page(path, render(values))


def render(report: ReportValues) -> str:
    """The page as text. Clips are put in last, as many as the rest of the page leaves room for."""
    metrics = dict.fromkeys(_SCORES) | dict(report.metrics)
    per_class = list(metrics.get("per_class") or ())
    script = _script() if report.evidence else ""
    text = template("report.html.j2").render(
        report=report,
        metrics=metrics,
        evidence=report.evidence,
        script=script,
        script_hash=_hash(script),
        gains=gain_sentence(metrics),
        limits=limits_of_trust(metrics, report.notes),
        strips=list(_strips(metrics)),
        per_class=sorted(per_class, key=lambda row: (row["n"] > 0, row["f1"], row["label"])),
        confusion=_confusion_view(metrics),
        squares=list(_squares(report.curves, per_class)),
        curves=list(_curves(report.history)),
        more=_more_clips(metrics),
        members=_members(metrics),
        sureness=_sureness(metrics),
        folds=list(_folds(metrics)),
        place=_place,
        reasons=Counter(str(row.get("reason", "")) for row in report.problems).most_common(),
        listed=list(report.problems)[:N_LISTED_PROBLEMS],
        environment=[(str(name), _plain(value)) for name, value in report.environment.items()],
    )
    return text if report.evidence is None else _with_clips(text, report, report.evidence)


@cache
def _script() -> str:
    return resources.files("earshot.report").joinpath("report.js").read_text("utf-8")


def _hash(script: str) -> str:
    """What the page's policy knows its script by."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _with_clips(text: str, report: ReportValues, evidence: Evidence) -> str:
    room = int(report.embedding.max_mb * 1e6) - len(text.encode("utf-8", errors="backslashreplace"))
    metrics = report.metrics
    classes = list(metrics.get("classes") or [row["label"] for row in metrics.get("per_class") or ()])
    room -= len(as_json(classes)) + len(as_json(dict(evidence.cells)))
    data = embedded(evidence, report.embedding, n_bytes=max(room - 20_000, 0))
    data["classes"] = classes
    block = _CLIPS_GO_HERE.replace("></", f">{as_json(data)}</")
    note = template("left_out.html.j2").render(left_out=data["left_out"], report=report, n=len(data["clips"]))
    return text.replace(_CLIPS_GO_HERE, block, 1).replace("<!-- left out -->", note, 1)


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
        yield {"name": name, "role": role, "scores": scores} | _place(scores)


def _place(scores: Mapping[str, Any], key: str = "accuracy") -> dict[str, Any]:
    """Where a score and its interval lie on a line from 0 to 1, as numbers and as percent for a style."""
    at = float(scores[key])
    low, high = scores.get(f"{key}_ci95") or (at, at)
    ends = {"at": at, "low": float(low), "high": float(high)}
    places = {name: f"{100 * min(max(end, 0.0), 1.0):.2f}" for name, end in ends.items()}
    return {**ends, "place": places, "width": f"{max(float(places['high']) - float(places['low']), 0):.2f}"}


def _sureness(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The section on probabilities: diagram, calibration, sets, thresholds, unknown sounds; each may be missing."""
    rows = metrics.get("reliability") or []
    calibration = metrics.get("calibration") or {}
    probes = (metrics.get("novelty") or {}).get("probes") or {}
    rejected = (metrics.get("novelty") or {}).get("probes_rejected", 0)
    return {
        "svg": inline_svg(reliability_diagram(pd.DataFrame(rows)), prefix="sure-") if rows else "",
        "methods": list(calibration.get("nested") or ()),
        "chosen": calibration.get("method", ""),
        "sets": metrics.get("sets"),
        "precision": list(metrics.get("precision") or ()),
        "novelty": metrics.get("novelty"),
        "n_probes": len(probes),
        "n_rejected": rejected,
        "accepted": [
            f"{name} as “{isolated(answer['label'])}”" for name, answer in probes.items() if answer["label"]
        ],
    }


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
                | {"at": f"{i},{j}", "n": int(counts[i, j])}
                for j, said in enumerate(classes)
            ],
        }
        for i, name in enumerate(classes if len(classes) <= MAX_MATRIX_CLASSES else ())
    ]
    mistakes = [(int(counts[i, j]), float(share[i, j]), i, j) for i, j in np.argwhere(counts > 0) if i != j]
    hardest = [
        {"true": classes[i], "said": classes[j], "count": n, "n": int(n_true[i]), "share": part / 100}
        | {"at": f"{i},{j}"}
        for n, part, i, j in sorted(mistakes, key=lambda each: (-each[0], -each[1], each[2:]))[:N_HARDEST]
    ]
    return {"classes": classes, "rows": rows, "hardest": hardest, "small": small}


def _cell(n: int, n_true: int, *, names: tuple[str, str], right: bool, small: bool) -> dict[str, Any]:
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


def _folds(metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for row in metrics.get("folds") or ():
        yield {"place": None, **row, **(_place(row) if row.get("accuracy") is not None else {})}


def _members(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each member's scores and its say in the pool; empty where there is one only."""
    members = dict(metrics.get("members") or {})
    if len(members) < 2 or not all("weight" in each for each in members.values()):
        return []
    total = sum(each["weight"] for each in members.values()) or 1.0
    return [
        {"name": name, "scores": dict.fromkeys(_SCORES) | dict(each), "share": each["weight"] / total}
        for name, each in members.items()
    ]


def _more_clips(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The learning curve over the number of clips, drawn, and the classes that still gain."""
    found = metrics.get("learning_curve")
    if not found:
        return None
    gaining = [row for row in found["classes"] if row.get("clearly_gains")]
    svg = inline_svg(learning_curve(found), prefix="more-")
    return {**found, "svg": svg, "gaining": [row["label"] for row in gaining]}


def _squares(
    curves: Sequence[Mapping[str, Any]], per_class: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Curves of each class as paths in a square of 100 units, the class of the least area first."""
    areas = {str(row["label"]): row for row in per_class}
    rows = []
    for each in curves:
        area = areas.get(str(each["label"]), {})
        pr, roc = each["precision_recall"], each["roc"]
        paths = {"pr": _path(pr["recall"], pr["precision"]), "roc": _path(roc["false_alarms"], roc["recall"])}
        ap, auc = area.get("average_precision"), area.get("roc_auc")
        rows.append({"label": str(each["label"]), "paths": paths, "ap": ap, "auc": auc})
    yield from sorted(rows, key=lambda row: (row["ap"] is None, row["ap"], row["label"]))


def _path(x: Any, y: Any) -> str:
    points = [f"{100 * a:.1f},{100 - 100 * b:.1f}" for a, b in zip(x, y, strict=True)]
    return "M" + "L".join(points)


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
