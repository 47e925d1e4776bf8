from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from earshot.audio.log_mel import LogMelConfig, log_mel
from earshot.audio.mfcc import Mfcc, MfccConfig
from earshot.audio.moments import Moments, MomentsConfig

RATE_HZ = 16_000
SMALL = MomentsConfig(mel=LogMelConfig(n_fft=512, hop_length=256, n_mels=20), n_coefficients=5)


def sounds(n: int = 3, *, seconds: float = 0.5) -> torch.Tensor:
    rng = np.random.default_rng(0)
    envelope = np.abs(np.sin(np.linspace(0, 9, round(seconds * RATE_HZ)))) + 0.05
    return torch.from_numpy((0.1 * envelope * rng.standard_normal((n, len(envelope)))).astype(np.float32))


def test_they_are_the_moments_that_numpy_finds():
    waveforms = sounds()
    made = Moments(SMALL, RATE_HZ)(waveforms).numpy()
    levels = log_mel(waveforms, RATE_HZ, config=SMALL.mel).numpy()
    cepstra = Mfcc(MfccConfig(mel=SMALL.mel, n_mfcc=6), RATE_HZ)(waveforms).numpy()[:, 1:]
    for row, level, cepstrum in zip(made, levels, cepstra, strict=True):
        loudness = level.mean(axis=0)
        louder = loudness >= np.quantile(loudness, 0.5)
        own = level[:, louder].mean()
        bands = [
            level[:, louder].mean(axis=1) - own,
            level.std(axis=1),
            np.quantile(level, 0.9, axis=1) - own,
        ]
        heard = cepstrum[:, louder]
        pairs = np.corrcoef(heard)[np.triu_indices(5, 1)]
        expected = np.concatenate([*bands, heard.mean(axis=1), np.log(heard.std(axis=1)), pairs])
        np.testing.assert_allclose(row, expected, atol=1e-3)


def test_gain_changes_nothing():
    moments, waveforms = Moments(SMALL, RATE_HZ), sounds()
    torch.testing.assert_close(moments(0.1 * waveforms), moments(waveforms), atol=1e-3, rtol=0)


@pytest.mark.parametrize("seconds", [0.01, 0.2, 3.0])
def test_the_shape_is_as_said_whatever_the_length(seconds):
    waveforms = sounds(2, seconds=seconds)
    made = Moments(SMALL, RATE_HZ)(waveforms)
    assert made.shape[1:] == SMALL.output_shape(waveforms.shape[1], rate_hz=RATE_HZ) == (80,)
    assert torch.isfinite(made).all()


def test_silence_has_no_deviation_and_no_correlation():
    made = Moments(SMALL, RATE_HZ)(torch.zeros(1, RATE_HZ))[0]
    torch.testing.assert_close(made[:65], torch.zeros(65), atol=1e-3, rtol=0)
    torch.testing.assert_close(made[70:], torch.zeros(10), atol=1e-3, rtol=0)


@pytest.mark.parametrize("values", [{"n_coefficients": 64}, {"quietest_share": 1.0}, {"x": 1}])
def test_values_out_of_bounds_are_refused(values):
    with pytest.raises(ValidationError):
        MomentsConfig(**values)
