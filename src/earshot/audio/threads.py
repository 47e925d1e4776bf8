"""A small pool of threads for work on the rows of a batch, one intra-op thread each.

Many short torch operations on one clip gain nothing from several intra-op threads and lose to their
synchronisation; whole clips side by side do gain. torch releases the interpreter lock inside its operations.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import Literal, TypeVar

import torch

_MOST_AHEAD = 8
Item = TypeVar("Item")
Made = TypeVar("Made")


@functools.cache
def _pool(n_threads: int, use: Literal["rows", "ahead"]) -> ThreadPoolExecutor:
    """One for each use: work that is done ahead may itself go over rows."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="earshot", initializer=_use_one_thread)
    # Setting it in a thread also sets it for every thread that starts later: start all, then set it back.
    list(pool.map(lambda barrier: barrier.wait(), [Barrier(n_threads)] * n_threads))
    torch.set_num_threads(before)
    return pool


def _use_one_thread() -> None:
    torch.get_num_threads()  # a thread takes the common number at its first question, also after setting its own
    torch.set_num_threads(1)


def over_rows(work: Callable[[int], None], n_rows: int) -> None:
    """Calls `work(i)` for each row on as many threads as torch uses, without gradients; re-raises errors."""
    n_threads = torch.get_num_threads()
    inference = torch.is_inference_mode_enabled()

    def one(row: int) -> None:
        # These modes belong to a thread: carry the caller's over. Leaving inference mode turns gradients on.
        with torch.inference_mode(inference), torch.no_grad():
            work(row)

    if n_threads == 1 or n_rows == 1:
        for row in range(n_rows):
            one(row)
    else:
        list(_pool(n_threads, "rows").map(one, range(n_rows)))


def over_parts(work: Callable[[slice], None], n_rows: int) -> None:
    """Calls `work(rows)` for as many equal parts of the rows as there are threads.

    For short operations on many rows at once: torch's own threads wait for each other after each of them, which on
    a busy machine took ten times as long as the work.
    """
    n_parts = max(1, min(torch.get_num_threads(), n_rows))
    over_rows(lambda i: work(slice(n_rows * i // n_parts, n_rows * (i + 1) // n_parts)), n_parts)


def ahead(work: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """`work(item)` of each item, in order, on as many threads as torch uses while the caller deals with the last.

    At the most eight threads, and two results a thread that wait: items may be large. Errors of `work` are raised
    when their turn comes.
    """
    n_threads = min(torch.get_num_threads(), _MOST_AHEAD)
    if n_threads == 1:
        yield from map(work, items)
        return
    pool, waiting = _pool(n_threads, "ahead"), deque[Future[Made]]()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == 2 * n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
