"""An augmented corpus on disk: every training clip with its variants, each with what made it.

Conventions
-----------
- Split first: clips marked test or valid are written as they are, and every variant has the group, fold and split
  of its source, so that no split by group or fold parts a clip from its variants.
- Variant 0 is the source itself. Variant i depends on the seed, the source's content and i; not on the order of the
  clips, on other clips or on the number of threads.
- `provenance.jsonl` has a line a source, appended when its files are there; `clips.csv` and `provenance.csv` are
  made of it at the end. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
import soundfile
import tomli_w
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from earshot.audio.decode import DecodeLimits, decode
from earshot.audio.step import Parameters
from earshot.audio.threads import over_rows
from earshot.audio.transforms import (
    PUBLISHED_STEPS,
    StepConfig,
    apply_parameters,
    check_steps,
    draw_parameters,
)
from earshot.audio.windows import to_int16
from earshot.data import fields
from earshot.data.clips import Clips
from earshot.data.provenance import Journal, VariantFile, write_csv, write_renamed
from earshot.data.splits import check_no_leak, hold_out, merge_duplicates, trainable
from earshot.data.tables import read_csv
from earshot.errors import ConfigError, DataError, DecodeError, Words, complaint, rule_of, value_of
from earshot.files import sha256_of, write_whole
from earshot.monitor import Monitor, Silent

SETTINGS_FILE, JOURNAL_FILE = "augmentation.toml", "provenance.jsonl"
CLIPS_FILE, PROVENANCE_FILE, SKIPPED_FILE = "clips.csv", "provenance.csv", "skipped.csv"
_OF_CLIPS = ("path", "label", "group", "fold", "split", "variant", "source")
_OF_PROVENANCE = (
    *("path", "variant", "source", "source_sha256", "source_start_s", "source_end_s"),
    *("rate_hz", "n_samples", "seed", "parameters", "sha256", "size"),
)
_SAME_SOUND = ("source_sha256", "source_start_s", "source_end_s")
_LIKE_A_VARIANT = re.compile(r"-aug\d+", re.IGNORECASE)
_MAX_STEM_BYTES = 150  # of the 255 that file systems allow, with room for marks and the temporary name


class OfflineConfig(BaseModel):
    """What an augmented corpus is made with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    copies: int = Field(19, ge=0, le=9_999, description="variants of each training clip, besides itself")
    seed: int = Field(0, ge=0, lt=2**63, description="of every draw")
    rate_hz: int | None = Field(
        None, ge=1_000, le=655_350, description="of the files; none: each source's own"
    )
    format: Literal["flac", "wav"] = Field("flac", description="of the files, 16 bit")
    steps: tuple[StepConfig, ...] = Field(PUBLISHED_STEPS, description="changes of a variant, in order")


@dataclass(frozen=True)
class AugmentedCorpus:
    """What was written: `clips_csv` is what `read_clips` takes; `skipped` holds (path, reason) of bad sources."""

    clips_csv: Path
    n_sources: int
    n_written: int
    n_kept: int
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Source:
    """One clip of the data: where it is, what goes into the table, and the name of its files."""

    path: str
    start_s: float
    end_s: float | None
    row: Mapping[str, str]
    stem: str
    n_variants: int


def load_offline_config(path: str | os.PathLike[str] | None = None, **changes: Any) -> OfflineConfig:
    """Settings from a TOML file such as the `augmentation.toml` of an augmented corpus, with changes.

    Raises:
        ConfigError: the file is missing or no TOML, or a value breaks its rule.
    """
    where, values = "augment", dict[str, Any]()
    if path is not None:
        where = Path(path).name
        try:
            values = tomllib.loads(Path(path).read_text("utf-8"))
        except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
            rule, fix = "a TOML file", "docs/augmentation.md shows one."
            said = Words(getattr(error, "strerror", None) or error)
            raise ConfigError(complaint(where, "file", said, rule, fix)) from error
    values |= {key: value for key, value in changes.items() if value is not None}
    try:
        return OfflineConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "settings"
        fix = "docs/augmentation.md lists the keys."
        raise ConfigError(complaint(where, field, value_of(first), rule_of(first), fix)) from error


