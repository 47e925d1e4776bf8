"""`earshot evaluate`: a model, or a finished run out of fold, on labelled sounds, clean and damaged."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.audio.corruptions import corruptions_of
from earshot.data.clips import Clips
from earshot.deploy.bundle import Bundle
from earshot.deploy.evaluate import Baseline, Evaluation, beside, evaluate_bundle, write_evaluation
from earshot.deploy.predict import judge_files
from earshot.deploy.robustness import answers_to_damaged, taught_to
from earshot.errors import DataError, EarshotError, complaint
from earshot.evaluation.class_scores import with_details
from earshot.evaluation.corruptions import CorruptionScores, clips_digest, scores_of_right
from earshot.evaluation.metrics import summarise
from earshot.evaluation.predictions import Predictions
from earshot.held_out import HeldOutFold, held_out_folds, is_run
from earshot.monitor import Monitor, Silent

_SAME_PROBS = 0.05  # rounding in bf16, or on another device, changes a probability by less
_PROTOCOL = (
    "no clip is scored by a model that heard its group, nor with weights or calibration fitted on its fold"
)


def evaluate(
    model: Path,
    clips: Clips,
    *,
    folder: Path | None = None,
    corruptions: str = "",
    baseline: Path | None = None,
    device: str = "auto",
    command: str = "",
    monitor: Monitor | None = None,
) -> dict[str, Any]:
    """Scores a model on clips that it was not trained on, or a run on its own clips, each out of fold.

    Args:
        model: a model folder, or the folder of a finished run.
        folder: as in `evaluate_bundle`.
        corruptions: "standard", or names and groups with commas in between; "" scores clean clips alone.
        baseline: a model folder or a run, scored on the same clips, or what an evaluation with corruptions wrote:
            its folder or its metrics.json.

    Returns:
        The content of metrics.json.

    Raises:
        ConfigError: a corruption is not known, or there is a baseline and no corruptions.
        DataError: model and clips do not go together, none of them can be read, or there is no such baseline; one
            of other clips is left out with a note.
    """
    monitor = monitor or Silent()
    if corruptions:
        corruptions_of(corruptions, has_pool=True)  # a wrong name shows before anything is scored
    other = None
    if baseline is not None:
        if not corruptions:
            rule, fix = "no baseline without --corruptions", "For instance --corruptions standard."
            raise EarshotError(complaint("--baseline", "path", str(baseline), rule, fix))
        other = _baseline(baseline, clips, corruptions=corruptions, device=device, monitor=monitor)
    if is_run(model):
        evaluation = _evaluate_run(model, clips, corruptions=corruptions, device=device, monitor=monitor)
        evaluation = beside(evaluation, other)
        for note in evaluation.notes:
            monitor.say(f"note: {note}")
        if folder is not None:
            write_evaluation(folder, evaluation, title=_title(model), command=command)
        return evaluation.to_dict()
    return evaluate_bundle(
        Bundle.load(model, device=device),
        clips,
        folder=folder,
        corruptions=corruptions,
        baseline=other,
        command=command,
        monitor=monitor,
    )


def _title(run: Path) -> str:
    return f"{run.resolve().name}, out of fold"


def _baseline(path: Path, clips: Clips, *, corruptions: str, device: str, monitor: Monitor) -> Baseline:
    if not path.exists():
        rule = "a model folder, a run, or metrics.json of an evaluation with corruptions"
        raise DataError(complaint("--baseline", "path", str(path), rule, "There is nothing of that name."))
    is_model = (path / "config.json").is_file() or is_run(path)
    if is_model:
        monitor.say(f"first the baseline, {path}")
        found = evaluate(path, clips, corruptions=corruptions, device=device, monitor=monitor)
    else:
        found = _read_metrics(path / "metrics.json" if path.is_dir() else path)
    if "corruptions" not in found:
        fix = "Evaluate it with --corruptions."
        raise DataError(complaint("--baseline", "path", str(path), "scores of damaged clips", fix))
    if n_heard := int(found.get("n_heard_in_training", 0)):
        fix = "Give the folder of its run, which is scored out of fold, or clips that it has not heard."
        raise DataError(complaint("--baseline", "clips heard in its training", n_heard, "0", fix))
    scores = CorruptionScores.from_dict(found["corruptions"])
    sure, _ = corruptions_of(corruptions, has_pool=False)
    if missing := [name for name in sure if name not in scores.accuracy]:
        fix = "Evaluate both with the same corruptions."
        raise DataError(
            complaint("--baseline", "corruption", missing[0], "one that it was evaluated with", fix)
        )
    return Baseline(name=path.resolve().name, scores=scores)


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"--baseline: {path} cannot be read ({error}).") from error
    if not isinstance(found, dict):
        raise DataError(complaint("--baseline", path.name, type(found).__name__, "a JSON object"))
    return found


def _evaluate_run(
    folder: Path, clips: Clips, *, corruptions: str, device: str, monitor: Monitor
) -> Evaluation:
    started = time.perf_counter()
    folds = held_out_folds(folder, clips, device=device)
    n_clips = sum(len(fold.clips) for fold in folds)
    names: tuple[str, ...] = ()
    notes = list(_left_out(clips, n_clips))
    if corruptions:
        # Background for a clip is taken from the clips that its model has not heard either.
        has_pool = all(len(set(fold.clips.groups)) > 1 for fold in folds)
        names, missing = corruptions_of(corruptions, has_pool=has_pool)
        notes += missing
    clean, right, done = [], [], 0
    for fold in folds:
        said = _said_of(fold, folder, done=done, n_clips=n_clips, monitor=monitor)
        clean.append(said)
        if names:
            right.append(_damaged(fold, said, names, done=done, n_clips=n_clips, monitor=monitor))
        done += len(said)
    together = Predictions.join(clean)
    metrics = summarise(together, rng=np.random.default_rng(0))
    metrics |= {
        "per_class": with_details(metrics["per_class"], together, rng=np.random.default_rng(0)),
        "classes": list(together.classes),
        "folds": [
            {"name": fold.name, "n_train": fold.n_train, "n_test": len(said)}
            | {"accuracy": float(said.right.mean())}
            for fold, said in zip(folds, clean, strict=True)
        ],
        "n_failed": 0,
        "protocol": f"the run's {len(folds)} folds: {_PROTOCOL}",
        "seconds": round(time.perf_counter() - started, 2),
    }
    heard = [(fold.bundle, fold.clips) for fold in folds]
    damaged = _scored(folds, together, names, right) if names else None
    return Evaluation(predictions=together, metrics=metrics, damaged=damaged, notes=notes, heard=heard)


def _left_out(clips: Clips, n_clips: int) -> Iterator[str]:
    if len(clips) > n_clips:
        yield f"{len(clips) - n_clips} of {len(clips)} clips were not cross-validated by the run and are left out"


def _said_of(fold: HeldOutFold, folder: Path, *, done: int, n_clips: int, monitor: Monitor) -> Predictions:
    """What the fold's model says of its clips now; that it is what the run reported shows that all is in order."""
    probs = np.empty_like(fold.said.probs)
    heard = judge_files(
        fold.bundle,
        fold.clips,
        on_progress=lambda n, total: monitor.progress("evaluating", done + n, n_clips),
    )
    for i, (outcome, judgement) in enumerate(heard):
        name = fold.said.clip_ids[i]
        if judgement is None:
            raise DataError(f"data: a clip of the run can no longer be read: {name}: {outcome.message}")
        if fold.contents[i] and outcome.content != fold.contents[i]:
            rule = f"the sound that {folder.name} was trained on"
            fix = "Give the run's own data, unchanged; for other sounds, evaluate its model folder."
            raise DataError(complaint("data", f"content of {name}", outcome.content[:12], rule, fix))
        probs[i] = judgement.probs
    apart = float(np.abs(probs - fold.said.probs).max())
    if apart > _SAME_PROBS:
        rule = f"those of predictions.csv, to within {_SAME_PROBS}"
        fix = "Weights and predictions of the run do not belong together; run it again."
        raise DataError(complaint(folder, f"probabilities of {fold.name}", f"{apart:.2f} away", rule, fix))
    return replace(fold.said, probs=probs)


def _damaged(
    fold: HeldOutFold,
    said: Predictions,
    names: tuple[str, ...],
    *,
    done: int,
    n_clips: int,
    monitor: Monitor,
) -> NDArray[np.bool_]:
    clips = fold.clips.assign(id=said.clip_ids)  # draws depend on the id
    return answers_to_damaged(
        fold.bundle,
        clips,
        said,
        names=names,
        seed=0,
        on_progress=lambda n, total: monitor.progress("corruptions", done + n, n_clips),
    )


def _scored(
    folds: list[HeldOutFold],
    together: Predictions,
    names: tuple[str, ...],
    right: list[NDArray[np.bool_]],
) -> CorruptionScores:
    joined = np.concatenate(right, axis=2)
    taught = frozenset[str]().union(*(taught_to(fold.bundle) for fold in folds))
    return scores_of_right(
        together.right,
        dict(zip(names, joined, strict=True)),
        groups=together.groups,
        held_out=set(names) - taught,
        rng=np.random.default_rng(0),
        clips=clips_digest(together),
    )
