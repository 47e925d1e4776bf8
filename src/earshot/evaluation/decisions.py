"""From members' probabilities to answers: one fitted value with the pool, the calibration, limits and sets.

Conventions: member probabilities are [M, N, K]. Everything is fitted on predictions out of fold; what is reported
is nested: each fold is answered with weights, scales and limits that the other folds taught (`cross_judged`), and
with the kind of calibrator that they chose (`choose_for_each_fold`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from earshot.evaluation.blending import SMALLEST_PROB, Blend
from earshot.evaluation.calibration import (
    CALIBRATORS,
    Calibrator,
    calibration_table,
    nested_calibration,
)
from earshot.evaluation.conformal import ConformalSets, fit_conformal
from earshot.evaluation.cross_fitting import Folds, with_probs
from earshot.evaluation.ensemble import COMBINATIONS, nested_pool
from earshot.evaluation.predictions import THRESHOLD, Predictions
from earshot.evaluation.statistics import paired_bootstrap
from earshot.evaluation.thresholds import ClassThresholds, fit_thresholds

LEAST_WEIGHT = 0.01  # a member with less say changes no answer, and costs its whole time
_THRESHOLD_LEVEL = 0.5  # a threshold counts as precise when half of Wilson's interval says so
_MIN_MISTAKES = 20
_N_PARTS = 10  # in which clips are calibrated apart, to set limits
_MOST_BLOCKS = 10  # of folds: the cost of choosing for each grows with their square
# What calibration is fitted on at the most: a million probabilities, and of each class some clips on average, for
# vector scaling and isotonic regression learn something of each.
_MOST_VALUES, _CLIPS_PER_CLASS = 1_000_000, 50

Share = Annotated[float, Field(gt=0, lt=1)]


class DecisionsConfig(BaseModel):
    """What is fitted on out-of-fold predictions, besides the members' weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibration: Literal["auto", "none", "temperature", "vector", "isotonic"] = Field(
        "auto", description="auto: the one with the lowest nested log loss, if that is clearly below none's"
    )
    wanted_precisions: tuple[Share, ...] = Field(
        (0.9, 0.95, 0.99),
        max_length=10,
        description="thresholds for `predict --precision` are fitted for these",
    )
    miss_rate: float = Field(0.1, gt=0, lt=1, description="share of clips whose set may lack their class")
    known_kept: float = Field(
        0.95, gt=0.5, lt=1, description="share of known sounds that `predict --reject` is to keep"
    )
    novelty: bool = Field(True, description="learn to tell sounds of no class; one label a clip only")


@dataclass(frozen=True)
class Decisions:
    """What turns members' probabilities into answers; `calibrator` and `sets` may be missing."""

    blend: Blend
    calibrator: Calibrator | None
    thresholds: tuple[ClassThresholds, ...]
    sets: ConformalSets | None

    def probs(self, member_probs: NDArray[np.floating], *, multilabel: bool) -> NDArray[np.float32]:
        """Pooled and calibrated. Shape: [M, N, K] -> [N, K]."""
        pooled = self.blend.combine(member_probs, multilabel=multilabel)
        return pooled if self.calibrator is None else self.calibrator.apply(pooled)


def fit_decisions(members: Sequence[Predictions], *, method: str, config: DecisionsConfig) -> Decisions:
    """Fits on all of these predictions.

    Args:
        method: "none" or a key of `CALIBRATORS`.

    Raises:
        DataError: as `Combination.fit`.
    """
    blend = _without_idle(
        COMBINATIONS["log_pool"].fit(members, rng=np.random.default_rng(0))
    )  # draws nothing
    many = members[0].multilabel
    pooled = with_probs(members[0], blend.combine(stacked(members), multilabel=many))
    calibrator = None if method == "none" else CALIBRATORS[method](_thinned(pooled))
    final = pooled if calibrator is None else _calibrated_apart(pooled, calibrator, method)
    wanted = config.wanted_precisions
    thresholds = tuple(fit_thresholds(final, precision=each, level=_THRESHOLD_LEVEL) for each in wanted)
    sets = None if many else fit_conformal(final, miss_rate=config.miss_rate)
    return Decisions(blend, calibrator, thresholds, sets)


def choose_calibration(
    predictions: Predictions, folds: Folds, *, config: DecisionsConfig, rng: np.random.Generator
) -> tuple[str, pd.DataFrame]:
    """The method to calibrate with, and nested scores of each; "none" unless another is clearly better.

    Clearly better is a lower nested log loss, by more than luck over groups, at no loss of accuracy. Where hardly
    a clip is wrong nothing is known of how often a sure answer is, and nothing is changed.
    """
    thin, thin_folds = _thinned_folds(predictions, folds)
    table = calibration_table(thin, thin_folds)
    if config.calibration != "auto":
        return config.calibration, table
    best = str(table["method"].iloc[int(table["log_loss"].argmin())])
    accuracy = table.set_index("method")["accuracy"]
    if best == "none" or accuracy[best] < accuracy["none"] or _n_mistakes(thin) < _MIN_MISTAKES:
        return "none", table
    after = nested_calibration(thin, thin_folds, method=best)
    groups = thin.groups
    if len(set(groups) if groups is not None else range(len(thin))) < 2:
        return "none", table
    low, _ = paired_bootstrap(_losses(thin), _losses(after), groups, rng=rng)
    return (best if low > 0 else "none"), table


