"""Two-dimensional convolutional networks, on spectrograms and on pictures."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from earshot.models.layers import Dropout, Shape
from earshot.models.scaling import ScaleName, Scaler
from earshot.models.stack import Network, Preset, StackConfig


class Cnn2dConfig(BaseModel):
    """A dense 3x3 network in the manner of VGG, sized for a few hundred to a few thousand clips."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_network: ClassVar[bool] = True
    ranks: ClassVar[frozenset[int]] = frozenset({2, 3})
    kind: Literal["cnn2d"] = "cnn2d"
    # The first block is narrow: there batch norm and ReLU wait for memory, and 32 instead of 48 channels make a
    # step a quarter shorter.
    n_stem_channels: int = Field(24, ge=1, le=4096)
    block_channels: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (32, 96, 192), min_length=1, max_length=16
    )
    dropout: float = Field(0.2, ge=0, lt=1)
    scale: ScaleName = Field("band", description="how features are standardised; see docs/models.md")


def maps_of(input_shape: Shape) -> Shape:
    """A spectrogram is one map, a colour picture has one a colour.

    >>> maps_of((64, 251)), maps_of((3, 100, 160))
    ((1, 64, 251), (3, 100, 160))
    """
    return input_shape if len(input_shape) == 3 else (1, *input_shape)


def _conv_bn_relu(n_in: int, n_out: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )


class Cnn2d(Network):
    """Strided 5x5 stem, then blocks of two 3x3 convolutions and an average pooling by 2; mean + max over time.

    Frequency is averaged before time is pooled, so clips of any length give one row of logits.

    Shape: features [B, M, F] or [B, 3, M, F] -> logits [B, K]; any M and F, 1 included.
    """

    def __init__(self, config: Cnn2dConfig, *, input_shape: Shape, n_classes: int) -> None:
        super().__init__()
        self.scaler = Scaler(config.scale, input_shape)
        n_in = maps_of(input_shape)[0]
        layers: list[nn.Module] = [_conv_bn_relu(n_in, config.n_stem_channels, kernel=5, stride=2)]
        n_in = config.n_stem_channels
        for n_out in config.block_channels:
            # ceil_mode keeps a clip of a few frames from being pooled away.
            layers += [
                _conv_bn_relu(n_in, n_out),
                _conv_bn_relu(n_out, n_out),
                nn.AvgPool2d(2, ceil_mode=True),
            ]
            n_in = n_out
        self.blocks = nn.Sequential(*layers)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(n_in, n_classes)

    def embed(self, features: Tensor) -> Tensor:
        """The pooled representation before the classifier. Shape: [B, M, F] or [B, 3, M, F] -> [B, C]."""
        scaled = self.scaler(features)
        maps = scaled if scaled.ndim == 4 else scaled[:, None]
        over_time = self.blocks(maps.contiguous(memory_format=torch.channels_last)).mean(dim=2)
        pooled: Tensor = over_time.mean(dim=2) + over_time.amax(dim=2)
        return pooled

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.embed(features)))
        return logits


_MEL_END = ("dense 32 relu", "drop 0.1")
_SAME_16, _SAME_32, _SAME_64, _SAME_128 = (
    (f"conv 3 {n} same relu", "pool 2", "drop 0.2") for n in (16, 32, 64, 128)
)


def _pooled(*n_filters: int) -> tuple[str, ...]:
    """A 3x3 convolution and a pool by 2 for each number of filters, then all of it in one row."""
    return (*(part for n in n_filters for part in (f"conv 3 {n} relu", "pool 2")), "flatten")


class Stack2dConfig(StackConfig):
    """Layers over frequency and time: of a spectrogram, or of a picture with a map a colour."""

    presets: ClassVar[dict[str, Preset]] = {
        # Kneusel, "Practical Deep Learning", 2nd ed., ch. 12, on pictures of 100 x 160.
        "pictures": Preset(
            (
                *("conv z 32 relu", "conv 3 64 relu", "pool 2", "drop 0.25"),
                *("conv 3 64 relu", "pool 2", "drop 0.25"),
                *("flatten", "dense 128 relu", "drop 0.5"),
            )
        ),
        # Cobos, "ML for Audio and Acoustic Engineering", lab 3, on 128 bands x 216 frames.
        "mel": Preset(
            (
                *("conv 3 16 relu", "pool 3 same", "conv 3 16 relu", "pool 2 same"),
                *("conv 2 32 relu", "flatten", *_MEL_END),
            )
        ),
        "mel_norm": Preset(
            (
                *("conv 3 16 relu", "pool 3 same", "norm", "conv 3 16 relu", "pool 2 same"),
                *("conv 2 32 relu", "norm", "flatten", *_MEL_END),
            )
        ),
        # As large as the network of Chodrow's notes, ch. 14, on 128 bands x 157 frames and four classes.
        "views": Preset((*_SAME_16, *_SAME_32, *_SAME_64, *_SAME_128, "flatten")),
        # For a speaker's gender, on 128 bands x 150 frames; then half as wide, and one convolution less.
        "voices": Preset(_pooled(16, 32, 128, 32)),
        "voices_narrow": Preset(_pooled(8, 16, 64, 16)),
        "voices_shallow": Preset(_pooled(16, 32, 32)),
    }
    ranks: ClassVar[frozenset[int]] = frozenset({2, 3})
    kind: Literal["stack2d"] = Field("stack2d", description="a list of layers over frequency and time")

    def maps_shape(self, input_shape: Shape) -> Shape:
        """(1, bands, frames) or (3, height, width)."""
        return maps_of(input_shape)
