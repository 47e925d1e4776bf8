"""A member: one front end and one fitted model. Windows in, probabilities out, the same at every place of use.

Conventions
-----------
- Windows are float32 [B, T] in [-1, 1] at the member's rate; probabilities are float32 [B, K].
- Single-label rows sum to 1; with several labels a clip each column is a probability of its own.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from earshot.errors import EarshotError, complaint

Precision = str
PRECISIONS = ("fp32", "bf16")
# A vote that no tree or neighbour gave says that a class is unlikely, not that it is impossible.
_LEAST_PROBABLE = 1e-3


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
    kind = torch.device(device).type
    if kind == "cuda":
        with torch.cuda.device(device):  # it is the current one that torch speaks of
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if kind == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16", False):
        return "bf16"
    return "fp32"


def pick_device(wanted: str = "auto") -> str:
    """`wanted`, such as "cuda" or "cuda:1", or for "auto" the fastest device at hand: cuda, mps, cpu.

    Raises:
        EarshotError: torch does not find that device.
    """
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = {"cuda": n_cuda, "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if wanted == "auto":
        return next(name for name, n in there.items() if n)
    if not _is_there(wanted, there):
        found = [f"{name}:{i}" if n > 1 else name for name, n in there.items() for i in range(n)]
        rule = f"one that torch finds here: {', '.join(found)}"
        raise EarshotError(complaint("--device", "device", wanted, rule, "Use auto, or install that torch."))
    return wanted


def _is_there(wanted: str, there: dict[str, int]) -> bool:
    """Whether torch has a device, given how many there are of a kind; kinds that are not counted pass."""
    try:
        device = torch.device(wanted)
    except RuntimeError:
        return False
    return device.type not in there or (device.index or 0) < there[device.type]


def fused(network: nn.Module) -> nn.Module:
    """A copy that gives the same outputs, each batch norm folded into the convolution before it.

    Batch norm waits for memory: without it whole clips are scored some 5 % faster.
    """
    copied = copy.deepcopy(network).eval()
    for block in copied.modules():
        if not isinstance(block, nn.Sequential):
            continue
        for i in range(len(block) - 1):
            first, second = block[i], block[i + 1]
            if isinstance(first, nn.Conv1d | nn.Conv2d) and isinstance(
                second, nn.BatchNorm1d | nn.BatchNorm2d
            ):
                block[i], block[i + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return copied


class NetworkMember:
    """A network on its front end, in evaluation mode; `network` is what is saved, changes to it go unheard."""

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
        self._scorer = fused(self.network)
        self.multilabel = multilabel
        self.device = device
        self.precision = precision
        self.temperature = temperature

    def predict_features(self, features: Tensor) -> NDArray[np.float32]:
        bf16 = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=bf16):
            logits = self._scorer(features.to(self.device)).float() / self.temperature
        probs = logits.sigmoid() if self.multilabel else logits.softmax(dim=1)
        return np.asarray(probs.cpu().numpy(), dtype=np.float32)


class ClassicalMember:
    """A fitted scikit-learn model on its front end; decision values become probabilities at a temperature."""

    def __init__(
        self,
        features: nn.Module,
        estimator: Any,
        *,
        n_classes: int,
        temperature: float,
        multilabel: bool = False,
    ) -> None:
        self.features = features
        self.estimator = estimator
        self.n_classes = n_classes
        self.temperature = temperature
        self.multilabel = multilabel

    def predict_features(self, features: Tensor) -> NDArray[np.float32]:
        scores = decision_values(
            self.estimator, features.flatten(1).float().cpu().numpy(), n_classes=self.n_classes
        )
        return scores_to_probs(scores, temperature=self.temperature, multilabel=self.multilabel)


def decision_values(estimator: Any, rows: NDArray[np.float32], *, n_classes: int) -> NDArray[np.float64]:
    """A column a class, whatever scikit-learn gives; the largest is the answer. Shape: [N, D] -> [N, K].

    For most models that is the class that they predict. A support vector machine of more than two classes compares
    them pair by pair; a class gets its smallest margin over any other, not scikit-learn's count of votes, which
    says little about confidence (ESC-10: right answers against wrong ones, AUROC 0.81 instead of 0.57).
    Two classes have one column there, and a class without a training clip has none; it gets one vote less than
    the least likely of the others. With several labels a clip, a label that all (none) of the training clips had
    gets the score of a clear yes (no).
    """
    from sklearn.multiclass import OneVsRestClassifier

    if isinstance(estimator, OneVsRestClassifier):
        return np.stack([_yes(binary, rows) for binary in estimator.estimators_], axis=1)
    scores = _scores(estimator, rows)
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    full = np.repeat(scores.min(axis=1, keepdims=True) - 1.0, n_classes, axis=1)
    full[:, estimator.classes_] = scores
    return full


def _yes(binary: Any, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much speaks for one label. Shape: [N, D] -> [N]."""
    if not hasattr(binary, "classes_"):  # every training clip said the same: 0 or 1
        return 2.0 * np.asarray(binary.decision_function(rows), dtype=np.float64) - 1.0
    scores = _scores(binary, rows)
    return scores if scores.ndim == 1 else scores[:, 1] - scores[:, 0]


def _scores(estimator: Any, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Decision values, or else log probabilities, of a fitted pipeline. Shape: [N, D] -> [N, classes] or [N]."""
    from scipy.spatial.distance import cdist

    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    if hasattr(last, "centroids_"):  # its own decision values do not agree with its predictions
        for step in estimator[:-1] if last is not estimator else ():
            rows = step.transform(rows)
        return np.asarray(-cdist(rows, last.centroids_, "sqeuclidean"), dtype=np.float64)
    if hasattr(estimator, "decision_function"):
        values = np.asarray(estimator.decision_function(rows), dtype=np.float64)
        is_paired = getattr(last, "decision_function_shape", "") == "ovo" and len(last.classes_) > 2
        return _least_margins(values, len(last.classes_)) if is_paired else values
    if hasattr(last, "predict_joint_log_proba"):  # far more certain than a probability can say
        return np.asarray(estimator.predict_log_proba(rows), dtype=np.float64)
    return np.log(np.clip(np.asarray(estimator.predict_proba(rows), dtype=np.float64), _LEAST_PROBABLE, 1.0))


def _least_margins(pairs: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    """The smallest margin of each class over any other. Shape: [N, n (n - 1) / 2] -> [N, n]."""
    least = np.full((len(pairs), n_classes), np.inf)
    for column, (i, j) in enumerate(itertools.combinations(range(n_classes), 2)):
        least[:, i] = np.minimum(least[:, i], pairs[:, column])
        least[:, j] = np.minimum(least[:, j], -pairs[:, column])
    return least


def scores_to_probs(
    scores: NDArray[np.float64], *, temperature: float, multilabel: bool = False
) -> NDArray[np.float32]:
    """Softmax (sigmoid for several labels a clip) of scores / temperature. Shape: [N, K] -> [N, K]."""
    scaled = scores / temperature
    if multilabel:
        return np.asarray(torch.from_numpy(scaled).sigmoid().numpy(), dtype=np.float32)
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
