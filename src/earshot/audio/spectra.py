"""Power spectra and linear spectrograms, and the one short-time transform that the simple views share.

Conventions: waveforms are float32 [B, T] in [-1, 1]; a frame is centred on a multiple of the hop, so that there are
1 + T // hop_length of them; the window is a periodic Hann window. All of it is in float32: levels 80 dB below the
loudest come out within 0.02 dB of a transform in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from earshot.audio.threads import over_rows

Padding = Literal["zero", "reflect"]
# Frames that overlap more than this hold nothing new, and a hop of 1 would ask for gigabytes.
_MOST_OVERLAP = 64
_SAMPLES_PER_CHUNK = 256 * 1024


class FramesConfig(BaseModel):
    """How a waveform is cut into frames. Lengths in samples, defaults as in librosa."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_fft: int = Field(2048, ge=16, le=65_536, description="samples in a frame")
    hop_length: int = Field(512, ge=1, description="samples from frame to frame")
    padding: Padding = Field("zero", description="what stands before the first sample and after the last one")

    @model_validator(mode="after")
    def _overlap_is_bounded(self) -> Self:
        if self.hop_length * _MOST_OVERLAP < self.n_fft:
            raise ValueError(f"hop_length of at least n_fft / {_MOST_OVERLAP}")
        return self

    def n_frames(self, n_samples: int) -> int:
        """Frames of a waveform."""
        return 1 + n_samples // self.hop_length


class SpectrogramConfig(FramesConfig):
    """Linear spectrogram: |STFT|^2 as librosa has it, or in dB."""

    rank: ClassVar[int] = 2
    kind: Literal["spectrogram"] = Field("spectrogram", description="a linear spectrogram")
    scale: Literal["db", "power"] = Field("db", description="decibels, or power as it is")
    floor_db: float = Field(-100.0, ge=-300, le=0, description="lower levels count as this one")

    def output_shape(self, n_samples: int, *, rate_hz: int) -> tuple[int, ...]:
        """Shape of a window of `n_samples`: (bins, frames)."""
        return self.n_fft // 2 + 1, self.n_frames(n_samples)


