"""The demo corpus: sounds that need hearing, in recordings that differ, with noise and at any loudness.

The clips of one recording share its source, microphone, room and hum; only a split by recording says how well
a classifier does on recordings it has not heard.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import fft, signal
from scipy.io import wavfile

from earshot.data.sounds import SOUNDS, Random, Samples, bell, shaped_noise
from earshot.errors import ConfigError, DataError, complaint

# Signal (its loud moments) over background, and loudness of the whole clip: drawn alike for every class, so
# that level says nothing about it.
SNR_DB = (0.0, 20.0)
LOUDNESS_DBFS = (-42.0, -24.0)
LENGTH_S = (2.0, 5.0)


def synthesise(
    folder: str | os.PathLike[str],
    *,
    n_per_class: int = 40,
    n_recordings: int = 5,
    rate_hz: int = 22_050,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes 8 classes of clips as `class/FOLD-RECORDING-TAKE.wav` (16 bit), which `read_clips` understands.

    Args:
        n_per_class: clips of each class, dealt evenly to its recordings.
        n_recordings: recordings (groups) of each class; each is a fold of its own.
        progress: called with (clips written, clips in all).

    Returns:
        The folder.

    Raises:
        ConfigError: a number breaks its rule.
        DataError: the folder is a file.
    """
    _check("n_recordings", n_recordings, 2, 99)
    _check("n_per_class", n_per_class, n_recordings, n_recordings * 26**2)
    _check("rate_hz", rate_hz, 16_000, 192_000)
    root = Path(folder)
    if root.exists() and not root.is_dir():
        raise DataError(complaint(root, "folder", root.name, "a folder or a new name", "Give another one."))
    for c, name in enumerate(SOUNDS):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(n_per_class):
            take, recording = divmod(i, n_recordings)
            samples = clip(name, recording, take, rate_hz=rate_hz, seed=seed)
            source = 1000 * (c + 1) + recording  # one number a recording, over all classes
            _write(root / name / f"{recording + 1}-{source}-{_letters(take)}.wav", samples, rate_hz)
            if progress:
                progress(c * n_per_class + i + 1, len(SOUNDS) * n_per_class)
    return root


def clip(name: str, recording: int, take: int, *, rate_hz: int = 22_050, seed: int = 0) -> Samples:
    """One clip of a sound of `SOUNDS`. Shape: float64 [2 to 5 s], within -1 to 1."""
    c = list(SOUNDS).index(name)
    rng = np.random.default_rng([seed, c, recording, take + 1])
    n = int(rng.uniform(*LENGTH_S) * rate_hz)
    dry = SOUNDS[name](n, rate_hz, np.random.default_rng([seed, c, recording, 0, 1]), rng)
    device = np.random.default_rng([seed, c, recording, 0, 2])  # no zero at the end: numpy drops it
    sound = _in_room(dry / (_loud_rms(dry, rate_hz) + 1e-12), rate_hz, device)
    background = _background(n, rate_hz, device, rng)
    snr_db = rng.uniform(*SNR_DB)
    mixed = sound / _loud_rms(sound, rate_hz) + background * 10 ** (-snr_db / 20)
    heard = _through_device(mixed, rate_hz, device)
    loudness = 10 ** (rng.uniform(*LOUDNESS_DBFS) / 20)
    heard *= loudness / (np.sqrt(np.mean(heard**2)) + 1e-12)
    return np.asarray(heard / max(1.0, np.abs(heard).max() / 0.99))


def _loud_rms(samples: Samples, rate_hz: int) -> float:
    """Level of the loud moments: 95 % quantile of the RMS of 50 ms frames, so that pauses do not count."""
    size = rate_hz // 20
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    return float(np.quantile(np.sqrt(np.mean(frames**2, axis=1)), 0.95)) + 1e-9


def _in_room(dry: Samples, rate_hz: int, device: Random) -> Samples:
    """Adds the tail of a room: noise that decays, 60 dB in 0.1 to 0.6 s."""
    decay_s, wet = device.uniform(0.1, 0.6), device.uniform(0.0, 0.35)
    t_s = np.arange(int(decay_s * rate_hz)) / rate_hz
    tail = device.standard_normal(len(t_s)) * 10 ** (-3 * t_s / decay_s)
    tail *= wet / np.sqrt(np.sum(tail**2))
    tail[0] += 1.0
    return np.asarray(signal.oaconvolve(dry, tail)[: len(dry)])


def _background(n: int, rate_hz: int, device: Random, rng: Random) -> Samples:
    """What else is heard: noise between white and brown with a hump anywhere, and mains hum. Level 1."""
    slope, hump_hz, hum = rng.uniform(0.0, 0.6), rng.uniform(200, 6_000), device.uniform(0.0, 0.4)
    hump = rng.uniform(0.0, 2.0)
    noise = shaped_noise(
        n, rate_hz, lambda f: (f + 20) ** -slope * (1 + hump * bell(f, hump_hz, 0.7)), rng=rng
    )
    mains_hz = 50 if device.random() < 0.5 else 60
    t_s = np.arange(n) / rate_hz
    noise += hum * sum(np.sin(2 * np.pi * k * mains_hz * t_s + k) / k for k in (1, 2, 3))
    return np.asarray(noise / noise.std())


def _through_device(samples: Samples, rate_hz: int, device: Random) -> Samples:
    """The microphone: band limits, a tilt and three resonances of up to 5 dB."""
    low_hz, high_hz, tilt = (
        device.uniform(30, 120),
        device.uniform(7_000, 12_000),
        device.uniform(-0.15, 0.15),
    )
    bumps = list(zip(device.uniform(100, 7_000, 3), device.uniform(-5, 5, 3), strict=True))
    n_fft = fft.next_fast_len(len(samples) + rate_hz // 10, real=True)
    f = np.maximum(fft.rfftfreq(n_fft, 1 / rate_hz), 1.0)
    gain_db = sum(db * bell(f, centre_hz, 0.4) for centre_hz, db in bumps)
    gain = 10 ** (gain_db / 20) * (f / 1000) ** tilt
    gain /= np.sqrt(1 + (low_hz / f) ** 4) * np.sqrt(1 + (f / high_hz) ** 8)
    return np.asarray(fft.irfft(gain * fft.rfft(samples, n_fft), n_fft)[: len(samples)])


def _write(path: Path, samples: Samples, rate_hz: int) -> None:
    # A demo that is stopped leaves no half file behind under a name that the reader takes.
    part = path.with_name(f".{path.stem}.part")
    wavfile.write(part, rate_hz, np.round(samples * 32767).astype(np.int16))
    part.replace(path)


def _letters(number: int) -> str:
    """A ... Z, AA ... ZZ."""
    high, low = divmod(number, 26)
    return (chr(64 + high) if high else "") + chr(65 + low)


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(complaint("synthesise", name, value, f"a whole number from {low} to {high}"))
