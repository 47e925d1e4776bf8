"""Recognises published corpora that have no table, by their folders and the names of their files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

import pandas as pd

from earshot.data import fields, tables
from earshot.data.layouts import Found, unlabelled
from earshot.data.scan import Listing
from earshot.data.timit import timit_clips

# DIGIT_SPEAKER_TAKE. Source: https://github.com/Jakobovski/free-spoken-digit-dataset
FSDD_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<take>\d{1,3})")
_FSDD_SPEAKERS = frozenset({"jackson", "nicolas", "theo", "yweweler", "george", "lucas"})
# Source: https://www.kaggle.com/datasets/mmoreaux/audio-cats-and-dogs
_CATS_DOGS_NAME = re.compile(r"(?P<animal>cat|dog_barking)_\d{1,3}")


def corpus_clips(root: str, listing: Listing) -> Found | None:
    """The clips of a corpus that is recognised in a folder, or nothing."""
    parts = [PurePath(path[len(root) :].lstrip(os.sep)).parts for path in listing.paths]
    for recognise in RECOGNISERS.values():
        found = recognise(root, listing.paths, parts)
        if found is not None:
            return found
    return None


def _spoken_digits(root: str, paths: Sequence[str], parts: Sequence[tuple[str, ...]]) -> Found | None:
    """`recordings/DIGIT_SPEAKER_TAKE.wav`, with a speaker of the corpus among them."""
    matches = [FSDD_NAME.fullmatch(PurePath(p[-1]).stem) for p in parts]
    rows = [i for i, match in enumerate(matches) if match]
    speakers = {match["speaker"] for match in matches if match}
    places = {parts[i][:-1] for i in rows}
    if not speakers & _FSDD_SPEAKERS or len(rows) * 2 <= len(paths):
        return None
    if len(places) > 1 or not {folder[-1] for folder in places if folder} <= {"recordings"}:
        return None
    named = [match for match in matches if match]
    table = _table(
        path=[paths[i] for i in rows],
        label=[match["digit"] for match in named],
        group=[match["speaker"] for match in named],
    )
    notes = (
        "corpus: FSDD, spoken digits",
        f"label: digit in the names; group: speaker ({len(speakers)})",
        "its official test, takes 0 to 4, is not used: the same speakers are heard in training",
    )
    return Found(table, notes, unlabelled(paths, rows))


def _cats_dogs(root: str, paths: Sequence[str], parts: Sequence[tuple[str, ...]]) -> Found | None:
    """Names like `cat_1.wav` and `dog_barking_2.wav`; the folder of its test dogs is called test, too."""
    matches = [_CATS_DOGS_NAME.fullmatch(PurePath(p[-1]).stem) for p in parts]
    labels = [match["animal"][:3] for match in matches if match]
    if len(labels) < len(paths) or len(set(labels)) < 2:
        return None
    listed = _listed_splits(root)
    splits = [
        next((fields.SPLITS[part.lower()] for part in p[:-1] if part.lower() in fields.SPLITS), "")
        or listed.get(p[-1], "")
        for p in parts
    ]
    notes = ["corpus: cats-dogs", "label: animal in the names; no groups: every file is its own group"]
    if any(splits):
        notes.append(f"split: {'train_test_split.csv' if listed else 'folders'}")
    return Found(_table(path=paths, label=labels, split=splits), tuple(notes))


def _listed_splits(root: str) -> dict[str, str]:
    """Part of each file in `train_test_split.csv`, whose columns are called train_cat, test_dog ..."""
    path = Path(root, "train_test_split.csv")
    if not path.is_file():
        return {}
    df = tables.read_csv(str(path))
    columns = {name: str(name).partition("_")[0].lower() for name in df.columns}
    return {
        fields.text_of(file).strip(): fields.SPLITS[part]
        for name, part in columns.items()
        if part and part in fields.SPLITS
        for file in df[name]
    }


def _table(**columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({name: list(values) for name, values in columns.items()}, dtype=object)


Recogniser = Callable[[str, Sequence[str], Sequence[tuple[str, ...]]], Found | None]

RECOGNISERS: dict[str, Recogniser] = {
    "FSDD": _spoken_digits,
    "cats-dogs": _cats_dogs,
    "TIMIT": timit_clips,
}
