"""The models of a finished run, each with the clips that it has not heard: out-of-fold scores of changed sounds.

Conventions: a fold's model is the members' fold models, pooled and calibrated with what was fitted on the other
folds. Neither its weights nor its calibration have seen the clips that it judges, as in the run's own score.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from earshot.comparing import Run, load_run
from earshot.data.clips import Clips
from earshot.deploy.bundle import Bundle, BundleMember, new_config
from earshot.deploy.config import heard_as
from earshot.deploy.decisions import decisions_data
from earshot.deploy.weights import read_member
from earshot.errors import DataError, EarshotError, Words, complaint
from earshot.evaluation.decisions import fit_decisions
from earshot.evaluation.predictions import Predictions, safe_cell
from earshot.files import metadata_of
from earshot.hearing import window_samples
from earshot.models.member import Member, pick_device
from earshot.recipe import Recipe, load_recipe
from earshot.runfolder import FoldFile, RunFolder

_FINISH = "Run `earshot train` again to finish the run."


@dataclass(frozen=True)
class HeldOutFold:
    """A model and the clips that it has not heard.

    Attributes:
        clips: in the order of `said`, with the run's groups.
        said: what the run reported of them.
        contents: hash of each clip's file, as the run heard it.
        n_train: how many clips the model was trained on.
    """

    name: str
    bundle: Bundle
    clips: Clips
    said: Predictions
    contents: tuple[str, ...]
    n_train: int


def is_run(folder: Path) -> bool:
    """Whether this is the folder of a run, not a model folder.

    >>> is_run(Path("nowhere"))
    False
    """
    return (folder / "experiment.toml").is_file() and not (folder / "config.json").is_file()


def held_out_folds(folder: Path, clips: Clips, *, device: str = "auto") -> list[HeldOutFold]:
    """The folds of a run on its clips.

    Args:
        clips: the data of the run; clips that it did not cross-validate are left out.

    Raises:
        DataError: the run is not finished, cannot be read, or the clips are not all of its clips.
    """
    run = load_run(folder, name=folder.name)
    if run.predictions.split != "oof" or not all(run.tested_in):
        rule = "a finished run with its clips.csv"
        raise DataError(complaint(folder, "run", Words("without folds"), rule, _FINISH))
    own = _own_clips(folder, run, clips)
    stored = _Stored(folder, run, own, device=device)
    return list(stored.folds())


def _own_clips(folder: Path, run: Run, clips: Clips) -> Clips:
    """The clips of the run in its order, with its classes and its groups."""
    row_of = {str(safe_cell(name)): row for row, name in enumerate(clips.ids)}
    said = run.predictions
    missing = [name for name in said.clip_ids if name not in row_of]
    if missing:
        rule = f"one of the {len(clips)} clips of the data"
        fix = (
            f"{len(missing)} of {len(said)} clips of the run are not there; give the data it was trained on."
        )
        raise DataError(complaint(folder, "clip", missing[0], rule, fix))
    if unknown := sorted(set(clips.classes) - set(said.classes)):
        rule = f"one of the run's classes {', '.join(said.classes[:20])}"
        raise DataError(complaint("data", "label", unknown[0], rule, "Give the data the run was trained on."))
    own = clips.subset([row_of[name] for name in said.clip_ids])
    own = Clips(own.table, root=own.root, classes=said.classes)
    if said.groups is not None:
        own = own.assign(group=said.groups)
    wrong = np.flatnonzero((own.targets != said.known_targets).any(axis=1))
    if len(wrong):
        label = own.table["label"].iloc[int(wrong[0])]
        about = f"label of {said.clip_ids[int(wrong[0])]}"
        raise DataError(complaint("data", about, label, "the label that the run was trained on"))
    return own


class _Stored:
    """What a run left in folds/, read one fold at a time."""

    def __init__(self, folder: Path, run: Run, clips: Clips, *, device: str) -> None:
        self.folder, self.run, self.clips = folder, run, clips
        self.device = pick_device(device)
        self.recipe: Recipe = load_recipe(folder / "experiment.toml")
        names: Sequence[str] = [each["name"] for each in run.metrics.get("folds") or ()]
        if set(names) != set(run.tested_in):
            rule = f"the folds of clips.csv: {', '.join(sorted(set(run.tested_in)))}"
            raise DataError(complaint(folder / "metrics.json", "folds", names, rule, "Run it again."))
        tested_in = np.array(run.tested_in)
        self.rows = {name: np.flatnonzero(tested_in == name) for name in names}
        self.length, self.hop = self._window()

    def folds(self) -> Iterator[HeldOutFold]:
        """The model of each fold with the clips that it has not heard, in the order of the run."""
        # Weights are fitted in the order in which the run fits its members.
        names = sorted(self.recipe.members, key=lambda name: self.recipe.members[name].is_network)
        members = [self._predictions(name) for name in names]
        everything = np.arange(len(self.run.predictions))
        contents = [content.split(" ")[0] for content in self.run.contents]
        methods = self.run.metrics["calibration"]["fold_methods"]
        if len(methods) != len(self.rows):
            rule, fix = f"one for each of {len(self.rows)} folds", "Train it again into another folder."
            raise DataError(complaint(self.folder / "metrics.json", "fold_methods", methods, rule, fix))
        for number, (fold, rows) in enumerate(self.rows.items(), start=1):
            others = np.setdiff1d(everything, rows)
            decisions = fit_decisions(
                [each.subset(others) for each in members],
                method=str(methods[number - 1]),
                config=self.recipe.decisions,
            )
            weights = dict(zip(names, decisions.blend.weights, strict=True))
            fitted = {name: self._member(name, number) for name, weight in weights.items() if weight > 0}
            yield HeldOutFold(
                name=fold,
                bundle=self._bundle(fitted, weights, decisions_data(decisions)),
                clips=self.clips.subset(rows),
                said=self.run.predictions.subset(rows),
                contents=tuple(contents[row] for row in rows),
                n_train=int(self.run.metrics["folds"][number - 1]["n_train"]),
            )

    def _bundle(
        self, fitted: Mapping[str, tuple[Member, float]], weights: Mapping[str, float], decisions: Any
    ) -> Bundle:
        said, audio = self.run.predictions, self.recipe.audio
        config = new_config(
            classes=said.classes,
            multilabel=said.multilabel,
            **heard_as(audio, length=self.length, hop=self.hop),
            members={
                name: BundleMember(
                    config=self.recipe.members[name],
                    weight=weights[name],
                    files=(self._file(name, 1).weights.name,),
                    temperatures=(temperature,),
                )
                for name, (_, temperature) in fitted.items()
            },
            decisions=decisions,
        )
        return Bundle(config, {name: [member] for name, (member, _) in fitted.items()})

    def _predictions(self, name: str) -> Predictions:
        """What a member said of every clip, out of fold."""
        said = self.run.predictions
        probs = np.empty_like(said.probs)
        for number, rows in enumerate(self.rows.values(), start=1):
            found, _ = self._held_out(name, number)
            if found.shape != (len(rows), len(said.classes)):
                rule = f"({len(rows)}, {len(said.classes)}), as in predictions.csv"
                raise DataError(complaint(self._file(name, number).folder, "shape", found.shape, rule))
            probs[rows] = found
        return replace(said, probs=probs)

    def _member(self, name: str, number: int) -> tuple[Member, float]:
        _, about = self._held_out(name, number)
        temperature = float(json.loads(about["temperature"]))
        said = self.run.predictions
        member = read_member(
            self._file(name, number).weights,
            self.recipe.members[name],
            rate_hz=self.recipe.audio.rate_hz,
            window_samples=self.length,
            n_classes=len(said.classes),
            multilabel=said.multilabel,
            device=self.device,
            temperature=temperature,
        )
        return member, temperature

    def _held_out(self, name: str, number: int) -> tuple[NDArray[np.float32], dict[str, str]]:
        path = self._file(name, number).folder / "held_out.safetensors"
        try:
            body = path.read_bytes()
            about = metadata_of(body)
            probs = safetensors.numpy.load(body)["probs"]
            vouched = self.run.metrics["members"][name]["trainings"][number - 1] == about["identity"]
        except (OSError, SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(f"{path}: the fold cannot be read ({error!r}). {_FINISH}") from error
        if not vouched:
            rule = "that which metrics.json is of"
            raise DataError(complaint(path, "training", Words("another one"), rule, _FINISH))
        return probs, about

    def _file(self, name: str, number: int) -> FoldFile:
        config = self.recipe.members[name]
        return FoldFile(RunFolder(self.folder), member=name, fold=str(number), config=config, identity=None)

    def _window(self) -> tuple[int, int]:
        """Window and hop in samples: those of the saved model, or of the recipe where they are fixed."""
        try:
            config = json.loads((self.folder / "model" / "config.json").read_text(encoding="utf-8"))
            return int(config["window_samples"]), int(config["hop_samples"])
        except (OSError, KeyError, ValueError) as error:
            if self.recipe.audio.window_s != "auto":
                return window_samples(self.recipe.audio, np.zeros(1, np.int64))
            raise EarshotError(
                f"{self.folder}: the model of the run cannot be read ({error}). Run it again."
            ) from error
