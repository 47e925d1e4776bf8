"""AudioClassifier: earshot with the face of a scikit-learn classifier."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from earshot.audio import windows
from earshot.data.clips import Clips
from earshot.deploy.bundle import Bundle, BundleMember, new_config
from earshot.deploy.predict import score_files
from earshot.deploy.weights import weights_suffix
from earshot.errors import DataError, EarshotError, complaint
from earshot.hearing import hear, window_samples
from earshot.models.member import pick_device
from earshot.monitor import Silent
from earshot.recipe import Recipe, load_recipe
from earshot.training.batches import draw_seed
from earshot.training.checkpoint import Checkpoint
from earshot.training.members import FoldData, fit_member


class AudioClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Fits one model of a recipe on all clips it is given; scores nothing by itself.

    Takes `Clips` (from `read_clips`), paths with labels, or arrays [N, T] of samples in [-1, 1] at the recipe's
    rate with labels, so that `cross_val_score(AudioClassifier("fast"), X, y, groups=g, cv=GroupKFold())` works.
    For out-of-fold scores, resuming and reports use `earshot.experiment.run` or `earshot train`.

    Args:
        recipe: name of a recipe, TOML file, mapping or `Recipe`.
        changes: `key=value` changes to it.
        seed: of every random draw; None takes the recipe's.
        device: "auto", "cpu", "cuda" or "mps".
    """

    def __init__(
        self, recipe: Any = "default", *, changes: Sequence[str] = (), seed: int | None = None, device: str = "auto"
    ) -> None:
        self.recipe = recipe
        self.changes = changes
        self.seed = seed
        self.device = device

    def fit(self, X: Any, y: ArrayLike | None = None) -> AudioClassifier:
        """Trains on clips, or on paths or arrays [N, T] with labels `y` [N].

        Raises:
            DataError: labels are missing, or there are fewer than two classes, or a clip cannot be read.
        """
        recipe = self._loaded()
        view, targets, classes, groups = _training_audio(X, y, recipe)
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
            rate_hz=recipe.audio.rate_hz,
            window_samples=length,
            hop_samples=hop,
            resampler=recipe.audio.resampler,
            members=families,
        )
        self.bundle_ = Bundle(config_values, fitted)
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
                raise EarshotError(outcome.message)
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

        truth = _labels(X) if y is None else np.asarray(y)
        return float(accuracy_score(truth, self.predict(X), sample_weight=sample_weight))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes a model folder that every command of earshot takes."""
        check_is_fitted(self, "bundle_")
        self.bundle_.card = self.bundle_.card or "# A sound classifier made with earshot\n\nIts scores were not measured.\n"
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

    def _loaded(self) -> Recipe:
        recipe = self.recipe
        if isinstance(recipe, Recipe):
            recipe = recipe.model_dump()
        changes = [*self.changes, *([f"seed={self.seed}"] if self.seed is not None else [])]
        return load_recipe(recipe, changes)


def _as_arrays(X: Any) -> list[NDArray[np.float32]] | None:
    """Rows of samples, or None where X holds clips or paths."""
    if isinstance(X, Clips | str | os.PathLike):
        return None
    if not isinstance(X, np.ndarray):
        X = list(X)
        if X and isinstance(X[0], str | os.PathLike):
            return None
    elif X.dtype.kind in "OUS":
        return None
    rows = [np.asarray(row, dtype=np.float32) for row in X]
    for i, row in enumerate(rows):
        if row.ndim != 1 or not len(row) or not np.isfinite(row).all():
            rule = "a row [T] of finite samples, T >= 1"
            raise DataError(complaint("X", f"row {i}", row.shape, rule, "Mix channels down, drop NaN."))
    return rows


def _as_clips(X: Any) -> Clips:
    from earshot.data.readers import read_clips

    if isinstance(X, Clips):
        return X
    if isinstance(X, str | os.PathLike):
        return read_clips(X, labels=False)
    return read_clips([str(path) for path in X], labels=False)


def _labels(X: Any) -> NDArray[Any]:
    if not isinstance(X, Clips):
        raise DataError(complaint("score", "y", None, "labels [N]", "Only Clips bring labels of their own."))
    return np.asarray(X.classes)[X.labels]


def _training_audio(
    X: Any, y: ArrayLike | None, recipe: Recipe
) -> tuple[windows.Clipbank, NDArray[np.float32], NDArray[Any], NDArray[np.object_]]:
    """Audio, targets [N, K], classes [K] and groups [N] of whatever `fit` was given."""
    if isinstance(X, Clips):
        heard = hear(X, recipe.audio, monitor=Silent())
        return heard.view, heard.clips.targets, np.asarray(heard.clips.classes), heard.clips.groups
    if y is None:
        raise DataError(complaint("fit", "y", None, "labels [N]", "Only Clips bring labels of their own."))
    classes, labels = np.unique(np.asarray(y), return_inverse=True)
    targets = np.eye(len(classes), dtype=np.float32)[labels]
    arrays = _as_arrays(X)
    if arrays is not None:
        view: windows.Clipbank = windows.InMemory([windows.to_int16(row) for row in arrays])
        groups = np.array([str(i) for i in range(len(arrays))], dtype=object)
    else:
        heard = hear(_as_clips(X), recipe.audio, monitor=Silent())
        if heard.n_failed:
            raise DataError(next(o.message for o in heard.outcomes if not o.accepted))
        view, groups = heard.view, heard.clips.groups
    if len(view) != len(targets):
        raise DataError(complaint("fit", "number of labels", len(targets), f"one a clip ({len(view)})"))
    return view, targets, classes, groups
