"""Reads tables of clips: CSV files of any common dialect, frames, and the tables of known corpora."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from earshot.data import fields
from earshot.errors import DataError, Words, complaint

# Column names that are understood unasked, best first; compared without case.
COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "audio", "audio_path", "wav"),
    "label": ("label", "labels", "class", "category", "class_name", "species", "target"),
    "group": ("group", "group_id", "src_file", "fsid", "recording", "recording_id", "speaker", "speaker_id"),
    "fold": ("fold",),
    "split": ("split",),
    "start_s": ("start_s", "start_time", "start", "begin time (s)"),
    "end_s": ("end_s", "end_time", "end", "end time (s)"),
    "id": ("id",),
}


# Table of the part of a corpus that was fetched, in the corpus' own columns.
FETCHED = "fetched.csv"


@dataclass(frozen=True)
class CorpusTable:
    """How the table of a published corpus maps to ours."""

    places: tuple[str, ...]
    columns: Mapping[str, str]
    file_of: Callable[[Mapping[str, str]], str]


# The `start` and `end` of UrbanSound8K are places in the original recording, not in the file: not used.
# Sources: https://github.com/karolpiczak/ESC-50, https://urbansounddataset.weebly.com/urbansound8k.html
TABLES: dict[str, CorpusTable] = {
    "ESC-50": CorpusTable(
        places=(FETCHED, "meta/esc50.csv", "esc50.csv"),
        columns={"path": "filename", "label": "category", "fold": "fold"},
        file_of=lambda row: row["filename"],
    ),
    "UrbanSound8K": CorpusTable(
        places=("metadata/UrbanSound8K.csv", "UrbanSound8K.csv"),
        columns={"path": "slice_file_name", "label": "class", "group": "fsID", "fold": "fold"},
        file_of=lambda row: f"fold{row['fold']}/{row['slice_file_name']}",
    ),
}


def corpus_table(folder: str) -> str:
    """Path of the table of a known corpus in a folder, or nothing.

    Raises:
        DataError: the folder is of an augmented corpus that is not finished.
    """
    home = Path(folder).parent if Path(folder).name == "audio" else Path(folder)
    if (home / "provenance.jsonl").is_file():
        # An augmented corpus: only its table knows which files have one source.
        if not (home / "clips.csv").is_file():
            there, fix = Words("not there yet"), "Give the same `earshot augment` command again: it goes on."
            rule = "the table of a finished augmented corpus"
            raise DataError(complaint(fields.printable(str(home)), "clips.csv", there, rule, fix))
        return str(home / "clips.csv")
    for corpus in TABLES.values():
        for place in corpus.places:
            path = Path(folder, place)
            if path.is_file():
                return str(path)
    return ""


def read_csv(path: str) -> pd.DataFrame:
    """A CSV file as text, cell by cell; the index is the line in the file.

    Raises:
        DataError: not a text table, no rows, or a row with more fields than the header names.
    """
    where = fields.printable(path)
    text = _text(path, where)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        rows = [(lines.line_num, row) for row in lines if any(cell.strip() for cell in row)]
    except csv.Error as error:
        fault = complaint(f"{where} line {lines.line_num}", "text", str(error), "CSV", "Check the quotes.")
        raise DataError(fault) from error
    if not rows:
        raise DataError(complaint(where, "table", "", "a header and one row a clip", "Is it the right file?"))
    header = [name.strip() for name in rows[0][1]]
    return _frame(header, rows[1:], where)


def _text(path: str, where: str) -> str:
    try:
        with Path(path).open("rb") as file:
            start = file.read(4096)
            is_utf16 = start[:2] in (b"\xff\xfe", b"\xfe\xff")
            if b"\0" in start and not is_utf16:
                fix = "Give a folder of sounds, or the CSV that lists them."
                raise DataError(complaint(where, "table", "not text", "a CSV text file", fix))
            data = start + file.read()
        return data.decode("utf-16" if is_utf16 else "utf-8-sig", errors="surrogateescape")
    except (OSError, UnicodeError) as error:
        raise DataError(
            complaint(where, "table", str(error), "a CSV text file", "Save it as UTF-8.")
        ) from error


def _delimiter(text: str) -> str:
    header = text.split("\n", 1)[0]
    return max((",", "\t", ";"), key=header.count)


def _frame(header: list[str], rows: list[tuple[int, list[str]]], where: str) -> pd.DataFrame:
    width = len(header)
    for line, row in rows:
        if any(row[width:]):
            rule = f"{width} fields, as the header names"
            raise DataError(
                complaint(f"{where} line {line}", "number of fields", len(row), rule, "Quote commas.")
            )
    if not rows:
        raise DataError(
            complaint(where, "rows", 0, "at least one row below the header", "Is it the right file?")
        )
    cells = [[fields.unescape_cell(cell) for cell in (row + [""] * width)[:width]] for _, row in rows]
    return pd.DataFrame(
        cells, columns=header, index=pd.Index([n for n, _ in rows], name="line"), dtype=object
    )


def keep_where(df: pd.DataFrame, where: Mapping[str, str] | None, *, source: str) -> pd.DataFrame:
    """Rows whose column has one of the values, `{"esc10": "True"}`; commas separate alternatives."""
    for column, wanted in (where or {}).items():
        cells = [text.strip().casefold() for text in _texts(column_of(df, column, source=source))]
        values = {wanted.strip().casefold(), *(part.strip().casefold() for part in wanted.split(","))}
        kept = df[[cell in values for cell in cells]]
        if kept.empty:
            rule = f"one of the values there: {sorted(set(cells))[:12]}"
            raise DataError(complaint(source, f"filter on {column}", wanted, rule, "Correct the filter."))
        df = kept
    return df


def column_of(df: pd.DataFrame, name: str, *, source: str) -> pd.Series:
    there = [str(column) for column in df.columns]
    if there.count(name) != 1:
        rule = f"one of the columns there: {', '.join(there)}"
        raise DataError(complaint(source, "column", name, rule, "Name the column to use."))
    return df.iloc[:, there.index(name)]


def _texts(column: pd.Series) -> list[str]:
    # Lists, not string columns: those of pandas 3 cannot hold a file name that is not UTF-8.
    return [fields.text_of(cell) for cell in column.tolist()]


def standard_columns(
    df: pd.DataFrame, given: Mapping[str, str | None], *, labels: bool, source: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The columns that `Clips` knows: those given, else those of a known corpus, else by usual names."""
    name = corpus_of(df)
    corpus = TABLES.get(name)
    named = {field: column for field, column in given.items() if column is not None}
    chosen = (_usual_columns(df) if corpus is None else dict(corpus.columns)) | named
    if corpus is not None and "group" not in chosen and "src_file" in df.columns:
        chosen["group"] = "src_file"
    wanted = ["path", *(["label"] if labels else [])]
    for field in wanted:
        chosen.setdefault(field, field)
    if not labels:
        chosen = {
            field: column for field, column in chosen.items() if field in ("id", "path", "start_s", "end_s")
        }
    table = pd.DataFrame(
        {field: _texts(column_of(df, column, source=source)) for field, column in chosen.items()},
        index=df.index,
        dtype=object,
    )
    if "id" in table.columns and ("path" not in df.columns or not table["id"].is_unique):
        table = table.drop(columns="id")  # numbers of something else
    if corpus is not None and "path" not in named:
        cells = [[fields.text_of(cell) for cell in row] for row in df.itertuples(index=False)]
        names = [str(column) for column in df.columns]
        paths = [corpus.file_of(dict(zip(names, row, strict=True))) for row in cells]
        table["path"] = pd.Series(paths, index=df.index, dtype=object)
    table["path"] = _from_windows(table["path"])
    if labels:
        _check_labels(table, source)
    notes = tuple(f"{f}: column {c!r}" for f, c in chosen.items() if f not in ("path", "id"))
    return table, ((f"corpus: {name}", *notes) if name and labels else notes)


