"""The store's index: which file has which content, and where the decoded samples of a content lie.

One SQLite file, shared by any number of processes. Every row carries a checksum of itself, so that a damaged
page is never believed: such rows count as absent, and a damaged file is discarded and begun anew. Losing the
index costs decoding again, nothing else.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from earshot.errors import EarshotError, complaint

StatKey = tuple[int, ...]  # size, mtime_ns, ctime_ns, inode, device: no content changes without one of them
Result = TypeVar("Result")

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, stat TEXT, content TEXT, crc INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shards (name TEXT PRIMARY KEY, stat TEXT, crc INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sounds (
    key TEXT PRIMARY KEY, status TEXT, reason TEXT, detail TEXT, n_samples INTEGER, source_rate_hz INTEGER,
    n_channels INTEGER, shard TEXT, offset INTEGER, data_crc INTEGER, crc INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sounds_shard ON sounds (shard);
COMMIT;
"""
_N_TABLES = 3
_WAIT_S = 60.0  # for another process's commit, which takes milliseconds
_N_AT_ONCE = 500  # SQLite allows 999 parameters a statement
_NOT_DAMAGE = (
    *("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"),
    *("SQLITE_NOMEM", "SQLITE_IOERR"),  # a write that failed, for want of quota perhaps
)
_CUT_SHORT = "SQLITE_IOERR_SHORT_READ"


class Entry(NamedTuple):
    """What decoding one range of one content gave. `offset` in bytes into the file `shard`."""

    key: str
    status: str
    reason: str
    detail: str
    n_samples: int = 0
    source_rate_hz: int = 0
    n_channels: int = 0
    shard: str = ""
    offset: int = 0
    data_crc: int = 0


def stat_key(status: os.stat_result) -> StatKey:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


class Index:
    """An open index below `root`. Methods may be called from several threads.

    Raises:
        EarshotError: the folder cannot be written, or the disk is full.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / "index.sqlite"
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._guarded(lambda connection: None)

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def contents(self, paths: Iterable[str]) -> dict[str, tuple[StatKey, str]]:
        """Path -> its stat key when it was hashed, and the SHA-256 of its content then."""
        names = {os.fsencode(path): path for path in paths}
        found = {}
        for path, stat, content, crc in self._select("SELECT * FROM files WHERE path IN", list(names)):
            if crc == _crc(path, stat, content):
                found[names[path]] = _numbers(stat), content
        return found

    def entries(self, keys: Iterable[str]) -> dict[str, Entry]:
        rows = self._select("SELECT * FROM sounds WHERE key IN", list(keys))
        return {row[0]: Entry(*row[:-1]) for row in rows if row[-1] == _crc(*row[:-1])}

    def entries_in(self, shard: str) -> list[Entry]:
        rows = self._select("SELECT * FROM sounds WHERE shard IN", [shard])
        return [Entry(*row[:-1]) for row in rows if row[-1] == _crc(*row[:-1])]

    def shards(self, names: Iterable[str]) -> dict[str, StatKey]:
        """Shard -> its stat key when its samples were last known to be whole."""
        rows = self._select("SELECT * FROM shards WHERE name IN", list(names))
        return {name: _numbers(stat) for name, stat, crc in rows if crc == _crc(name, stat)}

    def has_sounds(self) -> bool:
        return bool(self._guarded(partial(_fetch, query="SELECT key FROM sounds LIMIT 1", values=())))

    def shards_in_use(self) -> set[str]:
        rows = self._guarded(partial(_fetch, query="SELECT DISTINCT shard FROM sounds", values=()))
        return {name for (name,) in rows}

    def add(
        self,
        entries: Sequence[Entry],
        *,
        files: Sequence[tuple[str, StatKey, str]] = (),
        shard: tuple[str, StatKey] | None = None,
    ) -> None:
        """Commits entries, files (path, stat key, content) and a shard (name, stat key), all or nothing."""
        sounds = [(*entry, _crc(*entry)) for entry in entries]
        paths = [(os.fsencode(path), _text(stat), content) for path, stat, content in files]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(f"INSERT OR REPLACE INTO sounds VALUES ({'?,' * 10}?)", sounds)
            rows = [(*row, _crc(*row)) for row in paths]
            connection.executemany("INSERT OR REPLACE INTO files VALUES (?,?,?,?)", rows)
            if shard is not None:
                name, stat = shard[0], _text(shard[1])
                row = (name, stat, _crc(name, stat))
                connection.execute("INSERT OR REPLACE INTO shards VALUES (?,?,?)", row)

        self._guarded(write)

    def forget(self, entries: Sequence[Entry]) -> None:
        """Drops damaged entries; one that another process has replaced meanwhile stays."""
        rows = [(entry.key, entry.shard) for entry in entries]
        self._guarded(lambda c: c.executemany("DELETE FROM sounds WHERE key = ? AND shard = ?", rows))

    def _select(self, query: str, values: Sequence[str | bytes]) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for i in range(0, len(values), _N_AT_ONCE):
            some = values[i : i + _N_AT_ONCE]
            full = f"{query} ({','.join('?' * len(some))})"
            rows += self._guarded(partial(_fetch, query=full, values=some))
        return rows

    def _guarded(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        """Runs one transaction; a damaged file is discarded once and the action repeated on a new one."""
        with self._lock:
            try:
                return self._transact(action)
            except sqlite3.DatabaseError as error:
                self._disconnect()
                name = getattr(error, "sqlite_errorname", "")
                if name.startswith(_NOT_DAMAGE) and name != _CUT_SHORT:
                    raise self._unusable(error) from error
                self._discard()
            try:
                return self._transact(action)
            except sqlite3.DatabaseError as error:
                raise self._unusable(error) from error

    def _transact(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, timeout=_WAIT_S, check_same_thread=False)
            # Rows check themselves and shards are synced, so a power cut may cost the index, never the truth
            self._connection.execute("PRAGMA synchronous = OFF")
            tables = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if len(tables.fetchall()) < _N_TABLES:
                self._connection.executescript(_SCHEMA)
        with self._connection:
            return action(self._connection)

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _discard(self) -> None:
        for suffix in ("-journal", ""):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _unusable(self, error: Exception) -> EarshotError:
        fix = "Free some space, mend its permissions, or set EARSHOT_CACHE to another folder."
        return EarshotError(complaint(self._path, "index of the cache", str(error), "a writable file", fix))


def _fetch(connection: sqlite3.Connection, *, query: str, values: Sequence[str | bytes]) -> list[Any]:
    return connection.execute(query, values).fetchall()


def _text(stat: StatKey) -> str:
    return " ".join(map(str, stat))


def _numbers(text: str) -> StatKey:
    return tuple(int(number) for number in text.split())


def _crc(*values: object) -> int:
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))
