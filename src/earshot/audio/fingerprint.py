"""Acoustic fingerprints: the same sound at another gain, offset or codec has nearly the same bits.

A word of 32 bits every 512 samples: the signs of how the difference between neighbouring bands changes in time.
Signs do not know gain, and changes of a logarithm do not know a fixed filter. Copies are found by words that are
equal, which agree on one offset, and confirmed by the share of bits that differ there.

Source: Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002; bands, smoothing and the
logarithm are our own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from earshot.audio.measure import N_BANDS

Words = NDArray[np.uint32]

_SMOOTH_FRAMES = 25
_ROUNDING = 10 * 2048 * 0.375 / 12 / 32_768.0**2 * N_BANDS  # 10 dB above the rounding noise of 16 bit
_DEPTH = 1e-4  # frames more than 40 dB below the loudest say nothing reliable
_MAX_FRAMES = 10_000  # two minutes
_COMMON = 128  # words that so many places share tell nothing
_NEIGHBOURS = 8
_MASKS = tuple(np.uint32(0xFFFFFFFF ^ (0xFF << shift)) for shift in (0, 8, 16, 24))
_MIN_VOTES = 3  # two words a vote each are chance; a whole word has four votes
_SPAN = 4  # offsets that count as one while candidates are gathered
_N_SPANS = 2 * _MAX_FRAMES // _SPAN + 1
_MEETINGS_AT_ONCE = 2**24  # half a GiB while they are counted
_MAX_OFFSETS = 4  # tried a pair
_BIT_COUNTS = np.array([bin(i).count("1") for i in range(2**16)], np.uint8)


class MatchConfig(BaseModel):
    """When two fingerprints are of the same sound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_error_rate: float = Field(0.30, gt=0, lt=0.5, description="share of bits that may differ")
    min_certainty: float = Field(7.0, gt=0, description="deviations from what unrelated sounds give")
    min_overlap: float = Field(0.25, gt=0, le=1, description="of the frames of the shorter one")
    min_frames: int = Field(16, ge=1, description="audible frames that both must have")


class NearPair(NamedTuple):
    """Two sounds by number, `first` < `second`; frame `offset` of `first` is frame 0 of `second`."""

    first: int
    second: int
    offset: int
    error_rate: float


def fingerprint(bands: NDArray[np.float32]) -> Words:
    """One word a frame, 0 where nothing can be heard. Shape: band powers [F, 33] -> uint32 [F]."""
    window = np.hanning(_SMOOTH_FRAMES + 2)[1:-1]
    power = ndimage.convolve1d(
        bands[:_MAX_FRAMES].astype(np.float64), window / window.sum(), axis=0, mode="nearest"
    )
    loudness = power.sum(axis=1)
    audible = loudness > max(float(loudness.max(initial=0.0)) * _DEPTH, _ROUNDING)
    slope = np.diff(np.log(power + 1e-12 + 1e-7 * loudness.max(initial=0.0)), axis=1)
    change = np.gradient(slope, axis=0) if len(slope) > 1 else np.zeros_like(slope)
    bits = (change > 0).astype(np.uint32) << np.arange(N_BANDS - 1, dtype=np.uint32)
    words = np.bitwise_or.reduce(bits, axis=1) if len(bits) else np.zeros(0, np.uint32)
    return np.where(audible, words, 0).astype(np.uint32)


def near_pairs(prints: Sequence[Words], config: MatchConfig | None = None) -> list[NearPair]:
    """Pairs that are the same sound, in order.

    Of many copies of one sound not every pair need be listed, but they hang together.
    """
    config = config or MatchConfig()
    best: dict[tuple[int, int], NearPair] = {}
    for first, second, offset in _candidates(prints):
        known = best.get((first, second))
        found = _compare(prints, first, second, offset=offset, config=config)
        if found and (known is None or found.error_rate < known.error_rate):
            best[first, second] = found
    return sorted(best.values())


def _candidates(prints: Sequence[Words]) -> Iterator[tuple[int, int, int]]:
    """(first, second, offset) that enough words speak for, the best few of each pair.

    Words count as equal when three of their four bytes are: a codec seldom leaves all 32 bits alone. Meetings by
    chance grow with the square of the number of words, so they are counted for some of the sounds at a time.
    """
    lengths = np.array([len(words) for words in prints], np.int64)
    owner = np.repeat(np.arange(len(prints), dtype=np.int32), lengths)
    place = np.concatenate(
        [np.arange(length, dtype=np.int32) for length in lengths] or [np.zeros(0, np.int32)]
    )
    words = np.concatenate([*prints, np.zeros(0, np.uint32)])
    shelves = [_Shelf(words & mask, words != 0, owner) for mask in _MASKS]
    n_parts = 1 + sum(shelf.n_meetings() for shelf in shelves) // _MEETINGS_AT_ONCE
    limits = np.searchsorted(np.cumsum(lengths), np.linspace(0, len(words), n_parts + 1)[1:-1]).tolist()
    limits = sorted({0, *limits, len(prints)})
    for low, high in itertools.pairwise(limits):
        votes = [np.zeros(0, np.int64)]
        for one, other in itertools.chain.from_iterable(shelf.meetings() for shelf in shelves):
            wanted = (low <= owner[one]) & (owner[one] < high) & (owner[one] != owner[other])
            one, other = one[wanted], other[wanted]
            offset = (place[one] - place[other] + _MAX_FRAMES) // _SPAN
            votes.append((owner[one].astype(np.int64) * len(prints) + owner[other]) * _N_SPANS + offset)
        yield from _elected(np.concatenate(votes), len(prints))


