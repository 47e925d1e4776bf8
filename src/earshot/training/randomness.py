"""torch's global generators, from which dropout and fresh layers draw: seeded for a while, then as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, *, device: str = "cpu") -> Iterator[None]:
    """Seeds the generators of the processor and of `device`; afterwards they go on as if nothing had been drawn.

    `torch.manual_seed` would seed those of every other device as well, for the rest of the process.
    """
    used = torch.device(device)
    indices: list[int] = []
    if used.type != "cpu":
        indices = [torch.accelerator.current_device_index() if used.index is None else used.index]
    with torch.random.fork_rng(indices, device_type=used.type):
        torch.default_generator.manual_seed(seed)
        for index in indices:
            with torch.accelerator.device_index(index):
                torch.get_device_module(used).manual_seed(seed)
        yield
