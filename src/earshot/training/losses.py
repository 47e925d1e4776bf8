"""What a training makes small, by name, and what its curves show.

Conventions
-----------
- Outputs (logits; numbers for a regression) are float32 [B, K]; targets are float32 [B, K]: one-hot, soft or of
  several labels a clip. A loss is the mean over the batch, [].
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from earshot.errors import ConfigError, complaint
from earshot.training.options import TrainingConfig

Loss = Callable[[Tensor, Tensor], Tensor]

_SETTLED = 1e-6  # 1 - p of a class that focal loss leaves alone


def target_loss(logits: Tensor, targets: Tensor, *, multilabel: bool) -> Tensor:
    """Cross-entropy with soft targets, or its binary form a class. Shape: [B, K], [B, K] -> []."""
    if multilabel:
        return functional.binary_cross_entropy_with_logits(logits, targets)
    return functional.cross_entropy(logits, targets)


def focal_loss(logits: Tensor, targets: Tensor, *, gamma: float, multilabel: bool) -> Tensor:
    """Cross-entropy in which a class counts by (1 - p)^gamma, so that what is settled weighs little.

    Shape: [B, K], [B, K] -> [].
    Source: Lin et al., "Focal loss for dense object detection", 2017, equation 4.
    """
    if multilabel:
        yes, no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
        losses = targets * (gamma * no).exp() * yes + (1.0 - targets) * (gamma * yes).exp() * no
        return -losses.mean()
    likely = functional.log_softmax(logits, dim=1)
    unlikely = -torch.expm1(likely.clamp(max=-_SETTLED))  # a root of zero has no slope
    return -(targets * unlikely.pow(gamma) * likely).sum(dim=1).mean()


def training_loss(config: TrainingConfig, *, multilabel: bool) -> Loss:
    """The loss of `config`; "auto" is cross-entropy, of each class by itself where clips have several labels.

    Label smoothing by s: cross-entropy and focal targets become (1 - s) t + s / K, binary ones (1 - s) t + s / 2.

    Raises:
        ConfigError: cross_entropy where clips have several labels.
    """
    if config.loss == "mean_squared_error":
        return functional.mse_loss
    if config.loss == "cross_entropy" and multilabel:
        rule = "binary_cross_entropy, focal or auto where clips have several labels"
        raise ConfigError(complaint("training", "loss", config.loss, rule))
    binary = multilabel or config.loss == "binary_cross_entropy"
    if config.loss == "focal":
        loss: Loss = functools.partial(focal_loss, gamma=config.focal_gamma, multilabel=binary)
    else:
        loss = functools.partial(target_loss, multilabel=binary)
    share = config.label_smoothing
    if share == 0:
        return loss

    def smoothed(logits: Tensor, targets: Tensor) -> Tensor:
        return loss(logits, (1.0 - share) * targets + share / (2 if binary else targets.shape[1]))

    return smoothed


def hits(outputs: Tensor, targets: Tensor) -> Tensor:
    """How many rows have the class of their target; with one column, are on its side. Shape: [B, K] x 2 -> []."""
    if targets.shape[1] == 1:
        return ((outputs > 0) == (targets > 0.5)).sum()
    return (outputs.argmax(dim=1) == targets.argmax(dim=1)).sum()


def has_accuracy(config: TrainingConfig, *, multilabel: bool, n_columns: int = 2) -> bool:
    """Whether a share of right rows says something: not for numbers, nor for several labels a clip."""
    return config.loss != "mean_squared_error" and (not multilabel or n_columns == 1)


@torch.no_grad()
def curve_point(
    outputs: Tensor, targets: Tensor, config: TrainingConfig, *, multilabel: bool, prefix: str
) -> dict[str, float]:
    """`{prefix}_loss`, plain (neither smoothed nor focal), and `{prefix}_accuracy` where there is one."""
    if config.loss == "mean_squared_error":
        return {f"{prefix}_loss": float(functional.mse_loss(outputs, targets))}
    point = {f"{prefix}_loss": float(target_loss(outputs, targets, multilabel=multilabel))}
    if has_accuracy(config, multilabel=multilabel, n_columns=targets.shape[1]):
        point[f"{prefix}_accuracy"] = float(hits(outputs, targets)) / len(targets)
    return point
