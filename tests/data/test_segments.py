import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot.audio.windows import Gate, InMemory, cut, window_starts
from earshot.data.clips import Clips
from earshot.data.segments import segments, standard_peaks
from earshot.data.splits import check_no_leak, k_folds
from earshot.errors import DataError
from earshot.hearing import hear
from earshot.monitor import Silent
from earshot.recipe import AudioConfig

RATE_HZ = 1_000


def table_of(n, **columns):
    values = {"path": [f"{i}.wav" for i in range(n)], "label": ["cat" if i % 2 else "dog" for i in range(n)]}
    return Clips(pd.DataFrame(values | columns))


def noises(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return InMemory([rng.integers(-9_000, 9_000, n).astype(np.int16) for n in lengths])


@given(
    st.lists(st.integers(1, 5_000), min_size=1, max_size=6), st.integers(50, 1_500), st.integers(50, 1_500)
)
@settings(max_examples=60, deadline=None)
def test_segments_stand_where_windows_do(lengths, length, hop):
    found = segments(
        table_of(len(lengths)),
        noises(lengths),
        rate_hz=RATE_HZ,
        window_s=length / RATE_HZ,
        hop_s=hop / RATE_HZ,
    )
    for i, n in enumerate(lengths):
        own = found.owners == i
        expected = window_starts(n, length=length, hop=hop)
        np.testing.assert_array_equal(found.starts[own], expected)
        times = found.clips.table[own]
        np.testing.assert_allclose(times["start_s"], expected / RATE_HZ)
        if n > length:
            np.testing.assert_allclose(times["end_s"], (expected + length) / RATE_HZ)
    assert len(set(found.clips.ids)) == len(found.clips)


def test_segments_carry_what_is_known_of_their_clip():
    clips = table_of(3, group=["a", "b", "a"], fold=[1, 2, 1], split=["train", "test", "train"])
    found = segments(clips, noises([2_500, 800, 1_000]), rate_hz=RATE_HZ, window_s=1.0)
    assert found.owners.tolist() == [0, 0, 0, 1, 2]
    for name in ("path", "label", "group", "fold", "split"):
        assert found.clips.table[name].tolist() == clips.table[name].iloc[found.owners].tolist()
    assert found.clips.classes == clips.classes
    assert found.clips.ids[3:] == clips.ids[1:], "a clip of one segment stays as it is"
    assert np.isnan(found.clips.table["end_s"][3])


def test_no_split_parts_the_segments_of_a_clip():
    clips = table_of(12)
    found = segments(clips, noises([700 * (1 + i % 4) for i in range(12)]), rate_hz=RATE_HZ, window_s=0.5)
    for fold in k_folds(found.clips, n_folds=3):
        check_no_leak(found.clips, fold.train, fold.test)
        assert not set(found.owners[fold.train]) & set(found.owners[fold.test])


def test_times_count_from_the_start_of_the_file_where_clips_are_parts_of_it():
    clips = table_of(2, path=["a.wav", "a.wav"], start_s=[3.0, 10.0], end_s=[5.0, 10.5])
    found = segments(clips, noises([2_000, 500]), rate_hz=RATE_HZ, window_s=1.0)
    times = found.clips.table[["start_s", "end_s"]].to_numpy()
    np.testing.assert_allclose(times, [[3, 4], [4, 5], [10, 10.5]])


def test_segments_decoded_from_the_file_are_the_cuts_of_the_clip(tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", rng.uniform(-0.5, 0.5, 20_000), 8_000)
    clips = Clips(pd.DataFrame({"path": [str(tmp_path / "a.wav")], "label": ["cat"]}))
    audio = AudioConfig(rate_hz=8_000)
    whole = hear(clips, audio, monitor=Silent(), store_root=tmp_path / "store")
    found = segments(whole.clips, whole.view, rate_hz=8_000, window_s=1.0)
    parts = hear(found.clips, audio, monitor=Silent(), store_root=tmp_path / "store")
    assert parts.n_failed == 0
    assert len(parts.clips) == len(found.starts) == 3
    for i, start in enumerate(found.starts):
        np.testing.assert_array_equal(parts.view.get(i), cut(whole.view.get(0), int(start), found.length))


def test_quiet_segments_are_skipped_by_level_or_by_peak_and_a_clip_keeps_its_best():
    loud = noises([4_000]).get(0)
    loud[1_000:3_000] //= 100
    view = InMemory([loud, np.zeros(2_500, np.int16), loud // 100])
    by_level = segments(table_of(3), view, rate_hz=RATE_HZ, window_s=1.0, gate=Gate(below_loudest_db=20))
    assert by_level.starts[by_level.owners == 0].tolist() == [0, 3_000]
    by_peak = segments(table_of(3), view, rate_hz=RATE_HZ, window_s=1.0, min_peak=0.4)
    assert by_peak.starts[by_peak.owners == 0].tolist() == [0, 3_000]
    strict = segments(table_of(3), view, rate_hz=RATE_HZ, window_s=1.0, min_peak=1e6)
    assert set(strict.owners) == set(by_peak.owners) == set(by_level.owners) == {0, 1, 2}


@given(st.integers(1, 20), st.integers(-500, 500))
@settings(max_examples=20, deadline=None)
def test_standard_peaks_do_not_hear_gain_or_offset(gain, offset):
    clip = np.random.default_rng(0).integers(-900, 900, 300).astype(np.int16)
    starts = np.array([0, 100, 200])
    expected = standard_peaks(clip, starts, length=100)
    changed = (gain * clip + offset).astype(np.int16)
    np.testing.assert_allclose(standard_peaks(changed, starts, length=100), expected, rtol=1e-9)
    standardised = (clip - clip.mean()) / clip.std()
    np.testing.assert_allclose(expected, standardised.reshape(3, 100).max(axis=1))


def test_faults_are_named():
    with pytest.raises(DataError, match="as many as the view"):
        segments(table_of(2), noises([100]), rate_hz=RATE_HZ, window_s=1.0)
    with pytest.raises(DataError, match="hop_s is 0"):
        segments(table_of(1), noises([100]), rate_hz=RATE_HZ, window_s=1.0, hop_s=0.0)


def test_segments_that_begin_within_a_millisecond_have_their_own_ids():
    found = segments(table_of(1), noises([324]), rate_hz=16_000, window_s=0.02, hop_s=0.00025)
    assert found.clips.ids == ("0.wav@0.000000-0.020000", "0.wav@0.000250-0.020250")
