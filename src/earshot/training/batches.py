"""From the store to augmented feature batches for training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earshot.audio import windows
from earshot.audio.augment import AugmentConfig, augment_spectrograms, augment_waveforms

_BALANCE_BEYOND_RATIO = 2.0


def draw_seed(*parts: int) -> int:
    """One 63-bit seed from several whole numbers, so that streams for (seed, fold, epoch) do not overlap."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


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


class TrainingBatches:
    """Random windows of the training clips, augmented, as features. Epoch e is the same whenever it is asked for.

    Args:
        view: the clips' audio.
        rows: which clips of the view to train on [N].
        targets: float32 [N, K], aligned with `rows`.
        length: samples in a window.
        weights: draw probabilities [N], or None to see each clip once an epoch.
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
        for i, row in enumerate(self.rows[chosen]):
            clip = self.view.get(int(row))
            latest = max(0, len(clip) - self.length)
            cut[i] = windows.cut(clip, int(rng.integers(latest + 1)), self.length)
        return torch.from_numpy(windows.to_float(cut)).to(self.device)

    @torch.no_grad()
    def _batch(
        self, chosen: NDArray[np.int64], order_rng: np.random.Generator, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        waveforms = self._waveforms(chosen, order_rng)
        targets = torch.from_numpy(self.targets[chosen]).to(self.device)
        waveforms, targets = augment_waveforms(waveforms, targets, self.augment, rng=rng)
        return augment_spectrograms(self.front_end(waveforms), self.augment, rng=rng), targets
