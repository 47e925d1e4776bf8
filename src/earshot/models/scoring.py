"""Clips in, one row of probabilities per clip and member out: the only way any part of earshot scores sound.

A clip's probabilities are pooled from the windows that cover it and are loud enough. Clips are streamed: memory
holds one batch of windows, however many clips or however long they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earshot.audio import windows
from earshot.models.member import Member
from earshot.models.pooling import ClipPool, WindowScore

_BATCH_WINDOWS = 32


def score_clips(
    clips: Iterable[NDArray[np.int16]],
    members: Sequence[Member],
    *,
    length: int,
    hop: int,
    gate: windows.Gate = windows.OPEN,
    window_score: WindowScore = "mean",
    multilabel: bool = False,
    n_classes: int | None = None,
    batch_windows: int = _BATCH_WINDOWS,
) -> Iterator[NDArray[np.float32]]:
    """Scores each clip with each member, in order.

    Args:
        clips: int16 [T_i] each, T_i >= 1, at the members' rate.
        members: members that share a front end object have their features computed once.
        length: samples in a window.
        hop: samples from one window of a clip to the next.
        gate: which windows are loud enough to be heard.
        window_score: how windows become a clip, a key of `WINDOW_SCORES`.
        multilabel: each class is a question of its own.
        n_classes: what members give after these columns is no probability, and is averaged; None: nothing.

    Yields:
        Probabilities [M, K] of each clip.
    """

    def new_pool() -> ClipPool:
        return ClipPool(window_score, multilabel=multilabel, n_classes=n_classes)

    pool = new_pool()
    for batch in _in_batches(clips, length=length, hop=hop, gate=gate, batch_windows=batch_windows):
        probs = predict_windows(np.stack(batch.windows), members)
        start = 0
        for end in batch.ends:
            pool.add(probs[:, start:end])
            yield pool.result()
            pool, start = new_pool(), end
        if start < probs.shape[1]:
            pool.add(probs[:, start:])


@dataclass
class _Batch:
    """Windows of consecutive clips, and after how many of them a clip ends; the last may go on in the next."""

    windows: list[NDArray[np.int16]] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)


def _in_batches(
    clips: Iterable[NDArray[np.int16]], *, length: int, hop: int, gate: windows.Gate, batch_windows: int
) -> Iterator[_Batch]:
    batch = _Batch()
    for clip in clips:
        starts = windows.heard_windows(clip, length=length, hop=hop, gate=gate).starts
        for i, start in enumerate(starts):
            batch.windows.append(windows.cut(clip, int(start), length))
            if i == len(starts) - 1:
                batch.ends.append(len(batch.windows))
            if len(batch.windows) == batch_windows:
                yield batch
                batch = _Batch()
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
