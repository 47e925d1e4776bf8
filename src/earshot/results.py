"""What a run found: predictions of every member and of all together, their scores, and the files that show them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earshot.data.clips import Clips
from earshot.data.fields import printable
from earshot.data.splits import Fold
from earshot.deploy.bundle import Bundle, card_scores, environment
from earshot.deploy.card import model_card
from earshot.evaluation.class_scores import with_details
from earshot.evaluation.decisions import (
    Decisions,
    DecisionsConfig,
    choose_calibration,
    choose_for_each_fold,
    fit_decisions,
)
from earshot.evaluation.ensemble import nested_pool
from earshot.evaluation.judged import Judged, answer_scores, cross_judged
from earshot.evaluation.metrics import summarise
from earshot.evaluation.predictions import Predictions, safe_frame
from earshot.evaluation.statistics import accuracy_interval
from earshot.hearing import Heard
from earshot.recipe import Recipe
from earshot.report.html import ReportValues, write_report
from earshot.report.media import Embedding
from earshot.run_page import clips_to_hear
from earshot.runfolder import RunFolder
from earshot.training.members import FittedFold

Families = Mapping[str, Sequence[FittedFold]]

_HISTORY_COLUMNS = (
    *("member", "fold", "epoch", "train_loss", "test_loss", "test_accuracy"),
    *("learning_rate", "seconds"),
)


@dataclass(frozen=True)
class Results:
    """Out-of-fold predictions of each member, the nested answers of all together, and what the model ships with.

    `calibration` has the nested scores of each way to calibrate, `method` is the one that the model ships with and
    `fold_methods` those that judged each fold, chosen without it.
    """

    members: Mapping[str, Predictions]
    judged: Judged
    decisions: Decisions
    method: str
    fold_methods: tuple[str, ...]
    calibration: pd.DataFrame

    @property
    def together(self) -> Predictions:
        """Out-of-fold predictions of the pooled and calibrated members."""
        return self.judged.predictions

    @property
    def weights(self) -> dict[str, float]:
        """Each member's say in the pool; 0 for one that is not needed."""
        return dict(zip(self.members, self.decisions.blend.weights, strict=True))


def out_of_fold(
    families: Families, clips: Clips, folds: Sequence[Fold], *, config: DecisionsConfig, seed: int
) -> Results:
    """Joins the folds' held-out probabilities, pools the members, calibrates and sets limits.

    Each fold is answered with what was fitted on the other folds; what the model ships with is fitted on all.
    """
    rows = np.concatenate([fold.test for fold in folds])
    members = {
        name: predictions_of(np.concatenate([f.probs for f in family]), clips, rows, split="oof")
        for name, family in families.items()
    }
    listed, positions = list(members.values()), fold_positions(folds)
    method, table = choose_calibration(
        nested_pool(listed, positions), positions, config=config, rng=np.random.default_rng(seed)
    )
    fold_methods = choose_for_each_fold(listed, positions, config=config, seed=seed)
    judged = cross_judged(listed, positions, methods=fold_methods, config=config)
    decisions = fit_decisions(listed, method=method, config=config)
    return Results(members, judged, decisions, method, fold_methods, table)


def fold_positions(folds: Sequence[Fold]) -> list[NDArray[np.int64]]:
    """Where each fold's clips stand in predictions that join the folds one after another."""
    ends = np.cumsum([len(fold.test) for fold in folds])
    return [np.arange(end - len(fold.test), end) for fold, end in zip(folds, ends, strict=True)]


def predictions_of(probs: NDArray[Any], clips: Clips, rows: NDArray[np.int64], *, split: str) -> Predictions:
    """Probabilities [n, K] of some rows of the clips, with what is known of them."""
    ids = clips.ids
    return Predictions(
        np.asarray(probs, dtype=np.float32),
        clips.classes,
        clip_ids=tuple(ids[row] for row in rows),
        targets=clips.targets[rows],
        split=split,
        groups=tuple(clips.groups[rows]),
        multilabel=clips.is_multilabel,
    )


def run_metrics(
    results: Results,
    folds: Sequence[Fold],
    *,
    test: Predictions | None,
    seconds: Mapping[str, float],
    novelty: Mapping[str, Any] | None,
    seed: int,
) -> dict[str, Any]:
    """The scores of metrics.json; `seconds` are each member's, cheapest first: the first is the baseline."""

    def summary(predictions: Predictions) -> dict[str, Any]:
        return summarise(predictions, rng=np.random.default_rng(seed))

    metrics = summary(results.together)
    rng = np.random.default_rng(seed)
    metrics["per_class"] = with_details(metrics["per_class"], results.together, rng=rng)
    metrics["classes"] = list(results.together.classes)
    metrics["folds"] = _fold_scores(results.together, folds, seed=seed)
    metrics["members"] = {
        name: summary(p) | {"seconds": round(seconds[name], 2), "weight": round(results.weights[name], 4)}
        for name, p in results.members.items()
    }
    metrics["calibration"] = {
        "method": results.method,
        "fold_methods": list(results.fold_methods),
        "nested": results.calibration.to_dict("records"),
    }
    metrics |= answer_scores(results.judged, results.decisions.sets, rng=np.random.default_rng(seed))
    if novelty is not None:
        metrics["novelty"] = dict(novelty)
    metrics["baseline"] = next(iter(seconds))
    metrics["protocol"] = (
        f"{len(folds)} folds by group; no clip is scored by a model that heard its group, nor with weights or "
        "calibration fitted on its fold"
    )
    metrics["seed"] = seed
    if test is not None:
        metrics["test"] = summary(test)
    return metrics


