"""TIMIT: read sentences of 630 speakers, in the folders that the LDC publishes.

Conventions: `TRAIN|TEST/DRn/SPEAKER/SENTENCE.WAV`, any part in capitals or small letters; SPEAKER is the sex (M or
F) and the ID of `SPKRINFO.TXT`. Source: https://catalog.ldc.upenn.edu/docs/LDC93S1/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from earshot.data.layouts import Found, unlabelled

_SPEAKER = re.compile(r"[MF][A-Z]{3}\d")
# Two dialect sentences, the same of every speaker; compact ones, shared by seven; diverse ones, read once.
_SENTENCE = re.compile(r"S[AIX]\d{1,4}")
_SEXES = {"F": "female", "M": "male"}
_INFO = "SPKRINFO.TXT"


def timit_clips(root: str, paths: Sequence[str], parts: Sequence[tuple[str, ...]]) -> Found | None:
    """The clips of TIMIT, with the columns `sentence` (SA, SX or SI) and `dialect` (DR1 to DR8) beside the usual.

    Args:
        parts: each path from the root on, in parts.
    """
    places = [_place(p) for p in parts]
    recognised = [i for i, place in enumerate(places) if place]
    if len(recognised) * 2 <= len(paths):
        return None
    chosen: dict[tuple[str, ...], int] = {}
    for i in recognised:
        # SA1.WAV may lie beside SA1.WAV.wav, the same in a common format: the longer name is taken.
        chosen[places[i]] = max(i, chosen.get(places[i], i), key=lambda i: len(parts[i][-1]))
    keys, rows = zip(*sorted(chosen.items(), key=lambda item: item[1]), strict=True)
    sexes = _sexes(root, {parts[i][:-4] for i in recognised})
    table = pd.DataFrame(keys, columns=["split", "dialect", "group", "sentence"], dtype=object)
    table["sentence"] = [sentence[:2] for sentence in table["sentence"]]
    table["path"] = [paths[i] for i in rows]
    table["label"] = [_SEXES[sexes.get(speaker[1:], speaker[0])] for speaker in table["group"]]
    notes = _notes(table, n_twice=len(recognised) - len(rows), listed=bool(sexes))
    return Found(table.astype(object), notes, unlabelled(paths, recognised))


def _place(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Split, dialect, speaker and sentence of a path; nothing where it is not one of TIMIT."""
    split, dialect, speaker = (part.upper() for part in ("", "", "", *parts[:-1])[-3:])
    sentence = parts[-1].upper().partition(".")[0]
    is_place = split in ("TRAIN", "TEST") and re.fullmatch(r"DR[1-8]", dialect)
    if is_place and _SPEAKER.fullmatch(speaker) and _SENTENCE.fullmatch(sentence):
        return split.lower(), dialect, speaker, sentence
    return ()


def _notes(table: pd.DataFrame, *, n_twice: int, listed: bool) -> tuple[str, ...]:
    sex = _INFO if listed else "the name of the folder"
    notes = [
        "corpus: TIMIT, read sentences",
        f"label: sex of the speaker, from {sex}; group: speaker; --label-column dialect asks for the dialect",
        "splits: folders TRAIN and TEST",
    ]
    n_shared = int((table["sentence"] == "SA").sum())
    if n_shared:
        fix = "--where sentence=SX,SI leaves them out"
        notes.append(f"{n_shared} clips are the sentences SA1 and SA2, which all speakers read; {fix}")
    if n_twice:
        notes.append(f"{n_twice} sentences are there in two formats and are used once")
    return tuple(notes)


def _sexes(root: str, prefixes: set[tuple[str, ...]]) -> dict[str, str]:
    """F or M of each speaker in `SPKRINFO.TXT`: lines `ID Sex DR Use ...`, comments after a semicolon."""
    bases = [Path(root), *(Path(root, *prefix) for prefix in sorted(prefixes))]
    folders = [place for base in bases for place in (*_called(base, "DOC"), base)]
    path = next((place for folder in folders for place in _called(folder, _INFO) if place.is_file()), None)
    if path is None:
        return {}
    lines = path.read_text("latin-1").upper().splitlines()
    cells = [line.split() for line in lines if not line.startswith(";")]
    return {row[0]: row[1] for row in cells if len(row) > 1 and row[1] in _SEXES}


def _called(folder: Path, name: str) -> list[Path]:
    """What is called so in a folder, in capitals or small letters."""
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if entry.name.upper() == name)
