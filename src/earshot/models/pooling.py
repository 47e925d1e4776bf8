"""What a model says of a clip, from what it says of the clip's windows.

Conventions: probabilities of windows are [..., W, K], of clips [..., K]; windows come in any number of portions.
With one label a clip, every score sums to 1 over the classes; with several, each class is scored by itself. A clip
of a single window keeps its probabilities, except in a vote. The rules are those by which `evaluation/blending.py`
makes one of several members, for windows that need not all be there at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

WindowScore = Literal["mean", "mean_logit", "max", "vote"]

_SMALLEST_PROB = 1e-6  # one window that is certain must not rule a class out for the whole clip
_TIE_SHARE = 1e-3  # say of the mean in a vote: decides ties, and is too little to outvote a window
_SAYS_YES = 0.5

Floats = NDArray[np.float64]
Probs = NDArray[np.float32]


@dataclass(frozen=True)
class _Rule:
    """How portions of windows add up to a clip.

    Args:
        terms: of windows [..., W, K], what is gathered over them; `multilabel` comes second.
        gather: one portion's terms over its windows [..., W, K] -> [..., K].
        join: two portions into one.
        finish: the clip's probabilities, given what was gathered [..., K], the number of windows and `multilabel`.
    """

    terms: Callable[[Probs, bool], NDArray[np.floating]]
    gather: Callable[[NDArray[np.floating]], Floats]
    join: Callable[[Floats, Floats], Floats]
    finish: Callable[[Floats, int, bool], Floats]


def _total(terms: NDArray[np.floating]) -> Floats:
    return np.asarray(terms.sum(axis=-2, dtype=np.float64))


def _largest(terms: NDArray[np.floating]) -> Floats:
    return np.asarray(terms.max(axis=-2), dtype=np.float64)


def _log_scores(probs: Probs, multilabel: bool) -> Floats:
    safe = np.clip(probs.astype(np.float64), _SMALLEST_PROB, 1 - _SMALLEST_PROB)
    return np.asarray(np.log(safe) - (np.log1p(-safe) if multilabel else 0.0))


def _mean_logit(total: Floats, n: int, multilabel: bool) -> Floats:
    mean = total / n
    if multilabel:
        return np.asarray(0.5 + 0.5 * np.tanh(mean / 2))  # the logistic function, without overflow
    return _to_one(np.exp(mean - mean.max(axis=-1, keepdims=True)))


def _max(largest: Floats, n: int, multilabel: bool) -> Floats:
    return largest if multilabel else _to_one(largest)


def _to_one(values: Floats) -> Floats:
    return np.asarray(values / values.sum(axis=-1, keepdims=True))


def _votes(probs: Probs, multilabel: bool) -> Floats:
    """Each window's vote, and its probabilities beside it. Shape: [..., W, K] -> [..., W, 2 K]."""
    said = probs >= _SAYS_YES if multilabel else np.eye(probs.shape[-1])[probs.argmax(axis=-1)]
    return np.concatenate([said, probs], axis=-1, dtype=np.float64)


def _vote(total: Floats, n: int, multilabel: bool) -> Floats:
    votes, mean = np.split(total / n, 2, axis=-1)
    tie = _TIE_SHARE / n
    return np.asarray((1 - tie) * votes + tie * mean)


def _mean(total: Floats, n: int, multilabel: bool) -> Floats:
    return np.asarray(total / n)


WINDOW_SCORES: dict[WindowScore, _Rule] = {
    "mean": _Rule(lambda probs, multilabel: probs, _total, np.add, _mean),
    "mean_logit": _Rule(_log_scores, _total, np.add, _mean_logit),
    "max": _Rule(lambda probs, multilabel: probs, _largest, np.maximum, _max),
    "vote": _Rule(_votes, _total, np.add, _vote),
}
"""Mean of probabilities; their geometric mean (the mean of log odds, for several labels); the largest; votes."""


class ClipPool:
    """The windows of one clip as they come, in portions.

    Args:
        score: a key of `WINDOW_SCORES`.
        multilabel: each class is a question of its own.
        n_classes: what a window has after these columns is no probability, and is averaged; None: nothing.
    """

    def __init__(self, score: WindowScore, *, multilabel: bool = False, n_classes: int | None = None) -> None:
        self._rule, self._multilabel, self._n_classes = WINDOW_SCORES[score], multilabel, n_classes
        self._gathered: Floats | None = None
        self._rest: Floats | float = 0.0
        self._n_windows = 0

    def add(self, windows: Probs) -> None:
        """Shape: [..., W, K + rest], W >= 1."""
        gathered = self._rule.gather(self._rule.terms(windows[..., : self._n_classes], self._multilabel))
        self._gathered = gathered if self._gathered is None else self._rule.join(self._gathered, gathered)
        if self._n_classes is not None:
            self._rest = self._rest + _total(windows[..., self._n_classes :])
        self._n_windows += windows.shape[-2]

    def result(self) -> Probs:
        """Of the clip. Shape: [..., K + rest]."""
        assert self._gathered is not None, "a clip has at least one window"
        probs = self._rule.finish(self._gathered, self._n_windows, self._multilabel)
        if self._n_classes is None:
            return np.asarray(probs, dtype=np.float32)
        return np.concatenate([probs, self._rest / self._n_windows], axis=-1, dtype=np.float32)


def pool_windows(
    probs: Probs, owners: NDArray[np.int64], *, score: WindowScore = "mean", multilabel: bool = False
) -> Probs:
    """Clips' probabilities from those of their windows, the windows of a clip side by side.

    Args:
        owners: which clip a window is of: 0 to N - 1 in ascending order, each at least once.

    Shape: [W, K], [W] -> [N, K].
    """
    return np.stack(list(_pooled(probs, owners, score, multilabel)))


def _pooled(probs: Probs, owners: NDArray[np.int64], score: WindowScore, multilabel: bool) -> Iterator[Probs]:
    for windows in np.split(probs, np.flatnonzero(np.diff(owners)) + 1):
        pool = ClipPool(score, multilabel=multilabel)
        pool.add(windows)
        yield pool.result()
