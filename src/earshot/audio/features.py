"""FEATURES: the name of a view in a recipe -> the front end that training, prediction, serving and export share.

Conventions
-----------
- A batch of waveforms is float32 [B, T] in [-1, 1] at `rate_hz`.
- A front end is a `torch.nn.Module` without trained parameters, built by `FEATURES[config.kind](config, rate_hz)`;
  [B, T] -> [B, *shape] with shape = `config.output_shape(T, rate_hz=rate_hz)`.
- Rank 1 is a row of numbers or a waveform [B, D], rank 2 a time-frequency picture [B, bands, frames], rank 3 a
  colour picture [B, channels, height, width].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from earshot.audio.log_mel import LogMel, LogMelConfig
from earshot.audio.mel import Mel, MelConfig
from earshot.audio.mfcc import Mfcc, MfccConfig
from earshot.audio.picture import Picture, PictureConfig
from earshot.audio.samples import Decimated, DecimatedConfig, Waveform, WaveformConfig
from earshot.audio.spectra import PowerSpectrum, PowerSpectrumConfig, Spectrogram, SpectrogramConfig
from earshot.audio.statistics import FeatureStatistics, StatisticsConfig
from earshot.audio.voice import Voice, VoiceConfig

FeatureConfig = Annotated[
    LogMelConfig
    | StatisticsConfig
    | VoiceConfig
    | MelConfig
    | MfccConfig
    | SpectrogramConfig
    | PowerSpectrumConfig
    | PictureConfig
    | DecimatedConfig
    | WaveformConfig,
    Field(discriminator="kind"),
]

FEATURES: dict[str, Callable[[Any, int], nn.Module]] = {
    "log_mel": LogMel,
    "statistics": FeatureStatistics,
    "voice": Voice,
    "mel": Mel,
    "mfcc": Mfcc,
    "spectrogram": Spectrogram,
    "power_spectrum": PowerSpectrum,
    "picture": Picture,
    "decimated": Decimated,
    "waveform": Waveform,
}
