"""Commands that list and fetch published corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from earshot.commands.app import app
from earshot.console import ConsoleMonitor
from earshot.errors import EarshotError, complaint


@app.command
def corpora() -> None:
    """List the published corpora that earshot knows: where each is, or how it comes."""
    from earshot.data.corpora import describe_corpora

    print(describe_corpora())


@app.command(name="fetch")
def fetch_corpus(
    name: str,
    /,
    *,
    classes: str = "",
    folds: str = "",
    folder: Annotated[Path | None, Parameter(name="--dir")] = None,
    source: str | None = None,
    quiet: bool = False,
) -> None:
    """Fetch a corpus, or some classes and folds of it: metadata first, then only the sounds that are missing.

    Re-run the same command to continue one that was stopped.

    Args:
        name: A corpus that `earshot corpora` lists.
        classes: Only these classes, with commas in between.
        folds: Only these official folds, with commas in between.
        folder: Folder for corpora; NAME is made in it. Without it, train finds the corpus by its name.
        source: Address of a mirror of this corpus; also EARSHOT_MIRROR/NAME.
        quiet: Print nothing but errors.
    """
    from earshot.data.fetch import fetch

    numbers = [fold.strip() for fold in folds.split(",") if fold.strip()]
    if not all(fold.isdecimal() for fold in numbers):
        raise EarshotError(complaint("--folds", "folds", folds, "whole numbers with commas in between"))
    wanted = [label.strip() for label in classes.split(",") if label.strip()]
    chosen = [int(fold) for fold in numbers]
    with ConsoleMonitor(quiet=quiet) as monitor:
        place = fetch(name, classes=wanted, folds=chosen, folder=folder, source=source, monitor=monitor)
        monitor.say(f"data: {place}")
        monitor.say(f"next: earshot train {place if folder else place.name}")
