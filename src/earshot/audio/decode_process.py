"""One worker process and the conversation with it: one JSON object a line, each answer within a time-out."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import earshot
from earshot.audio.decode_worker import WorkerOptions
from earshot.errors import EarshotError

_START_S = 120.0  # importing numpy from a cold network disk takes its time
# glibc returns blocks over 128 KiB to the system and gets them back page by page: a tenth of a worker's time
_KEEP_PAGES = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**26)}


class WorkerDied(Exception):
    """The process ended instead of answering. `reason` is "crashed" or "timed_out"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WorkerProcess:
    """A running `earshot.audio.decode_worker`. One thread talks to it; another may kill it."""

    def __init__(self, options: WorkerOptions) -> None:
        package_home = str(Path(earshot.__file__).parents[1])
        settings = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **_KEEP_PAGES}
        search = os.pathsep.join(filter(None, [package_home, os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-Wignore", "-m", "earshot.audio.decode_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **settings, "PYTHONPATH": search},
        )
        self._options, self._deadline, self._late = options, float("inf"), False

    def greet(self) -> None:
        """Hands over the options and waits until the worker has imported what it needs.

        Raises:
            EarshotError: it does not start; that is no fault of any sound file.
        """
        try:
            self.send(asdict(self._options))
            self.receive(_START_S)
        except WorkerDied as error:
            raise EarshotError("The decoding process does not start; its own message is above.") from error

    def send(self, message: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:  # a pipe broken by the other side, or closed by a kill
            raise WorkerDied("crashed") from error

    def receive(self, timeout_s: float | None = None) -> dict[str, Any]:
        assert self._process.stdout is not None
        self._deadline = time.monotonic() + (timeout_s or self._options.timeout_s)
        try:
            line = self._process.stdout.readline()
        except ValueError:
            line = b""
        self._deadline = float("inf")
        if not line.endswith(b"\n"):
            raise WorkerDied("timed_out" if self._late else "crashed")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill_if_overdue(self) -> None:
        if time.monotonic() > self._deadline:
            self._late = True
            self._process.kill()

    def kill(self) -> None:
        self._process.kill()

    def bury(self) -> None:
        """Waits for a killed process, which then cannot write any more, and lets go of its pipes."""
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()
