"""The only wiring: labelled clips and a recipe in, a run folder with scores, a report and a model out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earshot.data.clips import Clips
from earshot.data.splits import Fold, check_trainable, k_folds, trainable, unheard_test, valid_clips_train
from earshot.deploy.bundle import Bundle, BundleMember, new_config
from earshot.deploy.config import heard_as
from earshot.deploy.decisions import decisions_data
from earshot.deploy.decisions import is_background as is_background_class
from earshot.deploy.novelty_fit import KnownSounds, fit_novelty
from earshot.deploy.probes import probe
from earshot.deploy.weights import weights_suffix
from earshot.errors import ConfigError, complaint
from earshot.evaluation.metrics import summarise
from earshot.evaluation.predictions import Predictions
from earshot.fold_trainer import FoldTrainer
from earshot.hearing import Heard, hear, window_samples
from earshot.learning_curve import learning_curve
from earshot.models.member import pick_device
from earshot.monitor import Monitor, Silent
from earshot.recipe import Recipe, resolved
from earshot.report.media import Embedding
from earshot.results import (
    Families,
    Results,
    accuracy_line,
    clips_table,
    out_of_fold,
    outlook_line,
    predictions_of,
    run_metrics,
    write_clips,
    write_results,
)
from earshot.runfolder import RunFolder
from earshot.training.batches import balancing_weights
from earshot.training.members import FittedFold, MemberConfig


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What one run depends on.

    Args:
        folder: the run folder; made where missing, continued where the same experiment was stopped.
        device: "cpu", "cuda", "cuda:1" or "mps"; "auto" takes the fastest there is.
        command: shown in the report as the way to reproduce it.
        store_root: folder of the audio store; by default EARSHOT_CACHE or ~/.cache/earshot.
        learning_curve: also train the baseline on growing shares of the clips, to say what more would bring.
        embedding: how much sound the report holds.
        n_jobs: folds of a network that train side by side on a CPU; by default one a thread of torch.
    """

    clips: Clips
    recipe: Recipe
    folder: Path
    device: str = "auto"
    command: str = ""
    title: str = ""
    store_root: Path | None = None
    monitor: Monitor = field(default_factory=Silent)
    learning_curve: bool = False
    embedding: Embedding = field(default_factory=Embedding)
    n_jobs: int | None = None


@dataclass(frozen=True)
class RunResult:
    """A finished run: its scores (the content of metrics.json), its model, its out-of-fold predictions."""

    folder: Path
    metrics: dict[str, Any]
    bundle: Bundle
    out_of_fold: Predictions


def run(experiment: Experiment) -> RunResult:
    """Cross-validates, scores out of fold, reports, and saves the fold models as one model.

    A run that was stopped goes on where it was: finished folds are read back, an unfinished fold continues from its
    last checkpoint.

    Raises:
        DataError: the clips cannot be cross-validated.
        ConfigError: `n_jobs` < 1.
        EarshotError: torch does not find the device, the folder holds another experiment, or another process
            works in it.
    """
    started = time.perf_counter()
    if experiment.n_jobs is not None and experiment.n_jobs < 1:
        raise ConfigError(complaint("train", "number of jobs", experiment.n_jobs, "a whole number >= 1"))
    check_trainable(valid_clips_train(experiment.clips))
    experiment = replace(
        experiment, recipe=resolved(experiment.recipe), device=pick_device(experiment.device)
    )
    folder = RunFolder(experiment.folder)
    folder.check(experiment.recipe.to_toml())  # a folder of something else stays without a lock file
    with folder.locked():
        folder.claim(experiment.recipe.to_toml())
        heard = hear(
            experiment.clips,
            experiment.recipe.audio,
            monitor=experiment.monitor,
            store_root=experiment.store_root,
        )
        folder.check_data(heard.contents, experiment.clips.classes)
        return _Run(experiment, folder, heard).finish(started)


