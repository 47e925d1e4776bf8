"""The list of a model folder's files with their sizes and digests, and the check of a folder against it."""

from __future__ import annotations

import json
from pathlib import Path

from earshot.errors import BundleError, complaint
from earshot.files import sha256_of, write_whole

ALLOWED_SUFFIXES = frozenset({".json", ".safetensors", ".skops", ".md"})
_MAX_FILE_BYTES = 2 * 2**30
_MAX_MANIFEST_BYTES = 2**20


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
        raise BundleError(
            f"{folder}: this is {what}; expected a folder with manifest.json, as `earshot train` writes to "
            "RUN/model."
        )
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise BundleError(
            complaint(path, "size", path.stat().st_size, f"<= {_MAX_MANIFEST_BYTES} bytes", fix)
        )
    listed = _listed(path)
    found = {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()
    } - {path.name}
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
