"""Group-safe folds and hold-outs: clips of one group (recording, speaker, site) stay on one side.

Conventions: indices are int64 positions in the whole `Clips`; every function gives the same answer for the
same seed. Only clips whose split is empty or "train" are dealt out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from earshot.data.clips import Clips
from earshot.data.deal import deal_groups
from earshot.data.fields import printable
from earshot.errors import ConfigError, DataError, complaint

Indices = npt.NDArray[np.int64]
_SAME_GROUP = "Give them one group, or put both on one side."


@dataclass(frozen=True)
class Fold:
    """Positions of the clips to learn from [n] and to judge on [m], both ascending."""

    train: Indices
    test: Indices
    name: str


def k_folds(clips: Clips, *, n_folds: int = 5, seed: int = 0, ignore_folds: bool = False) -> list[Fold]:
    """The official folds when every clip has one, else stratified group folds.

    There are never more folds than groups in the smallest class, so that every fold can hold every class.

    Args:
        n_folds: wanted number; official folds keep theirs.
        ignore_folds: deal anew even when the data has folds.

    Raises:
        DataError: too few classes or groups, or official folds that put one group on both sides or leave fewer than
            two classes to learn.
        ConfigError: `n_folds` < 2.
    """
    if n_folds < 2:
        raise ConfigError(complaint("splits", "n_folds", n_folds, "a whole number >= 2", "5 is usual."))
    check_trainable(clips)
    pool = trainable(clips)
    if not ignore_folds and has_official_folds(clips):
        official = clips.table["fold"].iloc[pool]
        parts, names = np.unique(official.to_numpy(dtype=np.int64), return_inverse=True)
        folds = [_fold(pool, names == i, name=f"fold {part}") for i, part in enumerate(parts)]
        fix = "Correct the group or the fold, or deal new folds with --ignore-folds."
    else:
        n_parts = min(n_folds, int(_groups_per_class(clips, pool).min()))
        dealt = _deal(clips, pool, shares=np.full(n_parts, 1 / n_parts), seed=seed)
        folds = [_fold(pool, dealt == i, name=f"fold {i + 1}") for i in range(n_parts)]
        fix = _SAME_GROUP
    for fold in folds:
        check_no_leak(clips, fold.train, fold.test, fix=fix)
        _check_classes(clips, fold)
    return folds


def _check_classes(clips: Clips, fold: Fold) -> None:
    """Official folds may hold all clips of a class; two classes at least must be left to learn."""
    learned = [
        name for name, n in zip(clips.classes, clips.targets[fold.train].sum(axis=0), strict=True) if n
    ]
    if len(learned) < 2 and not clips.is_multilabel:
        what = f"classes learned where {fold.name} is judged"
        fix = "Correct the folds, or deal new ones with --ignore-folds."
        raise DataError(complaint("splits", what, learned, "at least 2", fix))


def hold_out(clips: Clips, *, test_fraction: float = 0.2, seed: int = 0) -> Fold:
    """The data's own test split when it has one, else about `test_fraction` of each class, by whole groups.

    Raises:
        DataError: too few classes or groups, or a test split that shares a group with the training clips.
        ConfigError: `test_fraction` is not between 0 and 1.
    """
    check_trainable(clips, n_groups=1 if (clips.table["split"] == "test").any() else 2)
    pool = trainable(clips)
    test = np.flatnonzero(clips.table["split"] == "test").astype(np.int64)
    if not len(test):
        return inner_validation(clips, pool, fraction=test_fraction, seed=seed, name="hold-out")
    check_no_leak(clips, pool, test)
    return Fold(train=pool, test=test, name="test split")


def inner_validation(
    clips: Clips, train: npt.ArrayLike, *, fraction: float = 0.15, seed: int = 0, name: str = "inner"
) -> Fold:
    """Takes about `fraction` of the training clips out by whole groups: `test` is the validation side.

    A class with a single group among the training clips stays on the training side.

    Raises:
        DataError: no group can be spared.
        ConfigError: `fraction` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ConfigError(
            complaint("splits", "fraction", fraction, "a number between 0 and 1", "0.2 is usual.")
        )
    pool = np.asarray(train, dtype=np.int64)
    dealt = _deal(clips, pool, shares=np.array([1 - fraction, fraction]), seed=seed)
    fold = _fold(pool, dealt == 1, name=name)
    if not len(fold.test):
        rule = "a class with two groups, so that one can be set aside"
        raise DataError(complaint("splits", "groups to spare", 0, rule, "Add recordings, or do without."))
    check_no_leak(clips, fold.train, fold.test)
    return fold


