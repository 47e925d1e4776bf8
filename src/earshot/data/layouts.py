"""Recognises how people arrange sounds in folders, and reads labels, groups, folds and splits from it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import pandas as pd

from earshot.data import fields
from earshot.data.scan import Listing
from earshot.errors import DataError, complaint

# Names after ESC-50: FOLD-CLIP-TAKE[-TARGET].ext, where CLIP is the source recording and TAKE a letter.
# A letter is asked for so that dates (2021-05-03, 01-05-2021) are not taken for it.
# Source: https://github.com/karolpiczak/ESC-50
_N_NAMED = 3  # of the sounds that a note on those left out names
_ESC_NAME = re.compile(r"(?P<fold>\d{1,2})-(?P<clip>\w+)-(?P<take>[A-Za-z]{1,3})(?:-(?P<target>\d+))?")
_FOLD = re.compile(r"fold[ _-]?\d{1,2}", re.IGNORECASE)
# Class folders after ESC-10: `001 - Dog bark`.
_NUMBERED = re.compile(r"\d+ *- *(?P<name>\S.*)")

LAYOUTS = (
    "a folder per class, train/ + test/ folders of class folders, names like FOLD-CLIP-TAKE.wav in class "
    "folders, meta/esc50.csv, UrbanSound8K.csv, the folders of FSDD, cats-dogs and TIMIT, a CSV of speakers "
    "beside sounds whose names begin with the speaker"
)
# Source: https://github.com/karolpiczak/ESC-50
_ESC_10 = {
    *("Baby cry", "Chainsaw", "Clock tick", "Dog bark", "Fire crackling"),
    *("Helicopter", "Person sneeze", "Rain", "Rooster", "Sea waves"),
}


@dataclass(frozen=True)
class Found:
    """Rows for `Clips`, what to tell the user about them, and the files that have no label."""

    table: pd.DataFrame
    notes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()


def unlabelled(paths: Sequence[str], rows: Sequence[int]) -> tuple[tuple[str, str], ...]:
    """The sounds of a folder that a layout has no label for, where it has one for those of `rows`."""
    kept = set(rows)
    return tuple((path, "no_label") for i, path in enumerate(paths) if i not in kept)


def folder_clips(root: str, listing: Listing) -> Found:
    """Labels the sounds of a folder by its layout; `table` is empty when no layout fits.

    Raises:
        DataError: the folders are parts of a data set (train, test; fold1, fold2), not classes.
    """
    parts = [_parts(path, root) for path in listing.paths]
    splits = _splits(parts)
    below = [p[1:] if split else p for p, split in zip(parts, splits, strict=True)]
    targets = _flat_targets(below)
    labels = [p[0] if len(p) > 1 else target for p, target in zip(below, targets, strict=True)]
    kept = [i for i, label in enumerate(labels) if label]
    _check_classes(root, sorted({p[0] for p in parts if len(p) > 1}), has_labels=bool(kept))
    names = _class_names([labels[i] for i in kept])
    table = pd.DataFrame(
        {
            "path": [listing.paths[i] for i in kept],
            "label": [names[labels[i]] for i in kept],
            "split": [splits[i] for i in kept],
        },
        dtype=object,
    )
    notes = ["corpus: ESC-10"] if set(names.values()) == _ESC_10 else []
    notes += [f"labels: {'names of files' if any(targets) else 'class folders'}"] if kept else []
    if any(splits):
        notes.append(f"splits: folders {', '.join(sorted({parts[i][0] for i in kept}))}")
    table, group_notes = grouped_by_name(table, root=root, originals=listing.originals)
    return Found(table, (*notes, *group_notes), unlabelled(listing.paths, kept))


def grouped_by_name(
    table: pd.DataFrame, *, root: str, originals: dict[str, str] | None = None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Fills `group` (and `fold`, where the table has none) from ESC-style names, when most names are such.

    The source recording matters more than the layout: a few odd names do not lose the groups of the others.
    """
    matches = [_ESC_NAME.fullmatch(PurePath(path).stem) for path in table["path"]]
    n_matching = sum(match is not None for match in matches)
    linked = originals or {}
    own = [os.path.relpath(linked[p], root) if p in linked else "" for p in table["path"]]
    n_folds = len({match["fold"] for match in matches if match})
    if n_matching * 2 <= len(table) or n_matching == 0:
        note = ("no groups in the data: every file is its own group",) if len(table) else ()
        return table.assign(group=pd.Series(own, dtype=object, index=table.index)), note
    groups = [match["clip"] if match else alone for match, alone in zip(matches, own, strict=True)]
    table = table.assign(group=pd.Series(groups, dtype=object, index=table.index))
    note_text = f"groups: source recording in names FOLD-CLIP-TAKE ({n_matching} of {len(table)} names)"
    if "fold" in table.columns or n_folds < 2:
        return table, (note_text,)
    if n_matching < len(table):
        return table, (note_text, "folds: not used, because not every name has one")
    folds = pd.Series([match["fold"] if match else "" for match in matches], dtype=object, index=table.index)
    return table.assign(fold=folds), (note_text, f"folds: {n_folds} official folds in the names")


