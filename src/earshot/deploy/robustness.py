"""A finished model on the same clips damaged in many ways: each is decoded once, damaged in memory, and scored.

What a damage takes beyond full scale is cut off, as a recorder would. Memory holds one batch of windows, some
damaged clips that are made ahead on all threads and, of each clip, whether it was right under each damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from earshot.audio import windows
from earshot.audio.corruptions import CORRUPTIONS, SEVERITIES, corruptions_of, rng_of, taught_by
from earshot.audio.threads import ahead
from earshot.data.clips import Clips
from earshot.deploy.bundle import Bundle
from earshot.deploy.decoded import decoded
from earshot.errors import DataError, complaint
from earshot.evaluation.corruptions import CorruptionScores, clips_digest, scores_of_right
from earshot.evaluation.predictions import Predictions, right_clips
from earshot.monitor import Monitor, Silent

Samples = NDArray[np.float32]
Progress = Callable[[int, int], None]
_N_POOL = 32  # clips held as recorded background, from all over the data
_POOL_S = 30  # of each, at most: recordings of minutes would fill the memory


def score_damaged(
    bundle: Bundle,
    clips: Clips,
    clean: Predictions,
    *,
    wanted: str = "standard",
    seed: int = 0,
    monitor: Monitor | None = None,
) -> tuple[CorruptionScores, list[str]]:
    """Scores the clips under every corruption and severity that is wanted.

    Args:
        clips: the clips of `clean`, in its order, all of them readable.
        clean: what the bundle says of them undamaged, with targets.
        wanted: "standard" or names and groups with commas between, as `corruptions_of` takes them.

    Returns:
        The scores, and a note for each corruption that could not be made.

    Raises:
        ConfigError: a name that is not known.
        DataError: the clips are not those of `clean`, or one of them can no longer be read.
    """
    monitor = monitor or Silent()
    names, notes = corruptions_of(wanted, has_pool=len(set(clips.groups)) > 1)
    right = answers_to_damaged(
        bundle,
        clips,
        clean,
        names=names,
        seed=seed,
        on_progress=lambda done, total: monitor.progress("corruptions", done, total),
    )
    scores = scores_of_right(
        clean.right,
        dict(zip(names, right, strict=True)),
        groups=clean.groups,
        held_out=set(names) - taught_to(bundle),
        rng=np.random.default_rng(seed),
        clips=clips_digest(clean),
    )
    return scores, list(notes)


def answers_to_damaged(
    bundle: Bundle,
    clips: Clips,
    clean: Predictions,
    *,
    names: Sequence[str],
    seed: int,
    on_progress: Progress = lambda done, total: None,
) -> NDArray[np.bool_]:
    """Which clips are right under each of the corruptions `names`, at each severity.

    Recorded background is taken from these clips, of another group each time.

    Shape: [C, S, N].

    Raises:
        DataError: as `score_damaged`.
    """
    if tuple(clips.ids) != clean.clip_ids:
        rule = "the clips of the predictions, in order"
        raise DataError(complaint("robustness", "clips", len(clips), rule))
    groups = [str(group) for group in clips.groups]
    pool = _pool(bundle, clips) if any(CORRUPTIONS[name].needs_pool for name in names) else []
    right = np.zeros((len(names), len(SEVERITIES), len(clips)), dtype=bool)

    def wanted() -> Iterator[tuple[int, Samples, str, int]]:
        for i, samples in enumerate(_decoded(bundle, clips)):
            yield from ((i, samples, name, severity) for name in names for severity in SEVERITIES)

    def damaged(which: tuple[int, Samples, str, int]) -> NDArray[np.int16]:
        i, samples, name, severity = which
        made = CORRUPTIONS[name].apply(
            samples,
            rate_hz=bundle.rate_hz,
            severity=severity,
            rng=rng_of(name, severity, clip_id=clean.clip_ids[i], seed=seed),
            pool=[each for group, each in pool if group != groups[i]],
        )
        return windows.to_int16(made)

    n_each = len(names) * len(SEVERITIES)
    targets = clean.known_targets
    for k, row in enumerate(bundle.score(ahead(damaged, wanted()))):
        clip, variant = divmod(k, n_each)
        place = (*divmod(variant, len(SEVERITIES)), clip)
        right[place] = right_clips(row, targets[clip], multilabel=clean.multilabel)
        if variant == n_each - 1:
            on_progress(clip + 1, len(clips))
    return right


def taught_to(bundle: Bundle) -> frozenset[str]:
    """What any member's training had something like; classical ones are trained on changed sounds if asked to."""
    taught: frozenset[str] = frozenset()
    for member in bundle.config.members.values():
        changes = member.config.changes
        if member.config.is_network:
            taught |= taught_by(changes)
        elif changes.n_copies:
            taught |= taught_by(changes.for_copies())
    return taught


def _pool(bundle: Bundle, clips: Clips) -> list[tuple[str, Samples]]:
    """Clips from all over the data with their groups: two of different groups at least, if there are."""
    places = set(np.linspace(0, len(clips) - 1, min(_N_POOL, len(clips))).round().astype(int).tolist())
    groups = [str(group) for group in clips.groups]
    # Of few groups in long stretches an even spread might meet one alone.
    places |= {groups.index(group) for group in sorted(set(groups))[:2]}
    chosen = sorted(places)
    heard = _decoded(bundle, clips.subset(chosen))
    n_most = _POOL_S * bundle.rate_hz
    return [(groups[i], samples[:n_most].copy()) for i, samples in zip(chosen, heard, strict=True)]


def _decoded(bundle: Bundle, clips: Clips) -> Iterator[Samples]:
    for outcome, samples in decoded(bundle, clips):
        if samples is None:
            raise DataError(f"robustness: a clip that was scored can no longer be read: {outcome.message}")
        yield windows.to_float(samples)
