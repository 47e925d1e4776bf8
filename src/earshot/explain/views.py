"""Where the numbers of a view lie in time and frequency, and maps of them brought to another grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.audio.log_mel import hz_to_mel, mel_to_hz

Floats = NDArray[np.float64]
_PLACELESS = frozenset({"statistics", "voice"})  # rows of numbers about the whole window


@dataclass(frozen=True)
class Extent:
    """Edges of the rows and columns of a view's map: Hz, ascending, [M + 1], and seconds, [F + 1].

    Along an axis that the view does not have there is one cell from end to end.
    """

    edges_hz: Floats
    edges_s: Floats

    @property
    def resolves(self) -> str:
        """What a map over it can tell apart: "time and frequency", "time" or "frequency"."""
        axes = {"time": len(self.edges_s) > 2, "frequency": len(self.edges_hz) > 2}
        return " and ".join(name for name, there in axes.items() if there)


def extent_of(features: Any, *, n_samples: int, rate_hz: int) -> Extent | None:
    """Where the map of a view lies; None for one without place in time or frequency (statistics of a window).

    Args:
        features: a configuration of `audio.features.FEATURES`.
        n_samples: length of the window.
    """
    kind = features.kind
    shape = features.output_shape(n_samples, rate_hz=rate_hz)
    if kind in _PLACELESS:
        return None
    whole_s, whole_hz = np.array([0.0, n_samples / rate_hz]), np.array([0.0, rate_hz / 2.0])
    if kind == "waveform":
        return Extent(whole_hz, np.arange(n_samples + 1) / rate_hz)
    if kind == "decimated":
        return Extent(whole_hz, np.arange(shape[0] + 1) * features.factor / rate_hz)
    if kind == "power_spectrum":
        start = max(0, min(round(features.start_s * rate_hz), n_samples - features.n_fft))
        slice_s = np.array([start, min(n_samples, start + features.n_fft)]) / rate_hz
        return Extent(_bin_edges_hz(features.n_fft, rate_hz), slice_s)
    if kind == "picture":
        return Extent(_steps(whole_hz, shape[1]), _steps(whole_s, shape[2]))
    mel = features.mel if kind == "mfcc" else features
    edges_s = _frame_edges_s(mel.hop_length, shape[1], n_samples) / rate_hz
    if kind == "mfcc":  # a coefficient is a shape over all bands
        return Extent(whole_hz, edges_s)
    if kind == "spectrogram":
        return Extent(_bin_edges_hz(features.n_fft, rate_hz), edges_s)
    return Extent(_mel_edges_hz(features, rate_hz), edges_s)


def as_map(features: Any, values: Floats) -> Floats:
    """What is attributed to the numbers of a view, as [M, F] over its extent, lowest frequency first.

    Shape: [*output_shape] -> [M, F]; colours and cepstral coefficients are summed.
    """
    if features.kind == "picture":
        return np.asarray(values.sum(axis=0)[::-1])
    if features.kind == "mfcc":
        return np.asarray(values.sum(axis=0, keepdims=True))
    if features.kind == "power_spectrum":
        return values[:, None]
    return values[None, :] if values.ndim == 1 else values


def on_grid(values: Floats, extent: Extent, *, edges_hz: Floats, edges_s: Floats) -> Floats:
    """The mean of a map in each cell of another grid, 0 where the view does not reach.

    Means are over mel, in which the grids of this package are even. Shape: [M, F] -> [bands, times].
    """
    given, wanted = (hz_to_mel(edges, "slaney") for edges in (extent.edges_hz, edges_hz))
    by_band = averaged(values, given, wanted)
    return averaged(by_band.T, extent.edges_s, edges_s).T


def averaged(values: Floats, edges: Floats, wanted: Floats) -> Floats:
    """Steps along the first axis, averaged over other intervals. Shape: [n, ...] -> [m, ...].

    >>> averaged(np.array([[1.0], [3.0]]), np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.5]))[0, 0]
    np.float64(2.0)
    """
    sums = np.concatenate(
        [np.zeros((1, values.shape[1])), np.cumsum(values * np.diff(edges)[:, None], axis=0)]
    )
    at = np.stack([np.interp(wanted, edges, column) for column in sums.T], axis=1)
    return np.asarray(np.diff(at, axis=0) / np.diff(wanted)[:, None])


def _steps(ends: Floats, n: int) -> Floats:
    return np.linspace(float(ends[0]), float(ends[1]), n + 1)


def _frame_edges_s(hop: int, n_frames: int, n_samples: int) -> Floats:
    """Centred frames meet half way; in samples. Shape: [n_frames + 1]."""
    edges = (np.arange(n_frames + 1) - 0.5) * hop
    return np.concatenate([[0.0], edges[1:-1], [max(float(n_samples), edges[-2] + 1.0)]])


def _bin_edges_hz(n_fft: int, rate_hz: int) -> Floats:
    edges = (np.arange(n_fft // 2 + 2) - 0.5) * rate_hz / n_fft
    return np.clip(edges, 0.0, rate_hz / 2.0)


def _mel_edges_hz(features: Any, rate_hz: int) -> Floats:
    """Neighbouring triangles meet half way between their peaks. Shape: [n_mels + 1]."""
    highest = rate_hz / 2 if features.f_max_hz is None else features.f_max_hz
    low, high = hz_to_mel(np.array([features.f_min_hz, highest]), features.mel_scale)
    peaks = np.linspace(low, high, features.n_mels + 2)
    edges = np.concatenate([[low], (peaks[1:-2] + peaks[2:-1]) / 2, [high]])
    return np.asarray(mel_to_hz(edges, features.mel_scale))
