"""A member: one front end and one fitted model. Windows in, probabilities out, the same at every place of use.

Conventions
-----------
- Windows are float32 [B, T] in [-1, 1] at the member's rate; probabilities are float32 [B, K].
- Single-label rows sum to 1; with several labels a clip each column is a probability of its own.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Precision = str
PRECISIONS = ("fp32", "bf16")


class Member(Protocol):
    """What an ensemble, a bundle and a fold need of a fitted model. Scores are divided by `temperature`."""

    features: nn.Module
    temperature: float

    def predict_features(self, features: Tensor) -> NDArray[np.float32]:
        """Shape: the front end's output for B windows -> probabilities [B, K]."""
        ...


def fast_precision(device: str) -> Precision:
    """The precision in which convolutions run fastest on a device without a loss that training would notice.

    bf16 where the hardware multiplies it natively (CUDA from Ampere on; CPUs with AVX512-BF16 or AMX), else fp32.
    """
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16", False):
        return "bf16"
    return "fp32"


def pick_device(wanted: str = "auto") -> str:
    """`wanted`, or for "auto" the fastest device at hand: cuda, mps, cpu."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


class NetworkMember:
    """A network on its front end, in evaluation mode."""

    def __init__(
        self,
        features: nn.Module,
        network: nn.Module,
        *,
        temperature: float = 1.0,
        multilabel: bool = False,
        device: str = "cpu",
        precision: Precision = "fp32",
    ) -> None:
        self.features = features.to(device)
        self.network = network.to(device).eval()
        self.multilabel = multilabel
        self.device = device
        self.precision = precision
        self.temperature = temperature

    def predict_features(self, features: Tensor) -> NDArray[np.float32]:
        bf16 = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=bf16):
            logits = self.network(features.to(self.device)).float() / self.temperature
        probs = logits.sigmoid() if self.multilabel else logits.softmax(dim=1)
        return np.asarray(probs.cpu().numpy(), dtype=np.float32)


class ClassicalMember:
    """A fitted scikit-learn model on its front end; decision values become probabilities at a temperature."""

    def __init__(
        self, features: nn.Module, estimator: Any, *, temperature: float, multilabel: bool = False
    ) -> None:
        self.features = features
        self.estimator = estimator
        self.temperature = temperature
        self.multilabel = multilabel

    def predict_features(self, features: Tensor) -> NDArray[np.float32]:
        scores = decision_values(self.estimator, features.cpu().numpy())
        return scores_to_probs(scores, temperature=self.temperature, multilabel=self.multilabel)


def decision_values(estimator: Any, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """A column a class, also for two classes, where scikit-learn gives one. Shape: [N, D] -> [N, K]."""
    scores = np.asarray(estimator.decision_function(rows), dtype=np.float64)
    return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


def scores_to_probs(
    scores: NDArray[np.float64], *, temperature: float, multilabel: bool = False
) -> NDArray[np.float32]:
    """Softmax (sigmoid for several labels a clip) of scores / temperature. Shape: [N, K] -> [N, K]."""
    scaled = scores / temperature
    if multilabel:
        return np.asarray(1.0 / (1.0 + np.exp(-scaled)), dtype=np.float32)
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
