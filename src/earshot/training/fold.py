"""One fold of clips, what a recipe says of a member, and what a fitted member says of clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator
from torch import nn
from torch.nn import functional

from earshot.audio import windows
from earshot.audio.augment import AugmentConfig
from earshot.audio.features import FEATURES, FeatureConfig
from earshot.models import ModelConfig
from earshot.models.member import Member
from earshot.models.pooling import WindowScore
from earshot.models.scoring import score_clips
from earshot.training.options import TrainingConfig


class MemberConfig(BaseModel):
    """A front end, a model on it, and for networks how it is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: FeatureConfig
    model: ModelConfig
    augment: AugmentConfig = AugmentConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _fits(self) -> MemberConfig:
        if self.features.rank not in self.model.ranks:
            rule = f"a {self.model.kind} model cannot work on {self.features.kind} features"
            raise ValueError(f"parts that fit, see docs/models.md: {rule}")
        if self.is_network and self.training.loss == "mean_squared_error":
            raise ValueError("a loss of classes: mean_squared_error is for numbers, not for labelled clips")
        if self.is_network and self.training.optimizer == "lbfgs" and self.augment.enabled:
            raise ValueError('augment.enabled = false with optimizer = "lbfgs", which needs unchanged clips')
        return self

    @property
    def changes(self) -> AugmentConfig:
        """The augmentation, as far as it means something for the features."""
        if self.features.rank != 2:
            return self.augment.for_view("other")
        if self.features.kind == "mfcc":
            return self.augment.for_view("cepstra")
        is_power = self.features.kind == "mel" or getattr(self.features, "scale", "db") == "power"
        return self.augment.for_view("power" if is_power else "levels")

    @property
    def is_network(self) -> bool:
        return self.model.is_network


@dataclass(frozen=True)
class FoldData:
    """The clips of one fold as arrays: rows of `view`, their targets [N, K] and groups [N]."""

    view: windows.Clipbank
    targets: NDArray[np.float32]
    groups: NDArray[np.object_]
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    length: int
    hop: int
    rate_hz: int
    multilabel: bool
    gate: windows.Gate = windows.OPEN
    window_score: WindowScore = "mean"

    def input_shape(self, config: MemberConfig) -> tuple[int, ...]:
        """Shape of a window's features."""
        return config.features.output_shape(self.length, rate_hz=self.rate_hz)


@dataclass(frozen=True)
class FittedFold:
    """A fitted member, its probabilities on the fold's held-out clips [n_test, K] and its learning curve."""

    member: Member
    probs: NDArray[np.float32]
    history: list[dict[str, Any]]


def build_front_end(config: MemberConfig, rate_hz: int) -> nn.Module:
    """The member's front end, without trained parameters."""
    return FEATURES[config.features.kind](config.features, rate_hz)


def held_out_probs(member: Member, data: FoldData, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Clip probabilities of some rows of the view. Shape: [n] -> [n, K]."""
    clips = (data.view.get(int(row)) for row in rows)
    probs = np.zeros((len(rows), data.targets.shape[1]), np.float32)
    scored = score_clips(
        clips,
        [member],
        length=data.length,
        hop=data.hop,
        gate=data.gate,
        window_score=data.window_score,
        multilabel=data.multilabel,
    )
    for i, (own,) in enumerate(scored):
        probs[i] = own
    return probs


def held_out_curve(
    probs: NDArray[np.float32], data: FoldData, rows: NDArray[np.int64] | None = None, *, prefix: str = "test"
) -> dict[str, float]:
    """A point of a learning curve on some rows, by default the held-out ones: loss and accuracy."""
    targets = torch.from_numpy(data.targets[data.test if rows is None else rows])
    likely = torch.from_numpy(probs).clamp(1e-7, 1 - 1e-7)
    if data.multilabel:
        return {f"{prefix}_loss": float(functional.binary_cross_entropy(likely, targets))}
    return {
        f"{prefix}_loss": float(-(targets * likely.log()).sum(dim=1).mean()),
        f"{prefix}_accuracy": float((likely.argmax(dim=1) == targets.argmax(dim=1)).float().mean()),
    }


def features_of(
    front_end: nn.Module,
    data: FoldData,
    rows: NDArray[np.int64],
    *,
    n_most: int | None = None,
    batch: int = 16,
) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Features of the windows of some rows, at most `n_most` of each, and which position of `rows` each is from.

    They are the windows that scoring hears.

    Shape: [n] -> [W, *shape], [W].
    """
    device = next((buffer.device for buffer in front_end.buffers()), torch.device("cpu"))
    cuts: list[NDArray[np.int16]] = []
    owners: list[int] = []
    parts: list[torch.Tensor] = []

    def flush() -> None:
        with torch.no_grad():  # a tensor of inference mode could not be trained on
            parts.append(front_end(torch.from_numpy(windows.to_float(np.stack(cuts))).to(device)))
        cuts.clear()

    for i, row in enumerate(rows):
        clip = data.view.get(int(row))
        starts = windows.heard_windows(clip, length=data.length, hop=data.hop, gate=data.gate).starts
        n = len(starts) if n_most is None else min(len(starts), n_most)
        # Spread over the clip; a single one is from its middle.
        chosen = np.linspace(0, len(starts) - 1, n).astype(int) if n > 1 else [len(starts) // 2]
        for start in starts[chosen]:
            cuts.append(windows.cut(clip, int(start), data.length))
            owners.append(i)
            if len(cuts) == batch:
                flush()
    if cuts:
        flush()
    return torch.cat(parts), np.array(owners, dtype=np.int64)
