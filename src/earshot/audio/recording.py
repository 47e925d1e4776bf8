"""What another recorder, another place or another distance do to a sound, as cheap steps of an augmentation.

Conventions: waveforms are float32 [T], full scale 1; the step's configuration draws plain values, the function
beside it applies them. Each takes some milliseconds or less for 5 s at 44.1 kHz: training waits for them.
"""

from __future__ import annotations

import functools
import math
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import AfterValidator, Field
from scipy import signal
from torch import Tensor

from earshot.audio import noises
from earshot.audio.step import Parameters, Step

_BANK_SAMPLES = 2**20
_SLOPES_DB = {"white": 0.0, "pink": -3.0103, "brown": -6.0206}  # an octave
_LOWEST = 1 / 2048  # of the rate: 22 Hz of 44.1 kHz; below, where brown noise is strongest, nobody hears it
_STEP_16_BIT = 1 / 32768
_TOP_SHARE = 0.95  # of half the sample rate: the highest cut-off that a filter can have
_ORDERS = (2, 4, 8)
_GAP_S = 0.05


def _rises(ends: tuple[float, float]) -> tuple[float, float]:
    if not (math.isfinite(ends[0]) and math.isfinite(ends[1]) and ends[0] <= ends[1]):
        raise ValueError("two numbers, the lower one first")
    return ends


def _is_frequency(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] <= 0:
        raise ValueError("two numbers above 0, the lower one first")
    return _rises(ends)


Range = Annotated[tuple[float, float], AfterValidator(_rises)]
BandHz = Annotated[tuple[float, float], AfterValidator(_is_frequency)]
Colour = Literal["white", "pink", "brown"]


class ColouredNoiseConfig(Step):
    """Adds white, pink or brown noise, U(*snr_db) dB below the sound's own power; silence stays silence."""

    kind: Literal["coloured_noise"] = Field("coloured_noise", description="noise of a random colour")
    snr_db: Range = Field((0.0, 35.0), description="signal-to-noise ratio, dB")
    colours: tuple[Colour, ...] = Field(
        ("white", "pink", "brown"), min_length=1, description="0, -3 and -6 dB an octave"
    )

    def draw(self, rng: np.random.Generator) -> Parameters:
        """`start` is the place in a bank of noise that is the same everywhere."""
        colour = self.colours[int(rng.integers(len(self.colours)))]
        place = {"start": int(rng.integers(_BANK_SAMPLES)), "snr_db": float(rng.uniform(*self.snr_db))}
        return {"kind": self.kind, "colour": colour, **place}


class BandLimitConfig(Step):
    """Takes what is above, or what is below a frequency away: one of the two, at even odds."""

    kind: Literal["band_limit"] = Field("band_limit", description="a low pass or a high pass")
    low_pass_hz: BandHz = Field((500.0, 16_000.0), description="cut-off, even on a logarithmic scale")
    high_pass_hz: BandHz = Field((50.0, 1_600.0), description="cut-off, even on a logarithmic scale")

    def draw(self, rng: np.random.Generator) -> Parameters:
        """`order` is the Butterworth filter's: 6 dB an octave each."""
        side, ends = (("low", self.low_pass_hz), ("high", self.high_pass_hz))[int(rng.integers(2))]
        cutoff_hz = math.exp(rng.uniform(math.log(ends[0]), math.log(ends[1])))
        order = _ORDERS[int(rng.integers(len(_ORDERS)))]
        return {"kind": self.kind, "side": side, "cutoff_hz": cutoff_hz, "order": order}


class LevelConfig(Step):
    """Changes the level by U(*gain_db) dB and rounds to 16 bits, as in a file from far away."""

    kind: Literal["level"] = Field("level", description="another level, rounded to 16 bits")
    gain_db: Range = Field((-40.0, 0.0), description="dB")

    def draw(self, rng: np.random.Generator) -> Parameters:
        """`gain_db` < 0 is quieter."""
        return {"kind": self.kind, "gain_db": float(rng.uniform(*self.gain_db))}


class GapsConfig(Step):
    """Silences U(0, max_share) of the sound, in gaps of 50 ms, as a bad connection does."""

    kind: Literal["gaps"] = Field("gaps", description="gaps of 50 ms at random places")
    max_share: float = Field(0.5, ge=0, le=1, description="share of the sound that is lost at the most")

    def draw(self, rng: np.random.Generator) -> Parameters:
        """`seed` decides which gaps."""
        share = float(rng.uniform(0, self.max_share))
        return {"kind": self.kind, "share": share, "seed": int(rng.integers(2**32))}


@functools.cache
def _bank(colour: str) -> Tensor:
    """Noise to cut from: making it anew for each sound took 50 times as long as adding it. Shape: [n], power 1."""
    slope_db = _SLOPES_DB[colour]
    rng = np.random.default_rng(0)
    made = noises.coloured(_BANK_SAMPLES, slope_db=slope_db, rng=rng, lowest=_LOWEST)
    return torch.from_numpy(made / np.float32(np.sqrt(np.mean(np.square(made, dtype=np.float64)))))


def add_coloured_noise(waveform: Tensor, values: Parameters, rate_hz: int) -> Tensor:
    """In place; the noise goes on at the start of the bank where it ends. Shape: [T] -> [T]."""
    if len(waveform) == 0:
        return waveform
    bank = _bank(values["colour"])
    level = float(torch.linalg.vector_norm(waveform)) / math.sqrt(len(waveform))
    noise_level = level * 10 ** (-values["snr_db"] / 20)
    start, done = values["start"], 0
    while done < len(waveform):
        part = bank[start : start + len(waveform) - done]
        waveform[done : done + len(part)].add_(part, alpha=noise_level)
        done, start = done + len(part), 0
    return waveform


def limit_band(waveform: Tensor, values: Parameters, rate_hz: int) -> Tensor:
    """A low pass above what the rate can hold changes nothing; a high pass is lowered to it. Shape: [T] -> [T]."""
    top_hz = _TOP_SHARE * rate_hz / 2
    if len(waveform) == 0 or (values["side"] == "low" and values["cutoff_hz"] >= top_hz):
        return waveform
    kind = "lowpass" if values["side"] == "low" else "highpass"
    sections = signal.butter(
        values["order"], min(values["cutoff_hz"], top_hz), kind, fs=rate_hz, output="sos"
    )
    return torch.from_numpy(np.asarray(signal.sosfilt(sections, waveform.numpy()), dtype=np.float32))


def change_level(waveform: Tensor, values: Parameters, rate_hz: int) -> Tensor:
    """In place. Shape: [T] -> [T]."""
    return waveform.mul_(10 ** (values["gain_db"] / 20) / _STEP_16_BIT).round_().mul_(_STEP_16_BIT)


def leave_gaps(waveform: Tensor, values: Parameters, rate_hz: int) -> Tensor:
    """In place. Shape: [T] -> [T]."""
    n_gap = max(1, round(_GAP_S * rate_hz))
    n_places = -(-len(waveform) // n_gap)
    order = np.random.default_rng(values["seed"]).permutation(n_places)
    for place in order[: round(values["share"] * n_places)].tolist():
        waveform[place * n_gap : (place + 1) * n_gap] = 0
    return waveform
