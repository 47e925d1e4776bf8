"""Label-preserving changes of spectrograms: stretches, masks, moves in time.

Conventions: spectrograms are [B, M, F] (bands, frames), in dB; every row is changed by its own random amount, drawn
from `rng` (a CPU `torch.Generator`); results are new tensors on the device of the input.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from earshot.audio.threads import over_parts
from earshot.audio.waveform_changes import uniform


def random_resize(spectrograms: Tensor, *, time: float, frequency: float, rng: Generator) -> Tensor:
    """Stretches spectrograms by up to 1 +- time about the centre and 1 +- frequency above the lowest band.

    Stretching the bands moves pitch and formants together along the mel axis. What is vacated mirrors its
    neighbourhood, so that no artificial silence marks a stretched clip.

    Shape: [B, M, F] -> [B, M, F].
    """
    n, n_bands, n_frames = spectrograms.shape
    along_time = 1.0 / (1.0 + uniform(n, -time, time, rng))
    along_bands = 1.0 / (1.0 + uniform(n, -frequency, frequency, rng))
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
    width = uniform(n * n_masks, 0.0, max_share * size, rng).view(n, n_masks, 1)
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
    steps = (uniform(n, -max_share, max_share, rng) * n_frames).round().long().tolist()
    moved = torch.full_like(spectrograms, fill_db)
    for row, step in enumerate(steps):
        kept = n_frames - abs(step)
        later, earlier = max(step, 0), max(-step, 0)
        moved[row, :, later : later + kept] = spectrograms[row, :, earlier : earlier + kept]
    return moved
