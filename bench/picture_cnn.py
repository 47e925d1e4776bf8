"""Training the ladder's network on pictures: earshot's loop against a plain loop of PyTorch in float32.

The network is that of section 1 of the ladder (first kernel 3, pictures of 100 x 160 in colour, batches of 16).
The plain loop is what a reader of a textbook would write: the same layers as an `nn.Sequential` of torch's own,
float32, default memory format, `torch.optim.Adam`. Both take the same number of steps on the same pictures, turn by
turn. A third trains earshot's network in that plain loop: what the layers alone bring.
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
from earshot.models.summary import n_parameters
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


def textbook_network() -> nn.Module:
    """The same layers by torch's own modules."""
    torch.manual_seed(0)
    convolutions = [
        *(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)),
        *(nn.Conv2d(64, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)),
    ]
    dense = [
        nn.Flatten(),
        nn.Linear(64 * 23 * 38, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, N_CLASSES),
    ]
    return nn.Sequential(*convolutions, *dense)


def in_a_plain_loop(trained: nn.Module, pictures: Tensor, targets: Tensor) -> float:
    """Clips/s of the second epoch."""
    trained.train()
    optimizer = torch.optim.Adam(trained.parameters(), lr=1e-3)
    for _ in range(2):
        started = time.perf_counter()
        for chosen in torch.randperm(len(pictures)).view(-1, BATCH):
            loss = nn.functional.cross_entropy(trained(pictures[chosen].float() / 255), targets[chosen])
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
    assert n_parameters(network()) == n_parameters(textbook_network())
    rounds = [
        (
            with_earshot(pictures, targets),
            in_a_plain_loop(network(), pictures, targets),
            in_a_plain_loop(textbook_network(), pictures, targets),
        )
        for _ in range(N_ROUNDS)
    ]
    speeds = [statistics.median(column) for column in zip(*rounds, strict=True)]
    ratios = [
        statistics.median(a / each[2] for a, each in zip(c, rounds, strict=True))
        for c in zip(*rounds, strict=True)
    ]
    names = (
        f"earshot, {fast_precision('cpu')}",
        "earshot's layers in a plain loop, fp32",
        "plain PyTorch, fp32",
    )
    rows = [
        (name, f"{speed:.1f}", f"{ratio:.2f}x", target)
        for name, speed, ratio, target in zip(names, speeds, ratios, (">= 2x", "", ""), strict=True)
    ]
    note = (
        f"Batches of {BATCH}, {N_STEPS} steps an epoch, second of two epochs, medians of {N_ROUNDS} rounds, "
        f"{torch.get_num_threads()} threads. In fp32 the gain is channels that lie side by side in memory, a max "
        "pool before its ReLU, a cheaper dropout, and memory that is kept between steps."
    )
    return table(("training", "clips/s", "against the peer", "target"), rows, note=note)


if __name__ == "__main__":
    print(main())
