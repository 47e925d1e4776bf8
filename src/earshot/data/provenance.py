"""What made each file of an augmented corpus: a journal that survives a stop at any moment, and tables of it.

Conventions: `provenance.jsonl` has a line a source, appended when all its files are there; the last line of a
source counts. A line that a crash cut short is passed over. Paths are relative to the corpus' folder, with `/`.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earshot.audio.step import Parameters
from earshot.data import fields
from earshot.files import sha256_of, sync_folder


@dataclass(frozen=True)
class VariantFile:
    """One file, and what made it of its source. Variant 0 is the source itself, with no seed and no parameters."""

    path: str
    variant: int
    seed: int | None
    parameters: Sequence[Parameters]
    sha256: str
    size: int

    def is_whole(self, home: Path) -> bool:
        """The file is there with its recorded content."""
        try:
            return (home / self.path).stat().st_size == self.size and sha256_of(
                home / self.path
            ) == self.sha256
        except OSError:
            return False


class Journal:
    """Records by the stem of a source's files; only the place of each line is kept in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place: dict[str, int] = {}
        self._is_cut = False
        path.touch()
        with path.open("rb") as file:
            at = 0
            for line in file:
                self._note(line, at)
                at += len(line)
                self._is_cut = not line.endswith(b"\n")

    def _note(self, line: bytes, at: int) -> None:
        try:
            self._place[json.loads(line)["stem"]] = at
        except (ValueError, TypeError, KeyError):
            return  # cut short: its files are made again

    def get(self, stem: str) -> dict[str, Any] | None:
        """The last record of a source, if any."""
        if stem not in self._place:
            return None
        with self._path.open("rb") as file:
            file.seek(self._place[stem])
            record: dict[str, Any] = json.loads(file.readline())
        return record

    def put(self, record: Mapping[str, Any]) -> None:
        """Appends the record of a source."""
        with self._path.open("ab") as file:
            if self._is_cut:
                file.write(b"\n")
                self._is_cut = False
            self._place[record["stem"]] = file.tell()
            file.write(json.dumps(record).encode() + b"\n")


def write_renamed(path: Path, content: bytes) -> None:
    """A file that is whole or absent after a crash; unlike `write_whole` it does not wait for the disk.

    Thousands of files would wait for minutes. What a power cut takes shows by its hash, and is made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_csv(path: Path, columns: Sequence[str], *, rows: Iterable[Mapping[str, Any]]) -> None:
    """Some columns of the rows, one row in memory at a time; whole or absent, and formulas are made harmless."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            writer.writerow([fields.escape_cell(fields.text_of(row[name])) for name in columns])
        file.flush()
        os.fsync(file.fileno())  # the table guards the test side: it must not be cut by a power cut
    temporary.replace(path)
    sync_folder(path.parent)
