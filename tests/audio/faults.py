"""Hostile, odd and merely unusual sound files, numbered like the project's list of faults (rows 1-56).

Every maker takes an empty folder and returns the path to decode. `verdict` is what a decoder owes the file:
"reject" (a DecodeError with one of `codes`), "warn" (accepted, one of `codes` among the warnings) or "accept"
(accepted without a word).
"""

from __future__ import annotations

import os
import pickle
import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .sounds import (
    N_SAMPLES,
    RATE_HZ,
    chunk,
    data,
    encoded,
    flac,
    float_wav,
    fmt,
    good_bytes,
    id3,
    long_opus,
    riff,
    tone,
    zipped,
)


@dataclass(frozen=True)
class Fault:
    """One row: its number, a name unique among all, what the decoder owes it, and how to make the file."""

    row: int
    name: str
    verdict: str
    codes: frozenset[str]
    make: Callable[[Path], Path]


def _content(
    row: int, name: str, verdict: str, codes: str, build: Callable[[], bytes], ext: str = "wav"
) -> Fault:
    def make(folder: Path) -> Path:
        path = folder / f"{row:02d}-{name}.{ext}"
        path.write_bytes(build())
        return path

    return Fault(row, name, verdict, frozenset(codes.split()), make)


def _noise(n: int) -> bytes:
    return np.random.default_rng(0).bytes(n)


_ADPCM = struct.pack("<HHIIHHHH", 2, 1, RATE_HZ, 4000, 65535, 4, 2, 65535)
_MANY_JUNK = chunk(b"junk", b"") * 100_000
_REJECTED = "empty not_audio unreadable truncated"

REJECTS = [
    _content(1, "zero-bytes", "reject", "empty", lambda: b""),
    _content(2, "riff-only", "reject", "not_audio unreadable truncated", lambda: b"RIFF"),
    _content(3, "cut-fmt", "reject", _REJECTED, lambda: riff(fmt())[:24]),
    _content(4, "no-frames", "reject", _REJECTED, lambda: riff(fmt(), data(np.zeros(0)))),
    _content(5, "data-before-fmt", "reject", _REJECTED, lambda: riff(data(), fmt())),
    _content(6, "align-0", "reject", _REJECTED, lambda: riff(fmt(align=0), data())),
    _content(7, "bits-0", "reject", _REJECTED, lambda: riff(fmt(bits=0, align=2), data())),
    _content(8, "0-channels", "reject", "unreadable", lambda: riff(fmt(channels=0, align=2), data())),
    _content(9, "65535-channels", "reject", "too_many_channels", lambda: riff(fmt(channels=65535), data())),
    _content(10, "0-hz", "reject", "bad_rate", lambda: riff(fmt(rate_hz=0), data())),
    _content(11, "1-hz", "reject", "bad_rate", lambda: riff(fmt(rate_hz=1), data())),
    _content(12, "4294967295-hz", "reject", "bad_rate", lambda: riff(fmt(rate_hz=2**32 - 1), data())),
    _content(13, "nan", "reject", "not_finite", lambda: float_wav(float("nan"))),
    _content(13, "inf", "reject", "not_finite", lambda: float_wav(float("inf"))),
    _content(13, "minus-inf", "reject", "not_finite", lambda: float_wav(float("-inf"))),
    _content(14, "1e38", "reject", "out_of_range", lambda: float_wav(1e38)),
    _content(14, "minus-1e38", "reject", "out_of_range", lambda: float_wav(-1e38)),
    _content(
        15, "adpcm", "reject", _REJECTED, lambda: riff(chunk(b"fmt ", _ADPCM), chunk(b"data", _noise(999)))
    ),
    _content(16, "flac-2^36-1", "reject", "unreadable", lambda: flac(frames=2**36 - 1), "flac"),
    _content(17, "flac-655350-hz", "reject", _REJECTED, lambda: flac(rate_hz=655_350, channels=8), "flac"),
    _content(18, "ogg-noise", "reject", _REJECTED, lambda: b"OggS\0\2" + _noise(5000), "ogg"),
    _content(19, "opus-hours", "reject", "too_long", lambda: long_opus(25_000_000), "opus"),
    _content(20, "id3-256-mb", "reject", _REJECTED, lambda: id3(2**28 - 1, _noise(4000)), "mp3"),
    _content(
        21, "playlist", "reject", "not_audio", lambda: b"#EXTM3U\nhttp://localhost/a.mp3\n/etc/passwd\n"
    ),
    _content(22, "html", "reject", "not_audio", lambda: b"<!doctype html><html><script>1</script></html>"),
    _content(22, "elf", "reject", "not_audio", lambda: b"\x7fELF\x02\x01\x01" + bytes(57) + _noise(500)),
    _content(22, "zip", "reject", "not_audio", zipped),
    _content(22, "pickle", "reject", "not_audio", lambda: pickle.dumps({"a": [1, 2, 3]})),
]