def _elected(votes: NDArray[np.int64], n_prints: int) -> Iterator[tuple[int, int, int]]:
    """What is voted for often enough, the best few offsets of each pair."""
    found, counts = np.unique(votes, return_counts=True)
    found, counts = found[counts >= _MIN_VOTES], counts[counts >= _MIN_VOTES]
    found = found[np.lexsort((-counts, found // _N_SPANS))]
    pair = found // _N_SPANS
    starts = np.flatnonzero(np.append(True, np.diff(pair) != 0)[: len(pair)])
    rank = np.arange(len(pair)) - np.repeat(starts, np.diff(np.append(starts, len(pair))))
    for key in found[rank < _MAX_OFFSETS].tolist():
        pair, offset = divmod(key, _N_SPANS)
        yield *divmod(pair, n_prints), offset * _SPAN - _MAX_FRAMES


class _Shelf:
    """Positions of words, those of equal words together, the earlier first; of repeated and common words none.

    Args:
        words: masked words of all sounds, one sound after the other [N].
        audible: frames that can be heard [N].
        owner: number of each word's sound [N].
    """

    def __init__(self, words: Words, audible: NDArray[np.bool_], owner: NDArray[np.int32]) -> None:
        is_new = np.append(True, (np.diff(words) != 0) | (np.diff(owner) != 0))[: len(words)]
        places = np.flatnonzero(audible & is_new).astype(np.int32)
        places = places[np.argsort(words[places], kind="stable")]
        words = words[places]
        starts = np.flatnonzero(np.append(True, np.diff(words) != 0)[: len(words)])
        counts = np.diff(np.append(starts, len(words)))
        telling = np.repeat(counts, counts) < _COMMON
        self._places, self._words = places[telling], words[telling]

    def n_meetings(self) -> int:
        """How many pairs `meetings` gives."""
        return sum(int(np.count_nonzero(same)) for _, same in self._equal())

    def meetings(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """Positions of equal words, the earlier first; of words with many places, each with the next few only."""
        for step, same in self._equal():
            yield self._places[:-step][same], self._places[step:][same]

    def _equal(self) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        for step in range(1, _NEIGHBOURS + 1):
            yield step, self._words[:-step] == self._words[step:]


def _compare(
    prints: Sequence[Words], first: int, second: int, *, offset: int, config: MatchConfig
) -> NearPair | None:
    """The best match near an offset, or None."""
    best: NearPair | None = None
    for each in range(offset - 1, offset + _SPAN + 1):
        one, other = _overlap(prints[first], prints[second], each)
        both = (one != 0) & (other != 0)
        n_shorter = min(np.count_nonzero(prints[first]), np.count_nonzero(prints[second]))
        n_both = int(np.count_nonzero(both))
        if n_both < max(config.min_frames, config.min_overlap * n_shorter):
            continue
        rate = error_rate(one[both], other[both])
        if rate <= config.max_error_rate and certainty(rate, n_both) >= config.min_certainty:
            best = min(
                best or NearPair(0, 0, 0, 1.0),
                NearPair(first, second, each, rate),
                key=lambda p: p.error_rate,
            )
    return best


def error_rate(one: Words, other: Words) -> float:
    """Share of bits that differ; 0.5 is chance. Shape: [F], [F]."""
    halves = (one ^ other).view(np.uint16)
    return float(_BIT_COUNTS[halves].sum()) / (32 * max(1, len(one)))


def certainty(rate: float, n_frames: int) -> float:
    """Deviations between an error rate and chance, with neighbouring frames counted as one in eight.

    >>> round(certainty(0.25, 128), 1)
    11.3
    """
    return (0.5 - rate) * 2 * float(np.sqrt(32 * n_frames / 8))


def _overlap(one: Words, other: Words, offset: int) -> tuple[Words, Words]:
    if offset < 0:
        other, offset = other[-offset:], 0
    one = one[offset:]
    n = min(len(one), len(other))
    return one[:n], other[:n]
