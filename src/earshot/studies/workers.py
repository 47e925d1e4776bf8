"""Experiments side by side: a process a core, one intra-op thread each.

The networks of a study are small: two threads on one of them wait for each other longer than they work, on a busy
machine ten times as long. Processes, and not threads, because dropout draws from torch's global generator.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from earshot.data.splits import Fold
from earshot.studies.attempts import Workbench
from earshot.studies.outcome import Attempt
from earshot.studies.spec import Row


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Job:
    """One experiment."""

    row: Row
    fold: Fold | None
    run: int

    @property
    def name(self) -> tuple[str, str, int]:
        """Row, fold and run."""
        return self.row.id, self.fold.name if self.fold else "", self.run


@dataclass
class Workers:
    """A pool for the experiments of one study; made when the first job comes, closed at the end of a `with`.

    Args:
        n: processes; with one the jobs are done here, one after the other.
        say: is told where the pool is lost.
    """

    bench: Workbench
    n: int
    say: Callable[[str], None] = lambda text: None
    _pool: ProcessPoolExecutor | None = field(default=None, repr=False)
    _others: set[Any] = field(default_factory=set, repr=False)
    _is_broken: bool = field(default=False, repr=False)
    _answers: dict[tuple[str, str, int], Future[Attempt]] = field(default_factory=dict, repr=False)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool is None:
            return
        if (
            kind is not None
        ):  # an interrupt waits for nobody: what is finished is on disk, the rest has checkpoints
            for process in set(multiprocessing.active_children()) - self._others:
                process.terminate()
        self._pool.shutdown(cancel_futures=True)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Starts what is not finished yet, in this order."""
        missing = [job for job in jobs if self.bench.finished(job.row, job.fold, run=job.run) is None]
        if self.n < 2 or len(missing) < 2:
            return
        self._others = set(multiprocessing.active_children())
        with _one_thread_each():
            self._pool = ProcessPoolExecutor(
                min(self.n, len(missing)),
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start,
                initargs=(self.bench,),
            )
            for job in missing:  # processes start as jobs come: within these settings
                self._answers[job.name] = self._pool.submit(_make, job)

    def attempt(self, job: Job, *, on_progress: Any) -> Attempt:
        """The result of a job, waited for or made here, as all that are left are once a process was killed.

        Raises:
            Exception: whatever the experiment raised.
        """
        answer = self._answers.get(job.name)
        try:
            if answer is not None:
                return answer.result()
        except BrokenProcessPool:
            if not self._is_broken:
                self.say("a process was killed, for want of memory perhaps: the rest is done one by one")
            self._is_broken = True
        return self.bench.attempt(job.row, job.fold, run=job.run, on_progress=on_progress)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Settings that a new process reads when it loads its libraries."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_bench: Workbench | None = None


def _start(bench: Workbench) -> None:
    """In a new process: the parent hears of an interrupt and ends its children."""
    import torch

    global _bench
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _bench = bench


def _end_with_parent() -> None:
    """A parent that was killed cannot tell its children."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(job: Job) -> Attempt:
    assert _bench is not None
    return _bench.attempt(job.row, job.fold, run=job.run, on_progress=lambda done, total: None)
