"""Synthetic sounds that every bundle must score as it did when it was made.

They are made of arithmetic alone, so that no recording travels with a model, and they are rounded to 16 bit, so
that every machine makes the same samples. Where a model skips quiet windows, or scores clips otherwise than by the
mean of their windows, it also scores them in a row, as one long clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

import earshot
from earshot.audio.windows import to_int16
from earshot.errors import BundleError, complaint
from earshot.models.member import NetworkMember

if TYPE_CHECKING:
    from earshot.deploy.bundle import Bundle

GOLDEN_TOLERANCE = 1e-3
_DURATION_S = 0.5
_N_IN_A_ROW = 4


def golden_clips(rate_hz: int) -> list[NDArray[np.int16]]:
    """Silence, a rising tone, noise bursts and clicks, half a second each. Shape: int16 [T] each."""
    n = int(_DURATION_S * rate_hz)
    t = np.arange(n) / rate_hz
    sweep = 0.5 * np.sin(2 * np.pi * (200.0 * t + 0.5 * (0.3 * rate_hz - 200.0) / _DURATION_S * t**2))
    bursts = 0.3 * (_noise(n) - 0.5) * (np.floor(t * 8) % 2)
    clicks = np.where(np.arange(n) % (rate_hz // 10) == 0, 0.8, 0.0)
    return [to_int16(x.astype(np.float32)) for x in (np.zeros(n), sweep, bursts, clicks)]


def _noise(n: int) -> NDArray[np.float64]:
    """Uniform noise in [0, 1) from a linear congruential generator (Numerical Recipes' constants)."""
    values = np.empty(n, np.uint32)
    state = 1
    for i in range(n):
        state = (1_664_525 * state + 1_013_904_223) & 0xFFFFFFFF
        values[i] = state
    return values / 2.0**32


def golden_bytes(bundle: Bundle) -> bytes:
    """The content of golden.safetensors: the sounds, and what the bundle says of them."""
    clips = np.stack(golden_clips(bundle.rate_hz))
    return safetensors.numpy.save({"clips": clips, "probs": _in_fp32(bundle, list(clips))})


def check_golden(bundle: Bundle, folder: Path) -> None:
    """Scores the golden sounds of a model folder.

    Raises:
        BundleError: they cannot be read, or the bundle says something else of them than it did when it was saved.
    """
    try:
        golden = safetensors.numpy.load((folder / "golden" / "golden.safetensors").read_bytes())
        clips, wanted = golden["clips"], golden["probs"]
        if clips.dtype != np.int16 or clips.ndim != 2 or not clips.size:
            raise ValueError(f"{clips.dtype} {clips.shape}; expected int16 [n, T]")
    except (SafetensorError, KeyError, ValueError) as error:
        raise BundleError(f"{folder}: the golden sounds cannot be read ({error}). Train again.") from error
    try:
        got = _in_fp32(bundle, list(clips))
    except (ValueError, RuntimeError, TypeError, AttributeError, IndexError) as error:
        raise BundleError(f"{folder}: the model does not fit together ({error}). Train again.") from error
    off = float(np.abs(got - wanted).max()) if got.shape == wanted.shape else float("inf")
    if not off <= GOLDEN_TOLERANCE:
        raise BundleError(
            complaint(
                folder,
                "golden probability error",
                off,
                f"at most {GOLDEN_TOLERANCE:g}",
                f"This installation (earshot {earshot.__version__}, torch {torch.__version__}) does not hear "
                f"as the one that trained (earshot {bundle.config.earshot_version}, torch "
                f"{bundle.config.torch_version}); install those versions or train again.",
            )
        )


def _long_clips(bundle: Bundle, clips: Sequence[NDArray[np.int16]]) -> list[NDArray[np.int16]]:
    """The golden sounds in a row, a window each, one of them silent; none where windows are plain means."""
    if bundle.config.gate.is_open and bundle.config.window_score == "mean":
        return []
    return [np.concatenate([np.resize(clip, bundle.config.window_samples) for clip in clips[:_N_IN_A_ROW]])]


def _in_fp32(bundle: Bundle, clips: Sequence[NDArray[np.int16]]) -> NDArray[np.float32]:
    """Probabilities [N, K] in full precision, which agree across machines better than bf16 does."""
    networks = [m for family in bundle.families.values() for m in family if isinstance(m, NetworkMember)]
    kept = [m.precision for m in networks]
    try:
        for network in networks:
            network.precision = "fp32"
        return np.stack(list(bundle.score([*clips, *_long_clips(bundle, clips)])))
    finally:
        for network, precision in zip(networks, kept, strict=True):
            network.precision = precision
