"""Supervised worker processes: a decoder that crashes or hangs costs one sound, never the run.

Plain `python -m earshot.audio.decode_worker` processes rather than multiprocessing: spawn and forkserver
import the caller's main module again (a script that trains would train in every worker, and load torch
there), and fork is unsafe beside torch's threads. One thread a worker talks to it sound by sound, so that it
is always known which sound a worker died on.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from earshot.audio.decode_process import WorkerDied, WorkerProcess
from earshot.audio.decode_worker import WorkerOptions
from earshot.audio.index import Entry, StatKey
from earshot.audio.reasons import failure
from earshot.audio.shards import ShardWriter
from earshot.errors import EarshotError, Words

Range = tuple[float, float | None]  # start_s, end_s
_POLL_S = 0.05
_TRANSIENT = {"changed", "crashed", "timed_out", "no_memory"}  # may go better next time: never remembered


@dataclass
class Job:
    """One file and the ranges wanted of it; `entries` fills as they come."""

    path: str
    ranges: Sequence[Range]
    content: str = ""
    stat: StatKey = ()
    settled: bool = False
    entries: dict[Range, Entry] = field(default_factory=dict)

    def open_ranges(self) -> list[Range]:
        return [wanted for wanted in self.ranges if wanted not in self.entries]


@dataclass(frozen=True)
class Answered:
    """What became of some of a file's ranges; `content` is "" where the file cannot be read."""

    path: str
    content: str
    entries: dict[Range, Entry]


@dataclass(frozen=True)
class Catalogue:
    """What the pool must know of a store: its folder of shards, the key of a sound, and what is there already."""

    folder: Path
    key_of: Callable[[str, Range], str]
    lookup: Callable[[Sequence[str]], dict[str, Entry]]
    has_any: bool


_Result: TypeAlias = Answered | ShardWriter | BaseException | None


