"""Label-preserving changes of waveforms, and the mixing of two clips into one.

Conventions: waveforms are float32 [B, T]; every row is changed by its own random amount, drawn from `rng` (a CPU
`torch.Generator`); results are new tensors on the device of the input, but for names that end in `_`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from earshot.audio.threads import over_rows


def uniform(n: int, low: float, high: float, rng: Generator) -> Tensor:
    """n numbers of U(low, high). Shape: [n]."""
    return torch.rand(n, generator=rng) * (high - low) + low


def blend(
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
    share = uniform(n, 0.0, 1.0, rng).clamp(1e-3, 1 - 1e-3)
    heard = levels + 1e-6
    p = 1.0 / (1.0 + heard / heard[partners] * (1.0 - share) / share)
    energy = (p.square() + (1.0 - p).square()).sqrt()
    return Mixing(
        own=torch.where(chosen, p / energy, 1.0),
        other=torch.where(chosen, (1.0 - p) / energy, 0.0),
        partners=partners,
        share=torch.where(chosen, share, 1.0),
    )


def rms(waveforms: Tensor) -> Tensor:
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
    ratio = 10.0 ** (-uniform(n, *snr_db, rng) / 20.0)
    chosen = (torch.rand(n, generator=rng) < probability) & (partners != torch.arange(n))
    levels = rms(waveforms).cpu()
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
    share = (10.0 ** (-uniform(n, *snr_db, rng) / 20.0)).tolist()
    seeds = torch.randint(2**62, (n,), generator=rng).tolist()  # a stream a row: rows run on any thread
    levels = rms(waveforms)

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
    speeds = (2.0 ** uniform(len(waveforms), -octaves, octaves, rng)).tolist()
    changed = torch.empty_like(waveforms)

    def one(i: int) -> None:
        n = max(1, round(length / speeds[i]))
        row = functional.interpolate(waveforms[i].view(1, 1, -1), size=n, mode="linear").view(-1)
        for start in range(0, length, n):
            changed[i, start : start + n] = row[: length - start]

    over_rows(one, len(waveforms))
    return changed
