import numpy as np
import pandas as pd

from earshot.audio.fingerprint import MatchConfig
from earshot.audio.windows import InMemory
from earshot.data.clips import Clips
from earshot.data.copies import connected, copies_in_one_group, find_copies, merged_groups

WORDS = np.random.default_rng(0).integers(1, 2**32, size=(4, 100), dtype=np.uint32)


def test_exact_copies_are_told_from_near_ones_and_both_are_kept_together():
    prints = [WORDS[0], WORDS[0], WORDS[1], WORDS[0] ^ np.uint32(1), WORDS[2]]
    copies = find_copies(["a", "a", "b", "c", "d"], prints, silent=np.zeros(5, bool), config=MatchConfig())
    assert copies.exact == [[0, 1]]
    assert copies.near == [[0, 1, 3]]
    assert copies.first_of("exact") == {1: 0}
    assert copies.first_of("near") == {1: 0, 3: 0}


def test_silent_clips_are_no_copies_of_each_other():
    prints = [np.zeros(9, np.uint32)] * 2
    copies = find_copies(["a", "a"], prints, silent=np.ones(2, bool), config=MatchConfig())
    assert copies.exact == copies.near == []


def test_groups_merge_through_their_other_clips():
    assert merged_groups(["a", "b", "b", "c", "c", "d"], [[0, 1], [2, 3]]) == ["a"] * 5 + ["d"]
    assert merged_groups(["a", "b"], []) == ["a", "b"]
    assert connected([]) == []


def test_pieces_that_overlap_join_one_group_and_strangers_keep_their_own():
    rng = np.random.default_rng(3)
    rate_hz = 16_000
    slow = np.interp(np.arange(12 * rate_hz), np.arange(0, 12 * rate_hz, 900), rng.uniform(0.1, 1, 214))
    recording = (4_000 * slow * rng.standard_normal(12 * rate_hz)).astype(np.int16)
    stranger = (4_000 * rng.uniform(0.5, 1) * rng.standard_normal(8 * rate_hz)).astype(np.int16)
    view = InMemory([recording[: 8 * rate_hz], stranger, recording[4 * rate_hz :]])
    clips = Clips(pd.DataFrame({"path": ["a.wav", "b.wav", "c.wav"], "label": ["cat", "dog", "cat"]}))
    grouped, copies = copies_in_one_group(clips, view, rate_hz=rate_hz)
    assert copies.near == [[0, 2]]
    first, other, last = grouped.groups
    assert first == last != other
    assert len(set(clips.groups)) == 3, "the clips that were given keep their groups"
