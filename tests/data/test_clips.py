from __future__ import annotations

import math
import pickle
import string
import time
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earshot import read_clips
from earshot.data.clips import Clips
from earshot.errors import DataError


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


def three() -> Clips:
    return Clips(frame(path=["a.wav", "b.wav", "c.wav"], label=["dog", "cat", "owl"], group=["g", "g", "h"]))


def test_missing_columns_get_their_meaning() -> None:
    row = Clips(frame(path=["x/a.wav"], label=["dog"]), root="/data").table.iloc[0]
    assert row["path"] == "/data/x/a.wav"
    assert (row["id"], row["group"], row["split"], row["start_s"]) == ("x/a.wav", "x/a.wav", "", 0.0)
    assert row["fold"] is pd.NA
    assert math.isnan(row["end_s"])


def test_targets_are_one_hot_in_the_order_of_the_classes() -> None:
    clips = three()
    assert clips.classes == ("cat", "dog", "owl")
    assert clips.targets.dtype == np.float32
    assert clips.targets.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert clips.labels.tolist() == [1, 0, 2]


def test_several_labels_a_clip_have_no_single_number() -> None:
    clips = Clips(frame(path=["a.wav", "b.wav"], label=["dog;cat", "dog"]))
    assert clips.is_multilabel
    assert clips.targets.tolist() == [[1, 1], [0, 1]]
    with pytest.raises(DataError, match="one label a clip"):
        _ = clips.labels


def test_a_subset_keeps_the_classes_of_its_parent() -> None:
    part = three().subset([2, 0])
    assert part.classes == ("cat", "dog", "owl")
    assert part.labels.tolist() == [2, 1]
    assert part.table.index.tolist() == [0, 1]
    assert len(three().subset([])) == 0


def test_masks_pick_and_drop() -> None:
    mask = np.array([True, False, True])
    assert three().subset(mask).ids == ("a.wav", "c.wav")
    assert three().without(mask).ids == ("b.wav",)
    with pytest.raises(ValueError, match="mask has shape"):
        three().subset(mask[:2])


def test_segments_of_one_file_have_their_own_ids_and_one_group() -> None:
    clips = Clips(frame(path=["a.wav"] * 3, start_s=[0, 5, 5], end_s=[5, None, None]), root="/d")
    assert clips.ids == ("a.wav@0-5", "a.wav@5-end", "a.wav@5-end#2")
    assert set(clips.groups) == {"a.wav"}
    assert list(clips.segments())[:2] == [("/d/a.wav", 0.0, 5.0), ("/d/a.wav", 5.0, None)]


def test_thousands_of_rows_of_one_file_get_their_ids_in_no_time() -> None:
    started = time.perf_counter()
    ids = Clips(pd.DataFrame({"path": ["a.wav"] * 20_000})).ids
    assert time.perf_counter() - started < 5
    assert (ids[0], ids[1], ids[-1]) == ("a.wav", "a.wav#2", "a.wav#20000")


