"""What the command line shows: lines, progress bars with the time left, and errors in one line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from earshot.errors import EarshotError, is_out_of_memory

EXIT_USER, EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_NOT_READ = 1, 3, 130, 141
_RESUMING = {"train", "audit", "augment", "fetch", "study"}  # commands that keep what they have done


class ConsoleMonitor:
    """A `Monitor` that draws bars on standard error, one a task, and prints lines above them."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False, emoji=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,  # in a file they would be stray blank lines
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> ConsoleMonitor:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(escape(text), soft_wrap=True)

    def progress(self, task: str, done: int, total: int) -> None:
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(escape(task), total=total)
        self._bars.update(self._tasks[task], completed=done, total=total)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(task))


@contextmanager
def exits() -> Iterator[None]:
    """Turns what goes wrong into an exit code and one line: 1 the user's, 3 ours, 130 interrupted, 141 unread."""
    try:
        yield
    except EarshotError as error:
        _fail(str(error), EXIT_USER)
    except KeyboardInterrupt:
        goes_on = _RESUMING & set(sys.argv[1:2])
        _fail(
            "interrupted" + ("; the same command goes on where it stopped" if goes_on else ""),
            EXIT_INTERRUPTED,
        )
    except BrokenPipeError:
        # Whoever read us, `head` perhaps, has enough. What is still buffered is for nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_NOT_READ) from None
    except OSError as error:
        _fail(f"{type(error).__name__}: {error}. Check the disk, its free space and permissions.", EXIT_USER)
    except Exception as error:
        if is_out_of_memory(error):
            _fail(f"out of memory: {error}. Close other programs, or work on fewer clips.", EXIT_USER)
        traceback.print_exc()
        _fail("this is a fault in earshot; please report it with the lines above", EXIT_INTERNAL)


def _fail(message: str, code: int) -> None:
    line = " ".join(message.split("\n"))
    print(f"earshot: {line}", file=sys.stderr)
    raise SystemExit(code)
