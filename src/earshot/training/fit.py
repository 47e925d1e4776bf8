"""Training: a fixed number of epochs, the averaged last weights, nothing selected on anybody's score.

Stopping early, slowing down on a plateau and keeping the best weights are there for those who ask; then `inner`
measures clips set aside from the training clips, and a `Judge` decides by them.

A plain loop: one step is a few lines, a resumed run repeats an unbroken one bit for bit on a CPU, and nothing of
Lightning's import time is paid (bench/step_cost.py has both figures).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from earshot.errors import ConfigError, EarshotError, complaint, is_out_of_memory
from earshot.training.batches import Batches, draw_seed
from earshot.training.checkpoint import Checkpoint
from earshot.training.losses import has_accuracy, hits, training_loss
from earshot.training.optimise import (
    build_optimizer,
    check_full_batch,
    one_cycle,
    penalise,
    precision_for,
)
from earshot.training.options import TrainingConfig
from earshot.training.pages import kept_pages
from earshot.training.randomness import seeded
from earshot.training.stopping import Judge

_CHECKPOINT_EVERY_S = 5.0
_SAVES_APART = 20.0  # times as long as a save takes, which is seconds for a large network: 5 % of the time
_SCALE_CLIPS = 256

Measure = Callable[[nn.Module], dict[str, float]]


class TrainingDiverged(EarshotError):
    """The loss became infinite or not a number."""


@contextmanager
def _within_memory(batch_size: int) -> Iterator[None]:
    """Says which setting decides where memory runs out."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        fix = "Close other programs and give the same command again, or choose a smaller one and another folder."
        raise EarshotError(
            complaint("training", "batch_size", batch_size, "one that memory holds", fix)
        ) from error


