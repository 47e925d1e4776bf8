"""How fast sounds get into the store, and crops out of it, beside a librosa loop in the same run.

Run: EARSHOT_DATA=... python -m bench.store
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import librosa
import numpy as np

from bench import data_folder, table
from earshot.audio.store import AudioStore, AudioView, Segment
from earshot.audio.windows import to_float

RATE_HZ = 32_000


def decode_rate(paths: Sequence[str], *, rate_hz: int = RATE_HZ, n_rounds: int = 3) -> dict[str, float]:
    """Files/s into an empty cache, workers' start and fsync included, and of librosa.load (soxr_hq, as here).

    The two take turns; the median round of each counts.
    """
    for path in paths:
        Path(path).read_bytes()  # both find the files in the page cache
    librosa.load(paths[0], sr=rate_hz)  # its imports are no part of the loop
    ours, theirs = [], []
    for _ in range(n_rounds):
        with tempfile.TemporaryDirectory() as root:
            began_s = time.perf_counter()
            AudioStore(rate_hz, root=Path(root)).ensure([Segment(path) for path in paths])
            ours.append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        for path in paths:
            librosa.load(path, sr=rate_hz)
        theirs.append(time.perf_counter() - began_s)
    return {
        "store": len(paths) / statistics.median(ours),
        "librosa": len(paths) / statistics.median(theirs),
    }


def warm_rate(paths: Sequence[str], root: Path, *, rate_hz: int = RATE_HZ) -> tuple[float, AudioView]:
    """Files/s of opening a filled cache, and the view on it."""
    segments = [Segment(path) for path in paths]
    AudioStore(rate_hz, root=root).ensure(segments)
    store = AudioStore(rate_hz, root=root)
    began_s = time.perf_counter()
    view = store.view(store.ensure(segments))
    return len(paths) / (time.perf_counter() - began_s), view


def crop_rate(
    view: AudioView, *, crop_s: float = 5.0, batch: int = 32, seconds: float = 2.0
) -> dict[str, float]:
    """Random crops/s on one thread: into an array that is kept, and as fresh float batches, as training."""
    length = round(crop_s * view.rate_hz)
    kept = np.zeros((batch, length), np.int16)

    def read(out: np.ndarray, indices: np.ndarray, starts: np.ndarray) -> np.ndarray:
        for row, index, start in zip(out, indices.tolist(), starts.tolist(), strict=True):
            view.fill(row, index, start)
        return out

    ways: dict[str, Callable[[np.ndarray, np.ndarray], object]] = {
        "int16, kept array": lambda i, s: read(kept, i, s),
        "float32, as training": lambda i, s: to_float(read(np.empty_like(kept), i, s)),
    }
    rng = np.random.default_rng(0)
    rates = {}
    for name, crop in ways.items():
        n_crops, began_s = 0, time.perf_counter()
        while time.perf_counter() - began_s < seconds:
            indices = rng.integers(0, len(view), batch)
            crop(indices, rng.integers(0, np.maximum(0, view.n_samples[indices] - length) + 1))
            n_crops += batch
        rates[name] = n_crops / (time.perf_counter() - began_s)
    return rates


def main() -> str:
    """The table of files/s and crops/s."""
    paths = sorted(str(path) for path in data_folder("esc10").rglob("*.ogg"))
    cold = decode_rate(paths)
    with tempfile.TemporaryDirectory() as root:
        warm, view = warm_rate(paths, Path(root))
        crops = crop_rate(view)
    ratio = cold["store"] / cold["librosa"]
    rows = [
        ("cold: into the store", f"{cold['store']:.1f} files/s", f"{ratio:.2f}x", ">= 1.8x"),
        ("cold: a loop of `librosa.load`", f"{cold['librosa']:.1f} files/s", "1.00x", ""),
        ("warm: open the store", f"{warm:,.0f} files/s", "", ""),
        *(
            (f"warm: 5 s crops, {name}", f"{rate:,.0f} crops/s", "", ">= 20,000")
            for name, rate in crops.items()
        ),
    ]
    note = f"{len(paths)} Ogg files to {RATE_HZ} Hz at soxr HQ."
    return table(("store", "rate", "against librosa", "target"), rows, note=note)


if __name__ == "__main__":
    print(main())
