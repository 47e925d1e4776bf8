"""`read_clips`: common ways of keeping labelled sounds, to `Clips`; notes say what was found or assumed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

from earshot.audio.decode import AUDIO_EXTENSIONS
from earshot.data import corpus_layouts, fields, layouts, scan, speakers, tables
from earshot.data.clips import Clips
from earshot.data.corpora import resolve_data
from earshot.data.splits import has_official_folds, trainable
from earshot.errors import DataError, complaint

TABLE_EXTENSIONS = frozenset({".csv", ".tsv", ".txt"})
_TABLES_OF_SOUNDS = TABLE_EXTENSIONS - {".txt"}  # beside sounds to predict that is a README, as a rule

Source = str | os.PathLike[str] | pd.DataFrame


def read_clips(
    data: Source | Sequence[str | os.PathLike[str]],
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    fold_column: str | None = None,
    split_column: str | None = None,
    start_column: str | None = None,
    end_column: str | None = None,
    audio_root: str | os.PathLike[str] | None = None,
    where: Mapping[str, str] | None = None,
    labels: bool = True,
) -> Clips:
    """Finds the sounds of a folder, a CSV file or a frame, with what is known of their labels and groups.

    Folders are recognised unprompted, in this order: `meta/esc50.csv`, `UrbanSound8K.csv`, the layouts of
    FSDD, cats-dogs and TIMIT, a table of speakers beside their sounds, `train/` and `test/` (`valid/`) folders of
    class folders, a folder per class.
    Names like `FOLD-CLIP-TAKE.wav` give group and fold.

    Args:
        data: a folder, a CSV file, a frame, or the name of a corpus that was fetched; without labels also a
            sound, or a list of sounds and folders.
        path_column: column of the paths, for tables; so for the other columns. Usual names are found unasked.
        audio_root: folder that the paths of a table start from; by default the usual places beside it.
        where: keeps rows by the value of columns, `{"esc10": "True"}`; commas separate alternatives.
        labels: False reads sounds to predict: any depth, labels are not looked for.

    Raises:
        DataError: nothing usable is found; the message says what was looked for.
    """
    columns = {
        "path": path_column,
        "label": label_column,
        "group": group_column,
        "fold": fold_column,
        "split": split_column,
        "start_s": start_column,
        "end_s": end_column,
    }
    if isinstance(data, pd.DataFrame):
        return _read_table(data, columns, source="table", audio_root=audio_root, where=where, labels=labels)
    named = audio_root is not None or where or any(columns.values())  # so it is a table whatever its suffix
    if not isinstance(data, str | os.PathLike):
        if labels:
            raise DataError(complaint("data", "sources", len(data), "one folder, CSV file or frame"))
        given = {f"{field.removesuffix('_s')}_column": name for field, name in columns.items()}
        parts = []
        for is_sound, some in groupby(data, key=lambda one: _is_sound(one, named=bool(named))):
            if is_sound:  # thousands perhaps, by a pattern of the shell: one table of them all
                parts.append(_read_files([_absolute(one) for one in some]))
                continue
            for one in some:
                parts.append(read_clips(one, where=where, labels=False, audio_root=audio_root, **given))
        return _joined(parts)
    path = _absolute(resolve_data(data) if labels and os.fspath(data) else data)
    if Path(path).is_dir():
        corpus = (tables.corpus_table(path) or speakers.speaker_table(path)) if labels else ""
        if not corpus and audio_root is not None:
            fix = "A folder is read as it is; leave it out, or give the CSV that lists the sounds."
            raise DataError(complaint("audio_root", "folder", os.fspath(audio_root), "data in a table", fix))
        if not corpus:
            return _read_folder(path, columns, where=where, labels=labels)
        path = corpus
    elif not labels and _is_sound(path, named=bool(named)):
        return _read_files([path])
    df = tables.read_csv(path)
    if path_column is not None or not speakers.is_speaker_table(df):
        return _read_table(df, columns, source=path, audio_root=audio_root, where=where, labels=labels)
    folder = os.path.normpath(Path(audio_root or Path(path).parent).absolute())
    df, chosen, note = speakers.joined(df, columns, source=path, folder=folder, labels=labels)
    clips = _read_table(df, chosen, source=path, audio_root=folder, where=where, labels=labels)
    return clips.assign(notes=[note])


def describe(clips: Clips) -> str:
    """A few plain lines on what the clips are: how many, which classes, groups, folds, and the notes."""
    table = clips.table
    lines = [f"{len(clips)} clips in {table['path'].nunique()} files, {len(set(clips.groups))} groups"]
    if clips.is_labelled:
        counts = {name: int(n) for name, n in zip(clips.classes, clips.targets.sum(axis=0), strict=True)}
        shown = ", ".join(f"{fields.printable(name)} {n}" for name, n in list(counts.items())[:20])
        more = f", and {len(counts) - 20} more" if len(counts) > 20 else ""
        lines.append(f"{len(counts)} classes: {shown}{more}")
    if has_official_folds(clips):
        lines.append(f"folds: {', '.join(str(fold) for fold in sorted(table['fold'].dropna().unique()))}")
    if table["split"].any():
        counts = {str(k) or "unmarked": int(n) for k, n in table["split"].value_counts(sort=False).items()}
        lines.append("splits: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
    return "\n".join([*lines, *clips.notes])


def _absolute(data: str | os.PathLike[str]) -> str:
    text = os.fspath(data)
    if not text or "\0" in text or not os.path.lexists(text):
        raise DataError(
            complaint("data", "path", text, "a folder or file that exists", "Check the spelling.")
        )
    return os.path.normpath(Path(text).absolute())


def _with_label(table: pd.DataFrame, columns: Mapping[str, str | None], folder: str) -> pd.DataFrame:
    """The table of a folder with the label that was asked for, where the layout knows more than one."""
    for field, name in columns.items():
        if field == "label" and name in table.columns:
            table = table.assign(label=table[name])
        elif name is not None:
            rule = "a table to take it from"
            fix = "Give the CSV file instead of the folder."
            raise DataError(complaint(fields.printable(folder), "column", name, rule, fix))
    return table


def _read_table(
    df: pd.DataFrame,
    columns: Mapping[str, str | None],
    *,
    source: str,
    audio_root: str | os.PathLike[str] | None,
    where: Mapping[str, str] | None,
    labels: bool,
) -> Clips:
    name = fields.printable(source)
    if df.empty:
        raise DataError(complaint(name, "rows", 0, "at least one clip", "Is it the right table?"))
    df = tables.keep_where(df, where, source=name)
    table, notes = tables.standard_columns(df, columns, labels=labels, source=name)
    root = tables.audio_folder(table["path"], "" if source == "table" else source, audio_root)
    if "group" not in table.columns and labels:
        table, group_notes = layouts.grouped_by_name(table, root=root)
        notes += group_notes
    elif labels and not all(group.strip() for group in table["group"]):
        notes += ("clips without a group are grouped by file",)
    if labels and tables.corpus_of(df) and columns["fold"] is None and columns["group"] is None:
        table, fold_notes = tables.whole_groups(table)
        notes += fold_notes
    if Path(source).name == tables.FETCHED:
        notes += (f"{tables.FETCHED}: the part of the corpus that was fetched",)
    clips = Clips(table, root=root, notes=notes, where=name)
    folds = clips.table["fold"].iloc[trainable(clips)]
    if folds.notna().any() and not has_official_folds(clips):
        why = (
            f"{folds.isna().sum()} of {len(folds)} clips have none"
            if folds.isna().any()
            else "all have the same"
        )
        clips = clips.assign(notes=[f"folds: not used, because {why}"])
    return clips


def _read_folder(
    root: str, columns: Mapping[str, str | None], *, where: Mapping[str, str] | None, labels: bool
) -> Clips:
    listing = scan.walk(root)
    if labels:
        found = corpus_layouts.corpus_clips(root, listing) or layouts.folder_clips(root, listing)
    else:
        found = layouts.Found(pd.DataFrame({"path": listing.paths}, dtype=object), ())
    skipped = sorted((*listing.skipped, *found.skipped), key=lambda item: os.fsencode(item[0]))
    if found.table.empty:
        raise _nothing_found(root, listing, skipped, labels=labels)
    table = _with_label(found.table, columns, root)
    table = tables.keep_where(table, where, source=fields.printable(root))
    notes = [*found.notes, *layouts.left_out_notes(listing, skipped)]
    return Clips(table, root=root, notes=notes, skipped=skipped, where=fields.printable(root))


def _nothing_found(
    root: str, listing: scan.Listing, skipped: Sequence[tuple[str, str]], *, labels: bool
) -> DataError:
    kinds = ", ".join(sorted(AUDIO_EXTENSIONS))
    rule = f"sound files ({kinds})" + (f" in one of these layouts: {layouts.LAYOUTS}" if labels else "")
    what = "number of labelled sounds" if labels else "number of sounds"
    seen = "; ".join(layouts.left_out_notes(listing, skipped)) or "the folder is empty"
    fix = f"Found: {fields.printable(seen)}."
    beside = Path(root).parent
    if (
        labels
        and skipped
        and all(reason == "no_label" for _, reason in skipped)
        and _n_folders_of_sounds(beside) > 1
    ):
        fix += f" They lie in no class folder: is {fields.printable(str(beside))} meant?"
    csvs = sorted(p.name for p in Path(root).iterdir() if p.suffix.lower() == ".csv") if labels else []
    if csvs:
        fix += f" If {fields.printable(csvs[0])} names the labels, give that file."
    return DataError(complaint(fields.printable(root), what, 0, rule, fix))


def _n_folders_of_sounds(folder: Path) -> int:
    """How many folders lie in a folder that hold sounds themselves, as those of classes do."""
    try:
        inside = [each.iterdir() for each in folder.iterdir() if each.is_dir()]
        return sum(any(file.suffix.lower() in AUDIO_EXTENSIONS for file in files) for files in inside)
    except OSError:  # what may not be looked into is no hint
        return 0


def _is_sound(source: str | os.PathLike[str], *, named: bool) -> bool:
    """Whether something to predict is neither a folder nor a table, of which columns may be `named`."""
    tables_here = TABLE_EXTENSIONS if named else _TABLES_OF_SOUNDS
    return Path(source).suffix.lower() not in tables_here and not Path(source).is_dir()


def _read_files(paths: Sequence[str]) -> Clips:
    """Sounds named by the user: their extension does not matter, the decoder will judge. Ids are names."""
    for path in paths:
        if not Path(path).is_file():
            rule = "a sound file or a folder"
            raise DataError(complaint(fields.printable(path), "file", scan.SKIPS["not_a_file"], rule))
    once = list(dict.fromkeys(paths))
    names = [fields.printable(Path(path).name) for path in once]
    n_of = Counter(names)
    ids = [
        name if n_of[name] == 1 else fields.printable(path) for name, path in zip(names, once, strict=True)
    ]
    root = os.path.commonpath([Path(path).parent for path in once])
    return Clips(pd.DataFrame({"path": once, "id": ids}, dtype=object), root=root)


def _joined(several: Sequence[Clips]) -> Clips:
    """Clips of several files and folders; ids stay relative where that is unambiguous.

    What one source has again is left out; a table keeps all its rows.
    """
    if not several:
        raise DataError(complaint("data", "paths", 0, "at least one file or folder"))
    tables_of, seen = [], set[tuple[str, float, float | None]]()
    for clips in several:
        keys = list(clips.segments())
        tables_of.append(clips.table[[key not in seen for key in keys]])
        seen.update(keys)
    table = pd.concat(tables_of, ignore_index=True).drop(columns="group")
    twice = table["id"].duplicated(keep=False)
    table.loc[twice, "id"] = [fields.printable(p) for p in table.loc[twice, "path"]]
    if table["id"].duplicated().any():
        table = table.drop(columns="id")
    roots = {clips.root for clips in several}
    return Clips(
        table,
        root=several[0].root if len(roots) == 1 else os.path.commonpath(sorted(roots)),
        notes=list(dict.fromkeys(note for clips in several for note in clips.notes)),
        skipped=[item for clips in several for item in clips.skipped],
    )