def unheard_test(clips: Clips) -> tuple[Indices, list[str]]:
    """Positions of the data's own test clips that share no group with other clips, and what to say of the rest."""
    is_test = (clips.table["split"] == "test").to_numpy()
    learned = set(clips.groups[~is_test])
    marked = np.flatnonzero(is_test)
    kept = np.array([row for row in marked if clips.groups[row] not in learned], dtype=np.int64)
    if len(kept) == len(marked):
        return kept, []
    note = (
        f"{len(marked) - len(kept)} clips of the test split are copies of clips that are learned from, or of their "
        "group: they are not scored"
    )
    return kept, [note]


def has_official_folds(clips: Clips) -> bool:
    """Whether every clip that may be learned from has a fold, and they have more than one."""
    official = clips.table["fold"].iloc[trainable(clips)]
    return bool(not official.isna().any() and official.nunique() > 1)


def valid_clips_train(clips: Clips) -> Clips:
    """Clips marked "valid" join the folds: nothing is selected on a separate validation set."""
    marked = (clips.table["split"] == "valid").to_numpy()
    if not marked.any():
        return clips
    split = ["train" if is_valid else s for s, is_valid in zip(clips.table["split"], marked, strict=True)]
    note = f"{marked.sum()} validation clips take part in the folds like training clips"
    return clips.assign(split=split, notes=[note])


def trainable(clips: Clips) -> Indices:
    """Positions of the clips that may be learned from: those marked neither test nor valid."""
    return np.flatnonzero(clips.table["split"].isin(["", "train"])).astype(np.int64)


def check_trainable(clips: Clips, *, n_groups: int = 2) -> None:
    """At least two classes, and at least `n_groups` groups of each among the trainable clips.

    Raises:
        DataError: naming the class, what it has and what to do.
    """
    pool = trainable(clips)
    if not len(pool):
        raise DataError(
            complaint("data", "number of clips", 0, "clips to learn from", "Is it the right folder?")
        )
    if not clips.is_labelled:
        raise DataError(
            complaint("data", "label", "", "a label on every clip", "Read the clips with labels.")
        )
    if len(clips.classes) < 2:
        fix = "Add clips of another class; if the class folders lie deeper, give the folder that holds them."
        raise DataError(
            complaint("data", "classes", [str(name) for name in clips.classes], "at least 2 classes", fix)
        )
    n_clips = clips.targets[pool].sum(axis=0).astype(int)
    for name, n, found in zip(clips.classes, n_clips, _groups_per_class(clips, pool), strict=True):
        if found < n_groups:
            value = f"{found} ({n} clip{'' if n == 1 else 's'} to learn from)"
            rule = f"at least {n_groups}, one to learn from and another to judge on"
            fix = "Record more of it elsewhere, or remove the class; clips of one recording count once."
            raise DataError(f"class {printable(name)!r}: number of groups is {value}; expected {rule}. {fix}")


def check_no_leak(clips: Clips, train: npt.ArrayLike, test: npt.ArrayLike, *, fix: str = _SAME_GROUP) -> None:
    """No group and no stretch of a file stands on both sides.

    Raises:
        DataError: naming the group or file and a clip on each side.
    """
    left, right = np.asarray(train, dtype=np.int64), np.asarray(test, dtype=np.int64)
    for i, j, shared in (_shared_group(clips, left, right), _shared_stretch(clips, left, right)):
        if shared:
            one, other = clips.table["id"].iloc[i], clips.table["id"].iloc[j]
            rule = f"one side of a split; clip {one!r} is learned from and clip {other!r} is judged on"
            raise DataError(complaint("splits", "group or file on both sides", shared, rule, fix))


def _shared_group(clips: Clips, left: Indices, right: Indices) -> tuple[int, int, str]:
    groups = clips.groups
    first_of = dict(zip(groups[left][::-1], left[::-1], strict=True))
    for j in right:
        if groups[j] in first_of:
            return int(first_of[groups[j]]), int(j), str(groups[j])
    return 0, 0, ""


