"""Bounded blocks of mono samples out of anything libsndfile reads, with the limits enforced on every block.

Conventions: blocks are [T, C] as libsndfile delivers them and [T] after the mean over channels;
positions are frames.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

import numpy as np
import soundfile

from earshot.audio import sphere
from earshot.audio.reasons import failure
from earshot.audio.wav import ContainerError, Spliced, examine, repaired
from earshot.errors import DecodeError

_BLOCK_VALUES = 2**18  # 1 MiB of float32 a block, all channels: 6 s of 44.1 kHz
_PROBE_FRAMES = 256  # asked for beyond a stated length; libsndfile zeroes what it cannot fill, so no more
_MAX_PEAK = 8.0  # +18 dB: beyond any honest overshoot; integers saved as floats lie far above
_USUAL_CHANNELS = 8
_LOSSY_SUBTYPES = {"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "OPUS", "VORBIS"}  # overshoot is normal
_NO_FRAMES = 2**63 - 1  # libsndfile's length of a stream that states none
_MAX_FLAC_FRAMES_PER_BYTE = 2**13  # a FLAC frame of at least 8 bytes holds at most 2^16 - 1 samples
_OPEN_ERRORS = {1: "not_audio", 24: "bad_rate", 32: "unreadable", 33: "too_many_channels"}
_LOG_LENGTH = re.compile(r"^Length : (\d+)", re.MULTILINE)
_LOG_SHORTER = re.compile(r"(?im)^ *(?:SSND|FORM|riff|data|Data Size)\s*:\s*(\d+) \(should be (\d+)\)")
_MAX_PAD = 8  # bytes; chunks are padded to 2 or 8, and not every writer does
_TELLTALE_FORMATS = {"AIFF", "AU", "CAF", "OGG", "W64"}


@dataclass(frozen=True)
class DecodeLimits:
    """What one decoded sound may cost. `max_bytes` counts float32 samples of all channels."""

    max_seconds: float = 600.0
    max_bytes: int = 256 * 2**20
    max_channels: int = 32
    min_rate_hz: int = 1_000
    max_rate_hz: int = 768_000


def open_sound(handle: int | IO[bytes], where: str, limits: DecodeLimits) -> tuple[SequentialFile, set[str]]:
    """Opens a descriptor or binary file object; also returns warnings about its container.

    Raises:
        DecodeError: no sound, a damaged header, or a shape beyond the limits.
    """
    readable, warnings = _contained(handle, where, limits)
    try:
        sound = SequentialFile(readable, closefd=False)
    except (soundfile.LibsndfileError, OSError, EOFError) as error:
        reason = _OPEN_ERRORS.get(getattr(error, "code", 0), "unreadable")
        text = getattr(error, "error_string", str(error))
        raise failure(reason, where, "file", text, "a sound file") from error
    try:
        _check_header(sound, where, limits)
    except DecodeError:
        sound.close()
        raise
    return sound, warnings


def _contained(handle: int | IO[bytes], where: str, limits: DecodeLimits) -> tuple[int | IO[bytes], set[str]]:
    """What libsndfile shall read: the handle itself, or a WAV or SPHERE file behind a true header."""
    stream: IO[bytes] = open(handle, "rb", closefd=False) if isinstance(handle, int) else handle  # noqa: SIM115
    try:
        if not isinstance(handle, int) and stream.seek(0, os.SEEK_END) == 0:
            raise failure("empty", where, "size", 0, "a sound file")
        wav = examine(stream)
        nist = sphere.examine(stream) if wav is None else None
    except ContainerError as error:
        raise failure(error.reason, where, error.field_name, error.value, error.rule) from error
    if known := wav or nist:
        _check_shape(known.channels, known.rate_hz, where, limits)
    warnings = set(known.warnings) if known else set()
    if wav is not None and wav.needs_repair:
        return cast(IO[bytes], repaired(stream, wav)), warnings
    if nist is not None:
        return cast(IO[bytes], sphere.rewritten(stream, nist)), warnings
    if not isinstance(handle, int):
        return cast(IO[bytes], Spliced(stream, n_bytes=stream.seek(0, os.SEEK_END))), warnings
    os.lseek(handle, 0, os.SEEK_SET)  # the stream's own seek(0) may stay within its buffer
    return handle, warnings


def _check_shape(n_channels: int, rate_hz: int, where: str, limits: DecodeLimits) -> None:
    if n_channels < 1:
        raise failure("unreadable", where, "channels", n_channels, "at least 1")
    if n_channels > limits.max_channels:
        rule = f"at most {limits.max_channels}"
        raise failure("too_many_channels", where, "channels", n_channels, rule)
    if not limits.min_rate_hz <= rate_hz <= limits.max_rate_hz:
        rule = f"{limits.min_rate_hz} to {limits.max_rate_hz} Hz"
        raise failure("bad_rate", where, "sample rate", rate_hz, rule)


def _check_header(sound: soundfile.SoundFile, where: str, limits: DecodeLimits) -> None:
    """Shape within the limits; a FLAC length that so many bytes cannot hold is damage, not optimism."""
    _check_shape(sound.channels, sound.samplerate, where, limits)
    found = _LOG_LENGTH.search(sound.extra_info) if sound.format == "FLAC" else None
    if found and _NO_FRAMES > sound.frames > int(found[1]) * _MAX_FLAC_FRAMES_PER_BYTE:
        raise failure(
            "unreadable", where, "frames in the header", sound.frames, f"what {found[1]} bytes can hold"
        )


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that soundfile never seeks on its own accord.

    soundfile seeks to where it already is after every read, which fails on FLAC of unknown length.
    """

    def seekable(self) -> bool:
        return False