class PowerSpectrumConfig(BaseModel):
    """Power spectrum of one slice of a clip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: ClassVar[int] = 1
    kind: Literal["power_spectrum"] = Field(
        "power_spectrum", description="the power spectrum of a short slice"
    )
    start_s: float = Field(
        0.0, ge=0, le=86_400, description="where the slice starts; earlier in a short clip"
    )
    n_fft: int = Field(4096, ge=16, le=65_536, description="samples in the slice")
    scale: Literal["db", "power"] = Field("db", description="decibels, or power as it is")
    floor_db: float = Field(-120.0, ge=-300, le=0, description="lower levels count as this one")

    def output_shape(self, n_samples: int, *, rate_hz: int) -> tuple[int, ...]:
        """Shape of a window: (bins,), whatever its length."""
        return (self.n_fft // 2 + 1,)


def by_rows(view: Callable[[Tensor], Tensor], waveforms: Tensor) -> Tensor:
    """A view of a batch: on a CPU one clip a task of a small thread pool, elsewhere all at once.

    Args:
        view: maps waveforms [b, T] to [b, ...], each clip for itself.
    """
    if waveforms.device.type != "cpu" or waveforms.requires_grad or len(waveforms) < 2:
        return view(waveforms)
    rows = [waveforms] * len(waveforms)

    def one(i: int) -> None:
        rows[i] = view(waveforms[i : i + 1])

    def gather(i: int) -> None:
        batch[i] = rows[i][0]

    over_rows(one, len(rows))
    batch = rows[0].new_empty(len(rows), *rows[0].shape[1:])
    # On the same threads: torch.cat would wake torch's own, which wait for each other on a busy machine.
    over_rows(gather, len(rows))
    return batch


def power_of(frames: Tensor, window: Tensor) -> Tensor:
    """|FFT|^2 of windowed frames. Shape: [..., n_fft] -> [..., n_fft // 2 + 1]."""
    squares = torch.view_as_real(torch.fft.rfft(frames * window)).square()
    return squares[..., 0] + squares[..., 1]


def power_frames(waveforms: Tensor, window: Tensor, *, config: FramesConfig) -> Tensor:
    """Power of the short-time spectra of a batch. Shape: [B, T] -> [B, 1 + T // hop_length, n_fft // 2 + 1]."""
    half = config.n_fft // 2
    padded = _padded(waveforms, half, half + config.n_fft % 2, padding=config.padding)
    frames = padded.unfold(-1, config.n_fft, config.hop_length)
    chunks = torch.split(frames, frames_per_chunk(config.n_fft), dim=1)
    return torch.cat([power_of(chunk, window) for chunk in chunks], dim=1)


def frames_per_chunk(n_fft: int) -> int:
    """Frames of a clip to transform at once, so that what is read and written stays in a core's cache.

    All frames at once took four times as long for 5 s at 44.1 kHz: fresh memory costs more than the arithmetic.
    """
    return max(1, _SAMPLES_PER_CHUNK // n_fft)


def power_to_db(power: Tensor, *, floor_db: float) -> Tensor:
    """10 log10 of power, no lower than a floor.

    >>> power_to_db(torch.tensor([0.01, 0.0]), floor_db=-100.0).tolist()
    [-20.0, -100.0]
    """
    return power.clamp(min=10.0 ** (floor_db / 10.0)).log10().mul_(10.0)


def _padded(waveforms: Tensor, n_before: int, n_after: int, *, padding: Padding) -> Tensor:
    """Waveforms with zeros or their own reflection around them; also where that is longer than they are."""
    if padding == "zero":
        return nn.functional.pad(waveforms, (n_before, n_after))
    last = waveforms.shape[-1] - 1
    places = torch.arange(-n_before, last + 1 + n_after, device=waveforms.device)
    folded = places.abs() % max(1, 2 * last)
    return waveforms[:, torch.where(folded > last, 2 * last - folded, folded)]


class Spectrogram(nn.Module):
    """Linear spectrogram of a batch.

    Units: |X|^2 of the windowed frame, not divided by its length (as in librosa), or dB of it.

    Shape: waveforms [B, T] -> [B, n_fft // 2 + 1, 1 + T // hop_length], lowest frequency first.
    """

    window: Tensor

    def __init__(self, config: SpectrogramConfig, rate_hz: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        return by_rows(self._levels, waveforms)

    def _levels(self, waveforms: Tensor) -> Tensor:
        power = power_frames(waveforms, self.window, config=self.config)
        if self.config.scale == "db":
            power = power_to_db(power, floor_db=self.config.floor_db)
        return power.transpose(1, 2)


class PowerSpectrum(nn.Module):
    """Power spectrum of a slice of each clip.

    The slice starts at `start_s`, or earlier where the clip would end within it; a clip shorter than the slice
    is followed by zeros.

    Units: a full-scale sine on a bin has power 1, 0 dB.

    Shape: waveforms [B, T] -> [B, n_fft // 2 + 1], lowest frequency first.
    """

    window: Tensor

    def __init__(self, config: PowerSpectrumConfig, rate_hz: int) -> None:
        super().__init__()
        self.config = config
        self._start = round(config.start_s * rate_hz)
        self.register_buffer("window", full_scale_window(config.n_fft), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        n_fft, n_samples = self.config.n_fft, waveforms.shape[-1]
        start = max(0, min(self._start, n_samples - n_fft))
        piece = waveforms[:, start : start + n_fft]
        power = power_of(nn.functional.pad(piece, (0, n_fft - piece.shape[-1])), self.window)
        return power if self.config.scale == "power" else power_to_db(power, floor_db=self.config.floor_db)


def full_scale_window(n_fft: int) -> Tensor:
    """A Hann window with which a full-scale sine on a bin has power 1.

    >>> sine = torch.sin(2 * torch.pi * 8 * torch.arange(64) / 64)
    >>> round(float(power_of(sine, full_scale_window(64)).max()), 5)
    1.0
    """
    window = torch.hann_window(n_fft, dtype=torch.float64)
    return (2.0 * window / window.sum()).float()
