"""Shards: immutable files of int16 samples, written beside the index by workers and sealed by the store.

A shard is written under a name that ends in `.part`, cut to what was accepted, flushed to the disk and only
then given its final name: what has a final name is whole. Offsets are bytes, samples little-endian int16.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
import zlib
from collections.abc import Iterable
from pathlib import Path

from earshot.audio.index import Entry, Index, StatKey, stat_key
from earshot.files import sync_folder

_FULL_BYTES = 192 * 2**20  # a shard stays below 256 MiB unless a single sound is huge
_FULL_SOUNDS = 250  # two workers: at most 500 decoded files are lost to a kill
_FULL_AGE_S = 20.0
_ORPHAN_AGE_S = 86_400.0
_TICK_S = 0.02  # kernels stamp files with a clock that ticks every 1 to 10 ms
_READ_BYTES = 2**20


def _process_namespace() -> str:
    """Tells containers of one host apart, whose processes do not see each other; "" where there are none."""
    try:
        return f"_{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


_HOST = socket.gethostname().replace("-", "_").replace(os.sep, "_") + _process_namespace()


class ShardWriter:
    """The shard one worker writes at the moment, and the rows that become true when it is sealed."""

    def __init__(self, folder: Path) -> None:
        self.name = f"{uuid.uuid4().hex}.i16"
        self.part = folder / f"{_HOST}-{os.getpid()}-{self.name}.part"
        self.n_bytes = 0
        self.entries: list[Entry] = []
        self.files: list[tuple[str, StatKey, str]] = []
        self._sealed: StatKey | None = None
        self._born_s = time.monotonic()

    def accept(self, entry: Entry) -> None:
        """Counts in a sound that a worker has written at `n_bytes`, or a failure worth remembering."""
        self.entries.append(entry)
        self.n_bytes += 2 * entry.n_samples

    @property
    def is_full(self) -> bool:
        old = time.monotonic() - self._born_s > _FULL_AGE_S
        return bool(self.entries) and (
            old or self.n_bytes >= _FULL_BYTES or len(self.entries) >= _FULL_SOUNDS
        )

    def seal(self) -> StatKey | None:
        """Makes the shard durable under its final name, once; its stat key, None if there were no samples."""
        if self.n_bytes == 0:
            self.part.unlink(missing_ok=True)
            return None
        if self._sealed is None:
            self._sealed = self._finish()
        return self._sealed

    def _finish(self) -> StatKey:
        fd = os.open(self.part, os.O_RDWR)
        try:
            os.ftruncate(fd, self.n_bytes)
            os.fsync(fd)
        finally:
            os.close(fd)
        final = self.part.with_name(self.name)
        self.part.replace(final)
        sync_folder(final.parent)
        return _quiet_stat(final)


def _quiet_stat(path: Path) -> StatKey:
    """The stat key, once the clock of the file system has moved on: a later change cannot bear the same times."""
    status = path.stat()
    if 0 <= time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _TICK_S * 1e9:
        time.sleep(_TICK_S)
    return stat_key(path.stat())


def remove_abandoned(folder: Path) -> None:
    """Deletes the unfinished shards of processes that are no more; of other machines and containers, old ones."""
    for part in folder.glob("*.part"):
        host, pid = [*part.name.split("-"), ""][:2]
        is_own = host == _HOST and pid.isdigit()
        with contextlib.suppress(FileNotFoundError):
            is_gone = not _is_alive(int(pid)) if is_own else _age_s(part) > _ORPHAN_AGE_S
            if is_gone:
                part.unlink()


def remove_orphans(folder: Path, in_use: set[str]) -> None:
    """Deletes shards that no entry leads to any more, unless they are so young that somebody may read them."""
    for shard in folder.glob("*.i16"):
        with contextlib.suppress(FileNotFoundError):
            if shard.name not in in_use and _age_s(shard) > _ORPHAN_AGE_S:
                shard.unlink()


def _age_s(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def intact(entries: dict[str, Entry], index: Index, folder: Path) -> dict[str, Entry]:
    """Those of `entries` whose samples are as they were stored.

    A shard that nobody has touched since it was sealed (its stat tells) is trusted. Any other is read and
    compared with its checksums once; what is damaged is forgotten and will be decoded again.
    """
    names = {entry.shard for entry in entries.values()} - {""}
    trusted = index.shards(names) if names else {}
    bad: set[str] = set()
    for name in names:
        try:
            stat = _quiet_stat(folder / name)
        except OSError:
            stat = ()
        if not stat or trusted.get(name) != stat:
            known = {entry for entry in entries.values() if entry.shard == name}
            broken = _damaged(folder / name, known.union(index.entries_in(name)))
            index.forget(broken)
            index.add([], shard=(name, stat))
            bad |= {entry.key for entry in broken}
    return {key: entry for key, entry in entries.items() if key not in bad}


def _damaged(shard: Path, entries: Iterable[Entry]) -> list[Entry]:
    """The entries whose samples in `shard` are missing or do not have the checksum they were stored with."""
    try:
        with shard.open("rb", buffering=0) as file:
            return [entry for entry in entries if not _is_sound(file.fileno(), entry)]
    except OSError:
        return list(entries)


def _is_sound(fd: int, entry: Entry) -> bool:
    crc, n_left = 0, 2 * entry.n_samples
    os.lseek(fd, entry.offset, os.SEEK_SET)
    while n_left > 0 and (piece := os.read(fd, min(n_left, _READ_BYTES))):
        crc = zlib.crc32(piece, crc)
        n_left -= len(piece)
    return n_left == 0 and crc == entry.data_crc
