"""Voices from a source and a filter: glottal pulses through the resonances of a vocal tract of some length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import signal

RATE_HZ = 16_000
_VOWELS_HZ = ((730, 1090, 2440, 3500), (270, 2290, 3010, 3600), (300, 870, 2240, 3400))


def spoken(sex: str, *, seed: int, seconds: float = 0.6) -> np.ndarray:
    """A vowel of a man ("M") or a woman ("F"), int16 [T]."""
    rng = np.random.default_rng(seed)
    pitch_hz, stretch = (115.0, 1.0) if sex == "M" else (205.0, 1.17)
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    cycles = np.cumsum(pitch_hz * 2 ** (0.1 * np.sin(3 * times + rng.uniform(0, 6)))) / RATE_HZ
    voice = np.diff(np.floor(cycles), prepend=0.0) + 0.001 * rng.standard_normal(len(times))
    for formant_hz in _VOWELS_HZ[rng.integers(3)]:
        centre_hz = formant_hz * stretch * rng.uniform(0.97, 1.03)
        radius = np.exp(-np.pi * 80 / RATE_HZ)
        poles = [1, -2 * radius * np.cos(2 * np.pi * centre_hz / RATE_HZ), radius**2]
        voice = signal.lfilter([sum(poles)], poles, voice)
    return np.rint(voice / np.abs(voice).max() * 20_000).astype(np.int16)


def write_sphere(path: Path, samples: np.ndarray, *, is_big: bool) -> None:
    """As on TIMIT's disc."""
    lines = [
        *("NIST_1A", "   1024", "database_id -s5 TIMIT", "database_version -s3 1.0"),
        *("channel_count -i 1", f"sample_count -i {len(samples)}", f"sample_rate -i {RATE_HZ}"),
        *(
            "sample_n_bytes -i 2",
            f"sample_byte_format -s2 {'10' if is_big else '01'}",
            "sample_sig_bits -i 16",
        ),
        "end_head\n",
    ]
    head = "\n".join(lines).encode("ascii").ljust(1024, b" ")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + samples.astype(">i2" if is_big else "<i2").tobytes())
