from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from earshot import read_clips
from earshot.data.readers import describe
from earshot.errors import DataError

Touch = Callable[..., Path]


def refusal(*args: object, **options: object) -> str:
    start_s = time.monotonic()
    with pytest.raises(DataError) as caught:
        read_clips(*args, **options)  # type: ignore[arg-type]
    assert time.monotonic() - start_s < 5
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_label_is_the_first_folder(touch: Touch) -> None:
    clips = read_clips(touch("dog/a.wav", "dog/deep/er/b.wav", "cat/c.wav"))
    assert clips.table["label"].tolist() == ["cat", "dog", "dog"]
    assert "no groups in the data: every file is its own group" in clips.notes


def test_numbers_before_all_class_names_are_dropped(touch: Touch) -> None:
    assert read_clips(touch("001 - Dog bark/a.wav", "002 - Rain/b.wav")).classes == ("Dog bark", "Rain")


def test_numbers_stay_when_they_tell_classes_apart(touch: Touch) -> None:
    assert read_clips(touch("1 - x/a.wav", "2 - x/b.wav")).classes == ("1 - x", "2 - x")


def test_esc_names_give_the_source_recording_and_the_fold(touch: Touch) -> None:
    clips = read_clips(touch("dog/1-100-A.wav", "dog/1-100-B.wav", "dog/2-7-A-3.ogg", "cat/2-55-A.wav"))
    assert clips.table["group"].tolist() == ["55", "100", "100", "7"]
    assert clips.table["fold"].tolist() == [2, 1, 1, 2]


def test_dates_are_not_taken_for_esc_names(touch: Touch) -> None:
    clips = read_clips(touch("dog/01-05-2021.wav", "dog/02-05-2021.wav"))
    assert clips.table["fold"].isna().all()
    assert len(set(clips.groups)) == 2


def test_one_odd_name_does_not_lose_the_groups_of_the_others(touch: Touch) -> None:
    clips = read_clips(touch("dog/1-100-A.wav", "dog/1-100-B.wav", "dog/2-7-A.wav", "dog/extra.wav"))
    assert clips.table["group"].tolist() == ["100", "100", "7", "dog/extra.wav"]
    assert clips.table["fold"].isna().all()
    assert any("not every name has one" in note for note in clips.notes)


def test_flat_esc_names_give_the_target_as_label(touch: Touch) -> None:
    assert read_clips(touch("1-100-A-3.wav", "2-101-A-14.wav")).classes == ("14", "3")


def test_split_folders_are_recognised(touch: Touch) -> None:
    clips = read_clips(touch("Train/dog/a.wav", "Train/cat/b.wav", "test/dog/c.wav", "val/cat/d.wav"))
    assert clips.table["split"].tolist() == ["train", "train", "test", "valid"]
    assert clips.classes == ("cat", "dog")


def test_classes_named_train_and_car_are_classes(touch: Touch) -> None:
    assert read_clips(touch("train/a.wav", "car/b.wav")).classes == ("car", "train")


def test_sounds_beside_the_class_folders_are_listed_as_skipped(touch: Touch) -> None:
    clips = read_clips(touch("dog/a.wav", "stray.wav", "dog/._a.wav"))
    assert [(Path(p).name, r) for p, r in clips.skipped] == [
        ("._a.wav", "hidden"),
        ("stray.wav", "no_label"),
    ]
    assert "skipped: hidden 1 (._a.wav), no_label 1 (stray.wav)" in clips.notes


def test_of_many_sounds_that_are_skipped_the_first_three_are_named(touch: Touch) -> None:
    clips = read_clips(touch("dog/a.wav", *(f"{i}.wav" for i in range(5))))
    assert "skipped: no_label 5 (0.wav, 1.wav, 2.wav, ...)" in clips.notes


def test_sounds_without_class_folders_point_to_the_folder_above(touch: Touch) -> None:
    root = touch("dog/a.wav", "dog/b.wav", "cat/c.wav")
    with pytest.raises(DataError, match=rf"no class folder: is {re.escape(str(root))} meant\?"):
        read_clips(root / "dog")


