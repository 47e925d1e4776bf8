"""Noises that sounds are spoilt with: white, pink or of any slope, and one like many voices at once.

Conventions: each returns float32 [T] of no particular level, drawn from `rng` (a numpy Generator).
"""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import fft, signal

Samples = NDArray[np.float32]
N_VOICES = 6
_PITCHES_HZ = (90.0, 250.0)
_SYLLABLES_HZ = 4.0  # the rate at which speech rises and falls
_FORMANTS_HZ = ((300.0, 800.0), (900.0, 2300.0))  # where a voice's two strongest resonances lie
_SPEECH_RATE_HZ = 16_000  # made at this rate where the clip's is higher: voices have little above 8 kHz
_QUALITY = 5.0  # a resonance's frequency over its width


def white(n_samples: int, *, rng: np.random.Generator) -> Samples:
    """The same power at every frequency, normal samples."""
    return rng.standard_normal(n_samples, dtype=np.float32)


def pink(n_samples: int, *, rng: np.random.Generator) -> Samples:
    """The same power in every octave: it falls by 3.01 dB an octave."""
    return coloured(n_samples, slope_db=-10 * np.log10(2), rng=rng)


def coloured(n_samples: int, *, slope_db: float, rng: np.random.Generator, lowest: float = 0.0) -> Samples:
    """Normal noise whose power changes by `slope_db` an octave: 0 is white, -3.01 pink, -6.02 brown.

    Args:
        lowest: frequencies below this share of the sample rate are left out.
    """
    n_fft = fft.next_fast_len(max(2, n_samples), real=True)
    n_bins = n_fft // 2 + 1
    spectrum = rng.standard_normal(2 * n_bins, dtype=np.float32).view(np.complex64)
    exponent = np.float32(slope_db / (20 * np.log10(2)))  # of the amplitude
    spectrum[1:] *= np.arange(1, n_bins, dtype=np.float32) ** exponent
    spectrum[: max(1, round(lowest * n_fft))] = 0
    return np.asarray(fft.irfft(spectrum, n_fft)[:n_samples], dtype=np.float32)


def babble(n_samples: int, *, rate_hz: int, rng: np.random.Generator) -> Samples:
    """Voices without words: wavering harmonic tones through two resonances each, in the rhythm of syllables."""
    inner_hz = min(rate_hz, _SPEECH_RATE_HZ)
    n_inner = 2 + n_samples * inner_hz // rate_hz
    total = np.zeros(n_inner, np.float32)
    for _ in range(N_VOICES):
        total += _voice(n_inner, rate_hz=inner_hz, rng=rng)
    full = total if inner_hz == rate_hz else soxr.resample(total, inner_hz, rate_hz, quality="MQ")
    return np.asarray(np.resize(full, n_samples))


def _voice(n_samples: int, *, rate_hz: int, rng: np.random.Generator) -> NDArray[np.floating]:
    n_points = 2 + int(n_samples / rate_hz * _SYLLABLES_HZ * 2)
    places = np.linspace(0, n_points - 1, n_samples)
    pitch_hz = rng.uniform(*_PITCHES_HZ) * 2 ** rng.uniform(-0.2, 0.2, n_points)
    loudness = rng.uniform(0, 1, n_points) ** 2
    cycles = np.cumsum(np.interp(places, np.arange(n_points), pitch_hz)) / rate_hz + rng.random()
    # A saw tooth has every harmonic, 6 dB an octave down, much as the voice's own source.
    tone = (cycles % 1.0 - 0.5) * np.interp(places, np.arange(n_points), loudness)
    for low_hz, high_hz in _FORMANTS_HZ:
        centre_hz = min(rng.uniform(low_hz, high_hz), 0.45 * rate_hz)
        tone = tone + signal.lfilter(*signal.iirpeak(centre_hz, _QUALITY, fs=rate_hz), tone) * 3
    return np.asarray(tone)
