"""Synthetic sounds that every bundle must score as it did when it was made.

They are made of arithmetic alone, so that no recording travels with a model, and they are rounded to 16 bit, so
that every machine makes the same samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earshot.audio.windows import to_int16

_DURATION_S = 0.5


def golden_clips(rate_hz: int) -> list[NDArray[np.int16]]:
    """Silence, a rising tone, noise bursts and clicks, half a second each. Shape: int16 [T] each."""
    n = int(_DURATION_S * rate_hz)
    t = np.arange(n) / rate_hz
    sweep = 0.5 * np.sin(2 * np.pi * (200.0 * t + 0.5 * (0.3 * rate_hz - 200.0) / _DURATION_S * t**2))
    bursts = 0.3 * (_noise(n) - 0.5) * (np.floor(t * 8) % 2)
    clicks = np.where(np.arange(n) % (rate_hz // 10) == 0, 0.8, 0.0)
    return [to_int16(x.astype(np.float32)) for x in (np.zeros(n), sweep, bursts, clicks)]


def _noise(n: int) -> NDArray[np.float64]:
    """Uniform noise in [0, 1) from a linear congruential generator (Numerical Recipes' constants)."""
    values = np.empty(n, np.uint32)
    state = 1
    for i in range(n):
        state = (1_664_525 * state + 1_013_904_223) & 0xFFFFFFFF
        values[i] = state
    return values / 2.0**32
