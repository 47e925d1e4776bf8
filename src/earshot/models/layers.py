"""Layers in words: a network as a list such as "conv 3 32 relu", "pool 2", "flatten", "dense 64 relu".

Conventions
-----------
- Words and defaults are those of Keras, but for the slope of `leaky`, torch's 0.01: convolutions and pools are not
  padded unless `same` is said (then ceil(n / stride) steps come out), a pool's stride is its size, a size of one
  number counts for every axis.
- Shapes are without the batch: (channels, *steps) of maps with one or two axes, (n,) of flat values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial, reduce
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from earshot.errors import ConfigError, complaint

Shape = tuple[int, ...]
Values = dict[str, str]
Built = tuple[list[nn.Module], Shape]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky": nn.LeakyReLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}

_NORM_EPSILON = 1e-3  # Keras's; torch has 1e-5
_FIX = "Take a longer window or fewer, smaller layers; docs/models.md lists what a layer can say."
_NUMBER = r"[1-9]\d{0,4}"
_SIZE = rf"{_NUMBER}(?:x{_NUMBER})?"
_STRIDE = rf"(?: stride (?P<stride>{_SIZE}))?"
_SAME = r"(?P<same> same)?"
_ACTIVATION = rf"(?: (?P<activation>{'|'.join(ACTIVATIONS)}))?"

# What a layer may say: for people, and as a pattern.
FORMS: dict[str, tuple[str, str]] = {
    "conv": (
        "conv SIZE FILTERS [stride SIZE] [same] [ACTIVATION]",
        rf"conv (?P<size>{_SIZE}) (?P<n>{_NUMBER}){_STRIDE}{_SAME}{_ACTIVATION}",
    ),
    "pool": ("pool SIZE [stride SIZE] [same]", rf"pool (?P<size>{_SIZE}){_STRIDE}{_SAME}"),
    "average": ("average SIZE [stride SIZE]", rf"average (?P<size>{_SIZE}){_STRIDE}"),
    "global": ("global average or global max", r"global (?P<how>average|max)"),
    "norm": ("norm", "norm"),
    "drop": ("drop RATE, with 0 <= RATE < 1", r"drop (?P<rate>0?\.\d{1,6}|0)"),
    "flatten": ("flatten", "flatten"),
    "dense": ("dense UNITS [ACTIVATION]", rf"dense (?P<n>{_NUMBER}){_ACTIVATION}"),
    **{name: (name, name) for name in ACTIVATIONS},
}


def parse_layer(text: str) -> tuple[str, Values]:
    """The first word of a layer and what follows it, by name.

    >>> parse_layer("conv 3 32 same relu")
    ('conv', {'size': '3', 'n': '32', 'same': ' same', 'activation': 'relu'})

    Raises:
        ValueError: the layer is not in the vocabulary; the message says what may stand there.
    """
    words = text.split()
    word = words[0] if words else ""
    if word not in FORMS:
        raise ValueError(f"a layer that begins with {', '.join(FORMS)}; not {text!r}")
    form, pattern = FORMS[word]
    found = re.fullmatch(pattern, " ".join(words))
    if found is None:
        raise ValueError(f"{form}; not {text!r}")
    return word, {name: value for name, value in found.groupdict().items() if value is not None}


def build_layers(layers: Sequence[str], shape: Shape) -> tuple[nn.Sequential, Shape]:
    """The modules of some layers for an input of one shape, and the shape that comes out.

    Raises:
        ConfigError: a layer is unknown, stands in the wrong place, or nothing is left of the input there.
    """
    modules: list[nn.Module] = []
    for i, text in enumerate(layers):
        try:
            word, values = parse_layer(text)
            more, shape = _BUILDERS[word](values, shape)
        except ValueError as error:
            raise ConfigError(complaint("model", f"layer {i + 1}", text, str(error), _FIX)) from error
        modules += more
    return Layers(*modules), shape


class Layers(nn.Sequential):
    """Layers one after another; in training a max pool comes before an activation that stands in front of it.

    A ReLU, plain or leaky, then sees a fraction of the values; what comes out is the same, and so are the gradients
    (leaky in bf16 nearly so: rounding may make two negative values one, of which a pool takes the first). Sigmoid
    and tanh stay where they are: in bf16 they make so many values one that gradients would go elsewhere.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        order = list(self)
        for i, (first, second) in enumerate(pairwise(self)):
            if self.training and isinstance(first, _AFTER_POOLS) and isinstance(second, nn.MaxPool2d):
                order[i : i + 2] = second, first
        return reduce(lambda values, layer: layer(values), order, input)


