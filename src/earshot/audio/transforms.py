"""Steps that change a sound, not what it is: time shift, noise, pitch, tempo, and all of audiomentations by name.

Conventions
-----------
- Waveforms are float32 [T], or [B, T] in a batch, and keep their length: what a step makes longer is cut at the
  end, what it makes shorter is filled up with zeros.
- A step is drawn first and applied then. What was drawn is a dict of plain values that goes into JSON; with it
  `apply_parameters` makes the same samples again, without the generator that drew it.
- Positions in time are seconds, amplitudes are shares of the range of the sound itself.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import random
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from earshot.audio.recording import (
    BandLimitConfig,
    ColouredNoiseConfig,
    GapsConfig,
    LevelConfig,
    add_coloured_noise,
    change_level,
    leave_gaps,
    limit_band,
)
from earshot.audio.step import Parameters, Step
from earshot.audio.threads import over_rows
from earshot.audio.vocoder import pitch_shift, time_stretch
from earshot.errors import ConfigError, DataError, complaint

_N_SEEDS = 2**32  # what numpy's global generator takes, and what every JSON reader keeps exactly


class TimeShiftConfig(Step):
    """Moves the sound in time by U(-max_s, max_s); vacated samples are zeros."""

    kind: Literal["time_shift"] = Field(
        "time_shift", description="later or earlier, zeros where nothing is left"
    )
    max_s: float = Field(0.125, ge=0, description="seconds either way")

    def draw(self, rng: np.random.Generator) -> Parameters:
        """`shift_s` > 0 moves the sound later."""
        return {"kind": self.kind, "shift_s": float(rng.uniform(-self.max_s, self.max_s))}


class NoiseConfig(Step):
    """Adds noise, U(0, 1) a sample, times `max_amplitude`, times the range (max - min) of the sound."""

    kind: Literal["noise"] = Field("noise", description="uniform noise at every sample")
    max_amplitude: float = Field(
        0.1, ge=0, description="largest value of it, as a share of the sound's max - min"
    )

    def draw(self, rng: np.random.Generator) -> Parameters:
        """`seed` makes the noise."""
        return {"kind": self.kind, "amplitude": self.max_amplitude, "seed": int(rng.integers(_N_SEEDS))}


class PitchShiftConfig(Step):
    """Moves the pitch by U(-max_semitones, max_semitones) at the same tempo."""

    kind: Literal["pitch_shift"] = Field("pitch_shift", description="higher or lower at the same tempo")
    max_semitones: float = Field(10.0, ge=0, le=24, description="semitones either way")

    def draw(self, rng: np.random.Generator) -> Parameters:
        """`semitones` > 0 is higher."""
        return {"kind": self.kind, "semitones": float(rng.uniform(-self.max_semitones, self.max_semitones))}


class TimeStretchConfig(Step):
    """Plays U(min_rate, max_rate) times as fast at the same pitch, then cuts or fills up with zeros."""

    kind: Literal["time_stretch"] = Field("time_stretch", description="faster or slower at the same pitch")
    min_rate: float = Field(0.5, ge=0.1, le=10, description="lowest tempo")
    max_rate: float = Field(1.5, ge=0.1, le=10, description="highest tempo")

    @model_validator(mode="after")
    def _in_order(self) -> TimeStretchConfig:
        if self.min_rate > self.max_rate:
            raise ValueError("min_rate at most as high as max_rate")
        return self

    def draw(self, rng: np.random.Generator) -> Parameters:
        """`rate` > 1 is faster."""
        return {"kind": self.kind, "rate": float(rng.uniform(self.min_rate, self.max_rate))}


_Scalar = bool | int | float | str


class AudiomentationsConfig(Step):
    """A transform of the audiomentations library, by its class name and arguments; the library is an extra."""

    kind: Literal["audiomentations"] = Field("audiomentations", description="a transform of audiomentations")
    name: str = Field(description="its class, such as AddGaussianSNR")
    params: dict[str, _Scalar | list[_Scalar]] = Field({}, description="arguments of the class, without p")

    @model_validator(mode="after")
    def _has_one_probability(self) -> AudiomentationsConfig:
        if "p" in self.params:
            raise ValueError("params without p; the key probability says how often")
        return self

    def draw(self, rng: np.random.Generator) -> Parameters:
        """`seed` decides all that the transform draws."""
        seed = int(rng.integers(_N_SEEDS))
        return {"kind": self.kind, "name": self.name, "params": dict(self.params), "seed": seed}


StepConfig = Annotated[
    TimeShiftConfig
    | NoiseConfig
    | PitchShiftConfig
    | TimeStretchConfig
    | ColouredNoiseConfig
    | BandLimitConfig
    | LevelConfig
    | GapsConfig
    | AudiomentationsConfig,
    Field(discriminator="kind"),
]

# Source: R. Kneusel, "Practical Deep Learning", 2nd edition, chapter 12: each with probability 0.5, in this order.
PUBLISHED_STEPS: tuple[StepConfig, ...] = (
    TimeShiftConfig(),
    NoiseConfig(),
    PitchShiftConfig(),
    TimeStretchConfig(),
)


def draw_parameters(steps: Sequence[StepConfig], rng: np.random.Generator) -> list[Parameters]:
    """What one sound gets: the values of each step whose probability came up, in order.

    >>> draw_parameters([TimeShiftConfig(probability=1.0, max_s=0.0)], np.random.default_rng(0))
    [{'kind': 'time_shift', 'shift_s': 0.0}]
    """
    drawn = []
    for step in steps:
        # Values are drawn in any case: how one step fell does not change the others.
        applies, values = rng.random() < step.probability, step.draw(rng)
        if applies:
            drawn.append(values)
    return drawn


def apply_parameters(waveform: Tensor, parameters: Sequence[Parameters], *, rate_hz: int) -> Tensor:
    """Applies what `draw_parameters` drew. Shape: [T] -> [T], a new tensor.

    Raises:
        ConfigError: a transform is unknown or refuses its arguments.
        DataError: a transform made something that is no sound.
    """
    changed = waveform.detach().float().cpu().clone()
    for values in parameters:
        changed = _APPLY[values["kind"]](changed, values, rate_hz)
    return changed


def apply_steps(
    waveforms: Tensor, steps: Sequence[StepConfig], *, rate_hz: int, rng: torch.Generator
) -> tuple[Tensor, list[list[Parameters]]]:
    """Draws steps for each row and applies them, row by row on a pool of threads.

    Shape: [B, T] -> [B, T] on the same device, and the parameters of each row, B lists.

    Raises:
        ConfigError, DataError: as `apply_parameters`.
    """
    seeds = torch.randint(2**62, (len(waveforms),), generator=rng).tolist()  # a row's draws are its own
    drawn = [draw_parameters(steps, np.random.default_rng(seed)) for seed in seeds]
    rows, changed = waveforms.detach().float().cpu(), torch.empty(waveforms.shape)

    def one(i: int) -> None:
        changed[i] = apply_parameters(rows[i], drawn[i], rate_hz=rate_hz)

    over_rows(one, len(rows))
    return changed.to(waveforms), drawn


def check_steps(steps: Sequence[StepConfig]) -> None:
    """Builds every transform that the steps name, so that a mistake shows before the work begins.

    Raises:
        ConfigError: audiomentations is missing, has no such transform, or refuses its arguments.
    """
    for step in steps:
        if isinstance(step, AudiomentationsConfig):
            _transform(step.name, json.dumps(step.params, sort_keys=True))


def _shift(waveform: Tensor, values: Parameters, rate_hz: int) -> Tensor:
    n = max(-len(waveform), min(len(waveform), round(values["shift_s"] * rate_hz)))
    return functional.pad(waveform, (n, -n))


def _add_noise(waveform: Tensor, values: Parameters, rate_hz: int) -> Tensor:
    if len(waveform) == 0:
        return waveform
    noise = np.random.default_rng(values["seed"]).random(len(waveform), dtype=np.float32)
    height = values["amplitude"] * float(waveform.max() - waveform.min())
    return waveform.add_(torch.from_numpy(noise), alpha=height)


def _shift_pitch(waveform: Tensor, values: Parameters, rate_hz: int) -> Tensor:
    return pitch_shift(waveform[None], [values["semitones"]])[0]


def _stretch(waveform: Tensor, values: Parameters, rate_hz: int) -> Tensor:
    return time_stretch(waveform[None], [values["rate"]], n_samples=len(waveform))[0]


_GLOBAL_STATE = threading.Lock()


def _with_audiomentations(waveform: Tensor, values: Parameters, rate_hz: int) -> Tensor:
    """It draws from the global generators: they are seeded for one call, then put back as they were."""
    name, n_samples = values["name"], len(waveform)
    transform = _transform(name, json.dumps(values["params"], sort_keys=True))
    with _GLOBAL_STATE, _seeded(values["seed"]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            samples = np.asarray(transform(waveform.numpy().copy(), rate_hz), dtype=np.float32)
        except Exception as error:  # whatever another library's transform may raise
            raise ConfigError(_trouble(name, error, "arguments that suit these sounds")) from error
    changed = np.zeros(n_samples, np.float32)
    changed[: len(samples)] = samples[:n_samples]
    if not np.isfinite(changed).all():
        rule = "finite samples"
        raise DataError(complaint("augment", f"result of {name}", "NaN or Inf", rule, "Leave the step out."))
    return torch.from_numpy(changed)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)  # noqa: NPY002


@functools.lru_cache(maxsize=64)
def _transform(name: str, params_json: str) -> Callable[[Any, int], Any]:
    """The transform of that name, always applied: how often is ours to draw."""
    known = _transforms()
    if name not in known:
        near = get_close_matches(name, known, n=3) or sorted(known)[:3]
        rule = f"a transform of audiomentations, such as {', '.join(near)}"
        raise ConfigError(complaint("augment", "name", name, rule, "See its documentation for the others."))
    try:
        with _GLOBAL_STATE, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Callable[[Any, int], Any] = known[name](**json.loads(params_json), p=1.0)
    except Exception as error:  # whatever another library's constructor may raise
        raise ConfigError(_trouble(name, error, "arguments that it takes")) from error
    return made


def _trouble(name: str, error: Exception, rule: str) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return complaint("augment", f"params of {name}", text, rule, "Correct params in the recipe.")


@functools.cache
def _transforms() -> dict[str, Callable[..., Any]]:
    """Every waveform transform of audiomentations that a recipe can spell; `Lambda` wants a function.

    Raises:
        ConfigError: audiomentations is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            audiomentations = importlib.import_module("audiomentations")
            interface = importlib.import_module("audiomentations.core.transforms_interface")
    except ImportError as error:
        fix = 'Install it: pip install "audiomentations<1".'
        raise ConfigError(
            complaint("augment", "kind", "audiomentations", "an installed library", fix)
        ) from error
    classes = {name: getattr(audiomentations, name) for name in dir(audiomentations)}
    return {
        name: each
        for name, each in classes.items()
        if isinstance(each, type) and issubclass(each, interface.BaseWaveformTransform) and name != "Lambda"
    }


_APPLY: Mapping[str, Callable[[Tensor, Parameters, int], Tensor]] = {
    "time_shift": _shift,
    "noise": _add_noise,
    "pitch_shift": _shift_pitch,
    "time_stretch": _stretch,
    "coloured_noise": add_coloured_noise,
    "band_limit": limit_band,
    "level": change_level,
    "gaps": leave_gaps,
    "audiomentations": _with_audiomentations,
}
