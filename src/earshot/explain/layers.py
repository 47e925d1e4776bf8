"""What every layer of a network says of one window, and how the last one turns that into logits.

Conventions: activations are float32 [C, ...]: one map [M, F], curve [T] or number a filter; the batch is gone.
A layer is a convolution, dense layer, memory or pool with the norm and the activation that follow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats32 = NDArray[np.float32]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Sigmoid, nn.Tanh, nn.SiLU)
_SILENT = (nn.Dropout, nn.Identity, nn.Flatten, nn.ConstantPad1d, nn.ConstantPad2d)
_POOLS: dict[tuple[type[nn.Module], ...], str] = {
    (nn.MaxPool1d, nn.MaxPool2d): "maximum of neighbours",
    (nn.AvgPool1d, nn.AvgPool2d): "average of neighbours",
    (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d): "average over all steps",
    (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d): "maximum over all steps",
}


@dataclass(frozen=True)
class Layer:
    """One layer: what it is, in words, and its activations [C, ...]."""

    name: str
    activations: Floats32


@dataclass(frozen=True)
class Contributions:
    """How a last layer comes to its logits: pooled values [C], weights [K, C], bias [K].

    What component c adds to the logit of class k is `pooled[c] * weights[k, c]`; with the bias they sum to
    the logit.
    """

    pooled: Floats32
    weights: Floats32
    bias: Floats32

    @property
    def table(self) -> Floats32:
        """What each component adds to each class. Shape: [C, K]."""
        return np.asarray(self.pooled[:, None] * self.weights.T)

    @property
    def logits(self) -> Floats32:
        """Shape: [K]."""
        return np.asarray(self.table.sum(axis=0) + self.bias)


def leaf_outputs(network: nn.Module, given: Tensor) -> list[tuple[nn.Module, Tensor]]:
    """Every module without parts and what it said, in the order of their work.

    Shape: given [1, *input_shape] -> copies of outputs [1, ...].
    """
    found: list[tuple[nn.Module, Tensor]] = []

    def listen(module: nn.Module, _: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output
        if isinstance(first, Tensor):
            found.append((module, first.detach().clone()))

    leaves = [module for module in network.modules() if not list(module.children())]
    handles = [module.register_forward_hook(listen) for module in leaves]
    try:
        with torch.no_grad():
            network(given)
    finally:
        for handle in handles:
            handle.remove()
    return found


def layers_of(network: nn.Module, features: Tensor) -> list[Layer]:
    """The layers below the last one, in the order of their work, with their activations for one window.

    Shape: features [1, *input_shape].
    """
    layers: list[Layer] = []
    for module, output in leaf_outputs(network, features):
        if module in (getattr(network, "head", None), getattr(network, "scaler", None)):
            continue
        if isinstance(module, _SILENT):
            continue
        activations = _filters_first(module, output[0])
        words = _words(module)
        if layers and belongs_to_layer_before(module) and activations.shape == layers[-1].activations.shape:
            words = f"{layers.pop().name}, {words}"
        layers.append(Layer(words, activations))
    return layers


def contributions_of(network: Any, features: Tensor) -> Contributions:
    """The pooled values that the last layer of a network sees, with its weights. Shape: [1, *input_shape]."""
    with torch.no_grad():
        pooled = network.embed(features).float()[0]
    values = (pooled, network.head.weight.detach(), network.head.bias.detach())
    return Contributions(*(np.asarray(each.float().cpu().numpy()) for each in values))


def belongs_to_layer_before(module: nn.Module) -> bool:
    """Whether a module is a norm, an activation, or nothing in evaluation."""
    return isinstance(module, (*_NORMS, *_ACTIVATIONS, nn.Dropout, nn.Identity))


def _filters_first(module: nn.Module, output: Tensor) -> Floats32:
    """Sequences [T, C] of memories and transformers as curves [C, T]; maps and numbers as they are."""
    is_sequence = output.ndim == 2 and isinstance(module, nn.LSTM | nn.Linear | nn.LayerNorm)
    values = output.T if is_sequence else output
    return np.asarray(values.float().cpu().numpy())


def _words(module: nn.Module) -> str:
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        size, stride = ("×".join(str(n) for n in each) for each in (module.kernel_size, module.stride))
        strided = "" if set(module.stride) == {1} else f", stride {stride}"
        return f"convolution {size}, {module.out_channels} filters{strided}"
    if isinstance(module, nn.Linear):
        return f"dense, {module.out_features} units"
    if isinstance(module, nn.LSTM):
        return f"memory, {module.hidden_size} units"
    if isinstance(module, _NORMS):
        return "norm"
    pools = (words for kinds, words in _POOLS.items() if isinstance(module, kinds))
    return next(pools, type(module).__name__)
