"""What a sound is like before anyone asks what it is: level, clipping, offset, silence, noise floor, bandwidth.

Conventions: a sound is int16 [T] as the store holds it, so mono and at the store's rate; levels are dB of full
scale. Spectra come from frames of 2,048 samples every 512, in blocks, so that memory does not grow with length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import signal

N_FFT, HOP = 2048, 512
N_BANDS = 33
_BLOCK_FRAMES = 64  # fits the cache of a core
_BANDS_HZ = (300.0, 4000.0)
_FULL_SCALE = 32_768.0
_FAINTEST_DB = -120.0
_AT_FULL_SCALE = 32_766
_NOTHING = 1  # steps: what resampling leaves of digital silence
_FAINT_FLOOR = 1000.0  # times the rounding noise: 30 dB
_CLIFF_DB = 20.0
_EDGE_WIDTH = 0.12  # share of a bandwidth on which the fall at its end is measured

Floats = NDArray[np.float32]


class Measurements(NamedTuple):
    """Of one sound. Shares are of samples or frames; `lead` and `tail` are digital silence at the ends."""

    duration_s: float
    level_db: float
    peak_db: float
    clipped_share: float
    dc_offset: float
    silence_share: float
    lead_silence_s: float
    tail_silence_s: float
    noise_floor_db: float
    bandwidth_hz: float
    edge_db: float


@dataclass(frozen=True)
class Spectra:
    """Mean power spectrum [1025] and the power of 33 bands from 300 to 4,000 Hz in each frame [F, 33]."""

    mean: Floats
    bands: Floats


def spectra(samples: NDArray[np.int16], rate_hz: int) -> Spectra:
    """Spectra of a sound; one shorter than a frame is filled up with zeros. Shape: int16 [T]."""
    padded = samples if len(samples) >= N_FFT else np.pad(samples, (0, N_FFT - len(samples)))
    frames = torch.from_numpy(padded.astype(np.float32)).unfold(0, N_FFT, HOP)
    window = torch.hann_window(N_FFT, periodic=False) / _FULL_SCALE
    weights = torch.from_numpy(_band_weights(rate_hz))
    total, bands = torch.zeros(N_FFT // 2 + 1, dtype=torch.float64), []
    with torch.inference_mode():
        for first in range(0, len(frames), _BLOCK_FRAMES):
            spectrum = torch.fft.rfft(frames[first : first + _BLOCK_FRAMES] * window)
            power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
            total += power.sum(dim=0, dtype=torch.float64)
            bands.append(power @ weights)
        return Spectra((total / len(frames)).float().numpy(), torch.cat(bands).numpy())


def measure(
    samples: NDArray[np.int16], rate_hz: int, spectrum: Floats, *, source_rate_hz: int | None = None
) -> Measurements:
    """The figures of one sound.

    Args:
        samples: at least one. Shape: int16 [T].
        spectrum: its mean power spectrum, from `spectra`.
        source_rate_hz: of the file; nothing above half of it is looked at.
    """
    exact = samples.astype(np.float32)
    sounding = (samples > _NOTHING) | (samples < -_NOTHING)
    any_sound = bool(sounding.any())
    lead, tail = (sounding.argmax(), sounding[::-1].argmax()) if any_sound else (len(samples), 0)
    silent = ~_blocks(sounding).any(axis=1)
    powers = np.square(exact)
    levels = _blocks(powers).mean(axis=1)[~silent]
    bandwidth_hz, edge_db = bandwidth(spectrum, rate_hz, limit_hz=min(source_rate_hz or rate_hz, rate_hz) / 2)
    return Measurements(
        duration_s=len(samples) / rate_hz,
        level_db=_db(float(powers.mean(dtype=np.float64)) / _FULL_SCALE**2),
        peak_db=_db(float(powers.max()) / _FULL_SCALE**2),
        clipped_share=float(np.count_nonzero(powers >= float(_AT_FULL_SCALE) ** 2)) / len(samples),
        dc_offset=float(exact.mean(dtype=np.float64)) / _FULL_SCALE,
        silence_share=float(silent.mean()),
        lead_silence_s=float(lead) / rate_hz,
        tail_silence_s=float(tail) / rate_hz,
        noise_floor_db=_db(float(np.quantile(levels, 0.1)) / _FULL_SCALE**2) if len(levels) else _FAINTEST_DB,
        bandwidth_hz=bandwidth_hz,
        edge_db=edge_db,
    )


def bandwidth(spectrum: Floats, rate_hz: int, *, limit_hz: float | None = None) -> tuple[float, float]:
    """Where a mean power spectrum ends, in Hz, and how far it falls there, in dB.

    It ends where nothing is above the rounding noise of 16 bit by 10 dB, or within 90 dB of its strongest part;
    or at a cliff, above which there is nothing but a faint floor, such as rounding before a change of rate or a
    few clipped samples leave. A fall of 0 means that it ends with the spectrum or fades out.

    Args:
        spectrum: of frames of 2,048 samples. Shape: [1025].
        limit_hz: nothing above is looked at; default half the rate.
    """
    bin_hz = rate_hz / N_FFT
    n = min(len(spectrum), round((limit_hz or rate_hz / 2) / bin_hz) + 1)
    smooth = signal.medfilt(spectrum[:n].astype(np.float64), 9)
    rounding = float(np.square(np.hanning(N_FFT)).sum()) / 12 / _FULL_SCALE**2
    floor = float(np.median(smooth[int(0.8 * n) : int(0.9 * n) + 1]))
    if floor < _FAINT_FLOOR * rounding:
        last = _last_above(smooth[: int(0.9 * n)], 4 * floor)
        fall_db = _fall_db(smooth, last, least=rounding)
        if last < 0.8 * n and fall_db >= _CLIFF_DB:
            return last * bin_hz, fall_db
    last = _last_above(smooth, max(10 * rounding, float(smooth.max()) * 1e-9))
    if last + max(4, round(last * _EDGE_WIDTH)) // 2 >= n - 1:
        return last * bin_hz, 0.0
    return last * bin_hz, _fall_db(smooth, last, least=rounding)


def _last_above(power: NDArray[np.float64], floor: float) -> int:
    above = np.flatnonzero(power > floor)
    return int(above[-1]) if len(above) else 0


def _fall_db(power: NDArray[np.float64], last: int, *, least: float) -> float:
    """Between the stretches before and after a bin, each a share of its frequency wide."""
    width = max(4, round(last * _EDGE_WIDTH))
    before = float(np.median(power[max(0, last - width) : max(1, last - 2)]))
    after = float(np.median(power[min(last + 3, len(power) - 1) : last + width + 3]))
    return max(0.0, _db(before) - _db(max(after, least)))


def _blocks(exact: NDArray[Any]) -> NDArray[Any]:
    """Samples in rows of a hop; the rest that fills no row is left out, unless there is nothing else."""
    n = len(exact) // HOP
    return exact[: n * HOP].reshape(n, HOP) if n else exact[None]


def _db(power: float) -> float:
    return max(_FAINTEST_DB, 10 * float(np.log10(power))) if power > 0 else _FAINTEST_DB


@cache
def _band_weights(rate_hz: int) -> Floats:
    """Overlapping triangles, evenly spaced in log frequency and never narrower than a bin. Shape: [1025, 33]."""
    top = min(_BANDS_HZ[1], 0.45 * rate_hz)
    edges = np.geomspace(min(_BANDS_HZ[0], top / 8), top, N_BANDS + 2) * N_FFT / rate_hz
    bins = np.arange(N_FFT // 2 + 1)[:, None]
    centre = edges[1:-1]
    below = np.maximum(centre - edges[:-2], 1.0)
    over = np.maximum(edges[2:] - centre, 1.0)
    rise, fall = 1 - (centre - bins) / below, 1 - (bins - centre) / over
    return np.clip(np.minimum(rise, fall), 0, None).astype(np.float32)
