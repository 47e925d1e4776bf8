"""Recordings of a study cut into segments: which of them are silent, and by whose statistics they are standardised.

Conventions: R recordings, S segments; samples are in units of full scale. A fold of recordings becomes a fold of
segments: learned from every `training_hop_s`, judged every `hop_s`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earshot.audio.windows import FULL_SCALE, SMALLEST_REST, Clipbank, cut
from earshot.data.clips import Clips
from earshot.data.segments import Segments, segments
from earshot.data.splits import Fold
from earshot.evaluation.predictions import Predictions
from earshot.results import predictions_of
from earshot.studies import spec

By = Literal["recording", "class"]
Indices = NDArray[np.int64]


@dataclass
class SegmentView:
    """The segments of a view as clips of their own, `n_samples` [S] long: no sample is decoded or kept twice."""

    view: Clipbank
    cut_up: Segments
    n_samples: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.cut_up.owners)

    def get(self, i: int) -> NDArray[np.int16]:
        """Samples [T] of segment i."""
        samples = np.empty(self.n_samples[i], np.int16)
        self.fill(samples, i, 0)
        return samples

    def fill(self, out: NDArray[np.int16], i: int, start: int) -> None:
        """Writes a window of segment i into `out` [length]; a shorter segment is repeated to fill it."""
        if start + len(out) <= self.n_samples[i]:
            self.view.fill(out, int(self.cut_up.owners[i]), int(self.cut_up.starts[i]) + start)
        else:
            out[:] = cut(self.get(i), start, len(out))


@dataclass(frozen=True)
class Segmented:
    """Recordings and their segments.

    Args:
        is_judged: segments that lie on the grid of the judged ones [S].
        moments: number, mean and mean square of the samples of each recording [R, 3].
        peaks: highest sample of each segment [S].
    """

    recordings: Clips
    view: SegmentView
    is_judged: NDArray[np.bool_]
    moments: NDArray[np.float64]
    peaks: NDArray[np.float64]

    @property
    def clips(self) -> Clips:
        """The segments as clips [S]."""
        return self.view.cut_up.clips

    @property
    def owners(self) -> Indices:
        """The recording of each segment [S]."""
        return self.view.cut_up.owners

    def scale(self, rows: Indices, *, by: By) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation to standardise some segments by: of their recording, or of all recordings of their
        class among these segments. Shape: [n] -> [n], [n].
        """
        owners = self.owners[rows]
        which = np.unique(owners)
        part = which if by == "recording" else self.recordings.labels[which]
        names, part_of = np.unique(part, return_inverse=True)
        n, mean, square = self.moments[which].T
        sums = [np.bincount(part_of, weights=n * each, minlength=len(names)) for each in (1.0, mean, square)]
        means, squares = sums[1] / sums[0], sums[2] / sums[0]
        deviations = np.sqrt(np.maximum(squares - means**2, 1e-12))
        at = part_of[np.searchsorted(which, owners)]
        return means[at], deviations[at]

    def is_heard(self, rows: Indices, *, gate: float, by: By) -> NDArray[np.bool_]:
        """Whether a segment has a sample above the gate once it is standardised. Shape: [n] -> [n].

        By its own statistics a recording keeps its loudest segment, so that no recording is lost.
        """
        mean, deviation = self.scale(rows, by=by)
        peaks = (self.peaks[rows] - mean) / deviation
        heard = peaks > gate
        if by == "recording":
            order = np.lexsort((-peaks, self.owners[rows]))
            first = np.unique(self.owners[rows][order], return_index=True)[1]
            heard[order[first]] = True
        return np.asarray(heard, dtype=bool)


