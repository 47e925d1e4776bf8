"""How long work tells what it is doing, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Monitor(Protocol):
    """Listens to long work: the command line draws bars, the library stays quiet."""

    def say(self, text: str) -> None:
        """One line for the user and the log."""
        ...

    def progress(self, task: str, done: int, total: int) -> None:
        """`task` has finished `done` of `total` steps; it ends when they are equal."""
        ...


class Silent:
    """Listens to nothing."""

    def say(self, text: str) -> None:
        """Says nothing."""

    def progress(self, task: str, done: int, total: int) -> None:
        """Shows nothing."""
