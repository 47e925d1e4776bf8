"""What a model is made of, before it has learned anything: layers, shapes, parameters, multiply-adds."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from earshot.models.layers import Shape


def n_parameters(network: nn.Module) -> int:
    """Learned numbers, without those that batch norm only measures.

    >>> n_parameters(nn.BatchNorm1d(16))
    32
    """
    return sum(p.numel() for p in network.parameters())


def summarise(model: Any, *, input_shape: Shape) -> str:
    """The layers of a network with shapes (of one clip), parameters and multiply-adds; or a pipeline's settings."""
    if not isinstance(model, nn.Module):
        return "\n".join(f"{type(step).__name__}: {_settings(step)}" for _, step in model.steps)
    from torchinfo import summary

    with torch.random.fork_rng([]):
        found = summary(
            model,
            input_size=(1, *input_shape),
            col_names=("output_size", "num_params", "mult_adds"),
            row_settings=("var_names",),
            depth=4,
            device="cpu",
            mode="eval",
            verbose=0,
        )
    return str(found).replace("Units.MEGABYTES", "M").replace("Units.GIGABYTES", "G")


def _settings(step: Any) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in sorted(step.get_params(deep=False).items()))
