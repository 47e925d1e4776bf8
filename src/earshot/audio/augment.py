"""Augmentation on the fly: what a recipe changes of windows and spectrograms in training, and in which order.

Conventions
-----------
- Waveforms are float32 [B, T]; spectrograms are [B, M, F] (bands, frames), in dB.
- Every row is changed by its own random amount, drawn from `rng` (a CPU `torch.Generator`); results are new
  tensors on the device of the input. The same generator state gives the same result on any number of threads.
- Targets are float32 [B, K]; mixing makes them soft.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor

from earshot.audio.spectrogram_changes import mask_bands, random_resize, translate_in_time
from earshot.audio.transforms import StepConfig, apply_steps
from earshot.audio.waveform_changes import (
    add_background,
    add_noise_,
    blend,
    change_speed,
    draw_mixing,
    rms,
    uniform,
)

Holds = Literal["levels", "power", "cepstra", "other"]


class AugmentConfig(BaseModel):
    """Ranges of the random changes; 0 switches one off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(True, description="false: training sees the windows as they are")
    steps: tuple[StepConfig, ...] = Field(
        (), description="steps that come after the background and before all else, in order"
    )
    last_steps: tuple[StepConfig, ...] = Field(
        (),
        description="steps that come after mixing and noise, in order: what a recorder does to all it hears",
    )
    clean_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the windows that background, steps and last steps skip (not mixing)",
    )
    background_probability: float = Field(
        0.0, ge=0, le=1, description="add another clip of the batch as background; the label stays"
    )
    background_snr_db: tuple[float, float] = Field(
        (0.0, 30.0), description="how far below the clip the background lies, dB"
    )
    shift: bool = True
    gain_db: float = Field(6.0, ge=0)
    polarity: bool = True
    noise_probability: float = Field(0.3, ge=0, le=1)
    noise_snr_db: tuple[float, float] = (20.0, 40.0)
    speed_octaves: float = Field(0.0, ge=0, le=2)
    mix_probability: float = Field(0.8, ge=0, le=1)
    time_resize: float = Field(0.25, ge=0, lt=1)
    frequency_resize: float = Field(0.1, ge=0, lt=1)
    n_time_masks: int = Field(2, ge=0)
    max_time_mask: float = Field(0.1, ge=0, le=1)
    n_frequency_masks: int = Field(2, ge=0)
    max_frequency_mask: float = Field(0.12, ge=0, le=1)
    time_translate: float = Field(
        0.0, ge=0, le=1, description="move a spectrogram in time by up to this share of its width, either way"
    )
    translate_fill_db: float = Field(-80.0, description="level of the frames that are vacated then")
    n_copies: int = Field(
        0,
        ge=0,
        le=50,
        description="classical models: changed copies of each training clip that they learn from as well",
    )

    def for_copies(self) -> AugmentConfig:
        """What of it changes the copies for a classical model: waveforms, one at a time; labels stay hard."""
        # The clips themselves are learned from as well: no copy need stay clean.
        return self.for_view("other").model_copy(update={"mix_probability": 0.0, "clean_share": 0.0})

    def for_view(self, holds: Holds) -> AugmentConfig:
        """What of it means something for a view that holds levels (dB), power, cepstra or something else.

        Neighbouring cepstral coefficients are no neighbours in frequency, and no level fills them.
        """
        return self.model_copy(update=_SWITCHED_OFF[holds])


_NO_LEVELS = {"frequency_resize": 0.0, "time_translate": 0.0, "n_time_masks": 0, "n_frequency_masks": 0}
_SWITCHED_OFF: dict[Holds, dict[str, float]] = {
    "levels": {},
    "power": {"translate_fill_db": 0.0},  # no decibels there: nothing is heard where nothing is
    "cepstra": _NO_LEVELS,
    "other": _NO_LEVELS | {"time_resize": 0.0},
}