def test_esc50_is_read_from_its_table(touch: Touch) -> None:
    root = touch("audio/1-1-A-0.wav", "audio/2-2-A-9.wav", "audio/2-2-B-9.wav", "meta/esc50.csv")
    (root / "meta/esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n"
        "1-1-A-0.wav,1,0,dog,True,1,A\n2-2-A-9.wav,2,9,crow,False,2,A\n2-2-B-9.wav,2,9,crow,False,2,B\n"
    )
    clips = read_clips(root)
    assert clips.table["label"].tolist() == ["dog", "crow", "crow"]
    assert clips.table["group"].tolist() == ["1", "2", "2"]
    assert clips.table["fold"].tolist() == [1, 2, 2]
    assert clips.table["path"].map(os.path.exists).all()
    assert read_clips(root, where={"esc10": "true"}).classes == ("dog",)
    assert read_clips(root / "meta/esc50.csv").ids == clips.ids


def test_esc50_without_source_column_takes_it_from_the_names(touch: Touch) -> None:
    root = touch("audio/1-1-A-0.wav", "audio/1-1-B-0.wav", "esc50.csv")
    (root / "esc50.csv").write_text(
        "filename,fold,target,category\n1-1-A-0.wav,1,0,dog\n1-1-B-0.wav,1,0,dog\n"
    )
    assert read_clips(root).table["group"].tolist() == ["1", "1"]


def test_urbansound_times_in_the_source_are_not_times_in_the_file(touch: Touch) -> None:
    root = touch("audio/fold5/100-3-0-0.wav", "metadata/UrbanSound8K.csv")
    (root / "metadata/UrbanSound8K.csv").write_text(
        "slice_file_name,fsID,start,end,salience,fold,classID,class\n100-3-0-0.wav,100,58.5,62.5,1,5,3,dog_bark\n"
    )
    row = read_clips(root).table.iloc[0]
    assert (row["label"], row["group"], row["fold"], row["start_s"]) == ("dog_bark", "100", 5, 0.0)
    assert Path(row["path"]).exists()


def test_sounds_to_predict_are_found_at_any_depth_in_files_and_folders(touch: Touch, tmp_path: Path) -> None:
    root = touch("a.wav", "x/y/z/b.ogg", "notes.txt")
    assert read_clips(root, labels=False).ids == ("a.wav", "x/y/z/b.ogg")
    (tmp_path / "odd.name").touch()
    both = read_clips([root, tmp_path / "odd.name", root / "a.wav"], labels=False)
    assert both.ids == ("a.wav", "x/y/z/b.ogg", "odd.name")
    assert not both.is_labelled


def test_same_names_in_two_folders_keep_distinct_ids(touch: Touch) -> None:
    root = touch("one/a.wav", "two/a.wav")
    clips = read_clips([root / "one", root / "two"], labels=False)
    assert len(set(clips.ids)) == 2
    assert len(set(clips.groups)) == 2


def test_an_empty_folder_is_refused_with_what_was_looked_for(touch: Touch) -> None:
    message = refusal(touch("readme.txt").parent)
    assert ".flac" in message
    assert "train/ + test/" in message
    assert "FOLD-CLIP-TAKE" in message


def test_a_folder_of_unlabelled_sounds_points_at_the_table_beside_them(touch: Touch) -> None:
    message = refusal(touch("a.wav", "b.wav", "speakers.csv"))
    assert "no_label 2" in message
    assert "speakers.csv" in message


@pytest.mark.parametrize("data", ["nowhere", "", "a\0b", ["a", "b"]])
def test_data_that_is_not_there_is_refused(data: object) -> None:
    assert "expected" in refusal(data)


def test_a_sound_given_as_labelled_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF\0\0\0\0WAVE")
    assert "CSV" in refusal(tmp_path / "a.wav")


def test_columns_of_a_folder_without_table_are_refused(touch: Touch) -> None:
    assert "column is 'kind'" in refusal(touch("dog/a.wav"), label_column="kind")


@pytest.mark.parametrize("folder", [r"a\b", b"\xff"])
def test_class_folders_follow_the_rule_for_labels(touch: Touch, folder: str | bytes) -> None:
    root = touch(os.fsencode(folder) + b"/x.wav")
    if isinstance(folder, bytes):
        assert read_clips(root).classes == ("%FF",)
    else:
        assert "label is" in refusal(root)


