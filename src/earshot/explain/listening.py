"""A window as cells of time and frequency that can be taken away, and the sound that is left then.

Conventions: waveforms are float32 [T] at `rate_hz`; cells are [bands, times], lowest band and earliest time first,
bands of equal width in mel. A gain of 1 leaves a cell as it is.

What is taken away from a model is replaced by steady noise with the spectrum of the sound's own quiet moments.
Silence would be new to most models, and a sound that is only turned down still tells one that disregards loudness.
So a sound that is steady from end to end is hardly changed: it has no moment without it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earshot.audio.log_mel import hz_to_mel, mel_to_hz

Floats = NDArray[np.float64]

QUIET_SHARE = 0.1
"""Of the time: the level that a frequency exceeds in the rest of it is that of the noise."""

_FRAME_S = 0.032
_MOST_BANDS, _MOST_TIMES = 8, 16
_FADE = 0.5  # of a cell: hard edges are heard, by models too
_LEAST_BINS, _LEAST_FRAMES = 3, 2  # of a cell, so that turning it down leaves its neighbours alone


class Plane:
    """A window over time and frequency.

    The transform has periodic Hann windows that overlap by three quarters, before and after; with all gains 1 the
    waveform comes back within float32 rounding, and a gain that changes fades over the length of a frame.

    Args:
        waveform: float32 [T], T >= 16.
    """

    def __init__(self, waveform: NDArray[np.float32], *, rate_hz: int) -> None:
        self.waveform, self.rate_hz = waveform, rate_hz
        self.duration_s = len(waveform) / rate_hz
        self.n_fft = 2 ** int(np.log2(max(16, min(_FRAME_S * rate_hz * np.sqrt(2), len(waveform)))))
        self._frames: dict[str, Any] = {
            "n_fft": self.n_fft,
            "hop_length": self.n_fft // 4,
            "window": torch.hann_window(self.n_fft),
        }
        given = torch.from_numpy(waveform)
        self._stft = torch.stft(given, **self._frames, pad_mode="constant", return_complex=True)
        self._noise = self._quiet_noise()
        n_bins, n_frames = self._stft.shape
        self.shape = (
            max(1, min(_MOST_BANDS, n_bins // _LEAST_BINS)),
            max(1, min(_MOST_TIMES, n_frames // _LEAST_FRAMES)),
        )
        self.band_edges_hz = band_edges_hz(self.shape[0], rate_hz)
        bins_hz = np.arange(n_bins) * rate_hz / self.n_fft
        frames_s = np.arange(n_frames) * (self.n_fft // 4) / rate_hz
        self._by_band = _blended(bins_hz, self.band_edges_hz)
        self._by_time = _blended(frames_s, self.time_edges_s)

    @property
    def time_edges_s(self) -> Floats:
        """Where cells begin and end. Shape: [times + 1]."""
        return np.linspace(0.0, self.duration_s, self.shape[1] + 1)

    @property
    def levels_db(self) -> Floats:
        """Level of every bin and frame, dB re the loudest. Shape: [bins, frames]."""
        power = self._stft.abs().square().double().numpy()
        return np.asarray(10.0 * np.log10(np.maximum(power / max(power.max(), 1e-30), 1e-12)))

    @property
    def energies(self) -> Floats:
        """Energy in each cell. Shape: [bands, times]."""
        power = self._stft.abs().square().double().numpy()
        return np.asarray(self._by_band.T @ power @ self._by_time)

    def alone(self, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The window with silence in place of other cells, for people. Shape: [bands, times] -> float32 [T]."""
        return self._waveform(self._stft * self._mask(kept))

    def without(self, taken: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The window with quiet noise in place of some cells, for a model. Shape: [bands, times] -> float32 [T]."""
        mask = self._mask(~taken)
        return self._waveform(self._stft * mask + self._noise * (1.0 - mask))

    def _mask(self, kept: NDArray[np.bool_]) -> torch.Tensor:
        """Near its edge a cell goes over into the next one. Shape: [bands, times] -> [bins, frames]."""
        mask = self._by_band @ kept.astype(np.float64) @ self._by_time.T
        return torch.from_numpy(mask.astype(np.float32))

    def _waveform(self, stft: torch.Tensor) -> NDArray[np.float32]:
        back: NDArray[np.float32] = torch.istft(stft, **self._frames, length=len(self.waveform)).numpy()
        return back

    def _quiet_noise(self) -> torch.Tensor:
        """Noise in place of what is taken away. Shape: complex [bins, frames]."""
        rng = np.random.default_rng(len(self.waveform))
        drawn = torch.from_numpy(rng.standard_normal(len(self.waveform)).astype(np.float32))
        noise = torch.stft(drawn, **self._frames, pad_mode="constant", return_complex=True)
        quiet = self._stft.abs().quantile(QUIET_SHARE, dim=1, keepdim=True)
        return noise * (quiet / noise.abs().square().mean(dim=1, keepdim=True).sqrt())


def _blended(places: Floats, edges: Floats) -> Floats:
    """How much each place belongs to each cell, going over from one to the next. Shape: [m], [n + 1] -> [m, n].

    >>> _blended(np.array([0.5, 1.0, 1.5]), np.array([0.0, 1.0, 2.0])).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    n = len(edges) - 1
    cells = np.interp(places, edges, np.arange(n + 1))
    nearest = np.rint(cells)
    later = np.clip((cells - nearest) / _FADE + 0.5, 0.0, 1.0)
    shares = np.zeros((len(places), n))
    rows = np.arange(len(places))
    shares[rows, np.clip(nearest, 0, n - 1).astype(int)] += later
    shares[rows, np.clip(nearest - 1, 0, n - 1).astype(int)] += 1.0 - later
    return shares


def band_edges_hz(n_bands: int, rate_hz: int) -> Floats:
    """Edges of bands of equal width in mel, from 0 Hz to half the rate. Shape: [n_bands + 1].

    >>> band_edges_hz(2, 2_000).round(6).tolist()
    [0.0, 500.0, 1000.0]
    """
    highest = float(hz_to_mel(np.array([rate_hz / 2.0]), "slaney")[0])
    edges_hz = np.asarray(mel_to_hz(np.linspace(0.0, highest, n_bands + 1), "slaney"))
    edges_hz[-1] = rate_hz / 2.0
    return edges_hz
