"""What the tests of the store compare: every sound of a view with every file of a folder."""

from __future__ import annotations

import time

import numpy as np

from earshot.audio.decode import decode
from earshot.audio.store import Segment


def settle(folder):
    """Sets times back: a file changed a moment ago is hashed again, for it may change once more unseen."""
    time.sleep(0.15)
    return [Segment(str(path)) for path in sorted(folder.iterdir())]


def content_of(view):
    return [view.get(i).tobytes() for i in range(len(view))]


def expected(folder):
    paths = sorted(folder.iterdir())
    return [np.rint(decode(path).samples * 32_768).astype(np.int16).tobytes() for path in paths]
