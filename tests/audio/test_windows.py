import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot.audio.windows import InMemory, cover, cut, to_float, to_int16, window_starts


@given(st.integers(1, 5_000), st.integers(1, 900), st.integers(1, 900))
@settings(max_examples=200, deadline=None)
def test_windows_cover_a_clip_without_inventing_a_sample(n_samples, length, hop):
    starts = window_starts(n_samples, length=length, hop=hop)
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()
    assert (np.diff(starts) <= hop).all()
    if n_samples > length:
        assert starts[-1] + length == n_samples
    else:
        assert starts.tolist() == [0]


@pytest.mark.parametrize(("n_samples", "n_windows"), [(39, 1), (40, 1), (41, 2), (80, 2), (81, 3), (120, 3)])
def test_there_are_no_more_windows_than_needed(n_samples, n_windows):
    assert len(window_starts(n_samples, length=40, hop=40)) == n_windows


def test_a_short_clip_is_repeated_to_fill_the_window():
    assert cut(np.array([1, 2, 3], np.int16), 0, 8).tolist() == [1, 2, 3, 1, 2, 3, 1, 2]


def test_a_window_of_a_long_clip_is_a_slice_of_it():
    clip = np.arange(100, dtype=np.int16)
    assert cut(clip, 7, 5).tolist() == [7, 8, 9, 10, 11]
    assert np.shares_memory(cut(clip, 95, 5), clip)


def test_cover_gives_every_window_in_floats():
    clip = np.arange(10, dtype=np.int16)
    windows = cover(clip, length=4, hop=4)
    assert windows.dtype == np.float32
    assert (windows * 32_768).astype(int).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]


@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=50))
@settings(deadline=None)
def test_sixteen_bit_samples_survive_the_way_to_floats_and_back(values):
    samples = np.array(values, np.int16)
    floats = to_float(samples)
    assert floats.dtype == np.float32
    assert np.abs(floats).max() <= 1
    np.testing.assert_array_equal(to_int16(floats), samples)


def test_full_scale_saturates_instead_of_wrapping():
    loud = np.array([1.0, 1.5, 1e9, -1.0, -1.5, -1e9], np.float32)
    assert to_int16(loud).tolist() == [32_767, 32_767, 32_767, -32_768, -32_768, -32_768]


def test_rounding_has_no_bias():
    assert to_int16(np.array([0.4, -0.4, 0.6, -0.6], np.float32) / 32_768).tolist() == [0, 0, 1, -1]


def test_clips_in_memory_are_a_clipbank():
    bank = InMemory([np.arange(3, dtype=np.int16), np.arange(5, dtype=np.int16)])
    assert len(bank) == 2
    assert bank.n_samples.tolist() == [3, 5]
    assert bank.get(1).tolist() == [0, 1, 2, 3, 4]