WARNS = [
    _content(23, "half-missing", "warn", "partial", lambda: riff(fmt(), data())[: 44 + N_SAMPLES]),
    _content(24, "claims-6-h", "warn", "partial", lambda: riff(fmt(), data(size=6 * 3600 * RATE_HZ * 2))),
    _content(
        25, "size-ffffffff", "warn", "no_length", lambda: riff(fmt(), data(size=2**32 - 1), size=2**32 - 1)
    ),
    _content(26, "riff-size", "warn", "bad_header", lambda: riff(fmt(), data(), size=77)),
    _content(
        27,
        "huge-list",
        "warn",
        "bad_header",
        lambda: riff(fmt(), data(), chunk(b"LIST", b"", size=0xFFFFFFF0)),
    ),
    _content(28, "odd-chunk", "warn", "bad_header", lambda: riff(fmt(), b"note\x03\0\0\0abc", data())),
    _content(29, "100000-junk", "warn", "bad_header", lambda: riff(_MANY_JUNK, fmt(), data())),
    _content(
        30,
        "32-channels",
        "warn",
        "many_channels",
        lambda: encoded("WAV", "PCM_16", np.tile(tone()[:, None], 32)),
    ),
    _content(31, "one-sample", "warn", "one_sample", lambda: riff(fmt(), data(np.full(1, 0.5)))),
    _content(32, "silence", "warn", "silent", lambda: riff(fmt(), data(np.zeros(N_SAMPLES)))),
    _content(33, "flac-no-length", "warn", "no_length", lambda: flac(frames=0), "flac"),
]

ACCEPTS = [
    _content(34, "8-bit", "accept", "", lambda: encoded("WAV", "PCM_U8")),
    _content(35, "24-bit", "accept", "", lambda: encoded("WAV", "PCM_24")),
    _content(36, "32-bit", "accept", "", lambda: encoded("WAV", "PCM_32")),
    _content(37, "float32", "accept", "", lambda: encoded("WAV", "FLOAT")),
    _content(38, "float64", "accept", "", lambda: encoded("WAV", "DOUBLE")),
    _content(39, "96-khz", "accept", "", lambda: encoded("WAV", "PCM_16", rate_hz=96_000)),
    _content(40, "mu-law", "accept", "", lambda: encoded("WAV", "ULAW")),
    _content(41, "rf64", "accept", "", lambda: encoded("RF64", "PCM_16")),
    _content(42, "two-data", "accept", "", lambda: riff(fmt(), data(), data(np.zeros(N_SAMPLES)))),
    _content(
        43,
        "id3-art",
        "accept",
        "",
        lambda: id3(5_000_000, bytes(5_000_000)) + encoded("MP3", "MPEG_LAYER_III"),
        "mp3",
    ),
]


def _named(row: int, label: str, name: str) -> Fault:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(good_bytes(row))
        return path

    return Fault(row, label, "accept", frozenset(), make)


def _link_loop(folder: Path) -> Path:
    path = folder / "loop.wav"
    path.symlink_to(path)
    return path


def _fifo(folder: Path) -> Path:
    path = folder / "pipe.wav"
    os.mkfifo(path)
    return path


def _folder(folder: Path) -> Path:
    path = folder / "x.wav"
    path.mkdir()
    return path


def _forbidden(folder: Path) -> Path:
    path = folder / "secret.wav"
    path.write_bytes(good_bytes())
    path.chmod(0)
    return path


def outside_link(folder: Path) -> Path:
    """data/link.wav leads to outside.wav: fine for the decoder, not for who scans data."""
    (folder / "outside.wav").write_bytes(good_bytes(45))
    (folder / "data").mkdir()
    path = folder / "data" / "link.wav"
    path.symlink_to("../outside.wav")
    return path


def _twins(folder: Path) -> Path:
    for form in ("NFC", "NFD"):
        path = folder / (unicodedata.normalize(form, "caf\u00e9") + ".wav")
        path.write_bytes(good_bytes(50))
    return path


FILES = [
    Fault(44, "link-loop", "reject", frozenset({"not_a_file"}), _link_loop),
    Fault(45, "link-out", "accept", frozenset(), outside_link),
    Fault(46, "fifo", "reject", frozenset({"not_a_file"}), _fifo),
    Fault(47, "directory", "reject", frozenset({"not_a_file"}), _folder),
    Fault(48, "mode-000", "reject", frozenset({"permission"}), _forbidden),
    Fault(49, "vanished", "reject", frozenset({"missing"}), lambda folder: folder / "gone.wav"),
    Fault(50, "twins", "accept", frozenset(), _twins),
    _named(51, "space", "a b  c.wav"),
    _named(52, "newline", "a\nb.wav"),
    _named(53, "dash", "-rf.wav"),
    _named(54, "255-bytes", "n" * 251 + ".wav"),
    _named(55, "not-utf-8", "caf\udce9.wav"),
    _content(
        56, "apple-double", "reject", "not_audio", lambda: b"\0\x05\x16\x07\0\2\0\0Mac OS X" + bytes(200)
    ),
]

FAULTS = [*REJECTS, *WARNS, *ACCEPTS, *FILES]
