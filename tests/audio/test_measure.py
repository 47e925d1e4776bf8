import numpy as np
import pytest
import soxr
from scipy import signal

from earshot.audio.measure import measure, spectra
from earshot.audio.windows import to_int16

RATE_HZ = 44_100


def figures(wave, rate_hz=RATE_HZ):
    samples = to_int16(np.asarray(wave, np.float32))
    return measure(samples, rate_hz, spectra(samples, rate_hz).mean)


def noise(seconds=1.0, *, level=0.1, seed=0):
    return level * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))


def test_levels_of_a_sine_are_those_of_the_textbook():
    got = figures(0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ))
    assert got.peak_db == pytest.approx(20 * np.log10(0.5), abs=0.01)
    assert got.level_db == pytest.approx(20 * np.log10(0.5) - 3.01, abs=0.01)
    assert got.duration_s == 1.0


def test_clipping_is_the_share_of_samples_at_full_scale():
    wave = np.full(1000, 0.1)
    wave[:30] = 1.0
    wave[30:50] = -1.0
    assert figures(wave).clipped_share == pytest.approx(0.05)
    assert figures(0.99 * np.sign(noise(0.1))).clipped_share == 0


def test_an_offset_is_found_under_noise():
    assert figures(0.05 + noise()).dc_offset == pytest.approx(0.05, abs=0.002)


def test_digital_silence_is_told_from_quiet():
    silence, quiet = np.zeros(RATE_HZ // 2), noise(0.5, level=1e-3)
    got = figures(np.concatenate([silence, noise(), silence]))
    assert got.lead_silence_s == pytest.approx(0.5, abs=0.001)
    assert got.tail_silence_s == pytest.approx(0.5, abs=0.001)
    assert got.silence_share == pytest.approx(0.5, abs=0.02)
    assert figures(np.concatenate([quiet, noise(), quiet])).silence_share == 0


def test_the_noise_floor_is_that_between_the_sounds_and_not_of_the_padding():
    wave = noise(2.0, level=0.01)
    wave[: RATE_HZ // 2] = noise(0.5, level=0.3)
    padded = np.concatenate([wave, np.zeros(RATE_HZ)])
    assert figures(padded).noise_floor_db == pytest.approx(-40, abs=1)


@pytest.mark.parametrize("low_hz", [8_000, 16_000, 22_050])
def test_an_upsampled_file_shows_where_it_ends(low_hz):
    wave = soxr.resample(soxr.resample(noise(2.0), RATE_HZ, low_hz), low_hz, RATE_HZ)
    got = figures(wave)
    assert got.bandwidth_hz == pytest.approx(low_hz / 2, rel=0.06)
    assert got.edge_db > 20


def test_full_bandwidth_has_no_edge_and_a_fade_has_a_small_one():
    assert figures(noise()).bandwidth_hz > 0.99 * RATE_HZ / 2
    assert figures(noise()).edge_db == 0
    brown = signal.lfilter([1.0], [1.0, -0.99], noise(2.0, level=1e-4))
    sharp = soxr.resample(soxr.resample(brown, RATE_HZ, 16_000), 16_000, RATE_HZ)
    assert figures(brown).edge_db < figures(sharp).edge_db


@pytest.mark.parametrize("n", [1, 100, 2047, 2049])
def test_sounds_of_any_length_have_figures(n):
    got = figures(noise()[:n])
    assert np.isfinite(got).all()
    assert figures(np.zeros(n)).silence_share == 1.0
    assert figures(np.zeros(n)).level_db == -120


def test_long_sounds_give_the_same_spectra_block_by_block(monkeypatch):
    samples = to_int16(noise(2.0).astype(np.float32))
    whole = spectra(samples, RATE_HZ)
    monkeypatch.setattr("earshot.audio.measure._BLOCK_FRAMES", 7)
    parts = spectra(samples, RATE_HZ)
    np.testing.assert_allclose(parts.bands, whole.bands, rtol=1e-4)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-4)


def test_a_cliff_is_found_above_a_faint_floor_and_nothing_above_the_file_s_own_rate():
    sharp = soxr.resample(soxr.resample(noise(2.0), RATE_HZ, 16_000), 16_000, RATE_HZ)
    floored = sharp + noise(2.0, level=1e-4, seed=1)[: len(sharp)]  # 10 dB above the rounding of 16 bit
    assert figures(floored).bandwidth_hz == pytest.approx(8_000, rel=0.06)
    samples = to_int16(floored.astype(np.float32))
    got = measure(samples, RATE_HZ, spectra(samples, RATE_HZ).mean, source_rate_hz=16_000)
    assert got.bandwidth_hz == pytest.approx(8_000, rel=0.06)
    assert got.edge_db == 0
