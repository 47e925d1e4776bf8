"""`earshot audit` on 10,000 clips of 5 s, made on the spot: time and memory, and what is found of planted copies.

Clips are 16 bit WAV at 44.1 kHz: filtered noise under an envelope beside a gliding tone, ten classes, two takes
a recording. Every hundredth is a copy of the one before it, quieter and begun later.

Run: python -m bench.audit
"""

from __future__ import annotations

import csv
import os
import resource
import shutil
import sys
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from bench import Cost, cost, earshot, mib, table

RATE_HZ = 44_100
N_CLASSES = 10
SECONDS = 5.0
_EVERY = 100  # clips a planted copy
_FREE_BYTES = 2.5 * 2 * RATE_HZ * SECONDS  # a clip: file, store, and what the audit keeps


@dataclass(frozen=True)
class Spent:
    """What one audit took, processor time of its workers included."""

    cost: Cost
    cpu_s: float


def scene(seed: int, *, label: int) -> NDArray[np.float64]:
    """A sound of its own for each seed; classes lie in different places of the spectrum."""
    rng = np.random.default_rng(seed)
    n = round(SECONDS * RATE_HZ)
    t = np.arange(n) / RATE_HZ
    low_hz = 200 * 1.4**label * rng.uniform(0.8, 1.25)
    band = signal.butter(2, [low_hz, low_hz * rng.uniform(1.5, 4)], "bandpass", fs=RATE_HZ, output="sos")
    slow = np.interp(t, np.linspace(0, SECONDS, 24), rng.uniform(0.1, 1, 24))
    hiss = signal.sosfilt(band, rng.standard_normal(n)) * slow
    tone = np.sin(2 * np.pi * (rng.uniform(300, 900) * t + rng.uniform(20, 100) * t**2))
    noise = 0.003 * rng.standard_normal(n)
    return np.asarray(0.3 * hiss / np.abs(hiss).max() + 0.1 * rng.random() * tone + noise)


def synthesise(folder: Path, n_clips: int) -> int:
    """Writes `class/FOLD-RECORDING-TAKE.wav`, so that groups and folds are read; returns the number of copies."""
    n_copies = 0
    for label in range(N_CLASSES):
        (folder / f"class {label}").mkdir(parents=True)
    for i in range(n_clips):
        recording, label, take = i // 2, i // 2 % N_CLASSES, "AB"[i % 2]
        is_copy = i % _EVERY == _EVERY - 1
        samples = scene(i - is_copy, label=label)
        if is_copy:
            samples = 0.4 * np.roll(samples, -RATE_HZ)
            n_copies += 1
        name = f"{1 + recording // N_CLASSES % 5}-{recording}-{take}.wav"
        with wave.open(str(folder / f"class {label}" / name), "wb") as file:
            file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes((samples * 32_767).clip(-32_768, 32_767).astype("<i2").tobytes())
    return n_copies


def spent(data: Path, output: Path, cache: Path) -> Spent:
    """One audit as a user starts it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = cost(earshot("audit", data, "-o", output, "--quiet"), env={"EARSHOT_CACHE": str(cache)})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def n_found(output: Path) -> int:
    """Clips that the audit calls copies of an earlier one."""
    with (output / "audit.csv").open(newline="", encoding="utf-8") as file:
        return sum("near_duplicate" in row["issues"].split(";") for row in csv.DictReader(file))


def measured(folder: Path, *, n_clips: int, n_copies: int) -> str:
    """The table of three audits of `folder`/sounds: with an empty store, with a filled one, and again."""
    outputs = ("first", "second", "second")
    cold, warm, again = [spent(folder / "sounds", folder / name, folder / "cache") for name in outputs]
    rows = [
        (what, f"{each.cost.seconds:.0f} s", f"{each.cpu_s:.0f} s", mib(each.cost.peak_bytes), target)
        for what, each, target in (
            ("cold: decoded on the way", cold, ""),
            ("warm: in the store already", warm, "<= 180 s"),
            ("again, into the same folder", again, ""),
        )
    ]
    header = (f"`earshot audit`, {n_clips:,} clips of 5 s", "wall", "processor", "peak memory", "target")
    load = os.getloadavg()[1]
    note = f"{n_found(folder / 'second')} clips called copies, {n_copies} planted. "
    note += (
        f"Processor time is that of all processes of the command; the load average was {load:.1f} at the end."
    )
    return table(header, rows, note=note)


def main(*, n_clips: int = 10_000, scratch: Path | None = None) -> str:
    """Makes the clips and measures.

    Args:
        scratch: a folder with room for about 1.1 MB a clip; the system's temporary one without.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < n_clips * _FREE_BYTES:
            raise RuntimeError(f"{folder}: not enough room for {n_clips:,} clips")
        print(f"making {n_clips:,} clips", file=sys.stderr, flush=True)
        n_copies = synthesise(folder / "sounds", n_clips)
        return measured(folder, n_clips=n_clips, n_copies=n_copies)


if __name__ == "__main__":
    print(main())
