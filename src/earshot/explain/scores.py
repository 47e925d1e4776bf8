"""What each fold model of a bundle, each member and the whole say of windows.

Conventions: windows are float32 [T] of the bundle's length; rows are probabilities [N, M, K] of M fold models in
the order of `Bundle.families`. They go through `models/scoring.py`, as in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from earshot.audio.windows import to_int16
from earshot.deploy.bundle import Bundle
from earshot.evaluation.ensemble import pool
from earshot.models.scoring import score_clips

Floats = NDArray[np.float64]
_LEAST = 1e-6


class Scorer:
    """Probabilities of windows by every part of a bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.families = {name: len(members) for name, members in bundle.families.items()}
        self._flat = [member for members in bundle.families.values() for member in members]
        config = bundle.config
        self._weights = [config.members[name].weight for name in self.families]
        self._calibrator = config.decisions.build_calibrator(multilabel=config.multilabel)

    def rows(
        self, windows: Iterable[NDArray[np.float32]], *, on_scored: Callable[[int], None] = lambda n: None
    ) -> Floats:
        """Probabilities by each fold model. Shape: N of [T] -> [N, M, K]."""
        length = self.bundle.config.window_samples
        clips = (to_int16(window) for window in windows)
        rows = []
        for row in score_clips(clips, self._flat, length=length, hop=length):
            rows.append(row)
            on_scored(len(rows))
        return np.stack(rows).astype(np.float64)

    def by_family(self, rows: Floats) -> dict[str, Floats]:
        """Fold models of a member averaged. Shape: [N, M, K] -> [N, K] each."""
        ends = np.cumsum(list(self.families.values()))[:-1]
        parts = np.split(rows, ends, axis=1)
        return {name: part.mean(axis=1) for name, part in zip(self.families, parts, strict=True)}

    def whole(self, rows: Floats) -> Floats:
        """What the bundle says: fold models averaged, members pooled, calibrated. Shape: [N, M, K] -> [N, K]."""
        families = np.stack(list(self.by_family(rows).values())).astype(np.float32)
        probs = pool(families, self._weights, multilabel=self.bundle.config.multilabel)
        calibrated = (
            probs if self._calibrator is None else np.stack([self._calibrator.apply(p) for p in probs])
        )
        return np.asarray(calibrated, dtype=np.float64)

    @property
    def shares(self) -> dict[str, float]:
        """What each member counts for in the pool; they sum to 1."""
        total = sum(self._weights) or 1.0
        return {name: weight / total for name, weight in zip(self.families, self._weights, strict=True)}


def log_odds(probs: Floats) -> Floats:
    """log p / (1 - p), finite: a sure model's evidence still shows. Shape is kept.

    >>> log_odds(np.array([0.5])).tolist()
    [0.0]
    """
    kept = np.clip(probs, _LEAST, 1.0 - _LEAST)
    return np.asarray(np.log(kept) - np.log1p(-kept))
