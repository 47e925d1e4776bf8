"""Which clips a report lets people hear: mistakes, the worst first, and some clips behind every cell of the matrix.

Conventions: `rows` are positions in the predictions; what is listed is bounded, what is not listed is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.evaluation.predictions import THRESHOLD, Predictions

N_ERRORS = 300  # mistakes that are listed
N_PER_CELL = 12  # clips listed behind one cell
N_CLIPS = 1500  # clips in the page in all
N_RIGHT = 3  # clips behind a cell of right answers
N_TOP = 3  # classes named for each clip
SURE = 0.9  # a mistake of this probability or more is confident
_LONGEST_NAME = 160

Samples = NDArray[np.int16]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Clips to show, the most telling first.

    Args:
        clips: JSON-ready: id, true and said (class numbers), top [[class, probability]], p_true, and where known
            group, members [[name, class, probability]] and remarks.
        errors: indices into `clips` of the mistakes, the surest first. n_errors: how many there are in all.
        n_sure: mistakes of a probability of `SURE` or more.
        cells: "true,said" class numbers -> indices into `clips`.
        rows: the position of each clip in the predictions.
        samples: position -> int16 [T]; None where the sounds are not at hand.
        rate_hz: of the samples.
    """

    clips: Sequence[Mapping[str, Any]]
    errors: Sequence[int]
    n_errors: int
    n_sure: int
    cells: Mapping[str, Sequence[int]]
    rows: Sequence[int]
    samples: Callable[[int], Samples] | None = None
    rate_hz: int = 0


def gather(
    predictions: Predictions,
    *,
    members: Mapping[str, Predictions] | None = None,
    remarks: Mapping[str, Sequence[str]] | None = None,
    samples: Callable[[int], Samples] | None = None,
    rate_hz: int = 0,
) -> Evidence:
    """Chooses clips of labelled predictions and says of each what was predicted.

    Args:
        members: predictions of the same clips by each member alone.
        remarks: clip id -> what else is known of the clip, for instance from an audit.
        samples: position in the predictions -> int16 [T] at `rate_hz`.
    """
    sureness = _sureness_of_errors(predictions)
    wrong = ranked_errors(predictions)
    cells = {} if predictions.multilabel else _cells(predictions)
    rows = _chosen(wrong, cells)
    at = {row: i for i, row in enumerate(rows)}
    return Evidence(
        clips=[_describe(predictions, row, members or {}, remarks or {}) for row in rows],
        errors=[at[row] for row in wrong[:N_ERRORS].tolist()],
        n_errors=len(wrong),
        n_sure=int((sureness >= SURE).sum()),
        cells={f"{i},{j}": [at[r] for r in found if r in at] for (i, j), found in cells.items()},
        rows=rows,
        samples=samples,
        rate_hz=rate_hz,
    )


def ranked_errors(predictions: Predictions) -> NDArray[np.int64]:
    """Positions of the clips that were answered wrong, the surest mistake first.

    With several labels a clip the surest mistake is that of the class whose probability is furthest off.
    """
    sureness = _sureness_of_errors(predictions)
    wrong = np.flatnonzero(sureness >= 0)
    return np.asarray(wrong[np.argsort(-sureness[wrong], kind="stable")], dtype=np.int64)


def _sureness_of_errors(predictions: Predictions) -> NDArray[np.float64]:
    """How sure each mistake was, [N]; -1 where the answer is right."""
    if predictions.multilabel:
        true, said = predictions.known_targets >= THRESHOLD, predictions.probs >= THRESHOLD
        off = np.where(true != said, np.abs(predictions.probs - true), 0.0).max(axis=1)
        return np.where((true == said).all(axis=1), -1.0, off).astype(np.float64)
    right = predictions.labels == predictions.predicted
    return np.where(right, -1.0, predictions.confidence).astype(np.float64)


def _cells(predictions: Predictions) -> dict[tuple[int, int], list[int]]:
    """Clips of each cell: mistakes by falling probability; of the right answers the least sure and the surest."""
    order = np.argsort(-predictions.confidence, kind="stable")
    places = zip(predictions.labels[order].tolist(), predictions.predicted[order].tolist(), strict=True)
    found: dict[tuple[int, int], list[int]] = {}
    for row, place in zip(order.tolist(), places, strict=True):
        found.setdefault(place, []).append(row)
    return {
        (true, said): _few_right(rows) if true == said else rows[:N_PER_CELL]
        for (true, said), rows in found.items()
    }


def _few_right(rows: list[int]) -> list[int]:
    """The least sure of the right answers, and the surest."""
    return rows if len(rows) <= N_RIGHT else [*rows[:-N_RIGHT:-1], rows[0]]


def _chosen(wrong: NDArray[np.int64], cells: Mapping[tuple[int, int], list[int]]) -> list[int]:
    """Mistakes first, then clips of each cell in turn, until there are enough."""
    chosen = dict.fromkeys(wrong[:N_ERRORS].tolist())
    right_last = sorted(cells, key=lambda cell: (cell[0] == cell[1], -len(cells[cell]), cell))
    for place in range(N_PER_CELL):
        for cell in right_last:
            if place < len(cells[cell]) and len(chosen) < N_CLIPS:
                chosen[cells[cell][place]] = None
    return list(chosen)


def _describe(
    predictions: Predictions,
    row: int,
    members: Mapping[str, Predictions],
    remarks: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    name = predictions.clip_ids[row]
    true, said = (
        _marked(values[row], multilabel=predictions.multilabel)
        for values in (predictions.known_targets, predictions.probs)
    )
    clip: dict[str, Any] = {
        "id": _end_of(name),
        "true": true,
        "said": said,
        "top": _top(predictions.probs[row], N_TOP),
        "p_true": [round(float(predictions.probs[row, k]), 4) for k in true],
    }
    if predictions.groups is not None and predictions.groups[row] != name:
        clip["group"] = _end_of(predictions.groups[row])
    if len(members) > 1:
        clip["members"] = [[each, *_top(p.probs[row], 1)[0]] for each, p in members.items()]
    if remarks.get(name):
        clip["remarks"] = list(remarks[name])
    return clip


def _end_of(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else "…" + name[1 - _LONGEST_NAME :]


def _marked(values: NDArray[np.float32], *, multilabel: bool) -> list[int]:
    if multilabel:
        return [int(k) for k in np.flatnonzero(values >= THRESHOLD)]
    return [int(values.argmax())]


def _top(probs: NDArray[np.float32], n: int) -> list[list[Any]]:
    """The likeliest classes as [number, probability], the first of equals first."""
    order = np.argsort(-probs, kind="stable")[:n]
    return [[int(k), round(float(probs[k]), 4)] for k in order]
