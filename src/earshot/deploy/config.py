"""config.json of a model folder: every value that predictions depend on, each within its bounds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import earshot
from earshot.audio.windows import Gate
from earshot.deploy.decisions import DecisionsData
from earshot.errors import BundleError, complaint, rule_of, value_of
from earshot.models.pooling import WindowScore
from earshot.recipe import AudioConfig, LimitsConfig
from earshot.training.members import MemberConfig

_MAX_CONFIG_BYTES = 16 * 2**20
_MAX_WINDOW_FEATURES = 2**26


ClipScore = Literal[
    "mean of window probabilities",
    "mean of window logits",
    "largest window probability",
    "votes of windows",
]
CLIP_SCORES: dict[WindowScore, ClipScore] = {
    "mean": "mean of window probabilities",
    "mean_logit": "mean of window logits",
    "max": "largest window probability",
    "vote": "votes of windows",
}
"""How config.json says what a recipe's `window_score` is."""


class BundleMember(BaseModel):
    """One family of a bundle: the same configuration fitted once a fold; `weight` is its say in the pool."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: MemberConfig
    weight: float = Field(ge=0, le=100)
    files: tuple[str, ...] = Field(min_length=1)
    temperatures: tuple[Annotated[float, Field(gt=0)], ...]

    @model_validator(mode="after")
    def _aligned(self) -> BundleMember:
        if len(self.files) != len(self.temperatures):
            raise ValueError("one temperature a file is expected")
        return self


class BundleConfig(BaseModel):
    """The content of config.json: every value that predictions depend on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    earshot_version: str
    torch_version: str
    classes: tuple[str, ...] = Field(min_length=2)
    multilabel: bool
    rate_hz: int = Field(ge=1_000, le=768_000)
    window_samples: int = Field(ge=1, le=2**26)
    hop_samples: int = Field(ge=1, le=2**26)
    resampler: str
    limits: LimitsConfig = LimitsConfig()
    channels: Literal["mean"] = "mean"
    sample_format: Literal["int16"] = "int16"
    short_clips: Literal["repeat"] = "repeat"
    gate_db: float | None = Field(None, gt=0, le=120)
    gate_dbfs: float | None = Field(None, ge=-120, le=0)
    clip_score: ClipScore = "mean of window probabilities"
    member_score: Literal["mean of fold models"] = "mean of fold models"
    ensemble: Literal["logarithmic pool"] = "logarithmic pool"
    members: dict[str, BundleMember] = Field(min_length=1)
    decisions: DecisionsData = DecisionsData()
    scores: dict[str, Any] = {}

    @property
    def gate(self) -> Gate:
        """Which windows of a clip are loud enough to be heard."""
        return Gate(self.gate_db, self.gate_dbfs)

    @property
    def window_score(self) -> WindowScore:
        """How a clip's windows become its probabilities."""
        return next(score for score, name in CLIP_SCORES.items() if name == self.clip_score)

    @model_validator(mode="after")
    def _is_bounded(self) -> BundleConfig:
        """A configuration from anywhere must not ask for more memory or time than one from `earshot train`."""
        if not 0.01 * self.rate_hz <= self.window_samples <= 60 * self.rate_hz:
            raise ValueError("a window of 0.01 to 60 seconds is expected")
        if self.hop_samples < 0.005 * self.rate_hz:
            raise ValueError("a hop of 0.005 seconds or more is expected")
        for member in self.members.values():
            features = member.config.features
            # What is pooled later is computed whole first: the larger of the two counts.
            features = getattr(features, "mel", features)
            shape = features.output_shape(self.window_samples, rate_hz=self.rate_hz)
            if math.prod(shape) > _MAX_WINDOW_FEATURES:
                raise ValueError(f"at most {_MAX_WINDOW_FEATURES} numbers a window are expected")
        self.decisions.check(len(self.classes), multilabel=self.multilabel)
        return self


def new_config(**values: Any) -> BundleConfig:
    """A `BundleConfig` that states the versions of this installation."""
    return BundleConfig(earshot_version=earshot.__version__, torch_version=torch.__version__, **values)


def heard_as(audio: AudioConfig, *, length: int, hop: int) -> dict[str, Any]:
    """What a recipe's audio says of a `BundleConfig`.

    Args:
        length: of a window, in samples. hop: from one window to the next, in samples.
    """
    return {
        "rate_hz": audio.rate_hz,
        "window_samples": length,
        "hop_samples": hop,
        "gate_db": audio.gate_db,
        "gate_dbfs": audio.gate_dbfs,
        "clip_score": CLIP_SCORES[audio.window_score],
        "resampler": audio.resampler,
        "limits": audio.limits,
    }


def read_config(folder: Path) -> BundleConfig:
    """The configuration of a model folder.

    Raises:
        BundleError: it is too large, or breaks a rule.
    """
    path = folder / "config.json"
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise BundleError(complaint(path, "size", path.stat().st_size, f"at most {_MAX_CONFIG_BYTES} bytes"))
    try:
        return BundleConfig.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        fix = (
            f"It was written by another version than {earshot.__version__}; train again or install that one."
        )
        raise BundleError(complaint(path, field, value_of(first), rule_of(first), fix)) from error
