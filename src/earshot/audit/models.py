"""What small models say of the data: shortcuts that give the label away, the price of a leak, doubtful labels.

Conventions: N clips with one class number each, `labels` [N], of classes that all occur; folds keep groups
together unless a random split is asked for, on purpose, to show what it would have hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from earshot.data.deal import deal_groups
from earshot.errors import ConfigError, DataError, complaint
from earshot.evaluation.statistics import group_bootstrap, paired_bootstrap

Labels = NDArray[np.int64]
_N_COMPONENTS = 100


@dataclass(frozen=True)
class Shortcut:
    """How well nuisance features alone tell the label: balanced accuracy and its 95 % interval over groups."""

    name: str
    score: float
    low: float
    high: float
    chance: float

    @property
    def is_clear(self) -> bool:
        """Better than chance beyond luck, and by enough to matter."""
        return self.low > self.chance and self.score > self.chance + 0.5 * min(self.chance, 1 - self.chance)


@dataclass(frozen=True)
class LeakPrice:
    """Accuracy with groups kept together and with clips dealt at random, each a mean over repeated folds.

    `low` and `high` are the 95 % interval of their difference, over groups.
    """

    grouped: float
    random: float
    low: float = 0.0
    high: float = 0.0

    @property
    def price(self) -> float:
        return self.random - self.grouped

    @property
    def is_clear(self) -> bool:
        """Two points or more, and beyond luck."""
        return self.price >= 0.02 and self.low > 0


@dataclass(frozen=True)
class DoubtfulLabels:
    """Clips whose label is doubted [M], the class a model would give them [M], and quality of all labels [N]."""

    rows: NDArray[np.int64]
    suggested: Labels
    quality: NDArray[np.float64]


def grouped_folds(labels: Labels, groups: Sequence[str], *, n_folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of each clip, groups kept together and classes spread. Shape: [N]."""
    names, group_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    shape = (len(names), int(labels.max()) + 1)
    counts = sparse.coo_array((np.ones(len(labels)), (group_of, labels)), shape=shape).tocsr()
    rng = np.random.default_rng(seed)
    return np.asarray(deal_groups(counts, shares=np.full(n_folds, 1 / n_folds), rng=rng)[group_of], np.int64)


