"""Random access to the samples of a store: whole sounds and windows, without a copy of the data in memory.

Conventions: positions and lengths are samples; int16 stands for sample / 32768. Reads are positioned reads
from the page cache straight into the result: resident memory does not grow with what has been touched (a
memory map's does), and a file that someone cuts short is an error here instead of a fatal signal.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from earshot.audio.windows import cut
from earshot.errors import EarshotError, complaint

_MAX_OPEN = 200  # descriptors; systems grant 256 to 1024


class _OpenShard:
    """A descriptor that closes when its last reader lets go of it, be it evicted meanwhile."""

    def __init__(self, path: Path) -> None:
        self.fd = -1
        self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class AudioView:
    """N sounds of a store in a fixed order, readable from any thread; pickles as names and numbers.

    Args:
        folder: where the shards lie.
        shards: their file names.
        rows: int64 [N, 3]: index into `shards`, offset in bytes, number of samples.
        rate_hz: of all sounds.
    """

    def __init__(self, folder: Path, shards: Sequence[str], *, rows: np.ndarray, rate_hz: int) -> None:
        self._folder, self._shards, self._rows, self.rate_hz = folder, tuple(shards), rows, rate_hz
        self.n_samples: np.ndarray = rows[:, 2].copy()
        self._start_afresh()

    def __len__(self) -> int:
        return len(self._rows)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_open", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_afresh()

    def get(self, index: int) -> np.ndarray:
        """The whole sound `index`, int16 [T]."""
        samples = np.empty(self.n_samples[index], np.int16)
        self._read(index, 0, samples)
        return samples

    def fill(self, out: np.ndarray, index: int, start: int) -> None:
        """Writes a window of the sound `index` into `out`, int16 [length]; a shorter sound is repeated."""
        if start + len(out) <= self.n_samples[index]:
            self._read(index, start, out)
        else:
            out[:] = cut(self.get(index), start, len(out))

    def _read(self, index: int, start: int, out: np.ndarray) -> None:
        shard, offset, _ = self._rows[index].tolist()
        buffer = memoryview(out.view(np.uint8))  # type: ignore[arg-type]
        position = offset + 2 * start
        handle = self._handle(shard)
        while buffer:
            n_read = os.preadv(handle.fd, [buffer], position)
            if n_read == 0:
                fix = "The cache was damaged while in use; run again and it will be mended."
                path = self._folder / self._shards[shard]
                raise EarshotError(complaint(path, "length", position, "more bytes", fix))
            buffer, position = buffer[n_read:], position + n_read

    def _handle(self, shard: int) -> _OpenShard:
        with self._lock:
            handle = self._open.get(shard)
            if handle is None:
                handle = self._open[shard] = self._opened(shard)
                if len(self._open) > _MAX_OPEN:
                    self._open.popitem(last=False)
            return handle

    def _opened(self, shard: int) -> _OpenShard:
        path = self._folder / self._shards[shard]
        try:
            return _OpenShard(path)
        except OSError as error:
            fix = "Part of the cache was removed while in use; run again and it will be mended."
            raise EarshotError(complaint(path, "file", error.strerror, "a readable file", fix)) from error

    def _start_afresh(self) -> None:
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()
        self._lock = threading.Lock()
