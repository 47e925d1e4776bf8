"""A voice as one row of numbers: moments of its cepstrum and its pitch profile, side by side."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from earshot.audio.moments import Moments, MomentsConfig
from earshot.audio.pitch import PitchConfig, PitchProfile


class VoiceConfig(BaseModel):
    """What tells speakers apart: the resonances of the vocal tract, and the pitch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: ClassVar[int] = 1
    kind: Literal["voice"] = Field("voice", description="moments of the cepstrum, and the pitch profile")
    moments: MomentsConfig = MomentsConfig()
    pitch: PitchConfig = PitchConfig()

    def output_shape(self, n_samples: int, *, rate_hz: int) -> tuple[int, ...]:
        """Shape of a window: (D,), whatever its length."""
        each = (self.moments, self.pitch)
        return (sum(config.output_shape(n_samples, rate_hz=rate_hz)[0] for config in each),)


class Voice(nn.Module):
    """Shape: waveforms [B, T] -> [B, D], the moments first."""

    def __init__(self, config: VoiceConfig, rate_hz: int) -> None:
        super().__init__()
        self.moments = Moments(config.moments, rate_hz)
        self.pitch = PitchProfile(config.pitch, rate_hz)

    def forward(self, waveforms: Tensor) -> Tensor:
        return torch.cat([self.moments(waveforms), self.pitch(waveforms)], dim=1)
