"""One-dimensional convolutional networks: along a waveform, or along the frames of a spectrogram."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from earshot.models.layers import Shape
from earshot.models.stack import Preset, StackConfig

_DENSE = ("flatten", "dense 512 relu", "drop 0.5")
_POOL = ("pool 3", "drop 0.25")
_PAIR = ("conv 3 64 relu", "conv 3 64 relu", *_POOL)
_FIRST = ("conv z 32 relu", *_PAIR)


def _along_frames(*after: str) -> tuple[str, ...]:
    """Three convolutions of ever fewer filters and longer kernels, each followed by the same layers."""
    convolutions = ("conv 3 128 relu", "conv 5 64 relu", "conv 7 32 relu")
    return (*(layer for each in convolutions for layer in (each, *after)), "global average")


class Stack1dConfig(StackConfig):
    """Layers along time. A waveform is one channel; of a spectrogram every band is a channel."""

    # Kneusel, "Practical Deep Learning", 2nd ed., ch. 12, on 882 samples: the first five.
    presets: ClassVar[dict[str, Preset]] = {
        "shallow": Preset(("conv z 32 relu", *_POOL, *_DENSE)),
        "medium": Preset((*_FIRST, *_DENSE)),
        "deep0": Preset((*_FIRST, *_PAIR, *_DENSE)),
        "deep1": Preset((*_FIRST, *_PAIR, *_PAIR, *_DENSE)),
        "deep2": Preset((*_FIRST, *_PAIR, *_PAIR, *_PAIR, *_DENSE)),
        # For a speaker's gender, on 128 bands x 150 frames, and what dropout and batch norm add to it.
        "mel_frames": Preset(_along_frames("drop 0.2", "norm")),
        "mel_frames_no_norm": Preset(_along_frames("drop 0.2")),
        "mel_frames_no_drop": Preset(_along_frames("norm")),
        "strided10": Preset(
            (*("conv z 10 stride s same", "norm", "relu") * 10, "global average"), kernel=4, stride=2
        ),
    }

    ranks: ClassVar[frozenset[int]] = frozenset({1, 2})
    kind: Literal["stack1d"] = Field("stack1d", description="a list of layers along time")

    def maps_shape(self, input_shape: Shape) -> Shape:
        """(1, samples) or (bands, frames)."""
        return input_shape if len(input_shape) == 2 else (1, *input_shape)
