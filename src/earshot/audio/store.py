"""Decoded sounds on disk: each file is decoded once, in worker processes, then read at the speed of memory.

Conventions: a sound is a range of a file's content at one rate; entries are keyed by the SHA-256 of the
content, so that a file may move. Layout of the root: `index.sqlite` (see index.py) and `shards/*.i16` (see
shards.py). Any number of processes may use one root. A warm `ensure` looks at no audio file beyond its stat.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr

from earshot.audio.blocks import DecodeLimits
from earshot.audio.decode_pool import Answered, Catalogue, DecodePool, Job, Range
from earshot.audio.decode_worker import WorkerOptions
from earshot.audio.index import Entry, Index, StatKey, stat_key
from earshot.audio.reasons import printable
from earshot.audio.shards import ShardWriter, intact, remove_abandoned, remove_orphans
from earshot.audio.view import AudioView
from earshot.errors import EarshotError, complaint

__all__ = ["AudioStore", "AudioView", "Outcome", "Segment"]

_VERSION = 3  # raise when the same file would decode to other samples or another verdict
_WORKER_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Segment:
    """What to decode: a whole file, or [start_s, end_s) of it."""

    path: str
    start_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a segment. `reason` is a code of REASONS, or codes of WARNINGS joined by ";"."""

    segment: Segment
    status: str  # "ok", "warning" or "failed"
    reason: str = ""
    message: str = ""
    n_samples: int = 0
    source_rate_hz: int = 0
    n_channels: int = 0
    content: str = ""  # SHA-256 of the file, "" if it could not be read
    shard: str = field(default="", repr=False)
    offset: int = field(default=0, repr=False)

    @property
    def accepted(self) -> bool:
        return self.status != "failed"


