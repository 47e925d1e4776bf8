"""What a training step is given: augmented windows from the store, or features that were computed once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earshot.audio import windows
from earshot.audio.augment import AugmentConfig, augment_spectrograms, augment_waveforms

Values = Tensor | NDArray[Any]

_BALANCE_BEYOND_RATIO = 2.0


def draw_seed(*parts: int) -> int:
    """One 63-bit seed from several whole numbers, so that streams for (seed, fold, epoch) do not overlap."""
    # Their number goes first: numpy takes (s, 2) and (s, 2, 0) for the same.
    return int(np.random.SeedSequence((len(parts), *parts)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def balancing_weights(targets: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Draw probabilities that give each class an equal share, or None where classes are even enough (2:1).

    Classes without a clip do not count; clips with several labels are left as they are.

    Shape: targets [N, K] -> [N], summing to 1, or None.
    """
    counts = targets.sum(axis=0, dtype=np.float64)  # numpy's draws want a sum of 1 in double precision
    present = counts[counts > 0]
    if (targets.sum(axis=1) != 1).any() or present.max() <= _BALANCE_BEYOND_RATIO * present.min():
        return None
    weights = 1.0 / counts[targets.argmax(axis=1)]
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def as_features(features: Values) -> Tensor:
    """float32 or uint8, on the CPU."""
    given = torch.as_tensor(features)
    return given if given.dtype == torch.uint8 else given.float()


def as_targets(targets: Values, *, n_columns: int = -1) -> Tensor:
    """float32 [N, K]; class numbers become one-hot rows, numbers [N] one column."""
    given = torch.as_tensor(targets)
    if given.ndim == 1 and not given.is_floating_point() and n_columns != 1:
        return nn.functional.one_hot(given.long(), n_columns).float()
    return (given[:, None] if given.ndim == 1 else given).float()


class Batches(Protocol):
    """What a training asks of its data."""

    device: str

    @property
    def n_clips(self) -> int:
        """Clips an epoch."""
        ...

    @property
    def hard_targets(self) -> bool:
        """Whether targets are those of the clips: no clips are mixed, so that a share of right rows makes sense."""
        ...

    def __len__(self) -> int:
        """Batches an epoch."""
        ...

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Features [B, ...] and targets [B, K] of each batch, on the device; the same whenever it is asked for."""
        ...

    def sample_features(self, n_clips: int) -> Tensor:
        """Unchanged features of up to `n_clips` clips, to measure their scale on. Shape: [n, ...]."""
        ...


class FixedBatches:
    """Features that were computed once, in a new order each epoch, also a last batch that is smaller.

    A last batch of a single clip is left out, for batch norm needs two; one batch of everything keeps its order.

    Args:
        features: float32 or uint8 [N, ...].
        targets: float32 [N, K].
        weights: draw probabilities [N], or None to see each clip once an epoch.
    """

    hard_targets = True

    def __init__(
        self,
        features: Tensor,
        targets: Tensor,
        *,
        batch_size: int,
        seed: int,
        device: str = "cpu",
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.features = features.to(device)
        self.targets = targets.to(device)
        self.batch_size = min(batch_size, len(features))
        self.seed = seed
        self.device = device
        self.weights = weights

    @property
    def n_clips(self) -> int:
        return len(self.features)

    def __len__(self) -> int:
        n_whole, rest = divmod(len(self.features), self.batch_size)
        return n_whole + (rest > 1)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Features and targets of each batch; the same whenever it is asked for."""
        n = len(self.features)
        if self.weights is None and self.batch_size == n:
            yield self.features, self.targets
            return
        rng = np.random.default_rng(draw_seed(self.seed, number, 0))
        drawn = rng.permutation(n) if self.weights is None else rng.choice(n, size=n, p=self.weights)
        order = torch.from_numpy(drawn).to(self.device)
        for i in range(len(self)):
            chosen = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield self.features[chosen], self.targets[chosen]

    def sample_features(self, n_clips: int) -> Tensor:
        """Features of up to `n_clips` clips, drawn without regard to class. Shape: [n, ...]."""
        if n_clips >= len(self.features):
            return self.features
        rng = np.random.default_rng(draw_seed(self.seed, 2))
        chosen = np.sort(rng.permutation(len(self.features))[:n_clips])
        return self.features[torch.from_numpy(chosen).to(self.device)]


