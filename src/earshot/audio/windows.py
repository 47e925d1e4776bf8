"""Clips of any length cut into windows of one length, the same way in training and in use.

Conventions
-----------
- A clip is int16 [T]; full scale is 32,768. Windows are float32 [W, L] in [-1, 1).
- A clip shorter than a window is repeated to fill it: padding with zeros would teach the model that short sounds
  are followed by digital silence.
- A longer clip is covered by windows every `hop` samples; the last one is moved back to end with the clip, so
  that none is invented. A rest below a fiftieth of a window, such as codecs add, gets no window of its own.
- A level is the root mean square of a window, in dB of full scale: a constant of full scale has 0 dB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 32_768.0

SMALLEST_REST = 0.02  # of a window, that gets a window of its own
Starts = NDArray[np.int64]


class Clipbank(Protocol):
    """Clips by number: a view of the store, or arrays in memory. `n_samples` is int64 [N]."""

    n_samples: NDArray[np.int64]

    def __len__(self) -> int: ...

    def get(self, i: int) -> NDArray[np.int16]:
        """Samples [T] of clip i."""
        ...

    def fill(self, out: NDArray[np.int16], i: int, start: int) -> None:
        """Writes `cut` of clip i into `out` [length]; what lies beside the window is not read."""
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

    def fill(self, out: NDArray[np.int16], i: int, start: int) -> None:
        """Writes `cut` of clip i into `out` [length]."""
        out[:] = cut(self._clips[i], start, len(out))


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Rounds to 16 bit, saturating. Shape: float32 [T] -> int16 [T]."""
    return np.asarray(np.clip(np.rint(samples * FULL_SCALE), -32_768, 32_767), dtype=np.int16)


def window_starts(n_samples: int, *, length: int, hop: int) -> Starts:
    """First sample of each window that covers a clip.

    >>> window_starts(100, length=40, hop=40).tolist()
    [0, 40, 60]
    >>> window_starts(30, length=40, hop=40).tolist()
    [0]
    >>> window_starts(5_050, length=5_000, hop=5_000).tolist()
    [0]
    """
    last = max(0, n_samples - length)
    starts = np.arange(0, last + 1, hop, dtype=np.int64)
    return np.append(starts, last) if last - starts[-1] > SMALLEST_REST * length else starts


def cut(clip: NDArray[np.int16], start: int, length: int) -> NDArray[np.int16]:
    """One window from `start`, the clip repeated where it is shorter. Shape: [T] -> [length]."""
    if len(clip) >= start + length:
        return clip[start : start + length]
    return np.resize(clip, length)


@dataclass(frozen=True)
class Gate:
    """Which windows of a clip are loud enough to be heard; without limits all are.

    A clip always keeps its loudest window, so that every clip has an answer.

    Args:
        below_loudest_db: skip windows that are further below the loudest one of their clip.
        floor_dbfs: skip windows below this level.
    """

    below_loudest_db: float | None = None
    floor_dbfs: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing is skipped."""
        return self.below_loudest_db is None and self.floor_dbfs is None

    def least_power(self, powers: NDArray[np.float64]) -> float:
        """Mean square from which on a window is heard, given those [W] of all windows of its clip."""
        loudest, least = float(powers.max()), 0.0
        if self.below_loudest_db is not None:
            least = loudest * 10 ** (-self.below_loudest_db / 10)
        if self.floor_dbfs is not None:
            least = max(least, 10 ** (self.floor_dbfs / 10))
        return min(least, loudest)


OPEN = Gate()


@dataclass(frozen=True)
class Heard:
    """Where a clip is heard: first samples of windows that pass a gate [W], and the power that it asks for."""

    starts: Starts
    least_power: float


def window_powers(clip: NDArray[np.int16], starts: Starts, *, length: int) -> NDArray[np.float64]:
    """Mean square of each window, 1 being full scale. Shape: [T], [W] -> [W]."""
    return np.array([_power(cut(clip, int(start), length)) for start in starts], dtype=np.float64)


def _power(window: NDArray[np.int16]) -> float:
    # Sums of whole numbers are exact in double precision, in whatever order they are added.
    samples = window.astype(np.float64)
    return float(samples @ samples) / (len(samples) * FULL_SCALE**2)


def heard_windows(clip: NDArray[np.int16], *, length: int, hop: int, gate: Gate) -> Heard:
    """The windows that cover a clip, without those that a gate skips; the same in training and in use.

    Shape: int16 [T], T >= 1.

    >>> clip = np.repeat(np.array([1, 0, 1000], np.int16), 40)
    >>> heard_windows(clip, length=40, hop=40, gate=Gate(below_loudest_db=30)).starts.tolist()
    [80]
    """
    starts = window_starts(len(clip), length=length, hop=hop)
    if gate.is_open or len(starts) == 1:
        return Heard(starts, 0.0)
    powers = window_powers(clip, starts, length=length)
    least = gate.least_power(powers)
    return Heard(starts[powers >= least], least)


def draw_window(
    out: NDArray[np.int16],
    bank: Clipbank,
    i: int,
    *,
    heard: Heard | None,
    hop: int,
    rng: np.random.Generator,
) -> int:
    """Fills `out` [length] with a random window of clip i, from anywhere or where the clip is heard; its start.

    There it is one of the windows that are heard, moved by up to half a hop unless that makes it too quiet.

    Args:
        heard: None for anywhere.
    """
    latest = max(0, int(bank.n_samples[i]) - len(out))
    if heard is None:
        start = int(rng.integers(latest + 1))
        bank.fill(out, i, start)
        return start
    start = int(heard.starts[rng.integers(len(heard.starts))])
    # Turned back at the ends: a move cut off there would pile windows up on the first and the last.
    moved = abs(start + int(rng.integers(-(hop // 2), hop // 2 + 1)))
    moved = max(0, latest - abs(latest - moved))
    bank.fill(out, i, moved)
    if _power(out) >= heard.least_power:
        return moved
    bank.fill(out, i, start)
    return start


def cover(clip: NDArray[np.int16], *, length: int, hop: int) -> NDArray[np.float32]:
    """All windows of a clip. Shape: int16 [T] -> float32 [W, length]."""
    starts = window_starts(len(clip), length=length, hop=hop)
    return to_float(np.stack([cut(clip, int(start), length) for start in starts]))


def to_float(windows: NDArray[np.int16]) -> NDArray[np.float32]:
    """Scales 16-bit samples to [-1, 1). Shape is kept."""
    return np.multiply(windows, np.float32(1 / FULL_SCALE), dtype=np.float32)
