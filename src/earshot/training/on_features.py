"""Any model on features that are there already: for studies, toy problems, tables that came from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earshot.errors import ConfigError, complaint
from earshot.models.member import ClassicalMember, NetworkMember
from earshot.training.batches import Values, as_features, as_targets
from earshot.training.checkpoint import Checkpoint
from earshot.training.estimators import fit_calibrated
from earshot.training.fit import fit_network, measure_scale
from earshot.training.losses import curve_point
from earshot.training.networks import fixed_batches, prepared_network
from earshot.training.optimise import scoring_precision
from earshot.training.options import TrainingConfig
from earshot.training.stopping import inner_split

_SCORED_ROWS, _SCORED_NUMBERS = 256, 2**21  # at once: a network makes many maps of each picture


@dataclass(frozen=True)
class FittedFeatures:
    """A model fitted on features, with its learning curve, which is empty for a classical model.

    `member` has a front end that passes features through.
    """

    member: NetworkMember | ClassicalMember
    history: list[dict[str, Any]]
    is_regression: bool = False

    @property
    def network(self) -> nn.Module:
        """The fitted network, in evaluation mode.

        Raises:
            TypeError: the model is a classical one; `member.estimator` is what it has.
        """
        if isinstance(self.member, ClassicalMember):
            raise TypeError("a classical model has no network; see member.estimator")
        return self.member.network

    def probs(self, features: Values) -> NDArray[np.float32]:
        """Probabilities; of a regression the numbers themselves. Shape: [M, ...] -> [M, K]."""
        given = as_features(features)
        if self.is_regression:
            member = self.member
            assert isinstance(member, NetworkMember)
            said = _outputs(member.network, given, device=member.device, precision="fp32")
            return np.asarray(said.cpu().numpy(), dtype=np.float32)
        parts = [self.member.predict_features(part) for part in _parts(given)]
        return np.concatenate(parts)


def fit_on_features(
    model: Any,
    training: TrainingConfig,
    *,
    features: Values,
    targets: Values,
    validation: tuple[Values, Values] | None = None,
    inner: NDArray[np.int64] | None = None,
    groups: NDArray[Any] | None = None,
    n_classes: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    multilabel: bool = False,
    calibrate: bool = True,
    checkpoint: Checkpoint | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> FittedFeatures:
    """Fits a network or a classical model.

    Args:
        model: the configuration of a model, one of MODELS.
        training: read by networks only. With loss "mean_squared_error" targets are numbers, outputs too.
        features: float or uint8 [N, *shape].
        targets: [N, K], one-hot, soft or several labels a row; or class numbers [N].
        validation: features and targets that are watched for the curves ("test_loss"); nothing is chosen by them.
        inner: rows of `features` to set aside for early stopping, plateau and keep = "best"; by default
            `training.inner_share` of the groups, where the training asks for it.
        groups: rows of one group stay together in every inner split [N]; by default each row is one.
        n_classes: where targets are class numbers; by default the highest and one.
        multilabel: each column is a yes or no of its own; also for two classes in one column.
        calibrate: of a classical model, find the temperature, which takes three more fits.

    Raises:
        ConfigError: targets or settings that do not go together.
        TrainingDiverged: the loss is not finite.
    """
    is_regression = bool(model.is_network) and training.loss == "mean_squared_error"
    one_column = multilabel or is_regression
    given = as_features(features)
    wanted = as_targets(targets, n_columns=1 if one_column else n_classes or -1)
    _check(given, wanted, one_column_will_do=one_column)
    grouped = np.arange(len(given)) if groups is None else np.asarray(groups)
    if not model.is_network:
        member = _fitted_estimator(
            model, given, wanted, groups=grouped, seed=seed, multilabel=multilabel, calibrate=calibrate
        )
        return FittedFeatures(member, [])
    is_inner = _set_aside(wanted, grouped, training, inner=inner, seed=seed)
    network = prepared_network(
        model, input_shape=tuple(given.shape[1:]), n_classes=wanted.shape[1], seed=seed
    )
    job = _Job(network, training, multilabel=multilabel, seed=seed, device=device)
    history = job.fit(
        (given[~is_inner], wanted[~is_inner]),
        inner=(given[is_inner], wanted[is_inner]) if is_inner.any() else None,
        validation=validation,
        checkpoint=checkpoint,
        on_progress=on_progress,
    )
    return FittedFeatures(job.member(), history, is_regression)


def _set_aside(
    targets: Tensor,
    groups: NDArray[Any],
    training: TrainingConfig,
    *,
    inner: NDArray[np.int64] | None,
    seed: int,
) -> Tensor:
    """Which rows training is judged by: those given, else a share of the groups where it is needed. Shape: [N]."""
    if inner is None and training.needs_inner:
        is_regression = training.loss == "mean_squared_error"
        by_class = np.ones((len(targets), 1), np.float32) if is_regression else targets.numpy()
        _, inner = inner_split(by_class, groups, share=training.inner_share, seed=seed)
    is_inner = torch.zeros(len(targets), dtype=torch.bool)
    is_inner[torch.as_tensor([] if inner is None else inner, dtype=torch.long)] = True
    return is_inner


def _check(features: Tensor, targets: Tensor, *, one_column_will_do: bool) -> None:
    if len(features) != len(targets):
        rule = f"one a row: {len(features)}"
        raise ConfigError(complaint("features", "number of targets", len(targets), rule))
    if targets.shape[1] == 1 and not one_column_will_do:
        fix = "Say multilabel=True for a yes or no, or loss mean_squared_error for numbers."
        raise ConfigError(complaint("features", "columns of targets", 1, "at least 2 classes", fix))


def _fitted_estimator(
    model: Any,
    features: Tensor,
    targets: Tensor,
    *,
    groups: NDArray[Any],
    seed: int,
    multilabel: bool,
    calibrate: bool,
) -> ClassicalMember:
    rows, labels = features.flatten(1).float().numpy(), targets.numpy()
    estimator, temperature = fit_calibrated(
        model, rows, targets=labels, groups=groups, seed=seed, multilabel=multilabel, calibrate=calibrate
    )
    return ClassicalMember(
        nn.Identity(),
        estimator,
        n_classes=labels.shape[1],
        temperature=temperature,
        multilabel=multilabel,
    )


class _Job:
    """One network to fit."""

    def __init__(
        self, network: nn.Module, training: TrainingConfig, *, multilabel: bool, seed: int, device: str
    ) -> None:
        self.network, self.training = network, training
        self.multilabel, self.seed, self.device = multilabel, seed, device
        self.precision = scoring_precision(training.precision, network, device)

    def fit(
        self,
        learned_from: tuple[Tensor, Tensor],
        *,
        inner: tuple[Tensor, Tensor] | None,
        validation: tuple[Values, Values] | None,
        checkpoint: Checkpoint | None,
        on_progress: Callable[[int, int], None] | None,
    ) -> list[dict[str, Any]]:
        """Trains, and returns the history."""
        balances = self.training.balance == "auto" and self.training.loss != "mean_squared_error"
        batches = fixed_batches(
            *learned_from, self.training, balances=balances, seed=self.seed, device=self.device
        )
        measure_scale(self.network, batches, n_clips=batches.n_clips)
        n_columns = learned_from[1].shape[1]
        self.network, history = fit_network(
            self.network,
            batches,
            self.training,
            multilabel=self.multilabel,
            seed=self.seed,
            checkpoint=checkpoint,
            watch=self._curve(validation, "test", n_columns=n_columns),
            on_epoch=on_progress or (lambda done, total: None),
            inner=None if inner is None else self._curve(inner, "inner", n_columns=n_columns),
        )
        return history

    def member(self) -> NetworkMember:
        """The network, on features."""
        return NetworkMember(
            nn.Identity(),
            self.network,
            multilabel=self.multilabel,
            device=self.device,
            precision=self.precision,
        )

    def _curve(
        self, rows: tuple[Values, Values] | None, prefix: str, *, n_columns: int
    ) -> Callable[[nn.Module], dict[str, float]]:
        """Measures `{prefix}_loss` and `{prefix}_accuracy` of a network; without rows, nothing."""
        if rows is None:
            return lambda network: {}
        features = as_features(rows[0])
        targets = as_targets(rows[1], n_columns=n_columns).to(self.device)

        def measured(network: nn.Module) -> dict[str, float]:
            said = _outputs(network, features, device=self.device, precision=self.precision)
            return curve_point(said, targets, self.training, multilabel=self.multilabel, prefix=prefix)

        return measured


@torch.no_grad()
def _outputs(network: nn.Module, features: Tensor, *, device: str, precision: str) -> Tensor:
    """Logits, or the numbers of a regression. Shape: [M, ...] -> [M, K]."""
    with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
        parts = [network(part.to(device)) for part in _parts(features)]
    return torch.cat(parts).float()


def _parts(features: Tensor) -> tuple[Tensor, ...]:
    """Rows that are scored together, fewer where a row is large. Shape: [M, ...] -> [m, ...] each."""
    n_each = max(1, features[:1].numel())
    return torch.split(features, max(1, min(_SCORED_ROWS, _SCORED_NUMBERS // n_each)))
