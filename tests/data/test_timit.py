from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earshot import read_clips
from earshot.data.readers import describe
from earshot.errors import DataError
from earshot.hearing import hear
from earshot.monitor import Silent
from earshot.recipe import AudioConfig

from .voices import RATE_HZ, spoken, write_sphere

Touch = Callable[..., Path]
SPEAKERS = ("FCJF0", "MBCG0", "FDAW0", "MRWS1", "FELC0", "MDAB0")


def timit(touch: Touch, *more: str) -> Path:
    return touch(
        "TRAIN/DR1/FCJF0/SA1.WAV",
        "TRAIN/DR1/FCJF0/SX37.WAV",
        "TRAIN/DR8/MBCG0/SI957.WAV",
        "TEST/DR2/MABW0/SX134.WAV",
        *more,
    )


def test_timit_is_labelled_by_sex_grouped_by_speaker_and_split(touch: Touch) -> None:
    clips = read_clips(timit(touch))
    assert clips.table["label"].tolist() == ["male", "female", "female", "male"]
    assert clips.table["group"].tolist() == ["MABW0", "FCJF0", "FCJF0", "MBCG0"]
    assert clips.table["split"].tolist() == ["test", "train", "train", "train"]
    assert any(note.startswith("1 clips are the sentences SA1") for note in clips.notes)


def test_the_list_of_timit_speakers_goes_before_the_names_of_folders(touch: Touch) -> None:
    root = timit(touch, "DOC/readme.txt")
    (root / "DOC" / "SPKRINFO.TXT").write_text(
        "; ID  Sex DR Use  RecDate   BirthDate  Ht    Race Edu  Comments\n"
        "BCG0  F  8  TRN  04/03/86  04/11/59  5'10\"  WHT  BS\nCJF0  F  1  TRN\n"
    )
    clips = read_clips(root)
    assert dict(zip(clips.groups, clips.table["label"], strict=True)) == {
        "MABW0": "male",
        "FCJF0": "female",
        "MBCG0": "female",
    }
    assert any("SPKRINFO.TXT" in note for note in clips.notes)


def test_timit_below_another_folder_in_small_letters_is_recognised(touch: Touch) -> None:
    root = touch("timit/train/dr1/fcjf0/sa1.wav", "timit/test/dr2/mabw0/sx134.wav", "extra.wav")
    clips = read_clips(root)
    assert sorted(clips.groups) == ["FCJF0", "MABW0"]
    assert [reason for _, reason in clips.skipped] == ["no_label"]


def test_a_sentence_in_two_formats_is_used_once(touch: Touch) -> None:
    clips = read_clips(timit(touch, "TRAIN/DR1/FCJF0/SA1.WAV.wav"))
    names = [Path(path).name for path in clips.table["path"]]
    assert len(names) == 4
    assert "SA1.WAV.wav" in names
    assert clips.skipped == ()


def test_train_and_test_folders_of_other_classes_are_no_timit(touch: Touch) -> None:
    assert read_clips(touch("TRAIN/DR1/rain/a.wav", "TEST/DR2/wind/b.wav")).classes == ("DR1", "DR2")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six speakers of two sentences, as SPHERE in either order of bytes and as RIFF."""
    root = tmp_path_factory.mktemp("timit")
    for k, speaker in enumerate(SPEAKERS):
        folder = root / ("TRAIN" if k < 4 else "TEST") / f"DR{k % 2 + 1}" / speaker
        for n, sentence in enumerate(("SA1", "SX37")):
            voice = spoken(speaker[0], seed=10 * k + n)
            write_sphere(folder / f"{sentence}.WAV", voice, is_big=k % 2 == 0)
        soundfile.write(folder / "si957.wav", spoken(speaker[0], seed=10 * k + 7), RATE_HZ, format="WAV")
        (folder / "SA1.PHN").write_text("0 3050 h#\n")
    (root / "Doc").mkdir()
    rows = "".join(f"{name[1:]}  {name[0]}  1  TRN  03/04/86\n" for name in SPEAKERS)
    (root / "Doc" / "SpkrInfo.txt").write_text(f";  ID  Sex DR Use  RecDate\n{rows}")
    return root


def test_a_whole_folder_of_timit_is_recognised_described_and_heard(corpus: Path, tmp_path: Path) -> None:
    clips = read_clips(corpus)
    text = describe(clips)
    assert text.startswith("18 clips in 18 files, 6 groups\n2 classes: female 9, male 9")
    assert "splits: test 6, train 12" in text
    assert "from SPKRINFO.TXT" in text
    heard = hear(clips, AudioConfig(rate_hz=RATE_HZ), monitor=Silent(), store_root=tmp_path)
    assert heard.problems == []
    for i, path in enumerate(clips.table["path"]):
        k, sentence = SPEAKERS.index(clips.groups[i]), Path(path).stem.lower()
        seed = 10 * k + {"sa1": 0, "sx37": 1, "si957": 7}[sentence]
        np.testing.assert_array_equal(heard.view.get(i), spoken(SPEAKERS[k][0], seed=seed))


def test_the_sentences_that_all_speakers_read_can_be_left_out(corpus: Path) -> None:
    clips = read_clips(corpus, where={"sentence": "SX,SI"})
    assert len(clips) == 12
    assert not any(Path(path).name.startswith("SA") for path in clips.table["path"])
    assert "6 clips are the sentences SA1 and SA2" in "\n".join(read_clips(corpus).notes)


def test_the_label_can_be_the_dialect(corpus: Path) -> None:
    assert read_clips(corpus, label_column="dialect").classes == ("DR1", "DR2")
    assert set(read_clips(corpus, where={"dialect": "DR2"}).groups) == {"MBCG0", "MRWS1", "MDAB0"}


def test_a_column_that_timit_does_not_have_is_refused(corpus: Path) -> None:
    with pytest.raises(DataError, match="column is 'age'"):
        read_clips(corpus, label_column="age")
    with pytest.raises(DataError, match="column is 'height'"):
        read_clips(corpus, where={"height": "6"})
