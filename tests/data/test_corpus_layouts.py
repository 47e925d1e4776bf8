from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from earshot import read_clips

Touch = Callable[..., Path]


def test_spoken_digits_are_labelled_by_digit_and_grouped_by_speaker(touch: Touch) -> None:
    clips = read_clips(
        touch("recordings/0_theo_0.wav", "recordings/0_jackson_7.wav", "recordings/9_theo_49.wav")
    )
    assert clips.table["label"].tolist() == ["0", "0", "9"]
    assert clips.table["group"].tolist() == ["jackson", "theo", "theo"]
    assert not clips.table["split"].any()
    assert clips.notes[0].startswith("corpus: FSDD")


def test_a_folder_of_spoken_digits_alone_is_recognised_and_other_sounds_are_listed(touch: Touch) -> None:
    clips = read_clips(touch("1_lucas_0.wav", "2_lucas_0.wav", "2_anna_0.wav", "hello.wav"))
    assert clips.classes == ("1", "2")
    assert [(Path(path).name, reason) for path, reason in clips.skipped] == [("hello.wav", "no_label")]


def test_class_folders_of_names_like_digits_stay_class_folders(touch: Touch) -> None:
    clips = read_clips(touch("dog/1_rex_1.wav", "cat/2_tom_1.wav", "dog/3_rex_2.wav"))
    assert clips.classes == ("cat", "dog")


def test_cats_and_dogs_in_split_folders_are_recognised(touch: Touch) -> None:
    clips = read_clips(touch("train/cat/cat_1.wav", "train/dog/dog_barking_2.wav", "test/cat/cat_3.wav"))
    assert clips.table["label"].tolist() == ["cat", "cat", "dog"]
    assert clips.table["split"].tolist() == ["test", "train", "train"]
    assert "corpus: cats-dogs" in clips.notes


def test_the_test_dogs_in_a_folder_called_test_are_dogs(touch: Touch) -> None:
    clips = read_clips(
        touch(
            "cats_dogs/train/cat/cat_1.wav",
            "cats_dogs/test/test/dog_barking_2.wav",
            "cats_dogs/test/cats/cat_3.wav",
        )
    )
    assert clips.table["label"].tolist() == ["cat", "dog", "cat"]
    assert clips.table["split"].tolist() == ["test", "test", "train"]


def test_cats_and_dogs_in_one_folder_take_their_split_from_the_list(touch: Touch) -> None:
    root = touch("cats_dogs/cat_1.wav", "cats_dogs/cat_2.wav", "cats_dogs/dog_barking_1.wav")
    (root / "train_test_split.csv").write_text(
        ",test_cat,test_dog,train_cat,train_dog\n0,cat_2.wav,,cat_1.wav,dog_barking_1.wav\n"
    )
    assert read_clips(root).table["split"].tolist() == ["train", "test", "train"]


def test_names_of_other_animals_among_cats_leave_the_class_folders_alone(touch: Touch) -> None:
    clips = read_clips(touch("big/cat_1.wav", "small/cat_2.wav", "small/bird_3.wav"))
    assert clips.classes == ("big", "small")
