"""Deals whole groups into parts of given shares so that every class is spread as the shares say.

Algorithm: greedy, group after group into the part that is least full of the group's classes, each class
weighing the same whatever its size; then single groups move until no part lacks a class it could have. Where groups
hold several classes that can get stuck; then the groups are dealt again in another order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

Counts = npt.NDArray[np.float64]

# How often it is tried, and how many groups are dealt in all tries.
_MOST_DEALS, _MOST_DEALT = 200, 200_000


def deal_groups(
    counts: sparse.csr_array, *, shares: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Part of each group.

    Args:
        counts: clips of each class in each group. Shape: [G, K].
        shares: wanted share of each part, adding up to 1. Shape: [P].

    Shape: [G], in 0..P-1. A class with fewer groups than parts fills the first parts only.
    """
    n_groups = counts.shape[0]
    # Large groups first balances best; with unequal shares it would keep them all in the large part.
    largest_first = bool(np.allclose(shares, shares[0]))
    best, fewest = np.zeros(n_groups, dtype=np.int64), counts.shape[1] * len(shares) + 1
    for attempt in range(min(_MOST_DEALS, 1 + _MOST_DEALT // max(n_groups, 1))):
        order = rng.permutation(n_groups)
        if largest_first and attempt == 0:
            sizes = np.asarray(counts.sum(axis=1)).ravel()
            order = order[np.argsort(-sizes[order], kind="stable")]
        parts, n_holes = _mended(_dealt(counts, order, shares), counts, n_parts=len(shares))
        if n_holes < fewest:
            best, fewest = parts, n_holes
        if n_holes == 0:
            break
    return best


def _dealt(
    counts: sparse.csr_array, order: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Part of each group, dealt one after another."""
    n_groups, n_classes = counts.shape
    totals = np.maximum(np.asarray(counts.sum(axis=0)).ravel(), 1)
    sizes = np.asarray(counts.sum(axis=1)).ravel()
    filled = np.zeros((len(shares), n_classes))
    load = np.zeros(len(shares))
    parts = np.zeros(n_groups, dtype=np.int64)
    for group in order:
        classes, numbers = _row(counts, group)
        fullness = (filled[:, classes] + numbers / 2) @ (numbers / totals[classes]) / shares
        part = int(np.argmin(fullness + 1e-9 * load / shares))
        parts[group] = part
        filled[part, classes] += numbers
        load[part] += sizes[group]
    return parts


def _row(counts: sparse.csr_array, group: int) -> tuple[npt.NDArray[np.int64], Counts]:
    start, end = counts.indptr[group], counts.indptr[group + 1]
    return counts.indices[start:end], counts.data[start:end]


def _mended(
    parts: npt.NDArray[np.int64], counts: sparse.csr_array, *, n_parts: int
) -> tuple[npt.NDArray[np.int64], int]:
    """Moves the smallest groups that help until no part lacks a class that has a group to spare.

    Returns:
        The parts, and how many classes parts still lack.
    """
    columns = counts.tocsc()
    n_groups_of = np.diff(columns.indptr)
    present = np.zeros((n_parts, counts.shape[1]), dtype=np.int64)  # groups of each class in each part
    for part in range(n_parts):
        present[part] = np.bincount(counts[parts == part].indices, minlength=counts.shape[1])
    needed = np.arange(n_parts)[:, None] < n_groups_of
    for part, wanted in np.argwhere(needed & (present == 0)):
        if present[part, wanted]:
            continue  # an earlier move brought it
        members = columns.indices[columns.indptr[wanted] : columns.indptr[wanted + 1]]
        for group in sorted(members, key=lambda g: (_row(counts, g)[1].sum(), g)):
            classes, _ = _row(counts, group)
            giver = parts[group]
            if giver != part and np.all((present[giver, classes] > 1) | ~needed[giver, classes]):
                present[giver, classes] -= 1
                present[part, classes] += 1
                parts[group] = part
                break
    return parts, int((needed & (present == 0)).sum())