@pytest.mark.parametrize("label", ["=1+1", "+x", "-x", "@x", "\tx", "<script>"])
def test_hostile_labels_survive_a_round_trip_and_are_no_formulas(touch: Touch, label: str) -> None:
    clips = read_clips(pd.DataFrame({"path": ["a.wav"], "label": [label]}), audio_root=touch("a.wav"))
    path = Path(clips.root, "clips.csv")
    clips.write_csv(path)
    assert f",{label}" not in path.read_text() or label.startswith("<")
    assert read_clips(path).classes == (label,)


def test_the_description_is_plain(touch: Touch) -> None:
    text = describe(read_clips(touch("dog/1-1-A.wav", "dog/2-2-A.wav", "cat/1-3-A.wav", "cat/2-4-A.wav")))
    assert text.splitlines()[:3] == ["4 clips in 4 files, 4 groups", "2 classes: cat 2, dog 2", "folds: 1, 2"]


@pytest.mark.skipif(
    "EARSHOT_DATA" not in os.environ, reason="EARSHOT_DATA does not name a folder with esc10/"
)
def test_esc10_is_read_unprompted() -> None:
    root = Path(os.environ["EARSHOT_DATA"], "esc10")
    if not root.is_dir():
        pytest.skip("no esc10/ in the folder that EARSHOT_DATA names")
    clips = read_clips(root)
    assert (len(clips), len(clips.classes), len(set(clips.groups))) == (400, 10, 304)
    assert clips.table["fold"].value_counts().tolist() == [80] * 5
    assert clips.table.groupby("group")["fold"].nunique().max() == 1
    assert clips.classes[:2] == ("Baby cry", "Chainsaw")
    assert clips.skipped == ()


def test_a_folder_of_sounds_has_no_other_root(tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(DataError, match="audio_root: folder is 'elsewhere'; expected data in a table"):
        read_clips(tmp_path, audio_root="elsewhere")


@pytest.mark.parametrize(
    "names",
    [
        ("train/dog/a.wav", "train/cat/b.wav", "test/c.wav"),
        ("train/dog/a.wav", "train/cat/b.wav", "test/dog/c.wav", "example.wav"),
    ],
)
def test_sounds_that_do_not_fit_into_split_folders_do_not_make_them_classes(
    touch: Touch, names: tuple[str, ...]
) -> None:
    clips = read_clips(touch(*names))
    assert clips.classes == ("cat", "dog")
    assert [reason for _, reason in clips.skipped] == ["no_label"]
    assert set(clips.table["split"]) >= {"train"}


@pytest.mark.parametrize(
    "names",
    [
        ("train/a.wav", "test/b.wav"),
        ("train/a.wav",),
        ("fold1/a.wav", "fold2/b.wav"),
        ("fold1/dog/a.wav", "fold2/cat/b.wav"),
    ],
)
def test_parts_of_a_data_set_are_no_classes(touch: Touch, names: tuple[str, ...]) -> None:
    said = refusal(touch(*names))
    assert "expected class folders" in said
    assert "Give the table that has the labels" in said


def test_a_class_may_be_called_train(touch: Touch) -> None:
    assert read_clips(touch("train/a.wav", "car/b.wav")).classes == ("car", "train")


def test_a_table_to_predict_keeps_every_row_in_its_place(touch: Touch) -> None:
    home = touch("a.wav", "b.wav")
    (home / "t.csv").write_text("id,path\nfirst,a.wav\nsecond,a.wav\nthird,b.wav\n")
    assert read_clips([home / "t.csv"], labels=False).ids == ("first", "second", "third")
    assert read_clips([home / "t.csv", home / "b.wav"], labels=False).ids == ("first", "second", "third")


def test_sounds_of_several_folders_keep_their_names_where_these_are_clear(touch: Touch) -> None:
    home = touch("x/a.wav", "x/b.wav", "y/b.wav")
    paths = [home / "x/a.wav", home / "x/b.wav", home / "y/b.wav", home / "x/a.wav"]
    assert read_clips(paths, labels=False).ids == ("a.wav", str(paths[1]), str(paths[2]))


def test_thousands_of_sounds_to_predict_are_read_in_no_time(touch: Touch) -> None:
    home = touch(*(f"{i}.wav" for i in range(3000)))
    started_s = time.monotonic()
    assert len(read_clips(sorted(home.iterdir()), labels=False)) == 3000
    assert time.monotonic() - started_s < 3
