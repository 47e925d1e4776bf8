from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from earshot import read_clips
from earshot.data import splits
from earshot.data.clips import Clips
from earshot.errors import ConfigError, DataError


def clips_of(labels: list[str], groups: list[Any] | None = None, **columns: Any) -> Clips:
    data = {"path": [f"{i}.wav" for i in range(len(labels))], "label": labels} | columns
    return Clips(pd.DataFrame(data if groups is None else data | {"group": groups}))


def many(n_per_group: int = 4, n_groups: int = 6) -> Clips:
    names = [(label, f"{label}{g}") for label in "abc" for g in range(n_groups) for _ in range(n_per_group)]
    return clips_of([label for label, _ in names], [group for _, group in names])


def assert_sound(clips: Clips, fold: splits.Fold) -> None:
    """Both sides filled, disjoint, ascending, and without a common group."""
    assert len(fold.train)
    assert len(fold.test)
    assert fold.train.dtype == fold.test.dtype == np.int64
    assert np.all(np.diff(fold.train) > 0)
    assert np.all(np.diff(fold.test) > 0)
    assert not set(clips.groups[fold.train]) & set(clips.groups[fold.test])


@st.composite
def labelled_groups(draw: st.DrawFn) -> list[tuple[str, int]]:
    """(label, group) rows, two groups of each class at least, in any order."""
    rows = draw(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 12)), max_size=60))
    present = {label for label, _ in rows} | {"a", "b"}
    rows += [(label, group) for label in present for group in (13, 14)]
    return draw(st.permutations(rows))


ROWS = labelled_groups()


@given(rows=ROWS, n_folds=st.integers(2, 7), seed=st.integers(0, 5))
def test_no_group_is_ever_on_both_sides_of_a_fold(
    rows: list[tuple[str, int]], n_folds: int, seed: int
) -> None:
    clips = clips_of([label for label, _ in rows], [group for _, group in rows])
    try:
        folds = splits.k_folds(clips, n_folds=n_folds, seed=seed)
    except DataError:
        assume(False)
    assert 2 <= len(folds) <= n_folds
    for fold in folds:
        assert_sound(clips, fold)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(clips)))


@given(rows=ROWS, fraction=st.floats(0.05, 0.95), seed=st.integers(0, 5))
def test_no_group_is_ever_on_both_sides_of_a_hold_out(
    rows: list[tuple[str, int]], fraction: float, seed: int
) -> None:
    clips = clips_of([label for label, _ in rows], [f"{label}{group}" for label, group in rows])
    try:
        fold = splits.hold_out(clips, test_fraction=fraction, seed=seed)
    except DataError:
        assume(False)
    assert_sound(clips, fold)
    assert set(clips.labels[fold.train]) == set(clips.labels[fold.test]) == set(range(len(clips.classes)))


@given(
    sizes=st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=9), min_size=2, max_size=4),
    n_folds=st.integers(2, 6),
)
def test_every_fold_holds_every_class(sizes: list[list[int]], n_folds: int) -> None:
    rows = [(f"c{k}", f"c{k}g{g}") for k, s in enumerate(sizes) for g, n in enumerate(s) for _ in range(n)]
    clips = clips_of([label for label, _ in rows], [group for _, group in rows])
    for fold in splits.k_folds(clips, n_folds=n_folds):
        assert set(clips.labels[fold.test]) == set(range(len(sizes)))


@pytest.mark.parametrize("seed", range(10))
def test_no_class_is_judged_unlearned_where_groups_hold_several_and_a_better_deal_exists(seed: int) -> None:
    n_of = [[1, 2, 3, 0], [2, 1, 0, 2], [1, 0, 3, 0], [0, 0, 0, 1], [2, 0, 0, 0], [3, 0, 3, 1]]
    rows = [("abcd"[k], f"g{g}") for g, row in enumerate(n_of) for k, n in enumerate(row) for _ in range(n)]
    clips = clips_of([label for label, _ in rows], [group for _, group in rows])
    for fold in splits.k_folds(clips, seed=seed):
        assert set(clips.labels[fold.train]) == set(range(4))


def test_folds_are_balanced_when_groups_allow_it() -> None:
    clips = many(n_groups=10)
    for fold in splits.k_folds(clips):
        assert np.bincount(clips.labels[fold.test]).tolist() == [8, 8, 8]


def test_the_same_seed_gives_the_same_folds_and_another_seed_others() -> None:
    one, same, other = (splits.k_folds(many(), seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a.test, b.test) for a, b in zip(one, other, strict=True))


def test_there_are_no_more_folds_than_groups_in_the_smallest_class() -> None:
    clips = clips_of(list("aaaaabbb"), list("12345678"))
    assert [fold.name for fold in splits.k_folds(clips, n_folds=5)] == ["fold 1", "fold 2", "fold 3"]