class DecodePool:
    """Keeps up to `n_workers` processes; they stay for the next run until `close`."""

    def __init__(self, options: WorkerOptions, *, n_workers: int) -> None:
        self._options, self._n_workers = options, n_workers
        self._workers: set[WorkerProcess] = set()
        self._idle: list[WorkerProcess] = []
        self._lock = threading.Lock()
        self.stopping = False

    def run(
        self,
        jobs: Sequence[Job],
        catalogue: Catalogue,
        *,
        on_answered: Callable[[Answered], None],
        on_shard: Callable[[ShardWriter], None],
    ) -> None:
        """Calls `on_answered` as ranges are answered and `on_shard` for every shard to be sealed, in this thread.

        Interrupted, it stops the workers at once and hands over what was finished.
        """
        results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        n_ranges = sum(len(job.ranges) for job in jobs)
        # A process costs as much as some forty short files.
        n_threads = min(self._n_workers, len(jobs), -(-n_ranges // 4))
        shifts = [_Shift(self, waiting, catalogue, results) for _ in range(n_threads)]
        threads = [threading.Thread(target=shift.work, daemon=True) for shift in shifts]
        self.stopping = False
        for thread in threads:
            thread.start()
        try:
            _consume(results, n_threads, on_answered, on_shard, self._kill_overdue)
        except BaseException:
            self.close()
            for thread in threads:
                thread.join()
            while not results.empty():
                if isinstance(leftover := results.get(), ShardWriter):
                    with contextlib.suppress(EarshotError):  # the first trouble is the one to report
                        on_shard(leftover)
            raise

    def close(self) -> None:
        """Kills the workers, also in the middle of a file."""
        self.stopping = True
        with self._lock:
            workers, self._workers, self._idle = self._workers, set(), []
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.bury()

    def hire(self) -> WorkerProcess:
        """A worker that is idle, or a new one."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        worker = WorkerProcess(self._options)
        with self._lock:
            if not self.stopping:
                self._workers.add(worker)
        if self.stopping:
            worker.kill()
        else:
            worker.greet()
        return worker

    def release(self, worker: WorkerProcess, *, alive: bool) -> None:
        with self._lock:
            if alive:
                self._idle.append(worker)
            else:
                self._workers.discard(worker)
        if not alive:
            worker.kill()
            worker.bury()

    def _kill_overdue(self) -> None:
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            worker.kill_if_overdue()


def _consume(
    results: queue.SimpleQueue[_Result],
    n_threads: int,
    on_answered: Callable[[Answered], None],
    on_shard: Callable[[ShardWriter], None],
    supervise: Callable[[], None],
) -> None:
    """Takes results until every thread has said None; looks after time-outs, however busy it is."""
    next_look_s = 0.0
    while n_threads:
        if time.monotonic() > next_look_s:
            supervise()
            next_look_s = time.monotonic() + _POLL_S
        try:
            result = results.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if result is None:
            n_threads -= 1
        elif isinstance(result, BaseException):
            raise result
        elif isinstance(result, Answered):
            on_answered(result)
        else:
            on_shard(result)


class _Shift:
    """What one thread of a run does: job after job with a worker process, sound after sound into its own shard."""

    def __init__(
        self,
        pool: DecodePool,
        jobs: queue.SimpleQueue[Job],
        catalogue: Catalogue,
        results: queue.SimpleQueue[_Result],
    ) -> None:
        self._pool, self._jobs, self._catalogue, self._results = pool, jobs, catalogue, results
        self._writer = ShardWriter(catalogue.folder)

    def work(self) -> None:
        """The thread's life."""
        try:
            while not self._pool.stopping:
                self._serve(self._jobs.get_nowait())
                self._next_shard_if_full()
        except queue.Empty:
            pass
        except BaseException as error:
            self._results.put(error)
        finally:
            with contextlib.suppress(OSError):  # the threads' last shards go to disk side by side;
                self._writer.seal()  # what fails here fails again, and is reported, where it is committed
            self._results.put(self._writer)
            self._results.put(None)

    def _serve(self, job: Job) -> None:
        """Completes `job`. A sound gets a second chance after a crash: who knows who killed the worker."""
        n_deaths = 0
        while job.open_ranges() and not self._pool.stopping:
            worker = self._pool.hire()
            try:
                self._converse(worker, job)
                self._pool.release(worker, alive=True)
            except WorkerDied as death:
                self._pool.release(worker, alive=False)
                n_deaths += 1
                if death.reason == "timed_out" or n_deaths > 1:
                    n_deaths = 0
                    self._blame(job, death.reason)
            except BaseException:
                self._pool.release(worker, alive=False)
                raise
        if job.settled:
            self._writer.files.append((job.path, job.stat, job.content))

    def _blame(self, job: Job, reason: str) -> None:
        died = Words("one that crashed" if reason == "crashed" else "one that hung")
        error = failure(reason, "", "decoder", died, "one that answers")
        entry = Entry("", "failed", reason, str(error).removeprefix(": "))
        self._answered(job, dict.fromkeys(job.open_ranges()[: 1 if job.content else None], entry))

    def _answered(self, job: Job, entries: dict[Range, Entry]) -> None:
        job.entries |= entries
        self._results.put(Answered(job.path, job.content, entries))

    def _converse(self, worker: WorkerProcess, job: Job) -> None:
        worker.send(job.path)
        hello = worker.receive()
        while "n_hashed" in hello:
            hello = worker.receive()
        if "content" not in hello:
            self._answered(job, dict.fromkeys(job.open_ranges(), Entry("", **hello)))
            return
        job.content, job.stat, job.settled = hello["content"], tuple(hello["stat"]), hello["settled"]
        keys = {range_s: self._catalogue.key_of(job.content, range_s) for range_s in job.open_ranges()}
        if self._catalogue.has_any:
            known = self._catalogue.lookup(list(keys.values()))
            self._answered(job, {range_s: known[key] for range_s, key in keys.items() if key in known})
        for range_s in job.open_ranges():
            self._next_shard_if_full()
            worker.send({"range": range_s, "shard": str(self._writer.part), "offset": self._writer.n_bytes})
            self._answered(job, {range_s: self._taken(worker.receive(), keys[range_s])})
        worker.send(None)

    def _next_shard_if_full(self) -> None:
        if self._writer.is_full:
            self._results.put(self._writer)
            self._writer = ShardWriter(self._catalogue.folder)

    def _taken(self, answer: dict[str, Any], key: str) -> Entry:
        """The entry that an answer makes, counted into the shard."""
        if "fatal" in answer:
            raise EarshotError(f"The cache cannot be written: {answer['fatal']}. Free some space.")
        if answer["reason"] in _TRANSIENT:
            return Entry("", **answer)
        if answer["status"] != "failed":
            answer |= {"shard": self._writer.name, "offset": self._writer.n_bytes}
        entry = Entry(key, **answer)
        self._writer.accept(entry)
        return entry
