"""Decoded sounds in order, for work that passes over each once: nothing stays on disk, memory holds one sound.

Sounds go through the same worker processes and the same 16-bit samples as in training, a share of the files at
a time in a temporary store.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earshot.audio.decode import DecodeLimits
from earshot.audio.store import AudioStore, Outcome, Segment

_MAX_FILES = 512
# Compressed sound grows about tenfold: a share takes some 600 MB of temporary disk at the most.
_MAX_BYTES = 64 * 2**20


def decode_stream(
    segments: Sequence[Segment], *, rate_hz: int, quality: str = "HQ", limits: DecodeLimits | None = None
) -> Iterator[tuple[Outcome, NDArray[np.int16] | None]]:
    """Decodes each segment, in order.

    Yields:
        Its outcome, and its samples int16 [T]; None where it failed.
    """
    for share in _shares(segments):
        with tempfile.TemporaryDirectory(prefix="earshot-") as folder:
            store = AudioStore(rate_hz, root=Path(folder), quality=quality, limits=limits or DecodeLimits())
            outcomes = store.ensure(share)
            view = store.view([o for o in outcomes if o.accepted])
            accepted = 0
            for outcome in outcomes:
                yield outcome, view.get(accepted).copy() if outcome.accepted else None
                accepted += outcome.accepted


def _shares(segments: Sequence[Segment]) -> Iterator[Sequence[Segment]]:
    start = n_bytes = 0
    for i, segment in enumerate(segments):
        size = _size_of(segment.path)
        if i > start and (i - start == _MAX_FILES or n_bytes + size > _MAX_BYTES):
            yield segments[start:i]
            start, n_bytes = i, 0
        n_bytes += size
    if start < len(segments):
        yield segments[start:]


def _size_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
