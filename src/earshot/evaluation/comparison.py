"""Several models on the same clips: who is ahead, by how much, and whether that is more than luck.

Conventions: scores are fractions in [0, 1]; a clip is right as `summarise` counts it; a difference is first -
second, its interval is at 95 %; p values are two-sided, those named `holm` are corrected for the number of pairs.
McNemar's test takes clips as independent; where several clips come from one recording, the p value by groups and
the interval, which keep recordings whole, are the ones to go by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earshot.errors import DataError, complaint
from earshot.evaluation.cross_fitting import require_same_clips
from earshot.evaluation.predictions import Predictions
from earshot.evaluation.significance import clips_needed, holm, mcnemar, sign_flip
from earshot.evaluation.statistics import accuracy_interval, paired_bootstrap, wilson

LEVEL = 0.05


@dataclass(frozen=True)
class Standing:
    """One model's place: accuracy and its interval."""

    name: str
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """Two models on the same clips.

    Attributes:
        difference: accuracy of the first less that of the second; low, high: its interval over groups.
        n_only_first, n_only_second: clips that only the one or only the other gets right.
        p_mcnemar, p_mcnemar_holm: exact McNemar test, plain and corrected.
        p_groups, p_groups_holm: sign-flip test over groups, plain and corrected.
        n_clips_needed: independent clips for an 80 % chance to tell the two apart; None if none suffice.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    n_only_first: int
    n_only_second: int
    p_mcnemar: float
    p_mcnemar_holm: float
    p_groups: float
    p_groups_holm: float
    n_clips_needed: int | None

    @property
    def is_clear(self) -> bool:
        """Whether the corrected test by groups, and McNemar's, tell the two apart at 5 %."""
        return max(self.p_groups_holm, self.p_mcnemar_holm) < LEVEL


@dataclass(frozen=True)
class Comparison:
    """The models from best to worst, and every pair of them, the better one first."""

    standings: tuple[Standing, ...]
    pairs: tuple[PairedDifference, ...]
    n_clips: int
    n_groups: int

    def standings_frame(self) -> pd.DataFrame:
        """A row a model: name, accuracy, low, high."""
        return pd.DataFrame([asdict(each) for each in self.standings])

    def pairs_frame(self) -> pd.DataFrame:
        """A row a pair: the fields of `PairedDifference`, and clear."""
        return pd.DataFrame([asdict(each) | {"clear": each.is_clear} for each in self.pairs])


def compare(predictions: Mapping[str, Predictions], *, rng: np.random.Generator) -> Comparison:
    """Ranks models by accuracy and tests every pair. The clips may come in any order, and must be the same.

    Raises:
        DataError: fewer than two models, or they differ in clips, classes or targets.
    """
    if len(predictions) < 2:
        raise DataError(complaint("comparison", "number of models", len(predictions), "2 or more"))
    lined_up = _lined_up(predictions)
    right = {name: each.right for name, each in lined_up.items()}
    first = next(iter(lined_up.values()))
    groups = first.groups
    names = sorted(right, key=lambda name: -right[name].mean())
    standings = tuple(
        Standing(name, float(right[name].mean()), *accuracy_interval(right[name], groups, rng=rng))
        for name in names
    )
    listed = list(combinations(names, 2))
    raw = [_pair(right[a], right[b], groups, rng) for a, b in listed]
    by_clips, by_groups = (holm([row[name] for row in raw]) for name in ("p_mcnemar", "p_groups"))
    pairs = tuple(
        _difference(a, b, right, row, corrected=(float(p), float(q)))
        for (a, b), row, p, q in zip(listed, raw, by_clips, by_groups, strict=True)
    )
    return Comparison(standings, pairs, len(first), len(set(groups)) if groups else len(first))


def _lined_up(predictions: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """All in the order of the first one's clips."""
    first = next(iter(predictions.values()))
    lined_up = {}
    for name, each in predictions.items():
        row_of = {clip: row for row, clip in enumerate(each.clip_ids)}
        if set(row_of) != set(first.clip_ids):
            fix = "Only models that predicted the same clips can be compared."
            raise DataError(
                complaint("comparison", f"clips of {name}", len(each), f"the {len(first)} of the first", fix)
            )
        lined_up[name] = each.subset(np.array([row_of[clip] for clip in first.clip_ids], dtype=np.int64))
        if not np.array_equal(lined_up[name].known_targets, first.known_targets):
            raise DataError(
                f"comparison: {name} was scored on other labels than the first; give both the same."
            )
    require_same_clips("comparison", list(lined_up.values()))
    return lined_up


def _pair(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    groups: tuple[str, ...] | None,
    rng: np.random.Generator,
) -> dict[str, float]:
    differences = first.astype(np.float64) - second
    n_groups = len(set(groups)) if groups else len(first)
    low, high = paired_bootstrap(first, second, groups, rng=rng) if n_groups > 1 else (-1.0, 1.0)
    if low == high:  # no group is apart from the others: as for a share of none in so many, either way
        spread = wilson(0, n_groups)[1]
        low, high = max(-1.0, low - spread), min(1.0, high + spread)
    return {
        "difference": float(differences.mean()),
        "low": low,
        "high": high,
        "p_mcnemar": mcnemar(first, second),
        "p_groups": sign_flip(differences, groups, rng=rng),
    }


def _difference(
    first: str,
    second: str,
    right: Mapping[str, NDArray[np.bool_]],
    row: Mapping[str, float],
    *,
    corrected: tuple[float, float],
) -> PairedDifference:
    a, b = right[first], right[second]
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    return PairedDifference(
        first,
        second,
        **row,
        n_only_first=only_a,
        n_only_second=only_b,
        p_mcnemar_holm=corrected[0],
        p_groups_holm=corrected[1],
        n_clips_needed=clips_needed(only_a / len(a), only_b / len(a)),
    )