def test_a_table_without_labels_is_for_prediction() -> None:
    clips = Clips(frame(path=["a.wav"]))
    assert not clips.is_labelled
    assert clips.targets.shape == (1, 0)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label": ["a", ""]}, "row 1: label is ''"),
        ({"label": ["a", "b/c"]}, "row 1: label is 'b/c'"),
        ({"label": ["..", "a"]}, "row 0: label is '..'"),
        ({"label": ["a", "x;b\0"]}, r"row 1: label is 'x;b\x00'"),
        ({"path": ["a.wav", ""]}, "row 1: path is ''"),
        ({"path": ["a.wav", "b\0.wav"]}, r"row 1: path is 'b\x00.wav'"),
        ({"fold": [1, "two"]}, "row 1: fold is 'two'"),
        ({"fold": [1, 1.5]}, "row 1: fold is '1.5'"),
        ({"split": ["train", "maybe"]}, "row 1: split is 'maybe'"),
        ({"start_s": [0, -1]}, "row 1: start_s is -1.0"),
        ({"start_s": [0, "soon"]}, "row 1: start_s is 'soon'"),
        ({"start_s": [0, "inf"]}, "row 1: start_s is 'inf'"),
        ({"start_s": [0, 3], "end_s": [1, 3]}, "row 1: end_s is 3.0"),
        ({"id": ["x", "x"]}, "row 1: id is 'x'"),
    ],
)
def test_a_bad_value_names_its_row_and_rule(columns: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        Clips(pd.DataFrame({"path": ["a.wav", "b.wav"]} | columns))
    assert words in str(caught.value)
    assert "; expected " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_without_paths_names_the_columns_it_has() -> None:
    with pytest.raises(DataError, match="the columns are \\['file'\\]"):
        Clips(frame(file=["a.wav"]))


def test_a_label_outside_the_given_classes_is_refused() -> None:
    with pytest.raises(DataError, match="'dog'"):
        Clips(frame(path=["a.wav"], label=["dog"]), classes=["cat"])


def test_assigning_a_column_checks_it_again() -> None:
    assert three().assign(group=["x", "y", "z"], notes=["new"]).notes == ("new",)
    with pytest.raises(DataError, match="fold"):
        three().assign(fold=["x", "y", "z"])


def test_clips_travel_to_other_processes() -> None:
    clips = pickle.loads(pickle.dumps(three()))
    pd.testing.assert_frame_equal(clips.table, three().table)


LABELS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\\\0;"), min_size=1, max_size=8
).filter(lambda text: text.strip(" ") not in ("", ".", ".."))


@given(
    rows=st.lists(
        st.tuples(
            st.text(string.printable + "é=", min_size=1, max_size=8).filter(lambda p: p.strip("./\n ")),
            LABELS,
            st.text("=+-@'\tabc", max_size=4),
            st.none() | st.integers(0, 9),
            st.sampled_from(["", "train", "valid", "test"]),
            st.floats(0, 1e4).map(lambda t: round(t, 3)),
            st.none() | st.floats(0.001, 1e3).map(lambda t: round(t, 3)),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_clips_written_to_csv_read_back_the_same(rows: list[tuple[Any, ...]], tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("round")
    (folder / "here.wav").touch()
    rows.append(("here.wav", "a", "", None, "", 0.0, None))
    names = ["path", "label", "group", "fold", "split", "start_s", "length_s"]
    df = pd.DataFrame(rows, columns=names, dtype=object)
    df["end_s"] = [None if n is None else s + n for s, n in zip(df["start_s"], df["length_s"], strict=True)]
    clips = Clips(df, root=folder)
    clips.write_csv(folder / "clips.csv")
    again = read_clips(Path(folder / "clips.csv"))
    pd.testing.assert_frame_equal(again.table, clips.table)
    assert again.classes == clips.classes


def test_a_clip_without_a_group_joins_the_others_of_its_file() -> None:
    rows = [("a.wav", "site", 0, 1), ("a.wav", "", 1, 2), ("b.wav", "", 0, 1), ("b.wav", "NA", 1, 2)]
    clips = Clips(pd.DataFrame(rows, columns=["path", "group", "start_s", "end_s"]))
    assert clips.groups.tolist() == ["site", "site", "b.wav", "b.wav"]


def test_a_clip_without_a_group_in_a_file_of_several_is_refused() -> None:
    rows = [("a.wav", "x", 0, 1), ("a.wav", "y", 1, 2), ("a.wav", "", 2, 3)]
    with pytest.raises(DataError, match=r"row 2: group is ''; expected one of the groups .* \(x, y\)"):
        Clips(pd.DataFrame(rows, columns=["path", "group", "start_s", "end_s"]))


def test_spellings_of_one_group_are_one_group() -> None:
    groups = ["Köln", "Köln ", unicodedata.normalize("NFD", "Köln")]
    clips = Clips(pd.DataFrame({"path": ["a.wav", "b.wav", "c.wav"], "group": groups}))
    assert set(clips.groups) == {"Köln"}
