"""Tiny folders of labelled sounds for tests: tones, noises and clicks that a small model tells apart at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 8_000
DURATION_S = 0.4

# A recipe that trains in a fraction of a second: low rate, few bands.
FAST = ("rate_hz=8000", "n_fft=256", "hop_length=128", "n_mels=16", "n_folds=2")
CNN = (*FAST, "epochs=2", "block_channels=[8,8]", "n_stem_channels=8", "window_s=0.4")


def _hum(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.sin(2 * np.pi * rng.uniform(180, 260) * t)


def _hiss(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(len(t))


def _whistle(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.sin(2 * np.pi * (rng.uniform(1_800, 2_200) * t + 400 * t**2))


def _ticks(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (np.modf(t * rng.uniform(9, 12))[0] < 0.02) * 4.0


SOUNDS: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "hum": _hum,
    "hiss": _hiss,
    "whistle": _whistle,
    "ticks": _ticks,
}


def sound(kind: str, *, seed: int = 0, duration_s: float = DURATION_S, rate_hz: int = RATE_HZ) -> np.ndarray:
    """One sound of a kind, with a little noise; another one for every seed. Shape: float64 [T]."""
    rng = np.random.default_rng([seed, *kind.encode()])
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    return 0.15 * SOUNDS[kind](t, rng) + 0.005 * rng.standard_normal(len(t))


def write(path: Path, samples: np.ndarray, *, rate_hz: int = RATE_HZ) -> Path:
    """Writes a sound, in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz)
    return path


def make(
    root: Path,
    counts: Mapping[str, int] | Sequence[str] = ("hum", "hiss"),
    *,
    n: int = 4,
    names: Mapping[str, str] | None = None,
    first_seed: int = 0,
    duration_s: float = DURATION_S,
) -> Path:
    """A folder per class.

    Args:
        counts: clips a class, or kinds with `n` clips each.
        names: folder of each kind, where it is not called like the kind.
        first_seed: other numbers make other sounds.
    """
    wanted = counts if isinstance(counts, Mapping) else dict.fromkeys(counts, n)
    for kind, number in wanted.items():
        for i in range(number):
            folder = (names or {}).get(kind, kind)
            samples = sound(kind, seed=first_seed + i, duration_s=duration_s)
            write(root / folder / f"{kind}{first_seed + i:04d}.wav", samples)
    return root


BROKEN: Mapping[str, bytes] = {
    "empty.wav": b"",
    "header.wav": b"RIFF",
    "page.wav": b"<!doctype html><title>404</title>" * 20,
    "noise.ogg": b"OggS" + bytes(range(256)) * 4,
    "program.flac": b"\x7fELF" + bytes(400),
}
"""Files that are no sound, whatever their names say."""


def add_broken(folder: Path) -> list[str]:
    """Puts every broken file into a folder; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in BROKEN.items():
        (folder / name).write_bytes(content)
    return sorted(BROKEN)