def random_folds(labels: Labels, *, n_folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of each clip, whatever its group, classes spread. Shape: [N]."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), np.int64)
    folds[order] = np.arange(len(labels)) % n_folds
    return folds


class TooFewClips(DataError):
    """Outside some fold there are not more clips than classes, or one class only: no model can be fitted."""


def held_out_probs(
    new_model: Callable[[int, int], Any], rows: NDArray[Any], labels: Labels, folds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Probabilities of each clip by a model that has not seen its fold.

    Args:
        new_model: makes an unfitted model for a number of clips and of columns.

    Shape: [N, D] -> [N, K].

    Raises:
        TooFewClips: a fold leaves nothing to learn from.
    """
    probs = np.zeros((len(labels), int(labels.max()) + 1))
    for fold in np.unique(folds):
        test = folds == fold
        learned = rows[~test]
        n_classes = len(np.unique(labels[~test]))
        if not 1 < n_classes < len(learned):
            rule = "two classes and more clips than classes"
            found = f"{len(learned)} clips of {n_classes} classes"
            raise TooFewClips(complaint("audit", "clips outside a fold", found, rule))
        model = new_model(*learned.shape).fit(learned, labels[~test])
        probs[np.ix_(test, model.classes_)] = model.predict_proba(rows[test])
    return probs


def repeated_probs(
    rows: NDArray[Any],
    labels: Labels,
    groups: Sequence[str] | None,
    *,
    n_folds: int,
    n_repeats: int,
    seed: int,
) -> NDArray[np.float64]:
    """Probabilities of the content model, out of fold, each time on folds dealt anew.

    Args:
        rows: features [N, D].
        groups: [N], kept together; None deals clips at random.

    Shape: [n_repeats, N, K].
    """
    found = []
    for repeat in range(seed, seed + n_repeats):
        folds = (
            random_folds(labels, n_folds=n_folds, seed=repeat)
            if groups is None
            else grouped_folds(labels, groups, n_folds=n_folds, seed=repeat)
        )
        found.append(held_out_probs(content_model, rows, labels, folds))
    return np.stack(found)


def leak_price(
    grouped: NDArray[np.float64],
    at_random: NDArray[np.float64],
    labels: Labels,
    groups: Sequence[str],
    *,
    seed: int,
) -> LeakPrice:
    """What dealing clips at random adds to the score.

    Args:
        grouped, at_random: probabilities of repeated folds. Shape: [R, N, K].
    """
    first, second = ((probs.argmax(axis=2) == labels).mean(axis=0) for probs in (at_random, grouped))
    rng = np.random.default_rng(seed)
    low, high = paired_bootstrap(first, second, list(groups), rng=rng)
    return LeakPrice(float(second.mean()), float(first.mean()), low, high)


def find_shortcuts(
    families: Mapping[str, NDArray[Any]],
    labels: Labels,
    groups: Sequence[str],
    *,
    folds: NDArray[np.int64],
    n_trees: int = 100,
    seed: int = 0,
) -> list[Shortcut]:
    """How well each family of nuisance features, and all of them, tell the label; the best first.

    Args:
        families: name -> features [N, D].
        folds: that keep groups together, [N].
    """
    from sklearn.ensemble import ExtraTreesClassifier

    def trees(n_rows: int, n_columns: int) -> Any:
        return ExtraTreesClassifier(n_trees, min_samples_leaf=3, class_weight="balanced", random_state=seed)

    weight = 1.0 / np.bincount(labels)[labels]
    n_classes = len(np.unique(labels))
    tried = {"all of these": np.column_stack(list(families.values()))} | dict(families)
    found = []
    for name, rows in tried.items():
        right = held_out_probs(trees, rows, labels, folds).argmax(axis=1) == labels
        # Balanced accuracy as a mean of weighted clips, so that groups can be drawn again.
        values = right * weight * len(labels) / n_classes
        low, high = group_bootstrap(values, list(groups), n_resamples=500, rng=np.random.default_rng(seed))
        found.append(Shortcut(name, float(values.mean()), low, high, 1 / n_classes))
    return sorted(found, key=lambda each: -each.score)


def content_model(n_rows: int, n_columns: int) -> Any:
    """An unfitted pipeline that is quick on thousands of clips: standardise, principal components, LDA."""
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    n = max(1, min(_N_COMPONENTS, n_rows // 3, n_columns))
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return make_pipeline(StandardScaler(), PCA(n, random_state=0), lda)


def doubtful_labels(labels: Labels, probs: NDArray[np.float64]) -> DoubtfulLabels:
    """Labels that confident learning doubts, worst first.

    As many as it counts, and of those that the model is least sure of: on ESC-10 with a tenth of the labels
    swapped (two seeds) that was right more often than four other of cleanlab's choices.

    Args:
        probs: out of fold. Shape: [N, K].

    Raises:
        ConfigError: cleanlab is not installed.

    Source: Northcutt, Jiang and Chuang, "Confident Learning", JAIR 2021.
    """
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError as error:
        fix = "Run: pip install cleanlab; all else is done without it."
        raise ConfigError(complaint("audit", "cleanlab", "missing", "an installed library", fix)) from error
    ranked = find_label_issues(
        labels,
        probs,
        return_indices_ranked_by="self_confidence",
        filter_by="low_self_confidence",
        n_jobs=1,
    )
    rows = np.asarray(ranked, dtype=np.int64)
    rows = rows[probs[rows].argmax(axis=1) != labels[rows]]
    return DoubtfulLabels(
        rows, probs[rows].argmax(axis=1), np.asarray(get_label_quality_scores(labels, probs))
    )
