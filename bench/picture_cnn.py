"""Training the ladder's network on pictures: earshot's loop against a plain loop of PyTorch in float32.

The network is that of section 1 of the ladder (first kernel 3, pictures of 100 x 160 in colour, batches of 16).
The plain loop is what a reader of a textbook would write: float32, default memory format, `torch.optim.Adam`. Both
start from the same weights and take the same number of steps on the same pictures, turn by turn.
"""

from __future__ import annotations

import os
import statistics
import time

import torch
from torch import Tensor, nn

from bench import table
from earshot.models import MODELS
from earshot.models.cnn2d import Stack2dConfig
from earshot.models.member import fast_precision
from earshot.training.batches import FixedBatches
from earshot.training.fit import fit_network
from earshot.training.options import TrainingConfig

SHAPE, N_CLASSES, BATCH, N_STEPS, N_ROUNDS = (3, 100, 160), 10, 16, 8, 7
CONFIG = Stack2dConfig(preset="pictures", kernel=3, scale="none")
TRAINING = TrainingConfig(
    epochs=2,
    batch_size=BATCH,
    optimizer="adam",
    schedule="constant",
    learning_rate=1e-3,
    weight_decay=0.0,
    averaging_share=0.0,
    watch_every=2,
)


def network() -> nn.Module:
    """The network, with the same weights each time."""
    torch.manual_seed(0)
    built: nn.Module = MODELS[CONFIG.kind](CONFIG, input_shape=SHAPE, n_classes=N_CLASSES)
    return built


def with_earshot(pictures: Tensor, targets: Tensor) -> float:
    """Clips/s of the second epoch."""
    batches = FixedBatches(pictures, targets, batch_size=BATCH, seed=0)
    _, history = fit_network(
        network(),
        batches,
        TRAINING,
        multilabel=False,
        seed=0,
        checkpoint=None,
        watch=lambda _: {},
        on_epoch=lambda done, total: None,
    )
    return len(pictures) / float(history[-1]["seconds"])


def with_plain_torch(pictures: Tensor, targets: Tensor) -> float:
    """Clips/s of the second epoch."""
    trained = network().train()
    optimizer = torch.optim.Adam(trained.parameters(), lr=1e-3)
    for _ in range(2):
        started = time.perf_counter()
        for chosen in torch.randperm(len(pictures)).view(-1, BATCH):
            loss = nn.functional.cross_entropy(trained(pictures[chosen]), targets[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return len(pictures) / (time.perf_counter() - started)


def main() -> str:
    """The table of clips/s."""
    torch.set_num_threads(os.cpu_count() or 1)
    rng = torch.Generator().manual_seed(0)
    n = BATCH * N_STEPS
    pictures = torch.randint(256, (n, *SHAPE), dtype=torch.uint8, generator=rng)
    targets = torch.eye(N_CLASSES)[torch.arange(n) % N_CLASSES]
    rounds = [(with_earshot(pictures, targets), with_plain_torch(pictures, targets)) for _ in range(N_ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(a / b for a, b in rounds)
    precision = fast_precision("cpu")
    rows = [
        (f"earshot, {precision}", f"{ours:.1f}", f"{ratio:.2f}x", ">= 2x"),
        ("plain PyTorch, fp32", f"{theirs:.1f}", "1.00x", ""),
    ]
    note = (
        f"Batches of {BATCH}, {N_STEPS} steps an epoch, second of two epochs, medians of {N_ROUNDS} rounds, "
        f"{torch.get_num_threads()} threads. In fp32 the gain is memory that is kept between steps and a cheaper "
        "dropout: the convolutions alone take half of the peer's step. Twice as fast takes a processor that "
        "multiplies bfloat16 natively."
    )
    return table(("training", "clips/s", "against the peer", "target"), rows, note=note)


if __name__ == "__main__":
    print(main())
