from __future__ import annotations

import soundfile

from .sounds import RATE_HZ


def written(path, samples, *, rate_hz=RATE_HZ, subtype="FLOAT"):
    soundfile.write(path, samples, rate_hz, subtype=subtype)
    return path
