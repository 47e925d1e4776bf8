"""A table of speakers beside their sounds: no row a clip, but a row a speaker, whose ID the paths begin with.

Conventions: the speaker of `03a01Fa.wav` or of `03/a01Fa.wav` is 03. An ID is a whole folder's name, or the front
of a file's name up to where letters become figures, figures letters, or a sign follows: `spk1` is not the speaker
of `spk12_a.wav`. Of several that fit, the longest counts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

import pandas as pd

from earshot.data import fields, scan, tables
from earshot.errors import DataError, complaint

SPEAKER_NAMES = ("speaker", "speaker_id", "speakerid", "spk", "spk_id")
_TABLE_EXTENSIONS = (".csv", ".tsv")
_N_NAMED = 3  # sounds that a message names


def speaker_table(folder: str) -> str:
    """Path of the table of speakers of a folder, or nothing.

    It is one where its first line names speakers but no paths, most sounds are of its speakers, and they lie in
    one folder or in folders that are called after speakers: class folders are something else.
    """
    for path in sorted(Path(folder).iterdir()):
        if path.suffix.lower() in _TABLE_EXTENSIONS and path.is_file() and is_speaker_table(_columns(path)):
            try:
                df = tables.read_csv(str(path))
            except DataError:
                continue  # a broken table that merely lies there decides nothing
            ids = {fields.text_of(cell).strip() for cell in df[_column(df, SPEAKER_NAMES)]}
            sounds = [_parts(sound, folder) for sound in scan.walk(folder).paths]
            n_known = sum(bool(_speaker_of(sound, ids)) for sound in sounds)
            if n_known * 2 > len(sounds) and _is_arranged(sounds, ids):
                return str(path)
    return ""


def is_speaker_table(df: pd.DataFrame) -> bool:
    """Whether the columns name speakers but no paths."""
    return bool(_column(df, SPEAKER_NAMES)) and not _column(df, tables.COLUMN_NAMES["path"])


def joined(
    df: pd.DataFrame, given: Mapping[str, str | None], *, source: str, folder: str, labels: bool
) -> tuple[pd.DataFrame, dict[str, str | None], str]:
    """A row a sound: its path and what the table says of its speaker; the columns to use, and what was done.

    Args:
        given: columns that the user named; by default the label is the only column of categories.
        folder: where the sounds lie, at any depth.
        labels: False where none are asked for.

    Raises:
        DataError: a speaker stands there twice, a sound has no speaker, or it is unclear which column is the label.
    """
    where = fields.printable(source)
    speakers = _row_of_each(df, source=source)
    sounds = scan.walk(folder).paths
    names = [_speaker_of(_parts(sound, folder), speakers) for sound in sounds]
    lost = [fields.printable(os.path.relpath(s, folder)) for s, n in zip(sounds, names, strict=True) if not n]
    if lost or not sounds:
        value = f"{', '.join(lost[:_N_NAMED])} ({len(lost)} of {len(sounds)})" if lost else "no sound at all"
        rule = f"sounds whose names begin with a speaker of the table, such as {next(iter(speakers))}"
        raise DataError(
            complaint(where, "speaker of", value, rule, "Add the speakers or take the sounds away.")
        )
    rows = df.iloc[[speakers[name] for name in names]].assign(path=pd.array(sounds, dtype=object))
    speaker = _column(df, SPEAKER_NAMES)
    columns = {**given, "path": "path", "group": given["group"] or speaker}
    if labels and not given["label"]:
        usual = _column(df, tables.COLUMN_NAMES["label"])
        columns["label"] = usual or _only_category(df.drop(columns=speaker), where)
    n_silent = len(speakers) - len(set(names))
    more = f"; {n_silent} others have no sound" if n_silent else ""
    note = f"joined: {len(sounds)} sounds to {len(set(names))} speakers of {Path(where).name} by name{more}"
    return rows, columns, note


def _columns(path: Path) -> pd.DataFrame:
    """The columns of a table, without its rows; none where it is no text."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            line = file.readline(4096)
    except (OSError, UnicodeError):
        return pd.DataFrame()
    cells = line.replace(";", ",").replace("\t", ",").split(",")
    return pd.DataFrame(columns=[cell.strip().strip('"') for cell in cells])


def _column(df: pd.DataFrame, names: Sequence[str]) -> str:
    there = {str(column).strip().lower(): str(column) for column in df.columns}
    return next((there[name] for name in names if name in there), "")


def _row_of_each(df: pd.DataFrame, *, source: str) -> dict[str, int]:
    """Position of each speaker's row."""
    rows = fields.Rows(df.index, source)
    speakers: dict[str, int] = {}
    for i, cell in enumerate(df[_column(df, SPEAKER_NAMES)]):
        name = fields.text_of(cell).strip()
        if not name or name in speakers:
            rule = "each speaker once" if name else "a speaker on every row"
            fix = "Correct that row; if a row is a clip, name the column of the paths with --path-column."
            raise rows.fault(i, "speaker", name, rule, fix)
        speakers[name] = i
    return speakers


def _parts(path: str, folder: str) -> tuple[str, ...]:
    return PurePath(os.path.relpath(path, folder)).parts


def _speaker_of(parts: tuple[str, ...], ids: Mapping[str, int] | set[str]) -> str:
    """The speaker of a sound, or nothing: a folder's name, else the longest ID at the front of the file's."""
    folders = [part for part in parts[:-1] if part in ids]
    name = parts[-1]
    fronts = (name[:i] for i in range(len(name), 0, -1) if name[:i] in ids and not _runs_on(name, i))
    return folders[-1] if folders else next(fronts, "")


def _runs_on(name: str, i: int) -> bool:
    """Whether the character at i is of the same sort as the one before it."""
    before, after = name[i - 1 : i], name[i : i + 1]
    return (before.isdigit() and after.isdigit()) or (before.isalpha() and after.isalpha())


def _is_arranged(sounds: Sequence[tuple[str, ...]], ids: set[str]) -> bool:
    folders = {parts[:-1] for parts in sounds}
    return len(folders) == 1 or all(set(parts) & ids for parts in folders)


def _only_category(df: pd.DataFrame, where: str) -> str:
    """The only column with several values that are words, of which some are shared by rows."""
    found = []
    for column in df.columns:
        values = [fields.text_of(cell).strip() for cell in df[column]]
        if 1 < len(set(values)) < len(values) and not all(_is_number(value) for value in values):
            found.append(str(column))
    if len(found) != 1:
        rule = f"one of {', '.join(found or map(str, df.columns))}"
        raise DataError(complaint(where, "label column", None, rule, "Name it with --label-column."))
    return found[0]


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True
