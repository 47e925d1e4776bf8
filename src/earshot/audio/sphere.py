"""NIST SPHERE containers, in which speech corpora such as TIMIT come: what the header claims, what the file holds.

Rules: the first line is `NIST_1A`, the second the size of the header; `name -type value` lines follow up to
`end_head`, of which the first of a name counts; the samples stand behind the header. Sizes are bytes. libsndfile
decodes the samples, behind a header that is written anew: it takes a damaged one for sound and guesses the order of
bytes where none is said. Source: NIST, SPHERE 2.6, `doc/file_format.doc`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from earshot.audio.wav import ContainerError, Spliced

_MAGIC = b"NIST_1A\n"
_SIZE_LINE = re.compile(rb" *(\d{1,7})\n")
_FIELD = re.compile(rb"^(\w{1,64}) -(?:i|s\d{1,4}) (.*)$", re.MULTILINE)
_HEADER_SIZES = (32, 2**16)  # that of every corpus is 1024, seldom a multiple of it
_CLEAN_SIZE = 1024
_ORDERS = {"01": "01", "10": "10", "012": "01", "210": "10", "0123": "01", "3210": "10", "1": "1"}
# SPHERE's names of codings -> libsndfile's.
_CODINGS = {"pcm": "pcm", "ulaw": "ulaw", "mu-law": "ulaw", "alaw": "alaw"}
_SHORTEN = b"ajkg"
_MOST = 2**53  # larger numbers are no counts of anything


@dataclass(frozen=True)
class Sphere:
    """The parts of a header that matter. `n_data` is what the file really holds, never what is claimed."""

    rate_hz: int
    channels: int
    n_sample_bytes: int
    coding: str
    order: str
    data_start: int
    n_data: int
    warnings: frozenset[str]


def examine(stream: IO[bytes]) -> Sphere | None:
    """Reads the header of a SPHERE file; None when the file is something else.

    Raises:
        ContainerError: the header breaks a rule, or the samples are packed.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if stream.read(len(_MAGIC)) != _MAGIC:
        return None
    line = _SIZE_LINE.match(stream.read(8))
    n_header = int(line[1]) if line else -1
    low, high = _HEADER_SIZES
    if not low <= n_header <= high:
        value = n_header if line else "no number"
        raise ContainerError("unreadable", "size of the header", value, f"{low} to {high} bytes")
    stream.seek(0)
    header = stream.read(n_header)
    if len(header) < n_header:
        raise ContainerError("truncated", "header", f"{len(header)} bytes", f"{n_header} bytes, as it says")
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(header.partition(b"end_head")[0]):
        fields.setdefault(name.decode("ascii", "replace"), value.decode("latin-1").strip())
    return _judged(fields, n_header, size - n_header, magic=stream.read(len(_SHORTEN)))


def _judged(fields: Mapping[str, str], n_header: int, n_there: int, *, magic: bytes) -> Sphere:
    said = fields.get("sample_coding", "pcm").lower()
    if magic == _SHORTEN or "," in said or "shorten" in said:
        said = said if said != "pcm" else "shorten"
        raise ContainerError("compressed", "sample_coding", said, "pcm, ulaw or alaw, unpacked")
    if said not in _CODINGS:
        raise ContainerError("unreadable", "sample_coding", said, f"one of {', '.join(_CODINGS)}")
    n_bytes = _number(fields, "sample_n_bytes", most=4)
    order = _ORDERS.get(fields.get("sample_byte_format", "1" if n_bytes == 1 else ""))
    if order is None or (n_bytes == 1) != (order == "1"):
        value = fields.get("sample_byte_format", "missing")
        raise ContainerError("unreadable", "sample_byte_format", value, f"the order of {n_bytes} bytes")
    if _CODINGS[said] != "pcm" and n_bytes != 1:
        raise ContainerError("unreadable", "sample_n_bytes", n_bytes, f"1 with {said}")
    # libsndfile counts both in 32 bits: a larger number would come out as a small one.
    channels, rate_hz = (_number(fields, name, most=2**31 - 1) for name in ("channel_count", "sample_rate"))
    n_claimed = _number(fields, "sample_count", most=_MOST) * channels * n_bytes
    if n_claimed == 0 or n_there == 0:
        raise ContainerError("empty", "samples", "0 bytes", "at least one sample")
    warnings = frozenset({"partial"} if n_claimed > n_there else ())
    n_data = min(n_claimed, n_there)
    return Sphere(rate_hz, channels, n_bytes, _CODINGS[said], order, n_header, n_data, warnings)


def _number(fields: Mapping[str, str], name: str, *, most: int) -> int:
    text = fields.get(name, "missing")
    if not re.fullmatch(r"\d{1,16}", text) or int(text) > most:
        raise ContainerError("unreadable", name, text, f"a whole number up to {most}")
    return int(text)


def rewritten(stream: IO[bytes], sphere: Sphere) -> Spliced:
    """The same samples behind a header with nothing in it but what libsndfile needs."""
    n_frames = sphere.n_data // (sphere.channels * sphere.n_sample_bytes)
    lines = [
        "NIST_1A",
        f"{_CLEAN_SIZE:7d}",
        f"channel_count -i {sphere.channels}",
        f"sample_rate -i {sphere.rate_hz}",
        f"sample_n_bytes -i {sphere.n_sample_bytes}",
        f"sample_coding -s{len(sphere.coding)} {sphere.coding}",
        f"sample_byte_format -s{sphere.n_sample_bytes} {sphere.order}",
        f"sample_count -i {n_frames}",
        "end_head\n",
    ]
    head = "\n".join(lines).encode("ascii").ljust(_CLEAN_SIZE, b" ")
    return Spliced(stream, head=head, start=sphere.data_start, n_bytes=sphere.n_data)
