import numpy as np
import pandas as pd
import pytest

from earshot.data.clips import Clips
from earshot.errors import ConfigError, DataError
from earshot.monitor import Silent
from earshot.studies.data import (
    chosen_classes,
    facts,
    fewer,
    find_data,
    gather,
    leak_note,
    random_split,
    split,
)
from earshot.studies.loading import load_study
from earshot.studies.spec import Choice, Protocol

from .. import corpus


def clips(n_classes=3, n=10, *, folds=5, per_group=1):
    """n clips of each class; `per_group` neighbours share their source, and folds go round by source."""
    rows = [
        {
            "path": f"{k}-{i}.wav",
            "label": f"class {k}",
            "group": f"{k}-{i // per_group}",
            "fold": str(1 + (i // per_group) % folds) if folds else "",
        }
        for k in range(n_classes)
        for i in range(n)
    ]
    return Clips(pd.DataFrame(rows))


def choice(*names, note=""):
    return Choice(names=names, note=note)


def test_the_first_choice_of_classes_that_is_whole_is_taken_in_its_order():
    found, notes = chosen_classes(
        clips(), [choice("class_9", "class_0"), choice("Class 2", "class_0", note="others")]
    )
    assert found.classes == ("class 2", "class 0")
    assert set(found.table["label"]) == {"class 2", "class 0"}
    assert notes == ["others"]


def test_nothing_is_said_of_the_source_s_own_classes():
    assert chosen_classes(clips(), [choice("class_0", "class_1")])[1] == []


def test_other_data_give_as_many_classes_as_the_source_had():
    found, notes = chosen_classes(clips(5), [choice("a", "b", "c")])
    assert found.classes == ("class 0", "class 1", "class 2")
    assert "other data" in notes[0]


def test_one_class_is_too_few():
    with pytest.raises(DataError, match="at least 2"):
        chosen_classes(clips(1), [choice("a", "b")])


def test_fewer_clips_keep_every_class_in_every_fold():
    table = fewer(clips(3, 20), 2).table
    assert (table.groupby(["label", "fold"]).size() == 2).all()
    assert len(table) == 3 * 5 * 2


def test_fewer_clips_without_folds_keep_every_class():
    assert (fewer(clips(3, 20, folds=0), 1).table.groupby("label").size() == 5).all()


def test_fewer_clips_without_folds_come_from_many_groups():
    table = fewer(clips(2, 40, folds=0, per_group=10), 1).table
    assert (table.groupby("label").size() == 5).all()
    assert (table.groupby("label")["group"].nunique() == 4).all()


def test_data_with_a_test_split_of_their_own_are_judged_on_it():
    own = clips(2, 10).assign(fold=[""] * 20, split=["train", "test"] * 10)
    folds, notes = split(own, Protocol(about="", split="given"), seed=0)
    assert [fold.name for fold in folds] == ["test split"]
    assert set(own.table["split"].iloc[folds[0].test]) == {"test"}
    assert "own test split" in notes[0]
    folds, _ = split(clips(2, 10), Protocol(about="", split="given"), seed=0)
    assert len(folds) == 5


def test_test_clips_of_groups_that_are_learned_from_are_not_judged():
    groups = [f"g{i}" for i in range(19)] + ["g0"]  # the last clip, of the test split, is a copy of the first
    own = clips(2, 10).assign(fold=[""] * 20, split=["train", "test"] * 10, group=groups)
    (fold,), notes = split(own, Protocol(about="", split="given"), seed=0)
    assert fold.test.tolist() == list(range(1, 19, 2))
    assert fold.train.tolist() == list(range(0, 20, 2))
    assert any(note.startswith("1 clips of the test split") for note in notes)


def test_where_every_test_clip_was_learned_from_folds_stand_in():
    pairs = clips(2, 20, folds=0, per_group=2).assign(split=["train", "test"] * 20)
    folds, notes = split(pairs, Protocol(about="", split="given"), seed=0)
    assert len(folds) == 5
    assert "20 clips of the test split" in notes[0]


def test_a_random_split_takes_its_share_of_each_class_and_repeats_itself():
    many = clips(4, 40)
    fold = random_split(many, share=0.2, seed=3)
    assert np.bincount(many.labels[fold.test]).tolist() == [8, 8, 8, 8]
    assert not set(fold.train) & set(fold.test)
    assert np.array_equal(fold.test, random_split(many, share=0.2, seed=3).test)
    assert not np.array_equal(fold.test, random_split(many, share=0.2, seed=4).test)


def test_the_leak_of_a_split_by_file_is_counted():
    pairs = clips(2, 20, per_group=2)
    fold = random_split(pairs, share=0.2, seed=0)
    learned = set(pairs.groups[fold.train])
    n = sum(group in learned for group in pairs.groups[fold.test])
    assert n > 0
    assert f"{n} of {len(fold.test)} judged clips" in leak_note(pairs, fold)


def test_folds_by_source_leak_nothing_and_can_be_limited():
    grouped = Protocol(about="")
    folds, notes = split(clips(3, 20, per_group=2), grouped, seed=0)
    assert [fold.name for fold in folds] == [f"fold {i}" for i in range(1, 6)]
    assert notes == []
    some, notes = split(clips(3, 20, per_group=2), grouped, seed=0, only=(2, 4))
    assert [fold.name for fold in some] == ["fold 2", "fold 4"]
    assert "fold 2, fold 4 only, of 5" in notes[0]


def test_a_protocol_s_own_folds_are_its_limit():
    folds, _ = split(clips(), Protocol(about="", folds=(5,)), seed=0)
    assert [fold.name for fold in folds] == ["fold 5"]


def test_a_fold_that_is_not_there_is_refused():
    for only in ((9,), (1, 9)):
        with pytest.raises(ConfigError, match="--folds"):
            split(clips(), Protocol(about=""), seed=0, only=only)


def test_folds_are_asked_of_a_protocol_that_has_some():
    with pytest.raises(ConfigError, match=r"--folds is \[1\]; expected no folds: .*a random split by file"):
        split(clips(), Protocol(about="", split="random"), seed=0, only=(1,))


def test_data_are_looked_for_where_people_keep_them(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EARSHOT_DATA", raising=False)
    assert find_data(tmp_path / "own", study) == tmp_path / "own"
    with pytest.raises(ConfigError, match=r"ESC-50 or .*looked for.*--data"):
        find_data(None, study)
    with pytest.raises(ConfigError, match=r"cats-dogs.*Kaggle"):
        find_data(None, load_study("cats-dogs"))
    (tmp_path / "data" / "ESC-50").mkdir(parents=True)
    assert find_data(None, study).resolve() == tmp_path / "data" / "ESC-50"
    (tmp_path / "elsewhere" / "esc10").mkdir(parents=True)
    monkeypatch.setenv("EARSHOT_DATA", str(tmp_path / "elsewhere"))
    assert find_data(None, study) == tmp_path / "elsewhere" / "esc10"


def test_gathered_clips_are_decoded_and_short_ones_repeated(study, tmp_path):
    corpus.make(tmp_path, {"hum": 5, "hiss": 5}, duration_s=0.4)
    corpus.make(tmp_path, {"ticks": 5}, duration_s=0.25)
    data = gather(study, tmp_path, protocol="grouped", monitor=Silent())
    assert data.clips.classes == ("hum", "hiss", "ticks")
    assert any("5 clips are shorter than 0.4 s" in note for note in data.notes)
    short = data.waveform(int(np.flatnonzero(data.clips.labels == 2)[0]))
    assert len(short) == data.length == 3200
    assert np.array_equal(short[:1200], short[2000:])


def test_copies_that_are_found_are_in_the_notes(study, tmp_path):
    corpus.make(tmp_path, ("hum", "hiss", "ticks"), n=5)
    (tmp_path / "hum" / "again.wav").write_bytes((tmp_path / "hum" / "hum0000.wav").read_bytes())
    data = gather(study, tmp_path, protocol="grouped", monitor=Silent())
    assert "copies of other clips, grouped with them: 1" in data.notes


def test_facts_count_clips_that_share_their_source(study, sounds):
    data = gather(study, sounds, protocol="grouped", monitor=Silent())
    assert facts(data) == {"clips": 18, "classes": 3, "sources": 18, "clips that share their source": 0}
