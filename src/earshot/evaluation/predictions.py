"""What a model said about each clip, as one value that every judgement starts from.

Conventions: `probs` [N, K] and `targets` [N, K] are float32, rows are clips, columns are classes in the order
of `classes`. With one label a clip each row sums to 1; with several each column stands for itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from earshot.errors import DataError, complaint

SPLITS = ("train", "oof", "valid", "test")
ROW_SUM_TOLERANCE = 1e-3  # a softmax in bfloat16 strays by less than this
THRESHOLD = 0.5  # a class of a clip with several labels counts as said from here on
# A spreadsheet runs a cell that starts with one of these. Source: OWASP, "CSV Injection".
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def right_clips(
    probs: NDArray[np.floating], targets: NDArray[np.floating], *, multilabel: bool
) -> NDArray[np.bool_]:
    """Whether each clip is answered correctly; of several labels a clip, all must be.

    Shape: probs [..., N, K], targets [N, K] -> [..., N].
    """
    if multilabel:
        return np.asarray(((probs >= THRESHOLD) == (targets >= THRESHOLD)).all(axis=-1))
    return np.asarray(probs.argmax(axis=-1) == targets.argmax(axis=-1))


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities of N clips over K classes, with the truth where it is known.

    Args:
        probs: [N, K], finite, in [0, 1]; rows sum to 1 unless `multilabel`.
        classes: K distinct names, in column order.
        clip_ids: N names, in row order.
        targets: [N, K], one-hot or soft (rows sum to 1), or 0/1 marks where `multilabel`; None if unknown.
        split: which role the clips had: "train" (fitted on), "oof" (out of fold), "valid" or "test".
        groups: N names of what each clip was cut from; None if every clip stands alone.
        multilabel: a clip can carry several labels, or none.

    Raises:
        DataError: a shape, value or name breaks its rule.
    """

    probs: NDArray[np.float32]
    classes: tuple[str, ...]
    _: KW_ONLY
    clip_ids: tuple[str, ...]
    targets: NDArray[np.float32] | None = None
    split: str = "test"
    groups: tuple[str, ...] | None = None
    multilabel: bool = False

    def __post_init__(self) -> None:
        for name in ("classes", "clip_ids", "groups"):
            if (names := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(str(each) for each in names))
        if self.split not in SPLITS:
            raise DataError(complaint("predictions", "split", self.split, f"one of {', '.join(SPLITS)}"))
        if len(set(self.classes)) != len(self.classes) or not self.classes:
            raise DataError(complaint("predictions", "classes", self.classes, "one or more distinct names"))
        if self.groups is not None and len(self.groups) != len(self.clip_ids):
            rule = f"one a clip ({len(self.clip_ids)})"
            raise DataError(complaint("predictions", "number of groups", len(self.groups), rule))
        for name in ("probs", "targets"):
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, self._checked(name, values))

    def _checked(self, name: str, values: ArrayLike) -> NDArray[np.float32]:
        array = np.ascontiguousarray(values, dtype=np.float32)
        shape = (len(self.clip_ids), len(self.classes))
        if array.shape != shape:
            raise DataError(
                complaint("predictions", f"shape of {name}", array.shape, f"[clips, classes] = {shape}")
            )
        outside = ~((array >= -ROW_SUM_TOLERANCE) & (array <= 1 + ROW_SUM_TOLERANCE))  # also true for NaN
        if outside.any():
            row, column = np.argwhere(outside)[0]
            where = f"predictions: clip {self.clip_ids[row]!r}"
            fix = "A value that is not finite points to a diverged model."
            raise DataError(complaint(where, name, float(array[row, column]), "numbers in [0, 1]", fix))
        sums = array.sum(axis=1)
        if not self.multilabel and (off := np.abs(sums - 1) > ROW_SUM_TOLERANCE).any():
            row = int(np.argmax(off))
            where = f"predictions: clip {self.clip_ids[row]!r}"
            fix = "Where a clip can carry several labels, pass multilabel=True."
            raise DataError(complaint(where, f"sum of {name}", round(float(sums[row]), 6), "1", fix))
        return array

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def known_targets(self) -> NDArray[np.float32]:
        """The targets [N, K]. Raises DataError where the clips came without labels."""
        if self.targets is None:
            fix = "These clips came without labels, so they cannot be scored."
            raise DataError(complaint("predictions", "targets", None, "one row a clip", fix))
        return self.targets

    @property
    def labels(self) -> NDArray[np.int64]:
        """True class of each clip, int64 [N]: the largest target. Raises DataError without targets."""
        return np.asarray(self.known_targets.argmax(axis=1), dtype=np.int64)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Most probable class of each clip, int64 [N]; the first of equals."""
        return np.asarray(self.probs.argmax(axis=1), dtype=np.int64)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each clip is answered correctly [N]. Raises DataError without targets."""
        return right_clips(self.probs, self.known_targets, multilabel=self.multilabel)

    @property
    def confidence(self) -> NDArray[np.float32]:
        """Probability of the most probable class, float32 [N]."""
        return np.asarray(self.probs.max(axis=1), dtype=np.float32)

    def to_frame(self) -> pd.DataFrame:
        """One row a clip: id, group, label, predicted, correct, confidence, p_<class> ...

        `group` is there where groups are known, `label` and `correct` where targets are. Several labels are
        joined by ";". The text is as it came: pass the frame through `safe_frame` before writing a CSV file.
        """
        columns: dict[str, Any] = {"id": list(self.clip_ids)}
        if self.groups is not None:
            columns["group"] = list(self.groups)
        said = self._names(self.probs, self.predicted)
        if self.targets is not None:
            columns["label"] = self._names(self.targets, self.labels)
        columns["predicted"] = said
        if self.targets is not None:
            columns["correct"] = [true == guess for true, guess in zip(columns["label"], said, strict=True)]
        columns["confidence"] = self.confidence
        probs = pd.DataFrame(self.probs, columns=[f"p_{name}" for name in self.classes])
        return pd.concat([pd.DataFrame(columns), probs], axis=1)

    def _names(self, values: NDArray[np.float32], best: NDArray[np.int64]) -> list[str]:
        if not self.multilabel:
            return [self.classes[each] for each in best]
        return [";".join(self.classes[k] for k in np.flatnonzero(row >= THRESHOLD)) for row in values]

    def subset(self, rows: ArrayLike) -> Predictions:
        """The clips that a boolean mask [N] or indices [M] select, in that order."""
        chosen = np.asarray(rows)
        if chosen.dtype == bool and chosen.shape != (len(self),):
            rule = f"one value a clip ({len(self)})"
            raise DataError(complaint("predictions", "shape of the mask", chosen.shape, rule))
        indices = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64).reshape(-1)
        return Predictions(
            self.probs[indices],
            self.classes,
            clip_ids=tuple(self.clip_ids[i] for i in indices),
            targets=None if self.targets is None else self.targets[indices],
            split=self.split,
            groups=None if self.groups is None else tuple(self.groups[i] for i in indices),
            multilabel=self.multilabel,
        )

    @classmethod
    def join(cls, parts: Iterable[Predictions]) -> Predictions:
        """Stacks the predictions of several folds; each clip may appear once.

        Raises:
            DataError: no parts, parts that differ in kind, or a clip that appears twice.
        """
        listed = list(parts)
        if not listed:
            raise DataError(complaint("predictions", "parts", [], "at least one"))
        first = listed[0]
        for name in ("classes", "split", "multilabel"):
            _require_equal(name, [getattr(part, name) for part in listed])
        _require_equal("presence of targets", [part.targets is not None for part in listed])
        _require_equal("presence of groups", [part.groups is not None for part in listed])
        clip_ids = tuple(name for part in listed for name in part.clip_ids)
        if len(set(clip_ids)) != len(clip_ids):
            twice = Counter(clip_ids).most_common(1)[0][0]
            raise DataError(complaint("predictions", "clip", twice, "a clip of one part only"))
        return cls(
            np.concatenate([part.probs for part in listed]),
            first.classes,
            clip_ids=clip_ids,
            targets=None
            if first.targets is None
            else np.concatenate([part.known_targets for part in listed]),
            split=first.split,
            groups=None if first.groups is None else tuple(g for part in listed for g in part.groups or ()),
            multilabel=first.multilabel,
        )


def _require_equal(name: str, values: Sequence[object]) -> None:
    for value in values:
        if value != values[0]:
            fix = "Only predictions of one kind can be joined."
            raise DataError(complaint("predictions", name, value, f"{values[0]!r} as in the first part", fix))


def safe_cell(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula gets a leading apostrophe; all else stays as it is.

    >>> safe_cell("=1+1"), safe_cell("rain"), safe_cell(-1.5)
    ("'=1+1", 'rain', -1.5)
    """
    return "'" + value if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def safe_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy of the frame in which every text cell and column name is safe to open in a spreadsheet."""
    safe = frame.copy()
    for at, dtype in enumerate(frame.dtypes):
        if not (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_datetime64_any_dtype(dtype)):
            cells = [safe_cell(each) for each in frame.iloc[:, at]]
            objects = pd.Series(cells, index=safe.index, dtype=object)  # names need not be UTF-8
            safe.isetitem(at, objects)  # type: ignore[arg-type]
    safe.columns = pd.Index([safe_cell(name) for name in frame.columns])
    return safe
