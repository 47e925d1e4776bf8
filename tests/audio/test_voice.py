from __future__ import annotations

import torch

from earshot.audio.moments import Moments
from earshot.audio.pitch import PitchProfile
from earshot.audio.voice import Voice, VoiceConfig


def test_a_voice_is_its_moments_and_its_pitch_side_by_side():
    config, waveforms = VoiceConfig(), 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    made = Voice(config, 16_000)(waveforms)
    assert made.shape[1:] == config.output_shape(8000, rate_hz=16_000) == (422 + 77,)
    torch.testing.assert_close(made[:, :422], Moments(config.moments, 16_000)(waveforms))
    torch.testing.assert_close(made[:, 422:], PitchProfile(config.pitch, 16_000)(waveforms))
