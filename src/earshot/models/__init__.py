"""MODELS: the name of a model in a recipe -> what builds it, untrained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from earshot.models.classical import SvmConfig, build_svm
from earshot.models.cnn2d import Cnn2d, Cnn2dConfig

ModelConfig = Annotated[Cnn2dConfig | SvmConfig, Field(discriminator="kind")]

MODELS: dict[str, Callable[..., Any]] = {
    "cnn2d": Cnn2d,
    "svm": build_svm,
}
