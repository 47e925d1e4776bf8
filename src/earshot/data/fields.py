"""What one cell of a table of clips may hold: text, label, fold, split, time.

Conventions: rows are named by the index of the frame they came from, so that a message points at the
line of the user's own file.
"""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from earshot.errors import DataError, complaint

# Every spelling that a published table uses for its parts, mapped to ours.
SPLITS: dict[str, str] = {
    "": "",
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}

LABEL_RULE = (
    "free text without '/', '\\' or NUL and not '.' or '..' "
    "(labels become folder names; ';' separates several)"
)
_FOLD = re.compile(r"(?:fold[ _-]?)?(\d{1,9})(?:\.0+)?", re.IGNORECASE)
_MISSING = {"", "nan", "none", "null", "na", "<na>"}
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


class Rows:
    """Names the rows of a frame in error messages: `clips.csv line 7`."""

    def __init__(self, index: pd.Index, where: str) -> None:
        self._index, self._where = index, printable(where)

    def fault(self, position: int, field: str, value: object, rule: str, fix: str = "") -> DataError:
        word = self._index.name or "row"
        return DataError(complaint(f"{self._where} {word} {self._index[position]}", field, value, rule, fix))


def printable(text: str) -> str:
    """Spells bytes that are not UTF-8, control characters and line ends as `%XX`: safe in any table or page.

    >>> printable("caf\\udce9\\n.wav")
    'caf%E9%0A.wav'
    """
    if text.isprintable():
        return text
    return "".join(ch if ch.isprintable() else _percent(ch) for ch in text)


def _percent(ch: str) -> str:
    if "\udc80" <= ch <= "\udcff":  # how Python holds a byte of a file name that is not UTF-8
        return f"%{ord(ch) - 0xDC00:02X}"
    return "".join(f"%{byte:02X}" for byte in ch.encode("utf-8", "surrogatepass"))


def text_of(value: object) -> str:
    """One cell as text: missing values are empty, whole floats lose their `.0` (integers beside a gap)."""
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, bytes | os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        if math.isnan(number):
            return ""
        return str(int(number)) if number.is_integer() else str(value)
    return str(value)


def escape_cell(text: str) -> str:
    """Puts `'` before text that a spreadsheet would run as a formula; `unescape_cell` takes it off again.

    Source: OWASP, "CSV Injection".

    >>> escape_cell("=1+1"), escape_cell("dog")
    ("'=1+1", 'dog')
    """
    return "'" + text if _FORMULA.match(text) else text


def unescape_cell(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def label_fault(label: str) -> str:
    """Why one label (already split at `;`) is refused; empty when it is fine."""
    if label in (".", ".."):
        return f"a label may not be {label!r}"
    found = [name for ch, name in (("/", "'/'"), ("\\", "'\\'"), ("\0", "NUL")) if ch in label]
    return f"a label may not hold {' or '.join(found)}" if found else ""


def clean_label(text: str) -> str:
    """One spelling a label: composed characters (NFC), no blanks around, each of several named once."""
    if not text.isprintable():
        text = "".join(_percent(ch) if "\ud800" <= ch <= "\udfff" else ch for ch in text)
    parts = [part.strip(" ") for part in unicodedata.normalize("NFC", text).split(";")]
    return ";".join(dict.fromkeys(part for part in parts if part))


def clean_labels(values: Sequence[str], rows: Rows) -> list[str]:
    """Checks labels row by row; either every row has one or none has.

    Raises:
        DataError: a label breaks `LABEL_RULE`, or some rows have a label and others none.
    """
    known = {text: clean_label(text) for text in dict.fromkeys(values)}
    bad = {text for text, label in known.items() if any(label_fault(part) for part in label.split(";"))}
    labels = [known[text] for text in values]
    some = any(labels)
    for i, text in enumerate(values):
        if text in bad:
            raise rows.fault(i, "label", text, LABEL_RULE, "Rename the class.")
        if some and not labels[i]:
            raise rows.fault(i, "label", text, "a label on every row", "Fill it in or drop the row.")
    return labels


def clean_groups(values: Sequence[str]) -> list[str]:
    """One spelling a group, as of labels: a stray blank would put one site on both sides of a split."""
    known = {text: unicodedata.normalize("NFC", printable(text.strip())) for text in dict.fromkeys(values)}
    return ["" if known[text].lower() in _MISSING else known[text] for text in values]


def clean_paths(values: Sequence[str], rows: Rows) -> list[str]:
    for i, path in enumerate(values):
        if not path or "\0" in path:
            raise rows.fault(i, "path", path, "the path of a sound file", "Fill it in or drop the row.")
    return list(values)


def clean_folds(values: Iterable[object], rows: Rows) -> list[int | None]:
    """Fold numbers from 3, "3", "3.0" or "fold3"; empty cells are None."""
    folds: list[int | None] = []
    for i, value in enumerate(values):
        text = text_of(value).strip()
        match = _FOLD.fullmatch(text)
        if match is None and text.lower() not in _MISSING:
            raise rows.fault(i, "fold", text, "a whole number >= 0", "Number the folds, or leave it empty.")
        folds.append(int(match[1]) if match else None)
    return folds


def clean_splits(values: Sequence[str], rows: Rows) -> list[str]:
    names = {text: SPLITS.get(text.strip().lower()) for text in dict.fromkeys(values)}
    for i, text in enumerate(values):
        if names[text] is None:
            raise rows.fault(i, "split", text, "train, valid, test or nothing", "Rename or leave it empty.")
    return [names[text] or "" for text in values]


def clean_times(
    starts: Iterable[object], ends: Iterable[object], rows: Rows
) -> tuple[list[float], list[float]]:
    """Start and end of each clip in seconds; an empty start is 0, an empty end is NaN (to the end)."""
    start_s = [_seconds(v, i, "start_s", 0.0, rows) for i, v in enumerate(starts)]
    end_s = [_seconds(v, i, "end_s", math.nan, rows) for i, v in enumerate(ends)]
    for i, (start, end) in enumerate(zip(start_s, end_s, strict=True)):
        if start < 0:
            raise rows.fault(i, "start_s", start, "seconds >= 0", "Times count from the start of the file.")
        if end <= start:
            raise rows.fault(i, "end_s", end, f"more than start_s ({start:g})", "Swap or correct the times.")
    return start_s, end_s


def _seconds(value: object, position: int, field: str, default: float, rows: Rows) -> float:
    text = text_of(value).strip()
    if text.lower() in _MISSING:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if not math.isfinite(number):
        raise rows.fault(position, field, text, "a number of seconds", "Write seconds, such as 12.5.")
    return number