def choose_for_each_fold(
    members: Sequence[Predictions], folds: Folds, *, config: DecisionsConfig, seed: int
) -> tuple[str, ...]:
    """The method to judge each fold with, chosen as `choose_calibration` does on other folds alone.

    Of more than 10 folds, some next to each other are left out together. A single other fold cannot say which
    method is better: "none".
    """
    if config.calibration != "auto":
        return (config.calibration,) * len(folds)
    blocks = np.array_split(np.arange(len(folds)), min(len(folds), _MOST_BLOCKS))
    chosen: list[str] = []
    for left_out in blocks:
        others = [np.concatenate([folds[i] for i in block]) for block in blocks if block is not left_out]
        method = "none"
        if len(others) > 1:
            rows = np.concatenate(others)
            positions = np.split(np.arange(len(rows)), np.cumsum([len(each) for each in others])[:-1])
            pooled = nested_pool([each.subset(rows) for each in members], positions)
            rng = np.random.default_rng(seed)
            method, _ = choose_calibration(pooled, positions, config=config, rng=rng)
        chosen += [method] * len(left_out)
    return tuple(chosen)


def _calibrated_apart(pooled: Predictions, calibrator: Calibrator, method: str) -> Predictions:
    """Each clip's probabilities as calibration gives them to clips that it has not seen.

    A calibrator flatters the clips that it was fitted on, and limits that are set on those are too tight for new
    ones: with isotonic regression on 400 clips, sets for 90 % held the true class of 85 %.
    """
    groups = pooled.groups if pooled.groups is not None else pooled.clip_ids
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    n_parts = min(_N_PARTS, len(names))
    if n_parts < 2 or len(pooled) > _n_useful(pooled):  # with as many there is nothing left to flatter
        return with_probs(pooled, calibrator.apply(pooled.probs))
    part_of = np.random.default_rng(0).permutation(len(names)) % n_parts
    parts = [np.flatnonzero(part_of[group_of] == part) for part in range(n_parts)]
    return nested_calibration(pooled, parts, method=method)


def _without_idle(blend: Blend) -> Blend:
    """Members with next to no say get none; where all are worse than chance they share what keeps them a model."""
    kept = tuple(w if w >= LEAST_WEIGHT else 0.0 for w in blend.weights)
    n_members = len(kept)
    return Blend(blend.rule, kept if any(kept) else (LEAST_WEIGHT / n_members,) * n_members)


def _n_mistakes(predictions: Predictions) -> int:
    """Wrong clips; with several labels a clip, wrong answers about a label."""
    if predictions.multilabel:
        said, true = (p >= THRESHOLD for p in (predictions.probs, predictions.known_targets))
        return int((said != true).sum())
    return int((predictions.predicted != predictions.labels).sum())


def stacked(members: Sequence[Predictions]) -> NDArray[np.float32]:
    """Probabilities of members on the same clips. Shape: [M, N, K]."""
    return np.stack([each.probs for each in members])


def _losses(predictions: Predictions) -> NDArray[np.float64]:
    """Log loss of each clip [N]."""
    p = np.clip(predictions.probs.astype(np.float64), SMALLEST_PROB, 1 - SMALLEST_PROB)
    true = predictions.known_targets
    likely = np.log(p) * true + (np.log1p(-p) * (1 - true) if predictions.multilabel else 0.0)
    return np.asarray(-likely.mean(axis=1) if predictions.multilabel else -likely.sum(axis=1))


def _thinned(predictions: Predictions) -> Predictions:
    return predictions.subset(_even_rows(predictions, np.arange(len(predictions))))


def _thinned_folds(predictions: Predictions, folds: Folds) -> tuple[Predictions, list[NDArray[np.int64]]]:
    """The same share of each class of each fold, where there is more than calibration can use."""
    kept = [_even_rows(predictions, fold) for fold in folds]
    ends = np.cumsum([len(each) for each in kept])
    positions = [np.arange(end - len(each), end) for end, each in zip(ends, kept, strict=True)]
    return predictions.subset(np.concatenate(kept)), positions


def _n_useful(predictions: Predictions) -> int:
    """Clips that calibration can use."""
    n_classes = len(predictions.classes)
    return max(_MOST_VALUES // n_classes, _CLIPS_PER_CLASS * n_classes)


def _even_rows(predictions: Predictions, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of these rows the share that is useful of all; with one label a clip, that share of each class."""
    n_useful = _n_useful(predictions)
    if len(predictions) <= n_useful:
        return rows
    by_class = rows if predictions.multilabel else rows[np.argsort(predictions.labels[rows], kind="stable")]
    n_kept = -(-len(rows) * n_useful // len(predictions))
    return np.sort(by_class[np.arange(n_kept) * len(rows) // n_kept])