def cut_up(
    recordings: Clips, view: Clipbank, how: spec.Segments, *, rate_hz: int, window_s: float
) -> Segmented:
    """Segments of all recordings, silent ones too."""
    found = segments(recordings, view, rate_hz=rate_hz, window_s=window_s, hop_s=how.training_hop_s)
    hop = round(how.training_hop_s * rate_hz) * round(how.hop_s / how.training_hop_s)
    is_judged = np.zeros(len(found.owners), dtype=bool)
    peaks = np.zeros(len(found.owners))
    moments = np.zeros((len(recordings), 3))
    for i in range(len(recordings)):
        clip = view.get(i)
        samples = clip / FULL_SCALE
        moments[i] = len(samples), samples.mean(), np.square(samples).mean()
        rows = np.flatnonzero(found.owners == i)
        starts = found.starts[rows]
        on_grid = starts % hop == 0
        rest = starts[-1] - starts[on_grid][-1]
        is_judged[rows] = on_grid
        is_judged[rows[-1]] |= rest > SMALLEST_REST * found.length
        peaks[rows] = [cut(clip, int(start), found.length).max() / FULL_SCALE for start in starts]
    n_samples = np.minimum(np.asarray(view.n_samples)[found.owners], found.length).astype(np.int64)
    return Segmented(recordings, SegmentView(view, found, n_samples), is_judged, moments, peaks)


def segment_folds(
    whole: Segmented, folds: Sequence[Fold], *, how: spec.Segments, protocol: spec.Protocol, seed: int
) -> list[Fold]:
    """Folds of recordings as folds of their segments; those to learn from may stand more than once."""
    by: By = protocol.standardise or "recording"

    def of(owners: Indices, *, judged: bool) -> Indices:
        wanted = np.isin(whole.owners, owners) & (whole.is_judged if judged else True)
        rows = np.flatnonzero(wanted).astype(np.int64)
        if how.gate is None or (judged and not protocol.gate_judged):
            return rows
        return rows[whole.is_heard(rows, gate=how.gate, by=by)]

    found = []
    for fold in folds:
        train = of(fold.train, judged=False)
        train = evened(train, whole.clips.labels[train], seed=seed) if how.even else train
        found.append(Fold(train, of(fold.test, judged=True), fold.name))
    return found


def evened(rows: Indices, labels: Indices, *, seed: int) -> Indices:
    """Rows of the rarer classes again, drawn without favour, until all classes have as many. Shape: [n] -> [m].

    >>> evened(np.array([4, 5, 9]), np.array([0, 0, 1]), seed=0).tolist()
    [4, 5, 9, 9]
    """
    rng = np.random.default_rng(seed)
    own = [rows[labels == k] for k in np.unique(labels)]
    most = max(len(each) for each in own)
    return np.sort(np.concatenate([np.resize(rng.permutation(each), most) for each in own]))


def per_clip(whole: Segmented, folds: Sequence[Fold], judged: Predictions) -> Predictions:
    """Judged segments as clips, in the order of the recordings, by the mean of their probabilities."""
    which, at = np.unique(whole.owners[np.concatenate([fold.test for fold in folds])], return_inverse=True)
    sums = np.zeros((len(which), judged.probs.shape[1]))
    np.add.at(sums, at, judged.probs)
    means = sums / np.bincount(at)[:, None]
    return predictions_of(means, whole.recordings, which, split=judged.split)


def most_frequent_note(whole: Segmented, folds: Sequence[Fold]) -> str:
    """What saying the same class every time would score: segments are not as even as recordings."""
    rows = np.concatenate([fold.test for fold in folds])
    said = []
    for labels in (whole.clips.labels[rows], whole.recordings.labels[np.unique(whole.owners[rows])]):
        counts = np.bincount(labels, minlength=len(whole.recordings.classes))
        said.append((whole.recordings.classes[int(counts.argmax())], 100 * counts.max() / counts.sum()))
    (name, share), (name_of_clips, share_of_clips) = said
    return (
        f"to say {name} every time would be right for {share:.1f} % of the judged segments; "
        f"{name_of_clips}, for {share_of_clips:.1f} % of the clips"
    )
