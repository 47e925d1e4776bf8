"""RIFF/WAVE containers: what a header claims, what the file holds, and a clean header where they differ.

Rules: the first `fmt ` and the first `data` chunk count, `fmt ` must come first; a `data` chunk ends at the
end of the file at the latest; an odd chunk may lack its pad byte; a chunk larger than the rest of the file
ends the walk. Sizes are bytes. Sources: Microsoft, Multimedia Programming Interface and Data Specifications
1.0 (RIFF); EBU Tech 3306 (RF64).
"""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass, field
from typing import IO

_MAX_CHUNKS = 200_000  # a walk of at most a quarter of a second
_USUAL_CHUNKS = 500  # beyond this libsndfile's own header buffer overflows
_NO_LENGTH = (0, 0xFFFFFFFF)  # what streaming writers leave in a size they never came back to fill
_KNOWN = {b"fmt ", b"data", b"fact", b"LIST", b"JUNK", b"junk", b"bext", b"cue ", b"smpl", b"id3 ", b"PEAK"}


class ContainerError(Exception):
    """The container is beyond repair. `reason` is a key of `earshot.audio.decode.REASONS`."""

    def __init__(self, reason: str, field_name: str, value: object, rule: str) -> None:
        super().__init__(reason)
        self.reason, self.field_name, self.value, self.rule = reason, field_name, value, rule


@dataclass
class Wav:
    """The parts of a container that matter. `n_data` is what the file really holds, never what is claimed."""

    size: int
    riff_end: int
    fmt: bytes = b""
    data_start: int = -1
    n_data: int = 0
    n_claimed: int = 0
    ds64_data: int = 0
    n_chunks: int = 0
    needs_repair: bool = False
    warnings: set[str] = field(default_factory=set)

    @property
    def channels(self) -> int:
        return int(struct.unpack_from("<H", self.fmt, 2)[0])

    @property
    def rate_hz(self) -> int:
        return int(struct.unpack_from("<I", self.fmt, 4)[0])

    @property
    def align(self) -> int:
        return int(struct.unpack_from("<H", self.fmt, 12)[0])


def examine(stream: IO[bytes]) -> Wav | None:
    """Walks the chunks of a RIFF or RF64 file; None when the file is something else.

    Raises:
        ContainerError: no usable `fmt ` and `data` in this order.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(12)
    if head[:4] not in (b"RIFF", b"RF64"):
        return None
    if len(head) < 12 or head[8:] != b"WAVE":
        if len(head) == 12:
            return None
        raise ContainerError("truncated", "header", f"{len(head)} bytes", "a whole RIFF header")
    wav = Wav(size, struct.unpack_from("<I", head, 4)[0] + 8)
    position = 12
    while position + 8 <= size and wav.n_chunks < _MAX_CHUNKS:
        position = _take_chunk(stream, wav, position)
    return _judged(wav, head)


def _take_chunk(stream: IO[bytes], wav: Wav, position: int) -> int:
    """Reads the chunk header at `position`, keeps what matters; returns where the next one starts."""
    stream.seek(position)
    name, n_body = struct.unpack("<4sI", stream.read(8))
    wav.n_chunks += 1
    body = position + 8
    if name == b"ds64" and n_body >= 16:
        wav.ds64_data = struct.unpack("<QQ", stream.read(16).ljust(16, b"\0"))[1]
    elif name == b"fmt " and not wav.fmt:
        wav.fmt = stream.read(min(n_body, 4096))
    elif name == b"data":
        if not wav.fmt:
            raise ContainerError(
                "unreadable", "chunk", "data before fmt", "a fmt chunk before the data chunk"
            )
        if wav.data_start >= 0:
            wav.needs_repair = True
        else:
            return _take_data(stream, wav, body, n_body)
    end = body + n_body
    if end > wav.size:
        if wav.data_start < 0 or position < wav.riff_end:  # what follows the RIFF is not ours to judge
            wav.warnings.add("bad_header")
        return wav.size
    return _padded(stream, wav, end)


def _take_data(stream: IO[bytes], wav: Wav, body: int, n_claimed: int) -> int:
    if n_claimed == 0xFFFFFFFF and wav.ds64_data:
        n_claimed = wav.ds64_data
    n_there = wav.size - body
    wav.data_start, wav.n_claimed, wav.n_data = body, n_claimed, min(n_claimed, n_there)
    if n_claimed in _NO_LENGTH and n_there > 0 and stream.read(4) not in _KNOWN:
        wav.n_data = n_there
        wav.warnings.add("no_length")
    elif n_claimed > n_there:
        wav.warnings.add("partial")
    end = body + wav.n_data
    return _padded(stream, wav, end) if end < wav.size else wav.size


def _padded(stream: IO[bytes], wav: Wav, end: int) -> int:
    """`end` rounded up to even, unless the pad byte is missing and a known chunk starts right there."""
    if end % 2 == 0:
        return end
    stream.seek(end)
    if stream.read(4) not in _KNOWN:
        return end + 1
    wav.warnings.add("bad_header")
    return end


def _judged(wav: Wav, head: bytes) -> Wav:
    if len(wav.fmt) < 14 or wav.data_start < 0:
        missing = "fmt" if len(wav.fmt) < 14 else "data"
        raise ContainerError("truncated", "chunk", f"no {missing}", "a fmt and a data chunk")
    if wav.align == 0:
        raise ContainerError("unreadable", "block align", 0, "at least one byte a frame")
    if wav.n_data == 0:
        raise ContainerError("empty", "data", "0 bytes", "at least one sample")
    if wav.n_chunks > _USUAL_CHUNKS:
        wav.warnings.add("bad_header")
    data_end = wav.data_start + wav.n_data
    streamed = head[:4] == b"RF64" or wav.riff_end - 8 in _NO_LENGTH
    if not wav.warnings and not streamed and (wav.riff_end < data_end or wav.riff_end > wav.size + 1):
        wav.warnings.add("bad_header")
    wav.needs_repair = bool(wav.needs_repair or wav.warnings) and wav.n_data < 2**32 - 2**16
    return wav


class Spliced(io.RawIOBase):
    """`head`, then `n_bytes` of `stream` from `start`. Seeks are clamped: damaged files make readers ask for
    negative positions, and an exception could not leave the decoder's callback."""

    def __init__(self, stream: IO[bytes], *, head: bytes = b"", start: int = 0, n_bytes: int) -> None:
        self._stream, self._head, self._start = stream, head, start
        self._size, self._at = len(head) + n_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fills at most up to the seam between the header and the original's bytes, as raw streams may."""
        n_wanted = min(len(buffer), self._size - self._at)
        if n_wanted <= 0:
            return 0
        if self._at < len(self._head):
            piece = self._head[self._at : self._at + n_wanted]
        else:
            self._stream.seek(self._start + self._at - len(self._head))
            piece = self._stream.read(n_wanted)
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def repaired(stream: IO[bytes], wav: Wav) -> Spliced:
    """The same audio behind a header that is true: RIFF, `fmt `, `data`, then the bytes of the original."""
    fmt = wav.fmt + b"\0" * (len(wav.fmt) % 2)
    body = b"WAVEfmt " + struct.pack("<I", len(wav.fmt)) + fmt + b"data" + struct.pack("<I", wav.n_data)
    head = b"RIFF" + struct.pack("<I", len(body) + wav.n_data) + body
    return Spliced(stream, head=head, start=wav.data_start, n_bytes=wav.n_data)
