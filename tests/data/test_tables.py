from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from earshot import read_clips
from earshot.data.readers import describe
from earshot.errors import DataError

Touch = Callable[..., Path]


@pytest.fixture
def table(touch: Touch) -> Callable[..., Path]:
    def write(text: str | bytes, name: str = "t.csv") -> Path:
        path = touch("a.wav", "audio/b.wav") / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refusal(data: object, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read_clips(data, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_usual_column_names_are_understood(table: Callable[..., Path]) -> None:
    path = table("File_Name,Category,Speaker,Start_Time,End_Time\na.wav,dog,s1,0,1.5\na.wav,cat,s2,2,\n")
    clips = read_clips(path)
    assert clips.table["label"].tolist() == ["dog", "cat"]
    assert clips.table["group"].tolist() == ["s1", "s2"]
    assert clips.table["end_s"].fillna(-1).tolist() == [1.5, -1]
    assert "label: column 'Category'" in clips.notes


def test_given_columns_come_first(table: Callable[..., Path]) -> None:
    path = table("path,label,kind,site,part,cv,from,to\na.wav,x,dog,s,test,3,1,2\n")
    clips = read_clips(
        path,
        label_column="kind",
        group_column="site",
        split_column="part",
        fold_column="cv",
        start_column="from",
        end_column="to",
    )
    row = clips.table.iloc[0]
    assert row[["label", "group", "fold", "split", "start_s", "end_s"]].tolist() == [
        "dog",
        "s",
        3,
        "test",
        1,
        2,
    ]


def test_a_missing_column_names_those_that_are_there(table: Callable[..., Path]) -> None:
    path = table("path,label\na.wav,dog\n")
    assert "'kind'; expected one of the columns there: path, label" in refusal(path, label_column="kind")


@pytest.mark.parametrize(
    "text",
    [
        "path;label\na.wav;NA\n",
        "path\tlabel\na.wav\tNA\n",
        b"\xef\xbb\xbfpath,label\r\na.wav,NA\r\n\r\n",
        'path,label,\n"a.wav","NA",\n',
        "path,label\na.wav,NA\n".encode("utf-16"),
        "path,label\ra.wav, NA \r",
    ],
)
def test_dialects_of_csv_are_read_and_NA_is_a_label(table: Callable[..., Path], text: str | bytes) -> None:
    assert read_clips(table(text)).classes == ("NA",)


def test_paths_are_found_in_the_audio_folder_beside_or_above(
    table: Callable[..., Path], tmp_path: Path
) -> None:
    path = table("path,label\nb.wav,dog\n")
    assert read_clips(path).ids == ("b.wav",)
    assert Path(read_clips(path).table["path"].iloc[0]).exists()
    elsewhere = tmp_path / "t2.csv"
    elsewhere.write_text("path,label\nb.wav,dog\n")
    assert read_clips(elsewhere, audio_root=path.parent / "audio").ids == ("b.wav",)
    assert "--audio-root" in refusal(elsewhere)


def test_a_few_missing_files_stay_in_the_table(table: Callable[..., Path]) -> None:
    assert len(read_clips(table("path,label\ngone.wav,dog\na.wav,dog\n"))) == 2


def test_file_names_that_are_not_utf8_are_found(touch: Touch) -> None:
    path = touch(b"caf\xe9.wav") / "t.csv"
    path.write_bytes(b"path,label\ncaf\xe9.wav,dog\n")
    clips = read_clips(path)
    assert clips.ids == ("caf%E9.wav",)
    assert Path(clips.table["path"].iloc[0]).exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "table is ''"),
        ("path,label\n", "rows is 0"),
        ("path,label\na.wav,dog,cat\n", "line 2: number of fields is 3"),
        ("path,label\na.wav,dog\na.wav,\n", "line 3: label is ''"),
        ("path,label\na.wav,a/b\n", "line 2: label is 'a/b'"),
        ("path,label\na.wav,..\n", "line 2: label is '..'"),
        ("path,label\na.wav,a\0b\n", "CSV text file"),
        ('path,label\na.wav,"dog\n', "line 2: text"),
        ("path,label,fold\na.wav,dog,x\n", "line 2: fold is 'x'"),
        ("path,label,path\na.wav,dog,a.wav\n", "column is 'path'"),
        ("label\ndog\n", "column is 'path'; expected one of the columns there: label"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(table: Callable[..., Path], text: str, words: str) -> None:
    assert words in refusal(table(text))


def test_filters_keep_rows_by_any_column(table: Callable[..., Path]) -> None:
    path = table("path,label,site\na.wav,dog,north\na.wav,cat,south\na.wav,owl,\n")
    assert read_clips(path, where={"site": "North, south"}).classes == ("cat", "dog")
    assert "one of the values there" in refusal(path, where={"site": "west"})
    assert "column is 'zone'" in refusal(path, where={"zone": "1"})


def test_frames_are_read_like_tables(touch: Touch) -> None:
    df = pd.DataFrame({"file": [Path("a.wav")], "species": [7.0], "fold": [2]}, index=["first"])
    clips = read_clips(df, audio_root=touch("a.wav"))
    assert (clips.classes, clips.table["fold"].tolist()) == (("7",), [2])
    assert "table row first: label is ''" in refusal(df.assign(species=None), audio_root=touch("a.wav"))


def test_a_table_to_predict_needs_no_labels(table: Callable[..., Path]) -> None:
    clips = read_clips(table("path,label,start_s,end_s\na.wav,a/b,1,2\n"), labels=False)
    assert clips.ids == ("a.wav@1-2",)


def test_segments_of_one_file_share_a_group(table: Callable[..., Path]) -> None:
    clips = read_clips(table("path,label,start,end\na.wav,dog,0,1\na.wav,cat,1,2\n"))
    assert len(set(clips.groups)) == 1


def test_folds_that_not_every_row_has_are_said_to_be_unused(table: Callable[..., Path]) -> None:
    path = table("path,label,fold\na.wav,dog,1\naudio/b.wav,cat,\n")
    said = describe(read_clips(path))
    assert "folds: not used, because 1 of 2 clips have none" in said
    assert "folds: 1" not in said


def test_paths_written_on_windows_are_understood(table: Callable[..., Path]) -> None:
    path = table("path,label\naudio\\b.wav,dog\na.wav,cat\n")
    clips = read_clips(path)
    assert clips.ids == ("audio/b.wav", "a.wav")


@pytest.mark.parametrize(
    ("cells", "fix"),
    [
        (b"C:\\data\\a.wav,dog", "Make them relative to a folder that holds the sounds."),
        (b"/no/such/a.wav,dog", "Make them relative to a folder that holds the sounds."),
        (b"caf\xe9.wav,dog", "Save the table as UTF-8."),
        (b"caf\xe9\\a.wav,dog", "Save the table as UTF-8."),
        (b"none.wav,dog", "(--audio-root)."),
    ],
)
def test_paths_that_are_not_there_come_with_what_to_do(
    table: Callable[..., Path], cells: bytes, fix: str
) -> None:
    assert refusal(table(b"path,label\n" + cells + b"\n")).endswith(fix)


def test_labels_of_another_encoding_are_refused(table: Callable[..., Path]) -> None:
    said = refusal(table(b"path,label\na.wav,cr\xe8me\n"))
    assert "line 2: label is 'cr%E8me'; expected text in UTF-8" in said


def test_an_augmented_corpus_that_is_not_finished_is_refused(touch: Touch) -> None:
    home = touch("provenance.jsonl", "audio/dog/a.wav", "audio/cat/b.wav")
    for place in (home, home / "audio"):
        assert "Give the same `earshot augment` command again" in refusal(place)
