"""Walks a folder that nobody has checked and lists the sounds in it, in one order on every machine.

Nothing outside the folder is reached, nothing is opened, and what looks like a sound but is not used is
listed with a reason. Links to folders are never followed: inside the folder they repeat it or loop.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath

from earshot.audio.decode import AUDIO_EXTENSIONS

# Reason codes of files and folders that are left out.
SKIPS: dict[str, str] = {
    "hidden": "hidden file (its name starts with a dot); `._name.wav` files are macOS leftovers",
    "not_a_file": "a folder, pipe, socket or device, not a file",
    "outside_root": "a link that leaves the folder; copy the files, or list them in a CSV",
    "loop": "a link to itself or to a folder that contains it",
    "repeated": "a link to a folder that is listed anyway",
    "vanished": "disappeared during the scan, or a link to nothing",
    "unreadable": "no permission to look into it",
    "no_label": "lies beside the class folders, not in one",
}


@dataclass
class Listing:
    """What a walk found.

    Attributes:
        paths: sounds, sorted by the bytes of their names.
        originals: what those of them that are links point to (one sound under two names).
        skipped: (path, reason code of `SKIPS`).
        others: how often each other extension occurs.
    """

    paths: list[str] = field(default_factory=list)
    originals: dict[str, str] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def extension(name: str) -> str:
    return PurePath(name).suffix.lower()


def is_sound_name(name: str) -> bool:
    return extension(name) in AUDIO_EXTENSIONS


def walk(root: str) -> Listing:
    """Lists the sounds below a folder, at any depth, in any case of their extension."""
    found = Listing()
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _visit(entry, root, found):
                        folders.append(entry.path)
        except OSError as error:
            found.skipped.append((folder, _reason(error)))
    found.paths.sort(key=os.fsencode)
    found.skipped.sort(key=lambda item: os.fsencode(item[0]))
    return found


def _visit(entry: os.DirEntry[str], root: str, found: Listing) -> bool:
    """Files one directory entry; true for a folder to walk into."""
    sounds_like = is_sound_name(entry.name)
    reason = ""
    try:
        if entry.name.startswith("."):
            reason = "hidden" if sounds_like else ""
        elif entry.is_symlink():
            reason = _visit_link(entry, root, found)
        elif entry.is_dir():
            if not sounds_like:
                return True
            reason = "not_a_file"
        elif not entry.is_file():
            entry.stat()  # raises when the file has gone since the folder was read
            reason = "not_a_file" if sounds_like else ""
        elif sounds_like:
            found.paths.append(entry.path)
        else:
            found.others[extension(entry.name)] += 1
    except OSError as error:
        reason = _reason(error)
    if reason:
        found.skipped.append((entry.path, reason))
    return False


def _visit_link(entry: os.DirEntry[str], root: str, found: Listing) -> str:
    """Lists a link to a sound inside the root; returns the reason why any other link is skipped."""
    real_root, real = os.path.realpath(root), os.path.realpath(entry.path, strict=True)
    is_sound = is_sound_name(entry.name)
    if entry.is_dir():
        if not _inside(real, real_root):
            return "loop" if _inside(real_root, real) else "outside_root"
        holder = os.path.realpath(PurePath(entry.path).parent)
        return "loop" if _inside(holder, real) else "repeated"
    if not is_sound:
        return ""
    if not _inside(real, real_root):
        return "outside_root"
    if not entry.is_file():
        return "not_a_file"
    found.paths.append(entry.path)
    found.originals[entry.path] = root + real[len(real_root) :]
    return ""


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "unreadable"
    return "loop" if error.errno == errno.ELOOP else "vanished"
