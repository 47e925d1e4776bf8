"""Sounds and spectrograms small enough to be part of a page, within a bound on its size.

Conventions: samples are int16 [T] at `rate_hz`; what is embedded is base64 text, whose length is what counts.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from PIL import Image

from earshot.audio.features import FEATURES
from earshot.audio.log_mel import LogMelConfig
from earshot.report.evidence import Evidence

MAX_SECONDS = 10.0  # of a clip that can be heard and seen
SOUND_RATE_HZ = 24_000  # all that lies below 12 kHz, at half the size of 48 kHz
_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000)  # that MP3 knows
# Type, container, codec, level: MP3 plays in every browser; a coarser level than 0.7 cuts off at 7.5 kHz.
_CODECS = (("audio/mpeg", "MP3", "MPEG_LAYER_III", 0.7), ("audio/ogg", "OGG", "VORBIS", 0.8))
_N_COLUMNS, _N_MELS = 320, 72
_RANGE_DB = 70.0
_PICTURE_QUALITY = 55
_SHARE_FOR_WORDS = 0.4  # of the bound, at most
_SHARE_FOR_PICTURES = 0.2  # that sounds leave alone
_SMALLEST_ROOM = 2_000  # characters: less holds no picture


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """What a report may hold.

    Args:
        sounds: False leaves sounds out; spectrograms stay.
        max_mb: of the whole page, in 10^6 bytes.
    """

    sounds: bool = True
    max_mb: float = 15.0


def embedded(evidence: Evidence, embedding: Embedding, *, n_bytes: int) -> dict[str, Any]:
    """The clips with sounds and pictures as far as `n_bytes` go: JSON-ready.

    Words come first, then picture and sound of one clip after the other, then pictures alone. What found no room is
    counted under `left_out`.
    """
    clips, used = _within(evidence.clips, int(_SHARE_FOR_WORDS * n_bytes))
    if evidence.samples is not None:
        room = _Room(n_bytes - used, sounds=embedding.sounds)
        for clip, row in zip(clips, evidence.rows, strict=False):
            if room.left < _SMALLEST_ROOM:
                break
            clip |= room.media(evidence.samples(row), evidence.rate_hz)
    kept = range(len(clips))
    return {
        "clips": clips,
        "errors": [i for i in evidence.errors if i in kept],
        "cells": {cell: [i for i in found if i in kept] for cell, found in evidence.cells.items()},
        "left_out": {
            "clips": len(evidence.clips) - len(clips),
            "sounds": sum("sound" not in clip for clip in clips),
            "pictures": sum("picture" not in clip for clip in clips),
        },
        "sounds": embedding.sounds and evidence.samples is not None,
    }


def _within(clips: Sequence[Mapping[str, Any]], n_bytes: int) -> tuple[list[dict[str, Any]], int]:
    """Copies of the first clips whose words fit, and how much they take."""
    kept: list[dict[str, Any]] = []
    used = 0
    for clip in clips:
        size = len(as_json(clip)) + 200  # what is added for its media, and where it is listed
        if used + size > n_bytes:
            break
        used += size
        kept.append(dict(clip))
    return kept, used


def as_json(value: Any) -> str:
    """JSON that can stand inside a script element: plain ASCII without <, > and &."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


class _Room:
    """What is left of the bound, and how much of it sounds may take."""

    def __init__(self, n_bytes: int, *, sounds: bool) -> None:
        self.left = n_bytes
        self.for_sounds = int((1 - _SHARE_FOR_PICTURES) * n_bytes) if sounds else 0

    def media(self, samples: NDArray[np.int16], rate_hz: int) -> dict[str, Any]:
        """Keys seconds, shown_s, picture, kind and sound; the last three where there is room."""
        part = samples[: round(MAX_SECONDS * rate_hz)]
        given: dict[str, Any] = {"seconds": round(len(samples) / rate_hz, 2)}
        if len(part) < len(samples):
            given["shown_s"] = MAX_SECONDS
        if not len(part):
            return given
        if self._take(picture := _text(spectrogram(part, rate_hz)), self.left):
            given["picture"] = picture
        if self.for_sounds > 0 and (coded := compressed(part, rate_hz)) is not None:
            if self._take(sound := _text(coded[1]), self.for_sounds):
                given |= {"sound": sound, "kind": coded[0]}
            else:
                self.for_sounds = 0  # clips that tell less get none either
        return given

    def _take(self, text: str, limit: int) -> bool:
        if len(text) > min(limit, self.left):
            return False
        self.left -= len(text)
        self.for_sounds -= len(text)
        return True


def _text(body: bytes) -> str:
    return base64.b64encode(body).decode("ascii")


def spectrogram(samples: NDArray[np.int16], rate_hz: int) -> bytes:
    """A clip as WebP: time along x, mel-scaled frequency up to half the rate along y, 70 dB from black to bright.

    The loudest cell is the brightest: quiet clips can be seen as well as loud ones.
    """
    n_fft = int(2 ** np.clip(round(np.log2(0.04 * rate_hz)), 8, 12))  # near 40 ms
    front_end = _front_end(rate_hz, n_fft, max(len(samples) // _N_COLUMNS, 1))
    with torch.inference_mode():
        levels = front_end(torch.from_numpy(samples.astype(np.float32) / 32_768)[None])[0].numpy()
    share = np.clip((levels - levels.max()) / _RANGE_DB + 1, 0, 1)[::-1]
    if not samples.any():
        share = np.zeros_like(share)
    pixels = (matplotlib.colormaps["magma"](share)[..., :3] * 255).round().astype(np.uint8)
    image = Image.fromarray(pixels).resize((_N_COLUMNS, _N_MELS), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_PICTURE_QUALITY, method=2)
    return buffer.getvalue()


@cache
def _front_end(rate_hz: int, n_fft: int, hop: int) -> torch.nn.Module:
    return FEATURES["log_mel"](LogMelConfig(n_fft=n_fft, hop_length=hop, n_mels=_N_MELS), rate_hz)


def compressed(samples: NDArray[np.int16], rate_hz: int) -> tuple[str, bytes] | None:
    """A clip as MP3, or as Ogg Vorbis where this libsndfile writes no MP3: (media type, bytes).

    None where it can be written as neither.
    """
    wanted_hz = next((rate for rate in _RATES_HZ if rate >= rate_hz), SOUND_RATE_HZ)
    wave = samples.astype(np.float32) / 32_768
    if rate_hz != wanted_hz:
        wave = np.clip(soxr.resample(wave, rate_hz, wanted_hz, quality="MQ"), -1, 1)
    for kind, container, codec, level in _CODECS:
        buffer = io.BytesIO()
        try:
            soundfile.write(buffer, wave, wanted_hz, format=container, subtype=codec, compression_level=level)
        except (soundfile.LibsndfileError, ValueError):
            continue
        return kind, buffer.getvalue()
    return None
