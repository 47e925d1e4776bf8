"""A finished model on labelled sounds: the scores, and a folder of results like that of a run."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.data.clips import Clips
from earshot.deploy.bundle import Bundle, environment
from earshot.deploy.predict import score_files
from earshot.errors import DataError, complaint
from earshot.evaluation.metrics import summarise
from earshot.evaluation.predictions import Predictions, safe_frame
from earshot.files import write_whole
from earshot.monitor import Monitor, Silent
from earshot.report.html import ReportValues, write_report


def evaluate_bundle(
    bundle: Bundle,
    clips: Clips,
    *,
    folder: Path | None = None,
    command: str = "",
    title: str = "",
    monitor: Monitor | None = None,
) -> dict[str, Any]:
    """Scores every readable clip; where the data mark a test split, only that.

    Args:
        folder: gets metrics.json, predictions.csv and report.html.

    Returns:
        The content of metrics.json.

    Raises:
        DataError: a label is no class of the model, or no clip can be read.
    """
    started = time.perf_counter()
    monitor = monitor or Silent()
    marked = (clips.table["split"] == "test").to_numpy()
    clips = clips.subset(marked) if marked.any() else clips
    columns = _class_columns(clips, bundle)
    probs, kept, problems, n_heard = [], [], [], 0
    notes, names = list(clips.notes), clips.ids
    scored = score_files(bundle, clips, on_progress=lambda n, total: monitor.progress("evaluating", n, total))
    for i, (outcome, p) in enumerate(scored):
        if outcome.status != "ok":
            about = {"status": outcome.status, "reason": outcome.reason, "message": outcome.message}
            problems.append({"id": names[i], **about})
        if p is not None:
            probs.append(p)
            kept.append(i)
            n_heard += bundle.heard_in_training(outcome.content)
    if not probs:
        reason = problems[0]["message"] if problems else "there is no clip"
        raise DataError(f"data: none of the {len(clips)} clips could be read. The first: {reason}")
    if n_heard:
        notes.append(
            f"{n_heard} of {len(kept)} clips were in the model's training: these scores say nothing about "
            "new sounds"
        )
        monitor.say(f"warning: {notes[-1]}")
    predictions = _predictions(np.stack(probs), clips.subset(kept), bundle, columns)
    metrics = summarise(predictions, rng=np.random.default_rng(0))
    metrics |= {
        "classes": list(bundle.classes),
        "n_failed": len(clips) - len(kept),
        "n_heard_in_training": n_heard,
        "protocol": "one model, trained elsewhere, on these clips",
        "seconds": round(time.perf_counter() - started, 2),
    }
    if folder is not None:
        write_whole(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
        table = predictions.to_frame().assign(split="test")
        write_whole(folder / "predictions.csv", safe_frame(table).to_csv(index=False))
        write_report(
            folder / "report.html",
            ReportValues(
                title=title or "Evaluation",
                created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
                command=command,
                metrics=metrics,
                environment=environment(),
                problems=problems,
                notes=notes,
            ),
        )
    return metrics


def _class_columns(clips: Clips, bundle: Bundle) -> list[int]:
    """The model's column of each class of the data."""
    if not clips.is_labelled:
        raise DataError(complaint("data", "label", "", "a label on every clip", "Use `earshot predict`."))
    for name in clips.classes:
        if name not in bundle.classes:
            rule = f"one of the model's classes {', '.join(bundle.classes[:20])}"
            raise DataError(
                complaint("data", "label", name, rule, "Rename the class or leave its clips out.")
            )
    if clips.is_multilabel and not bundle.config.multilabel:
        several = next(label for label in clips.table["label"] if ";" in label)
        fix = "The model knows one label a clip; train one on clips with several labels."
        raise DataError(complaint("data", "label", several, "one label a clip", fix))
    return [bundle.classes.index(name) for name in clips.classes]


def _predictions(probs: NDArray[np.float32], clips: Clips, bundle: Bundle, columns: list[int]) -> Predictions:
    targets = np.zeros((len(clips), len(bundle.classes)), np.float32)
    targets[:, columns] = clips.targets
    return Predictions(
        probs,
        bundle.classes,
        clip_ids=clips.ids,
        targets=targets,
        split="test",
        groups=tuple(clips.groups),
        multilabel=bundle.config.multilabel,
    )
