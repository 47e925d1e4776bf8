import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot.audio.windows import (
    OPEN,
    Gate,
    InMemory,
    cover,
    cut,
    draw_window,
    heard_windows,
    to_float,
    to_int16,
    window_powers,
    window_starts,
)


@given(st.integers(1, 5_000), st.integers(1, 900), st.integers(1, 900))
@settings(max_examples=200, deadline=None)
def test_windows_cover_a_clip_without_inventing_a_sample(n_samples, length, hop):
    starts = window_starts(n_samples, length=length, hop=hop)
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()
    assert (np.diff(starts) <= hop).all()
    if n_samples > length:
        assert 0 <= n_samples - (starts[-1] + length) <= length / 50
    else:
        assert starts.tolist() == [0]


@pytest.mark.parametrize("rest", [0, 1, 100, 101, 4_999])
def test_a_rest_that_a_codec_adds_gets_no_window(rest):
    starts = window_starts(10_000 + rest, length=5_000, hop=5_000).tolist()
    assert starts == ([0, 5_000] if rest <= 100 else [0, 5_000, 5_000 + rest])


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


def drawn(clip, found, *, length, n, hop=None):
    """Starts [n] of random windows, each checked against what was written."""
    bank, rng, starts = InMemory([clip[:1], clip]), np.random.default_rng(0), []
    out = np.empty(length, np.int16)
    for _ in range(n):
        starts.append(draw_window(out, bank, 1, heard=found, hop=hop or length, rng=rng))
        np.testing.assert_array_equal(out, cut(clip, starts[-1], length))
    return starts


LIMITS = st.one_of(st.none(), st.floats(0.1, 90.0))
FLOORS = st.one_of(st.none(), st.floats(-100.0, 0.0))


def bursts(levels, length=40, seed=0):
    """Noise [len(levels) * length] of one amplitude (of full scale) after another."""
    rng = np.random.default_rng(seed)
    parts = [level * np.sign(rng.normal(size=length)) for level in levels]
    return to_int16(np.concatenate(parts).astype(np.float32))


def heard(clip, gate, *, length=40, hop=40):
    return heard_windows(clip, length=length, hop=hop, gate=gate).starts.tolist()


@given(
    st.integers(1, 900), st.integers(1, 200), st.integers(1, 200), LIMITS, FLOORS, st.integers(0, 2**32 - 1)
)
@settings(max_examples=200, deadline=None)
def test_a_gate_keeps_the_loudest_window_and_only_windows_that_cover_the_clip(
    n_samples, length, hop, below_db, floor_dbfs, seed
):
    rng = np.random.default_rng(seed)
    clip = to_int16((rng.normal(size=n_samples) * 10 ** rng.uniform(-5, 0)).astype(np.float32))
    clip[rng.integers(n_samples) :] //= 50
    every = window_starts(n_samples, length=length, hop=hop)
    powers = window_powers(clip, every, length=length)
    kept = heard(clip, Gate(below_db, floor_dbfs), length=length, hop=hop)
    assert set(kept) <= set(every.tolist())
    assert every[powers.argmax()] in kept
    assert kept == sorted(kept)


@given(st.integers(1, 900), st.integers(1, 200), st.integers(1, 200))
@settings(max_examples=50, deadline=None)
def test_an_open_gate_hears_every_window(n_samples, length, hop):
    clip = np.zeros(n_samples, np.int16)
    assert (
        heard(clip, OPEN, length=length, hop=hop) == window_starts(n_samples, length=length, hop=hop).tolist()
    )


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        (Gate(below_loudest_db=7), [0]),
        (Gate(below_loudest_db=21), [0, 40]),
        (Gate(below_loudest_db=41), [0, 40, 80]),
        (Gate(floor_dbfs=-5), [0]),
        (Gate(floor_dbfs=-25), [0, 40]),
        (Gate(below_loudest_db=21, floor_dbfs=-45), [0, 40]),
        (Gate(below_loudest_db=41, floor_dbfs=-25), [0, 40]),
        (Gate(floor_dbfs=0), [0]),
    ],
)
def test_limits_are_decibels_of_the_loudest_window_and_of_full_scale(gate, expected):
    assert heard(bursts([0.6, 0.06, 0.006]), gate) == expected


def test_the_power_of_a_window_is_its_mean_square_of_full_scale():
    clip = bursts([0.5, 0.05])
    found = 10 * np.log10(window_powers(clip, np.array([0, 40]), length=40))
    np.testing.assert_allclose(found, 20 * np.log10([0.5, 0.05]), atol=0.01)
    sine = to_int16(np.sin(2 * np.pi * np.arange(8_000) / 80).astype(np.float32))
    assert 10 * np.log10(window_powers(sine, np.array([0]), length=8_000)) == pytest.approx(-3.01, abs=0.01)


@given(st.integers(1, 400))
@settings(max_examples=20, deadline=None)
def test_the_relative_limit_does_not_hear_the_gain_of_a_recording(gain):
    quiet = np.random.default_rng(0).integers(-8, 8, 200) * np.repeat([1, 10, 3, 1, 9], 40)
    gate = Gate(below_loudest_db=12)
    assert heard(quiet.astype(np.int16), gate) == heard((gain * quiet).astype(np.int16), gate)


@pytest.mark.parametrize("gate", [OPEN, Gate(below_loudest_db=20), Gate(floor_dbfs=-60), Gate(20, -60)])
def test_a_silent_clip_is_heard(gate):
    assert len(heard(np.zeros(200, np.int16), gate)) >= 1
    assert heard(np.zeros(7, np.int16), gate) == [0]


def test_random_windows_start_anywhere_and_alike_often_without_a_gate():
    counts = np.bincount(drawn(np.arange(20, dtype=np.int16), None, length=8, n=2_600), minlength=13)
    assert len(counts) == 13
    assert counts.min() > 140


def test_random_windows_are_loud_enough_and_not_only_those_of_the_cover():
    clip = bursts([0.001, 0.5, 0.4, 0.001, 0.001, 0.5, 0.001])
    found = heard_windows(clip, length=40, hop=40, gate=Gate(below_loudest_db=6))
    assert found.starts.tolist() == [40, 80, 200]
    starts = drawn(clip, found, length=40, n=500)
    assert (window_powers(clip, np.unique(starts), length=40) >= found.least_power).all()
    assert len(set(starts)) > 30
    assert np.mean(np.array(starts) >= 180) == pytest.approx(1 / 3, abs=0.07)


def test_random_windows_of_an_even_clip_reach_its_ends_without_piling_up_there():
    clip = bursts([0.5] * 5)
    found = heard_windows(clip, length=40, hop=40, gate=Gate(below_loudest_db=20))
    starts = drawn(clip, found, length=40, n=8_000)
    assert min(starts) == 0
    assert max(starts) == 160
    share = np.bincount(starts, minlength=161) * 161 / len(starts)
    assert share[[0, 160]].max() < 2.5


def test_the_only_window_of_a_short_clip_is_drawn():
    clip = np.arange(5, dtype=np.int16)
    found = heard_windows(clip, length=8, hop=8, gate=Gate(below_loudest_db=1))
    assert set(drawn(clip, found, length=8, n=20)) == {0}