def corpus_of(df: pd.DataFrame) -> str:
    """Name of the corpus that a table is of, by its columns, or nothing."""
    there = {str(column) for column in df.columns}
    needs = {"ESC-50": {"target"}, "UrbanSound8K": {"classID"}}
    for name, corpus in TABLES.items():
        if there >= set(corpus.columns.values()) | needs[name]:
            return name
    return ""


def whole_groups(table: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Brings groups that lie in several official folds into one, that of most of their clips.

    Four sources of ESC-50 do, although its folds are meant to keep sources apart: 131943, 134049, 209698
    and 234879.
    """
    folds: dict[str, Counter[str]] = {}
    for group, fold in zip(table["group"], table["fold"], strict=True):
        folds.setdefault(group, Counter())[fold] += 1
    home = {group: max(sorted(counts), key=counts.__getitem__) for group, counts in folds.items() if group}
    moved = [home.get(group, fold) for group, fold in zip(table["group"], table["fold"], strict=True)]
    n_moved = sum(old != new for old, new in zip(table["fold"], moved, strict=True))
    if not n_moved:
        return table, ()
    n_divided = sum(len(counts) > 1 for group, counts in folds.items() if group)
    note = f"folds: {n_moved} clips moved, because {n_divided} groups were divided by the official folds"
    return table.assign(fold=pd.Series(moved, dtype=object, index=table.index)), (note,)


def _usual_columns(df: pd.DataFrame) -> dict[str, str]:
    there = {str(column).strip().lower(): str(column) for column in reversed(list(df.columns))}
    found = {field: [n for n in names if n in there] for field, names in COLUMN_NAMES.items()}
    return {field: there[names[0]] for field, names in found.items() if names}


def _check_labels(table: pd.DataFrame, source: str) -> None:
    rows = fields.Rows(table.index, source)
    for i, label in enumerate(table["label"]):
        if not fields.clean_label(label):
            raise rows.fault(i, "label", label, "a label on every row", "Fill it in or drop the row.")
        if _has_raw_bytes(label):
            fix = "Save the table as UTF-8, or rename the class."
            raise rows.fault(i, "label", fields.printable(label), "text in UTF-8", fix)


def _has_raw_bytes(text: str) -> bool:
    """Whether it holds bytes that could not be read as UTF-8; names of files may."""
    return any("\udc80" <= ch <= "\udcff" for ch in text)


def audio_folder(paths: pd.Series, table_path: str, audio_root: str | os.PathLike[str] | None) -> str:
    """Folder that the paths of a table are relative to: given, or the usual place where the first ones exist.

    Raises:
        DataError: none of the files is there.
    """
    beside = Path(table_path).absolute().parent if table_path else Path.cwd()
    usual = [beside, beside / "audio", beside.parent / "audio", beside.parent]
    candidates = usual if audio_root is None else [Path(audio_root).absolute()]
    for n_tried in (50, len(paths)):
        for folder in candidates:
            if any(_exists(folder, path) for path in paths.iloc[:n_tried]):
                return os.path.normpath(folder)
    first, rule = str(candidates[0] / paths.iloc[0]), "at least one file that exists"
    raise DataError(
        complaint(
            fields.printable(table_path) or "table",
            "path",
            fields.printable(first),
            rule,
            _how_to_find(paths.iloc[0]),
        )
    )


def _how_to_find(path: str) -> str:
    """What to do about the paths of a table of which none is there."""
    if _has_raw_bytes(path):
        return "Save the table as UTF-8."
    if path.startswith("/") or re.match("[A-Za-z]:/", path):
        return "Are these paths of another machine? Make them relative to a folder that holds the sounds."
    return "Give the folder that the paths start from as audio_root (--audio-root)."


def _from_windows(paths: pd.Series) -> pd.Series:
    """Paths written on Windows, with `/` for its separator; others stay as they are."""
    if os.sep == "/" and any("\\" in path for path in paths) and not any("/" in path for path in paths):
        return pd.Series([path.replace("\\", "/") for path in paths], index=paths.index, dtype=object)
    return paths


def _exists(folder: Path, path: str) -> bool:
    return "\0" not in path and (folder / path).exists()
