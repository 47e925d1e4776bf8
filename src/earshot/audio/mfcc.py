"""Mel-frequency cepstral coefficients: the shape of a log-mel spectrum in a few numbers a frame."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from earshot.audio.log_mel import LogMel, LogMelConfig


class MfccConfig(BaseModel):
    """Mel-frequency cepstral coefficients. `range_db = 80` gives librosa's defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: ClassVar[int] = 2
    kind: Literal["mfcc"] = Field("mfcc", description="mel-frequency cepstral coefficients over time")
    mel: LogMelConfig = LogMelConfig()
    n_mfcc: int = Field(20, ge=1, le=1024, description="coefficients, from the mean level upwards")
    range_db: float | None = Field(
        None,
        gt=0,
        description="levels further below the clip's maximum count as that; left out: only the floor",
    )

    @model_validator(mode="after")
    def _no_more_than_bands(self) -> Self:
        if self.n_mfcc > self.mel.n_mels:
            raise ValueError(f"n_mfcc of at most n_mels, {self.mel.n_mels}")
        return self

    def output_shape(self, n_samples: int, *, rate_hz: int) -> tuple[int, ...]:
        """Shape of a window of `n_samples`: (coefficients, frames)."""
        return self.n_mfcc, 1 + n_samples // self.mel.hop_length


class Mfcc(nn.Module):
    """Cepstral coefficients of a batch: an orthonormal cosine transform of log-mel levels.

    librosa's `mfcc` cuts levels 80 dB below the clip's maximum, this one by default does not: a clip's loudest
    moment would change all others.

    Units: dB. Coefficient 0 is the mean level times the root of n_mels.

    Shape: waveforms [B, T] -> [B, n_mfcc, 1 + T // hop_length].
    """

    cosines: Tensor

    def __init__(self, config: MfccConfig, rate_hz: int) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config.mel, rate_hz)
        self.register_buffer("cosines", cosine_transform(config.n_mfcc, config.mel.n_mels), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        levels: Tensor = self.mel(waveforms)
        if self.config.range_db is not None:
            levels = levels.maximum(levels.amax(dim=(1, 2), keepdim=True) - self.config.range_db)
        return self.cosines @ levels


def cosine_transform(n_out: int, n_in: int) -> Tensor:
    """The first rows of the orthonormal discrete cosine transform (type II). Shape: [n_out, n_in].

    >>> cosine_transform(2, 2).mul(2**0.5).round(decimals=4).tolist()
    [[1.0, 1.0], [1.0, -1.0]]
    """
    order = torch.arange(n_out, dtype=torch.float64)[:, None]
    place = torch.arange(n_in, dtype=torch.float64) + 0.5
    rows = torch.cos(torch.pi / n_in * order * place) * math.sqrt(2.0 / n_in)
    rows[0] /= math.sqrt(2.0)
    return rows.float()
