"""From a table of clips to their audio: decoded once, the unreadable named, the rest ready to train on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earshot.audio.store import AudioStore, Outcome, Segment
from earshot.audio.windows import Clipbank
from earshot.data.clips import Clips
from earshot.data.splits import merge_duplicates
from earshot.errors import DataError
from earshot.monitor import Monitor
from earshot.recipe import AudioConfig

_AUTO_WINDOW_S = (0.5, 5.0)


@dataclass(frozen=True)
class Heard:
    """Clips that could be decoded and their audio, beside all clips that were asked for and what came of each.

    `contents` [N] are hashes of the clips' files; clips of the same content are in one group.
    """

    clips: Clips
    view: Clipbank
    contents: list[str]
    asked: Clips
    outcomes: list[Outcome]

    @property
    def problems(self) -> list[dict[str, str]]:
        """Clips that failed or were accepted with a warning, for report and console."""
        return [
            {"id": name, "status": o.status, "reason": o.reason, "message": o.message}
            for name, o in zip(self.asked.ids, self.outcomes, strict=True)
            if o.status != "ok"
        ]

    @property
    def n_failed(self) -> int:
        """How many clips could not be read."""
        return sum(not o.accepted for o in self.outcomes)


def hear(clips: Clips, audio: AudioConfig, *, monitor: Monitor, store_root: Path | None = None) -> Heard:
    """Decodes every clip into the store and keeps those that could be read.

    Raises:
        DataError: none could.
    """
    limits = audio.limits.decode_limits()
    store = AudioStore(audio.rate_hz, root=store_root, limits=limits, quality=audio.resampler)
    segments = [Segment(path, start, end) for path, start, end in clips.segments()]
    outcomes = store.ensure(segments, progress=lambda n, total: monitor.progress("decoding", n, total))
    heard = [o for o in outcomes if o.accepted]
    if not heard:
        first = outcomes[0].message if outcomes else "there is no clip"
        raise DataError(f"data: none of the {len(outcomes)} clips could be read. The first: {first}")
    kept = clips.subset(np.array([o.accepted for o in outcomes], dtype=bool))
    contents = [o.content for o in heard]
    return Heard(merge_duplicates(kept, contents), store.view(heard), contents, clips, outcomes)


def window_samples(audio: AudioConfig, n_samples: NDArray[np.int64]) -> tuple[int, int]:
    """Window and hop in samples; "auto" is the 90 % quantile of these lengths within 0.5 to 5 s."""
    if audio.window_s == "auto":
        window_s = float(np.clip(np.quantile(n_samples, 0.9) / audio.rate_hz, *_AUTO_WINDOW_S))
    else:
        window_s = float(audio.window_s)
    length = round(window_s * audio.rate_hz)
    return length, min(length, round(audio.hop_s * audio.rate_hz)) if audio.hop_s else length
