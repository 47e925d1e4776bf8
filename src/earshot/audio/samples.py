"""Views that are samples: the waveform itself, and a thinned one as a short row of numbers."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

# Half the filter's length in samples of the thinned signal, and its edge as a share of the new Nyquist frequency:
# with a Hamming window of that length it falls within a fifth of it, so that the stop band starts at the Nyquist.
_HALF_LENGTH = 16
_EDGE = 0.9
# Standardising lifts nothing that is fainter than this: -80 dB.
_FAINTEST = 1e-4


class DecimatedConfig(BaseModel):
    """Every n-th sample of the start of a clip, in [0, 1]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: ClassVar[int] = 1
    kind: Literal["decimated"] = Field("decimated", description="every 100th sample of the first two seconds")
    seconds: float = Field(2.0, gt=0, le=3_600, description="how much of the start is seen")
    factor: int = Field(100, ge=1, le=10_000, description="one sample of so many is kept")
    anti_alias: bool = Field(
        True, description="filter out what the lower rate cannot hold; false: as the textbook has it"
    )

    def n_used(self, n_samples: int, *, rate_hz: int) -> int:
        """Samples that are looked at: fewer than `seconds` where the clip is shorter."""
        return min(n_samples, max(1, round(self.seconds * rate_hz)))

    def output_shape(self, n_samples: int, *, rate_hz: int) -> tuple[int, ...]:
        """Shape of a window of `n_samples`: (values,).

        >>> DecimatedConfig().output_shape(5 * 44_100, rate_hz=44_100)
        (882,)
        """
        return (math.ceil(self.n_used(n_samples, rate_hz=rate_hz) / self.factor),)


class WaveformConfig(BaseModel):
    """The waveform as it is, or standardised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: ClassVar[int] = 1
    kind: Literal["waveform"] = Field("waveform", description="the samples themselves")
    scale: Literal["none", "clip"] = Field(
        "none", description="clip: each clip's own mean is taken away and its deviation made 1"
    )

    def output_shape(self, n_samples: int, *, rate_hz: int) -> tuple[int, ...]:
        """Shape of a window of `n_samples`: (samples,)."""
        return (n_samples,)


class Decimated(nn.Module):
    """Every `factor`-th sample of the first `seconds` of a clip, from the first one on.

    Without `anti_alias` it is the published view: tones above half the new rate fold down to others. With it, a
    linear-phase low-pass filter without delay comes first, 50 dB down there; outside of the clip it sees zeros.

    Units: (x + 1) / 2, in [0, 1]; silence is 0.5. For 16 bit samples that is (sample + 32768) / 65536.

    Shape: waveforms [B, T] -> [B, ceil(min(T, seconds * rate_hz) / factor)].
    """

    taps: Tensor

    def __init__(self, config: DecimatedConfig, rate_hz: int) -> None:
        super().__init__()
        self.config, self.rate_hz = config, rate_hz
        self.register_buffer("taps", low_pass_taps(config.factor), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        n_samples, factor = waveforms.shape[-1], self.config.factor
        n_used = self.config.n_used(n_samples, rate_hz=self.rate_hz)
        if self.config.anti_alias and factor > 1:
            kept = self._filtered(waveforms, n_kept=math.ceil(n_used / factor))
        else:
            kept = waveforms[:, :n_used:factor]
        return ((kept + 1.0) / 2.0).clamp(0.0, 1.0)

    def _filtered(self, waveforms: Tensor, *, n_kept: int) -> Tensor:
        """Samples 0, factor, 2 factor, ... of the filtered waveforms: [B, T] -> [B, n_kept].

        Output i is the sum over k of block i + k times the k-th block of taps: one matrix product of all blocks
        with all blocks of taps, then a sum along its diagonals, is faster than a convolution.
        """
        factor = self.config.factor
        before, n_blocks = _HALF_LENGTH * factor, n_kept + 2 * _HALF_LENGTH
        after = n_blocks * factor - before - waveforms.shape[-1]
        blocks = nn.functional.pad(waveforms, (before, after)).view(len(waveforms), n_blocks, factor)
        products = blocks @ self.taps.view(-1, factor).T
        diagonals = products.unfold(1, products.shape[-1], 1).diagonal(dim1=2, dim2=3)
        return diagonals.sum(dim=-1)


def low_pass_taps(factor: int) -> Tensor:
    """A windowed-sinc low-pass filter for keeping one sample of `factor`, with gain 1 at 0 Hz.

    Shape: [(2 * 16 + 1) * factor], of which the last factor - 1 are zeros.
    """
    half = _HALF_LENGTH * factor
    place = torch.arange(-half, half + 1, dtype=torch.float64)
    window = 0.54 + 0.46 * torch.cos(torch.pi * place / half)
    taps = torch.sinc(place * _EDGE / factor) * window
    return nn.functional.pad(taps / taps.sum(), (0, factor - 1)).float()


class Waveform(nn.Module):
    """The waveform, for networks that work on samples.

    Units: as given, or deviations of the clip's own samples; what is fainter than -80 dB stays faint.

    Shape: waveforms [B, T] -> [B, T].
    """

    def __init__(self, config: WaveformConfig, rate_hz: int) -> None:
        super().__init__()
        self.config = config

    def forward(self, waveforms: Tensor) -> Tensor:
        if self.config.scale == "none":
            return waveforms.clone()
        centred = waveforms - waveforms.mean(dim=1, keepdim=True)
        deviation = centred.square().mean(dim=1, keepdim=True).sqrt()
        return centred / deviation.clamp(min=_FAINTEST)
