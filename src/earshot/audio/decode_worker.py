"""The worker process: hashes and decodes one file after the other for a `DecodePool`, and nothing else.

Conversation, one JSON value a line. Pool: a path. Worker: `{n_hashed}` now and then while it reads a large file;
at last `{content, stat, settled}`, or a failure, with which the file is done. Pool: `{range, shard, offset}`;
worker: an answer; as often as there are ranges. Then null. Samples go straight to the shard file as int16, from
byte `offset` on; a crash can therefore spoil nothing but bytes that the pool has not yet accepted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from earshot.audio.blocks import DecodeLimits
from earshot.audio.decode import decode, open_regular
from earshot.audio.index import StatKey, stat_key
from earshot.audio.reasons import WARNINGS, failure, printable
from earshot.errors import DecodeError

FULL_SCALE = (
    32_768  # int16 = round(sample * 2^15), saturated: 16-bit sources at the store's rate survive exactly
)
_NAMELESS = "<stream>"  # what `decode` calls a descriptor
_BLOCK = 2**18  # samples converted at a time
_READ_BYTES = 2**20
_UNSETTLED_NS = 100_000_000  # a file younger than this may change again without a visible change of its times


@dataclass(frozen=True)
class WorkerOptions:
    """What every decoding of a run has in common; travels to the worker as its first line."""

    rate_hz: int
    quality: str
    limits: DecodeLimits
    timeout_s: float
    memory_bytes: int


def main() -> None:
    """Serves requests from stdin until it closes."""
    requests, replies = _private_pipes()
    options = json.loads(requests.readline())
    options = WorkerOptions(**{**options, "limits": DecodeLimits(**options["limits"])})
    _bound_memory(options.memory_bytes)
    _send(replies, {"ready": True})
    while line := requests.readline():
        _serve_file(json.loads(line), options, requests, replies)


def _private_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Takes stdin and stdout away from C libraries, which print what they like."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the pool decides
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(silence, fd)
    return requests, replies


def _bound_memory(n_bytes: int) -> None:
    """Lets this process allocate `n_bytes` beyond what it has now, where the system can (Linux)."""
    try:
        import resource

        with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123
            baseline = int(statm.read().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (baseline + n_bytes, baseline + n_bytes))
    except (ImportError, OSError, ValueError):
        return


def _serve_file(path: str, options: WorkerOptions, requests: IO[bytes], replies: IO[bytes]) -> None:
    where = printable(path)
    try:
        fd = open_regular(path, where)
    except DecodeError as error:
        _send(replies, _refused(error, where))
        return
    try:
        before = stat_key(os.fstat(fd))
        hello = _hashed(fd, before, options, replies)
        _send(replies, hello)
        while "content" in hello and (request := json.loads(requests.readline() or b"null")):
            _send(replies, _answer(fd, request, options=options, before=before))
    finally:
        os.close(fd)


def _answer(fd: int, request: dict[str, Any], *, options: WorkerOptions, before: StatKey) -> dict[str, Any]:
    """Decodes the wanted range; `before` is the file's stat key when its content was hashed."""
    with _guarded(options):
        reply = _decoded(fd, request["range"], options, shard=request["shard"], offset=request["offset"])
    if stat_key(os.fstat(fd)) != before:
        return _refused(failure("changed", "", "file", "growing", "a file at rest"), "")
    return reply


def _hashed(fd: int, stat: StatKey, options: WorkerOptions, replies: IO[bytes]) -> dict[str, Any]:
    """Reads the whole file, and says so in between: a large one takes longer than the pool waits for an answer."""
    digest, n_hashed, size = hashlib.sha256(), 0, os.fstat(fd).st_size
    started = time.monotonic()
    try:  # no further than its size at first: a file may grow as fast as it is read
        while n_hashed <= size and (piece := os.read(fd, _READ_BYTES)):
            digest.update(piece)
            n_hashed += len(piece)
            if time.monotonic() - started > options.timeout_s / 4:
                started = time.monotonic()
                _send(replies, {"n_hashed": n_hashed})
    except OSError as error:
        return _refused(failure("unreadable", "", "file", error.strerror, "a file that can be read"), "")
    settled = max(stat[1:3]) < time.time_ns() - _UNSETTLED_NS
    return {"content": digest.hexdigest(), "stat": stat, "settled": settled}


@contextlib.contextmanager
def _guarded(options: WorkerOptions) -> Iterator[None]:
    """A last resort beside the pool's own time-out: if the pool has died, a hung decoder dies soon after."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, 2 * options.timeout_s + 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _decoded(
    fd: int, range_s: tuple[float, float | None], options: WorkerOptions, *, shard: str, offset: int
) -> dict[str, Any]:
    start_s, end_s = range_s
    how: dict[str, Any] = {"rate_hz": options.rate_hz, "limits": options.limits, "quality": options.quality}
    try:
        sound = decode(fd, start_s=start_s, end_s=end_s, **how)
        crc = _write(sound.samples, shard, offset)
    except DecodeError as error:
        return _refused(error, _NAMELESS)
    except MemoryError:
        return _refused(failure("no_memory", "", "memory needed", "more", "what a worker may have"), "")
    except OSError as error:
        return {"fatal": f"{shard}: {error.strerror}"}
    except Exception as error:  # a fault of ours or of a library: this sound is lost, the run goes on
        return _refused(failure("crashed", "", "decoder", repr(error), "no exception"), "")
    return {
        "status": "warning" if sound.warnings else "ok",
        "reason": ";".join(sound.warnings),
        "detail": "; ".join(WARNINGS[code] for code in sound.warnings),
        "n_samples": len(sound.samples),
        "source_rate_hz": sound.source_rate_hz,
        "n_channels": sound.n_channels,
        "data_crc": crc,
    }


def _write(samples: np.ndarray, shard: str, offset: int) -> int:
    """Writes float32 [T] as int16 at byte `offset`; returns the CRC-32 of what was written."""
    crc = 0
    fd = os.open(shard, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    try:
        os.lseek(fd, offset, os.SEEK_SET)
        for i in range(0, len(samples), _BLOCK):
            scaled = samples[i : i + _BLOCK] * np.float32(FULL_SCALE)
            np.minimum(np.rint(scaled, out=scaled), np.float32(FULL_SCALE - 1), out=scaled)
            data = memoryview(scaled.astype("<i2").tobytes())
            crc = zlib.crc32(data, crc)
            while data:
                data = data[os.write(fd, data) :]
    finally:
        os.close(fd)
    return crc


def _refused(error: DecodeError, where: str) -> dict[str, Any]:
    """The answer for a sound that cannot be decoded; without the path, for another file may be a copy."""
    detail = str(error).removeprefix(f"{where}: ")
    return {"status": "failed", "reason": error.reason, "detail": detail}


def _send(replies: IO[bytes], message: dict[str, Any]) -> None:
    replies.write(json.dumps(message).encode() + b"\n")
    replies.flush()


if __name__ == "__main__":
    main()
