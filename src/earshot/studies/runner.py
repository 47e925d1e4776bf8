"""Runs a study: every row, fold and run once, each kept as soon as it is finished, then the tables and the page."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from earshot.data.splits import Fold
from earshot.errors import ConfigError, EarshotError, complaint
from earshot.evaluation.predictions import Predictions
from earshot.models.member import pick_device
from earshot.monitor import Monitor
from earshot.runfolder import RunFolder
from earshot.studies.attempts import Workbench
from earshot.studies.by_recipe import RecipeRows
from earshot.studies.combining import combined, fold_positions
from earshot.studies.data import StudyData
from earshot.studies.loading import load_study
from earshot.studies.outcome import Attempt, RowResult, joined
from earshot.studies.prepared import prepared
from earshot.studies.request import StudyRun, protocol_of, resized, under_protocol
from earshot.studies.segmented import per_clip
from earshot.studies.spec import Row, Study
from earshot.studies.workers import Job, Workers, n_cores


@dataclass(frozen=True)
class StudyResult:
    """A study as far as it was run: its rows by id and what they were made of."""

    study: Study
    protocol: str
    results: dict[str, RowResult]
    data: StudyData | None
    bench: Workbench
    device: str


def run_rows(asked: StudyRun, folder: RunFolder) -> StudyResult:
    """Runs what is asked for and not there yet.

    A row that fails keeps its reason and the others go on; an interrupt leaves finished experiments on disk.

    Raises:
        ConfigError: the study, protocol, rows or folds are not known.
        DataError: the clips cannot be used.
    """
    study = resized(load_study(asked.study) if isinstance(asked.study, str) else asked.study, asked)
    protocol = protocol_of(study, asked)
    study = under_protocol(study, protocol)
    wanted = {row.id for row in study.matching(asked.rows)}
    if not wanted:
        rule = f"a pattern that fits one of {', '.join(row.id for row in study.rows)}"
        raise ConfigError(complaint("study", "--rows", asked.rows, rule))
    device = pick_device(asked.device)
    data, bank, spoiled = prepared(study, asked, folder.root / "cache", protocol=protocol, wanted=wanted)
    bench = Workbench(
        folder.root / "experiments",
        bank,
        protocol=study.protocols[protocol],
        seed=study.seed,
        device=device,
        spoiled=spoiled,
    )
    by_recipe = None
    if data is not None:
        root = folder.root / "recipes"
        by_recipe = RecipeRows(root, data, study.seed, device, store_root=asked.store_root)

    def say(text: str) -> None:
        asked.monitor.say(text)
        folder.log(text)

    with Workers(bench, asked.n_workers or _n_workers(device), say=say) as workers:
        rows = _Rows(study, workers, data, by_recipe=by_recipe, monitor=asked.monitor, folder=folder)
        results = rows.all(wanted)
    return StudyResult(study, protocol, results, data, bench, device)


def _n_workers(device: str) -> int:
    """A process a core; with an accelerator one, which has it to itself."""
    return n_cores() if device == "cpu" else 1


class _Rows:
    """The rows of a study one after the other; those that combine others come last."""

    def __init__(
        self,
        study: Study,
        workers: Workers,
        data: StudyData | None,
        *,
        by_recipe: RecipeRows | None,
        monitor: Monitor,
        folder: RunFolder,
    ) -> None:
        self.study, self.workers, self.bench = study, workers, workers.bench
        self.folds: Sequence[Fold] = data.folds if data else ()
        self.whole = data.whole if data else None
        self.by_recipe = by_recipe
        self.monitor, self.folder = monitor, folder
        self.results: dict[str, RowResult] = {}
        self.n_done = self.n_jobs = 0

    def all(self, wanted: set[str]) -> dict[str, RowResult]:
        """Results by id, in the order of the study's rows."""
        single = [row for row in self.study.rows if row.model is not None]
        jobs = [job for row in single if row.id in wanted for job in self._jobs(row)]
        self.n_jobs = len(jobs)
        self.workers.submit(jobs)
        n_before = 0
        for row in single:
            self._keep(row, partial(self._run if row.id in wanted else self._found, row))
            if row.id in wanted:
                n_before += len(self._jobs(row))
                self.n_done = n_before  # also where the row failed half-way
                self._say(row)
        for row in self.study.rows:
            if row.recipe and self.by_recipe is not None:
                self._keep(row, partial(self._by_recipe, self.by_recipe, row, row.id in wanted))
                if row.id in wanted:
                    self._say(row)
            if row.ensemble is not None and (row.id in wanted or self._members(row)):
                self._keep(row, partial(self._combined, row))
        return {row.id: self.results[row.id] for row in self.study.rows if row.id in self.results}

    def _keep(self, row: Row, make: Callable[[], RowResult | None]) -> None:
        """Keeps what is made of a row, or why there is nothing: one row must not end a study of a night."""
        try:
            result = make()
        except EarshotError as error:
            self.folder.log(f"{row.id}: {error}")
            result = RowResult(row, reason=f"not run: {error}")
        except Exception as error:
            self.folder.log(f"{row.id}: {traceback.format_exc()}")
            result = RowResult(row, reason=f"failed: {type(error).__name__}: {error}")
        if result is not None:
            self.results[row.id] = result

    def _jobs(self, row: Row) -> list[Job]:
        return [Job(row, fold, run) for run in range(row.runs) for fold in self._folds_of(row)]

    def _run(self, row: Row) -> RowResult:
        return self._result(row, [self._one_run(row, run) for run in range(row.runs)])

    def _one_run(self, row: Row, run: int) -> list[Attempt]:
        made = []
        for job in self._jobs(row):
            if job.run != run:
                continue
            task = f"{row.label}, {job.fold.name if job.fold else 'toy'}, run {run + 1} of {row.runs}"
            made.append(self.workers.attempt(job, on_progress=partial(self.monitor.progress, task)))
            self.n_done += 1
            self.monitor.progress("experiments", self.n_done, self.n_jobs)
        return made

    def _by_recipe(self, recipes: RecipeRows, row: Row, is_wanted: bool) -> RowResult | None:
        """Whole clips by a recipe; what an earlier start has finished where it is not wanted now."""
        found = recipes.attempt(row, monitor=self.monitor) if is_wanted else recipes.finished(row)
        if found is None:
            return None
        judged = (recipes.predictions(found),)
        runs, clips = ((), judged) if self.whole else (judged, ())
        return RowResult(row, runs, ((found,),), clips=clips)

    def _found(self, row: Row) -> RowResult | None:
        """What an earlier start has finished of a row, if it is whole."""
        if row.view and self.bench.bank is None:
            return None
        runs = [
            [self.bench.finished(row, fold, run=run) for fold in self._folds_of(row)]
            for run in range(row.runs)
        ]
        if any(attempt is None for run in runs for attempt in run):
            return None
        return self._result(row, [[a for a in run if a is not None] for run in runs])

    def _result(self, row: Row, runs: Sequence[Sequence[Attempt]]) -> RowResult:
        predictions = []
        for run in runs:
            parts = [
                self.bench.predictions(row, fold, attempt)
                for fold, attempt in zip(self._folds_of(row), run, strict=True)
            ]
            known = [part for part in parts if part is not None]
            predictions += [joined(known)] if known else []
        whole, spoiled = self.whole if row.view else None, self.bench.spoiled
        return RowResult(
            row,
            tuple(predictions),
            tuple(tuple(run) for run in runs),
            clips=() if whole is None else tuple(per_clip(whole, self.folds, each) for each in predictions),
            spoiled=spoiled.by_corruption(runs[0], predictions[0]) if spoiled and row.spoiled else {},
        )

    def _folds_of(self, row: Row) -> Sequence[Fold | None]:
        return (None,) if row.toy else self.folds

    def _members(self, row: Row) -> list[Predictions]:
        assert row.ensemble is not None
        found = [self.results.get(each.id) for each in self.study.matching(row.ensemble.members)]
        return [run for result in found if result is not None for run in result.runs]

    def _combined(self, row: Row) -> RowResult:
        members = self._members(row)
        if len(members) < 2:
            return RowResult(row, reason="not run: its members were not")
        assert row.ensemble is not None
        together, note = combined(
            members,
            row.ensemble.combination,
            protocol=self.bench.protocol,
            folds=fold_positions(self.folds),
            seed=self.study.seed,
        )
        return RowResult(
            row, (together,), note="; ".join([f"{len(members)} members", *([note] if note else [])])
        )

    def _say(self, row: Row) -> None:
        result = self.results[row.id]
        if result.reason:
            text = result.reason
        elif result.accuracy is None and not result.clips:
            text = f"loss {result.last('test_loss'):.4f}"
        else:
            units = {"": result.accuracy, " a clip": result.per_clip().accuracy}
            text = ", ".join(
                f"{100 * share:.1f} %{unit}" for unit, share in units.items() if share is not None
            )
        line = f"{self.n_done}/{self.n_jobs} {row.id}: {text}, {result.seconds:.1f} s"
        self.monitor.progress("experiments", self.n_done, self.n_jobs)
        self.monitor.say(line)
        self.folder.log(line)
