"""The one door for sound: an untrusted file in, mono float32 samples at a known rate out.

Conventions: blocks are [T, C] as libsndfile delivers them, everything after the mean over channels is [T].
Limits hold for samples really decoded, block by block; what a header claims is never believed. A failure is a
`DecodeError` with a reason from `REASONS`; oddities that leave usable audio are codes of `WARNINGS`.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import soxr

from earshot.audio.blocks import DecodeLimits, Reader, open_sound
from earshot.audio.reasons import REASONS, WARNINGS, failure, printable
from earshot.errors import ConfigError, complaint

__all__ = ["AUDIO_EXTENSIONS", "REASONS", "WARNINGS", "DecodeLimits", "Sound", "decode"]

AUDIO_EXTENSIONS = frozenset(
    {".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd"}
    | {".sph", ".w64", ".wav", ".wave"}
)

_SILENT_PEAK = 2.0**-16  # half a step of 16-bit audio: such a sound is all zeros once stored
_QUALITIES = ("QQ", "LQ", "MQ", "HQ", "VHQ")


@dataclass(frozen=True)
class Sound:
    """One decoded sound: `samples` float32 [T] in [-1, 1], mono, at `rate_hz`."""

    samples: np.ndarray
    rate_hz: int
    source_rate_hz: int
    n_channels: int
    warnings: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz


def decode(
    source: str | os.PathLike[str] | IO[bytes] | int,
    *,
    rate_hz: int | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    limits: DecodeLimits | None = None,
    quality: str = "HQ",
) -> Sound:
    """Decodes a file, or the range [start_s, end_s) of it, to mono float32 in [-1, 1].

    Args:
        source: path, binary file object that can seek, or open descriptor (left open).
        rate_hz: rate to resample to with soxr; None keeps the file's own rate.
        start_s, end_s: range in seconds; limits then apply to the range, not to the file.
        limits: bounds on the decoded sound (default `DecodeLimits()`).
        quality: soxr's name: QQ, LQ, MQ, HQ or VHQ.

    Raises:
        DecodeError: with a key of `REASONS`, one line, the path in front.
        ConfigError: `rate_hz` is outside the limits, or `quality` is unknown.
    """
    limits = limits or DecodeLimits()
    if rate_hz is not None and not limits.min_rate_hz <= rate_hz <= limits.max_rate_hz:
        rule = f"a rate from {limits.min_rate_hz} to {limits.max_rate_hz} Hz"
        raise ConfigError(complaint("decode", "rate_hz", rate_hz, rule))
    if quality not in _QUALITIES:
        raise ConfigError(complaint("decode", "quality", quality, f"one of {', '.join(_QUALITIES)}"))
    where = printable(
        source if isinstance(source, (str, os.PathLike)) else getattr(source, "name", "<stream>")
    )
    if end_s == np.inf:
        end_s = None
    if not 0.0 <= start_s < (np.inf if end_s is None else end_s):
        raise failure("bad_range", where, "start_s, end_s", (start_s, end_s), "0 <= start_s < end_s")
    with _opened(source, where) as handle:
        return _decode_open(handle, where, rate_hz, (start_s, end_s), limits, quality)


@contextlib.contextmanager
def _opened(source: Any, where: str) -> Iterator[int | IO[bytes]]:
    """Yields what libsndfile can read: a descriptor for a path, whatever bytes that holds."""
    if not isinstance(source, (str, os.PathLike)):
        yield source
        return
    fd = open_regular(source, where)
    try:
        yield fd
    finally:
        os.close(fd)


def open_regular(path: str | os.PathLike[str], where: str) -> int:
    """Opens a regular file for reading without ever blocking on a pipe; the caller closes the descriptor."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    rule = "a regular file that this user can read"
    try:
        fd = os.open(path, flags)
    except OSError as error:
        codes = {errno.ENOENT: "missing", errno.ENOTDIR: "missing", errno.EACCES: "permission"}
        codes |= {errno.EPERM: "permission", errno.ELOOP: "not_a_file", errno.ENXIO: "not_a_file"}
        reason = "not_a_file" if Path(path).is_dir() else codes.get(error.errno or 0, "unreadable")
        raise failure(reason, where, "file", error.strerror, rule) from error
    except ValueError as error:  # a NUL byte in the name
        raise failure("missing", where, "path", str(error), rule) from error
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_size > 0:
        return fd
    os.close(fd)
    if stat.S_ISREG(status.st_mode):
        raise failure("empty", where, "size", 0, "a sound file")
    raise failure("not_a_file", where, "file", stat.filemode(status.st_mode), rule)


def _decode_open(
    handle: int | IO[bytes],
    where: str,
    rate_hz: int | None,
    range_s: tuple[float, float | None],
    limits: DecodeLimits,
    quality: str,
) -> Sound:
    sound, warnings = open_sound(handle, where, limits)
    with sound:
        target_hz = rate_hz or int(sound.samplerate)
        reader = Reader(sound, where, limits)
        samples = _resampled(reader, range_s, target_hz, quality)
        warnings = warnings | reader.warnings()
        source_rate_hz, n_channels = int(sound.samplerate), int(sound.channels)
    peak = max(float(samples.max()), -float(samples.min()))
    if peak > 1.0:
        np.clip(samples, -1.0, 1.0, out=samples)
    if peak < _SILENT_PEAK:
        warnings |= {"silent", "cancelled"} if reader.peak >= _SILENT_PEAK else {"silent"}
    return Sound(samples, target_hz, source_rate_hz, n_channels, tuple(sorted(warnings)))


def _resampled(reader: Reader, range_s: tuple[float, float | None], rate_hz: int, quality: str) -> np.ndarray:
    """Float32 [T] at `rate_hz`; streamed, which keeps memory small and equals soxr's one-shot result."""
    blocks = reader.blocks(*range_s)
    if rate_hz != reader.rate_hz:
        blocks = _through_soxr(blocks, reader, rate_hz, quality)
    samples = next(blocks)
    for piece in blocks:
        samples = _joined(samples, piece)
    if len(samples) == 0:  # a few samples of a fast recording can fall between two of a slow one
        samples = np.zeros(1, np.float32)
    return samples


def _through_soxr(
    blocks: Iterator[np.ndarray], reader: Reader, rate_hz: int, quality: str
) -> Iterator[np.ndarray]:
    """Resampled blocks; each is held back until it is known whether it is the last."""
    stream = soxr.ResampleStream(reader.rate_hz, rate_hz, 1, dtype="float32", quality=quality)
    held, n_read = next(blocks), 0
    for block in itertools.chain(blocks, [None]):
        n_read += len(held)
        reader.check_result(n_read * 4 * rate_hz // reader.rate_hz)
        yield stream.resample_chunk(np.ascontiguousarray(held), last=block is None)
        if block is not None:
            held = block


def _joined(samples: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """`piece` after `samples`, grown in place where possible: long sounds never exist twice in memory."""
    if not samples.flags.owndata:
        return np.concatenate([samples, piece])
    n_before = len(samples)
    samples.resize(n_before + len(piece), refcheck=False)
    samples[n_before:] = piece
    return samples
