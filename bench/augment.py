"""Offline augmentation: earshot's steps against the published loop over librosa, in the same run.

Both make 20 clips of ESC-10 (5 s at 44.1 kHz) into 400: each clip and 19 variants, from the same random draws.
Rounds alternate.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from bench import Skipped, data_folder, seconds, table
from earshot.audio.step import Parameters
from earshot.audio.threads import over_rows
from earshot.audio.transforms import PUBLISHED_STEPS, apply_parameters, draw_parameters

RATE_HZ = 44_100
N_SAMPLES = 5 * RATE_HZ
N_CLIPS = 20
N_VARIANTS = 19
ROUNDS = 3

Variant = tuple[int, list[Parameters]]
Samples = NDArray[np.floating]


def clips() -> Samples:
    """The first clips of each class, as many of each. Shape: [N_CLIPS, N_SAMPLES].

    Raises:
        Skipped: there are no recordings.
    """
    classes = sorted(path for path in data_folder("esc10").iterdir() if path.is_dir())
    n_each = -(-N_CLIPS // max(1, len(classes)))
    paths: list[Path] = []
    for folder in classes:
        paths += sorted(path for path in folder.iterdir() if path.suffix in (".ogg", ".wav"))[:n_each]
    if len(paths) < N_CLIPS:
        raise Skipped(f"esc10/ has {len(paths)} clips in class folders; {N_CLIPS} are needed")
    return np.stack([_loaded(path) for path in paths[:N_CLIPS]])


def _loaded(path: Path) -> Samples:
    samples, rate_hz = soundfile.read(path, dtype="float32")
    if rate_hz != RATE_HZ or samples.ndim != 1:
        raise Skipped(f"{path.name} is not mono at {RATE_HZ} Hz")
    return np.asarray(librosa.util.fix_length(samples, size=N_SAMPLES))


def variants(seed: int = 0) -> list[Variant]:
    """(clip, what is drawn for it) of every variant."""
    rng = np.random.default_rng(seed)
    return [(i, draw_parameters(PUBLISHED_STEPS, rng)) for i in range(N_CLIPS) for _ in range(N_VARIANTS)]


def with_earshot(waveforms: Samples, wanted: list[Variant]) -> Samples:
    """Every variant. Shape: [N, T] -> [V, T]."""
    rows, made = torch.from_numpy(waveforms), torch.empty(len(wanted), N_SAMPLES)

    def one(i: int) -> None:
        clip, parameters = wanted[i]
        made[i] = apply_parameters(rows[clip], parameters, rate_hz=RATE_HZ)

    over_rows(one, len(wanted))
    return np.asarray(made.numpy())


def with_librosa(waveforms: Samples, wanted: list[Variant]) -> Samples:
    """Every variant, in a plain loop. Shape: [N, T] -> [V, T]."""
    return np.stack([_published(waveforms[clip], parameters) for clip, parameters in wanted])


def _published(samples: Samples, parameters: list[Parameters]) -> Samples:
    """The four steps as they were published, each where it is drawn."""
    for values in parameters:
        if values["kind"] == "time_shift":
            n = round(values["shift_s"] * RATE_HZ)
            samples = np.roll(samples, n)
            samples[slice(0, n) if n >= 0 else slice(n, None)] = 0
        elif values["kind"] == "noise":
            noise = np.random.default_rng(values["seed"]).random(len(samples), dtype=np.float32)
            samples = samples + values["amplitude"] * (samples.max() - samples.min()) * noise
        elif values["kind"] == "pitch_shift":
            samples = librosa.effects.pitch_shift(samples, sr=RATE_HZ, n_steps=values["semitones"])
        else:
            stretched = librosa.effects.time_stretch(samples, rate=values["rate"])
            samples = librosa.util.fix_length(stretched, size=N_SAMPLES)
    return samples


def correlations(waveforms: Samples, wanted: list[Variant]) -> list[float]:
    """How alike each of our variants is to librosa's, there in double precision: in single its phases drift."""
    ours = with_earshot(waveforms, wanted)
    theirs = with_librosa(waveforms.astype(np.float64), wanted)
    return [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(ours, theirs, strict=True) if a.any()]


def main() -> str:
    """The table of clips/s and how alike the results are."""
    waveforms, wanted = clips(), variants()
    torch.set_num_threads(os.cpu_count() or 1)
    alike = correlations(waveforms, wanted[::8])
    rounds = [
        (seconds(lambda: with_earshot(waveforms, wanted)), seconds(lambda: with_librosa(waveforms, wanted)))
        for _ in range(ROUNDS)
    ]
    n_clips = N_CLIPS * (1 + N_VARIANTS)  # the clips themselves cost nothing, to either
    mine, peer = (n_clips / statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(b / a for a, b in rounds)
    rows = [
        ("earshot, a batch on all cores", f"{mine:.0f}", f"{ratio:.1f}x", ">= 5x"),
        ("librosa, a loop", f"{peer:.0f}", "1.0x", ""),
    ]
    close = np.mean(np.array(alike) > 0.99)
    note = (
        f"{N_CLIPS} clips of ESC-10 made into {n_clips}, by the four published steps with the same draws; "
        f"{torch.get_num_threads()} threads, medians of {ROUNDS} rounds. The correlation of a variant of ours with "
        f"that of librosa in double precision is {statistics.median(alike):.6f} in the middle, and above 0.99 for "
        f"{close:.0%} of {len(alike)}. Where a sound follows digital silence, its phases start from rounding "
        "noise, in both."
    )
    return table(("20-fold augmentation", "clips/s", "against librosa", "target"), rows, note=note)


if __name__ == "__main__":
    print(main())