def with_test_side(
    clips: Clips, *, test_fold: int | None = None, test_fraction: float | None = None, seed: int = 0
) -> Clips:
    """Marks clips as test before anything is augmented: a fold of the data, or a share dealt by whole groups.

    Copies of one sound are one group here as in training.

    Raises:
        ConfigError: both are given, the data have a test side already, or no such fold.
        DataError: a group would stand on both sides.
    """
    if test_fold is None and test_fraction is None:
        return clips
    has_test = bool((clips.table["split"] == "test").any())
    if has_test or (test_fold is not None and test_fraction is not None):
        rule = "one way to choose the test side"
        there = "a test split in the data" if has_test else "a fold and a fraction"
        raise ConfigError(complaint("augment", "test side", Words(there), rule, "Leave the option out."))
    clips = merge_duplicates(clips, _contents(clips))
    if test_fraction is not None:
        test = hold_out(clips, test_fraction=test_fraction, seed=seed).test
    else:
        test = np.flatnonzero((clips.table["fold"] == test_fold).fillna(False)).astype(np.int64)
    if not len(test):
        folds = sorted({int(fold) for fold in clips.table["fold"].dropna()})
        rule = f"one of the folds {', '.join(map(str, folds))}" if folds else "data with folds of their own"
        raise ConfigError(complaint("augment", "test_fold", test_fold, rule, "Or give a share to hold out."))
    split = np.where(clips.table["split"] == "", "train", clips.table["split"]).astype(object)
    split[test] = "test"
    return clips.assign(split=split.tolist())


def _contents(clips: Clips) -> list[str]:
    """Hash of each clip's file, empty where it cannot be read: that is said when it is to be augmented."""
    hashes = {}
    for path in dict.fromkeys(clips.table["path"]):
        try:
            hashes[path] = sha256_of(Path(path))
        except OSError:
            hashes[path] = ""
    return [hashes[path] for path in clips.table["path"]]


def render(
    samples: NDArray[np.float32], parameters: Sequence[Parameters], *, rate_hz: int
) -> NDArray[np.int16]:
    """The samples of a variant, as they are in its file: the same every time. Shape: float32 [T] -> int16 [T]."""
    return to_int16(apply_parameters(torch.from_numpy(samples), parameters, rate_hz=rate_hz).numpy())


def write_augmented(
    clips: Clips,
    folder: str | os.PathLike[str],
    *,
    config: OfflineConfig | None = None,
    limits: DecodeLimits | None = None,
    monitor: Monitor | None = None,
) -> AugmentedCorpus:
    """Writes the clips and the variants of those to learn from below `folder`, in class folders.

    Files that are there with the recorded content are kept. A source that cannot be read is left out and listed.

    Raises:
        DataError: no labels, a group on both sides of the split, or not one readable source.
        ConfigError: a step cannot be built, or the folder holds the sources or another augmentation.
    """
    config, monitor, home = config or OfflineConfig(), monitor or Silent(), Path(folder)
    _check_data(clips, home)
    check_steps(config.steps)
    _claim(home, config, clips)
    writer = _Writer(home, config, limits)
    sources, good, skipped = _sources(clips, config), list[_Source](), list[tuple[str, str]]()
    for i, source in enumerate(sources):
        try:
            writer.write(source)
            good.append(source)
        except (DecodeError, DataError) as error:
            skipped.append((source.path, str(error)))
            monitor.say(f"left out: {fields.printable(str(error))}")
        monitor.progress("augmenting", i + 1, len(sources))
    if not good:
        first = skipped[0][1] if skipped else "There are no clips."
        raise DataError(complaint("augment", "readable clips", 0, "at least 1", first))
    write_csv(home / PROVENANCE_FILE, _OF_PROVENANCE, rows=_rows(good, writer.journal))
    write_csv(home / CLIPS_FILE, _OF_CLIPS, rows=_rows(good, writer.journal))
    write_csv(home / SKIPPED_FILE, ("path", "reason"), rows=({"path": p, "reason": r} for p, r in skipped))
    return AugmentedCorpus(home / CLIPS_FILE, len(good), writer.n_written, writer.n_kept, tuple(skipped))


