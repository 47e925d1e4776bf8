"""How much of a model's accuracy is left on damaged sounds, by corruption and severity.

Conventions: accuracies are fractions; severities count from 1, the mildest; corruptions are names in the order of
the suite. A corruption is held out if nothing like it was in the training: only those say how a model bears what
it does not know.

Source: Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
2019, for the mean corruption error and its relative form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earshot.errors import DataError, complaint
from earshot.evaluation.predictions import Predictions, safe_cell
from earshot.evaluation.statistics import group_bootstrap, wilson

_WHERE = "corruption scores"


@dataclass(frozen=True)
class CorruptionScores:
    """Accuracy on clean clips and on the same clips damaged.

    Args:
        clean: accuracy without damage.
        accuracy: of each corruption, one a severity.
        held_out: the corruptions that the training had nothing like.
        interval: of the mean, 95 %, by group; None where it was not measured.
        n_clips: how many clips each accuracy is over.
        clips: which clips with which labels (`clips_digest`); "" where it is not known.

    Raises:
        DataError: there is no corruption, they differ in severities, or a number is no fraction.
    """

    clean: float
    accuracy: Mapping[str, tuple[float, ...]]
    held_out: frozenset[str] = frozenset()
    interval: tuple[float, float] | None = None
    n_clips: int = 0
    clips: str = ""

    def __post_init__(self) -> None:
        if (
            not self.accuracy
            or len({len(each) for each in self.accuracy.values()}) != 1
            or not self.n_severities
        ):
            rule = "one or more corruptions with as many severities each"
            raise DataError(complaint(_WHERE, "accuracy", dict(self.accuracy), rule))
        for value in (self.clean, *(v for each in self.accuracy.values() for v in each)):
            if not 0 <= value <= 1:  # also true for NaN
                raise DataError(complaint(_WHERE, "accuracy", value, "a fraction in [0, 1]"))
        if unknown := sorted(self.held_out - set(self.accuracy)):
            raise DataError(complaint(_WHERE, "held out", unknown[0], "one of the corruptions"))

    @property
    def n_severities(self) -> int:
        """As many for each corruption."""
        return len(next(iter(self.accuracy.values())))

    @property
    def means(self) -> dict[str, float]:
        """Of each corruption over its severities."""
        return {name: float(np.mean(each)) for name, each in self.accuracy.items()}

    @property
    def mean(self) -> float:
        """Over all corruptions, each of which weighs the same."""
        return float(np.mean(list(self.means.values())))

    @property
    def mean_held_out(self) -> float | None:
        """The mean over what is held out; None where nothing is."""
        kept = [mean for name, mean in self.means.items() if name in self.held_out]
        return float(np.mean(kept)) if kept else None

    @property
    def relative(self) -> float | None:
        """The share of the clean accuracy that is left in the mean; None where there was none."""
        return self.mean / self.clean if self.clean else None

    @property
    def worst(self) -> str:
        """The corruption that hurts most: the lowest mean, the first of equals."""
        means = self.means
        return min(means, key=lambda name: means[name])

    def to_frame(self) -> pd.DataFrame:
        """A row each, for a CSV file: corruption, severity, accuracy, lost (of the clean accuracy), held_out.

        The first row is the clean clips: corruption "clean", severity 0.
        """
        rows: list[dict[str, Any]] = [self._row("clean", 0, self.clean)]
        for name, each in self.accuracy.items():
            rows += [self._row(name, i + 1, value) for i, value in enumerate(each)]
        return pd.DataFrame(rows)

    def _row(self, name: str, severity: int, accuracy: float) -> dict[str, Any]:
        about = {
            "corruption": name,
            "severity": severity,
            "accuracy": accuracy,
            "lost": self.clean - accuracy,
        }
        return about | {"held_out": name in self.held_out}

    def to_table(self) -> pd.DataFrame:
        """A row a corruption, worst first: corruption, 1 ... 5, mean, held_out."""
        rows = [
            {"corruption": name}
            | {str(i + 1): value for i, value in enumerate(self.accuracy[name])}
            | {"mean": mean, "held_out": name in self.held_out}
            for name, mean in sorted(self.means.items(), key=lambda pair: pair[1])
        ]
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it: the fields, and what is computed of them."""
        return {
            "clean": self.clean,
            "accuracy": {name: list(each) for name, each in self.accuracy.items()},
            "held_out": [name for name in self.accuracy if name in self.held_out],
            "mean": self.mean,
            "mean_ci95": None if self.interval is None else list(self.interval),
            "mean_held_out": self.mean_held_out,
            "relative": self.relative,
            "worst": self.worst,
            "n_clips": self.n_clips,
            "clips": self.clips,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CorruptionScores:
        """Reads what `to_dict` wrote.

        Raises:
            DataError: a key is missing, or as the class.
        """
        try:
            accuracy = {str(k): tuple(float(v) for v in each) for k, each in values["accuracy"].items()}
            ends = values["mean_ci95"]
            interval = None if ends is None else (float(ends[0]), float(ends[1]))
            clean, held_out = float(values["clean"]), frozenset(values["held_out"])
            n_clips, clips = int(values["n_clips"]), str(values.get("clips", ""))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            rule = "the object that an evaluation with corruptions writes"
            raise DataError(complaint(_WHERE, "value", str(error), rule)) from error
        return cls(clean, accuracy, held_out, interval, n_clips, clips)


def score_corruptions(
    clean: Predictions,
    damaged: Mapping[str, Sequence[Predictions]],
    *,
    held_out: Collection[str] = (),
    rng: np.random.Generator,
) -> CorruptionScores:
    """Accuracies, and an interval of their mean that draws whole groups of clips.

    As in `summarise`, a clip with several labels is right if all of its classes are.

    Args:
        damaged: of each corruption the predictions of the same clips, one a severity.

    Raises:
        DataError: no clip, other clips than the clean ones, no targets, or as `CorruptionScores`.
    """
    for name, each in damaged.items():
        for severity, predictions in enumerate(each, start=1):
            if predictions.clip_ids != clean.clip_ids:
                rule = f"the {len(clean)} clean clips, in their order"
                about = f"{len(predictions)} clips"
                raise DataError(complaint(f"{_WHERE}: {name} {severity}", "clips", about, rule))
    right = {
        name: np.array([predictions.right for predictions in each], dtype=bool)
        for name, each in damaged.items()
    }
    return scores_of_right(
        clean.right, right, groups=clean.groups, held_out=held_out, rng=rng, clips=clips_digest(clean)
    )


def scores_of_right(
    clean: NDArray[np.bool_],
    damaged: Mapping[str, NDArray[np.bool_]],
    *,
    groups: Sequence[str] | None,
    held_out: Collection[str] = (),
    rng: np.random.Generator,
    clips: str = "",
) -> CorruptionScores:
    """As `score_corruptions`, from which clips are right: what is left when there is no room for probabilities.

    Args:
        clean: which undamaged clips are right [N].
        damaged: of each corruption the same, a row a severity [S, N].
        clips: `clips_digest` of them.

    Raises:
        DataError: no clip, or as `CorruptionScores`.
    """
    if not len(clean):
        raise DataError(complaint(_WHERE, "number of clips", 0, "at least 1"))
    accuracy = {name: tuple(float(row.mean()) for row in each) for name, each in damaged.items()}
    kept = frozenset(held_out) & frozenset(accuracy)
    scores = CorruptionScores(float(np.mean(clean)), accuracy, kept, n_clips=len(clean), clips=clips)
    per_clip = np.mean([each.mean(axis=0) for each in damaged.values()], axis=0)
    return replace(scores, interval=_interval(per_clip, groups, rng))


def clips_digest(predictions: Predictions) -> str:
    """The same for the same clips and labels, in whatever order and whatever other classes a model knows."""
    targets, digest = predictions.known_targets, hashlib.sha256()
    for clip_id, row in sorted((str(safe_cell(name)), i) for i, name in enumerate(predictions.clip_ids)):
        said = sorted((predictions.classes[k], float(targets[row, k])) for k in np.flatnonzero(targets[row]))
        digest.update(repr((clip_id, said)).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()[:16]


def _interval(
    means: NDArray[np.float64], groups: Sequence[str] | None, rng: np.random.Generator
) -> tuple[float, float]:
    """Of the mean of each clip's mean. As in `accuracy_interval`, no spread is no certainty: Wilson's interval with
    groups as trials; and one group with clips that differ says nothing.
    """
    n_groups = len(means) if groups is None else len(set(groups))
    if means.min() == means.max() and (n_groups > 1 or means[0] in (0.0, 1.0)):
        return wilson(float(means[0]) * n_groups, n_groups)
    if n_groups < 2:
        return 0.0, 1.0
    return group_bootstrap(means, groups, rng=rng)


@dataclass(frozen=True)
class CorruptionErrors:
    """Errors beside those of a baseline: below 1 is better than it.

    Attributes:
        each: CE, the error of each corruption, summed over severities, over that of the baseline.
        mean: mCE, of `each`; None where the baseline makes no error at all.
        relative_each: the same with the errors on clean clips taken off both: what the damage alone costs.
        relative_mean: of those; None where no damage costs the baseline anything.
        without: corruptions under which the baseline makes no error: they have no ratio in `each`.
        without_relative: those that cost the baseline nothing: they have none in `relative_each`.
    """

    each: Mapping[str, float]
    mean: float | None
    relative_each: Mapping[str, float]
    relative_mean: float | None
    without: tuple[str, ...] = ()
    without_relative: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "mce": self.mean,
            "relative_mce": self.relative_mean,
            "each": dict(self.each),
            "relative_each": dict(self.relative_each),
            "without": list(self.without),
            "without_relative": list(self.without_relative),
        }


def mean_corruption_error(scores: CorruptionScores, baseline: CorruptionScores) -> CorruptionErrors:
    """The mean corruption error (mCE) and its relative form.

    With errors E = 1 - accuracy of corruption c at severity s, and those E' of the baseline,

        CE_c = sum_s E_cs / sum_s E'_cs,                              mCE = mean_c CE_c
        relative CE_c = sum_s (E_cs - E_clean) / sum_s (E'_cs - E'_clean), and their mean.

    A corruption under which the baseline makes no (further) error has no ratio, whatever the model does: it is
    named in `without`, and the mean is over the others. A sum that is tiny, though not 0, makes a ratio that says
    little.

    Source: Hendrycks and Dietterich, 2019, section 4.

    Raises:
        DataError: the baseline lacks a corruption, or has other severities.

    >>> model, plain = (CorruptionScores(0.9, {"noise": values}) for values in [(0.8, 0.6), (0.7, 0.5)])
    >>> round(mean_corruption_error(model, plain).mean, 3)  # 0.2 + 0.4 over 0.3 + 0.5
    0.75
    """
    if missing := [name for name in scores.accuracy if name not in baseline.accuracy]:
        rule, fix = "a corruption that the baseline has too", "Evaluate both with the same corruptions."
        raise DataError(complaint("mean corruption error", "corruption", missing[0], rule, fix))
    if scores.n_severities != baseline.n_severities:
        rule = f"as many as the baseline ({baseline.n_severities})"
        raise DataError(complaint("mean corruption error", "severities", scores.n_severities, rule))
    each = _ratios(scores, baseline, best=(1.0, 1.0))
    relative = _ratios(scores, baseline, best=(scores.clean, baseline.clean))
    without, without_relative = (
        tuple(name for name in scores.accuracy if name not in ratios) for ratios in (each, relative)
    )
    return CorruptionErrors(each, _mean(each), relative, _mean(relative), without, without_relative)


def _ratios(
    scores: CorruptionScores, baseline: CorruptionScores, *, best: tuple[float, float]
) -> dict[str, float]:
    """What is lost of `best`, over what the baseline loses of its own, where that is something."""
    ratios = {}
    for name, own in scores.accuracy.items():
        lost = sum(best[0] - value for value in own)
        of_baseline = sum(best[1] - value for value in baseline.accuracy[name])
        if of_baseline > 1e-9:
            ratios[name] = lost / of_baseline
    return ratios


def _mean(ratios: Mapping[str, float]) -> float | None:
    return float(np.mean(list(ratios.values()))) if ratios else None
