"""The list of a model folder's files with their sizes and digests: how a folder is checked, and how replaced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from earshot.errors import BundleError, complaint
from earshot.files import sha256_of, sync_folder, write_whole

ALLOWED_SUFFIXES = frozenset({".json", ".safetensors", ".skops", ".md"})
_MAX_FILE_BYTES = 2 * 2**30
_MAX_MANIFEST_BYTES = 2**20


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, for the files of a model, that takes its place at the end of a `with`.

    Raises:
        BundleError: `folder` is a file, or holds what no manifest there vouches for.
    """
    folder = folder.resolve()
    new, old = (folder.parent / f".{folder.name}.{word}" for word in ("part", "old"))
    if old.exists() and not folder.exists():  # killed between the two renames below
        old.rename(folder)
    _refuse_others(folder)
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        sync_folder(folder.parent)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _refuse_others(folder: Path) -> None:
    """Only an earlier model may be replaced: weights, README.md and config.json may be anybody's."""
    at = next(path for path in (folder, *folder.parents) if path.exists())
    if not at.is_dir():
        rule, fix = "a folder, new or that of a model", "A file has its name."
        raise BundleError(complaint("save", "folder", str(at), rule, fix))
    there = {path.relative_to(folder).as_posix() for path in _files(folder)}
    manifest = folder / "manifest.json"
    try:
        own = {manifest.name, *_listed(manifest)} if manifest.is_file() else set()
    except BundleError:
        own = set()
    if there - own:
        rule, fix = "an empty folder, or that of a model", "Choose another folder, or remove it."
        raise BundleError(complaint(folder, "file", min(there - own), rule, fix))


def _files(folder: Path) -> Iterator[Path]:
    """Whatever is no folder, at any depth."""
    return (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def write_manifest(folder: Path) -> None:
    """Records every other file of the folder."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / "manifest.json"
    }
    write_whole(folder / "manifest.json", json.dumps(files, indent=2) + "\n")


def check_manifest(folder: Path) -> frozenset[str]:
    """Compares names, then sizes, then digests: nothing is parsed before it is known to be what was written.

    Returns:
        The checked files: nothing else may be read.

    Raises:
        BundleError: the folder is no bundle, or a file is missing, added, changed or too large.
    """
    fix = "Copy the model folder again, or train again."
    path = folder / "manifest.json"
    if not path.is_file():
        what = "a file" if folder.is_file() else "no model folder"
        rule, inside = "a folder with manifest.json, as `earshot train` writes to RUN/model", folder / "model"
        fix = f"Is {inside} meant?" if (inside / path.name).is_file() else ""
        raise BundleError(f"{folder}: this is {what}; expected {rule}. {fix}".strip())
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise BundleError(
            complaint(path, "size", path.stat().st_size, f"<= {_MAX_MANIFEST_BYTES} bytes", fix)
        )
    listed = _listed(path)
    found = {each.relative_to(folder).as_posix() for each in _files(folder)} - {path.name}
    for name in sorted(found - set(listed)):
        rule = f"only the files of the manifest ({', '.join(sorted(ALLOWED_SUFFIXES))})"
        raise BundleError(complaint(folder, "file", name, rule, "Remove it: a bundle holds nothing else."))
    for name, (n_bytes, digest) in listed.items():
        file = folder / name
        if Path(name).suffix not in ALLOWED_SUFFIXES:
            rule = f"one of {', '.join(sorted(ALLOWED_SUFFIXES))}"
            raise BundleError(complaint(folder, "file", name, rule, "Other formats can run code."))
        if name not in found or file.is_symlink() or not file.is_file():
            raise BundleError(complaint(folder, "file", name, "a plain file that is there", fix))
        if file.stat().st_size != n_bytes or n_bytes > _MAX_FILE_BYTES:
            rule = f"{n_bytes} bytes (at most {_MAX_FILE_BYTES})"
            raise BundleError(complaint(file, "size", file.stat().st_size, rule, fix))
        if sha256_of(file) != digest:
            raise BundleError(complaint(file, "SHA-256", sha256_of(file)[:12], f"{digest[:12]}...", fix))
    return frozenset(listed)


def _listed(path: Path) -> dict[str, tuple[int, str]]:
    try:
        entries = json.loads(path.read_text())
        listed = {str(k): (int(v["bytes"]), str(v["sha256"])) for k, v in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        rule = "the JSON that earshot wrote"
        raise BundleError(
            complaint(path, "manifest", "damaged", rule, "Copy the model folder again.")
        ) from error
    for name in listed:
        parts = Path(name).parts
        if Path(name).is_absolute() or ".." in parts or "\\" in name or "\0" in name:
            raise BundleError(complaint(path, "file name", name, "a path inside the model folder"))
    for name in ("config.json", "README.md", "trained_on.safetensors", "golden/golden.safetensors"):
        if name not in listed:
            raise BundleError(complaint(path, "files", sorted(listed), f"{name} among them"))
    return listed
