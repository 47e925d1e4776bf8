"""Whether a map of what matters says what matters to the model: cells are taken away, or given back, in its order.

Conventions
-----------
- A map is [bands, times]; an order is its cell numbers, most salient first. Deletion takes cells away in that order
  and watches the probability of the class fall; insertion begins with all taken away and gives them back.
- Areas are means of the probability over the share of cells; a faithful map has a small area of deletion and a
  large one of insertion.
- The same is done in 20 random orders of neighbouring cells. A map is believed where it beats all of them (one that
  is as good makes p 2/21 > 0.05) and their mean by 0.05: a rank alone says nothing of how much it matters.
Source: Petsiuk et al., "RISE: randomized input sampling for explanation of black-box models", 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Floats = NDArray[np.float64]
Order = NDArray[np.int64]

SHARES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
"""Shares of the cells at which the model is asked, beside none and all of them."""

SALIENT_SHARE = 0.2
"""Of the cells; what is kept as the salient part of a sound."""

N_RANDOM = 20  # the best p-value is 1 / 21 < 0.05
_SIGNIFICANT = 0.05
_AS_CHANCE = 0.5
_MOVES = 0.05  # a probability that never moves by so much cannot test anything
_LEAST_GAIN = 0.05  # of an area over the mean of the random ones


@dataclass(frozen=True)
class Curves:
    """Probability of the class at the shares (0, *SHARES, 1) of cells taken away or given back. Shape: [8] each."""

    deletion: Floats
    insertion: Floats

    @property
    def areas(self) -> tuple[float, float]:
        """Mean probability under deletion and under insertion."""
        shares = (0.0, *SHARES, 1.0)
        return float(np.trapezoid(self.deletion, shares)), float(np.trapezoid(self.insertion, shares))

    @property
    def gain(self) -> float:
        """Area of insertion minus that of deletion: large where the order is a good one."""
        deletion, insertion = self.areas
        return insertion - deletion


@dataclass(frozen=True)
class Verdict:
    """What the test says of one map.

    Attributes:
        level: "faithful", "partly", "not" or "untestable".
        sentence: the same for people.
        p_deletion: share of random orders, with the map's own, that delete as well or better.
        p_insertion: so for insertion.
    """

    level: str
    sentence: str
    p_deletion: float
    p_insertion: float

    @property
    def rank(self) -> float:
        """The smaller, the better a map stands in both tests together."""
        return self.p_deletion + self.p_insertion


def order_of(cells: Floats, *, seed: int = 0) -> Order:
    """Cells from the most to the least salient; equal ones in a random order. Shape: [bands, times] -> [n]."""
    ties = np.random.default_rng(seed).permutation(cells.size)
    return np.asarray(np.lexsort((ties, -cells.ravel())))


def random_orders(shape: tuple[int, int], *, n: int = N_RANDOM, seed: int = 0) -> list[Order]:
    """Orders that know nothing of the sound, but take neighbouring cells together, as maps do.

    Scattered holes break a sound more than the same number in one place, and a map would beat them or lose to them
    for that alone. They are the orders of smoothed noise.
    """
    rng = np.random.default_rng([seed, *shape])
    return [order_of(gaussian_filter(rng.standard_normal(shape), 1.0, mode="nearest")) for _ in range(n)]


def deletion_masks(orders: Sequence[Order]) -> Iterator[NDArray[np.bool_]]:
    """Which cells are taken away, [n_cells] each: of each order the steps of deletion, then those of insertion."""
    for order in orders:
        for share in SHARES:
            yield first_cells(order, share)
        for share in SHARES:
            yield ~first_cells(order, share)


def first_cells(order: Order, share: float) -> NDArray[np.bool_]:
    """True for the first share of the cells in an order, at least one of them. Shape: [n] -> bool [n]."""
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order[: max(1, round(share * len(order)))]] = True
    return chosen


def curves_of(
    orders: Mapping[str, Order],
    score: Callable[[Iterator[NDArray[np.bool_]]], Floats],
    *,
    ends: tuple[float, float],
) -> dict[str, Curves]:
    """Deletion and insertion in each order.

    Args:
        score: probability of the class, [N], with the cells of N masks taken away.
        ends: the same with no cell and with every cell taken away.
    """
    probs = score(deletion_masks(list(orders.values()))).reshape(len(orders), 2, len(SHARES))
    full, empty = ends
    return {
        name: Curves(np.array([full, *taken, empty]), np.array([empty, *given, full]))
        for name, (taken, given) in zip(orders, probs, strict=True)
    }


def judge(own: Curves, random: Sequence[Curves], *, loudest: Curves | None = None) -> Verdict:
    """Compares a map's order with random ones and, in words only, with taking the loudest cells first."""
    areas = np.array([each.areas for each in random])
    deletion, insertion = own.areas
    p_deletion = (1 + int((areas[:, 0] <= deletion).sum())) / (1 + len(random))
    p_insertion = (1 + int((areas[:, 1] >= insertion).sum())) / (1 + len(random))
    moves = max(float(np.ptp(np.concatenate([c.deletion, c.insertion]))) for c in (own, *random))
    gains = float(areas[:, 0].mean() - deletion), float(insertion - areas[:, 1].mean())
    level = "untestable" if moves < _MOVES else _level((p_deletion, p_insertion), gains)
    sentence = _sentence(level, own, random)
    if level in ("faithful", "partly") and loudest is not None and loudest.gain >= own.gain:
        sentence += " Taking the loudest parts first does at least as well: it says little beyond loudness."
    return Verdict(level, sentence, p_deletion, p_insertion)


def _level(p_values: tuple[float, float], gains: tuple[float, float]) -> str:
    """Of the two tests. A map that does worse than most random orders in one of them is no good."""
    won = [p <= _SIGNIFICANT and gain >= _LEAST_GAIN for p, gain in zip(p_values, gains, strict=True)]
    if not any(won) or max(p_values) >= _AS_CHANCE:
        return "not"
    return "faithful" if all(won) else "partly"


def _sentence(level: str, own: Curves, random: Sequence[Curves]) -> str:
    if level == "untestable":
        return _OPENINGS[level]
    at = 1 + SHARES.index(SALIENT_SHARE)
    full, taken, given = own.deletion[0], own.deletion[at], own.insertion[at]
    others = np.mean([[each.deletion[at], each.insertion[at]] for each in random], axis=0)
    share = f"{100 * SALIENT_SHARE:.0f}\u202f%"
    return (
        f"{_OPENINGS[level]} Without the {share} of the cells that it marks most, the probability goes from"
        f" {full:.2f} to {taken:.2f} (without {share} at random, to {others[0]:.2f}); with them alone it is"
        f" {given:.2f} (with {share} at random, {others[1]:.2f})."
    )


_OPENINGS = {
    "faithful": "Faithful: what this map marks matters to the model more than other parts, taken away and alone.",
    "partly": "Partly faithful: this map beats random orders clearly in one of the two tests only.",
    "not": "Not shown to be faithful: this map does not clearly beat random orders in both tests together."
    " Do not rely on it.",
    "untestable": "Not testable: the probability hardly moves, whatever is taken away, so no map can be put to the"
    " test on this sound.",
}
