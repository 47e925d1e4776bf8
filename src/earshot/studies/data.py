"""Which clips a study uses and how they are split: decided in the table, before a sound is decoded.

Conventions: a fold's indices are positions in the study's clips; a book split is one fold. A study that cuts its
recordings up has segments as clips; recordings are split, and their segments follow.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earshot.audio import windows
from earshot.data.clips import Clips
from earshot.data.copies import copies_in_one_group
from earshot.data.readers import read_clips
from earshot.data.splits import Fold, check_no_leak, check_trainable, k_folds, trainable, unheard_test
from earshot.errors import ConfigError, DataError, complaint
from earshot.hearing import hear
from earshot.monitor import Monitor
from earshot.recipe import AudioConfig
from earshot.studies.segmented import Segmented, cut_up, most_frequent_note, segment_folds
from earshot.studies.spec import Choice, Protocol, Study

TEST_SPLIT = "test split"  # the name of the fold that judges the data's own


@dataclass(frozen=True)
class StudyData:
    """The clips of a study, decoded, and how they are split.

    Args:
        whole: the recordings, where clips are segments of them; None elsewhere.
        rounds: the folds of the recordings; elsewhere the same as `folds`.
        every_round: those and the ones that are not judged, where only some are.
        source: the folder that was read, with the one it lies in.
    """

    clips: Clips
    view: windows.Clipbank
    contents: tuple[str, ...]
    folds: tuple[Fold, ...]
    rate_hz: int
    length: int
    notes: tuple[str, ...]
    whole: Segmented | None = None
    rounds: tuple[Fold, ...] = ()
    every_round: tuple[Fold, ...] = ()
    source: str = ""

    @property
    def recordings(self) -> Clips:
        """What a recipe learns from: whole clips."""
        return self.clips if self.whole is None else self.whole.recordings

    def waveform(self, i: int) -> NDArray[np.float32]:
        """The first `length` samples of clip i, a shorter one repeated to fill them. Shape: [length]."""
        samples = np.empty(self.length, np.int16)
        self.view.fill(samples, i, 0)
        return windows.to_float(samples)


def find_data(data: Path | None, study: Study) -> Path:
    """`data`, or one of the study's folders in $EARSHOT_DATA, in the current folder or in `data/` below it.

    Raises:
        ConfigError: there is none; the message says how to come by the data.
    """
    if data is not None:
        return data
    places = [Path(os.environ["EARSHOT_DATA"])] if os.environ.get("EARSHOT_DATA") else []
    for place in (*places, Path(), Path("data")):
        for name in study.folders:
            if (place / name).is_dir():
                return place / name
    rule = f"a folder of labelled sounds; {' or '.join(study.folders)} was looked for and is not there"
    raise ConfigError(complaint(f"study {study.name}", "--data", None, rule, study.get))


def gather(
    study: Study,
    source: Path,
    *,
    protocol: str,
    folds: Sequence[int] = (),
    quick: bool = False,
    monitor: Monitor,
    store_root: Path | None = None,
) -> StudyData:
    """Reads the table, chooses classes and clips, splits them, and decodes what is left.

    Args:
        folds: judge only these official folds.

    Raises:
        DataError: the clips cannot be used.
        ConfigError: a fold is asked for that the data do not have.
    """
    clips, notes = chosen_classes(read_clips(source), study.classes)
    if quick:
        clips = fewer(clips, study.quick.clips_per_class_and_fold)
        notes.append(f"quick run: {len(clips)} clips only")
    audio = AudioConfig(rate_hz=study.rate_hz, window_s=study.window_s)
    heard = hear(clips, audio, monitor=monitor, store_root=store_root)
    if heard.n_failed:
        notes.append(f"{heard.n_failed} of {len(clips)} clips could not be read and were left out")
    heard_clips = heard.clips
    notes = [*heard_clips.notes, *notes]  # of the reader, and of copies that were found
    if study.protocols[protocol].copies_grouped:
        heard_clips, copies = copies_in_one_group(heard_clips, heard.view, rate_hz=study.rate_hz)
        n_copies = sum(len(each) for each in copies.near)
        notes.append(
            f"{n_copies} recordings overlap another, in {len(copies.near)} sets; each set is one group"
        )
    rounds, split_notes = split(heard_clips, study.protocols[protocol], seed=study.seed, only=folds)
    of_all_folds = study.protocols[protocol].model_copy(update={"folds": ()})
    every_round, _ = split(heard_clips, of_all_folds, seed=study.seed)
    if quick:
        rounds = every_round = rounds[: study.quick.n_folds]
    length = round(study.window_s * study.rate_hz)
    short = int((heard.view.n_samples < length).sum())
    if short:
        notes.append(f"{short} clips are shorter than {study.window_s:g} s and are repeated to fill it")
    data = StudyData(
        clips=heard_clips,
        view=heard.view,
        contents=tuple(heard.contents),
        folds=tuple(rounds),
        rate_hz=study.rate_hz,
        length=length,
        notes=(*notes, *split_notes),
        rounds=tuple(rounds),
        every_round=tuple(every_round),
        source="/".join(source.resolve().parts[-2:]),
    )
    return data if study.segments is None else _in_segments(data, study, study.protocols[protocol])


def _in_segments(data: StudyData, study: Study, protocol: Protocol) -> StudyData:
    assert study.segments is not None
    whole = cut_up(
        data.clips, data.view, study.segments, rate_hz=data.rate_hz, window_s=study.window_s
    )  # fmt: skip
    folds = segment_folds(whole, data.rounds, how=study.segments, protocol=protocol, seed=study.seed)
    return replace(
        data,
        clips=whole.clips,
        view=whole.view,
        contents=tuple(data.contents[i] for i in whole.owners),
        folds=tuple(folds),
        whole=whole,
        notes=(*data.notes, most_frequent_note(whole, folds)),
    )


def chosen_classes(clips: Clips, choices: Sequence[Choice]) -> tuple[Clips, list[str]]:
    """The clips of the first choice of classes that the data have whole, in its order; and what to say of it.

    Where no choice fits, the first classes of the data are taken, as many as the first choice has.

    Raises:
        DataError: clips without a label or with several, or fewer than two classes.
    """
    _ = clips.labels
    known = {_plain(name): name for name in clips.classes}
    for choice in choices:
        if all(_plain(name) in known for name in choice.names):
            chosen = _only(clips, [known[_plain(name)] for name in choice.names])
            return chosen, [choice.note] if choice.note else []
    names = list(clips.classes[: len(choices[0].names)])
    if len(names) < 2:
        fix = "Add clips of another class."
        raise DataError(complaint("study", "classes", list(clips.classes), "at least 2 classes", fix))
    return _only(clips, names), [f"other data than the source's: classes {', '.join(names)}"]


def _plain(name: str) -> str:
    return name.casefold().replace(" ", "_")


def _only(clips: Clips, names: Sequence[str]) -> Clips:
    kept = clips.subset(np.isin(np.asarray(clips.table["label"], dtype=object), list(names)))
    return Clips(kept.table, root=clips.root, classes=names, notes=clips.notes)


def fewer(clips: Clips, n: int) -> Clips:
    """The first n clips of each class in each official fold (in all, 5 n of each part, where there are no folds).

    Without folds clips come from as many groups as there are, so that these can still be split.
    """
    table = clips.table
    if table["fold"].notna().all():
        return clips.subset((table.groupby(["label", "fold"]).cumcount() < n).to_numpy())
    turn = table.groupby(["label", "split", "group"]).cumcount()
    in_turn = table.assign(turn=turn).sort_values("turn", kind="stable")
    place = in_turn.groupby(["label", "split"]).cumcount().sort_index()
    return clips.subset((place < 5 * n).to_numpy())


def split(
    clips: Clips, protocol: Protocol, *, seed: int, only: Sequence[int] = ()
) -> tuple[list[Fold], list[str]]:
    """The folds of a protocol, and what to say of them.

    Raises:
        DataError: the clips cannot be split by group.
        ConfigError: a fold that is asked for is not there.
    """
    if protocol.split == "random":
        _no_folds(only, "a random split by file")
        fold = random_split(clips, share=protocol.test_share, seed=seed)
        return [fold], [leak_note(clips, fold)]
    test, notes = unheard_test(clips) if protocol.split == "given" else (np.zeros(0, np.int64), [])
    if len(test):
        _no_folds(only, "the data's own test split")
        check_trainable(clips, n_groups=1)
        fold = Fold(trainable(clips), test, TEST_SPLIT)
        check_no_leak(clips, fold.train, fold.test)
        return [fold], ["judged on the data's own test split", *notes]
    folds = k_folds(clips, seed=seed)
    wanted = tuple(only) or protocol.folds
    if not wanted:
        return folds, notes
    names = {f"fold {number}" for number in wanted}
    kept = [fold for fold in folds if fold.name in names]
    if len(kept) < len(names):
        rule = f"some of {', '.join(fold.name.removeprefix('fold ') for fold in folds)}"
        raise ConfigError(complaint("study", "--folds", list(wanted), rule))
    said = ", ".join(fold.name for fold in kept)
    n_judged = sum(len(fold.test) for fold in kept)
    return kept, [*notes, f"judged on {said} only, of {len(folds)}: {n_judged} clips"]


def _no_folds(only: Sequence[int], split: str) -> None:
    if only:
        rule = f"no folds: this protocol judges by {split}"
        raise ConfigError(complaint("study", "--folds", list(only), rule))


def random_split(clips: Clips, *, share: float, seed: int) -> Fold:
    """`share` of the clips of each class to the test side, by file: sources and speakers may stand on both."""
    rng = np.random.default_rng(seed)
    labels = clips.labels
    parts = []
    for k in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == k))
        parts.append(members[: max(1, round(share * len(members)))])
    test = np.sort(np.concatenate(parts)).astype(np.int64)
    return Fold(np.setdiff1d(np.arange(len(clips)), test), test, "random split by file")


def leak_note(clips: Clips, fold: Fold) -> str:
    """How many of the judged clips have a sibling from the same source among those learned from."""
    learned = set(clips.groups[fold.train])
    n = sum(group in learned for group in clips.groups[fold.test])
    share = 100 * n / len(fold.test)
    return (
        f"this split is by file: {n} of {len(fold.test)} judged clips ({share:.0f} %) have a sibling from the same "
        "source recording among the clips learned from"
    )


def facts(data: StudyData, *, groups: str = "source recordings") -> Mapping[str, int]:
    """Sizes for the page; `groups` says what clips are grouped by."""
    of = list(data.recordings.groups)
    sizes = {
        "clips": len(of),
        "classes": len(data.clips.classes),
        "sources" if groups == "source recordings" else groups: len(set(of)),
    }
    if groups == "source recordings":
        alone = {group for group, n in Counter(of).items() if n == 1}
        sizes["clips that share their source"] = sum(group not in alone for group in of)
    if data.whole is not None:
        sizes["segments that are judged"] = sum(len(fold.test) for fold in data.folds)
    return sizes
