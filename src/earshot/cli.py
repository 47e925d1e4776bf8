"""The command line: thin commands over the library. What a command does is in the function it calls."""

from __future__ import annotations

import signal

from earshot.commands import audit, augment, compare, corpora, explain, model, recipes, study
from earshot.commands.app import app
from earshot.console import exits

# Importing them adds their commands to the application.
COMMANDS = (audit, augment, compare, corpora, explain, model, recipes, study)
__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the `earshot` command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what stops it politely, stops it cleanly
    with exits():
        app()