class AudioStore:
    """The sounds of one rate in a cache folder.

    Args:
        rate_hz: every sound is resampled to it.
        root: folder of the cache; default $EARSHOT_CACHE, else ~/.cache/earshot.
        limits: bounds on each sound.
        quality: of resampling: QQ, LQ, MQ, HQ or VHQ.
        n_workers: decoding processes; default one a core.
        timeout_s: after which a decoder is killed and its sound given up.

    Workers live as long as an `ensure`, or inside `with store:` until its end.
    """

    def __init__(
        self,
        rate_hz: int,
        *,
        root: Path | None = None,
        limits: DecodeLimits | None = None,
        quality: str = "HQ",
        n_workers: int | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self.rate_hz, self.root = rate_hz, Path(root) if root is not None else _default_root()
        options = WorkerOptions(rate_hz, quality, limits or DecodeLimits(), timeout_s, _WORKER_BYTES)
        codecs = f"{soundfile.__libsndfile_version__}|{soxr.__version__}"
        self._flavour = f"{_VERSION}|{codecs}|{rate_hz}|{quality}|{options.limits}"
        self._folder = self.root / "shards"
        self._pool = DecodePool(options, n_workers=n_workers or _n_cores())
        self._keeps_workers = False
        self._make_folder()

    def __enter__(self) -> AudioStore:
        self._keeps_workers = True
        return self

    def __exit__(self, *_: object) -> None:
        self._keeps_workers = False
        self._pool.close()

    def ensure(
        self, items: Sequence[Segment], *, progress: Callable[[int, int], None] | None = None
    ) -> list[Outcome]:
        """Decodes what is not there yet. One outcome an item, in order; a bad file is no error.

        Args:
            progress: called with the number of items settled and their total.

        Raises:
            EarshotError: the cache itself cannot be read or written.
        """
        remove_abandoned(self._folder)
        with contextlib.closing(Index(self.root)) as index, self._workers():
            work = _Work(items, index, folder=self._folder, key_of=self.key_of)
            work.find()
            work.decode(self._pool, progress or (lambda n_done, n_all: None))
            return [work.outcome(item) for item in items]

    def view(self, outcomes: Iterable[Outcome]) -> AudioView:
        """The accepted ones among `outcomes`, in their order."""
        accepted = [outcome for outcome in outcomes if outcome.accepted]
        numbers = {name: i for i, name in enumerate(sorted({outcome.shard for outcome in accepted}))}
        rows = [(numbers[outcome.shard], outcome.offset, outcome.n_samples) for outcome in accepted]
        table = np.array(rows, np.int64).reshape(-1, 3)
        return AudioView(self._folder, list(numbers), rows=table, rate_hz=self.rate_hz)

    def beside(self, root: Path) -> AudioStore:
        """A store in another folder, with the same settings and the same worker processes."""
        other = copy.copy(self)
        other.root, other._folder = root, root / "shards"
        other._make_folder()
        return other

    def stop(self) -> None:
        """Ends an `ensure` that is under way in another thread, also in the middle of a file."""
        self._pool.close()

    def key_of(self, content: str, wanted: Range) -> str:
        """The name of a range of a content in the index: everything that its samples depend on."""
        return hashlib.sha256(f"{content}|{wanted}|{self._flavour}".encode()).hexdigest()

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fix = "Set EARSHOT_CACHE to a folder that can be written."
            raise EarshotError(
                complaint(self.root, "cache", error.strerror, "a writable folder", fix)
            ) from error

    @contextlib.contextmanager
    def _workers(self) -> Iterator[None]:
        try:
            yield
        finally:
            if not self._keeps_workers:
                self._pool.close()


class _Work:
    """One `ensure`: what is there, what is missing, and the answers as they come."""

    def __init__(
        self, items: Sequence[Segment], index: Index, *, folder: Path, key_of: Callable[[str, Range], str]
    ) -> None:
        self._index, self._folder, self._key_of = index, folder, key_of
        self._n_items = Counter(_place(item) for item in items)
        self._contents: dict[str, str] = {}
        self._entries: dict[tuple[str, Range], Entry] = {}

    def find(self) -> None:
        """Looks up everything whose file is as it was when it was hashed."""
        stats = {path: _stat(path) for path in dict.fromkeys(path for path, _ in self._n_items)}
        hashed = self._index.contents(path for path, stat in stats.items() if stat)
        self._contents = {path: content for path, (stat, content) in hashed.items() if stat == stats[path]}
        places = [place for place in self._n_items if place[0] in self._contents]
        keys = {place: self._key_of(self._contents[place[0]], place[1]) for place in places}
        found = self._lookup(list(keys.values()))
        self._entries = {place: found[key] for place, key in keys.items() if key in found}

    def decode(self, pool: DecodePool, progress: Callable[[int, int], None]) -> None:
        """Has the rest decoded; commits shard by shard, so that a killed run keeps what it had."""
        n_all = self._n_items.total()
        n_done = sum(self._n_items[place] for place in self._entries)
        progress(n_done, n_all)
        missing: dict[str, list[Range]] = {}
        for path, wanted in self._n_items:
            if (path, wanted) not in self._entries:
                missing.setdefault(path, []).append(wanted)

        def take(part: Answered) -> None:
            nonlocal n_done
            self._contents[part.path] = part.content
            for wanted, entry in part.entries.items():
                self._entries[part.path, wanted] = entry
                n_done += self._n_items[part.path, wanted]
            progress(n_done, n_all)

        jobs = [Job(path, ranges) for path, ranges in missing.items()]
        catalogue = Catalogue(self._folder, self._key_of, self._lookup, has_any=self._index.has_sounds())
        if jobs:
            pool.run(jobs, catalogue, on_answered=take, on_shard=self._commit)
            remove_orphans(self._folder, self._index.shards_in_use())

    def outcome(self, item: Segment) -> Outcome:
        path, wanted = _place(item)
        entry = self._entries[path, wanted]
        message = f"{printable(item.path)}: {entry.detail}" if entry.detail else ""
        figures = entry.n_samples, entry.source_rate_hz, entry.n_channels, self._contents.get(path, "")
        return Outcome(item, entry.status, entry.reason, message, *figures, entry.shard, entry.offset)

    def _lookup(self, keys: Sequence[str]) -> dict[str, Entry]:
        return intact(self._index.entries(keys), self._index, self._folder)

    def _commit(self, writer: ShardWriter) -> None:
        try:
            stat = writer.seal()
        except OSError as error:
            fix = "Free some space, or set EARSHOT_CACHE to another disk."
            raise EarshotError(
                complaint(writer.part, "cache", error.strerror, "a writable disk", fix)
            ) from error
        shard = (writer.name, stat) if stat else None
        self._index.add(writer.entries, files=writer.files, shard=shard)


def _place(item: Segment) -> tuple[str, Range]:
    start_s = float(item.start_s)
    end_s = None if item.end_s is None or not math.isfinite(item.end_s) else float(item.end_s)
    # NaN is not equal to itself, and places are compared; a start before the sound is refused as it is.
    return os.path.abspath(item.path), (-1.0 if math.isnan(start_s) else start_s, end_s)  # noqa: PTH100


def _stat(path: str) -> StatKey:
    try:
        return stat_key(os.stat(path))  # noqa: PTH116
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return ()


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _default_root() -> Path:
    return Path(os.environ.get("EARSHOT_CACHE") or Path.home() / ".cache" / "earshot")