@kept_pages()
def fit_network(
    network: nn.Module,
    batches: Batches,
    config: TrainingConfig,
    *,
    multilabel: bool,
    seed: int,
    checkpoint: Checkpoint | None,
    watch: Measure,
    on_epoch: Callable[[int, int], None],
    inner: Measure | None = None,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Trains `network` in place.

    Args:
        batches: the training clips; their device is the device of training.
        checkpoint: where to go on from, and where to leave a state after an epoch: at most every 5 s, and so
            seldom that it takes no more than some 5 % of the time.
        watch: measures the network on held-out clips, for the learning curves only.
        on_epoch: told (finished epochs, epochs) after each.
        inner: measures `inner_loss` on clips set aside from the training clips, after each epoch.

    Returns:
        The averaged network (with averaging_share = 0 `network` itself) in evaluation mode, and a history row per
        epoch with epoch, train_loss, learning_rate, seconds, what `inner` and `watch` measured, and train_accuracy
        where targets are hard: like train_loss a mean over the batches, before each step.

    Raises:
        TrainingDiverged: the loss is not finite.
        EarshotError: memory ran out.
        ConfigError: the optimiser cannot work on such batches, or something is to be judged without `inner`.
    """
    with _within_memory(config.batch_size):
        run = _Run(network, batches, config, multilabel=multilabel, seed=seed)
        if config.needs_inner and inner is None:
            rule = "inner clips where keep = best, early_stopping_patience or plateau ask for them"
            raise ConfigError(complaint("training", "inner", None, rule))
        done, history = run.load(checkpoint)
        due_at = time.monotonic() + _CHECKPOINT_EVERY_S
        on_epoch(done, run.n_epochs)
        while not run.is_over(done):
            started = time.perf_counter()
            row: dict[str, Any] = {"epoch": done + 1} | run.epoch(done)
            done += 1
            if inner is not None:
                row |= inner(run.outcome.eval())
                run.judge.see(done, row["inner_loss"], run.outcome)
            last = run.is_over(done)
            if done % config.watch_every == 0 or last:
                row |= watch(run.outcome.eval())
            history.append(row | {"seconds": time.perf_counter() - started})
            if checkpoint is not None and (last or time.monotonic() > due_at):
                due_at = run.save(checkpoint, done, history)
            on_epoch(done, run.n_epochs)
        run.judge.restore_best(run.outcome)
        return run.outcome.eval(), history


class _Run:
    """What one training holds between steps."""

    def __init__(
        self, network: nn.Module, batches: Batches, config: TrainingConfig, *, multilabel: bool, seed: int
    ) -> None:
        self.network = network.to(batches.device)
        if config.optimizer == "lbfgs":  # takes weights one after another as they lie in memory
            check_full_batch(network, batches)
        else:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.batches = batches
        self.config = config
        self.seed = seed
        self.loss = training_loss(config, multilabel=multilabel)
        self.multilabel = multilabel
        self.n_epochs = config.n_epochs(batches.n_clips)
        self.n_steps = self.n_epochs * len(batches)
        self.bf16 = precision_for(config.precision, network, batches.device) == "bf16"
        self.optimizer = build_optimizer(config, network.parameters())
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.judge = Judge(config)
        self.average = self._averaged() if config.averaging_share > 0 else None

    @property
    def outcome(self) -> nn.Module:
        """What the training gives: the average, or the network itself."""
        return self.average.module if self.average is not None else self.network

    def _averaged(self) -> AveragedModel:
        decay = 1.0 - 1.0 / max(1.0, self.config.averaging_share * self.n_steps)
        ema = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        return AveragedModel(self.network, multi_avg_fn=ema, use_buffers=True)

    def load(self, checkpoint: Checkpoint | None) -> tuple[int, list[dict[str, Any]]]:
        """Finished epochs and their history."""
        if checkpoint is None:
            return 0, []
        return checkpoint.load(
            network=self.network, average=self.average, optimizer=self.optimizer, judge=self.judge
        )

    def save(self, checkpoint: Checkpoint, epoch: int, history: list[dict[str, Any]]) -> float:
        """Writes the state after `epoch`, and returns the time (monotonic) from which on the next one is due."""
        started = time.monotonic()
        checkpoint.save(
            epoch=epoch,
            network=self.network,
            average=self.average,
            optimizer=self.optimizer,
            history=history,
            judge=self.judge,
        )
        saved = time.monotonic()
        return saved + max(_CHECKPOINT_EVERY_S, _SAVES_APART * (saved - started))

    def is_over(self, epoch: int) -> bool:
        """Whether no epoch follows `epoch`."""
        return epoch >= self.n_epochs or self.judge.stops(epoch)

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over the batches; its mean training loss, accuracy where there is one, and learning rate."""
        self.network.train()
        total = torch.zeros((), device=self.batches.device)
        n_hits, n_seen = torch.zeros((), dtype=torch.long, device=self.batches.device), 0
        # Dropout draws from the global generators.
        with seeded(draw_seed(self.seed, number, 3), device=self.batches.device):
            for i, (features, targets) in enumerate(self.batches.epoch(number)):
                self._set_learning_rate(number * len(self.batches) + i)
                loss, outputs = self._step(features, targets)
                total += loss
                if self._has_hits(targets):
                    n_hits += hits(outputs, targets)
                    n_seen += len(targets)
        row = {"train_loss": float(total) / len(self.batches)}
        if n_seen:
            row["train_accuracy"] = int(n_hits) / n_seen
        return row | {"learning_rate": self.optimizer.param_groups[0]["lr"]}

    def _set_learning_rate(self, step: int) -> None:
        if self.config.optimizer == "lbfgs":
            return
        factor = self.judge.rate_factor if self.config.schedule == "plateau" else 1.0
        if self.config.schedule == "one_cycle":
            factor = one_cycle(step / max(1, self.n_steps - 1), warmup_share=self.config.warmup_share)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * factor

    def _has_hits(self, targets: Tensor) -> bool:
        columns = targets.shape[1]
        return self.batches.hard_targets and has_accuracy(
            self.config, multilabel=self.multilabel, n_columns=columns
        )

    def _step(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss [] and outputs [B, K] as they were before the step."""
        if self.config.optimizer == "lbfgs":
            loss, outputs = self._whole_step(features, targets)
        else:
            loss, outputs = self._forward(features, targets)
            self._check(loss)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if self.config.clip_gradient is not None:
                nn.utils.clip_grad_norm_(self.parameters, self.config.clip_gradient)
            self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return loss.detach(), outputs.detach()

    def _whole_step(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """One iteration of L-BFGS, which evaluates loss, L2 penalty and gradients as often as it likes."""
        first: list[tuple[Tensor, Tensor]] = []

        def evaluated() -> float:
            self.optimizer.zero_grad(set_to_none=True)
            loss, outputs = self._forward(features, targets)
            if not first:
                self._check(loss)
                first.append((loss, outputs))
            loss.backward()  # type: ignore[no-untyped-call]
            return float(loss.detach()) + penalise(self.optimizer, self.config.weight_decay)

        self.optimizer.step(evaluated)
        return first[0]

    def _forward(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if not self.bf16:  # entering autocast costs a small network as much as its layers
            outputs = self.network(features).float()
        else:
            with torch.autocast(self.batches.device, torch.bfloat16):
                outputs = self.network(features).float()
        return self.loss(outputs, targets), outputs

    def _check(self, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise TrainingDiverged(
                f"training: loss is {loss.item()} at learning_rate {self.config.learning_rate:g}; expected a "
                "finite number. Lower it, for instance --set learning_rate=0.001; finished folds are kept."
            )


def measure_scale(network: nn.Module, batches: Batches, *, n_clips: int = _SCALE_CLIPS) -> None:
    """Sets the network's scaler, where it has one, to the statistics of (up to 256) training clips."""
    scaler = getattr(network, "scaler", None)
    if scaler is not None:
        scaler.measure(batches.sample_features(n_clips))
