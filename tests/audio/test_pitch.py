from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from earshot.audio.pitch import PitchConfig, PitchProfile

RATE_HZ = 16_000
CONFIG = PitchConfig()
PITCHES_HZ = 60 * 2 ** (np.arange(CONFIG.n_pitches) / 24)


def pulses(pitch_hz: float, *, seconds: float = 0.5) -> np.ndarray:
    """All harmonics of a pitch below 4 kHz, equally strong."""
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    harmonics = np.arange(1, int(4000 / pitch_hz) + 1)
    return (0.02 * np.cos(2 * np.pi * pitch_hz * harmonics[:, None] * times).sum(axis=0)).astype(np.float32)


def profile(*sounds: np.ndarray) -> np.ndarray:
    return PitchProfile(CONFIG, RATE_HZ)(torch.from_numpy(np.stack(sounds))).numpy()


@pytest.mark.parametrize("pitch_hz", [100.0, 150.0, 240.0, 400.0])
def test_a_periodic_sound_repeats_at_its_pitch_and_at_whole_parts_of_it(pitch_hz):
    (made,) = profile(pulses(pitch_hz))
    at = np.abs(np.log2(PITCHES_HZ / pitch_hz)).argmin()
    assert made[at] > 0.9
    assert made[np.abs(np.log2(PITCHES_HZ / pitch_hz * 1.41)).argmin()] < 0.5
    assert made[at + 2 :].max() < made[at]


def test_white_noise_as_strong_as_the_voice_leaves_the_pitch_where_it_is():
    voice = pulses(180.0)
    noise = np.random.default_rng(0).standard_normal(len(voice)).astype(np.float32)
    noise *= np.sqrt(np.mean(voice**2) / np.mean(noise**2))
    clean, noisy = profile(voice, voice + noise)
    peak = np.abs(np.log2(PITCHES_HZ / 180)).argmin()
    assert noisy[peak] > 0.6 * clean[peak] > 0.5
    assert noisy[peak] > noisy[np.abs(PITCHES_HZ - 250).argmin()] + 0.3


def test_gain_and_sign_change_nothing():
    voice = pulses(120.0)
    plain, other = profile(voice, -0.05 * voice)
    np.testing.assert_allclose(other, plain, atol=1e-3)


def test_a_row_does_not_depend_on_its_neighbours():
    both = profile(pulses(120.0), pulses(220.0))
    np.testing.assert_allclose(both[1], profile(pulses(220.0))[0], atol=1e-6)


@pytest.mark.parametrize("n_samples", [1, 500, 1024, 40_000])
def test_the_shape_is_as_said_and_silence_is_no_fault(n_samples):
    made = PitchProfile(CONFIG, RATE_HZ)(torch.zeros(2, n_samples))
    assert made.shape[1:] == CONFIG.output_shape(n_samples, rate_hz=RATE_HZ) == (77,)
    assert torch.equal(made, torch.zeros_like(made))


@pytest.mark.parametrize("values", [{"frame_s": 0.02}, {"low_hz": 10}, {"least_voicing": 1}, {"x": 1}])
def test_values_out_of_bounds_are_refused(values):
    with pytest.raises(ValidationError):
        PitchConfig(**values)
