"""Benchmarks, each beside its peer in one run. `python -m bench [NAME ...]` rewrites bench/RESULTS.md.

A benchmark is a module with `main() -> str`, which measures and returns a Markdown table. Two ways that are
compared take turns, so that whatever else the machine does falls on both; the median of the rounds counts.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Peak memory is asked for by a small process in between: Linux counts what a process has at its birth, its
# parent's memory, as its own.
_LAUNCHER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.call(sys.argv[2:])
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
with open(sys.argv[1], "w") as file:
    json.dump([code, seconds, peak * (1 if sys.platform == "darwin" else 1024)], file)
"""


class Skipped(Exception):
    """A benchmark cannot run here; the text says what it needs."""


@dataclass(frozen=True)
class Cost:
    """What a command took: wall time, and the peak memory of the largest process among it and its children."""

    seconds: float
    peak_bytes: int


def data_folder(name: str) -> Path:
    """A folder of real recordings below $EARSHOT_DATA.

    Raises:
        Skipped: it is not there.
    """
    folder = Path(os.environ.get("EARSHOT_DATA") or ".") / name
    if not os.environ.get("EARSHOT_DATA") or not folder.is_dir():
        raise Skipped(f"set EARSHOT_DATA to a folder that holds {name}/")
    return folder


def earshot(*arguments: object) -> list[str]:
    """The command line of an `earshot` command of this Python."""
    return [sys.executable, "-m", "earshot", *map(str, arguments)]


def cost(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> Cost:
    """Runs a command to its end; what it prints goes to standard error.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "cost.json"
        launcher = [sys.executable, "-S", "-c", _LAUNCHER, str(answer)]
        subprocess.run(
            [*launcher, *command], check=True, stdout=sys.stderr, env={**os.environ, **(env or {})}
        )
        code, seconds, peak_bytes = json.loads(answer.read_text())
    if code:
        raise RuntimeError(f"exit code {code}: {' '.join(command)}")
    return Cost(seconds, peak_bytes)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def alternating(n_rounds: int, *works: Callable[[], float]) -> list[float]:
    """Calls each work once a round, in turn; returns the median of what each measured."""
    rounds = [[work() for work in works] for _ in range(n_rounds)]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def table(header: Sequence[str], rows: Sequence[Sequence[object]], *, note: str = "") -> str:
    """A Markdown table, and a note below it."""
    lines = [header, ["---"] * len(header), *rows]
    text = "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
    return f"{text}\n\n{note}".strip()


def mib(n_bytes: float) -> str:
    """Bytes as a number of MiB."""
    return f"{n_bytes / 2**20:,.0f} MiB"
