"""Clips of any length cut into windows of one length, the same way in training and in use.

Conventions
-----------
- A clip is int16 [T]; full scale is 32,768. Windows are float32 [W, L] in [-1, 1).
- A clip shorter than a window is repeated to fill it: padding with zeros would teach the model that short sounds
  are followed by digital silence.
- A longer clip is covered by windows every `hop` samples; the last one is moved back to end with the clip, so
  that no sample is missed and none is invented.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 32_768.0


class Clipbank(Protocol):
    """Clips by number: a view of the store, or arrays in memory. `n_samples` is int64 [N]."""

    n_samples: NDArray[np.int64]

    def __len__(self) -> int: ...

    def get(self, i: int) -> NDArray[np.int16]:
        """Samples [T] of clip i."""
        ...


class InMemory:
    """A `Clipbank` of arrays int16 [T_i]."""

    def __init__(self, clips: Sequence[NDArray[np.int16]]) -> None:
        self._clips = list(clips)
        self.n_samples = np.array([len(clip) for clip in self._clips], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._clips)

    def get(self, i: int) -> NDArray[np.int16]:
        """Samples [T] of clip i."""
        return self._clips[i]


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Rounds to 16 bit, saturating. Shape: float32 [T] -> int16 [T]."""
    return np.asarray(np.clip(np.rint(samples * FULL_SCALE), -32_768, 32_767), dtype=np.int16)


def window_starts(n_samples: int, *, length: int, hop: int) -> NDArray[np.int64]:
    """First sample of each window that covers a clip.

    >>> window_starts(100, length=40, hop=40).tolist()
    [0, 40, 60]
    >>> window_starts(30, length=40, hop=40).tolist()
    [0]
    """
    if n_samples <= length:
        return np.zeros(1, np.int64)
    return np.append(np.arange(0, n_samples - length, hop, dtype=np.int64), n_samples - length)


def cut(clip: NDArray[np.int16], start: int, length: int) -> NDArray[np.int16]:
    """One window from `start`, the clip repeated where it is shorter. Shape: [T] -> [length]."""
    if len(clip) >= start + length:
        return clip[start : start + length]
    return np.resize(clip, length)


def cover(clip: NDArray[np.int16], *, length: int, hop: int) -> NDArray[np.float32]:
    """All windows of a clip. Shape: int16 [T] -> float32 [W, length]."""
    starts = window_starts(len(clip), length=length, hop=hop)
    return to_float(np.stack([cut(clip, int(start), length) for start in starts]))


def to_float(windows: NDArray[np.int16]) -> NDArray[np.float32]:
    """Scales 16-bit samples to [-1, 1). Shape is kept."""
    return np.multiply(windows, np.float32(1 / FULL_SCALE), dtype=np.float32)
