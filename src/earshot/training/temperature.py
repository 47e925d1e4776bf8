"""The temperature that turns scores into probabilities."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from earshot.training.losses import target_loss

# Of the logarithm: a naive Bayes on a thousand features that depend on each other has gaps of thousands.
_LARGEST = 12.0


def fit_temperature(
    scores: NDArray[np.float64], targets: NDArray[np.float32], *, multilabel: bool = False
) -> float:
    """The temperature that makes scores / temperature most likely, by a bounded search over its logarithm.

    `scores` must come from models that did not see the clips they score. Targets count as one clip in n + 1 less
    certain than they are, as in Platt scaling: else scores without an error would mean certainty.

    Shape: [N, K], [N, K] -> float.
    Source: Guo et al., "On calibration of modern neural networks", 2017; Platt, 1999, for the targets.
    """
    from scipy.optimize import minimize_scalar

    n, n_classes = scores.shape
    chance = 0.5 if multilabel else 1.0 / n_classes
    logits = torch.from_numpy(scores)
    wanted = (n * torch.from_numpy(targets).double() + chance) / (n + 1)

    def loss(log_temperature: float) -> float:
        return float(target_loss(logits / math.exp(log_temperature), wanted, multilabel=multilabel))

    return math.exp(minimize_scalar(loss, bounds=(-6.0, _LARGEST), method="bounded").x)
