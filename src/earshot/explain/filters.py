"""The filters of a network's first layer, and what they respond to.

Conventions: weights are float32 [C, ...]; responses are in dB re each filter's own maximum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
_N_STEPS = 256  # from 0 Hz to half the rate
_FLOOR_DB = -60.0


@dataclass(frozen=True)
class Filters:
    """First-layer filters of one network.

    Attributes:
        weights: [C, taps] along a waveform, [C, height, width] over time and frequency, [C, bands, taps] along
            frames.
        response_db: [C, n] over `frequencies_hz` [n]; of filters along a waveform only.
        profiles: [C, bands], how much each filter makes of each band, lowest first: its mean size there (filters
            along frames), or its mean absolute output there for this sound (filters over time and frequency).
    """

    weights: Floats32
    frequencies_hz: Floats | None = None
    response_db: Floats | None = None
    profiles: Floats | None = None

    @property
    def order(self) -> NDArray[np.int64]:
        """Filters with the largest weights first. Shape: [C]."""
        strength = np.square(self.weights).reshape(len(self.weights), -1).sum(axis=1)
        return np.argsort(-strength, kind="stable")


def filters_of(
    network: nn.Module, *, features: Any, rate_hz: int, first_maps: Floats32 | None = None
) -> Filters | None:
    """The filters of the first convolution, or None where the first layer is another one.

    Args:
        features: configuration of the view that the network takes.
        rate_hz: of the waveform.
        first_maps: what the first layer said of a window, [C, M, F], for the profiles of filters over time and
            frequency.
    """
    first = next((module for module in network.modules() if isinstance(module, _WEIGHTED)), None)
    if isinstance(first, nn.Conv1d):
        weights = _numbers(first.weight)
        if first.in_channels > 1:
            return Filters(weights, profiles=np.abs(weights).mean(axis=2).astype(np.float64))
        if features.kind not in ("waveform", "decimated"):
            return Filters(weights[:, 0])
        rate = rate_hz / getattr(features, "factor", 1)
        response = frequency_response_db(weights[:, 0])
        return Filters(weights[:, 0], np.linspace(0.0, rate / 2.0, _N_STEPS + 1), response)
    if isinstance(first, nn.Conv2d):
        return Filters(_numbers(first.weight).mean(axis=1), profiles=_profiles(first_maps, features))
    return None


_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.LSTM)


def frequency_response_db(taps: NDArray[np.floating[Any]]) -> Floats:
    """Magnitude of each filter's transfer function from 0 Hz to half the rate. Shape: [C, taps] -> [C, 257].

    >>> difference = np.array([[1.0, -1.0]])
    >>> frequency_response_db(difference)[0, [0, 128, 256]].round(2).tolist()
    [-60.0, -3.01, 0.0]
    """
    finer = -(-taps.shape[1] // (2 * _N_STEPS))  # all taps count, however many there are
    spectrum = np.fft.rfft(taps.astype(np.float64), 2 * _N_STEPS * finer, axis=1)
    size = np.abs(spectrum[:, ::finer])
    largest = np.maximum(size.max(axis=1, keepdims=True), 1e-30)
    return np.asarray(np.maximum(20.0 * np.log10(np.maximum(size / largest, 1e-12)), _FLOOR_DB))


def _profiles(maps: Floats32 | None, features: Any) -> Floats | None:
    """Mean size over time of the first layer's maps, lowest frequency first. Shape: [C, M, F] -> [C, M]."""
    if maps is None or maps.ndim != 3 or features.kind == "mfcc":
        return None
    profiles = np.asarray(np.abs(maps).mean(axis=2), dtype=np.float64)
    return np.asarray(profiles[:, ::-1]) if features.kind == "picture" else profiles


def _numbers(weight: Tensor) -> Floats32:
    return np.asarray(weight.detach().float().cpu().numpy())
