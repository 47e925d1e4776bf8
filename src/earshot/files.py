"""Files that are whole or absent: written under a temporary name, flushed to disk, then renamed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes a file so that a crash at any moment leaves the old one or the new one, never a part."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(usual_mode())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_partial(*folders: Path) -> None:
    """Deletes what `write_whole` left in folders where its process was killed; nobody may be writing there."""
    for folder in folders:
        for part in folder.glob(".*.part"):
            if part.is_file():
                part.unlink(missing_ok=True)


@functools.cache
def usual_mode() -> int:
    """The permissions that `open` gives a new file here; a temporary file is its owner's alone."""
    umask = os.umask(0o077)  # there is no way to read it without setting it
    os.umask(umask)
    return 0o666 & ~umask


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` last through a power cut."""
    with contextlib.suppress(OSError):  # Windows has no descriptors of folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def metadata_of(body: bytes) -> dict[str, str]:
    """What a safetensors file says of itself beside its tensors.

    Raises:
        KeyError, ValueError: nothing, or it is no such file.

    Source: https://huggingface.co/docs/safetensors, "Format".
    """
    about: dict[str, str] = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])["__metadata__"]
    return about


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
