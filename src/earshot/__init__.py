"""earshot: from a folder of labelled sounds to a classifier that can be trusted, explained and shipped.

Names are loaded on first use, so that `import earshot` costs milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earshot.classifier import AudioClassifier as AudioClassifier
    from earshot.data.clips import Clips as Clips
    from earshot.data.readers import read_clips as read_clips
    from earshot.deploy.bundle import Bundle as Bundle

__version__ = "0.1.0"

_HOMES = {
    "AudioClassifier": "earshot.classifier",
    "Bundle": "earshot.deploy.bundle",
    "Clips": "earshot.data.clips",
    "read_clips": "earshot.data.readers",
}

__all__ = ["AudioClassifier", "Bundle", "Clips", "__version__", "read_clips"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'earshot' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
