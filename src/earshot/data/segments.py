"""A table of clips cut up into a table of segments: windows as clips of their own, in the group of their clip.

Conventions: a segment is [start_s, end_s) of a file. It has the label, group, fold and split of its clip, so that
no split by group puts two segments of one clip on different sides. Segments cover a clip as windows do: every
`hop_s`, the last one moved back to end with the clip, unless next to nothing is left for it; a clip that is
shorter than a window is one segment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earshot.audio.windows import OPEN, Clipbank, Gate, cut, heard_windows
from earshot.data.clips import Clips
from earshot.errors import DataError, complaint


@dataclass(frozen=True)
class Segments:
    """Segments as clips [S], and which clip each is from: its row in the table that was cut [S].

    `starts` [S] and `length` are samples of the view: segment s is `cut(view.get(owners[s]), starts[s], length)`.
    """

    clips: Clips
    owners: NDArray[np.int64]
    starts: NDArray[np.int64]
    length: int


def segments(
    clips: Clips,
    view: Clipbank,
    *,
    rate_hz: int,
    window_s: float,
    hop_s: float | None = None,
    gate: Gate = OPEN,
    min_peak: float | None = None,
) -> Segments:
    """Cuts clips into segments of one length.

    Args:
        clips: N clips.
        view: their audio, in the same order, such as `hear(...).view` for `hear(...).clips`.
        rate_hz: of the view.
        hop_s: from one segment of a clip to the next; None: a window.
        gate: skips quiet segments by their level; a clip keeps its loudest.
        min_peak: skips segments none of whose samples is above this many standard deviations of their clip's
            samples, counted from the clip's mean; a clip keeps the one with the highest.

    Raises:
        DataError: clips and view are not of the same number, or a window or hop is shorter than a sample.
    """
    if len(clips) != len(view):
        raise DataError(complaint("segments", "clips", len(clips), f"as many as the view has ({len(view)})"))
    length = _samples("window_s", window_s, rate_hz)
    hop = length if hop_s is None else _samples("hop_s", hop_s, rate_hz)
    owners, starts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for i in range(len(clips)):
        clip = view.get(i)
        kept = heard_windows(clip, length=length, hop=hop, gate=gate).starts
        if min_peak is not None:
            peaks = standard_peaks(clip, kept, length=length)
            kept = kept[peaks > min(min_peak, np.nextafter(peaks.max(), -np.inf))]
        owners.append(np.full(len(kept), i, np.int64))
        starts.append(kept)
    rows, at = np.concatenate(owners), np.concatenate(starts)
    return Segments(_table(clips, view, rows, at, length=length, rate_hz=rate_hz), rows, at, length)


def standard_peaks(clip: NDArray[np.int16], starts: NDArray[np.int64], *, length: int) -> NDArray[np.float64]:
    """Largest sample of each window, in standard deviations of the clip from its mean. Shape: [T], [W] -> [W].

    A clip without any deviation has peaks of 0.
    """
    mean, deviation = float(clip.mean(dtype=np.float64)), float(clip.std(dtype=np.float64))
    largest = np.array([cut(clip, int(start), length).max() for start in starts], dtype=np.float64)
    return (largest - mean) / deviation if deviation > 0 else np.zeros(len(starts))


def _samples(field: str, value_s: float, rate_hz: int) -> int:
    n = round(value_s * rate_hz)
    if n < 1:
        raise DataError(complaint("segments", field, value_s, f"at least one sample of {rate_hz} Hz"))
    return n


def _table(
    clips: Clips,
    view: Clipbank,
    owners: NDArray[np.int64],
    starts: NDArray[np.int64],
    *,
    length: int,
    rate_hz: int,
) -> Clips:
    """Rows of the clips' table with times within their files; a segment that is its whole clip keeps its times."""
    table = clips.table.iloc[owners].reset_index(drop=True)
    whole = np.asarray(view.n_samples)[owners] <= length
    offsets_s = table["start_s"].to_numpy(dtype=np.float64)
    start_s = offsets_s + np.where(whole, 0.0, starts / rate_hz)
    end_s = np.where(whole, table["end_s"].to_numpy(dtype=np.float64), start_s + length / rate_hz)

    def names(n_digits: int) -> list[str]:
        return [
            name if is_whole else f"{name}@{start:.{n_digits}f}-{end:.{n_digits}f}"
            for name, is_whole, start, end in zip(table["id"], whole, start_s, end_s, strict=True)
        ]

    # With a small hop two may be the same to the millisecond.
    ids = names(3)
    ids = ids if len(set(ids)) == len(ids) else names(6)
    cut_up: pd.DataFrame = table.assign(id=ids, start_s=start_s, end_s=end_s)
    return Clips(cut_up, root=clips.root, classes=clips.classes, notes=clips.notes, skipped=clips.skipped)
