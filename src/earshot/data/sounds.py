"""Eight kinds of sound made from nothing but arithmetic, each with endless variants.

Every function makes `n` samples at `rate_hz`. `timbre` draws what belongs to one recording (pitch, tempo,
material) and must be seeded alike for all its takes; `rng` draws what differs from take to take. The level is
arbitrary: whoever mixes sets it.

Shape: float64 [n].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

Samples = npt.NDArray[np.floating[Any]]
Random = np.random.Generator
Maker = Callable[[int, int, Random, Random], Samples]


def shaped_noise(n: int, rate_hz: int, gain: Callable[[Samples], Samples], *, rng: Random) -> Samples:
    """Gaussian noise whose spectrum follows `gain(frequency in Hz)`, standard deviation 1."""
    n_fft = fft.next_fast_len(n, real=True)
    frequency_hz = fft.rfftfreq(n_fft, 1 / rate_hz)
    shape = gain(np.maximum(frequency_hz, 0.05))
    spectrum = shape * (rng.standard_normal(len(shape)) + 1j * rng.standard_normal(len(shape)))
    noise = np.asarray(fft.irfft(spectrum, n_fft)[:n])
    return np.asarray(noise / (noise.std() + 1e-12))


def bell(frequency_hz: Samples, centre_hz: float, octaves: float) -> Samples:
    """A resonance: 1 at the centre, falling off as a Gaussian of the distance in octaves."""
    return np.asarray(np.exp(-0.5 * (np.log2(frequency_hz / centre_hz) / octaves) ** 2))


def tone(frequency_hz: Samples, rate_hz: int, *, harmonics: Samples) -> Samples:
    """Harmonics of a gliding tone; those above 90 % of half the rate are silent, not folded back."""
    phase = 2 * np.pi * np.cumsum(frequency_hz) / rate_hz
    out = np.zeros(len(phase))
    for k, level in enumerate(harmonics, start=1):
        out += level * np.where(k * frequency_hz < 0.45 * rate_hz, np.sin(k * phase), 0.0)
    return out


def place(n: int, starts: Sequence[int], events: Sequence[Samples]) -> Samples:
    """Adds events into `n` samples of silence; what runs past the end is cut."""
    out = np.zeros(n)
    for start, event in zip(starts, events, strict=True):
        stop = min(n, start + len(event))
        out[start:stop] += event[: stop - start]
    return out


def rain(n: int, rate_hz: int, timbre: Random, rng: Random) -> Samples:
    """A hiss with a wide hump and drops pattering on it."""
    centre_hz, width = timbre.uniform(3_000, 5_000), timbre.uniform(1.0, 1.5)
    drop_hz, drops_per_s, hiss = (
        timbre.uniform(2_000, 4_500),
        timbre.uniform(150, 400),
        timbre.uniform(0.5, 1),
    )
    bed = shaped_noise(n, rate_hz, lambda f: bell(f, centre_hz, width), rng=rng)
    swell = 1 + 0.3 * shaped_noise(n, rate_hz, lambda f: 1.0 * (f < 3), rng=rng)
    impulses = (rng.random(n) < drops_per_s / rate_hz) * rng.exponential(1.0, n)
    pole = np.exp(-1 / (0.0004 * rate_hz) + 2j * np.pi * drop_hz / rate_hz)
    drops = signal.lfilter([1.0], [1.0, -2 * pole.real, abs(pole) ** 2], impulses)
    return np.asarray(hiss * bed * swell + drops / (drops.std() + 1e-12))


def wind(n: int, rate_hz: int, timbre: Random, rng: Random) -> Samples:
    """Low rumble in gusts, with a wavering howl."""
    cut_hz, howl_hz = timbre.uniform(100, 250), timbre.uniform(300, 700)
    gust_hz, howl = timbre.uniform(0.3, 1.0), timbre.uniform(0.2, 0.6)
    rumble = shaped_noise(n, rate_hz, lambda f: (1 + (f / cut_hz) ** 2) ** -1.0, rng=rng)
    gusts = np.exp(0.45 * shaped_noise(n, rate_hz, lambda f: 1.0 * (f < 1 + 2 * gust_hz), rng=rng))
    whistle = shaped_noise(n, rate_hz, lambda f: bell(f, howl_hz, 0.08), rng=rng)
    return np.asarray(gusts * (rumble + howl * whistle * gusts))


def clock_tick(n: int, rate_hz: int, timbre: Random, rng: Random) -> Samples:
    """Even ticks, every other one a little duller."""
    period_s, tick_hz = timbre.uniform(0.25, 0.6), timbre.uniform(2_200, 4_500)
    decay_s, tock = timbre.uniform(0.005, 0.012), timbre.uniform(0.7, 0.95)
    starts_s = np.arange(rng.uniform(0, period_s), n / rate_hz, period_s)
    starts_s = np.clip(starts_s + rng.normal(0, 0.002, len(starts_s)), 0, None)
    events = [
        _struck(rate_hz, (tick_hz * (tock if i % 2 else 1), 2.6 * tick_hz), decay_s=decay_s, rng=rng)
        for i in range(len(starts_s))
    ]
    return place(n, (starts_s * rate_hz).astype(int).tolist(), events)


def siren(n: int, rate_hz: int, timbre: Random, rng: Random) -> Samples:
    """A rich tone that sweeps up and down, or steps between two pitches."""
    low_hz, ratio = timbre.uniform(500, 750), timbre.uniform(1.5, 2.2)
    period_s, kind = float(np.exp(timbre.uniform(np.log(0.4), np.log(2.5)))), timbre.integers(3)
    harmonics = timbre.uniform(0.2, 1, 6) / np.arange(1, 7)
    turn = (np.arange(n) / rate_hz / period_s + rng.random()) % 1
    shapes = (0.5 - 0.5 * np.cos(2 * np.pi * turn), np.abs(2 * turn - 1), 1.0 * (turn < 0.5))
    smooth = signal.lfilter([0.01], [1, -0.99], shapes[int(kind)])
    return tone(low_hz * ratio**smooth, rate_hz, harmonics=harmonics)


def engine(n: int, rate_hz: int, timbre: Random, rng: Random) -> Samples:
    """A hum of many harmonics that fires unevenly and drifts in speed."""
    firing_hz, slope = timbre.uniform(30, 70), timbre.uniform(0.5, 1.0)
    body_hz, rough = timbre.uniform(200, 500), timbre.uniform(0.2, 0.5)
    orders = np.arange(1, 31)
    harmonics = orders**-slope * (0.3 + bell(orders * firing_hz, body_hz, 1.0))
    drift = shaped_noise(n, rate_hz, lambda f: 1.0 * (f < 2), rng=rng)
    frequency_hz = firing_hz * (1 + rng.uniform(-0.1, 0.1) + 0.02 * drift)
    hum = tone(frequency_hz, rate_hz, harmonics=harmonics * timbre.uniform(0.4, 1, 30))
    beat = 1 + 0.6 * np.sin(np.pi * np.cumsum(frequency_hz) / rate_hz)
    hiss = shaped_noise(n, rate_hz, lambda f: (1 + (f / 600) ** 2) ** -0.7, rng=rng)
    return np.asarray(beat * (hum / (hum.std() + 1e-12) + rough * hiss))


def birds(n: int, rate_hz: int, timbre: Random, rng: Random) -> Samples:
    """Phrases of short whistled chirps."""
    base_hz, glide = timbre.uniform(2_800, 5_000), timbre.uniform(-0.5, 0.5)
    length_s, rate_per_s = timbre.uniform(0.05, 0.15), timbre.uniform(5, 10)
    warble_hz, n_chirps = timbre.uniform(20, 60), int(timbre.integers(3, 9))
    starts, events = [], []
    start_s = rng.uniform(0, 0.5)
    while start_s < n / rate_hz:
        for k in range(n_chirps):
            at = np.linspace(0, 1, int(length_s * rng.uniform(0.8, 1.2) * rate_hz))
            pitch_hz = base_hz * 2 ** (glide * at + 0.08 * np.sin(2 * np.pi * warble_hz * length_s * at))
            chirp = tone(pitch_hz * rng.uniform(0.95, 1.05), rate_hz, harmonics=np.array([1.0, 0.15]))
            events.append(chirp * np.sin(np.pi * at) ** 2 * rng.uniform(0.4, 1))
            starts.append(int((start_s + k / rate_per_s) * rate_hz))
        start_s += n_chirps / rate_per_s + rng.uniform(0.2, 1.0)
    inside = [i for i, start in enumerate(starts) if start < n]
    return place(n, [starts[i] for i in inside], [events[i] for i in inside])


def dog(n: int, rate_hz: int, timbre: Random, rng: Random) -> Samples:
    """Barks: a hoarse voice whose pitch falls, through a throat."""
    pitch_hz, formant_hz = timbre.uniform(280, 520), timbre.uniform(900, 1_500)
    length_s, gap_s, hoarse = timbre.uniform(0.12, 0.3), timbre.uniform(0.15, 0.6), timbre.uniform(0.2, 0.7)
    starts, events, start_s = [], [], rng.uniform(0, 0.4)
    while start_s < n / rate_hz - 0.05:
        at = np.linspace(0, 1, int(length_s * rng.uniform(0.8, 1.2) * rate_hz))
        glide_hz = pitch_hz * rng.uniform(0.9, 1.1) * (0.8 + 0.5 * np.sin(np.pi * np.minimum(1.3 * at, 1)))
        orders = np.arange(1, 16)
        voice = tone(glide_hz, rate_hz, harmonics=0.05 + bell(orders * pitch_hz, formant_hz, 0.6))
        breath = shaped_noise(len(at), rate_hz, lambda f: bell(f, 1.4 * formant_hz, 0.7), rng=rng)
        envelope = np.minimum(at / 0.08, 1) * (1 - at) ** 0.7
        events.append(envelope * (voice / (voice.std() + 1e-12) + hoarse * breath) * rng.uniform(0.6, 1))
        starts.append(int(start_s * rate_hz))
        start_s += length_s + gap_s * rng.uniform(0.5, 2.0)
    return place(n, starts, events)


def door_knock(n: int, rate_hz: int, timbre: Random, rng: Random) -> Samples:
    """Knuckles on wood, a few at a time."""
    modes_hz = np.sort(timbre.uniform(120, 800, 4))
    decay_s, knocks_per_s = timbre.uniform(0.015, 0.05), timbre.uniform(3.5, 7)
    starts, events, start_s = [], [], rng.uniform(0, 0.4)
    while start_s < n / rate_hz - 0.05:
        for k in range(int(rng.integers(2, 6))):
            events.append(_struck(rate_hz, modes_hz, decay_s=decay_s, rng=rng))
            starts.append(int((start_s + (k + rng.normal(0, 0.04)) / knocks_per_s) * rate_hz))
        start_s = starts[-1] / rate_hz + rng.uniform(0.5, 1.5)
    inside = [i for i, start in enumerate(starts) if 0 <= start < n]
    return place(n, [starts[i] for i in inside], [events[i] for i in inside])


def _struck(rate_hz: int, modes_hz: Sequence[float] | Samples, *, decay_s: float, rng: Random) -> Samples:
    """One blow on a body: decaying modes, the higher the faster, and the click of the contact."""
    t_s = np.arange(int(8 * decay_s * rate_hz)) / rate_hz
    out = np.zeros(len(t_s))
    for k, mode_hz in enumerate(modes_hz, start=1):
        if mode_hz < 0.45 * rate_hz:
            wave = np.sin(2 * np.pi * mode_hz * rng.uniform(0.98, 1.02) * t_s + rng.uniform(0, 6))
            out += rng.uniform(0.5, 1) / k * np.exp(-t_s * k**0.5 / decay_s) * wave
    click = rng.standard_normal(len(t_s)) * np.exp(-t_s / 0.0015)
    return np.asarray((out + 0.3 * click) * rng.uniform(0.6, 1))


SOUNDS: dict[str, Maker] = {
    "rain": rain,
    "wind": wind,
    "clock_tick": clock_tick,
    "siren": siren,
    "engine": engine,
    "birds": birds,
    "dog": dog,
    "door_knock": door_knock,
}
