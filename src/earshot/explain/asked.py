"""Whether there is a file to explain: asked before anything heavy is loaded."""

from __future__ import annotations

from pathlib import Path

from earshot.data.readers import TABLE_EXTENSIONS
from earshot.errors import DataError, complaint


def check_file(path: Path) -> None:
    """Raises DataError where there is no file to explain."""
    if path.is_dir():
        raise DataError(complaint("FILE", "path", str(path), "one sound file", "Give a file of that folder."))
    if not path.is_file():
        raise DataError(complaint("FILE", "path", str(path), "a sound file that exists"))
    if path.suffix.lower() in TABLE_EXTENSIONS:
        raise DataError(complaint("FILE", "path", str(path), "one sound file, not a table"))
