"""Clips in, one row of probabilities per clip and member out: the only way any part of earshot scores sound.

A clip's probabilities are the mean over the windows that cover it. Clips are streamed: memory holds one batch of
windows, however many clips or however long they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earshot.audio import windows
from earshot.models.member import Member

_BATCH_WINDOWS = 32


def score_clips(
    clips: Iterable[NDArray[np.int16]],
    members: Sequence[Member],
    *,
    length: int,
    hop: int,
    batch_windows: int = _BATCH_WINDOWS,
) -> Iterator[NDArray[np.float32]]:
    """Scores each clip with each member, in order.

    Args:
        clips: int16 [T_i] each, T_i >= 1, at the members' rate.
        members: members that share a front end object have their features computed once.
        length: samples in a window.
        hop: samples from one window of a clip to the next.

    Yields:
        Probabilities [M, K] of each clip.
    """
    for chunk in _in_batches(clips, length=length, hop=hop, batch_windows=batch_windows):
        yield from chunk.scored(members)


class _Batch:
    """Windows of consecutive clips; the last clip may go on in the next batch."""

    def __init__(self, carried: tuple[NDArray[np.float64], int] | None) -> None:
        self.windows: list[NDArray[np.int16]] = []
        self.ends: list[int] = []
        self.carried = carried

    def scored(self, members: Sequence[Member]) -> Iterator[NDArray[np.float32]]:
        probs = predict_windows(np.stack(self.windows), members)
        start = 0
        for end in self.ends:
            yield self._close(probs[:, start:end])
            start = end
        rest = probs[:, start:]
        if rest.shape[1]:
            total, n = self.carried if self.carried is not None else (0.0, 0)
            self.carried = (total + rest.sum(axis=1, dtype=np.float64), n + rest.shape[1])

    def _close(self, probs: NDArray[np.float32]) -> NDArray[np.float32]:
        total, n = probs.sum(axis=1, dtype=np.float64), probs.shape[1]
        if self.carried is not None:
            total, n = total + self.carried[0], n + self.carried[1]
            self.carried = None
        return np.asarray(total / n, dtype=np.float32)


def _in_batches(
    clips: Iterable[NDArray[np.int16]], *, length: int, hop: int, batch_windows: int
) -> Iterator[_Batch]:
    batch = _Batch(None)
    for clip in clips:
        starts = windows.window_starts(len(clip), length=length, hop=hop)
        for i, start in enumerate(starts):
            batch.windows.append(windows.cut(clip, int(start), length))
            if i == len(starts) - 1:
                batch.ends.append(len(batch.windows))
            if len(batch.windows) == batch_windows:
                yield batch
                batch = _Batch(batch.carried)
    if batch.windows:
        yield batch


def predict_windows(cut: NDArray[np.int16], members: Sequence[Member]) -> NDArray[np.float32]:
    """Scores a batch of windows with each member. Shape: int16 [B, T] -> probabilities [M, B, K]."""
    waveforms = torch.from_numpy(windows.to_float(cut))
    computed: dict[int, Tensor] = {}
    return np.stack([m.predict_features(_once(m.features, waveforms, computed)) for m in members])


def _once(front_end: nn.Module, waveforms: Tensor, computed: dict[int, Tensor]) -> Tensor:
    key = id(front_end)
    if key not in computed:
        device = next((b.device for b in front_end.buffers()), waveforms.device)
        with torch.inference_mode():
            computed[key] = front_end(waveforms.to(device))
    return computed[key]
