"""The error rate of weighted means of members, for whole populations of weights at once.

Conventions: member probabilities are [M, N, K], targets [N, K], weights [P, M], scaled to sum 1 before use. A rival
of a clip is a class that is not the true one, or 0.5 for each class with several labels a clip.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from earshot.evaluation.blending import shares
from earshot.evaluation.predictions import THRESHOLD, right_clips

Floats = NDArray[np.float64]
Probs = NDArray[np.floating]


class ErrorRate:
    """1 - accuracy of the weighted mean of members, for many weights at once. Shape: weights [P, M] -> [P].

    Exactly what a loop over float64 sums and argmax gives, for probabilities in float32, and much faster. A clip is
    right if its true class beats each rival, and a rival's margin under weights w is w times the members' margins.
    So a rival that every member puts behind the truth, or behind another rival, never matters; a clip with a rival
    that every member puts in front is always wrong, and a clip without a rival left is always right. All of them
    leave before the search starts. One product [rivals, M] x [M, P] in float32 then decides the rest, and margins
    too close to zero for float32 are settled by the sum itself.
    """

    def __init__(self, probs: Probs, targets: Probs, *, multilabel: bool = False) -> None:
        self._probs = np.asarray(probs, dtype=np.float64)
        self._targets, self._multilabel = np.asarray(targets), multilabel
        margins, wins_ties, loses_ties = _margins(self._probs, self._targets, multilabel=multilabel)
        lowest, highest = margins.min(axis=0), margins.max(axis=0)
        lost = ((highest < 0) | (loses_ties & (highest <= 0))).any(axis=1)
        matters = ~((lowest > 0) | (wins_ties & (lowest >= 0)) | _outdone(margins)) & ~lost[:, None]
        n_rivals = matters.sum(axis=1)
        order = np.argsort(-n_rivals, kind="stable")
        self._clips = order[: np.count_nonzero(n_rivals)]
        self._n_sure = int(np.count_nonzero(~lost & (n_rivals == 0)))
        # Rivals in layers: the first of every open clip, the second of those that have one ... Clips with many
        # rivals come first, so that each layer lines up with a front part of the clips.
        clips, rivals = np.nonzero(matters[self._clips])
        depth = np.arange(len(clips)) - np.searchsorted(clips, clips)
        by_layer = np.lexsort((clips, depth))
        chosen = margins[:, self._clips[clips[by_layer]], rivals[by_layer]]
        self._margins = np.ascontiguousarray(chosen.T, dtype=np.float32)
        self._layers = list(pairwise(np.cumsum([0, *np.bincount(depth)]).tolist()))
        self._ones = np.ones(
            len(self._clips), dtype=np.float32
        )  # a product with them counts faster than a sum
        # Rounding of the weights, the margins, their M products and sums, each at most 2^-24 of a sum of at most 1,
        # twice over.
        self._doubt = (len(self._probs) + 3) * 2.0**-23

    @property
    def n_open(self) -> int:
        """Clips that the weights can still decide."""
        return len(self._clips)

    def __call__(self, weights: Floats) -> Floats:
        given = shares(weights)
        n_right = np.full(len(given), self._n_sure)
        if len(self._clips):
            margins = self._margins @ given.T.astype(np.float32)
            worst = margins[: len(self._clips)]
            for start, end in self._layers[1:]:
                front = worst[: end - start]
                np.minimum(front, margins[start:end], out=front)
            n_right += (self._ones @ (worst > self._doubt).astype(np.float32)).astype(np.int64)
            distance = np.abs(worst)
            if distance.min() <= self._doubt:
                n_right += self._settled(given, (distance <= self._doubt).T)
        return np.asarray(1.0 - n_right / self._probs.shape[1])

    def _settled(self, given: Floats, doubtful: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many of each particle's doubtful clips [P, C] are right by the plain sum, member by member."""
        particles, at = np.nonzero(doubtful)
        clips = self._clips[at]
        mixed = given[particles, 0, None] * self._probs[0, clips]
        for m in range(1, len(self._probs)):
            mixed = mixed + given[particles, m, None] * self._probs[m, clips]
        right = right_clips(mixed, self._targets[clips], multilabel=self._multilabel)
        return np.bincount(particles[right], minlength=len(given))


def _outdone(margins: Floats) -> NDArray[np.bool_]:
    """Rivals that some other rival beats in every member. Shape: margins [M, N, R] -> [N, R]."""
    outdone = np.zeros(margins.shape[1:], dtype=bool)
    for other in range(margins.shape[2]):
        outdone |= (margins > margins[:, :, other, None]).all(axis=0)
    return outdone


def _margins(
    probs: Floats, targets: Probs, *, multilabel: bool
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """By how much the truth is ahead of each rival [M, N, R]; which rivals lose and which win every tie [N, R].

    With several labels a clip the rival of a class is 0.5, and a tie with it depends on rounding.
    """
    if multilabel:
        true, never = targets >= THRESHOLD, np.zeros(targets.shape, dtype=bool)
        return np.where(true, probs - THRESHOLD, THRESHOLD - probs), never, never
    n_clips, n_classes = targets.shape
    labels = targets.argmax(axis=1)[:, None]
    rivals = np.arange(n_classes - 1) + (np.arange(n_classes - 1) >= labels)
    rows = np.arange(n_clips)[:, None]
    return probs[:, rows, labels] - probs[:, rows, rivals], rivals > labels, rivals < labels
