"""What a model says of each window of its files: a row a window, streamed.

Conventions: windows are those that the model scores a clip by, quiet ones left out where it skips them. Times are
seconds from the start of the file. Probabilities are those of the whole model, calibrated as they are for clips.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earshot.audio.reasons import WARNINGS
from earshot.audio.store import Outcome
from earshot.audio.windows import cut, heard_windows
from earshot.data.clips import Clips
from earshot.deploy.bundle import Bundle, Judgement
from earshot.deploy.choices import Chooser
from earshot.deploy.decoded import decoded
from earshot.deploy.predict import Progress, Row, prediction_row


@dataclass(frozen=True)
class _Part:
    """A window of file number `i`, or a file that could not be read."""

    i: int
    outcome: Outcome
    start_s: float
    end_s: float | None


def window_rows(
    bundle: Bundle,
    clips: Clips,
    *,
    chooser: Chooser,
    top: int | None = None,
    on_progress: Progress = lambda done, total: None,
) -> Iterator[Row]:
    """Rows as of `prediction_rows`, for each window of each clip in order.

    A file that could not be read has one row with the reason.
    """
    names = clips.ids
    parts: deque[_Part] = deque()

    def cuts() -> Iterator[NDArray[np.int16]]:
        for part, window in _windows(bundle, clips):
            parts.append(part)
            if window is not None:
                yield window

    def row_of(part: _Part, judgement: Judgement | None) -> Row:
        times = (part.start_s, part.end_s)
        return prediction_row(names[part.i], times, part.outcome, judgement, chooser=chooser, top=top)

    alone = bundle.by_window()
    said = alone.judge(cuts()) if chooser.needs_novelty else (Judgement(p, None) for p in alone.score(cuts()))
    for judgement in said:
        while not parts[0].outcome.accepted:
            yield row_of(parts.popleft(), None)
        part = parts.popleft()
        on_progress(part.i, len(clips))
        yield row_of(part, judgement)
    for part in parts:
        yield row_of(part, None)
    on_progress(len(clips), len(clips))


def _windows(bundle: Bundle, clips: Clips) -> Iterator[tuple[_Part, NDArray[np.int16] | None]]:
    """Each window with its place; None for a file that could not be read."""
    config = bundle.config
    times = [(start_s, end_s) for _, start_s, end_s in clips.segments()]
    for i, (outcome, samples) in enumerate(decoded(bundle, clips)):
        first_s, last_s = times[i]
        if samples is None:
            yield _Part(i, outcome, first_s, last_s), None
            continue
        length, hop = config.window_samples, config.hop_samples
        for start in heard_windows(samples, length=length, hop=hop, gate=config.gate).starts:
            end = min(int(start) + length, len(samples))
            times_s = (round(first_s + at / config.rate_hz, 6) for at in (int(start), end))
            window = cut(samples, int(start), length)
            yield _Part(i, outcome if window.any() else _silent(outcome), *times_s), window


def _silent(outcome: Outcome) -> Outcome:
    """What became of a file, for a window of it without a sound."""
    if "silent" in outcome.reason.split(";"):
        return outcome
    reason = ";".join(filter(None, [outcome.reason, "silent"]))
    message = "; ".join(filter(None, [outcome.message, WARNINGS["silent"]]))
    return replace(outcome, status="warning", reason=reason, message=message)
