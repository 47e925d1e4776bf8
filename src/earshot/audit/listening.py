"""One pass over the decoded clips: figures, fingerprint, content and features of each, kept part by part.

A part is a few hundred clips in one file, named after what is in them, so that a pass that was stopped goes on
where it was and a second audit of the same clips reads no sample. Memory holds samples of a few clips, features of
those that models are fitted on, and fingerprints and figures of all (2 kB a clip of 5 s).
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from earshot.audio.fingerprint import Words, fingerprint
from earshot.audio.measure import Measurements, measure, spectra
from earshot.audio.statistics import FeatureStatistics, StatisticsConfig
from earshot.audio.threads import over_rows
from earshot.audio.windows import Clipbank, to_float
from earshot.files import write_whole
from earshot.monitor import Monitor

_VERSION = 2  # raise when the same samples would give other figures
_PART = 200
_MIN_FEATURE_S = 0.5  # shorter clips are repeated
_MAX_FEATURE_S = 60.0


class Source(NamedTuple):
    """What a clip is made of: equal names promise equal samples. `rate_hz` is that of its file."""

    name: str
    rate_hz: int


@dataclass(frozen=True)
class Listened:
    """Of N clips: figures [N, 11], fingerprints, hashes of the samples; features [M, D] of those asked for."""

    figures: NDArray[np.float64]
    prints: list[Words]
    digests: list[str]
    features: NDArray[np.float32]

    def column(self, name: str) -> NDArray[np.float64]:
        """One of the figures, by its name in `Measurements`. Shape: [N]."""
        return self.figures[:, Measurements._fields.index(name)]


def listen(
    view: Clipbank,
    sources: Sequence[Source],
    *,
    rate_hz: int,
    folder: Path,
    monitor: Monitor,
    wanted: NDArray[np.bool_] | None = None,
) -> Listened:
    """Listens to every clip once.

    Args:
        view: N clips, at least one.
        sources: what each is made of, [N].
        folder: where finished parts are kept.
        wanted: clips whose features are kept in memory, [N]; all without.
    """
    ear = FeatureStatistics(StatisticsConfig(), rate_hz).eval()
    wanted = np.ones(len(view), dtype=bool) if wanted is None else wanted
    parts, kept = [], set()
    for first in range(0, len(view), _PART):
        rows = range(first, min(first + _PART, len(view)))
        path = folder / f"{_key([sources[i] for i in rows], rate_hz)}.npz"
        part = _load(path)
        if part is None:
            part = _hear_all(view, rows, sources, rate_hz=rate_hz, ear=ear)
            _save(path, part)
        part["features"] = part["features"][wanted[rows.start : rows.stop]]
        parts.append(part)
        kept.add(path)
        monitor.progress("listening", rows.stop, len(view))
    for old in set(folder.glob("*.npz")) - kept:
        old.unlink(missing_ok=True)
    return Listened(
        np.concatenate([part["figures"] for part in parts]),
        [words for part in parts for words in np.split(part["words"], np.cumsum(part["lengths"])[:-1])],
        [str(each) for part in parts for each in part["digests"]],
        np.concatenate([part["features"] for part in parts]),
    )


def _hear_one(
    samples: NDArray[np.int16], rate_hz: int, source_rate_hz: int, *, ear: FeatureStatistics
) -> tuple[Any, ...]:
    heard = spectra(samples, rate_hz)
    length = max(len(samples), round(_MIN_FEATURE_S * rate_hz))
    wave = np.resize(samples, min(length, round(_MAX_FEATURE_S * rate_hz)))
    with torch.inference_mode():
        features = ear(torch.from_numpy(to_float(wave[None])))[0].numpy()
    return (
        measure(samples, rate_hz, heard.mean, source_rate_hz=source_rate_hz),
        fingerprint(heard.bands),
        hashlib.blake2b(samples.tobytes(), digest_size=16).hexdigest(),
        features.astype(np.float16),
    )


def _hear_all(
    view: Clipbank, rows: range, sources: Sequence[Source], *, rate_hz: int, ear: FeatureStatistics
) -> dict[str, NDArray[Any]]:
    heard: list[tuple[Any, ...]] = [()] * len(rows)

    def hear_one(place: int) -> None:
        i = rows[place]
        heard[place] = _hear_one(view.get(i), rate_hz, sources[i].rate_hz, ear=ear)

    over_rows(hear_one, len(rows))
    figures, words, digests, features = zip(*heard, strict=True)
    return {
        "figures": np.array(figures, np.float64),
        "words": np.concatenate(words),
        "lengths": np.array([len(each) for each in words], np.int64),
        "digests": np.array(digests),
        "features": np.stack(features),
    }


def _save(path: Path, part: dict[str, NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **part)
    write_whole(path, buffer.getvalue())


def _load(path: Path) -> dict[str, NDArray[Any]] | None:
    """A part that is kept, or None where it is not or is damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return {name: file[name] for name in ("figures", "words", "lengths", "digests", "features")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _key(sources: Sequence[Source], rate_hz: int) -> str:
    return hashlib.blake2b(
        repr((_VERSION, rate_hz, [tuple(each) for each in sources])).encode(), digest_size=16
    ).hexdigest()
