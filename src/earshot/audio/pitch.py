"""How much of a voice repeats at each pitch: the autocorrelation of its low frequencies, over the voiced frames.

Conventions: a profile is [B, P] over pitches in Hz, evenly spaced in octaves; 1 is a frame that repeats exactly.
Below 900 Hz lie the strongest harmonics of a voice, and little of the power of a white noise.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from earshot.audio.spectra import by_rows

_HIGHEST_HZ = 900.0
_LOWEST_HZ = 50.0
_STEEPNESS = 8
_LEAST_POWER = 1e-12


class PitchConfig(BaseModel):
    """The pitch profile of a voice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: ClassVar[int] = 1
    kind: Literal["pitch"] = Field("pitch", description="how much of a voice repeats at each pitch")
    frame_s: float = Field(0.064, gt=0.01, le=1, description="length of a frame")
    hop_s: float = Field(0.016, gt=0.001, le=1, description="from frame to frame")
    low_hz: float = Field(60.0, ge=40, description="lowest pitch")
    octaves: float = Field(3.2, gt=0, le=5, description="range of pitches above it")
    per_octave: int = Field(24, ge=1, le=96, description="pitches an octave")
    least_voicing: float = Field(0.45, ge=0, lt=1, description="frames that repeat less count for nothing")

    @model_validator(mode="after")
    def _frames_hold_two_periods(self) -> Self:
        if self.frame_s * self.low_hz < 2:
            raise ValueError("a frame_s that holds two periods of low_hz")
        return self

    @property
    def n_pitches(self) -> int:
        return math.ceil(self.octaves * self.per_octave)

    def output_shape(self, n_samples: int, *, rate_hz: int) -> tuple[int, ...]:
        """Shape of a window: (P,), whatever its length."""
        return (self.n_pitches,)


class PitchProfile(nn.Module):
    """The normalised autocorrelation at each pitch, averaged over frames by their power and voicing.

    A window without a voiced frame has the average of all frames.

    Shape: waveforms [B, T] -> [B, P].
    Source: the autocorrelation divided by that of the window is Boersma's (1993).
    """

    window: Tensor
    passes: Tensor
    window_lags: Tensor
    lags: Tensor

    def __init__(self, config: PitchConfig, rate_hz: int) -> None:
        super().__init__()
        self.config = config
        self.n_frame = round(config.frame_s * rate_hz)
        self.n_hop = max(1, round(config.hop_s * rate_hz))
        self.n_fft = 2 ** math.ceil(math.log2(2 * self.n_frame))
        pitches_hz = config.low_hz * 2.0 ** (
            torch.arange(config.n_pitches, dtype=torch.float64) / config.per_octave
        )
        window = torch.hann_window(self.n_frame, dtype=torch.float64)
        repeats = torch.fft.irfft(torch.fft.rfft(window, self.n_fft).abs().square())
        frequencies_hz = torch.fft.rfftfreq(self.n_fft, 1 / rate_hz, dtype=torch.float64)
        passes = 1 / (1 + (frequencies_hz / _HIGHEST_HZ) ** _STEEPNESS) * (frequencies_hz > _LOWEST_HZ)
        n_lags = math.ceil(rate_hz / config.low_hz) + 2
        for name, values in {
            "window": window,
            "passes": passes,
            "window_lags": repeats[:n_lags] / repeats[0],
            "lags": rate_hz / pitches_hz,
        }.items():
            self.register_buffer(name, values.float(), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        return by_rows(self._profiles, waveforms)

    def _profiles(self, waveforms: Tensor) -> Tensor:
        n_missing = max(0, self.n_frame - waveforms.shape[-1])
        frames = nn.functional.pad(waveforms, (0, n_missing)).unfold(-1, self.n_frame, self.n_hop)
        spectra = torch.fft.rfft(frames * self.window, self.n_fft).abs().square() * self.passes
        repeats = torch.fft.irfft(spectra)[..., : len(self.window_lags)]
        power = repeats[..., 0].clamp(min=_LEAST_POWER)
        repeats = repeats / power[..., None] / self.window_lags
        below = self.lags.long()
        profiles = torch.lerp(repeats[..., below], repeats[..., below + 1], self.lags - below)
        voicing = profiles.amax(dim=-1).clamp(0, 1)
        weights = power * voicing * (voicing > self.config.least_voicing)
        silent = weights.sum(dim=1, keepdim=True) <= _LEAST_POWER
        weights = torch.where(silent, torch.ones_like(weights), weights)
        shares = weights / weights.sum(dim=1, keepdim=True)
        return (profiles * shares[..., None]).sum(dim=1)