def _rows(sources: Sequence[_Source], journal: Journal) -> Iterator[dict[str, Any]]:
    """A row a file, in the order of the clips."""
    for source in sources:
        record = journal.get(source.stem) or {"files": []}
        for file in record["files"]:
            if file["variant"] <= source.n_variants:
                parameters = json.dumps(file["parameters"])
                yield {**record, **file, **source.row, "source": source.row["id"], "parameters": parameters}


def _check_data(clips: Clips, home: Path) -> None:
    if not clips.is_labelled:
        raise DataError(
            complaint("augment", "label", "", "a label on every clip", "Read the clips with labels.")
        )
    test = np.flatnonzero(clips.table["split"].isin(["test", "valid"]))
    check_no_leak(clips, trainable(clips), test)
    own = os.path.normpath(home.absolute()) + os.sep
    inside = next((path for path in clips.table["path"] if path.startswith(own)), None)
    if inside is not None:
        rule = "a folder that does not hold the sources"
        raise ConfigError(complaint("augment", "output folder", str(home), rule, f"There is {inside!r}."))


def _claim(home: Path, config: OfflineConfig, clips: Clips) -> None:
    """Writes the settings, or makes sure that they and the test side are those of the files that are there."""
    settings = home / SETTINGS_FILE
    if settings.exists():
        if load_offline_config(settings) != config:
            rule = "a new folder, or the settings in its augmentation.toml"
            raise ConfigError(
                complaint("augment", "output folder", str(home), rule, "Give another one with -o.")
            )
        _check_sides(home, clips)
        return
    write_whole(settings, tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))


def _check_sides(home: Path, clips: Clips) -> None:
    """A corpus that is finished keeps its test side: models may have learned from the others, variants and all."""
    if not (home / CLIPS_FILE).exists():
        return  # an earlier start was stopped
    table = read_csv(str(home / CLIPS_FILE))
    if not {"source", "split"} <= set(table.columns):
        rule = "those that augment writes"
        fix = "Put the table back, or give another folder with -o."
        raise DataError(complaint(str(home / CLIPS_FILE), "columns", list(table.columns), rule, fix))
    was_test = dict(zip(table["source"], table["split"] == "test", strict=True))
    for own, split in zip(clips.ids, clips.table["split"], strict=True):
        if was_test.get(own, split == "test") != (split == "test"):
            there = Words("judged on" if split == "test" else "learned from")
            rule = f"the same side as in {home / CLIPS_FILE}"
            raise ConfigError(
                complaint("augment", f"clip {own}", there, rule, "Give another folder with -o.")
            )


def _sources(clips: Clips, config: OfflineConfig) -> list[_Source]:
    learnt_from = set(trainable(clips).tolist())
    names = ("id", "label", "group", "fold", "split")
    rows = zip(*(clips.table[name].tolist() for name in names), strict=True)
    sources = []
    for i, (segment, stem, row) in enumerate(zip(clips.segments(), _stems(clips), rows, strict=True)):
        about = dict(zip(names, map(fields.text_of, row), strict=True))
        n_variants = config.copies if i in learnt_from else 0
        sources.append(_Source(*segment, about, stem=stem, n_variants=n_variants))
    return sources


def _stems(clips: Clips) -> list[str]:
    """Path of each clip's files, without mark and suffix: audio/CLASS/NAME, told apart where names are the same."""
    names = []
    for path, start_s, end_s in clips.segments():
        stem = fields.printable(PurePath(path).stem)
        whole = start_s == 0 and end_s is None
        names.append(stem if whole else f"{stem}@{start_s:g}-{'end' if end_s is None else f'{end_s:g}'}")
    keys = [f"{label}/{name}".casefold() for label, name in zip(clips.table["label"], names, strict=True)]
    n_of = Counter(keys)
    stems = []
    for name, key, label, own in zip(names, keys, clips.table["label"], clips.ids, strict=True):
        is_taken = n_of[key] > 1 or _LIKE_A_VARIANT.search(name) or len(name.encode()) > _MAX_STEM_BYTES
        mark = f"~{hashlib.sha256(own.encode()).hexdigest()[:10]}" if is_taken else ""
        short = name.encode()[:_MAX_STEM_BYTES].decode(errors="ignore")
        stems.append(f"audio/{label}/{short}{mark}")
    return stems


