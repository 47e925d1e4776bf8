"""What an experiment of a study left behind, and a row's experiments taken together.

Conventions: accuracies are fractions here; a table shows percent. A row is judged once a run: on every clip by the
model that did not learn from its fold, or on the one test split. What is worth a clip's name (`items`) is the clip,
or a copy of it where a protocol judges copies too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from earshot.evaluation.predictions import Predictions
from earshot.evaluation.statistics import accuracy_interval
from earshot.files import metadata_of, write_whole
from earshot.studies.spec import Row
from earshot.training.checkpoint import Checkpoint

N_BOOTSTRAP = 2000


@dataclass(frozen=True)
class Attempt:
    """One training of one row on one fold: probabilities [n, K] of the judged items, and how it went.

    `training_confusion` is counts [K][K] on what was learned from, where the row wants them; `spoiled` [S, n, K] is
    said of the same items damaged in S ways.
    """

    probs: NDArray[np.float32]
    history: list[dict[str, Any]]
    seconds: float
    n_parameters: int | None = None
    training_confusion: list[list[int]] | None = None
    spoiled: NDArray[np.float32] | None = None


class AttemptFile:
    """An attempt on disk, valid for one identity: everything that its result depends on, as a hash."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.identity = identity
        self.path = folder / f"{identity[:24]}.safetensors"
        self.checkpoint = Checkpoint(folder / f"{identity[:24]}.checkpoint", identity=identity)

    def save(self, attempt: Attempt) -> None:
        """Writes it whole or not at all; an unfinished training's state is no longer needed then."""
        about = {
            "identity": self.identity,
            "history": json.dumps(attempt.history),
            "seconds": json.dumps(attempt.seconds),
            "n_parameters": json.dumps(attempt.n_parameters),
            "training_confusion": json.dumps(attempt.training_confusion),
        }
        arrays = {"probs": np.ascontiguousarray(attempt.probs, dtype=np.float32)}
        if attempt.spoiled is not None:
            arrays["spoiled"] = np.ascontiguousarray(attempt.spoiled, dtype=np.float32)
        write_whole(self.path, safetensors.numpy.save(arrays, metadata=about))
        self.checkpoint.remove()

    def load(self) -> Attempt | None:
        """The attempt, or None where it is to be made (again)."""
        try:
            body = self.path.read_bytes()
            arrays = safetensors.numpy.load(body)
            about = metadata_of(body)
            if about["identity"] != self.identity:
                return None
            return Attempt(
                probs=arrays["probs"],
                spoiled=arrays.get("spoiled"),
                **{
                    name: json.loads(about[name])
                    for name in ("history", "seconds", "n_parameters", "training_confusion")
                },
            )
        except (OSError, SafetensorError, KeyError, ValueError):
            return None


@dataclass(frozen=True)
class RowResult:
    """A row's figures, or the reason why there are none.

    Args:
        runs: predictions of each run, joined over its folds; empty for the toy regression.
        clips: the same a clip, where the items of `runs` are segments of clips; empty elsewhere.
        spoiled: by corruption, what the first run says of the damaged items, one a severity.
        attempts: [runs][folds].
        reason: why the row has no figures; "" where it has.
        note: what is to be said of this result, beside the note of its row.
    """

    row: Row
    runs: tuple[Predictions, ...] = ()
    attempts: tuple[tuple[Attempt, ...], ...] = ()
    reason: str = ""
    note: str = ""
    clips: tuple[Predictions, ...] = ()
    spoiled: Mapping[str, tuple[Predictions, ...]] = field(default_factory=dict)

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Of each run."""
        return tuple(float((run.labels == run.predicted).mean()) for run in self.runs)

    @property
    def accuracy(self) -> float | None:
        """Mean over the runs; None where nothing was judged."""
        return float(np.mean(self.accuracies)) if self.runs else None

    @property
    def correct(self) -> NDArray[np.float64]:
        """Share of the runs that got each item right. Shape: [N]."""
        right = np.array([run.labels == run.predicted for run in self.runs], dtype=np.float64)
        return np.asarray(right.mean(axis=0))

    def per_clip(self) -> RowResult:
        """The same row judged a clip: in the order of the clips, where their segments are judged otherwise."""
        return replace(self, runs=self.clips)

    def on_spoiled(self) -> RowResult:
        """The same row judged on damaged items: each damage is a run, so that accuracies are means over them."""
        return replace(self, runs=tuple(each for runs in self.spoiled.values() for each in runs))

    @property
    def seconds(self) -> float:
        """Of all trainings together."""
        return sum(attempt.seconds for run in self.attempts for attempt in run)

    @property
    def n_parameters(self) -> int | None:
        """Of one network."""
        return self.attempts[0][0].n_parameters if self.attempts else None

    @property
    def training_confusion(self) -> NDArray[np.int64] | None:
        """Counts [K, K] on what was learned from, over the folds of the first run."""
        first = self.attempts[0] if self.attempts else ()
        counts = [a.training_confusion for a in first if a.training_confusion is not None]
        return np.asarray(np.sum(np.array(counts, dtype=np.int64), axis=0)) if counts else None

    def interval(self, *, seed: int) -> tuple[float, float] | None:
        """95 % interval of the mean accuracy of the runs, by a bootstrap over source recordings."""
        return interval_of([self], seed=seed) if self.runs else None

    def curve(self, key: str) -> list[tuple[int, float]]:
        """(epoch, value) of something measured while training, averaged over runs and folds.

        A training that ended earlier stays in the mean with its last value: otherwise the late epochs would be of
        the few that went on.
        """
        lines = [_measured(attempt, key) for run in self.attempts for attempt in run]
        latest: dict[int, float] = {}
        curve = []
        for epoch in sorted({epoch for line in lines for epoch in line}):
            latest |= {i: line[epoch] for i, line in enumerate(lines) if epoch in line}
            curve.append((epoch, float(np.mean(list(latest.values())))))
        return curve

    def last(self, key: str) -> float | None:
        """The last value of a curve: the mean of what each training ended with."""
        line = self.curve(key)
        return line[-1][1] if line else None


def _measured(attempt: Attempt, key: str) -> dict[int, float]:
    """What was measured of one training, by epoch."""
    return {
        int(line["epoch"]): float(line[key])
        for line in attempt.history
        if isinstance(line.get(key), int | float) and math.isfinite(line[key])
    }


def interval_of(rows: Sequence[RowResult], *, seed: int) -> tuple[float, float]:
    """95 % interval of the mean accuracy of some rows on the same items, by a bootstrap over source recordings."""
    right = np.mean([row.correct for row in rows], axis=0)
    rng = np.random.default_rng(seed)
    return accuracy_interval(right, rows[0].runs[0].groups, n_resamples=N_BOOTSTRAP, rng=rng)


def joined(parts: Sequence[Predictions]) -> Predictions:
    """The folds of one run as one."""
    return parts[0] if len(parts) == 1 else Predictions.join(parts)
