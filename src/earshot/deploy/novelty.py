"""Sounds of none of the classes: a detector for each fold model, on what that model makes of a sound.

Conventions: an embedding is what a network's last layer sees, or the features of a classical model: [C] a clip, the
mean over its windows. Detectors tell two things of it: how far it is from every class, and how near to a made-up
noise or tone. Each is averaged over fold models, and over members by their weights in the pool, in units of its
spread over known sounds; the larger of the two is the novelty: about 0 for a typical sound of the classes, 1 at the
limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from earshot.errors import BundleError, DataError
from earshot.evaluation.relative_distance import RelativeDistance
from earshot.models.member import ClassicalMember, Member, NetworkMember, fused

NOVELTY_FILE = "novelty.safetensors"
MAX_EMBEDDING = 4096  # a wider one is hardly a summary of a sound, and its main axes cost too much

Embeddings = Mapping[str, NDArray[np.floating]]


class WithEmbedding:
    """A member that gives its embedding after its probabilities, from one pass.

    Args:
        width: numbers after the probabilities; what the embedding leaves of them is zeros, and what is too wide for
            them is cut off: no detector reads it.
    """

    def __init__(self, member: Member, *, width: int) -> None:
        self.member = member
        self.features: nn.Module = member.features
        self.temperature = member.temperature
        self.width = width
        self._network = fused(member.network) if isinstance(member, NetworkMember) else None

    def predict_features(self, features: Tensor) -> NDArray[np.float32]:
        """Shape: the front end's output for B windows -> [B, K + width]."""
        if self._network is None:
            probs = self.member.predict_features(features)
            embedding = features.flatten(1).float().cpu().numpy()
        else:
            probs, embedding = self._of_network(self._network, features)
        rows = np.zeros((len(probs), probs.shape[1] + self.width), np.float32)
        own = embedding[:, : self.width]
        rows[:, : probs.shape[1]] = probs
        rows[:, probs.shape[1] : probs.shape[1] + own.shape[1]] = own
        return rows

    def _of_network(self, network: Any, features: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        member = self.member
        assert isinstance(member, NetworkMember)
        bf16 = member.precision == "bf16"
        with torch.inference_mode(), torch.autocast(member.device, torch.bfloat16, enabled=bf16):
            embedding = network.embed(features.to(member.device))
            logits = network.head(embedding).float() / member.temperature
        probs = logits.sigmoid() if member.multilabel else logits.softmax(dim=1)
        return probs.cpu().numpy(), embedding.float().cpu().numpy()


def embedding_width(member: Member, n_features: int) -> int:
    """Numbers of a member's embedding; `n_features` are those of a window of its features."""
    if isinstance(member, NetworkMember):
        return int(member.network.head.in_features)  # type: ignore[union-attr, arg-type]
    return n_features if isinstance(member, ClassicalMember) else MAX_EMBEDDING + 1


def detector_scores(
    detectors: Sequence[RelativeDistance], embeddings: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The two scores of embeddings [F, n, D], each by its own detector, averaged over the fold models [2, n]."""
    both = [detector.scores(own) for detector, own in zip(detectors, embeddings, strict=True)]
    return np.asarray(np.mean(both, axis=0))


def mean_units(
    scores: Mapping[str, NDArray[np.float64]],
    scales: Mapping[str, NDArray[np.float64]],
    weights: Mapping[str, float],
) -> NDArray[np.float64]:
    """Each member's two scores [2, n] in units of its centres and spreads [2, 2]; their weighted mean [2, n]."""
    units = [(scores[name] - scale[0][:, None]) / scale[1][:, None] for name, scale in scales.items()]
    return np.asarray(np.average(units, axis=0, weights=[weights[name] for name in scales]))


@dataclass(frozen=True)
class NoveltyModel:
    """Detectors by member, one a fold model, and how their scores become one number.

    Args:
        scales: of each member, centre and spread [2] of its two scores over known sounds.
        weights: of each member, above 0.
        spans: how many of those units each score, averaged over members, is from typical to its limit [2].
    """

    detectors: dict[str, tuple[RelativeDistance, ...]]
    scales: dict[str, NDArray[np.float64]]
    weights: dict[str, float]
    spans: NDArray[np.float64]

    def score(self, embeddings: Embeddings) -> float:
        """Novelty of one clip, from the embeddings [F, C] that each member's fold models made of it."""
        scores = {
            name: detector_scores(detectors, embeddings[name][:, None])
            for name, detectors in self.detectors.items()
        }
        return float(self.combine(scores)[0])

    def combine(self, scores: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Novelty [n] from each member's two scores [2, n]."""
        units = mean_units(scores, self.scales, self.weights) / self.spans[:, None]
        return np.asarray(units.max(axis=0))

    def to_bytes(self) -> bytes:
        """The content of novelty.safetensors."""
        arrays: dict[str, NDArray[Any]] = {"spans": self.spans}
        for name, detectors in self.detectors.items():
            arrays[f"{name}/scale"] = self.scales[name]
            arrays[f"{name}/weight"] = np.array([self.weights[name]])
            for i, detector in enumerate(detectors):
                arrays |= {f"{name}/{i + 1}/{part}": a for part, a in detector.to_arrays().items()}
        return safetensors.numpy.save(arrays)


def read_novelty(path: Path, widths: Mapping[str, Sequence[int]]) -> NoveltyModel:
    """The detectors of a model folder.

    Args:
        widths: of each member's fold models, the numbers of its embedding.

    Raises:
        BundleError: the file does not hold detectors for members of the model, and nothing else.
    """
    try:
        arrays = safetensors.numpy.load(path.read_bytes())
        names = [name for name in widths if f"{name}/scale" in arrays]
        detectors = {
            name: tuple(_detector(arrays, f"{name}/{i + 1}/", width) for i, width in enumerate(widths[name]))
            for name in names
        }
        scales = {name: _numbers(arrays.pop(f"{name}/scale"), (2, 2)) for name in names}
        weights = {name: float(_numbers(arrays.pop(f"{name}/weight"), (1,))[0]) for name in names}
        spans = _numbers(arrays.pop("spans"), (2,))
        if (spans <= 0).any() or any((scale[1] <= 0).any() for scale in scales.values()):
            raise ValueError("a spread is not above 0")
        if any(weight <= 0 for weight in weights.values()):
            raise ValueError("a weight is not above 0")
        if arrays or not names:
            raise ValueError(f"{sorted(arrays)[:3]} belong to no member")
    except (SafetensorError, KeyError, ValueError, DataError) as error:
        raise BundleError(f"{path}: the novelty detectors cannot be read ({error}). Train again.") from error
    return NoveltyModel(detectors, scales, weights, spans)


def _detector(arrays: dict[str, NDArray[Any]], prefix: str, width: int) -> RelativeDistance:
    own = {name.removeprefix(prefix): arrays.pop(name) for name in sorted(arrays) if name.startswith(prefix)}
    return RelativeDistance.from_arrays(own, n_features=width)


def _numbers(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    if values.shape != shape or values.dtype != np.float64 or not np.isfinite(values).all():
        raise ValueError(f"{values.dtype} {values.shape}; expected finite float64 {shape}")
    return values