def test_official_folds_are_used_as_they_are() -> None:
    clips = clips_of(list("abababab"), fold=[1, 1, 2, 2, 7, 7, 7, 7])
    folds = splits.k_folds(clips, n_folds=2)
    assert [fold.name for fold in folds] == ["fold 1", "fold 2", "fold 7"]
    assert folds[2].test.tolist() == [4, 5, 6, 7]
    assert len(splits.k_folds(clips, n_folds=2, ignore_folds=True)) == 2


def test_official_folds_that_part_a_group_are_refused_with_the_way_out() -> None:
    clips = clips_of(list("aabb"), ["g", "h", "g", "i"], fold=[1, 1, 2, 2])
    with pytest.raises(DataError, match=r"'g'.*'2\.wav'.*'0\.wav'.*--ignore-folds"):
        splits.k_folds(clips)


def test_official_folds_that_leave_one_class_to_learn_are_refused_with_the_way_out() -> None:
    clips = clips_of(list("aabb"), fold=[1, 2, 1, 1])
    with pytest.raises(DataError, match=r"learned where fold 1 is judged is \['a'\]; .*2.*--ignore-folds"):
        splits.k_folds(clips)
    three = clips_of(list("aabbcc"), fold=[1, 2, 1, 1, 1, 2])
    assert len(splits.k_folds(three)) == 2


def test_folds_that_not_every_clip_has_are_not_used() -> None:
    clips = clips_of(list("abab"), fold=[1, 1, 2, None])
    assert len(splits.k_folds(clips, n_folds=2)) == 2


def test_clips_marked_test_or_valid_stay_out_of_the_folds() -> None:
    clips = clips_of(list("abababab"), split=["train"] * 4 + ["test", "test", "valid", ""])
    dealt = np.concatenate([fold.test for fold in splits.k_folds(clips, n_folds=2)])
    assert sorted(dealt) == [0, 1, 2, 3, 7]


def test_the_datas_own_test_split_is_the_hold_out() -> None:
    clips = clips_of(list("abab"), split=["train", "train", "test", "test"])
    fold = splits.hold_out(clips)
    assert (fold.train.tolist(), fold.test.tolist(), fold.name) == ([0, 1], [2, 3], "test split")


def test_a_test_split_that_shares_a_group_is_refused() -> None:
    clips = clips_of(list("abab"), ["g", "h", "g", "i"], split=["train", "train", "test", "test"])
    with pytest.raises(DataError, match="'g'"):
        splits.hold_out(clips)


def test_test_clips_of_groups_that_others_have_are_left_out_and_counted() -> None:
    split = ["train", "valid", "", "test", "test", "test"]
    rows, notes = splits.unheard_test(clips_of(list("ababab"), list("ghijhk"), split=split))
    assert rows.tolist() == [3, 5]
    assert rows.dtype == np.int64
    assert len(notes) == 1
    assert notes[0].startswith("1 clips of the test split")
    assert splits.unheard_test(clips_of(list("ab"), split=["train", "test"]))[1] == []
    assert splits.unheard_test(clips_of(list("ab")))[0].tolist() == []


def test_a_hold_out_is_about_the_wanted_share_of_every_class() -> None:
    clips = many(n_groups=20)
    fold = splits.hold_out(clips, test_fraction=0.25)
    assert np.bincount(clips.labels[fold.test]).tolist() == [20, 20, 20]


def test_inner_validation_takes_only_from_the_training_side() -> None:
    clips = many()
    outer = splits.k_folds(clips)[0]
    inner = splits.inner_validation(clips, outer.train, fraction=0.2, seed=1)
    assert_sound(clips, inner)
    assert sorted([*inner.train, *inner.test]) == outer.train.tolist()
    assert set(clips.labels[inner.train]) == {0, 1, 2}


def test_a_class_of_one_group_stays_on_the_training_side() -> None:
    clips = clips_of(list("aaaabbbb"), ["1", "1", "2", "2", "3", "3", "3", "3"])
    inner = splits.inner_validation(clips, np.arange(8), fraction=0.5)
    assert set(clips.labels[inner.train]) == {0, 1}


def test_an_inner_validation_without_a_group_to_spare_is_refused() -> None:
    with pytest.raises(DataError, match="groups to spare"):
        splits.inner_validation(clips_of(list("aabb"), list("1122")), np.arange(4))


@pytest.mark.parametrize(
    ("clips", "words"),
    [
        (clips_of([]), "number of clips is 0"),
        (clips_of(["", ""]), "a label on every clip"),
        (clips_of(["dog"] * 4), r"classes is \['dog'\]; expected at least 2"),
        (clips_of(["dog", "cat"]), r"class 'cat': number of groups is 1 \(1 clip to learn from\)"),
        (clips_of(list("aabb"), list("1122")), r"class 'a': number of groups is 1 \(2 clips to learn from\)"),
        (clips_of(list("aabb"), split=["", "", "test", "test"]), "class 'b': number of groups is 0"),
        (clips_of(list("aabbcc")).subset([0, 1, 2, 3]), "class 'c': number of groups is 0"),
    ],
)
def test_data_that_no_honest_score_can_come_from_is_refused(clips: Clips, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        splits.k_folds(clips)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"n_folds": 1}, {"n_folds": -3}])
def test_impossible_numbers_of_folds_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="n_folds"):
        splits.k_folds(many(), **wrong)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_impossible_fractions_are_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match="fraction"):
        splits.hold_out(many(), test_fraction=fraction)


