"""Sound files as a model hears them: at its rate and resampling quality, within its limits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from earshot.audio.store import Outcome, Segment
from earshot.audio.stream import decode_stream
from earshot.data.clips import Clips
from earshot.deploy.bundle import Bundle


def decoded(bundle: Bundle, clips: Clips) -> Iterator[tuple[Outcome, NDArray[np.int16] | None]]:
    """Decodes each clip, in order; one at a time is in memory.

    Yields:
        Its outcome, and its samples int16 [T] at the bundle's rate; None where it failed.
    """
    return decode_stream(
        [Segment(path, start_s, end_s) for path, start_s, end_s in clips.segments()],
        rate_hz=bundle.rate_hz,
        quality=bundle.config.resampler,
        limits=bundle.config.limits.decode_limits(),
    )
