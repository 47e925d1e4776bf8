"""The fold models of each member of a run: trained, or read back where an earlier start has finished them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from earshot.data.clips import Clips
from earshot.data.splits import Fold
from earshot.hearing import Heard
from earshot.models.backbones import pretrained_digest
from earshot.monitor import Monitor
from earshot.recipe import Recipe
from earshot.runfolder import FoldFile, RunFolder
from earshot.training.batches import draw_seed
from earshot.training.members import FittedFold, FoldData, MemberConfig
from earshot.trainings import Job, make_side_by_side, sharing
from earshot.versions import versions

FOLD_VERSION = 4  # raise when the same fold would give another result, also where a network was changed


@dataclass(kw_only=True)
class FoldTrainer:
    """Trains members on the folds of one run; each fold is on disk as soon as it is finished.

    Args:
        clips: those of `heard` that take part, row by row.
        length, hop: of the windows, samples.
        n_jobs: folds of a network that train side by side on a CPU; None for one a thread of torch.
    """

    folder: RunFolder
    heard: Heard
    clips: Clips
    folds: Sequence[Fold]
    recipe: Recipe
    length: int
    hop: int
    device: str
    n_jobs: int | None
    monitor: Monitor
    _beside: set[Path] = field(
        default_factory=set, repr=False
    )  # weights of folds trained side by side just now

    def family(self, name: str, config: MemberConfig) -> tuple[list[FittedFold], float]:
        """One model a fold, and the seconds that they took.

        Raises:
            EarshotError: as `fit_member`.
        """
        self._side_by_side(name, config)
        made = [self.fold(name, number, config, fold) for number, fold in enumerate(self.folds)]
        return [fitted for fitted, _ in made], sum(seconds for _, seconds in made)

    def trainings(self, name: str, config: MemberConfig) -> list[str]:
        """What vouches for each fold's result on disk: a hash of everything that it depends on."""
        return [self._job(name, i, config, fold).file.identity for i, fold in enumerate(self.folds)]

    def fold(self, name: str, number: int, config: MemberConfig, fold: Fold) -> tuple[FittedFold, float]:
        """Trains on one fold, or reads back what an earlier start of this run has finished; with its seconds."""
        job = self._job(name, number, config, fold)
        finished = job.file.load(job.data, device=self.device)
        if finished is not None:
            when = "trained beside others" if job.file.weights in self._beside else "finished before"
            self.folder.log(f"{name} {fold.name}: {when}, read back ({finished[1]:.1f} s)")
            return finished
        task = f"{name}, {fold.name} of {len(self.folds)}"
        made = job.make(lambda done, total: self.monitor.progress(task, done, total))
        self.folder.log(f"{name} {fold.name}: {made[1]:.1f} s")
        return made

    def _side_by_side(self, name: str, config: MemberConfig) -> None:
        """Folds that take their time are trained together, as many as there are threads; results are on disk."""
        n_processes = torch.get_num_threads() if self.n_jobs is None else self.n_jobs
        if n_processes < 2 or not config.is_network:
            return
        jobs = [self._job(name, number, config, fold) for number, fold in enumerate(self.folds)]
        jobs = [job for job in sharing(jobs, n_processes=n_processes) if job.is_long]
        jobs = [job for job in jobs if job.file.load(job.data, device=self.device) is None]
        self._beside |= {job.file.weights for job in jobs}
        if jobs:
            task = f"{name}, {len(jobs)} {'folds' if len(jobs) > 1 else 'fold'}"
            make_side_by_side(
                jobs,
                n_processes=n_processes,
                on_progress=lambda done, total: self.monitor.progress(task, done, total),
            )

    def _job(self, name: str, number: int, config: MemberConfig, fold: Fold) -> Job:
        clips, audio = self.clips, self.recipe.audio
        data = FoldData(
            view=self.heard.view,
            targets=clips.targets,
            groups=clips.groups,
            train=fold.train,
            test=fold.test,
            length=self.length,
            hop=self.hop,
            rate_hz=audio.rate_hz,
            multilabel=clips.is_multilabel,
            gate=audio.gate,
            window_score=audio.window_score,
        )
        file = FoldFile(
            self.folder,
            member=name,
            fold=str(number + 1),
            config=config,
            identity=self._identity(config, fold),
        )
        return Job(config, data, draw_seed(self.recipe.seed, number), self.device, file)

    def _identity(self, config: MemberConfig, fold: Fold) -> dict[str, Any]:
        """Everything that the result of a fold depends on."""
        return {
            "version": FOLD_VERSION,
            "versions": versions(),
            "seed": self.recipe.seed,
            "audio": self.recipe.audio.model_dump(mode="json"),
            "window": [self.length, self.hop],
            "member": config.model_dump(mode="json"),
            "pretrained": pretrained_digest(config.model),
            "classes": list(self.clips.classes),  # in their order: probabilities are columns
            "clips": _digest(self.clips, self.heard.contents, fold),
        }


def _digest(clips: Clips, contents: Sequence[str], fold: Fold) -> str:
    """What a fold's result depends on in the data: which sounds, with which labels and groups, on which side."""
    digest = hashlib.sha256()
    columns = [clips.table[name].tolist() for name in ("label", "group", "id", "start_s", "end_s")]
    parts = list(zip(contents, *columns, strict=True))
    for side, rows in (("train", fold.train), ("test", fold.test)):
        digest.update(side.encode())
        for row in rows:
            digest.update(("\0".join(map(str, parts[row])) + "\n").encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
