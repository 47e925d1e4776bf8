"""A network as a member: from its configuration to fitted weights on the training clips of one fold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earshot.models import MODELS
from earshot.models.member import NetworkMember
from earshot.models.pooling import pool_windows
from earshot.training.batches import Batches, FixedBatches, TrainingBatches, balancing_weights, draw_seed
from earshot.training.checkpoint import Checkpoint
from earshot.training.fit import fit_network, measure_scale
from earshot.training.fold import (
    FittedFold,
    FoldData,
    MemberConfig,
    build_front_end,
    features_of,
    held_out_curve,
    held_out_probs,
)
from earshot.training.optimise import scoring_precision
from earshot.training.options import TrainingConfig
from earshot.training.randomness import seeded
from earshot.training.stopping import inner_split

_MAX_FIXED_BYTES = 2**30
_MAX_SCALE_VALUES = 2**26
_SCORED_WINDOWS = 32

Indices = NDArray[np.int64]


def fit_network_member(
    config: MemberConfig,
    data: FoldData,
    *,
    seed: int,
    device: str,
    checkpoint: Checkpoint | None,
    on_progress: Callable[[int, int], None],
) -> FittedFold:
    """Fits on `data.train`, without an inner part where the training asks for one, and scores `data.test`.

    Raises:
        TrainingDiverged: the loss is not finite.
        DataError: no group can be set aside.
    """
    front_end = build_front_end(config, data.rate_hz).to(device)
    train, inner = _inner_rows(config, data, seed=seed)
    batches = training_batches(config, data, train, front_end=front_end, seed=seed, device=device)
    is_fixed = isinstance(batches, FixedBatches)
    shape, n_classes = data.input_shape(config), data.targets.shape[1]
    network = prepared_network(config.model, input_shape=shape, n_classes=n_classes, seed=seed)
    fits = _MAX_SCALE_VALUES // math.prod(shape)
    measure_scale(network, batches, n_clips=max(256, fits if is_fixed else 0))
    precision = scoring_precision(config.training.precision, network, device)

    def as_member(candidate: nn.Module) -> NetworkMember:
        return NetworkMember(
            front_end, candidate, multilabel=data.multilabel, device=device, precision=precision
        )

    def measure(rows: Indices, prefix: str) -> Callable[[nn.Module], dict[str, float]]:
        return _Curve(data, rows, front_end if is_fixed else None, as_member=as_member, prefix=prefix)

    outcome, history = fit_network(
        network,
        batches,
        config.training,
        multilabel=data.multilabel,
        seed=seed,
        checkpoint=checkpoint,
        watch=measure(data.test, "test"),
        on_epoch=on_progress,
        inner=measure(inner, "inner") if len(inner) else None,
    )
    member = as_member(outcome)
    return FittedFold(member, held_out_probs(member, data, data.test), history)


def prepared_network(model: Any, *, input_shape: tuple[int, ...], n_classes: int, seed: int) -> nn.Module:
    """A fresh network with weights drawn from `seed`; a pretrained one gets the weights of its backbone here.

    Args:
        model: the configuration of a network, one of MODELS.
    """
    if hasattr(model, "resolved"):
        model = model.resolved()
    with seeded(draw_seed(seed, 4)):
        network: nn.Module = MODELS[model.kind](model, input_shape=input_shape, n_classes=n_classes)
    load: Callable[[], None] | None = getattr(network, "load_pretrained", None)
    if load is not None:
        load()
    return network


def training_batches(
    config: MemberConfig, data: FoldData, rows: Indices, *, front_end: nn.Module, seed: int, device: str
) -> Batches:
    """Batches of some rows; features are computed once where nothing of them changes and they fit into memory.

    That is where augmentation is off and no clip is longer than a window.
    """
    targets = data.targets[rows]
    n_bytes = 4 * len(rows) * math.prod(data.input_shape(config))
    one_window = bool((np.asarray(data.view.n_samples)[rows] <= data.length).all())
    if config.augment.enabled or not one_window or n_bytes > _MAX_FIXED_BYTES:
        return TrainingBatches(
            data.view,
            rows=rows,
            targets=targets,
            length=data.length,
            batch_size=config.training.batch_size,
            front_end=front_end,
            augment=config.changes,
            weights=balancing_weights(targets) if config.training.balance == "auto" else None,
            seed=seed,
            device=device,
            rate_hz=data.rate_hz,
            gate=data.gate,
            hop=data.hop,
        )
    features, _ = features_of(front_end, data, rows)
    balances = config.training.balance == "auto"
    return fixed_batches(
        features, torch.from_numpy(targets), config.training, balances=balances, seed=seed, device=device
    )


def fixed_batches(
    features: Tensor, targets: Tensor, training: TrainingConfig, *, balances: bool, seed: int, device: str
) -> FixedBatches:
    """Batches of features that are there already, rare classes more often where `balances` and they are uneven.

    Shape: features [N, ...], targets [N, K].
    """
    weights = balancing_weights(targets.numpy()) if balances else None
    if training.optimizer != "lbfgs":
        n, draws = training.batch_size, weights
        return FixedBatches(features, targets, batch_size=n, weights=draws, seed=seed, device=device)
    # Random draws would change the loss from step to step; whole numbers of copies even the classes as well.
    if weights is not None:
        copies = torch.from_numpy(np.round(weights / weights.min()).astype(np.int64))
        owners = torch.arange(len(targets)).repeat_interleave(copies)
        features, targets = features[owners.to(features.device)], targets[owners]
    return FixedBatches(features, targets, batch_size=len(features), seed=seed, device=device)


def _inner_rows(config: MemberConfig, data: FoldData, *, seed: int) -> tuple[Indices, Indices]:
    """Rows to learn from and rows set aside, both of `data.train`."""
    if not config.training.needs_inner:
        return data.train, data.train[:0]
    share = config.training.inner_share
    kept, inner = inner_split(data.targets[data.train], data.groups[data.train], share=share, seed=seed)
    return data.train[kept], data.train[inner]


class _Curve:
    """Scores the same rows after an epoch; with a front end their features are computed once and remembered."""

    def __init__(
        self,
        data: FoldData,
        rows: Indices,
        front_end: nn.Module | None,
        *,
        as_member: Callable[[nn.Module], NetworkMember],
        prefix: str,
    ) -> None:
        self.data, self.rows, self.front_end = data, rows, front_end
        self.as_member, self.prefix = as_member, prefix
        self.remembered: tuple[Tensor, Indices] | None = None

    def __call__(self, network: nn.Module) -> dict[str, float]:
        if not len(self.rows):
            return {}
        member = self.as_member(network)
        if self.front_end is None:
            probs = held_out_probs(member, self.data, self.rows)
        else:
            probs = self._probs(member, self.front_end)
        return held_out_curve(probs, self.data, self.rows, prefix=self.prefix)

    def _probs(self, member: NetworkMember, front_end: nn.Module) -> NDArray[np.float32]:
        if self.remembered is None:
            self.remembered = features_of(front_end, self.data, self.rows)
        features, owners = self.remembered
        probs = np.concatenate(
            [member.predict_features(part) for part in torch.split(features, _SCORED_WINDOWS)]
        )
        return pool_windows(probs, owners, score=self.data.window_score, multilabel=self.data.multilabel)
