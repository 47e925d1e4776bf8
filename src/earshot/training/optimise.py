"""Optimisers and learning rates by name, and the precision in which a network is trained."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from earshot.errors import ConfigError, complaint
from earshot.models.member import Precision, fast_precision
from earshot.training.batches import Batches, FixedBatches
from earshot.training.options import TrainingConfig

_LARGE_NETWORK = 10_000_000  # weights from which matrix products outweigh everything else
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def build_optimizer(config: TrainingConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimiser of `config` for those parameters that learn.

    Weight decay is decoupled from the gradient with adamw; with the others it is the gradient of the L2 penalty
    weight_decay / 2 * |w|^2 (of L-BFGS, which has none of its own, `penalise` adds it). One step of L-BFGS is one
    iteration: a direction and a line search along it.
    """
    learning = [p for p in parameters if p.requires_grad]
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "lbfgs":
        return torch.optim.LBFGS(learning, lr=1.0, max_iter=1, line_search_fn="strong_wolfe")
    if config.optimizer == "sgd":
        nesterov = config.nesterov and config.momentum > 0
        return torch.optim.SGD(
            learning, lr=rate, momentum=config.momentum, nesterov=nesterov, weight_decay=decay, fused=True
        )
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(learning, lr=rate, weight_decay=decay, fused=True)


@torch.no_grad()
def penalise(optimizer: Optimizer, weight_decay: float) -> float:
    """Adds the gradient of weight_decay / 2 * |w|^2 to the gradients; returns the penalty itself."""
    total = 0.0
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        if parameter.grad is not None:
            parameter.grad.add_(parameter, alpha=weight_decay)
            total += 0.5 * weight_decay * float(parameter.square().sum())
    return total


def one_cycle(share: float, *, warmup_share: float) -> float:
    """Learning-rate factor at a share of all steps: cosine up from 1/25 to 1, cosine down to 1/10,000.

    Source: Smith and Topin, "Super-convergence", 2018, and PyTorch's OneCycleLR, whose end is 25 times lower.

    >>> [round(one_cycle(s, warmup_share=0.1), 4) for s in (0.0, 0.1, 1.0)]
    [0.04, 1.0, 0.0001]
    """
    if share < warmup_share:
        low, x = 1 / 25, 1.0 - share / warmup_share
    else:
        low, x = 1e-4, (share - warmup_share) / (1.0 - warmup_share)
    return low + (1.0 - low) * (1.0 + math.cos(math.pi * x)) / 2.0


def precision_for(wanted: str, network: nn.Module, device: str) -> Precision:
    """ "fp32" or "bf16": `wanted`, or for "auto" what is fastest on the device and does no harm.

    bf16 pays for two-dimensional convolutions and large networks. Small perceptrons, 1D convolutions and recurrent
    networks wait for memory, and a regression needs its digits. A recurrent layer stays in fp32 on a CPU whatever
    is wanted, for many CPUs have no such layer in bf16.
    """
    modules = list(network.modules())
    if torch.device(device).type == "cpu" and any(isinstance(m, nn.RNNBase) for m in modules):
        return "fp32"
    if wanted != "auto":
        return wanted
    large = sum(p.numel() for p in network.parameters()) >= _LARGE_NETWORK
    pays = large or any(isinstance(m, nn.Conv2d) for m in modules)
    return fast_precision(device) if pays and not any(isinstance(m, nn.RNNBase) for m in modules) else "fp32"


def scoring_precision(wanted: str, network: nn.Module, device: str) -> Precision:
    """The precision in which a trained network scores, wherever it does: "fp32" where it was trained in that.

    bf16 that was asked for in training is taken only where it is fast: scoring may be done on another machine.
    """
    return precision_for("fp32" if wanted == "fp32" else "auto", network, device)


def check_full_batch(network: nn.Module, batches: Batches) -> None:
    """L-BFGS compares losses from step to step: they must be of the same clips, unchanged, by the same network.

    Raises:
        ConfigError: random changes of the clips, mini-batches, or dropout.
    """
    if not isinstance(batches, FixedBatches):
        rule, fix = "unchanged clips of one window each with lbfgs", "Set augment.enabled = false."
        raise ConfigError(complaint("training", "augment", "on", rule, fix))
    if batches.batch_size < batches.n_clips or batches.weights is not None:
        rule = f"all {batches.n_clips} clips, once each, with lbfgs"
        raise ConfigError(complaint("training", "batch", batches.batch_size, rule, "Raise batch_size."))
    dropped = [m.p for m in network.modules() if isinstance(m, _DROPOUTS)]
    dropped += [m.dropout for m in network.modules() if isinstance(m, nn.RNNBase)]
    if any(share > 0 for share in dropped):
        rule = "0 with lbfgs"
        raise ConfigError(complaint("training", "dropout", max(dropped), rule, "Or take another optimizer."))