def test_overlapping_segments_in_different_groups_are_a_leak() -> None:
    df = pd.DataFrame({"path": ["a.wav"] * 3, "label": list("aba"), "group": list("xyz")})
    clips = Clips(df.assign(start_s=[0, 1, 2], end_s=[1, 2, 4]))
    splits.check_no_leak(clips, [0, 2], [1])
    with pytest.raises(
        DataError, match=r"a\.wav'; expected one side.*'a.wav@0-1\.5' is learned.*'a.wav@1-2'"
    ):
        splits.check_no_leak(Clips(df.assign(start_s=[0, 1, 2], end_s=[1.5, 2, 4])), [0, 2], [1])


def test_copies_of_a_sound_join_one_group() -> None:
    clips = clips_of(list("aabb"), ["1", "2", "3", "3"])
    merged = splits.merge_duplicates(clips, ["x", "y", "x", ""])
    assert merged.groups[0] == merged.groups[2] == merged.groups[3] != merged.groups[1]
    assert "copies of other clips, grouped with them: 1" in merged.notes
    assert any("0.wav (a) and 2.wav (b)" in note for note in merged.notes)


@pytest.mark.parametrize(
    ("ranges", "together"),
    [
        ([(0, 5), (1, 6)], True),  # other cut points
        ([(0, None), (0, 6)], True),  # one whole, one with an end
        ([(0, 5), (5, 6)], False),
        ([(3, None), (0, 3)], False),
    ],
)
def test_files_of_one_content_are_copies_where_they_overlap(
    ranges: list[tuple[float, float | None]], together: bool
) -> None:
    starts, ends = zip(*ranges, strict=True)
    clips = Clips(pd.DataFrame({"path": ["a.wav", "b.wav"], "start_s": starts, "end_s": ends}))
    merged = splits.merge_duplicates(clips, ["same", "same"])
    assert (merged.groups[0] == merged.groups[1]) is together
    assert len(merged.notes) == len(clips.notes) + together


def test_a_row_that_stands_twice_with_two_labels_is_named() -> None:
    clips = Clips(
        pd.DataFrame({"path": ["a.wav"] * 2, "label": ["x", "y"], "start_s": [0, 0], "end_s": [1, 1]})
    )
    merged = splits.merge_duplicates(clips, ["same", "same"])
    assert any("two labels: a.wav@0-1 (x) and a.wav@0-1#2 (y)" in note for note in merged.notes)


def test_ten_thousand_copies_are_merged_in_no_time() -> None:
    n = 10_000
    clips = Clips(pd.DataFrame({"path": [f"{i}.wav" for i in range(n)]}))
    started = time.perf_counter()
    merged = splits.merge_duplicates(clips, ["same"] * n)
    assert time.perf_counter() - started < 5
    assert len(set(merged.groups)) == 1
    assert f"copies of other clips, grouped with them: {n - 1}" in merged.notes


def test_segments_of_one_file_are_not_copies() -> None:
    clips = Clips(
        pd.DataFrame({"path": ["a.wav"] * 2, "group": ["x", "y"], "start_s": [0, 1], "end_s": [1, 2]})
    )
    assert splits.merge_duplicates(clips, ["same", "same"]) is clips


@given(contents=st.lists(st.sampled_from(["p", "q", "r", ""]), min_size=12, max_size=12))
def test_copies_never_stand_on_both_sides(contents: list[str]) -> None:
    merged = splits.merge_duplicates(clips_of(list("ab" * 6)), contents)
    try:
        folds = splits.k_folds(merged)
    except DataError:
        assume(False)
    for fold in folds:
        assert not {contents[i] for i in fold.train} & {contents[i] for i in fold.test} - {""}


@pytest.mark.skipif(
    "EARSHOT_DATA" not in os.environ, reason="EARSHOT_DATA does not name a folder with esc10/"
)
def test_esc10_keeps_its_five_official_folds() -> None:
    root = Path(os.environ["EARSHOT_DATA"], "esc10")
    if not root.is_dir():
        pytest.skip("no esc10/ in the folder that EARSHOT_DATA names")
    clips = read_clips(root)
    folds = splits.k_folds(clips)
    assert [len(fold.test) for fold in folds] == [80] * 5
    for fold in [*folds, *splits.k_folds(clips, ignore_folds=True), splits.hold_out(clips)]:
        assert_sound(clips, fold)


def test_clips_for_validation_count_once_they_take_part() -> None:
    table = pd.DataFrame({"path": ["a.wav", "b.wav", "c.wav", "d.wav"], "label": ["x", "x", "y", "y"]})
    clips = Clips(table.assign(split=["train", "valid", "train", "valid"]))
    with pytest.raises(DataError, match="number of groups is 1"):
        splits.check_trainable(clips)
    splits.check_trainable(splits.valid_clips_train(clips))