def left_out_notes(listing: Listing, skipped: Sequence[tuple[str, str]]) -> list[str]:
    """Lines on what was found and not used: by reason for sounds, by extension for other files."""
    notes = []
    if skipped:
        names_of: dict[str, list[str]] = {}
        for path, reason in skipped:
            names_of.setdefault(reason, []).append(fields.printable(PurePath(path).name))
        notes.append("skipped: " + ", ".join(_counted(*item) for item in names_of.items()))
    if listing.others:
        kinds = (f"{fields.printable(ext) or 'no extension'} {n}" for ext, n in listing.others.most_common(5))
        notes.append(f"not sounds: {', '.join(kinds)}")
    return notes


def _counted(reason: str, names: Sequence[str]) -> str:
    """A reason with how many there are of it, and the first of them."""
    more = ["..."] if len(names) > _N_NAMED else []
    return f"{reason} {len(names)} ({', '.join([*names[:_N_NAMED], *more])})"


def _parts(path: str, root: str) -> tuple[str, ...]:
    return PurePath(path[len(root) :].lstrip(os.sep)).parts


def _splits(parts: Sequence[Sequence[str]]) -> list[str]:
    """Part of each sound below folders that are all called train, test, valid ...; sounds beside them have none."""
    tops = {p[0] for p in parts if len(p) > 1}
    if not all(top.lower() in fields.SPLITS for top in tops):
        return [""] * len(parts)
    return [fields.SPLITS[p[0].lower()] if len(p) > 1 else "" for p in parts]


def _check_classes(root: str, tops: Sequence[str], *, has_labels: bool) -> None:
    """Folders that part a data set must not be taken for its classes."""
    are_splits = all(top.lower() in fields.SPLITS for top in tops)
    are_folds = all(_FOLD.fullmatch(top) for top in tops)
    if tops and (are_folds or (are_splits and not has_labels)):
        rule = "class folders" + (" in them, or names of files that hold the class" if are_splits else "")
        fix = "Give the table that has the labels, or the folder that holds it."
        raise DataError(complaint(fields.printable(root), "folders", ", ".join(tops[:5]), rule, fix))


def _flat_targets(parts: Sequence[Sequence[str]]) -> list[str]:
    """Class numbers of names FOLD-CLIP-TAKE-TARGET when all sounds lie in one folder, else empty."""
    matches = [_ESC_NAME.fullmatch(PurePath(p[0]).stem) if len(p) == 1 else None for p in parts]
    if all(match is not None and match["target"] for match in matches):
        return [match["target"] for match in matches if match]
    return [""] * len(parts)


def _class_names(labels: Sequence[str]) -> dict[str, str]:
    """Class of each folder name; numbers in front go when all have one and the rest stays distinct."""
    folders = list(dict.fromkeys(labels))
    matches = [_NUMBERED.fullmatch(folder) for folder in folders]
    names = [match["name"] for match in matches if match]
    if len(names) == len(folders) > 1 and len(set(names)) == len(names):
        return dict(zip(folders, names, strict=True))
    return {folder: folder for folder in folders}
