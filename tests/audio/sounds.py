"""Builders of sound files byte by byte: containers with true and false headers, real encodings."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np
import soundfile

RATE_HZ = 8_000
N_SAMPLES = 800  # 0.1 s


def tone(n_samples: int = N_SAMPLES, *, hz: float = 440.0, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Float64 [T] sine of amplitude 0.5."""
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(n_samples) / rate_hz)


def pcm16(samples: np.ndarray) -> bytes:
    return np.rint(samples * 32767).astype("<i2").tobytes()


def chunk(name: bytes, body: bytes, *, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def fmt(
    *, tag: int = 1, channels: int = 1, rate_hz: int = RATE_HZ, bits: int = 16, align: int | None = None
) -> bytes:
    align = channels * bits // 8 % 65536 if align is None else align
    body = struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * align % 2**32, align, bits)
    return chunk(b"fmt ", body)


def riff(*chunks: bytes, size: int | None = None, magic: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack("<I", len(body) if size is None else size) + body


def data(samples: np.ndarray | None = None, *, size: int | None = None) -> bytes:
    return chunk(b"data", pcm16(tone() if samples is None else samples), size=size)


def encoded(
    container: str, subtype: str, samples: np.ndarray | None = None, *, rate_hz: int = RATE_HZ
) -> bytes:
    """The bytes libsndfile writes for `samples` [T] or [T, C]."""
    buffer = io.BytesIO()
    soundfile.write(
        buffer, tone() if samples is None else samples, rate_hz, format=container, subtype=subtype
    )
    return buffer.getvalue()


def float_wav(value: float) -> bytes:
    samples = tone().astype("<f4")
    samples[100] = value
    return riff(fmt(tag=3, bits=32), chunk(b"data", samples.tobytes()))


def flac(*, rate_hz: int | None = None, channels: int | None = None, frames: int | None = None) -> bytes:
    """A real FLAC file whose STREAMINFO is rewritten: 20 bits rate, 3 channels - 1, 5 bits - 1, 36 frames."""
    raw = bytearray(encoded("FLAC", "PCM_16"))
    packed = int.from_bytes(raw[18:26], "big")
    for value, shift, width in ((rate_hz, 44, 20), (channels and channels - 1, 41, 3), (frames, 0, 36)):
        if value is not None:
            packed = packed & ~((2**width - 1) << shift) | value << shift
    raw[18:26] = packed.to_bytes(8, "big")
    return bytes(raw)


def syncsafe(n: int) -> bytes:
    return bytes((n >> shift) & 0x7F for shift in (21, 14, 7, 0))


def id3(n_claimed: int, body: bytes = b"") -> bytes:
    return b"ID3\x04\x00\x00" + syncsafe(n_claimed) + body


_REVERSED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


def ogg_crc(page: bytes) -> int:
    """Ogg's checksum (polynomial 0x04c11db7, not reflected, no inversion) by way of zlib's reflected one."""
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)


def ogg_pages(raw: bytes) -> list[bytearray]:
    pages, at = [], 0
    while at < len(raw):
        n_segments = raw[at + 26]
        size = 27 + n_segments + sum(raw[at + 27 : at + 27 + n_segments])
        pages.append(bytearray(raw[at : at + size]))
        at += size
    return pages


def long_opus(n_bytes: int) -> bytes:
    """Valid Opus of `n_bytes` that decodes to hours: the audio pages of quiet noise, over and over."""
    quiet = np.zeros(480_000)
    pages = ogg_pages(encoded("OGG", "OPUS", quiet, rate_hz=48_000))
    head, body = pages[:2], pages[2:-1]
    first, last = (struct.unpack("<q", bytes(p[6:14]))[0] for p in (body[0], body[-1]))
    step = last + last // max(1, len(body) - 1) - first if len(body) > 1 else last
    out = [bytes(page) for page in head]
    size, turn = sum(map(len, out)), 0
    while size < n_bytes:
        for page in body:
            granule = struct.unpack("<q", bytes(page[6:14]))[0] + turn * step
            page = bytearray(page)
            page[5] &= ~4
            page[6:14], page[18:22], page[22:26] = (
                struct.pack("<q", granule),
                struct.pack("<I", len(out)),
                b"\0" * 4,
            )
            page[22:26] = struct.pack("<I", ogg_crc(bytes(page)))
            out.append(bytes(page))
            size += len(page)
        turn += 1
    return b"".join(out)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.wav", riff(fmt(), data()))
    return buffer.getvalue()


def good_bytes(seed: int = 0) -> bytes:
    """A small sound file with nothing wrong; another seed is another sound."""
    noise = np.random.default_rng(seed).uniform(-0.3, 0.3, N_SAMPLES)
    return riff(fmt(), data(noise))
