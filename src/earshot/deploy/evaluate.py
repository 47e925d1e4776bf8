"""A finished model on labelled sounds: the scores, and a folder of results like that of a run."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.audio.corruptions import corruptions_of
from earshot.data.clips import Clips
from earshot.data.splits import merge_duplicates
from earshot.deploy.bundle import Bundle, environment
from earshot.deploy.decisions import is_background
from earshot.deploy.decoded import decoded
from earshot.deploy.predict import judge_files
from earshot.deploy.robustness import score_damaged
from earshot.errors import DataError, complaint
from earshot.evaluation.class_scores import class_curves, with_details
from earshot.evaluation.corruptions import CorruptionErrors, CorruptionScores, mean_corruption_error
from earshot.evaluation.judged import Judged, answer_scores
from earshot.evaluation.metrics import summarise
from earshot.evaluation.predictions import Predictions, safe_frame
from earshot.files import write_whole
from earshot.monitor import Monitor, Silent
from earshot.report.evidence import Evidence, gather
from earshot.report.html import ReportValues, write_report
from earshot.report.robustness import RobustnessValues, write_robustness

_SOUNDS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What the errors on damaged clips are set beside."""

    name: str
    scores: CorruptionScores


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What came of it.

    Args:
        metrics: the content of metrics.json, without what is computed of the other fields.
        heard: models and their clips, in the order of the predictions, for the sounds of the report.
    """

    predictions: Predictions
    metrics: dict[str, Any]
    damaged: CorruptionScores | None = None
    baseline: Baseline | None = None
    novelty: Sequence[float] = ()
    problems: Sequence[dict[str, str]] = ()
    notes: Sequence[str] = ()
    heard: Sequence[tuple[Bundle, Clips]] = ()

    @property
    def errors(self) -> CorruptionErrors | None:
        """Those on damaged clips, over the baseline's.

        Raises:
            DataError: the baseline was evaluated on other clips or corruptions.
        """
        if self.damaged is None or self.baseline is None:
            return None
        other, fix = self.baseline.scores, "Evaluate both on the same clips."
        if other.n_clips != self.damaged.n_clips:
            rule = f"{self.damaged.n_clips}, as here"
            raise DataError(complaint("--baseline", "number of clips", other.n_clips, rule, fix))
        if other.clips and self.damaged.clips and other.clips != self.damaged.clips:
            rule = f"{self.damaged.clips}, as here: the same clips with the same labels"
            raise DataError(complaint("--baseline", "digest of clips", other.clips, rule, fix))
        return mean_corruption_error(self.damaged, self.baseline.scores)

    def to_dict(self) -> dict[str, Any]:
        """The content of metrics.json."""
        found = dict(self.metrics)
        if self.damaged is not None:
            found["corruptions"] = self.damaged.to_dict()
        if self.baseline is not None and (errors := self.errors) is not None:
            found["corruption_errors"] = {"baseline": self.baseline.name} | errors.to_dict()
        return found


def evaluate_bundle(
    bundle: Bundle,
    clips: Clips,
    *,
    folder: Path | None = None,
    corruptions: str = "",
    baseline: Baseline | None = None,
    command: str = "",
    title: str = "",
    monitor: Monitor | None = None,
) -> dict[str, Any]:
    """Scores every readable clip; where the data mark a test split, only that.

    Args:
        folder: gets metrics.json, predictions.csv, report.html and, with corruptions, corruptions.csv and
            robustness.html.
        corruptions: also score the clips damaged: "standard", or names and groups with commas in between.
        baseline: scores of another model on the same clips, for the mean corruption error.

    Returns:
        The content of metrics.json.

    Raises:
        DataError: a label is no class of the model, or no clip can be read.
    """
    started = time.perf_counter()
    monitor = monitor or Silent()
    if corruptions:
        corruptions_of(corruptions, has_pool=True)  # a wrong name shows before anything is scored
    marked = (clips.table["split"] == "test").to_numpy()
    clips = clips.subset(marked).of_present_classes() if marked.any() else clips
    columns = _class_columns(clips, bundle)
    heard = _judge(bundle, clips, monitor=monitor)
    kept = merge_duplicates(clips.subset(heard.kept), heard.contents)
    probs = np.stack([judgement.probs for judgement in heard.judgements])
    predictions = _predictions(probs, kept, bundle, columns)
    metrics = summarise(predictions, rng=np.random.default_rng(0)) | _answer_scores(predictions, bundle)
    metrics["per_class"] = with_details(metrics["per_class"], predictions, rng=np.random.default_rng(0))
    metrics |= _known_kept(heard, predictions, bundle)
    damaged, missing = None, list[str]()
    if corruptions:
        damaged, missing = score_damaged(bundle, kept, predictions, wanted=corruptions, monitor=monitor)
    metrics |= {
        "classes": list(bundle.classes),
        "n_failed": len(clips) - len(heard.kept),
        "n_heard_in_training": heard.n_trained_on,
        "protocol": "one model, trained elsewhere, on these clips",
        "seconds": round(time.perf_counter() - started, 2),
    }
    evaluation = Evaluation(
        predictions=predictions,
        metrics=metrics,
        damaged=damaged,
        novelty=heard.novelty,
        problems=heard.problems,
        notes=[*kept.notes, *heard.notes, *missing],
        heard=[(bundle, kept)],
    )
    evaluation = beside(evaluation, baseline)
    for note in evaluation.notes:
        if note not in heard.notes:  # those were said at once
            monitor.say(f"note: {note}")
    if folder is not None:
        write_evaluation(folder, evaluation, title=title, command=command)
    return evaluation.to_dict()


def _known_kept(heard: _Judged, predictions: Predictions, bundle: Bundle) -> dict[str, Any]:
    """What share of the clips of classes, background ones aside, the limit of novelty lets pass."""
    limit = bundle.config.decisions.novelty
    if limit is None or len(heard.novelty) != len(predictions):
        return {}
    counts = ~np.array([is_background(name) for name in bundle.classes])[predictions.labels]
    if not counts.any():
        return {}
    share = float(np.mean(np.array(heard.novelty)[counts] <= limit.limit))
    return {"novelty": {"known_kept": limit.kept, "kept": share, "n_clips": int(counts.sum())}}


def beside(evaluation: Evaluation, baseline: Baseline | None) -> Evaluation:
    """The evaluation with its baseline; with a note instead where they do not go together: its own scores stay."""
    compared = replace(evaluation, baseline=baseline)
    try:
        _ = compared.errors
    except DataError as error:
        return replace(evaluation, notes=[*evaluation.notes, f"the baseline is left out: {error}"])
    return compared


def write_evaluation(folder: Path, evaluation: Evaluation, *, title: str = "", command: str = "") -> None:
    """Writes the files of `evaluate_bundle`."""
    metrics, predictions = evaluation.to_dict(), evaluation.predictions
    table = predictions.to_frame().assign(split=predictions.split)
    if len(evaluation.novelty) == len(table):
        table["novelty"] = list(evaluation.novelty)
    created = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    write_whole(folder / "predictions.csv", safe_frame(table).to_csv(index=False))
    write_whole(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    if (damaged := evaluation.damaged) is not None:
        write_whole(folder / "corruptions.csv", safe_frame(damaged.to_frame()).to_csv(index=False))
        page = RobustnessValues(
            title=title or "How much damage it bears",
            created=created,
            command=command,
            scores=damaged,
            errors=evaluation.errors,
            baseline=evaluation.baseline.name if evaluation.baseline else "",
            protocol=metrics["protocol"],
            notes=evaluation.notes,
        )
        write_robustness(folder / "robustness.html", page)
    values = ReportValues(
        title=title or "Evaluation",
        created=created,
        command=command,
        metrics=metrics,
        environment=environment(),
        problems=evaluation.problems,
        notes=evaluation.notes,
        evidence=_evidence(evaluation),
        curves=class_curves(predictions),
    )
    write_report(folder / "report.html", values)


def _evidence(evaluation: Evaluation) -> Evidence:
    """Clips to hear in the report: these alone are decoded once more, for nothing was kept."""
    evidence = gather(evaluation.predictions)
    if not evaluation.heard:
        return evidence
    sounds = _Sounds(evaluation.heard, evidence.rows)
    return replace(evidence, samples=sounds, rate_hz=evaluation.heard[0][0].rate_hz)


class _Sounds:
    """The samples of some rows, decoded a few at a time: they are asked for in order, and may be long.

    Args:
        heard: models and their clips; a row counts through all of them.
        rows: that will be asked for.
    """

    def __init__(self, heard: Sequence[tuple[Bundle, Clips]], rows: Sequence[int]) -> None:
        self.places = [(bundle, clips, i) for bundle, clips in heard for i in range(len(clips))]
        self.rows = list(rows)
        self.held: dict[int, NDArray[np.int16]] = {}

    def __call__(self, row: int) -> NDArray[np.int16]:
        if row not in self.held:
            at = self.rows.index(row)
            self.held = {}
            for bundle, group in groupby(
                self.rows[at : at + _SOUNDS_AT_ONCE], key=lambda r: self.places[r][0]
            ):
                self._decode(bundle, list(group))
        return self.held[row]

    def _decode(self, bundle: Bundle, rows: Sequence[int]) -> None:
        clips = self.places[rows[0]][1]
        found = decoded(bundle, clips.subset([self.places[row][2] for row in rows]))
        for row, (_, samples) in zip(rows, found, strict=True):
            self.held[row] = np.zeros(1, np.int16) if samples is None else samples


@dataclass
class _Judged:
    """What a model said of the clips that could be read, and which these are."""

    judgements: list[Any] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)  # hash of each kept clip's file
    n_trained_on: int = 0

    @property
    def novelty(self) -> list[float]:
        return [judgement.novelty for judgement in self.judgements if judgement.novelty is not None]


def _judge(bundle: Bundle, clips: Clips, *, monitor: Monitor) -> _Judged:
    heard, names = _Judged(), clips.ids
    scored = judge_files(bundle, clips, on_progress=lambda n, total: monitor.progress("evaluating", n, total))
    for i, (outcome, judgement) in enumerate(scored):
        if outcome.status != "ok":
            about = {"status": outcome.status, "reason": outcome.reason, "message": outcome.message}
            heard.problems.append({"id": names[i], **about})
        if judgement is not None:
            heard.judgements.append(judgement)
            heard.kept.append(i)
            heard.contents.append(outcome.content)
            heard.n_trained_on += bundle.heard_in_training(outcome.content)
    if not heard.judgements:
        reason = heard.problems[0]["message"] if heard.problems else "there is no clip"
        raise DataError(f"data: none of the {len(clips)} clips could be read. The first: {reason}")
    if heard.n_trained_on:
        heard.notes.append(
            f"{heard.n_trained_on} of {len(heard.kept)} clips were in the model's training: these scores say "
            "nothing about new sounds"
        )
        monitor.say(f"warning: {heard.notes[-1]}")
    return heard


def _answer_scores(predictions: Predictions, bundle: Bundle) -> dict[str, Any]:
    """What the model's own sets and thresholds are worth on these clips."""
    decisions, many = bundle.config.decisions, predictions.multilabel
    sets = decisions.build_sets()
    limits = decisions.build_thresholds(multilabel=many)
    judged = Judged(
        predictions,
        None if sets is None else sets.apply(predictions.probs),
        {precision: each.apply(predictions.probs) for precision, each in limits.items()},
    )
    return answer_scores(judged, sets, rng=np.random.default_rng(0))


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
