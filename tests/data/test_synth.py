from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from earshot import read_clips
from earshot.data.sounds import SOUNDS
from earshot.data.splits import k_folds
from earshot.data.synth import LENGTH_S, clip, synthesise
from earshot.errors import ConfigError, DataError

RATE_HZ = 22_050


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples**2) + 1e-12))


def band_statistics(samples: np.ndarray) -> np.ndarray:
    """Mean, spread and range over time of 24 third-octave-like bands, without the overall level."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::512]
    power = np.abs(np.fft.rfft(frames * np.hanning(1024), axis=1)) ** 2
    edges = np.unique(np.geomspace(2, 512, 25).astype(int))
    levels = 10 * np.log10(np.add.reduceat(power, edges[:-1], axis=1) + 1e-9)
    levels -= levels.mean()
    changes = np.abs(np.diff(levels, axis=0))
    quantiles = np.quantile(levels, [0.1, 0.5, 0.9, 1.0], axis=0)
    return np.concatenate([levels.mean(0), levels.std(0), *quantiles, changes.mean(0), changes.max(0)])


def accuracy(features: np.ndarray, labels: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> float:
    hits = 0
    for train, test in folds:
        model = make_pipeline(StandardScaler(), SVC(C=10)).fit(features[train], labels[train])
        hits += int(np.sum(model.predict(features[test]) == labels[test]))
    return hits / sum(len(test) for _, test in folds)


def test_the_corpus_is_read_unprompted_with_recordings_as_groups(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    root = synthesise(tmp_path / "demo", n_per_class=6, n_recordings=3, progress=lambda *n: seen.append(n))
    clips = read_clips(root)
    assert clips.classes == tuple(sorted(SOUNDS))
    assert (len(clips), len(set(clips.groups))) == (48, 24)
    assert clips.table["fold"].value_counts().to_dict() == {1: 16, 2: 16, 3: 16}
    assert clips.table.groupby("group")["label"].nunique().max() == 1
    assert seen[-1] == (48, 48)
    assert len(seen) == 48
    for path in clips.table["path"]:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (RATE_HZ, 1, "PCM_16")
        assert LENGTH_S[0] - 0.01 <= info.duration <= LENGTH_S[1]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    one, same, other = (
        synthesise(tmp_path / str(i), n_per_class=2, n_recordings=2, seed=seed)
        for i, seed in enumerate((0, 0, 1))
    )
    name = "siren/1-4000-A.wav"
    assert (one / name).read_bytes() == (same / name).read_bytes() != (other / name).read_bytes()


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("rate_hz", [16_000, RATE_HZ, 48_000])
def test_every_sound_is_finite_and_within_range(name: str, rate_hz: int) -> None:
    for recording in range(3):
        samples = clip(name, recording, 0, rate_hz=rate_hz, seed=7)
        assert np.all(np.isfinite(samples))
        assert np.abs(samples).max() <= 1
        assert -45 < level_db(samples) < -23


def test_takes_of_a_recording_differ() -> None:
    one, two = clip("dog", 0, 0), clip("dog", 0, 1)
    n = min(len(one), len(two))
    assert abs(np.corrcoef(one[:n], two[:n])[0, 1]) < 0.2


def test_the_classes_need_hearing_and_the_split_matters() -> None:
    keys = [(k, recording, take) for k in range(8) for recording in range(5) for take in range(4)]
    sounds = [clip(list(SOUNDS)[k], recording, take) for k, recording, take in keys]
    labels, groups = np.array([k for k, _, _ in keys]), np.array([recording for _, recording, _ in keys])
    takes = np.array([take for _, _, take in keys])
    levels = np.array([[level_db(samples)] for samples in sounds])
    features = np.array([band_statistics(samples) for samples in sounds])
    by_recording = [(np.flatnonzero(groups != g), np.flatnonzero(groups == g)) for g in range(5)]
    by_take = [(np.flatnonzero(takes != t), np.flatnonzero(takes == t)) for t in range(4)]
    honest = accuracy(features, labels, by_recording)
    assert accuracy(levels, labels, by_recording) < 0.25  # chance is 0.125
    assert 0.7 < honest < 0.99
    assert accuracy(features, labels, by_take) > honest + 0.02


@pytest.mark.parametrize("wrong", [{"n_recordings": 1}, {"n_per_class": 3}, {"rate_hz": 8_000}])
def test_impossible_sizes_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        synthesise(tmp_path / "demo", **wrong)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").touch()
    with pytest.raises(DataError, match="folder"):
        synthesise(tmp_path / "demo")


def test_folds_of_the_corpus_are_its_recordings(tmp_path: Path) -> None:
    clips = read_clips(synthesise(tmp_path, n_per_class=4, n_recordings=2))
    assert [len(fold.test) for fold in k_folds(clips)] == [16, 16]


def test_a_recording_s_room_is_drawn_apart_from_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    first_draws = []

    def sound(n: int, rate_hz: int, source: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
        first_draws.append(source.random())
        return np.ones(n)

    def room(dry: np.ndarray, rate_hz: int, device: np.random.Generator) -> np.ndarray:
        first_draws.append(device.random())
        return dry

    monkeypatch.setitem(SOUNDS, next(iter(SOUNDS)), sound)
    monkeypatch.setattr("earshot.data.synth._in_room", room)
    clip(next(iter(SOUNDS)), 0, 0)
    clip(next(iter(SOUNDS)), 0, 1)
    assert first_draws[:2] == first_draws[2:]  # the same recording
    assert len(set(first_draws)) == 2
