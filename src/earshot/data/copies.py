"""Which clips are the same sound: exactly, or nearly (at another gain, offset or codec)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earshot.audio.fingerprint import MatchConfig, NearPair, Words, fingerprint, near_pairs
from earshot.audio.measure import spectra
from earshot.audio.threads import over_rows
from earshot.audio.windows import Clipbank
from earshot.data.clips import Clips


@dataclass(frozen=True)
class Copies:
    """Sets of clips that are one sound, each ascending; `near` sets hold the exact copies too."""

    exact: list[list[int]]
    near: list[list[int]]
    pairs: list[NearPair]

    def first_of(self, sets: str) -> dict[int, int]:
        """Of every clip but the first of its set ("exact" or "near"): that first one."""
        found: list[list[int]] = self.exact if sets == "exact" else self.near
        return {each: members[0] for members in found for each in members[1:]}


def find_copies(
    digests: Sequence[str], prints: Sequence[Words], *, silent: NDArray[np.bool_], config: MatchConfig
) -> Copies:
    """Copies among N clips. Silent ones are no copies of each other.

    Args:
        digests: hash of the samples of each, [N].
        prints: fingerprint of each, [N].
        silent: clips to leave alone. Shape: [N].
    """
    by_digest: dict[str, list[int]] = {}
    for i, digest in enumerate(digests):
        if not silent[i]:
            by_digest.setdefault(digest, []).append(i)
    distinct = sorted(members[0] for members in by_digest.values())
    pairs = [
        NearPair(distinct[p.first], distinct[p.second], p.offset, p.error_rate)
        for p in near_pairs([prints[i] for i in distinct], config)
    ]
    exact = [members for members in by_digest.values() if len(members) > 1]
    links = [(members[0], each) for members in exact for each in members[1:]]
    return Copies(exact, connected(links + [(p.first, p.second) for p in pairs]), pairs)


def copies_in_one_group(clips: Clips, view: Clipbank, *, rate_hz: int) -> tuple[Clips, Copies]:
    """The clips with groups in which copies of one sound, and pieces that overlap, are together; and the copies.

    Args:
        view: the audio of the clips at `rate_hz`, in their order.
    """
    prints: list[Words] = [np.empty(0, np.uint32)] * len(clips)
    digests = [""] * len(clips)

    def listen(i: int) -> None:
        samples = view.get(i)
        digests[i] = hashlib.blake2b(samples.tobytes(), digest_size=16).hexdigest()
        prints[i] = fingerprint(spectra(samples, rate_hz).bands)

    over_rows(listen, len(clips))
    silent = np.array([not words.any() for words in prints])
    copies = find_copies(digests, prints, silent=silent, config=MatchConfig())
    return clips.assign(group=merged_groups([str(each) for each in clips.groups], copies.near)), copies


def connected(links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Sets that links hold together, each ascending, in order of their first.

    >>> connected([(1, 2), (5, 4), (2, 7)])
    [[1, 2, 7], [4, 5]]
    """
    owner: dict[int, int] = {}

    def root(i: int) -> int:
        while owner.setdefault(i, i) != i:
            owner[i] = owner[owner[i]]
            i = owner[i]
        return i

    for one, other in links:
        owner[root(one)] = root(other)
    sets: dict[int, list[int]] = {}
    for i in sorted(owner):
        sets.setdefault(root(i), []).append(i)
    return sorted(sets.values())


def merged_groups(groups: Sequence[str], sets: Sequence[Sequence[int]]) -> list[str]:
    """Groups in which clips of one set are in one group, and so is all that hung on theirs.

    >>> merged_groups(["a", "b", "b", "c"], [[0, 2]])
    ['a', 'a', 'a', 'c']
    """
    number = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    names = list(number)
    links = [(number[groups[s[0]]], number[groups[i]]) for s in sets for i in s[1:]]
    stands_for = {i: members[0] for members in connected(links) for i in members}
    return [names[stands_for.get(number[group], number[group])] for group in groups]
