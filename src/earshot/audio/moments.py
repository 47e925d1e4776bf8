"""A clip as one row of numbers: how its spectrum and its cepstrum lie, vary and hang together over time.

Conventions: levels are dB; a cepstrum is that of `mfcc` without coefficient 0, the mean level, so that gain changes
nothing above the floor. Louder frames are those with a mean level from the quantile `quietest_share` on; levels of
bands are relative to the mean level of those.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from earshot.audio.log_mel import LogMel, LogMelConfig
from earshot.audio.mfcc import cosine_transform

_LOUD_SHARE = 0.9
_LEAST_DEVIATION_DB = 0.5  # a smaller one is that of a hum or of rounding


class MomentsConfig(BaseModel):
    """Levels of bands, and means, deviations and correlations of cepstral coefficients: made for voices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: ClassVar[int] = 1
    kind: Literal["moments"] = Field("moments", description="moments of the spectrum and the cepstrum")
    mel: LogMelConfig = LogMelConfig(n_fft=1024, hop_length=256, n_mels=64, f_min_hz=50.0)
    n_coefficients: int = Field(20, ge=2, le=256, description="coefficients, without the mean level")
    quietest_share: float = Field(0.5, ge=0, lt=1, description="share of the frames that is left out")

    @model_validator(mode="after")
    def _fewer_than_bands(self) -> Self:
        if self.n_coefficients >= self.mel.n_mels:
            raise ValueError(f"n_coefficients below n_mels, {self.mel.n_mels}")
        return self

    def output_shape(self, n_samples: int, *, rate_hz: int) -> tuple[int, ...]:
        """Shape of a window: (D,), whatever its length."""
        n = self.n_coefficients
        return (3 * self.mel.n_mels + 2 * n + n * (n - 1) // 2,)


class Moments(nn.Module):
    """First of each band: the mean over the louder frames, the deviation and the 90 % quantile over all of them.

    Then of each coefficient the mean and the logarithm of the deviation, and of each pair the correlation, all over
    the louder frames. Correlations say which movements go together; noise changes them less than means.

    Shape: waveforms [B, T] -> [B, D], D = 3 n_mels + 2 n + n (n - 1) / 2 for n coefficients.
    """

    cosines: Tensor

    def __init__(self, config: MomentsConfig, rate_hz: int) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config.mel, rate_hz)
        rows = cosine_transform(config.n_coefficients + 1, config.mel.n_mels)[1:]
        self.register_buffer("cosines", rows, persistent=False)
        self._pairs = torch.triu_indices(config.n_coefficients, config.n_coefficients, offset=1)

    def forward(self, waveforms: Tensor) -> Tensor:
        levels: Tensor = self.mel(waveforms)
        loudness = levels.mean(dim=1)
        heard = (loudness >= _quantile(loudness, self.config.quietest_share)[:, None]).to(levels)[:, None]
        bands = _mean(levels, heard)
        overall = bands.mean(dim=1, keepdim=True)
        spread = (levels.std(dim=2, correction=0), _quantile(levels, _LOUD_SHARE) - overall)
        return torch.cat([bands - overall, *spread, self._of_cepstra(levels, heard)], dim=1)

    def _of_cepstra(self, levels: Tensor, heard: Tensor) -> Tensor:
        """Shape: levels [B, M, F], heard [B, 1, F] of 0 and 1 -> [B, 2 n + n (n - 1) / 2]."""
        cepstra = self.cosines @ levels
        means = _mean(cepstra, heard)
        centred = (cepstra - means[:, :, None]) * heard
        covariances = centred @ centred.transpose(1, 2) / heard.sum(dim=2)[:, :, None]
        deviations = covariances.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt().clamp(min=_LEAST_DEVIATION_DB)
        correlations = covariances / (deviations[:, :, None] * deviations[:, None, :])
        return torch.cat([means, deviations.log(), correlations[:, self._pairs[0], self._pairs[1]]], dim=1)


def _mean(values: Tensor, heard: Tensor) -> Tensor:
    """Over the frames that are heard. Shape: [B, M, F], [B, 1, F] -> [B, M]."""
    return (values * heard).sum(dim=2) / heard.sum(dim=2)


def _quantile(values: Tensor, share: float) -> Tensor:
    """Over frames; `torch.quantile` refuses large batches. Shape: [..., F] -> [...]."""
    ordered = values.sort(dim=-1).values
    n_last = values.shape[-1] - 1
    below = int(share * n_last)
    return torch.lerp(ordered[..., below], ordered[..., min(below + 1, n_last)], share * n_last - below)
