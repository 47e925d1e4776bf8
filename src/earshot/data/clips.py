"""`Clips`: which sounds, which labels. One row a clip; every other part of earshot starts from it."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from earshot.data import fields
from earshot.errors import DataError, complaint

COLUMNS = ("id", "path", "label", "group", "fold", "split", "start_s", "end_s")


class Clips:
    """A checked table of clips.

    Args:
        table: needs `path`; may have `label` (several as "a;b"), `group`, `fold`, `split`, `start_s`, `end_s`
            and `id`. Other columns are dropped. Relative paths are taken from `root`.
        root: folder that ids are relative to; the current folder when empty.
        classes: class names in the order of the targets; by default those of the labels, sorted.
        notes: what a reader found or assumed, for people.
        skipped: (path, reason) of files that were found and not used.
        where: how error messages name the source of the table.

    Raises:
        DataError: a value breaks its rule; the message names row, column, rule and fix.

    >>> clips = Clips(pd.DataFrame({"path": ["a.wav", "b.wav"], "label": ["dog", "cat;dog"]}))
    >>> clips.classes, clips.is_multilabel, clips.targets.tolist()
    (('cat', 'dog'), True, [[0.0, 1.0], [1.0, 1.0]])
    """

    def __init__(
        self,
        table: pd.DataFrame,
        *,
        root: str | os.PathLike[str] = "",
        classes: Sequence[str] | None = None,
        notes: Sequence[str] = (),
        skipped: Sequence[tuple[str, str]] = (),
        where: str = "clips",
    ) -> None:
        self.root = os.path.normpath(Path(root).absolute())  # links stay as given
        self.table = _checked(table, self.root, where)
        present = _class_names(self.table["label"])
        self.classes: tuple[str, ...] = present if classes is None else tuple(classes)
        unknown = sorted(set(present) - set(self.classes))
        if unknown:
            rule = f"one of the classes {list(self.classes)}"
            raise DataError(
                complaint(where, "label", unknown[0], rule, "Correct the label or the class list.")
            )
        self.notes = tuple(notes)
        self.skipped = tuple(skipped)

    @classmethod
    def from_frame(cls, df: pd.DataFrame, *, root: str | os.PathLike[str] = "", **options: Any) -> Clips:
        """Clips from a frame with these columns; `read_clips(df)` also finds columns of other names."""
        return cls(df, root=root, **options)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"Clips({len(self)} clips, {len(self.classes)} classes, {len(set(self.groups))} groups)"

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.table["id"])

    @property
    def groups(self) -> npt.NDArray[np.object_]:
        """Group of each clip (str), [N]: clips of one group never stand on both sides of a split."""
        return self.table["group"].to_numpy(dtype=object)

    @property
    def is_labelled(self) -> bool:
        return bool(self.table["label"].astype(bool).all()) and len(self) > 0

    @property
    def is_multilabel(self) -> bool:
        return bool(self.table["label"].map(lambda label: ";" in label).any())

    @property
    def targets(self) -> npt.NDArray[np.float32]:
        """Ones where a clip has a class. Shape: [N, K]."""
        column = {name: k for k, name in enumerate(self.classes)}
        targets = np.zeros((len(self), len(self.classes)), dtype=np.float32)
        for i, label in enumerate(self.table["label"]):
            for part in label.split(";") if label else ():
                targets[i, column[part]] = 1.0
        return targets

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class number of each clip, [N].

        Raises:
            DataError: a clip has several labels, or none.
        """
        if not self.is_labelled or self.is_multilabel:
            several = next((label for label in self.table["label"] if ";" in label), "")
            raise DataError(
                complaint("clips", "label", several, "one label a clip", "Use `targets` instead.")
            )
        column = {name: k for k, name in enumerate(self.classes)}
        return np.asarray([column[label] for label in self.table["label"]], dtype=np.int64)

    def subset(self, rows: npt.ArrayLike) -> Clips:
        """The clips of a boolean mask [N] or of indices, in that order; the classes stay the parent's."""
        picked = np.asarray(rows)
        if picked.dtype != bool:
            picked = picked.astype(np.int64)
        elif picked.shape != (len(self),):
            raise ValueError(f"mask has shape {picked.shape}; expected ({len(self)},)")
        return self._with_table(self.table.iloc[picked].reset_index(drop=True))

    def of_present_classes(self) -> Clips:
        """The same clips, with those classes only that one of them has; a subset keeps its parent's."""
        present = set(_class_names(self.table["label"]))
        other = self._with_table(self.table)
        other.classes = tuple(name for name in self.classes if name in present)
        return other

    def without(self, mask: npt.ArrayLike) -> Clips:
        """The clips where the mask [N] is false."""
        return self.subset(~np.asarray(mask, dtype=bool))

    def assign(self, *, notes: Sequence[str] = (), **columns: Sequence[Any]) -> Clips:
        """The same clips with other values in some columns, checked again, and further notes."""
        return Clips(
            self.table.assign(**{name: list(values) for name, values in columns.items()}),
            root=self.root,
            classes=None if "label" in columns else self.classes,
            notes=(*self.notes, *notes),
            skipped=self.skipped,
        )

    def segments(self) -> Iterator[tuple[str, float, float | None]]:
        """(path, start_s, end_s) of each clip; end_s is None where the clip runs to the end of its file."""
        for path, start, end in zip(
            self.table["path"], self.table["start_s"], self.table["end_s"], strict=True
        ):
            yield path, float(start), None if math.isnan(end) else float(end)

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes the table so that `read_clips` gives the same clips again; formulas are made harmless."""
        with Path(path).open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for row in self.table[list(COLUMNS)].itertuples(index=False):
                writer.writerow([fields.escape_cell(fields.text_of(value)) for value in row])

    def _with_table(self, table: pd.DataFrame) -> Clips:
        # Rows of a checked table need no second check: cross-validation takes many subsets.
        other = object.__new__(Clips)
        other.__dict__.update(self.__dict__, table=table)
        return other


def _checked(table: pd.DataFrame, root: str, where: str) -> pd.DataFrame:
    if "path" not in table.columns:
        rule = f"a column 'path'; the columns are {[str(name) for name in table.columns]}"
        raise DataError(complaint(where, "column", "path", rule, "Name the column that holds the paths."))
    rows = fields.Rows(table.index, where)

    def column(name: str) -> list[str]:
        if name not in table.columns:
            return [""] * len(table)
        return [fields.text_of(value) for value in table[name].tolist()]

    paths = [os.path.normpath(Path(root, path)) for path in fields.clean_paths(column("path"), rows)]
    start_s, end_s = fields.clean_times(column("start_s"), column("end_s"), rows)
    checked = pd.DataFrame(
        {
            "id": _objects(_ids(column("id"), paths, start_s, end_s, root=root, rows=rows)),
            "path": _objects(paths),
            "label": _objects(fields.clean_labels(column("label"), rows)),
            "group": _objects(_groups(fields.clean_groups(column("group")), paths, root, rows)),
            "fold": pd.array(fields.clean_folds(column("fold"), rows), dtype="Int64"),
            "split": _objects(fields.clean_splits(column("split"), rows)),
            "start_s": np.asarray(start_s, dtype=np.float64),
            "end_s": np.asarray(end_s, dtype=np.float64),
        }
    )
    return checked[list(COLUMNS)]


def _objects(values: Sequence[str]) -> pd.Series[Any]:
    # Arrow-backed strings, the default of pandas 3, cannot hold a file name that is not UTF-8.
    return pd.Series(list(values), dtype=object)


def _class_names(labels: pd.Series[Any]) -> tuple[str, ...]:
    return tuple(sorted({part for label in labels.unique() for part in label.split(";") if part}))


def _relative(path: str, root: str) -> str:
    inside = path[len(root) :].lstrip(os.sep) if path.startswith(root.rstrip(os.sep) + os.sep) else path
    return fields.printable(inside.replace(os.sep, "/"))


def _groups(given: Sequence[str], paths: Sequence[str], root: str, rows: fields.Rows) -> list[str]:
    """Clips without a group get that of their file, so that the segments of one file stay together."""
    of_file: dict[str, set[str]] = {}
    for group, path in zip(given, paths, strict=True):
        if group:
            of_file.setdefault(path, set()).add(group)
    groups = []
    for i, (group, path) in enumerate(zip(given, paths, strict=True)):
        others = sorted(of_file.get(path, ()))
        if not group and len(others) > 1:
            rule = f"one of the groups that other clips of this file have ({', '.join(others[:3])})"
            raise rows.fault(i, "group", "", rule, "Fill it in.")
        groups.append(group or (others[0] if others else _relative(path, root)))
    return groups


def _ids(
    given: Sequence[str],
    paths: Sequence[str],
    start_s: Sequence[float],
    end_s: Sequence[float],
    *,
    root: str,
    rows: fields.Rows,
) -> list[str]:
    taken: set[str] = set()
    for i, name in enumerate(given):
        if name and name in taken:
            raise rows.fault(i, "id", name, "a different id on every row", "Rename it or drop the column.")
        taken.add(name)
    ids = []
    last: dict[str, int] = {}  # number that each name was given
    for name, path, start, end in zip(given, paths, start_s, end_s, strict=True):
        if not name:
            stem = name = _relative(path, root) + _range_text(start, end)
            while name in taken:
                last[stem] = last.get(stem, 1) + 1
                name = f"{stem}#{last[stem]}"
            taken.add(name)
        ids.append(name)
    return ids


def _range_text(start_s: float, end_s: float) -> str:
    if start_s == 0 and math.isnan(end_s):
        return ""
    return f"@{_seconds_text(start_s)}-{'end' if math.isnan(end_s) else _seconds_text(end_s)}"


def _seconds_text(value_s: float) -> str:
    return f"{value_s:.6f}".rstrip("0").rstrip(".")