def _fold_scores(together: Predictions, folds: Sequence[Fold], *, seed: int) -> list[dict[str, Any]]:
    """Accuracy of each fold with its interval; rows of a fold follow one another.

    With several labels a clip, all must agree.
    """
    right = together.right
    groups = np.array(together.groups or together.clip_ids, dtype=object)
    rng = np.random.default_rng(seed)
    return [
        {
            "name": fold.name,
            "n_train": len(fold.train),
            "n_test": len(fold.test),
            "accuracy": float(right[positions].mean()),
            "accuracy_ci95": list(accuracy_interval(right[positions], groups[positions], rng=rng)),
        }
        for fold, positions in zip(folds, fold_positions(folds), strict=True)
    ]


def accuracy_line(name: str, scores: Mapping[str, Any]) -> str:
    """One line for the console: accuracy with its interval, and balanced accuracy."""
    low, high = scores["accuracy_ci95"]
    balanced = scores["balanced_accuracy"]
    return (
        f"{name}: accuracy {100 * scores['accuracy']:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f})"
        + ("" if balanced is None else f", balanced {100 * balanced:.1f} %")
    )


def outlook_line(curve: Mapping[str, Any]) -> str:
    """One line for the console: what twice as many training clips are likely to bring."""
    ahead = curve["doubled"]
    if ahead is None:
        return f"{curve['member']}: too few groups for a learning curve"
    low, high = (100 * end for end in ahead["gain_ci95"])
    return (
        f"{curve['member']}, twice the clips: about {100 * ahead['gain']:+.1f} points of accuracy "
        f"(95 % interval {low:+.1f} to {high:+.1f})"
    )


def history_table(families: Families) -> pd.DataFrame:
    """A row per member, fold and epoch."""
    rows = [
        {"member": name, "fold": i + 1, **row}
        for name, family in families.items()
        for i, f in enumerate(family)
        for row in f.history
    ]
    return pd.DataFrame(rows, columns=list(_HISTORY_COLUMNS))


def clips_table(heard: Heard, clips: Clips, folds: Sequence[Fold]) -> pd.DataFrame:
    """Every clip that was asked for, with its group, the fold it is tested in, its status, the reason, its hash."""
    ids = clips.ids
    tested_in = {ids[row]: fold.name for fold in folds for row in fold.test}
    group = dict(zip(ids, clips.groups, strict=True))
    table = heard.asked.table.copy()
    table["group"] = [group.get(i, old) for i, old in zip(heard.asked.ids, table["group"], strict=True)]
    table["path"] = [printable(path) for path in table["path"]]  # as the ids are
    table["tested_in"] = [tested_in.get(i, "") for i in heard.asked.ids]
    for column in ("status", "reason", "message", "content"):
        table[column] = [getattr(outcome, column) for outcome in heard.outcomes]
    return table


def write_clips(folder: RunFolder, table: pd.DataFrame) -> None:
    """Writes clips.csv."""
    folder.write("clips.csv", safe_frame(table).to_csv(index=False))


def write_results(
    folder: RunFolder,
    *,
    clips: pd.DataFrame,
    results: Results,
    test: Predictions | None,
    novelty: Mapping[str, float],
    metrics: dict[str, Any],
    families: Families,
    heard: Heard,
    bundle: Bundle,
    recipe: Recipe,
    title: str,
    command: str,
    device: str,
    notes: Sequence[str],
    embedding: Embedding,
) -> Bundle:
    """Writes clips, predictions, history, model, metrics and report; returns the model with its card.

    Until metrics.json is there the run is not finished: files of an earlier one in the same folder are not mixed
    with these.

    Args:
        clips: of `clips_table`.
        novelty: out of fold, of the clips of which it is known, by id.
        embedding: how much sound the report holds.
    """
    (folder.root / "metrics.json").unlink(missing_ok=True)
    write_clips(folder, clips)
    tables = [p.to_frame().assign(split=p.split) for p in (results.together, test) if p is not None]
    table = pd.concat(tables)
    if novelty:
        table["novelty"] = table["id"].map(novelty)
    folder.write("predictions.csv", safe_frame(table).to_csv(index=False))
    history = history_table(families)
    folder.write("history.csv", safe_frame(history).to_csv(index=False))
    bundle = bundle.described(card_scores(metrics), model_card(bundle.config, metrics, title=title))
    bundle.save(folder.root / "model")
    folder.write("metrics.json", json.dumps(metrics, indent=2) + "\n")
    values = ReportValues(
        title=title,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=command,
        metrics=metrics,
        history=history,
        config_toml=recipe.to_toml(),
        environment=environment() | {"device": device},
        problems=heard.problems,
        notes=notes,
        embedding=embedding,
        **clips_to_hear(
            results.together,
            results.members,
            heard=heard,
            rate_hz=recipe.audio.rate_hz,
            folder=folder.root,
            title=title,
        ),
    )
    write_report(folder.root / "report.html", values)
    return bundle
