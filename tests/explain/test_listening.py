import numpy as np
import pytest

from earshot.explain.listening import Plane, band_edges_hz

RATE_HZ = 8_000


def noise(n=8_000, level=0.1):
    return (level * np.random.default_rng(0).standard_normal(n)).astype(np.float32)


@pytest.mark.parametrize(("n", "rate_hz"), [(80, 8_000), (8_000, 8_000), (8_001, 16_000), (22_050, 44_100)])
def test_with_every_cell_kept_the_waveform_comes_back_sample_by_sample(n, rate_hz):
    wave = noise(n)
    plane = Plane(wave, rate_hz=rate_hz)
    everything = np.ones(plane.shape, bool)
    np.testing.assert_allclose(plane.alone(everything), wave, atol=1e-6)
    np.testing.assert_allclose(plane.without(~everything), wave, atol=1e-6)


def test_what_is_left_has_the_length_of_the_window_and_nothing_of_what_was_taken():
    t = np.arange(RATE_HZ) / RATE_HZ
    wave = (0.3 * np.sin(2 * np.pi * 300 * t) + 0.3 * np.sin(2 * np.pi * 3_000 * t)).astype(np.float32)
    plane = Plane(wave, rate_hz=RATE_HZ)
    low = np.zeros(plane.shape, bool)
    low[:4] = True
    assert plane.band_edges_hz[4] < 2_500
    spectrum = np.abs(np.fft.rfft(plane.alone(low)))
    assert len(plane.alone(low)) == len(wave)
    assert spectrum[3_000] < 1e-3 * spectrum[300]


def test_gates_do_not_click():
    t = np.arange(RATE_HZ) / RATE_HZ
    plane = Plane((0.5 * np.sin(2 * np.pi * 500 * t)).astype(np.float32), rate_hz=RATE_HZ)
    kept = np.zeros(plane.shape, bool)
    kept[:, 5:9] = True
    gated = plane.alone(kept)
    power = np.abs(np.fft.rfft(gated)) ** 2
    hard = np.where((t > 5 / 16) & (t < 9 / 16), plane.waveform, 0)
    above = slice(1_500, None)  # 1 kHz away from the tone: only a click reaches there
    assert power[above].sum() < 1e-5 * power.sum()
    assert power[above].sum() < 1e-2 * (np.abs(np.fft.rfft(hard))[above] ** 2).sum()


def test_what_is_taken_away_sinks_to_the_quiet_moments_of_the_sound():
    wave = noise(level=0.01)
    t = np.arange(len(wave)) / RATE_HZ
    wave[4_000:6_000] += (0.3 * np.sin(2 * np.pi * 1_000 * t[4_000:6_000])).astype(np.float32)
    plane = Plane(wave, rate_hz=RATE_HZ)
    left = plane.without(np.ones(plane.shape, bool))
    assert left[4_200:5_800].std() < 0.02
    assert left[:3_800].std() > 0.001


def test_the_cell_with_a_loud_tone_has_the_most_energy():
    wave = noise(level=0.001)
    t = np.arange(len(wave)) / RATE_HZ
    wave[4_100:4_400] += (0.3 * np.sin(2 * np.pi * 2_600 * t[4_100:4_400])).astype(np.float32)
    plane = Plane(wave, rate_hz=RATE_HZ)
    band, place = np.unravel_index(plane.energies.argmax(), plane.shape)
    assert plane.band_edges_hz[band] <= 2_600 < plane.band_edges_hz[band + 1]
    assert plane.time_edges_s[place] <= 4_250 / RATE_HZ < plane.time_edges_s[place + 1]


def test_bands_reach_from_zero_to_half_the_rate():
    edges = band_edges_hz(8, 44_100)
    assert edges[0] == 0
    assert edges[-1] == 22_050
    assert (np.diff(edges) > 0).all()