class _Writer:
    """Writes the files of one source after the other."""

    def __init__(self, home: Path, config: OfflineConfig, limits: DecodeLimits | None) -> None:
        self._home, self._config, self._limits = home, config, limits
        self.journal = Journal(home / JOURNAL_FILE)
        self.n_written = self.n_kept = 0

    def write(self, source: _Source) -> None:
        """Makes what is missing of a source's files, side by side, and notes them in the journal.

        Raises:
            DecodeError: the source cannot be read.
            DataError: a step made something that is no sound.
        """
        about = self._about(source)
        files = self._kept(source, about)
        missing = [v for v in range(source.n_variants + 1) if v not in files]
        self.n_kept += len(files)
        if not missing:
            return
        sound = decode(
            source.path,
            rate_hz=self._config.rate_hz,
            start_s=source.start_s,
            end_s=source.end_s,
            limits=self._limits,
        )

        def one(i: int) -> None:
            files[missing[i]] = self._variant(source, about, missing[i], (sound.samples, sound.rate_hz))

        over_rows(one, len(missing))
        about |= {"rate_hz": sound.rate_hz, "n_samples": len(sound.samples)}
        self.journal.put({**about, "files": [asdict(files[v]) for v in sorted(files)]})
        self.n_written += len(missing)

    def _about(self, source: _Source) -> dict[str, Any]:
        try:
            content = sha256_of(Path(source.path))
        except OSError:
            content = ""  # `decode` has the words for it
        return {
            "stem": source.stem,
            "source": source.row["id"],
            "source_sha256": content,
            "source_start_s": source.start_s,
            "source_end_s": source.end_s,
        }

    def _kept(self, source: _Source, about: Mapping[str, Any]) -> dict[int, VariantFile]:
        """Files of a source that are there, made of the same content, and undamaged."""
        record = self.journal.get(source.stem)
        if record is None:
            return {}
        files = [VariantFile(**each) for each in record["files"]]
        for each in files:
            if each.variant > source.n_variants:  # the clip has become one to judge on
                (self._home / each.path).unlink(missing_ok=True)
        if not about["source_sha256"] or any(record[key] != about[key] for key in _SAME_SOUND):
            return {}
        return {f.variant: f for f in files if f.variant <= source.n_variants and f.is_whole(self._home)}

    def _variant(
        self, source: _Source, about: Mapping[str, Any], variant: int, sound: tuple[NDArray[np.float32], int]
    ) -> VariantFile:
        samples, rate_hz = sound
        seed, parameters = None, list[Parameters]()
        if variant:
            seed = _variant_seed(self._config.seed, about, variant)
            parameters = draw_parameters(self._config.steps, np.random.default_rng(seed))
        mark = f"-aug{variant:02d}" if variant else ""
        path = f"{source.stem}{mark}.{self._config.format}"
        content = _encoded(render(samples, parameters, rate_hz=rate_hz), rate_hz, self._config.format)
        write_renamed(self._home / path, content)
        return VariantFile(path, variant, seed, parameters, hashlib.sha256(content).hexdigest(), len(content))


def _encoded(samples: NDArray[np.int16], rate_hz: int, suffix: str) -> bytes:
    """The bytes of a sound file, mono, 16 bit."""
    content = io.BytesIO()
    try:
        soundfile.write(content, samples, rate_hz, format=suffix.upper(), subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        rule = f"a rate that {suffix} can hold"
        raise DataError(
            complaint("augment", "rate_hz", rate_hz, rule, "Set rate_hz, or format = wav.")
        ) from error
    return content.getvalue()


def _variant_seed(seed: int, about: Mapping[str, Any], variant: int) -> int:
    key = " ".join(str(about[name]) for name in _SAME_SOUND)
    content = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "little")
    state = np.random.SeedSequence([seed, content, variant]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