class _Run:
    """One run under way; each fold is on disk as soon as it is finished."""

    def __init__(self, experiment: Experiment, folder: RunFolder, heard: Heard) -> None:
        self.experiment = experiment
        self.recipe = experiment.recipe
        self.folder = folder
        self.heard = heard
        self.device = experiment.device
        self.clips = valid_clips_train(heard.clips)
        self.folds = k_folds(
            self.clips,
            n_folds=self.recipe.n_folds,
            seed=self.recipe.seed,
            ignore_folds=self.recipe.ignore_folds,
        )
        learned = trainable(self.clips)  # how long the clips of a test split are is for nobody to know
        self.length, self.hop = window_samples(self.recipe.audio, heard.view.n_samples[learned])
        self.novelty: dict[str, float] = {}
        self.trainer = FoldTrainer(
            folder=folder,
            heard=heard,
            clips=self.clips,
            folds=self.folds,
            recipe=self.recipe,
            length=self.length,
            hop=self.hop,
            device=self.device,
            n_jobs=experiment.n_jobs,
            monitor=experiment.monitor,
        )
        self.notes = list(self.clips.notes)
        self.test, heard_before = unheard_test(self.clips)
        self.notes += heard_before
        if heard.n_failed:
            left_out = f"{heard.n_failed} of {len(heard.asked)} clips could not be read and were left out"
            self.notes.append(f"{left_out}: clips.csv says why")
        if balancing_weights(self.clips.targets[trainable(self.clips)]) is not None:
            self.notes.append("classes are uneven beyond 2:1: the rare ones count for more in training")

    def say(self, text: str) -> None:
        self.experiment.monitor.say(text)
        self.folder.log(text)

    def finish(self, started: float) -> RunResult:
        """Trains what is not finished, scores, and writes the run; `started` is when `run` was called."""
        for note in self.notes[len(self.experiment.clips.notes) :]:
            self.say(note)
        # Where there are results of an earlier start, the table that is there belongs to them.
        if not (self.folder.root / "metrics.json").exists():
            write_clips(self.folder, self._clips_table())
        families: dict[str, list[FittedFold]] = {}
        seconds: dict[str, float] = {}
        # The cheapest member first: its score is the baseline that the user sees while the others train.
        for name, config in sorted(self.recipe.members.items(), key=lambda item: item[1].is_network):
            families[name], seconds[name] = self._fit_family(name, config)
        results = out_of_fold(
            families, self.clips, self.folds, config=self.recipe.decisions, seed=self.recipe.seed
        )
        bundle = self._bundle(families, results)
        bundle, novelty = self._with_novelty(bundle)
        test = self._test(bundle)
        metrics = run_metrics(
            results, self.folds, test=test, seconds=seconds, novelty=novelty, seed=self.recipe.seed
        )
        for name, scores in metrics["members"].items():
            scores["trainings"] = self.trainer.trainings(name, self.recipe.members[name])
        if self.experiment.learning_curve:
            metrics["learning_curve"] = self._learning_curve(metrics["baseline"], results)
        metrics |= {"n_failed": self.heard.n_failed, "seconds": round(time.perf_counter() - started, 2)}
        bundle = self._write(results, test, metrics, families, bundle)
        if len(families) > 1:
            self.say(accuracy_line("together, out of fold", metrics))
        if "test" in metrics:
            self.say(accuracy_line("on the data's own test split", metrics["test"]))
        return RunResult(self.folder.root, metrics, bundle, results.together)

    def _clips_table(self) -> pd.DataFrame:
        return clips_table(self.heard, self.clips, self.folds)

    def _fit_family(self, name: str, config: MemberConfig) -> tuple[list[FittedFold], float]:
        """One model a fold, and the seconds that they took."""
        fitted, seconds = self.trainer.family(name, config)
        rows = np.concatenate([fold.test for fold in self.folds])
        joined = predictions_of(np.concatenate([f.probs for f in fitted]), self.clips, rows, split="oof")
        scores = summarise(joined, rng=np.random.default_rng(self.recipe.seed))
        self.say(f"{accuracy_line(f'{name}, out of fold', scores)}, {seconds:.0f} s")
        return fitted, seconds

    def _learning_curve(self, name: str, results: Results) -> dict[str, Any]:
        """What fewer clips would have given, and what more may bring; each share of each fold is kept on disk."""

        def fit(percent: int, number: int, fold: Fold) -> NDArray[np.float32]:
            return self.trainer.fold(f"{name}.share{percent}", number, self.recipe.members[name], fold)[
                0
            ].probs

        curve = learning_curve(
            self.clips, self.folds, full=results.members[name], fit=fit, member=name, seed=self.recipe.seed
        )
        self.say(outlook_line(curve))
        return curve

    def _bundle(self, families: Families, results: Results) -> Bundle:
        """The fold models of each member that has a say, averaged; the members pooled and calibrated."""
        described = {}
        weights = {name: weight for name, weight in results.weights.items() if weight > 0}
        for name, weight in weights.items():
            family = families[name]
            suffix = weights_suffix(self.recipe.members[name])
            described[name] = BundleMember(
                config=self.recipe.members[name],
                weight=weight,
                files=tuple(f"{name}-{i + 1}{suffix}" for i in range(len(family))),
                temperatures=tuple(f.member.temperature for f in family),
            )
        config = new_config(
            classes=self.clips.classes,
            multilabel=self.clips.is_multilabel,
            **heard_as(self.recipe.audio, length=self.length, hop=self.hop),
            members=described,
            decisions=decisions_data(results.decisions),
        )
        fitted = {name: [f.member for f in families[name]] for name in weights}
        return Bundle(config, fitted, trained_on=[self.heard.contents[row] for row in trainable(self.clips)])

    def _with_novelty(self, bundle: Bundle) -> tuple[Bundle, dict[str, Any] | None]:
        """The model with detectors of sounds that are none of the classes, and how they did out of fold."""
        if not self.recipe.decisions.novelty or self.clips.is_multilabel:
            return bundle, None
        labels = self.clips.labels
        is_background = np.array([is_background_class(name) for name in self.clips.classes])
        known = KnownSounds(
            self.heard.view,
            labels,
            is_background[labels],
            self.folds,
            self.length,
            self.hop,
            self.recipe.audio.gate,
        )
        fitted = fit_novelty(
            bundle.families,
            known,
            weights={name: member.weight for name, member in bundle.config.members.items()},
            rate_hz=self.recipe.audio.rate_hz,
            kept=self.recipe.decisions.known_kept,
            on_progress=lambda n, total: self.experiment.monitor.progress("unknown sounds", n, total),
        )
        if fitted is None:
            return bundle, None
        decisions = bundle.config.decisions.model_copy(update={"novelty": fitted.data})
        bundle = bundle.deciding(decisions, fitted.model)
        ids = self.clips.ids
        self.novelty = {ids[row]: score for row, score in zip(fitted.rows, fitted.scores, strict=True)}
        scores = {"known_kept": fitted.data.kept, "kept": fitted.kept, "n_clips": fitted.n_counted}
        return bundle, scores | {"members": list(fitted.model.detectors)} | probe(bundle)

    def _test(self, bundle: Bundle) -> Predictions | None:
        """The whole model on the data's own test split, which no fold has touched."""
        rows = self.test
        if not len(rows):
            return None
        probs = np.stack(list(bundle.score(self.heard.view.get(int(row)) for row in rows)))
        return predictions_of(probs, self.clips, rows, split="test")

    def _write(
        self,
        results: Results,
        test: Predictions | None,
        metrics: dict[str, Any],
        families: Families,
        bundle: Bundle,
    ) -> Bundle:
        return write_results(
            self.folder,
            clips=self._clips_table(),
            results=results,
            test=test,
            novelty=self.novelty,
            metrics=metrics,
            families=families,
            heard=self.heard,
            bundle=bundle,
            recipe=self.recipe,
            title=self.experiment.title or self.folder.root.name,
            command=self.experiment.command,
            device=self.device,
            notes=self.notes,
            embedding=self.experiment.embedding,
        )
