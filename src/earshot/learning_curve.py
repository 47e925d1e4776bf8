"""The learning curve over the number of clips: growing shares of each fold's training groups, scored out of fold.

Conventions: a share is of a fold's training groups, class by class; each share holds the smaller ones whole. All
shares are scored on the same held-out clips. Intervals are at 95 %, over groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earshot.data.clips import Clips
from earshot.data.splits import Fold, Indices
from earshot.evaluation.power_law import MIN_SIZES, fit_power_law, outlook
from earshot.evaluation.predictions import THRESHOLD, Predictions
from earshot.evaluation.statistics import accuracy_interval, paired_bootstrap

SHARES = (0.125, 0.1875, 0.25, 0.375, 0.5, 0.75)
_FEWEST_GROUPS = 2  # of a class

Mask = NDArray[np.bool_]
Fit = Callable[[int, int, Fold], NDArray[np.float32]]


def learning_curve(
    clips: Clips, folds: Sequence[Fold], *, full: Predictions, fit: Fit, member: str, seed: int
) -> dict[str, Any]:
    """Trains on growing shares and says what more clips are likely to bring; JSON-ready.

    Args:
        full: out-of-fold predictions of the member trained on all clips, the folds one after another.
        fit: (share in percent, number of the fold, the fold with fewer training clips) -> probs [n_test, K].
    """
    subsets = [nested_shares(clips, fold, seed=seed) for fold in folds]
    sizes: list[tuple[float, float]] = []
    right: list[Mask] = []
    for place, share in enumerate(SHARES):
        smaller = [
            Fold(train=each[place], test=fold.test, name=fold.name)
            for each, fold in zip(subsets, folds, strict=True)
        ]
        n_train = float(np.mean([len(fold.train) for fold in smaller]))
        if sizes and n_train <= sizes[-1][1]:
            continue  # a few groups cannot be shared so finely
        if all(len(fold.train) == len(whole.train) for fold, whole in zip(smaller, folds, strict=True)):
            break
        probs = np.concatenate([fit(round(100 * share), i, fold) for i, fold in enumerate(smaller)])
        sizes.append((share, n_train))
        right.append(_right(probs, full))
    sizes.append((1.0, float(np.mean([len(fold.train) for fold in folds]))))
    right.append(_right(full.probs, full))
    return _curve(sizes, np.stack(right), full, member=member, seed=seed)


def nested_shares(clips: Clips, fold: Fold, *, seed: int) -> list[Indices]:
    """The training clips of each of `SHARES`: of every class the same share of its groups, but at least two."""
    group_of, names = pd.factorize(clips.groups[fold.train])
    rank = np.random.default_rng([seed, len(names)]).permutation(len(names))
    clip, target = np.nonzero(clips.targets[fold.train])
    pairs = pd.DataFrame({"group": group_of[clip], "class": target}).drop_duplicates()
    pairs["rank"] = rank[pairs["group"]]
    pairs["place"] = pairs.groupby("class")["rank"].rank(method="first") - 1
    n_groups = pairs.groupby("class")["group"].transform("size")
    shares = []
    for share in SHARES:
        wanted = np.maximum(np.ceil(share * n_groups), _FEWEST_GROUPS)
        kept = np.unique(pairs["group"][pairs["place"] < wanted])
        shares.append(fold.train[np.isin(group_of, kept)])
    return shares


def _right(probs: NDArray[np.float32], full: Predictions) -> Mask:
    """Whether what is said of each class is right, [N, K]: a clip that is answered right has no False."""
    if full.multilabel:
        return np.asarray((probs >= THRESHOLD) == (full.known_targets >= THRESHOLD))
    eye = np.eye(len(full.classes), dtype=bool)
    return np.asarray(eye[probs.argmax(axis=1)] == eye[full.labels])


def _curve(
    sizes: list[tuple[float, float]],
    right: Mask,
    full: Predictions,
    *,
    member: str,
    seed: int,
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    clip_right: Mask = np.asarray(right.all(axis=2))
    points = [
        {
            "share": round(n / sizes[-1][1], 4),
            "n_train": round(n),
            "accuracy": float(each.mean()),
            "accuracy_ci95": list(accuracy_interval(each, full.groups, rng=rng)),
        }
        for (_, n), each in zip(sizes, clip_right, strict=True)
    ]
    curve: dict[str, Any] = {"member": member, "points": points, "law": None, "doubled": None, "classes": []}
    if len(points) >= MIN_SIZES:
        curve |= _extrapolated([n for _, n in sizes], ~clip_right, full, rng=rng)
    if len(points) > 1:
        half = int(np.argmin([abs(n - sizes[-1][1] / 2) for _, n in sizes[:-1]]))
        curve["classes"] = list(_classes(right[half], right[-1], full, rng=rng))
    return curve


def _extrapolated(
    sizes: list[float], wrong: Mask, full: Predictions, *, rng: np.random.Generator
) -> dict[str, Any]:
    law = fit_power_law(sizes, wrong.mean(axis=1))
    groups = full.groups or full.clip_ids
    ahead = outlook(sizes, wrong, np.array(groups, dtype=object), n=round(2 * sizes[-1]), rng=rng)
    low, high = ahead.error_ci95
    most = float(wrong[-1].mean())  # no clip can be won that is right already
    return {
        "law": {"floor": float(law.floor), "scale": float(law.scale), "exponent": float(law.exponent)},
        "doubled": {
            "n_train": ahead.n,
            "accuracy": 1 - ahead.error,
            "accuracy_ci95": [1 - high, 1 - low],
            "gain": min(ahead.gain, most),
            "gain_ci95": [min(end, most) for end in ahead.gain_ci95],
        },
    }


def _classes(
    half: Mask, whole: Mask, full: Predictions, *, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Recall of each class with about half of the clips and with all, those that gain most first."""
    true = full.known_targets >= THRESHOLD if full.multilabel else None
    rows: list[dict[str, Any]] = []
    for k, name in enumerate(full.classes):
        of_class = full.labels == k if true is None else true[:, k]
        if not of_class.any():
            continue
        before, after = half[of_class, k], whole[of_class, k]
        groups = np.array(full.groups or full.clip_ids, dtype=object)[of_class]
        interval, gains = None, False
        if len(set(groups)) > 1:
            interval = list(paired_bootstrap(after, before, groups, rng=rng))
            # Of many classes some would seem to gain by luck: Bonferroni's correction.
            level = 1 - 0.05 / len(full.classes)
            n = min(max(2_000, 400 * len(full.classes)), 20_000)  # ten of them beyond the limit
            low, _ = paired_bootstrap(after, before, groups, level=level, n_resamples=n, rng=rng)
            gains = low > 0
        rows.append(
            {
                "label": name,
                "n": int(of_class.sum()),
                "recall_half": float(before.mean()),
                "recall": float(after.mean()),
                "gain": float(after.mean() - before.mean()),
                "gain_ci95": interval,
                "clearly_gains": gains,
            }
        )
    yield from sorted(rows, key=lambda row: (-row["gain"], row["recall"], row["label"]))
