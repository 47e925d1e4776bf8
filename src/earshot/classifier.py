"""AudioClassifier: earshot with the face of a scikit-learn classifier."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from earshot.audio import windows
from earshot.data.clips import Clips
from earshot.data.readers import read_clips
from earshot.deploy.bundle import Bundle, BundleMember, new_config
from earshot.deploy.config import heard_as
from earshot.deploy.predict import score_files
from earshot.deploy.weights import weights_suffix
from earshot.errors import DataError, DecodeError, complaint
from earshot.hearing import hear, window_samples
from earshot.models.member import pick_device
from earshot.monitor import Silent
from earshot.recipe import Recipe, load_recipe, resolved
from earshot.training.batches import draw_seed
from earshot.training.checkpoint import Checkpoint
from earshot.training.members import FoldData, fit_member

_MAX_PEAK = 8.0  # as for float sound files: beyond any honest overshoot


class AudioClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Fits one model of a recipe on all clips it is given; scores nothing by itself.

    Takes `Clips` (from `read_clips`), paths with labels, or arrays [N, T] of samples in [-1, 1] at the recipe's
    rate with labels, so that `cross_val_score(AudioClassifier("fast"), X, y, groups=g, cv=GroupKFold())` works.
    For out-of-fold scores, resuming and reports use `earshot.experiment.run` or `earshot train`.

    Args:
        recipe: name of a recipe, TOML file, mapping or `Recipe`.
        changes: `key=value` changes to it.
        seed: of every random draw; None takes the recipe's.
        device: "cpu", "cuda", "cuda:1" or "mps"; "auto" takes the fastest there is.
    """

    def __init__(
        self,
        recipe: Any = "default",
        *,
        changes: Sequence[str] = (),
        seed: int | None = None,
        device: str = "auto",
    ) -> None:
        self.recipe = recipe
        self.changes = changes
        self.seed = seed
        self.device = device

    def fit(self, X: Any, y: ArrayLike | None = None) -> AudioClassifier:
        """Trains on clips, or on paths or arrays [N, T] with labels `y` [N].

        Of `Clips` and tables, those marked "test" are left out, and with a warning those of `Clips` that cannot be
        read.

        Raises:
            DataError: labels are missing, or there are fewer than two classes, or a clip cannot be read.
        """
        recipe = resolved(self._loaded())
        view, targets, classes, groups, contents = _training_audio(X, y, recipe)
        if len(classes) < 2:
            raise DataError(complaint("fit", "classes", list(classes), "at least 2 classes"))
        length, hop = window_samples(recipe.audio, view.n_samples)
        rows = np.arange(len(view))
        multilabel = bool((targets.sum(axis=1) != 1).any())
        data = FoldData(
            view=view,
            targets=targets,
            groups=groups,
            train=rows,
            test=rows[:0],
            length=length,
            hop=hop,
            rate_hz=recipe.audio.rate_hz,
            multilabel=multilabel,
            gate=recipe.audio.gate,
            window_score=recipe.audio.window_score,
        )
        fitted, families = {}, {}
        with tempfile.TemporaryDirectory() as folder:
            for name, config in recipe.members.items():
                member = fit_member(
                    config,
                    data,
                    seed=draw_seed(recipe.seed, 0),
                    device=pick_device(self.device),
                    checkpoint=Checkpoint(Path(folder) / name, identity=name),
                    on_progress=lambda done, total: None,
                ).member
                fitted[name] = [member]
                families[name] = BundleMember(
                    config=config,
                    weight=1.0 / len(recipe.members),
                    files=(f"{name}-1{weights_suffix(config)}",),
                    temperatures=(member.temperature,),
                )
        config_values = new_config(
            classes=tuple(str(c) for c in classes),
            multilabel=multilabel,
            **heard_as(recipe.audio, length=length, hop=hop),
            members=families,
        )
        self.bundle_ = Bundle(config_values, fitted, trained_on=contents)
        self.classes_ = np.asarray(classes)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probabilities [N, K] of clips, paths or arrays [N, T].

        Raises:
            NotFittedError: `fit` has not been called.
            DecodeError: a file cannot be read; `earshot predict` keeps such files as rows instead.
        """
        check_is_fitted(self, "bundle_")
        arrays = _as_arrays(X)
        if arrays is not None:
            return self.bundle_.score_waveforms(arrays)
        rows = []
        for outcome, probs in score_files(self.bundle_, _as_clips(X)):
            if probs is None:
                raise DecodeError(outcome.reason, outcome.message)
            rows.append(probs)
        return np.stack(rows) if rows else np.zeros((0, len(self.classes_)), np.float32)

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class of each clip [N]; for several labels a clip, the marks [N, K] of p >= 0.5."""
        probs = self.predict_proba(X)
        if self.bundle_.config.multilabel:
            return np.asarray(probs >= 0.5)
        return np.asarray(self.classes_[probs.argmax(axis=1)])

    def score(self, X: Any, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> float:
        """Share of clips whose predicted class is right; `y` may be left out for labelled `Clips`."""
        from sklearn.metrics import accuracy_score

        truth, said = self._truth(X) if y is None else np.asarray(y), self.predict(X)
        is_text = [each.dtype.kind in "OUS" for each in (truth, said)]
        if (
            is_text[0] != is_text[1]
        ):  # a saved model and a table of clips know classes as text, whatever they were
            truth, said = truth.astype(str), said.astype(str)
        return float(accuracy_score(truth, said, sample_weight=sample_weight))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes a model folder that every command of earshot takes."""
        check_is_fitted(self, "bundle_")
        self.bundle_.card = (
            self.bundle_.card or "# A sound classifier made with earshot\n\nIts scores were not measured.\n"
        )
        self.bundle_.save(Path(folder))

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, device: str = "auto") -> AudioClassifier:
        """Reads a model folder.

        Raises:
            BundleError: the folder is damaged, unsafe, or not reproduced by this installation.
        """
        model = cls(device=device)
        model.bundle_ = Bundle.load(Path(folder), device=device)
        model.classes_ = np.asarray(model.bundle_.classes)
        return model

    def _truth(self, X: Any) -> NDArray[Any]:
        """What `predict` should say: class names [N], or marks [N, K] for several labels a clip."""
        if not isinstance(X, Clips):
            raise DataError(
                complaint("score", "y", None, "labels [N]", "Only Clips bring labels of their own.")
            )
        if not self.bundle_.config.multilabel:
            return np.asarray(X.classes)[X.labels]
        column = {name: k for k, name in enumerate(X.classes)}
        targets = np.c_[X.targets > 0.5, np.zeros(len(X), bool)]  # the last column: classes that X lacks
        return np.asarray(targets[:, [column.get(str(name), -1) for name in self.classes_]])

    def _loaded(self) -> Recipe:
        recipe = self.recipe
        if isinstance(recipe, Recipe):
            recipe = recipe.model_dump()
        changes = [*self.changes, *([f"seed={self.seed}"] if self.seed is not None else [])]
        return load_recipe(recipe, changes)


def _as_arrays(X: Any) -> list[NDArray[np.float32]] | None:
    """Rows of samples, or None where X holds clips or paths."""
    if isinstance(X, Clips | pd.DataFrame | str | os.PathLike):
        return None
    X = list(X)
    if X and isinstance(X[0], str | bytes | os.PathLike):
        return None
    rows = [np.asarray(row) for row in X]
    for i, row in enumerate(rows):
        if row.ndim != 1 or row.dtype.kind not in "fiu" or not len(row) or not np.isfinite(row).all():
            rule = "a row [T] of finite samples, T >= 1"
            raise DataError(complaint("X", f"row {i}", row.shape, rule, "Mix channels down, drop NaN."))
        if row.dtype.kind != "f" or np.abs(row).max() > _MAX_PEAK:
            value = f"{row.dtype} with a peak of {np.abs(row.astype(float)).max():g}"
            fix = "Divide whole numbers by full scale (32768 for 16 bit)."
            raise DataError(complaint("X", f"row {i}", value, "float samples in [-1, 1]", fix))
    return [row.astype(np.float32) for row in rows]


def _as_clips(X: Any) -> Clips:
    """One clip for each path that is given, in its place, the same one twice where it is given twice."""
    if isinstance(X, Clips):
        return X
    if isinstance(X, str | os.PathLike | pd.DataFrame):
        return read_clips(X, labels=False)
    return Clips(pd.DataFrame({"path": [os.fsdecode(path) for path in X]}, dtype=object))


def _training_audio(
    X: Any, y: ArrayLike | None, recipe: Recipe
) -> tuple[windows.Clipbank, NDArray[np.float32], NDArray[Any], NDArray[np.object_], list[str]]:
    """Audio, targets [N, K], classes [K], groups [N] and file hashes [N] of whatever `fit` was given."""
    if isinstance(X, pd.DataFrame):
        # With labels beside it a frame needs none of its own, but its groups and its test split count.
        X = read_clips(X) if y is None else read_clips(X.assign(label="of y"), label_column="label")
    if isinstance(X, Clips) and y is None:
        heard = hear(X.without(X.table["split"] == "test"), recipe.audio, monitor=Silent())
        clips = heard.clips.of_present_classes()
        if heard.n_failed:
            first = next(o.message for o in heard.outcomes if not o.accepted)
            left_out = f"{heard.n_failed} of {len(heard.asked)} clips could not be read and were left out"
            warnings.warn(f"{left_out}; the first: {first}", stacklevel=3)
        return (
            heard.view,
            clips.targets,
            np.asarray(clips.classes),
            clips.groups,
            heard.contents,
        )
    if y is None:
        raise DataError(complaint("fit", "y", None, "labels [N]", "Only Clips bring labels of their own."))
    if np.ndim(y) != 1:
        rule = "one label a clip [N]"
        raise DataError(
            complaint("fit", "shape of y", np.shape(y), rule, "Several labels a clip come in Clips.")
        )
    if isinstance(X, Clips) and len(X) == len(np.asarray(y)):
        kept = (X.table["split"] != "test").to_numpy()
        X, y = X.subset(kept), np.asarray(y)[kept]
    classes, labels = np.unique(np.asarray(y), return_inverse=True)
    targets = np.eye(len(classes), dtype=np.float32)[labels]
    arrays = _as_arrays(X)
    if arrays is not None:
        view: windows.Clipbank = windows.InMemory([windows.to_int16(row) for row in arrays])
        groups, contents = np.array([str(i) for i in range(len(arrays))], dtype=object), [""] * len(arrays)
    else:
        heard = hear(_as_clips(X), recipe.audio, monitor=Silent())
        if heard.n_failed:
            raise DataError(next(o.message for o in heard.outcomes if not o.accepted))
        view, groups, contents = heard.view, heard.clips.groups, heard.contents
    if len(view) != len(targets):
        raise DataError(complaint("fit", "number of labels", len(targets), f"one a clip ({len(view)})"))
    return view, targets, classes, groups, contents
