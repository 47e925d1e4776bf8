"""Rows that are recipes: the study's whole clips through the code of `earshot train`, on the study's own folds."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.data.clips import Clips
from earshot.errors import DataError, complaint
from earshot.evaluation.predictions import Predictions
from earshot.experiment import Experiment, RunResult, run
from earshot.fold_trainer import FOLD_VERSION
from earshot.hearing import hear
from earshot.models.backbones import pretrained_digest
from earshot.monitor import Monitor
from earshot.recipe import Recipe, load_recipe, resolved
from earshot.results import predictions_of
from earshot.studies.data import TEST_SPLIT, StudyData
from earshot.studies.outcome import Attempt, AttemptFile
from earshot.studies.spec import Row
from earshot.versions import versions

_VERSION = 1  # raise when the same run would be judged otherwise


@dataclass(frozen=True)
class RecipeRows:
    """Where runs of recipes are made and kept: a run folder each, below `folder`.

    Args:
        seed: of the study; it is the recipe's too.
    """

    folder: Path
    data: StudyData
    seed: int
    device: str
    store_root: Path | None = None

    def finished(self, row: Row) -> Attempt | None:
        """What an earlier start has finished of a row, or None."""
        return self._file(row).load()

    def attempt(self, row: Row, *, monitor: Monitor) -> Attempt:
        """Read back, or run as `earshot train` would; a run that was stopped goes on where it was.

        Raises:
            EarshotError: the recipe cannot be run on these clips.
        """
        file = self._file(row)
        found = file.load()
        if found is not None:
            return found
        started = time.perf_counter()
        asked = Experiment(
            clips=self._clips(),
            recipe=self._recipe(row),
            folder=self.folder / f"{row.id}-{_digest(self._parts(row))[:16]}",
            device=self.device,
            title=row.label,
            store_root=self.store_root,
            monitor=monitor,
        )
        result = run(asked)
        seconds = sum(float(member["seconds"]) for member in result.metrics["members"].values())
        judged = self._judged(row, result, monitor=monitor)
        attempt = Attempt(judged, [], max(seconds, time.perf_counter() - started))
        file.save(attempt)
        return attempt

    def predictions(self, attempt: Attempt) -> Predictions:
        """Of the judged clips."""
        split = "test" if self._has_own_test else "oof"
        return predictions_of(attempt.probs, self.data.recordings, self._rows, split=split)

    @property
    def _rows(self) -> NDArray[np.int64]:
        """The judged clips in the order of the other rows, so that two rows can be compared clip by clip."""
        rows = np.concatenate([fold.test for fold in self.data.rounds])
        return rows if self.data.whole is None else np.sort(rows)

    @property
    def _has_own_test(self) -> bool:
        return [fold.name for fold in self.data.rounds] == [TEST_SPLIT]

    def _judged(self, row: Row, result: RunResult, *, monitor: Monitor) -> NDArray[np.float32]:
        """Probabilities [n, K] of the judged clips: out of fold, or by the whole model on the data's test split."""
        if self._has_own_test:
            return self._tested(row, result, monitor=monitor)
        place = {name: i for i, name in enumerate(result.out_of_fold.clip_ids)}
        ids = self.data.recordings.ids
        return result.out_of_fold.probs[[place[ids[i]] for i in self._rows]]

    def _tested(self, row: Row, result: RunResult, *, monitor: Monitor) -> NDArray[np.float32]:
        """By the whole model, which hears the clips as the recipe does: its rate need not be the study's."""
        clips = self.data.recordings.subset(self._rows)
        heard = hear(clips, self._recipe(row).audio, monitor=monitor, store_root=self.store_root)
        if heard.n_failed:
            fix = "The study reads them: compare the recipe's rate and limits."
            raise DataError(
                complaint(f"recipe {row.recipe}", "clips it cannot read", heard.n_failed, "0", fix)
            )
        return np.stack(list(result.bundle.score(heard.view.get(i) for i in range(len(clips)))))

    def _recipe(self, row: Row) -> Recipe:
        recipe = resolved(load_recipe(row.recipe, row.recipe_changes))
        return recipe.model_copy(update={"seed": self.seed})

    def _clips(self) -> Clips:
        """The clips with the study's folds as theirs, judged or not; those that no fold judges are one more.

        A recipe weighs and calibrates each fold's answer by what the others taught: it needs them whole.
        """
        clips = self.data.recordings
        if self._has_own_test:
            return clips
        number = np.full(len(clips), len(self.data.every_round) + 1)
        for i, fold in enumerate(self.data.every_round):
            number[fold.test] = i + 1
        return clips.assign(fold=[str(each) for each in number])

    def _file(self, row: Row) -> AttemptFile:
        judged = [self.data.recordings.ids[i] for i in self._rows]
        return AttemptFile(self.folder, _digest(self._parts(row) | {"judged": judged, "version": _VERSION}))

    def _parts(self, row: Row) -> dict[str, Any]:
        """Everything that the run of a recipe depends on; runs that are judged on other folds are the same."""
        clips = self._clips()
        contents = dict(zip(self.data.clips.table["path"], self.data.contents, strict=True))
        return {
            "versions": versions(),
            "fold_version": FOLD_VERSION,
            "classes": list(clips.classes),
            "pretrained": [pretrained_digest(each.model) for each in self._recipe(row).members.values()],
            "recipe": self._recipe(row).model_dump(mode="json", exclude={"description"}),
            "clips": [
                [contents[path], *(str(value) for value in rest)]
                for path, *rest in clips.table[
                    ["path", "label", "group", "fold", "split", "start_s", "end_s"]
                ].itertuples(index=False)
            ],
        }


def _digest(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