def augment_waveforms(
    waveforms: Tensor, targets: Tensor, config: AugmentConfig, *, rng: Generator, rate_hz: int | None = None
) -> tuple[Tensor, Tensor]:
    """The waveform half of the recipe, in this order.

    Background, steps, speed, circular shift, polarity, mixing, gain, noise, last steps.

    Args:
        rate_hz: of the waveforms; only steps need it.

    Shape: [B, T], [B, K] -> [B, T], [B, K].

    Raises:
        ValueError: there are steps and no `rate_hz`.
    """
    if not config.enabled:
        return waveforms, targets
    if rate_hz is None and (config.steps or config.last_steps):
        raise ValueError("rate_hz is None; expected the sample rate, which steps in seconds need")
    spoiled = torch.arange(len(waveforms))
    if config.clean_share > 0:
        spoiled = torch.nonzero(torch.rand(len(waveforms), generator=rng) >= config.clean_share)[:, 0]

    def stepped(rows: Tensor, steps: tuple[StepConfig, ...]) -> Tensor:
        return apply_steps(rows, steps, rate_hz=rate_hz, rng=rng)[0] if rate_hz and steps else rows

    def set_in_place(rows: Tensor) -> Tensor:
        share, snr_db = config.background_probability, config.background_snr_db
        if share > 0:
            rows = add_background(rows, snr_db=snr_db, rng=rng, probability=share)
        return stepped(rows, config.steps)

    if config.background_probability > 0 or config.steps:
        waveforms = _of_rows(waveforms, spoiled, set_in_place)
    if config.speed_octaves > 0:
        waveforms = change_speed(waveforms, octaves=config.speed_octaves, rng=rng)
    n, n_samples = waveforms.shape
    steps = torch.randint(n_samples if config.shift else 1, (n,), generator=rng)
    signs = 1.0 - 2.0 * torch.randint(2 if config.polarity else 1, (n,), generator=rng)
    mixing = draw_mixing(rms(waveforms).cpu(), rng=rng, probability=config.mix_probability)
    gain = 10.0 ** (uniform(n, -config.gain_db, config.gain_db, rng) / 20.0)
    blended = blend(
        waveforms,
        steps=steps.tolist(),
        own=(gain * signs * mixing.own).tolist(),
        partners=mixing.partners.tolist(),
        other=(gain * signs[mixing.partners] * mixing.other).tolist(),
    )
    if config.noise_probability > 0:
        add_noise_(blended, snr_db=config.noise_snr_db, rng=rng, probability=config.noise_probability)
    if config.last_steps:
        blended = _of_rows(blended, spoiled, lambda rows: stepped(rows, config.last_steps))
    share, partners = mixing.share.to(targets)[:, None], mixing.partners.to(targets.device)
    return blended, share * targets + (1.0 - share) * targets[partners]


def _of_rows(waveforms: Tensor, chosen: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Changes some rows, the others stay as they are. Shape: [B, T], [n] -> [B, T]."""
    if len(chosen) == len(waveforms):
        return change(waveforms)
    chosen = chosen.to(waveforms.device)
    return waveforms.index_copy(0, chosen, change(waveforms[chosen]))


def augment_spectrograms(spectrograms: Tensor, config: AugmentConfig, *, rng: Generator) -> Tensor:
    """The spectrogram half of the recipe; features that are no spectrograms come back as they are.

    A spectrogram is of floating point, with bands and frames; what it holds decides what of a recipe means
    something (`AugmentConfig.for_view`). Rows of values [B, D] and pictures [B, 3, H, W] have no axis that a
    stretch or a mask along time or frequency could mean.

    Shape: [B, M, F] -> [B, M, F], dB.
    """
    if not config.enabled or spectrograms.ndim != 3 or not spectrograms.is_floating_point():
        return spectrograms
    if config.time_translate > 0:
        spectrograms = translate_in_time(
            spectrograms, max_share=config.time_translate, fill_db=config.translate_fill_db, rng=rng
        )
    if config.time_resize > 0 or config.frequency_resize > 0:
        spectrograms = random_resize(
            spectrograms, time=config.time_resize, frequency=config.frequency_resize, rng=rng
        )
    for dim, n_masks, max_share in (
        (1, config.n_frequency_masks, config.max_frequency_mask),
        (2, config.n_time_masks, config.max_time_mask),
    ):
        if n_masks > 0 and max_share > 0:
            spectrograms = mask_bands(spectrograms, dim=dim, n_masks=n_masks, max_share=max_share, rng=rng)
    return spectrograms
