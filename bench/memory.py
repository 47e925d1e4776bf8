"""Memory against the number of clips: `train` and `predict` on ten times as many 1 s clips, made on the spot.

Clips are tones in noise at 8 kHz, four classes of one octave each, ten clips a recording, two folds. The
recipe is the default one with a smaller front end and network and one epoch, so that the largest corpus takes
minutes: what is asked is how memory grows, not how well it learns.
"""

from __future__ import annotations

import sys
import tempfile
import wave
from pathlib import Path

import numpy as np

from bench import Cost, cost, earshot, mib, table

RATE_HZ = 8_000
CLASSES_HZ = {"low": 150.0, "middle": 400.0, "high": 1_000.0, "top": 2_500.0}
N_TAKES = 10
CHANGES = (
    f"audio.rate_hz={RATE_HZ}",
    "audio.window_s=1.0",
    "members.cnn.features.n_fft=256",
    "members.cnn.features.hop_length=128",
    "members.cnn.features.n_mels=32",
    "members.cnn.model.n_stem_channels=8",
    "members.cnn.model.block_channels=[16, 32]",
    "members.cnn.training.epochs=1",
    "members.fast.features.mel.n_fft=512",
    "members.fast.features.mel.hop_length=256",
)


def synthesise(folder: Path, n_clips: int) -> Path:
    """Writes `class/FOLD-RECORDING-TAKE.wav`, so that groups and folds are read from the names."""
    rng = np.random.default_rng(0)
    t = np.arange(RATE_HZ) / RATE_HZ
    for name in CLASSES_HZ:
        (folder / name).mkdir(parents=True)
    for i in range(n_clips):
        take, rest = i % N_TAKES, i // N_TAKES
        recording, (name, lowest_hz) = rest, list(CLASSES_HZ.items())[rest % len(CLASSES_HZ)]
        tone = np.sin(2 * np.pi * lowest_hz * 2 ** rng.random() * t)
        samples = 0.3 * tone + 0.1 * rng.standard_normal(RATE_HZ)
        fold = 1 + rest // len(CLASSES_HZ) % 2
        with wave.open(str(folder / name / f"{fold}-{recording}-{chr(65 + take)}.wav"), "wb") as file:
            file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes((samples * 32_767).clip(-32_768, 32_767).astype("<i2").tobytes())
    return folder


def measured(folder: Path, n_clips: int) -> tuple[Cost, Cost]:
    """Time and memory of `train` and `predict` on a corpus of `n_clips`, with an empty cache."""
    say(f"{n_clips:,} clips: making them")
    data = synthesise(folder / "sounds", n_clips)
    env = {"EARSHOT_CACHE": str(folder / "cache")}
    changes = [option for change in CHANGES for option in ("--set", change)]
    say(f"{n_clips:,} clips: train")
    train = cost(
        earshot("train", data, "-o", folder / "run", "--device", "cpu", "--quiet", *changes), env=env
    )
    say(f"{n_clips:,} clips: {train.seconds:.0f} s, {mib(train.peak_bytes)}; predict")
    outputs = ("-o", folder / "predictions.csv", "--device", "cpu", "--quiet")
    predict = cost(earshot("predict", folder / "run" / "model", data, *outputs), env=env)
    say(f"{n_clips:,} clips: {predict.seconds:.0f} s, {mib(predict.peak_bytes)}")
    return train, predict


def say(text: str) -> None:
    """Progress for the one who waits."""
    print(text, file=sys.stderr, flush=True)


def main(*, few: int = 4_000, many: int = 40_000) -> str:
    """The table of peak memory and ratios."""
    spent = {}
    for n_clips in (few, many):
        with tempfile.TemporaryDirectory() as name:
            spent[n_clips] = measured(Path(name), n_clips)
    rows = []
    for i, command in enumerate(("train", "predict")):
        small, large = (spent[n][i] for n in (few, many))
        ratio = large.peak_bytes / small.peak_bytes
        shown = (f"{mib(each.peak_bytes)} ({each.seconds:.0f} s)" for each in (small, large))
        rows.append((f"`earshot {command}`", *shown, f"{ratio:.2f}x", "<= 1.5x"))
    header = ("peak memory", f"{few:,} clips", f"{many:,} clips", "ratio", "target")
    return table(header, rows, note="Memory is that of the largest process of the command.")


if __name__ == "__main__":
    print(main())
