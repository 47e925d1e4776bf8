"""Both sides of an experiment as arrays: what is learned from and what is judged.

Conventions: clips to judge stand once, or with all their copies where the protocol wants that; clips to learn from
stand with their copies unless the row says otherwise, and a copy never leaves the side of its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earshot.audio.spectrogram_changes import translate_in_time
from earshot.data.splits import Fold
from earshot.studies.bank import FeatureBank
from earshot.studies.segmented import By, Segmented
from earshot.studies.spec import Protocol, Row
from earshot.studies.synthetic import Toy
from earshot.training.batches import draw_seed


@dataclass(frozen=True)
class Sides:
    """Features and targets of both sides, and the source recordings [N] of what is learned from."""

    features: Tensor
    targets: Tensor
    groups: NDArray[Any]
    judged: Tensor
    judged_targets: Tensor


def toy_sides(toy: Toy) -> Sides:
    """Each point is its own source."""
    inputs, targets = torch.from_numpy(toy.inputs), torch.from_numpy(toy.targets)
    train, test = torch.from_numpy(toy.train), torch.from_numpy(toy.test)
    return Sides(inputs[train], targets[train], toy.train, inputs[test], targets[test])


def clip_sides(
    bank: FeatureBank, row: Row, fold: Fold, *, n_judged: int, seed: int, protocol: Protocol | None = None
) -> Sides:
    """The view of a row, clips with their copies one after the other.

    Args:
        n_judged: copies of each judged clip, itself included.
        protocol: standardises segments, and says what is set aside whole; None: not, and the group.
    """
    clips, n = bank.data.clips, bank.n_variants if row.variants else 1
    targets = torch.from_numpy(clips.targets)
    features = bank.items(row.view, fold.train, n_variants=n)
    if row.n_translated > 1:
        features = _translated(features, row, seed=seed)
    judged = bank.items(row.view, fold.test, n_variants=n_judged)
    whole = bank.data.whole
    if protocol is not None and protocol.standardise and whole is not None:
        features = _standardised(features, whole, fold.train, by=protocol.standardise)
        judged = _standardised(judged, whole, fold.test, by=protocol.standardise)
    times = n * row.n_translated
    by_item = protocol is not None and protocol.inner_by == "item"
    groups = np.repeat(fold.train.astype(str) if by_item else clips.groups[fold.train], times)
    return Sides(
        features=features,
        targets=targets[fold.train].repeat_interleave(times, 0),
        groups=groups,
        judged=judged,
        judged_targets=targets[fold.test].repeat_interleave(n_judged, 0),
    )


def _standardised(features: Tensor, whole: Segmented, rows: NDArray[np.int64], *, by: By) -> Tensor:
    """Samples by the statistics of their recording, or of their class on this side. Shape: [n, T] -> [n, T]."""
    mean, deviation = (torch.from_numpy(each).float()[:, None] for each in whole.scale(rows, by=by))
    return (features - mean) / deviation


def _translated(features: Tensor, row: Row, *, seed: int) -> Tensor:
    """Each spectrogram as often as the row says, every time moved elsewhere. Shape: [N, M, F] -> [N * n, M, F]."""
    rng = torch.Generator().manual_seed(draw_seed(seed, 8))
    many = features.repeat_interleave(row.n_translated, 0)
    return translate_in_time(many, max_share=row.translate_share, fill_db=row.translate_fill_db, rng=rng)
