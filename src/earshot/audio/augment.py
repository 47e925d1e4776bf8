"""Label-preserving changes to waveforms and spectrograms, and the mixing of two clips into one.

Conventions
-----------
- Waveforms are float32 [B, T]; spectrograms are [B, M, F] (bands, frames), in dB.
- Every row is changed by its own random amount, drawn from `rng` (a CPU `torch.Generator`); results are new
  tensors on the device of the input. The same generator state gives the same result on any number of threads.
- Targets are float32 [B, K]; mixing makes them soft.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor
from torch.nn import functional

from earshot.audio.threads import over_parts, over_rows
from earshot.audio.transforms import StepConfig, apply_steps


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
        nothing = {"time_resize": 0.0, "frequency_resize": 0.0, "time_translate": 0.0}
        masks = {"n_time_masks": 0, "n_frequency_masks": 0}
        # The clips themselves are learned from as well: no copy need stay clean.
        return self.model_copy(update={"mix_probability": 0.0, "clean_share": 0.0} | nothing | masks)


def _uniform(n: int, low: float, high: float, rng: Generator) -> Tensor:
    return torch.rand(n, generator=rng) * (high - low) + low


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
    mixing = draw_mixing(_levels(waveforms).cpu(), rng=rng, probability=config.mix_probability)
    gain = 10.0 ** (_uniform(n, -config.gain_db, config.gain_db, rng) / 20.0)
    blended = _blend(
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


def _blend(
    waveforms: Tensor, *, steps: list[int], own: list[float], partners: list[int], other: list[float]
) -> Tensor:
    """own[i] * row i + other[i] * row partners[i], each row rotated by its steps. Shape: [B, T] -> [B, T].

    One pass for shift, polarity, mixing and gain: every temporary of a batch of 5 s clips costs more in page
    faults than in arithmetic; one after the other they took ten times as long.
    """
    blended = torch.empty_like(waveforms)
    n_samples = waveforms.shape[1]

    def one(i: int) -> None:
        out, split = blended[i], n_samples - steps[i]
        torch.mul(waveforms[i, split:], own[i], out=out[: steps[i]])
        torch.mul(waveforms[i, :split], own[i], out=out[steps[i] :])
        if other[i]:
            partner, step = waveforms[partners[i]], steps[partners[i]]
            out[:step].add_(partner[n_samples - step :], alpha=other[i])
            out[step:].add_(partner[: n_samples - step], alpha=other[i])

    over_rows(one, len(waveforms))
    return blended


@dataclass(frozen=True)
class Mixing:
    """Weight of each row and of its partner, which row that is, and the first row's share of the target.

    Shape: all [B].
    """

    own: Tensor
    other: Tensor
    partners: Tensor
    share: Tensor


def draw_mixing(levels: Tensor, *, rng: Generator, probability: float = 1.0) -> Mixing:
    """Between-class learning: mixes each row with another of the batch, and their targets alike.

    For a ratio t ~ U(0, 1), the weight p of the first row is chosen so that it is *heard* at ratio t whatever
    the root-mean-square `levels` g [B] of the two: p = 1 / (1 + g1 / g2 * (1 - t) / t); dividing by
    sqrt(p^2 + (1 - p)^2) keeps the energy. Rows that are not mixed have weights 1 and 0.

    Source: Tokozume, Ushiku, Harada, "Learning from between-class examples", 2018, equations 2 and 3.
    """
    n = len(levels)
    partners = torch.randperm(n, generator=rng)
    chosen = torch.rand(n, generator=rng) < probability
    share = _uniform(n, 0.0, 1.0, rng).clamp(1e-3, 1 - 1e-3)
    heard = levels + 1e-6
    p = 1.0 / (1.0 + heard / heard[partners] * (1.0 - share) / share)
    energy = (p.square() + (1.0 - p).square()).sqrt()
    return Mixing(
        own=torch.where(chosen, p / energy, 1.0),
        other=torch.where(chosen, (1.0 - p) / energy, 0.0),
        partners=partners,
        share=torch.where(chosen, share, 1.0),
    )


def _levels(waveforms: Tensor) -> Tensor:
    """Root mean square of each row. Shape: [B, T] -> [B]."""
    norms = waveforms.new_empty(len(waveforms))
    over_rows(lambda i: torch.linalg.vector_norm(waveforms[i], out=norms[i]), len(waveforms))
    return norms / math.sqrt(waveforms.shape[1])


def add_background(
    waveforms: Tensor, *, snr_db: tuple[float, float], rng: Generator, probability: float = 1.0
) -> Tensor:
    """Adds another row of the batch, from a random place on, U(*snr_db) dB below each row's own power.

    A silent row stays silent, and one that meets a silent one stays as it is. Shape: [B, T] -> [B, T].
    """
    n, n_samples = waveforms.shape
    partners = torch.randperm(n, generator=rng)
    starts = torch.randint(n_samples, (n,), generator=rng).tolist()
    ratio = 10.0 ** (-_uniform(n, *snr_db, rng) / 20.0)
    chosen = (torch.rand(n, generator=rng) < probability) & (partners != torch.arange(n))
    levels = _levels(waveforms).cpu()
    heard = levels[partners]
    shares = torch.where(chosen & (heard > 0), ratio * levels / heard.clamp(min=1e-12), 0.0).tolist()
    others, mixed = partners.tolist(), torch.empty_like(waveforms)

    def one(i: int) -> None:
        mixed[i] = waveforms[i]
        if shares[i]:
            other, split = waveforms[others[i]], n_samples - starts[i]
            mixed[i, :split].add_(other[starts[i] :], alpha=shares[i])
            mixed[i, split:].add_(other[: starts[i]], alpha=shares[i])

    over_rows(one, n)
    return mixed


def add_noise_(
    waveforms: Tensor, *, snr_db: tuple[float, float], rng: Generator, probability: float = 1.0
) -> None:
    """Adds white noise at U(*snr_db) dB below each row's own power, in place. Shape: [B, T].

    A silent row stays silent: there is no signal for the ratio to refer to.
    """
    n, n_samples = waveforms.shape
    chosen = torch.nonzero(torch.rand(n, generator=rng) < probability)[:, 0].tolist()
    share = (10.0 ** (-_uniform(n, *snr_db, rng) / 20.0)).tolist()
    seeds = torch.randint(2**62, (n,), generator=rng).tolist()  # a stream a row: rows run on any thread
    levels = _levels(waveforms)

    def one(k: int) -> None:
        i = chosen[k]
        noise = torch.randn(n_samples, generator=torch.Generator().manual_seed(seeds[i]))
        waveforms[i].addcmul_(noise.to(waveforms), levels[i], value=share[i])

    over_rows(one, len(chosen))


def change_speed(waveforms: Tensor, *, octaves: float, rng: Generator) -> Tensor:
    """Plays each row faster or slower by 2**U(-octaves, octaves), pitch and tempo together.

    Resampling is linear. The result keeps its length: a faster row starts again from its beginning.

    Shape: [B, T] -> [B, T].
    Source: the time-scale step of EnvNet-v2 (Tokozume et al., 2018), whose 1.25**U(-1, 1) is octaves = 0.32.
    """
    length = waveforms.shape[1]
    speeds = (2.0 ** _uniform(len(waveforms), -octaves, octaves, rng)).tolist()
    changed = torch.empty_like(waveforms)

    def one(i: int) -> None:
        n = max(1, round(length / speeds[i]))
        row = functional.interpolate(waveforms[i].view(1, 1, -1), size=n, mode="linear").view(-1)
        for start in range(0, length, n):
            changed[i, start : start + n] = row[: length - start]

    over_rows(one, len(waveforms))
    return changed


def random_resize(spectrograms: Tensor, *, time: float, frequency: float, rng: Generator) -> Tensor:
    """Stretches spectrograms by up to 1 +- time about the centre and 1 +- frequency above the lowest band.

    Stretching the bands moves pitch and formants together along the mel axis. What is vacated mirrors its
    neighbourhood, so that no artificial silence marks a stretched clip.

    Shape: [B, M, F] -> [B, M, F].
    """
    n, n_bands, n_frames = spectrograms.shape
    along_time = 1.0 / (1.0 + _uniform(n, -time, time, rng))
    along_bands = 1.0 / (1.0 + _uniform(n, -frequency, frequency, rng))
    frames = along_time[:, None] * (torch.arange(n_frames) + 0.5 - n_frames / 2) + n_frames / 2 - 0.5
    bands = along_bands[:, None] * (torch.arange(n_bands) + 0.5) - 0.5
    if frequency > 0:
        spectrograms = _read_between(spectrograms, bands, dim=1)
    return _read_between(spectrograms, frames, dim=2) if time > 0 else spectrograms


def _read_between(spectrograms: Tensor, positions: Tensor, *, dim: int) -> Tensor:
    """Values at fractional positions [B, size] along an axis of [B, M, F], mirrored at its ends."""
    size = spectrograms.shape[dim]
    wrapped = (positions + 0.5).remainder(2.0 * size)
    inside = (torch.minimum(wrapped, 2.0 * size - wrapped) - 0.5).clamp(0.0, size - 1.0)
    low = inside.floor()
    fraction = (inside - low).to(spectrograms)
    left = low.long().to(spectrograms.device)
    right = (left + 1).clamp(max=size - 1)
    shape = (-1, size, 1) if dim == 1 else (-1, 1, size)
    between = torch.empty_like(spectrograms)

    def part(rows: slice) -> None:
        values = spectrograms[rows]
        before = values.gather(dim, left[rows].view(shape).expand_as(values))
        after = values.gather(dim, right[rows].view(shape).expand_as(values))
        torch.lerp(before, after, fraction[rows].view(shape), out=between[rows])

    over_parts(part, len(spectrograms))
    return between


def mask_bands(spectrograms: Tensor, *, dim: int, n_masks: int, max_share: float, rng: Generator) -> Tensor:
    """SpecAugment: replaces `n_masks` random stretches along `dim` by the mean of the spectrogram.

    Each stretch covers U(0, max_share) of the axis (dim 1: bands, dim 2: frames).

    Shape: [B, M, F] -> [B, M, F].
    Source: Park et al., "SpecAugment", 2019.
    """
    n, size = len(spectrograms), spectrograms.shape[dim]
    position = torch.arange(size)
    width = _uniform(n * n_masks, 0.0, max_share * size, rng).view(n, n_masks, 1)
    start = torch.rand(n, n_masks, 1, generator=rng) * (size - width)
    inside = (position >= start) & (position < start + width)
    hidden = inside.any(dim=1).to(spectrograms.device)
    hidden = hidden[:, :, None] if dim == 1 else hidden[:, None, :]
    masked = torch.empty_like(spectrograms)

    def part(rows: slice) -> None:
        values = spectrograms[rows]
        torch.where(hidden[rows], values.mean(dim=(1, 2), keepdim=True), values, out=masked[rows])

    over_parts(part, n)
    return masked


def translate_in_time(spectrograms: Tensor, *, max_share: float, fill_db: float, rng: Generator) -> Tensor:
    """Moves spectrograms by up to `max_share` of their width, earlier or later; vacated frames get `fill_db`.

    Shape: [B, M, F] -> [B, M, F].
    """
    n, _, n_frames = spectrograms.shape
    steps = (_uniform(n, -max_share, max_share, rng) * n_frames).round().long().tolist()
    moved = torch.full_like(spectrograms, fill_db)
    for row, step in enumerate(steps):
        kept = n_frames - abs(step)
        later, earlier = max(step, 0), max(-step, 0)
        moved[row, :, later : later + kept] = spectrograms[row, :, earlier : earlier + kept]
    return moved


def augment_spectrograms(spectrograms: Tensor, config: AugmentConfig, *, rng: Generator) -> Tensor:
    """The spectrogram half of the recipe; features that are no spectrograms come back as they are.

    A spectrogram is of floating point, with bands and frames. Rows of values [B, D] and pictures [B, 3, H, W] have
    no axis that a stretch or a mask along time or frequency could mean.

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
