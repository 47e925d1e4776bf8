"""Networks that are a list of layers: what the one- and two-dimensional ones and the MLPs have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from earshot.errors import ConfigError, complaint
from earshot.models.layers import Shape, build_layers, parse_layer
from earshot.models.scaling import ScaleName, Scaler

InitName = Literal["glorot", "torch"]


class NetworkConfig(BaseModel):
    """What every network of layers has: how its features are scaled and how its weights start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_network: ClassVar[bool] = True
    scale: ScaleName = Field("band", description="how features are standardised; see docs/models.md")
    init: InitName = Field("glorot", description="weights at the start: as Keras or as torch draws them")


class StackLike(Protocol):
    """What `Stack` asks of a configuration."""

    @property
    def scale(self) -> ScaleName: ...
    @property
    def init(self) -> InitName: ...

    def steps(self) -> tuple[str, ...]:
        """The layers below the last one, in words."""
        ...

    def maps_shape(self, input_shape: Shape) -> Shape:
        """The shape in which features enter the first layer."""
        ...


class Preset(NamedTuple):
    """A named list of layers; `z` and `s` stand for the kernel and the stride that a recipe may choose."""

    layers: tuple[str, ...]
    kernel: int = 3
    stride: int = 1


class StackConfig(NetworkConfig):
    """A list of layers by name or in words; the last layer, one output a class, is added to it."""

    presets: ClassVar[dict[str, Preset]] = {}
    preset: str | None = Field(None, description="a named list of layers; see docs/models.md")
    layers: tuple[str, ...] = Field((), max_length=100, description="or the layers themselves, in words")
    kernel: int | None = Field(None, ge=1, le=9999, description="what z stands for in the layers")
    stride: int | None = Field(None, ge=1, le=9999, description="what s stands for in the layers")

    @model_validator(mode="after")
    def _is_a_list(self) -> StackConfig:
        if bool(self.layers) == (self.preset is not None):
            raise ValueError("either layers or a preset")
        if self.preset is not None and self.preset not in self.presets:
            raise ValueError(f"a preset that is one of {', '.join(self.presets)}; not {self.preset!r}")
        words = {word for layer in self._plan().layers for word in layer.split()}
        for name, letter in {"kernel": "z", "stride": "s"}.items():
            if getattr(self, name) is not None and letter not in words:
                raise ValueError(f"no {name}, for no layer has the letter {letter} for it")
        for layer in self.steps():
            parse_layer(layer)
        return self

    def _plan(self) -> Preset:
        return self.presets[self.preset] if self.preset is not None else Preset(self.layers)

    def steps(self) -> tuple[str, ...]:
        """The layers below the last one, in words, with z and s filled in."""
        plan = self._plan()
        letters = {"z": str(self.kernel or plan.kernel), "s": str(self.stride or plan.stride)}
        return tuple(" ".join(letters.get(word, word) for word in layer.split()) for layer in plan.layers)


class Network(nn.Module, ABC):
    """An embedding and one linear layer on top of it."""

    head: nn.Linear

    @abstractmethod
    def embed(self, features: Tensor) -> Tensor:
        """What the last layer sees. Shape: [B, *input_shape] -> [B, C]."""

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embed(features))
        return logits


class Stack(Network):
    """A list of layers and one linear layer on top of it.

    Shape: features [B, *input_shape] -> logits [B, K].

    Raises:
        ConfigError: the layers do not fit the shape of the features.
    """

    def __init__(self, config: StackLike, *, input_shape: Shape, n_classes: int) -> None:
        super().__init__()
        maps_shape = config.maps_shape(input_shape)
        self.n_axes = len(maps_shape)
        self.scaler = Scaler(config.scale, input_shape)
        self.layers, shape = build_layers(config.steps(), maps_shape)
        if len(shape) != 1:
            last = config.steps()[-1]
            raise ConfigError(complaint("model", "last layer", last, "flatten or global average at the end"))
        self.head = nn.Linear(shape[0], n_classes)
        start_weights(self, config.init)

    def embed(self, features: Tensor) -> Tensor:
        maps = self.scaler(features)
        if self.n_axes == 1:
            maps = maps.flatten(1)
        elif maps.ndim == self.n_axes:  # no axis of channels yet
            maps = maps[:, None]
        if maps.ndim == 4:
            maps = maps.contiguous(memory_format=torch.channels_last)
        embedding: Tensor = self.layers(maps)
        return embedding


def start_weights(network: nn.Module, init: InitName) -> None:
    """Draws the weights as Keras does (`glorot`: uniform, biases 0), or leaves them as torch drew them.

    Recurrent weights are orthogonal and forget gates begin open, as there.
    """
    if init == "torch":
        return
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LSTM):
            for name, weight in module.named_parameters():
                if name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(weight)
                elif name.startswith("weight_hh"):
                    nn.init.orthogonal_(weight)
                else:
                    nn.init.zeros_(weight)
                    if name.startswith("bias_ih"):
                        nn.init.ones_(weight[module.hidden_size : 2 * module.hidden_size])
