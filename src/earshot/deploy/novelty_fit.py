"""Learning at the end of a run which sounds are of no class, from clips that each fold model did not train on.

Conventions: `rows` are positions in the view; a detector is fitted on training clips of its fold model and scores
that model's held-out clips, so scores of known sounds are out of fold. The limit is chosen on those alone; the
share of known sounds that it keeps is measured with limits from the other folds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earshot.audio.windows import OPEN, Clipbank, Gate
from earshot.data.splits import Fold
from earshot.deploy.artificial import artificial_sounds
from earshot.deploy.decisions import NoveltyData
from earshot.deploy.novelty import (
    MAX_EMBEDDING,
    NoveltyModel,
    WithEmbedding,
    detector_scores,
    embedding_width,
    mean_units,
)
from earshot.evaluation.novelty import limit_at_kept
from earshot.evaluation.relative_distance import MIN_CLIPS_PER_CLASS, RelativeDistance
from earshot.models.member import ClassicalMember, Member
from earshot.models.scoring import score_clips

MAX_CLIPS = 2_000  # main axes and spreads of more clips are hardly better known
ARTIFICIAL_KEPT = 0.99  # of known clips: few real sounds are nearer to made-up ones than to every class

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class KnownSounds:
    """Labelled clips to learn from: labels [N] of the view's clips, and which of them are of a background class.

    Background clips are known, but no clip of a wanted class: they teach the detectors, not the limit.
    """

    view: Clipbank
    labels: Indices
    is_background: NDArray[np.bool_]
    folds: Sequence[Fold]
    length: int
    hop: int
    gate: Gate = OPEN


@dataclass(frozen=True)
class FittedNovelty:
    """The detectors and their limit, and what known clips got out of fold.

    `rows` are the clips that were looked at, `scores` their novelty. The `n_counted` of them that are no background
    clips count: `kept` is their share below a limit from the other folds.
    """

    model: NoveltyModel
    data: NoveltyData
    rows: Indices
    scores: Floats
    kept: float
    n_counted: int


def fit_novelty(
    families: Mapping[str, Sequence[Member]],
    known: KnownSounds,
    *,
    weights: Mapping[str, float],
    rate_hz: int,
    kept: float,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> FittedNovelty | None:
    """Detectors for every member whose embedding is narrow enough.

    Args:
        families: of each member the fold models, in the order of the folds; their front ends may be shared.
        weights: of each member in the pool, above 0.
        kept: share of known clips that the limit is to keep.

    Returns:
        None where no member has a narrow embedding, or the clips are too few.
    """
    rows = _sample(known)
    learnable = [np.intersect1d(fold.train, rows) for fold in known.folds]
    if any(len(r) < MIN_CLIPS_PER_CLASS * len(np.unique(known.labels[r])) for r in learnable):
        return None
    made_up = artificial_sounds(rate_hz, duration_s=known.length / rate_hz)
    scores, detectors = {}, {}
    for i, (name, members) in enumerate(families.items()):
        embedded = _embedded(members, known, rows, made_up)
        on_progress(i + 1, len(families))
        if embedded is not None:
            detectors[name], scores[name] = _fit_family(*embedded, known, rows)
    fold_of = np.argmax([np.isin(rows, fold.test) for fold in known.folds], axis=0)
    counted = ~known.is_background[rows]
    if not scores or counted.sum() < 2:
        return None
    scales = {name: _scale(each[:, counted]) for name, each in scores.items()}
    own_weights = {name: float(weights[name]) for name in scores}
    units = mean_units(scores, scales, own_weights)[:, counted]
    limits = [
        limit_at_kept(own, kept=share) for own, share in zip(units, (kept, ARTIFICIAL_KEPT), strict=True)
    ]
    spans = np.maximum(limits, 1e-6)
    limit = limit_at_kept((units / spans[:, None]).max(axis=0), kept=kept)
    model = NoveltyModel(detectors, scales, own_weights, spans * max(limit, 1e-6))
    novelty = model.combine(scores)
    share = _kept_with_other_limits(novelty[counted], fold_of[counted], kept=kept)
    return FittedNovelty(model, NoveltyData(limit=1.0, kept=kept), rows, novelty, share, int(counted.sum()))


def _sample(known: KnownSounds) -> Indices:
    """Clips of the folds, at most MAX_CLIPS, each class keeping its share."""
    rows = np.concatenate([fold.test for fold in known.folds])
    by_class = rows[np.argsort(known.labels[rows], kind="stable")]
    n_kept = min(len(rows), MAX_CLIPS)
    return np.sort(by_class[np.arange(n_kept) * len(rows) // n_kept])


def _embedded(
    members: Sequence[Member], known: KnownSounds, rows: Indices, made_up: Sequence[NDArray[np.int16]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """What each fold model makes of clips [F, n, C] and of made-up sounds [F, S, C]; None where it is too wide."""
    first = members[0]
    # Fold models of a classical member see the same features: one pass does for all.
    distinct = members[:1] if isinstance(first, ClassicalMember) else members
    if isinstance(first, ClassicalMember):
        n_features, n_classes = int(first.estimator.n_features_in_), first.n_classes
    else:
        n_features, n_classes = 0, int(first.network.head.out_features)  # type: ignore[attr-defined]
    width = embedding_width(first, n_features)
    if width > MAX_EMBEDDING:
        return None
    embedding = [WithEmbedding(member, width=width) for member in distinct]
    clips = itertools.chain((known.view.get(int(row)) for row in rows), made_up)
    scored = score_clips(clips, embedding, length=known.length, hop=known.hop, gate=known.gate)
    found = np.stack([each[:, n_classes:] for each in scored], axis=1)
    found = np.broadcast_to(found, (len(members), *found.shape[1:]))
    return found[:, : len(rows)], found[:, len(rows) :]


def _fit_family(
    embedded: NDArray[np.float32], made_up: NDArray[np.float32], known: KnownSounds, rows: Indices
) -> tuple[tuple[RelativeDistance, ...], Floats]:
    """A detector a fold, and every clip's two scores by the one of the fold that it was held out from [2, n]."""
    detectors, scores = [], np.zeros((2, len(rows)))
    for fold, own, artificial in zip(known.folds, embedded, made_up, strict=True):
        train, test = np.isin(rows, fold.train), np.isin(rows, fold.test)
        detector = RelativeDistance.fit(own[train], known.labels[rows[train]], artificial=artificial)
        detectors.append(detector)
        scores[:, test] = detector_scores([detector], own[None, test])
    return tuple(detectors), scores


def _scale(scores: Floats) -> Floats:
    """Centres and spreads that a few strange clips do not move. Shape: [2, n] -> [2, 2]."""
    low, centre, high = np.quantile(scores, (0.25, 0.5, 0.75), axis=1)
    return np.stack([centre, np.maximum(high - low, 1e-6)])


def _kept_with_other_limits(scores: Floats, fold_of: NDArray[np.intp], *, kept: float) -> float:
    passed = [
        scores[fold_of == i] <= limit_at_kept(scores[fold_of != i], kept=kept)
        for i in np.unique(fold_of)
        if (fold_of != i).any()
    ]
    return float(np.concatenate(passed).mean()) if passed else kept