def _shared_stretch(clips: Clips, left: Indices, right: Indices) -> tuple[int, int, str]:
    """The first two clips of one file, one a side, whose times overlap."""
    table = clips.table
    paths = table["path"].to_numpy(dtype=object)
    both = set(paths[left]) & set(paths[right])
    side = dict.fromkeys(left.tolist(), 0) | dict.fromkeys(right.tolist(), 1)
    rows = [i for i in side if paths[i] in both]
    starts, ends = table["start_s"].to_numpy(), table["end_s"].fillna(np.inf).to_numpy()
    reach: dict[tuple[str, int], tuple[float, int]] = {}  # furthest end so far of each side of each file
    for i in sorted(rows, key=lambda i: (paths[i], starts[i])):
        end, other = reach.get((paths[i], 1 - side[i]), (-np.inf, 0))
        if starts[i] < end:
            return (i, other, paths[i]) if side[i] == 0 else (other, i, paths[i])
        mine = (float(ends[i]), i)
        reach[paths[i], side[i]] = max(mine, reach.get((paths[i], side[i]), mine))
    return 0, 0, ""


def merge_duplicates(clips: Clips, contents: list[str]) -> Clips:
    """Puts clips of the same sound into one group, so that no copy is judged on that was learned from.

    Clips share a sound where they are cut from files of one content and overlap in time. Segments of one file are
    not copies, overlapping ones neither: whoever puts those into two groups is told so (`check_no_leak`).

    Args:
        contents: hash of each clip's file, [N]; empty where unknown.
    """
    table = clips.table
    owner = {group: group for group in table["group"]}

    def root(group: str) -> str:
        while owner[group] != group:
            owner[group] = owner[owner[group]]
            group = owner[group]
        return group

    groups, labels, ids = (table[name].tolist() for name in ("group", "label", "id"))
    paths, ranges = table["path"].tolist(), _ranges(clips)
    n_copies, clash = 0, ""
    for rows in _overlapping(contents, ranges):
        first: dict[tuple[float, float], int] = {}
        copies = [i for i in rows if i != first.setdefault(ranges[i], i) or paths[i] != paths[rows[0]]]
        n_copies += len(copies)
        for i in rows if copies else []:
            owner[root(groups[i])] = root(groups[rows[0]])
            j = first[ranges[i]]
            if labels[i] != labels[j]:
                clash = clash or f"{ids[j]} ({labels[j]}) and {ids[i]} ({labels[i]})"
    notes = [f"copies of other clips, grouped with them: {n_copies}"] if n_copies else []
    notes += [f"the same sound has two labels: {clash}"] if clash else []
    return clips.assign(group=[root(group) for group in groups], notes=notes) if notes else clips


def _ranges(clips: Clips) -> list[tuple[float, float]]:
    """Start and end of each clip in its file, s; the end of the file is infinite."""
    table = clips.table
    return list(zip(table["start_s"].tolist(), table["end_s"].fillna(np.inf).tolist(), strict=True))


def _overlapping(contents: list[str], ranges: list[tuple[float, float]]) -> Iterator[list[int]]:
    """The clips of one content that overlap or are joined by others that do, two or more at a time."""
    rows_of: dict[str, list[int]] = {}
    for i, content in enumerate(contents):
        if content:
            rows_of.setdefault(content, []).append(i)
    for rows in rows_of.values():
        rows.sort(key=lambda i: (ranges[i], i))
        start, reach = 0, -np.inf
        for k, i in enumerate(rows):
            if ranges[i][0] >= reach and k > start:
                if k > start + 1:
                    yield rows[start:k]
                start = k
            reach = max(reach, ranges[i][1])
        if len(rows) > start + 1:
            yield rows[start:]


def _fold(pool: Indices, is_test: npt.NDArray[np.bool_], *, name: str) -> Fold:
    return Fold(train=np.sort(pool[~is_test]), test=np.sort(pool[is_test]), name=name)


def _groups_per_class(clips: Clips, pool: Indices) -> Indices:
    """Number of groups with at least one clip of each class. Shape: [K]."""
    return np.asarray(np.diff(_counts(clips, pool)[0].tocsc().indptr), dtype=np.int64)


def _deal(clips: Clips, pool: Indices, *, shares: npt.NDArray[np.float64], seed: int) -> Indices:
    """Part of each clip of the pool. Shape: [n]."""
    counts, group_of = _counts(clips, pool)
    part_of_group = deal_groups(counts, shares=shares, rng=np.random.default_rng(seed))
    return np.asarray(part_of_group[group_of], dtype=np.int64)


def _counts(clips: Clips, pool: Indices) -> tuple[sparse.csr_array, Indices]:
    """Clips of each class in each group [G, K], and the group number of each clip [n]."""
    group_of, names = pd.factorize(clips.groups[pool], sort=True)
    clip, target = np.nonzero(clips.targets[pool])
    shape = (len(names), len(clips.classes))
    counts = sparse.csr_array((np.ones(len(clip)), (group_of[clip], target)), shape=shape)
    counts.sum_duplicates()
    return counts, group_of.astype(np.int64)
