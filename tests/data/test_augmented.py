from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from earshot import Clips, read_clips
from earshot.audio.decode import decode
from earshot.audio.transforms import AudiomentationsConfig, NoiseConfig, TimeShiftConfig, TimeStretchConfig
from earshot.data import augmented
from earshot.data.augmented import (
    OfflineConfig,
    load_offline_config,
    render,
    with_test_side,
    write_augmented,
)
from earshot.data.splits import k_folds
from earshot.errors import ConfigError, DataError

from .. import corpus

# Steps that take no time, and one that does, so that every variant differs from its source.
QUICK = OfflineConfig(
    copies=3,
    steps=(TimeShiftConfig(probability=1.0), NoiseConfig(), TimeStretchConfig(probability=0.3)),
)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rows_of(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return corpus.make(tmp_path / "sounds", ("hum", "hiss"), n=3)


@pytest.fixture
def clips(sounds: Path) -> Clips:
    """Two classes of three clips: folds 1, 2, 3 of groups a, b, c."""
    found = read_clips(sounds)
    number = [i % 3 for i in range(6)]
    return found.assign(fold=[n + 1 for n in number], group=["abc"[n] for n in number])


def test_every_training_clip_gives_itself_and_its_variants(clips: Clips, tmp_path: Path) -> None:
    written = write_augmented(clips, tmp_path / "out", config=QUICK)
    assert (written.n_sources, written.n_written, written.n_kept) == (6, 24, 0)
    loaded = read_clips(tmp_path / "out" / "clips.csv")
    assert len(loaded) == 24
    assert loaded.classes == ("hiss", "hum")
    assert all(Path(path).is_file() for path in loaded.table["path"])
    assert {"audio/hum/hum0001.flac", "audio/hum/hum0001-aug03.flac"} <= set(loaded.ids)
    sources = dict(zip(clips.ids, clips.table["path"], strict=True))
    for row in rows_of(written.clips_csv).itertuples():
        info = soundfile.info(tmp_path / "out" / row.path)
        source = soundfile.info(sources[row.source])
        assert (info.samplerate, info.frames, info.subtype) == (source.samplerate, source.frames, "PCM_16")


def test_variants_have_the_group_label_fold_and_split_of_their_source(clips: Clips, tmp_path: Path) -> None:
    write_augmented(clips, tmp_path / "out", config=QUICK)
    table = rows_of(tmp_path / "out" / "clips.csv")
    of_source = clips.table.set_index("id")
    for row in table.itertuples():
        source = of_source.loc[row.source]
        assert (row.label, row.group, row.fold) == (source["label"], source["group"], str(source["fold"]))
    assert (table.groupby("source").size() == 4).all()


def test_no_fold_parts_a_clip_from_its_variants(clips: Clips, tmp_path: Path) -> None:
    loose = Clips(clips.table.drop(columns=["group", "fold"]), root=clips.root)
    write_augmented(loose, tmp_path / "out", config=QUICK)
    table = rows_of(tmp_path / "out" / "clips.csv")
    for fold in k_folds(read_clips(tmp_path / "out" / "clips.csv"), n_folds=3, ignore_folds=True):
        assert not set(table["source"].iloc[fold.train]) & set(table["source"].iloc[fold.test])


def test_clips_to_judge_on_are_written_as_they_are(clips: Clips, tmp_path: Path) -> None:
    split = {"a": "train", "b": "valid", "c": "test"}
    marked = clips.assign(split=[split[group] for group in clips.groups])
    write_augmented(marked, tmp_path / "out", config=QUICK)
    table = rows_of(tmp_path / "out" / "clips.csv")
    assert table.groupby("split").size().to_dict() == {"test": 2, "train": 8, "valid": 2}
    assert set(table["variant"][table["split"] != "train"]) == {"0"}
    sources = dict(zip(clips.ids, clips.table["path"], strict=True))
    for row in table[table["variant"] == "0"].itertuples():
        expected, _ = soundfile.read(sources[row.source], dtype="int16")
        same, _ = soundfile.read(tmp_path / "out" / row.path, dtype="int16")
        assert np.array_equal(same, expected)


def test_a_group_on_both_sides_is_refused_before_anything_is_written(clips: Clips, tmp_path: Path) -> None:
    leaky = clips.assign(split=["test", *["train"] * 5])
    with pytest.raises(DataError, match="both sides"):
        write_augmented(leaky, tmp_path / "out", config=QUICK)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format_", ["flac", "wav"])
def test_a_variant_can_be_made_again_bit_for_bit_from_its_provenance(
    clips: Clips, tmp_path: Path, format_: str
) -> None:
    noisy = AudiomentationsConfig(name="AddGaussianSNR", params={"max_snr_db": 12.0})
    steps = (*OfflineConfig().steps, noisy)
    config = OfflineConfig(copies=6, steps=steps, format=format_, rate_hz=6_000)  # type: ignore[arg-type]
    write_augmented(clips, tmp_path / "out", config=config)
    sources = dict(zip(clips.ids, clips.table["path"], strict=True))
    table = rows_of(tmp_path / "out" / "provenance.csv")
    kinds = set()
    for row in table.itertuples():
        sound = decode(sources[row.source], rate_hz=int(row.rate_hz))
        parameters = json.loads(row.parameters)
        kinds |= {values["kind"] for values in parameters}
        written, rate_hz = soundfile.read(tmp_path / "out" / row.path, dtype="int16")
        assert rate_hz == 6_000
        assert np.array_equal(render(sound.samples, parameters, rate_hz=rate_hz), written)
    assert kinds == {step.kind for step in steps}
    assert set(table["seed"][table["variant"] == "0"]) == {""}
    assert table["seed"][table["variant"] != "0"].nunique() == 36


def audio_of(folder: Path) -> Mapping[str, bytes]:
    return {name: data for name, data in files_of(folder).items() if name.startswith("audio/")}


def test_a_seed_gives_the_same_files_in_any_order_and_on_any_number_of_threads(
    clips: Clips, tmp_path: Path
) -> None:
    n_threads = torch.get_num_threads()
    write_augmented(clips, tmp_path / "one", config=QUICK)
    try:
        torch.set_num_threads(3)
        write_augmented(clips.subset(np.arange(6)[::-1]), tmp_path / "two", config=QUICK)
    finally:
        torch.set_num_threads(n_threads)
    write_augmented(clips.subset([4]), tmp_path / "alone", config=QUICK)
    one = audio_of(tmp_path / "one")
    assert audio_of(tmp_path / "two") == one
    assert audio_of(tmp_path / "alone").items() <= one.items()
    other = QUICK.model_copy(update={"seed": 1})
    write_augmented(clips.subset([4]), tmp_path / "other", config=other)
    differing = {name for name, data in audio_of(tmp_path / "other").items() if one[name] != data}
    assert {Path(name).stem[-5:] for name in differing} == {"aug01", "aug02", "aug03"}


def test_more_copies_leave_the_first_as_they_are(clips: Clips, tmp_path: Path) -> None:
    write_augmented(clips.subset([0]), tmp_path / "few", config=QUICK)
    write_augmented(clips.subset([0]), tmp_path / "many", config=QUICK.model_copy(update={"copies": 5}))
    assert audio_of(tmp_path / "few").items() <= audio_of(tmp_path / "many").items()


def test_a_stopped_run_goes_on_where_it_was(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_augmented(clips, tmp_path / "whole", config=QUICK)
    n_calls = 0

    def interrupting(*arguments: Any, **options: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 10:
            raise KeyboardInterrupt
        return render(*arguments, **options)

    monkeypatch.setattr(augmented, "render", interrupting)
    with pytest.raises(KeyboardInterrupt):
        write_augmented(clips, tmp_path / "out", config=QUICK)
    assert not (tmp_path / "out" / "clips.csv").exists()
    assert not [name for name in files_of(tmp_path / "out") if name.endswith(".part")]
    written = write_augmented(clips, tmp_path / "out", config=QUICK)
    assert (written.n_kept, written.n_written) == (8, 16)  # two sources were done
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_a_second_run_writes_nothing_and_mends_what_is_damaged(clips: Clips, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_augmented(clips, folder, config=QUICK)
    before = audio_of(folder)
    assert write_augmented(clips, folder, config=QUICK).n_written == 0
    damaged, gone, *_ = sorted(folder.glob("audio/*/*-aug02.flac"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    gone.unlink()
    assert write_augmented(clips, folder, config=QUICK).n_written == 2
    assert audio_of(folder) == before


def test_a_source_that_changed_gets_new_variants(clips: Clips, tmp_path: Path) -> None:
    folder, source = tmp_path / "out", Path(clips.table["path"].iloc[0])
    write_augmented(clips, folder, config=QUICK)
    corpus.write(source, corpus.sound("hum", seed=77))
    written = write_augmented(clips, folder, config=QUICK)
    assert (written.n_written, written.n_kept) == (4, 20)
    expected, _ = soundfile.read(source, dtype="int16")
    own, _ = soundfile.read(folder / rows_of(written.clips_csv)["path"].iloc[0], dtype="int16")
    assert np.array_equal(own, expected)


def test_a_finished_corpus_keeps_its_test_side(clips: Clips, tmp_path: Path) -> None:
    out = tmp_path / "out"
    marked = with_test_side(clips, test_fold=3)
    write_augmented(marked, out, config=QUICK)
    before = rows_of(out / "clips.csv")
    with pytest.raises(
        ConfigError, match=r"is (judged on|learned from); expected the same side as in .*another folder"
    ):
        write_augmented(with_test_side(clips, test_fold=2), out, config=QUICK)
    with pytest.raises(ConfigError, match=r"is learned from; expected"):
        write_augmented(clips, out, config=QUICK)
    assert rows_of(out / "clips.csv").equals(before)
    assert write_augmented(marked, out, config=QUICK).n_written == 0


def test_a_clip_that_becomes_a_test_clip_before_all_was_written_loses_its_variants(
    clips: Clips, tmp_path: Path
) -> None:
    write_augmented(clips, tmp_path / "out", config=QUICK)
    (tmp_path / "out" / "clips.csv").unlink()
    write_augmented(with_test_side(clips, test_fold=3), tmp_path / "out", config=QUICK)
    table = rows_of(tmp_path / "out" / "clips.csv")
    assert table.groupby("split").size().to_dict() == {"test": 2, "train": 16}
    assert {
        f"audio/{Path(name).parent.name}/{Path(name).name}" for name in audio_of(tmp_path / "out")
    } == set(table["path"])


def test_other_settings_want_another_folder(clips: Clips, tmp_path: Path) -> None:
    write_augmented(clips, tmp_path / "out", config=QUICK)
    with pytest.raises(ConfigError, match="another one with -o"):
        write_augmented(clips, tmp_path / "out", config=QUICK.model_copy(update={"seed": 1}))
    assert load_offline_config(tmp_path / "out" / "augmentation.toml") == QUICK


def test_a_folder_that_holds_the_sources_is_refused(clips: Clips, sounds: Path) -> None:
    before = files_of(sounds)
    with pytest.raises(ConfigError, match="does not hold the sources"):
        write_augmented(clips, sounds, config=QUICK)
    assert files_of(sounds) == before


def test_bad_files_are_left_out_with_their_reason(sounds: Path, tmp_path: Path) -> None:
    broken = corpus.add_broken(sounds / "hum")
    said: list[str] = []

    class Listener:
        def say(self, text: str) -> None:
            said.append(text)

        def progress(self, task: str, done: int, total: int) -> None:
            said.append(f"{task} {done}/{total}")

    found = read_clips(sounds)
    paths = [*found.table["path"], str(sounds / "hum" / "gone.wav")]
    clips = Clips(pd.DataFrame({"path": paths, "label": [Path(p).parent.name for p in paths]}), root=sounds)
    written = write_augmented(clips, tmp_path / "out", config=QUICK, monitor=Listener())
    assert {Path(path).name for path, _ in written.skipped} == {*broken, "gone.wav"}
    table = rows_of(tmp_path / "out" / "skipped.csv")
    assert len(table) == len(written.skipped)
    assert table["reason"].str.contains("expected").all()
    assert len(read_clips(written.clips_csv)) == 24
    assert sum(line.startswith("left out") for line in said) == len(written.skipped)
    assert said[-1] == f"augmenting {len(clips)}/{len(clips)}"


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    corpus.add_broken(tmp_path / "sounds" / "hum")
    with pytest.raises(DataError, match="readable clips"):
        write_augmented(read_clips(tmp_path / "sounds"), tmp_path / "out", config=QUICK)


def test_names_that_clash_are_told_apart(tmp_path: Path) -> None:
    root = tmp_path / "sounds"
    names = ("x/a.wav", "y/a.wav", "x/A.wav", "x/a-aug01.wav", f"x/{'long' * 60}.wav", "x/plain.wav")
    for seed, name in enumerate(names):
        corpus.write(root / name, corpus.sound("hum", seed=seed))
    table = pd.DataFrame({"path": [*names, "x/plain.wav"], "label": "one", "end_s": [*[""] * 6, "0.2"]})
    written = write_augmented(Clips(table, root=root), tmp_path / "out", config=QUICK)
    paths = rows_of(written.clips_csv)["path"]
    assert len({path.casefold() for path in paths}) == len(paths) == 28
    assert "audio/one/plain-aug03.flac" in set(paths)
    assert "audio/one/plain@0-0.2.flac" in set(paths)


def test_segments_of_a_file_are_cut_out_and_augmented_on_their_own(sounds: Path, tmp_path: Path) -> None:
    path = str(sounds / "hum" / "hum0000.wav")
    table = pd.DataFrame({"path": [path] * 2, "label": "hum", "start_s": [0, 0.1], "end_s": [0.1, 0.25]})
    written = write_augmented(Clips(table, root=sounds), tmp_path / "out", config=QUICK)
    lengths = {len(soundfile.read(tmp_path / "out" / p)[0]) for p in rows_of(written.clips_csv)["path"]}
    assert lengths == {800, 1_200}
    provenance = rows_of(tmp_path / "out" / "provenance.csv")
    assert set(provenance["source_start_s"]) == {"0", "0.1"}


def test_several_labels_a_clip_stay_together(sounds: Path, tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["hum/hum0000.wav", "hiss/hiss0000.wav"], "label": ["hum;loud", "hiss"]})
    written = write_augmented(Clips(table, root=sounds), tmp_path / "out", config=QUICK)
    assert read_clips(written.clips_csv).is_multilabel


@pytest.mark.parametrize("n_samples", [1, 50])
def test_tiny_clips_are_augmented_too(tmp_path: Path, n_samples: int) -> None:
    corpus.write(tmp_path / "in" / "a.wav", np.full(n_samples, 0.25))
    clips = Clips(pd.DataFrame({"path": ["a.wav"], "label": ["a"]}), root=tmp_path / "in")
    written = write_augmented(clips, tmp_path / "out")
    assert written.n_written == 20


def test_clips_without_labels_are_refused(sounds: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="label"):
        write_augmented(read_clips(sounds, labels=False), tmp_path / "out")


def test_a_mistake_in_the_steps_shows_before_anything_is_written(clips: Clips, tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"steps": (AudiomentationsConfig(name="Nothing"),)})
    with pytest.raises(ConfigError, match="Nothing"):
        write_augmented(clips, tmp_path / "out", config=config)
    assert not (tmp_path / "out").exists()


def test_a_test_side_is_a_fold_or_a_share_of_whole_groups(clips: Clips) -> None:
    by_fold = with_test_side(clips, test_fold=2)
    assert set(by_fold.groups[by_fold.table["split"] == "test"]) == {"b"}
    by_share = with_test_side(clips, test_fraction=0.34, seed=1)
    test = by_share.table["split"] == "test"
    assert 0 < test.sum() < 6
    assert not set(by_share.groups[test]) & set(by_share.groups[~test])
    assert set(by_share.table["split"]) == {"train", "test"}
    assert with_test_side(clips) is clips


def test_a_test_side_that_cannot_be_is_refused(clips: Clips) -> None:
    with pytest.raises(ConfigError, match=r"one of the folds 1, 2, 3\."):
        with_test_side(clips, test_fold=9)
    with pytest.raises(ConfigError, match="one way"):
        with_test_side(clips, test_fold=1, test_fraction=0.2)
    with pytest.raises(ConfigError, match="test split in the data"):
        with_test_side(with_test_side(clips, test_fold=1), test_fraction=0.2)


def test_settings_come_from_a_file_and_changes(tmp_path: Path) -> None:
    path = tmp_path / "steps.toml"
    path.write_text('copies = 4\n[[steps]]\nkind = "noise"\nmax_amplitude = 0.02\n')
    config = load_offline_config(path, seed=7, rate_hz=None)
    assert config == OfflineConfig(copies=4, seed=7, steps=(NoiseConfig(max_amplitude=0.02),))
    assert load_offline_config() == OfflineConfig()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("copies = -1", "copies is -1"),
        ("copies =", "a TOML file"),
        ("x = 1", "x is 1"),
        ("[[steps]]", "steps.0"),
    ],
)
def test_settings_that_break_a_rule_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "steps.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"steps\.toml: ") as caught:
        load_offline_config(tmp_path / "steps.toml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["", "audio"])
def test_the_folder_is_read_with_the_groups_of_its_table(clips: Clips, tmp_path: Path, part: str) -> None:
    write_augmented(clips, tmp_path / "out", config=QUICK)
    loaded = read_clips(tmp_path / "out" / part)
    assert len(loaded) == 24
    assert loaded.classes == ("hiss", "hum")
    assert loaded.table.groupby("group").size().eq(8).all()


def test_copies_of_a_sound_are_held_out_together(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        for i in range(6):
            samples = rng.normal(0, 0.1, 800)
            for copy in ("", "-copy"):
                soundfile.write(tmp_path / name / f"{i}{copy}.wav", samples, 8_000)
    marked = with_test_side(read_clips(tmp_path), test_fraction=0.3)
    sides = {}
    for path, side in zip(marked.table["path"], marked.table["split"], strict=True):
        sides.setdefault(Path(path).read_bytes(), set()).add(side)
    assert {len(each) for each in sides.values()} == {1}
    assert {"train", "test"} == set().union(*sides.values())


@pytest.mark.parametrize("damage", ["", "path,label\nx.wav,dog\n"])
def test_a_table_that_is_damaged_is_one_clear_error(clips: Clips, tmp_path: Path, damage: str) -> None:
    write_augmented(clips, tmp_path / "out", config=QUICK)
    (tmp_path / "out" / "clips.csv").write_text(damage)
    with pytest.raises(DataError, match=r"clips\.csv: (table|columns) is"):
        write_augmented(clips, tmp_path / "out", config=QUICK)
