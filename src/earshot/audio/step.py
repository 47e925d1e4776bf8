"""What every step of an augmentation has: how often it is applied, and what it drew as plain values."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Parameters = dict[str, Any]


class Step(BaseModel):
    """The configuration of one step; its kinds are in the union `StepConfig` of `transforms.py`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probability: float = Field(0.5, ge=0, le=1, description="share of the sounds that it is applied to")
