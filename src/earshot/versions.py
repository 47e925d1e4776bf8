"""The versions on which sounds, features and weights depend: what is kept under other ones is made anew."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import soundfile
import soxr
import torch

import earshot


def versions() -> dict[str, str]:
    """Version of each library that a result depends on.

    >>> sorted(versions())
    ['earshot', 'libsndfile', 'numpy', 'scikit-learn', 'soxr', 'torch']
    """
    return {
        "earshot": earshot.__version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "numpy": np.__version__,
        "scikit-learn": version("scikit-learn"),
        "soxr": soxr.__version__,
        "torch": torch.__version__,
    }