class TrainingBatches:
    """Random windows of the training clips, augmented, as features. Epoch e is the same whenever it is asked for.

    Args:
        view: the clips' audio.
        rows: which clips of the view to train on [N].
        targets: float32 [N, K], aligned with `rows`.
        length: samples in a window.
        weights: draw probabilities [N], or None to see each clip once an epoch.
        rate_hz: of the clips; only steps need it.
        gate: windows are drawn only where a clip is loud enough.
        hop: samples between the windows of a clip that the gate looks at; None: a window.
    """

    def __init__(
        self,
        view: windows.Clipbank,
        *,
        rows: NDArray[np.int64],
        targets: NDArray[np.float32],
        length: int,
        batch_size: int,
        front_end: nn.Module,
        augment: AugmentConfig,
        weights: NDArray[np.float64] | None,
        seed: int,
        device: str,
        rate_hz: int | None = None,
        gate: windows.Gate = windows.OPEN,
        hop: int | None = None,
    ) -> None:
        self.view = view
        self.rows = rows
        self.targets = targets
        self.length = length
        self.batch_size = min(batch_size, len(rows))
        self.front_end = front_end.to(device)
        self.augment = augment
        self.weights = weights
        self.seed = seed
        self.device = device
        self.rate_hz = rate_hz
        self.gate = gate
        self.hop = hop or length
        self._heard: dict[int, windows.Heard] = {}

    @property
    def n_clips(self) -> int:
        return len(self.rows)

    @property
    def hard_targets(self) -> bool:
        return not self.augment.enabled or self.augment.mix_probability == 0

    def __len__(self) -> int:
        """Batches an epoch; a last, smaller batch is left out: each clip is as likely to be in it as any other."""
        return len(self.rows) // self.batch_size

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Features and targets of each batch: [B, M, F] dB and [B, K], on the device."""
        order_rng = np.random.default_rng(draw_seed(self.seed, number, 0))
        rng = torch.Generator().manual_seed(draw_seed(self.seed, number, 1))
        order = self._order(order_rng)
        for i in range(len(self)):
            chosen = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield self._batch(chosen, order_rng, rng)

    def sample_features(self, n_clips: int) -> Tensor:
        """Unaugmented features of up to `n_clips` clips, to measure their scale on. Shape: [n, M, F]."""
        rng = np.random.default_rng(draw_seed(self.seed, 2))
        chosen = np.sort(rng.permutation(len(self.rows))[:n_clips])
        with torch.no_grad():
            parts = [
                self.front_end(self._waveforms(chosen[i : i + 32], rng)) for i in range(0, len(chosen), 32)
            ]
        return torch.cat(parts)

    def _order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        n = len(self.rows)
        return rng.permutation(n) if self.weights is None else rng.choice(n, size=n, p=self.weights)

    def _waveforms(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        cut = np.empty((len(chosen), self.length), np.int16)
        for out, row in zip(cut, self.rows[chosen].tolist(), strict=True):
            windows.draw_window(out, self.view, row, heard=self._where_heard(row), hop=self.hop, rng=rng)
        return torch.from_numpy(windows.to_float(cut)).to(self.device)

    def _where_heard(self, row: int) -> windows.Heard | None:
        """Where a clip is loud enough, found out when it is first drawn; None for everywhere."""
        if self.gate.is_open:
            return None
        if row not in self._heard:
            clip = self.view.get(row)
            self._heard[row] = windows.heard_windows(clip, length=self.length, hop=self.hop, gate=self.gate)
        return self._heard[row]

    @torch.no_grad()
    def _batch(
        self, chosen: NDArray[np.int64], order_rng: np.random.Generator, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        waveforms = self._waveforms(chosen, order_rng)
        targets = torch.from_numpy(self.targets[chosen]).to(self.device)
        waveforms, targets = augment_waveforms(
            waveforms, targets, self.augment, rng=rng, rate_hz=self.rate_hz
        )
        return augment_spectrograms(self.front_end(waveforms), self.augment, rng=rng), targets