class Conv1d(nn.Conv1d):
    """`nn.Conv1d` on maps whose channels lie side by side in memory: 1.4 times as fast in a training.

    torch has such maps for two axes only, and copies others.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        assert not isinstance(self.padding, str)
        out = functional.conv2d(
            _with_height(input),
            self.weight[:, :, None],
            self.bias,
            stride=(1, *self.stride),
            padding=(0, *self.padding),
            dilation=(1, *self.dilation),
            groups=self.groups,
        )
        return out.squeeze(2)


class MaxPool1d(nn.MaxPool2d):
    """`nn.MaxPool1d` on maps whose channels lie side by side in memory, as `Conv1d` leaves them."""

    def __init__(self, size: tuple[int], stride: tuple[int]) -> None:
        super().__init__((1, *size), (1, *stride))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        pooled: Tensor = super().forward(_with_height(input))
        return pooled.squeeze(2)


def _with_height(maps: Tensor) -> Tensor:
    """A second axis of one row, channels last. Shape: [B, C, T] -> [B, C, 1, T]."""
    n_batch, n_channels, n_steps = maps.shape
    if n_channels == 1:  # could be read either way: these strides say which it is
        return maps.reshape(n_batch, n_steps, 1).transpose(1, 2).unsqueeze(2)
    return maps.unsqueeze(2).contiguous(memory_format=torch.channels_last)


class Norm(nn.BatchNorm2d):
    """Batch norm of maps with any axes; a batch with one value a channel has no statistics and takes the known."""

    def forward(self, values: Tensor) -> Tensor:
        if self.training and values.numel() == values.shape[1]:
            known = (self.running_mean, self.running_var, self.weight, self.bias)
            return functional.batch_norm(values, *known, eps=self.eps)
        if values.ndim == 3:  # as Conv1d leaves them
            return super().forward(values.unsqueeze(2)).squeeze(2)
        return super().forward(values)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        """Any number of axes will do."""


class Dropout(nn.Dropout):
    """`nn.Dropout` with a third of its time on a CPU.

    torch draws a number for each value there, one after another. Here one of 64 bits serves four values, and the
    rate is right to 1/65536.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        if not self.training or self.p == 0 or input.device.type != "cpu":
            return super().forward(input)
        n_values = input.numel()
        draws = torch.empty(-(-n_values // 4), dtype=torch.int64).random_(-(2**63), None)
        n_dropped = min(round(self.p * 2**16), 2**16 - 1)  # of the 65536 values of 16 bits
        is_kept = draws.view(torch.int16)[:n_values] >= n_dropped - 2**15
        factors = torch.empty_like(input)  # in the order of the input's memory, and without gaps
        torch.mul(is_kept, 2**16 / (2**16 - n_dropped), out=factors.as_strided((n_values,), (1,)))
        return input * factors


def _conv(values: Values, shape: Shape) -> Built:
    n_axes = _axes(shape)
    kernel, stride = _per_axis(values["size"], n_axes), _per_axis(values.get("stride", "1"), n_axes)
    pads = _pads(shape, kernel, stride, same="same" in values)
    n_out = int(values["n"])
    inner = pads if all(before == after for before, after in pads) else [(0, 0)] * n_axes
    padding = tuple(before for before, _ in inner)
    conv = _MODULES["conv"][n_axes - 1](shape[0], n_out, kernel, stride, padding=padding)
    return [*_outer(pads, inner, 0.0), conv, *_activation(values)], (
        n_out,
        *_steps(shape, kernel, stride, pads),
    )


def _pool(kind: str, values: Values, shape: Shape) -> Built:
    n_axes = _axes(shape)
    size = _per_axis(values["size"], n_axes)
    stride = _per_axis(values.get("stride", values["size"]), n_axes)
    pads = _pads(shape, size, stride, same="same" in values)
    outer = _outer(pads, [(0, 0)] * n_axes, -math.inf)
    return [*outer, _MODULES[kind][n_axes - 1](size, stride)], (
        shape[0],
        *_steps(shape, size, stride, pads),
    )


def _global(values: Values, shape: Shape) -> Built:
    return [_MODULES[f"global {values['how']}"][_axes(shape) - 1](1), nn.Flatten()], (shape[0],)


def _norm(values: Values, shape: Shape) -> Built:
    return [Norm(shape[0], eps=_NORM_EPSILON)], shape


def _drop(values: Values, shape: Shape) -> Built:
    return [Dropout(float(values["rate"]))], shape


def _flatten(values: Values, shape: Shape) -> Built:
    return [nn.Flatten()], (math.prod(shape),)


def _dense(values: Values, shape: Shape) -> Built:
    if len(shape) > 1:
        raise ValueError("flatten or global average before it")
    n_out = int(values["n"])
    return [nn.Linear(shape[0], n_out), *_activation(values)], (n_out,)


def _alone(name: str, values: Values, shape: Shape) -> Built:
    return [ACTIVATIONS[name]()], shape


_BUILDERS: dict[str, Callable[[Values, Shape], Built]] = {
    "conv": _conv,
    "pool": partial(_pool, "pool"),
    "average": partial(_pool, "average"),
    "global": _global,
    "norm": _norm,
    "drop": _drop,
    "flatten": _flatten,
    "dense": _dense,
    **{name: partial(_alone, name) for name in ACTIVATIONS},
}
# For one axis and for two.
_MODULES: dict[str, tuple[Any, Any]] = {
    "conv": (Conv1d, nn.Conv2d),
    "pad": (nn.ConstantPad1d, nn.ConstantPad2d),
    "pool": (MaxPool1d, nn.MaxPool2d),
    "average": (nn.AvgPool1d, nn.AvgPool2d),
    "global average": (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
    "global max": (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
}


_AFTER_POOLS = (nn.ReLU, nn.LeakyReLU)


def _activation(values: Values) -> list[nn.Module]:
    return [ACTIVATIONS[values["activation"]]()] if "activation" in values else []


def _axes(shape: Shape) -> int:
    if len(shape) == 1:
        raise ValueError("no flatten or global pool before it")
    return len(shape) - 1


def _per_axis(size: str, n_axes: int) -> tuple[int, ...]:
    numbers = tuple(int(number) for number in size.split("x"))
    if len(numbers) == 1:
        return numbers * n_axes
    if len(numbers) != n_axes:
        raise ValueError("one size on an input of one axis")
    return numbers


def _pads(shape: Shape, kernel: Shape, stride: Shape, *, same: bool) -> list[tuple[int, int]]:
    """What is added before and after each axis; where the two differ, more of it after, as in TensorFlow."""
    if not same:
        return [(0, 0) for _ in kernel]
    totals = [
        max((math.ceil(n / s) - 1) * s + k - n, 0) for n, k, s in zip(shape[1:], kernel, stride, strict=True)
    ]
    return [(total // 2, total - total // 2) for total in totals]


def _outer(pads: list[tuple[int, int]], inner: list[tuple[int, int]], value: float) -> list[nn.Module]:
    """A layer that pads, where the layer after it does not do it all itself."""
    if pads == inner:
        return []
    flat = tuple(n for pair in reversed(pads) for n in pair)  # torch begins with the last axis
    return [_MODULES["pad"][len(pads) - 1](flat, value)]


def _steps(shape: Shape, kernel: Shape, stride: Shape, pads: list[tuple[int, int]]) -> Shape:
    axes = zip(shape[1:], kernel, stride, pads, strict=True)
    steps = tuple((n + sum(pad) - k) // s + 1 for n, k, s, pad in axes)
    if min(steps) < 1:
        wanted, left = ("x".join(map(str, size)) for size in (kernel, shape[1:]))
        raise ValueError(f"at least {wanted} steps to work on, where {left} are left")
    return steps
