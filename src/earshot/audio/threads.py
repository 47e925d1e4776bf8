"""A small pool of threads for work on the rows of a batch, one intra-op thread each.

Many short torch operations on one clip gain nothing from several intra-op threads and lose to their
synchronisation; whole clips side by side do gain. torch releases the interpreter lock inside its operations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


@functools.cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(
        n_threads, thread_name_prefix="earshot", initializer=torch.set_num_threads, initargs=(1,)
    )


def over_rows(work: Callable[[int], None], n_rows: int) -> None:
    """Calls `work(i)` for each row i, on as many threads as torch uses; no gradients; re-raises the first error."""
    n_threads = torch.get_num_threads()
    if n_threads == 1 or n_rows == 1:
        for i in range(n_rows):
            work(i)
        return
    inference = torch.is_inference_mode_enabled()
    list(_pool(n_threads).map(lambda row: _without_gradients(work, row, inference), range(n_rows)))


def _without_gradients(work: Callable[[int], None], row: int, inference: bool) -> None:
    """Gradient and inference modes belong to a thread: carry the caller's over."""
    with torch.no_grad(), torch.inference_mode(inference):
        work(row)
