from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from earshot import read_clips
from earshot.data.readers import describe
from earshot.errors import DataError

Touch = Callable[..., Path]
TABLE = "speaker,gender,age\n03,male,31\n08,female,34\n11,male,34\n"


@pytest.fixture
def voices(touch: Touch) -> Path:
    root = touch("03a01Fa.wav", "03b02Tb.wav", "08a01Fa.wav", "11b10Nc.wav")
    (root / "speakers.csv").write_text(TABLE)
    return root


def refusal(*args: object, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read_clips(*args, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labelled(root: Path, **options: object) -> dict[str, tuple[str, str]]:
    table = read_clips(root, **options).table  # type: ignore[arg-type]
    cells = zip(table["path"], table["group"], table["label"], strict=True)
    return {os.path.relpath(path, root): (group, label) for path, group, label in cells}


def test_sounds_get_their_speaker_and_what_the_table_says_of_it(voices: Path) -> None:
    assert labelled(voices) == {
        "03a01Fa.wav": ("03", "male"),
        "03b02Tb.wav": ("03", "male"),
        "08a01Fa.wav": ("08", "female"),
        "11b10Nc.wav": ("11", "male"),
    }


def test_one_line_says_what_was_joined(voices: Path) -> None:
    assert (
        "joined: 4 sounds to 3 speakers of speakers.csv by name" in describe(read_clips(voices)).splitlines()
    )
    (voices / "speakers.csv").write_text(TABLE + "20,female,30\n")
    assert any(note.endswith("by name; 1 others have no sound") for note in read_clips(voices).notes)


def test_the_table_alone_names_the_same_clips(voices: Path, tmp_path: Path) -> None:
    assert read_clips(voices / "speakers.csv").table.equals(read_clips(voices).table)
    elsewhere = tmp_path / "list.csv"
    elsewhere.write_text(TABLE)
    there = read_clips(elsewhere, audio_root=voices)
    assert there.table["label"].tolist() == read_clips(voices).table["label"].tolist()


def test_folders_may_be_called_after_the_speakers(touch: Touch) -> None:
    root = touch("wav/anna/a01.wav", "wav/anna/deep/b.wav", "wav/bob/08x.wav")
    (root / "who.tsv").write_text("spk\tgender\nanna\tf\nbob\tm\n08\tm\n")
    assert labelled(root)["wav/bob/08x.wav"] == ("bob", "m")
    assert labelled(root)["wav/anna/deep/b.wav"] == ("anna", "f")


@pytest.mark.parametrize(
    ("name", "speaker"),
    [("s1_a.wav", "s1"), ("s12_a.wav", "s12"), ("s12b.wav", "s12"), ("s1.wav", "s1"), ("s-1.wav", "s")],
)
def test_an_id_ends_where_letters_and_figures_change(touch: Touch, name: str, speaker: str) -> None:
    root = touch(name)
    (root / "speakers.csv").write_text("speaker,sex\ns1,m\ns12,f\ns,f\nzz,m\n")
    assert read_clips(root, label_column="sex").groups.tolist() == [speaker]


def test_a_sound_of_no_speaker_is_one_clear_error(voices: Path) -> None:
    for name in ("033a.wav", "zoe.wav"):
        (voices / name).touch()
    message = refusal(voices)
    assert "speaker of is '033a.wav, zoe.wav (2 of 6)'" in message
    assert "Add the speakers" in message


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ("08,male,3\n", "line 5: speaker is '08'; expected each speaker once"),
        (",male,3\n", "a speaker on every row"),
    ],
)
def test_a_speaker_stands_on_one_row(voices: Path, row: str, part: str) -> None:
    (voices / "speakers.csv").write_text(TABLE + row)
    assert part in refusal(voices)


def test_the_label_column_is_chosen_where_several_could_be_it(voices: Path) -> None:
    rows = "03,male,north\n08,female,south\n11,male,south\n"
    (voices / "speakers.csv").write_text("speaker,gender,home\n" + rows)
    assert "expected one of gender, home. Name it with --label-column." in refusal(voices)
    assert read_clips(voices, label_column="home").classes == ("north", "south")
    (voices / "speakers.csv").write_text("speaker,label,home\n" + rows)
    assert read_clips(voices).classes == ("female", "male")


def test_numbers_are_no_categories_but_can_be_asked_for(voices: Path) -> None:
    assert read_clips(voices, label_column="age").classes == ("31", "34")
    (voices / "speakers.csv").write_text("speaker,age\n03,31\n08,34\n11,34\n")
    assert "label column" in refusal(voices)


def test_rows_can_be_kept_by_what_the_table_says(voices: Path) -> None:
    assert set(read_clips(voices, where={"age": "34"}).groups) == {"08", "11"}


def test_class_folders_beside_a_table_of_speakers_stay_class_folders(touch: Touch) -> None:
    root = touch("yes/03a.wav", "yes/08a.wav", "no/03a.wav")
    (root / "speakers.csv").write_text(TABLE)
    assert read_clips(root).classes == ("no", "yes")


def test_a_table_with_paths_or_of_other_speakers_is_no_table_of_speakers(touch: Touch) -> None:
    root = touch("dog/a.wav", "cat/b.wav")
    (root / "clips.csv").write_text("path,speaker,gender\ndog/a.wav,x,f\ncat/b.wav,y,m\n")
    (root / "speakers.csv").write_bytes(b"speaker,gender\n\xff\xfe,m\n")
    assert read_clips(root).classes == ("cat", "dog")


def test_sounds_to_predict_are_those_of_the_folder(voices: Path) -> None:
    assert len(read_clips(voices, labels=False)) == 4
    assert len(read_clips(voices / "speakers.csv", labels=False)) == 4


def test_a_table_of_speakers_to_predict_needs_no_label(voices: Path) -> None:
    table = next(voices.glob("*.csv"))
    assert len(read_clips([table], labels=False)) == len(read_clips([voices], labels=False))
