"""Trainings of a run, a member on a fold each: one after the other here, or side by side in processes of their own.

A small network does not keep several threads busy: with a thread each, several trainings are done sooner than one
after the other with all threads (`python -m bench side_by_side`). Processes, because dropout draws from torch's
global generator; plain `python -c` ones, because spawn and forkserver import the user's script again.

A job goes to its process as a pickle. Progress comes back as pickles, the result by way of the run folder, where a
run that is continued looks as well: a process that dies loses what its checkpoint does not hold, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import torch

import earshot
from earshot.errors import EarshotError, complaint, is_out_of_memory
from earshot.runfolder import FoldFile
from earshot.training.members import FittedFold, FoldData, MemberConfig, fit_member

_WORTH_A_PROCESS_S = (
    10_000.0  # of sound heard in all epochs: some 20 s of training, ten times a process's start
)
_PATIENCE_S = 20.0  # for a process that is to end: a write to a slow disk
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# What a library prints, also while it is imported, must not get between the answers.
_START = """
import os
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
from earshot.trainings import serve
serve(answers)
"""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Job:
    """One training: of which member, on which clips, and where its result goes.

    Args:
        share: of torch's threads that it may use; others have the rest meanwhile.
    """

    config: MemberConfig
    data: FoldData
    seed: int
    device: str
    file: FoldFile
    share: float = 1.0

    @property
    def is_long(self) -> bool:
        """Whether it is worth a process of its own."""
        if not self.config.is_network or self.device != "cpu":
            return False
        window_s = self.data.length / self.data.rate_hz
        return self.n_epochs * len(self.data.train) * window_s > _WORTH_A_PROCESS_S

    @property
    def n_epochs(self) -> int:
        """Of a network, unless it stops early."""
        return self.config.training.n_epochs(len(self.data.train))

    def make(self, on_progress: Progress) -> tuple[FittedFold, float]:
        """Trains, writes the result, and returns it with its seconds, those of a shared machine by the share.

        Raises:
            EarshotError: as `fit_member`.
        """
        started = time.perf_counter()
        fitted = fit_member(
            self.config,
            self.data,
            seed=self.seed,
            device=self.device,
            checkpoint=self.file.checkpoint,
            on_progress=on_progress,
        )
        seconds = self.share * (time.perf_counter() - started)
        self.file.save(fitted, seconds=seconds)
        return fitted, seconds


def sharing(jobs: Sequence[Job], *, n_processes: int) -> list[Job]:
    """The jobs with their shares of the threads: `n_processes` at a time, and those left over share among them.

    A share depends on all jobs of a run, not on those that are still to be made: with another number of threads a
    training that is continued would round otherwise.
    """
    n_last = len(jobs) % n_processes or n_processes
    early = len(jobs) - n_last
    return [replace(job, share=1 / (n_processes if i < early else n_last)) for i, job in enumerate(jobs)]


def make_side_by_side(jobs: Sequence[Job], *, n_processes: int, on_progress: Progress) -> None:
    """Makes all jobs, `n_processes` at a time, each with its share of torch's threads; results are on disk then.

    Args:
        on_progress: called with the epochs that are done and their number, over all jobs.

    Raises:
        Exception: what the first job to fail raised; the others are stopped and keep their checkpoints.
    """
    said: queue.Queue[tuple[int, _Message]] = queue.Queue()
    waiting = list(enumerate(jobs))
    running: dict[int, _Process] = {}
    epochs = {i: (0, job.n_epochs) for i, job in enumerate(jobs)}
    try:
        while waiting or running:
            while waiting and len(running) < n_processes:
                i, job = waiting.pop(0)
                running[i] = _Process(job, hear=partial(_into, said, i))
            i, message = said.get()
            if message.error is not None:
                raise message.error
            epochs[i] = message.progress
            if message.is_last:
                running.pop(i).end()
            done, total = (sum(each) for each in zip(*epochs.values(), strict=True))
            on_progress(done, total)
    finally:
        for process in running.values():
            process.stop()
        for process in running.values():
            process.end()


@dataclass(frozen=True)
class _Message:
    """What a process says: how far it is, that it is done, or what went wrong."""

    progress: tuple[int, int] = (0, 1)
    is_last: bool = False
    error: Exception | None = None


def _into(said: queue.Queue[tuple[int, _Message]], i: int, message: _Message) -> None:
    said.put((i, message))


class _Process:
    """A running `serve`; a thread of ours listens to it."""

    def __init__(self, job: Job, *, hear: Callable[[_Message], None]) -> None:
        self._hear, self._name = hear, job.file.folder.name
        n_threads = max(1, int(job.share * torch.get_num_threads()))
        home = str(Path(earshot.__file__).parents[1])
        search = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")]))
        self._body = pickle.dumps((job, n_threads))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 open as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **dict.fromkeys(_THREADS, str(n_threads)), "PYTHONPATH": search},
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def stop(self) -> None:
        """Asks the process to end; what it has written whole stays."""
        self._process.terminate()

    def end(self) -> None:
        """Sees the process to its end, finished or not."""
        self.stop()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _listen(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            # The pipe stays open: that it closes tells the process that this one is gone.
            self._process.stdin.write(self._body)
            self._process.stdin.flush()
            self._body = b""
            while True:
                message: _Message = pickle.load(self._process.stdout)
                self._hear(message)
                if message.is_last or message.error is not None:
                    return
        except Exception:  # a pipe that ends, or words that are no message: the one who waits must hear of it
            self._hear(_Message(error=self._died()))

    def _died(self) -> EarshotError:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines() or ["it left no message"]
        rule = "a process that trains to its end"
        fix = f"Its last words: {lines[-1]}."
        if code < 0:  # ended from outside, as by a system that is out of memory
            fix = "The same command goes on; if memory is short, with --jobs 1."
        return EarshotError(complaint("training", f"exit code of {self._name}", code, rule, fix))


def _end_with_parent() -> None:
    """A parent that was killed cannot tell its children; its end of the pipe closes by itself.

    Read past the buffer, whose lock would trouble the interpreter's end.
    """
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def serve(answers: BinaryIO) -> None:
    """In the new process. The parent hears of an interrupt and ends its children, in an order of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no file is left half written
    job, n_threads = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(n_threads)

    def say(message: _Message) -> None:
        pickle.dump(message, answers)
        answers.flush()

    try:
        job.make(lambda done, total: say(_Message(progress=(done, total))))
        say(_Message(progress=(job.n_epochs, job.n_epochs), is_last=True))
    except KeyboardInterrupt:
        return
    except (EarshotError, OSError) as error:
        say(_Message(error=error))
    except Exception as error:
        if is_out_of_memory(error):
            say(_Message(error=MemoryError(str(error))))
        else:
            say(_Message(error=RuntimeError(f"in the training of a fold\n{traceback.format_exc()}")))
