"""What a training step costs around the arithmetic: earshot's own loop against a Lightning module and Trainer.

Both take the same step on the same ready-made batch: forward and loss in the processor's fastest precision, a check
that the loss is finite, AdamW, a learning rate a step, the averaged network. The smallest network shows the loop
itself, the default one what it matters. Lightning is no dependency of earshot: `pip install lightning`.
"""

from __future__ import annotations

import importlib
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bench import Skipped, table
from earshot.models.cnn2d import Cnn2d, Cnn2dConfig
from earshot.models.member import fast_precision
from earshot.training.batches import TrainingBatches
from earshot.training.checkpoint import Checkpoint
from earshot.training.fit import fit_network
from earshot.training.losses import target_loss
from earshot.training.optimise import one_cycle
from earshot.training.options import TrainingConfig

N_CLASSES, BATCH = 10, 32
NETWORKS = {
    "default network, 64 bands x 251 frames": (Cnn2dConfig(), 64, 251),
    "smallest network, 8 bands x 8 frames": (Cnn2dConfig(n_stem_channels=1, block_channels=(1,)), 8, 8),
}
_IMPORT = "import sys, time; import torch; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


class Ready:
    """Batches that are there already, with what the training loop asks of batches."""

    def __init__(self, n_bands: int, n_frames: int, n_steps: int) -> None:
        rng = torch.Generator().manual_seed(0)
        self.features = 20 * torch.randn(BATCH, n_bands, n_frames, generator=rng)
        self.targets = torch.eye(N_CLASSES)[torch.arange(BATCH) % N_CLASSES]
        self.n_clips = BATCH * n_steps
        self.hard_targets = False
        self.device = "cpu"
        self.n_steps = n_steps

    def __len__(self) -> int:
        return self.n_steps

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of any epoch."""
        return iter([(self.features, self.targets)] * self.n_steps)


def network(config: Cnn2dConfig, n_bands: int) -> nn.Module:
    """A network with the same weights for both."""
    torch.manual_seed(0)
    return Cnn2d(config, input_shape=(n_bands, 1), n_classes=N_CLASSES)


def ours_s(config: Cnn2dConfig, batches: Ready, n_bands: int) -> float:
    """Seconds a step in earshot's loop, in the second of three epochs."""
    with tempfile.TemporaryDirectory() as folder:
        _, history = fit_network(
            network(config, n_bands),
            cast(TrainingBatches, batches),
            TrainingConfig(epochs=3, watch_every=3),
            multilabel=False,
            seed=0,
            checkpoint=Checkpoint(Path(folder) / "checkpoint", identity=""),
            watch=lambda _: {},
            on_epoch=lambda done, total: None,
        )
    return float(history[1]["seconds"]) / len(batches)


def lightning_s(config: Cnn2dConfig, batches: Ready, n_bands: int, *, lightning: Any) -> float:
    """Seconds a step in a Lightning Trainer without logger, bars and checkpoints, in the second of three epochs."""
    lasted: list[float] = []

    class Step(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network(config, n_bands).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            decay = get_ema_multi_avg_fn(0.99)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(self.network, multi_avg_fn=decay, use_buffers=True)

        def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
            loss = target_loss(self.network(batch[0]).float(), batch[1], multilabel=False)
            if not torch.isfinite(loss):
                raise ValueError("loss")
            return loss

        def configure_optimizers(self) -> Any:
            n_steps = 3 * len(batches)
            optimizer = torch.optim.AdamW(self.network.parameters(), lr=3e-3, weight_decay=0.01, fused=True)
            rate = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: one_cycle(min(1.0, step / n_steps), warmup_share=0.1)
            )
            return [optimizer], [{"scheduler": rate, "interval": "step"}]

        def on_train_batch_end(self, *_: Any) -> None:
            self.average.update_parameters(self.network)

        def on_train_epoch_start(self) -> None:
            lasted.append(-time.perf_counter())

        def on_train_epoch_end(self) -> None:
            lasted[-1] += time.perf_counter()

    trainer = lightning.Trainer(
        max_epochs=3,
        accelerator="cpu",
        precision="bf16-mixed" if fast_precision("cpu") == "bf16" else "32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    ready = [(batches.features, batches.targets)] * len(batches)
    trainer.fit(Step(), torch.utils.data.DataLoader(cast(Any, ready), batch_size=None))
    return lasted[1] / len(batches)


def import_s(module: str) -> float:
    """Seconds of importing a module after torch, median of 3 processes."""
    command = [sys.executable, "-c", _IMPORT.format(module)]
    outputs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(3)]
    return statistics.median(float(output) for output in outputs)


def main(*, n_rounds: int = 5, n_steps: int = 20) -> str:
    """The table of milliseconds a step and of import seconds."""
    try:
        lightning = importlib.import_module("lightning.pytorch")
    except ImportError as error:
        raise Skipped("pip install lightning") from error
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    rows = []
    for name, (config, n_bands, n_frames) in NETWORKS.items():
        batches = Ready(n_bands, n_frames, n_steps if n_bands > 8 else 10 * n_steps)
        rounds = []
        for _ in range(n_rounds):
            with warnings.catch_warnings(action="ignore"):
                theirs = lightning_s(config, batches, n_bands, lightning=lightning)
            rounds.append((1e3 * ours_s(config, batches, n_bands), 1e3 * theirs))
        ours_ms, theirs_ms = (statistics.median(column) for column in zip(*rounds, strict=True))
        extra_ms = sorted(b - a for a, b in rounds)
        middle = f"{statistics.median(extra_ms):+.2f} ({extra_ms[0]:+.2f} to {extra_ms[-1]:+.2f}) ms"
        rows.append((f"a step of the {name}", f"{ours_ms:.2f} ms", f"{theirs_ms:.2f} ms", middle))
    mine, other = import_s("earshot.training.fit"), import_s("lightning.pytorch")
    rows.append(("import, after torch", f"{mine:.2f} s", f"{other:.2f} s", f"{other - mine:+.2f} s"))
    note = f"Batches of {BATCH}; medians of {n_rounds} alternating rounds of {n_steps} steps, or ten times as many."
    return table(
        ("what", "earshot's loop", "Lightning", "Lightning minus ours, median (range) of pairs"),
        rows,
        note=note,
    )


if __name__ == "__main__":
    print(main())