class Reader:
    """Yields mono blocks of the wanted range and enforces the limits on every one of them."""

    def __init__(self, sound: soundfile.SoundFile, where: str, limits: DecodeLimits) -> None:
        self._sound, self._where, self._limits = sound, where, limits
        self.rate_hz = int(sound.samplerate)
        self._n_block = max(256, _BLOCK_VALUES // sound.channels)
        self._position = self._n_read = 0
        self.peak = 0.0
        self._ended = self._cut = False

    def blocks(self, start_s: float, end_s: float | None) -> Iterator[np.ndarray]:
        """Float32 [T] blocks of [start_s, end_s)."""
        start = round(start_s * self._sound.samplerate)
        stop = None if end_s is None else max(start + 1, round(end_s * self._sound.samplerate))
        self._skip_to(start)
        while stop is None or self._position < stop:
            block = self._read(self._n_block if stop is None else min(self._n_block, stop - self._position))
            if len(block) == 0:
                break
            self._n_read += len(block)
            self._check(block)
            yield _mono(block)
        self._cut = stop is not None and self._position < stop - round(0.05 * self._sound.samplerate)
        if self._n_read == 0 and start > 0:
            raise failure("bad_range", self._where, "start_s", start_s, "a time inside the sound")
        if self._n_read == 0:
            raise failure("empty", self._where, "length", 0, "at least one sample that can be decoded")

    def warnings(self) -> set[str]:
        sound, claimed = self._sound, self._sound.frames
        found = {
            "clipped": self.peak > 1.0 and sound.subtype not in _LOSSY_SUBTYPES,
            "many_channels": sound.channels > _USUAL_CHANNELS,
            "no_length": claimed >= _NO_FRAMES,
            "one_sample": self._n_read == 1,
            "partial": (self._ended and self._position < claimed < _NO_FRAMES) or self._broken_off(),
            "range_cut": self._cut,
        }
        return {code for code, applies in found.items() if applies}

    def _broken_off(self) -> bool:
        """libsndfile's log is the only place where these containers tell that their end is missing."""
        log = self._sound.extra_info if self._sound.format in _TELLTALE_FORMATS else ""
        shorter = any(int(a) > int(b) + _MAX_PAD for a, b in _LOG_SHORTER.findall(log))
        return shorter or "Last page lacks an end-of-stream bit" in log

    def _skip_to(self, start: int) -> None:
        if start == 0:
            return
        try:
            self._position = self._sound.seek(start) if start < self._sound.frames < _NO_FRAMES else 0
        except soundfile.LibsndfileError:
            self._position = self._sound.seek(0)
        while self._position < start and len(self._read(min(self._n_block, start - self._position))):
            pass

    def _read(self, n_frames: int) -> np.ndarray:
        """Up to `n_frames` as float32 [T, C]; fewer at the end, or where a decoder gives up."""
        n_stated = self._sound.frames - self._position
        n_frames = min(n_frames, max(n_stated, _PROBE_FRAMES))
        block = np.empty((n_frames, self._sound.channels), np.float32)
        try:
            block = self._sound.read(out=block)
        except soundfile.LibsndfileError as error:
            block = block[: max(0, self._sound.tell() - self._position)]  # what came before the damage
            if self._position + len(block) == 0:
                text = error.error_string
                raise failure("unreadable", self._where, "data", text, "data that decode") from error
        self._position += len(block)
        self._ended = len(block) < n_frames
        return block

    def _check(self, block: np.ndarray) -> None:
        limits, rate_hz = self._limits, self._sound.samplerate
        if self._n_read > limits.max_seconds * rate_hz:
            raise failure("too_long", self._where, "length", "more", f"at most {limits.max_seconds:g} s")
        if self._n_read * self._sound.channels * 4 > limits.max_bytes:
            rule = f"at most {limits.max_bytes / 2**20:g} MiB decoded"
            raise failure("too_long", self._where, "size", "more", rule)
        peak = max(float(block.max()), -float(block.min()))  # NaN and Inf survive both
        if not np.isfinite(peak):
            raise failure("not_finite", self._where, "samples", peak, "finite numbers")
        if peak > _MAX_PEAK:
            raise failure("out_of_range", self._where, "peak", peak, "samples within -1 to 1")
        self.peak = max(self.peak, peak)

    def check_result(self, n_bytes: int) -> None:
        """The resampled sound (float32, mono) has the same bound in bytes as the decoded one."""
        if n_bytes > self._limits.max_bytes:
            rule = f"at most {self._limits.max_bytes / 2**20:g} MiB"
            raise failure("too_long", self._where, "size after resampling", "more", rule)


def _mono(block: np.ndarray) -> np.ndarray:
    """Mean over channels: [T, C] -> [T]."""
    if block.shape[1] == 1:
        return block[:, 0]
    mono: np.ndarray = block @ np.full(block.shape[1], 1 / block.shape[1], np.float32)
    return mono
