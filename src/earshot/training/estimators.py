"""A classical model as a member: scikit-learn on rows of features, with a temperature from inner folds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earshot.audio.augment import AugmentConfig
from earshot.models.classical import SEEDED, ClassicalConfig
from earshot.models.member import ClassicalMember, decision_values
from earshot.training.batches import TrainingBatches, balancing_weights, draw_seed
from earshot.training.fold import (
    FittedFold,
    FoldData,
    MemberConfig,
    build_front_end,
    features_of,
    held_out_probs,
)
from earshot.training.temperature import fit_temperature
from earshot.training.tuning import fit_estimator, inner_folds, tuned

_MAX_WINDOWS_PER_CLIP = 8
_COPIES_AT_A_TIME = 16


def fit_classical_member(
    config: MemberConfig, data: FoldData, *, seed: int, on_progress: Callable[[int, int], None]
) -> FittedFold:
    """Fits on `data.train` and scores `data.test`."""
    front_end = build_front_end(config, data.rate_hz)
    assert isinstance(config.model, ClassicalConfig)
    limit = config.model.max_windows
    train = _at_most(limit, data, seed=seed)
    n_most = min(max(1, limit // len(train)), _MAX_WINDOWS_PER_CLIP)
    features, owners = features_of(front_end, data, train, n_most=n_most)
    n_copies = (
        min(config.augment.n_copies, (limit - len(owners)) // len(train)) if config.augment.enabled else 0
    )
    if n_copies > 0:
        more, of_more = _copies(front_end, data, train, augment=config.augment, n_copies=n_copies, seed=seed)
        features, owners = torch.cat([features, more]), np.concatenate([owners, of_more])
    on_progress(1, 3)
    estimator, temperature = fit_calibrated(
        balanced(config.model, data.targets[data.train]),
        features.flatten(1).float().numpy(),
        targets=data.targets[train][owners],
        groups=data.groups[train][owners],
        seed=seed,
        multilabel=data.multilabel,
    )
    on_progress(2, 3)
    n_classes = data.targets.shape[1]
    member = ClassicalMember(
        front_end, estimator, n_classes=n_classes, temperature=temperature, multilabel=data.multilabel
    )
    fold = FittedFold(member, held_out_probs(member, data, data.test), [])
    on_progress(3, 3)
    return fold


def _copies(
    front_end: nn.Module,
    data: FoldData,
    rows: NDArray[np.int64],
    *,
    augment: AugmentConfig,
    n_copies: int,
    seed: int,
) -> tuple[Tensor, NDArray[np.int64]]:
    """Features of changed windows, up to `n_copies` of each clip, and which position of `rows` each is from.

    Shape: [n] -> [W, *shape], [W].
    """
    n_batches = -(-len(rows) // _COPIES_AT_A_TIME)
    batches = TrainingBatches(
        data.view,
        rows=rows,
        targets=np.arange(len(rows), dtype=np.float32)[:, None],  # which clip it is, for no label is mixed
        length=data.length,
        batch_size=len(rows) // n_batches,  # nearly even: the rest of a division is left out
        front_end=front_end,
        augment=augment.for_copies(),
        weights=None,
        seed=seed,
        device="cpu",
        rate_hz=data.rate_hz,
        gate=data.gate,
        hop=data.hop,
    )
    made = [part for epoch in range(n_copies) for part in batches.epoch(epoch)]
    owners = torch.cat([targets[:, 0] for _, targets in made]).numpy().astype(np.int64)
    return torch.cat([features for features, _ in made]), owners


def balanced(model: ClassicalConfig, targets: NDArray[np.float32]) -> ClassicalConfig:
    """The configuration with balance "on" where it says "auto" and classes are uneven; some models have no say."""
    if getattr(model, "balance", "") == "auto" and balancing_weights(targets) is not None:
        return model.model_copy(update={"balance": "on"})
    return model


def fit_calibrated(
    model: ClassicalConfig,
    rows: NDArray[np.float32],
    *,
    targets: NDArray[np.float32],
    groups: NDArray[Any],
    seed: int,
    multilabel: bool = False,
    calibrate: bool = True,
) -> tuple[Any, float]:
    """A fitted estimator, its settings chosen from their grids, and the temperature of its decision values.

    Both are found by inner cross-validation by group, over these rows only.

    Args:
        groups: rows of one group stay on one side of every inner split [N].
        calibrate: find the temperature, which takes three more fits; else it is 1.
        seed: of the inner folds, and with that of the model of what it draws.

    Shape: rows [N, D], targets [N, K].
    """
    model = balanced(model, targets)
    if isinstance(model, SEEDED):
        model = model.model_copy(update={"seed": draw_seed(seed, model.seed) % 2**32})
    model = tuned(model, rows, targets, groups=groups, seed=seed, multilabel=multilabel)
    temperature = 1.0
    if calibrate:
        temperature = _inner_temperature(model, rows, targets, groups, seed=seed, multilabel=multilabel)
    return fit_estimator(model, rows, targets, multilabel=multilabel), temperature


def _at_most(n: int, data: FoldData, *, seed: int) -> NDArray[np.int64]:
    """The training clips, or n of them drawn so that each class keeps its share, and one clip at least."""
    if len(data.train) <= n:
        return data.train
    rng = np.random.default_rng(draw_seed(seed, 5))
    # With several labels a clip it counts for its rarest class, which would drown in a common one.
    has = data.targets[data.train] > 0
    labels = np.where(has, has.sum(axis=0), np.inf).argmin(axis=1)
    present, counts = np.unique(labels, return_counts=True)
    kept = [
        rng.permutation(data.train[labels == k])[:n_kept]
        for k, n_kept in zip(present, _shares(n, counts), strict=True)
    ]
    return np.sort(np.concatenate(kept))


def _shares(n: int, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """n dealt out in proportion to the counts, by largest remainders, one each at least.

    >>> _shares(7, np.array([50, 30, 1])).tolist()
    [4, 2, 1]
    """
    exact = n * counts / counts.sum()
    shares: NDArray[np.int64] = np.maximum(1, np.floor(exact)).astype(np.int64)
    short = n - int(shares.sum())
    shares[np.argsort(shares - exact, kind="stable")[: max(0, short)]] += 1
    while shares.sum() > max(n, len(counts)):
        shares[shares.argmax()] -= 1
    return shares


def _inner_temperature(
    model: ClassicalConfig,
    rows: NDArray[np.float32],
    targets: NDArray[np.float32],
    groups: NDArray[np.object_],
    *,
    seed: int,
    multilabel: bool,
) -> float:
    """The temperature of decision values on inner folds; 1 where too few groups leave none with every class."""
    scores = np.full(targets.shape, np.nan)
    for train, test in inner_folds(targets, groups, seed=seed):
        fitted = fit_estimator(model, rows[train], targets[train], multilabel=multilabel)
        scores[test] = decision_values(fitted, rows[test], n_classes=targets.shape[1])
    scored = np.isfinite(scores).all(axis=1)
    if not scored.any():
        return 1.0
    return fit_temperature(scores[scored], targets[scored], multilabel=multilabel)
