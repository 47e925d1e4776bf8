"""One experiment of a study: a row, a fold and a seed in, an attempt out, read back from disk where it is there.

Conventions: what an experiment depends on is hashed into its name, so that a study can be stopped, resumed and
extended, and two protocols share what they have in common.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from earshot.data.splits import Fold
from earshot.errors import ConfigError
from earshot.evaluation.metrics import confusion_matrix
from earshot.evaluation.predictions import Predictions
from earshot.models.backbones import pretrained_digest
from earshot.models.classical import SEEDED
from earshot.models.member import ClassicalMember
from earshot.models.summary import n_parameters
from earshot.studies.bank import FeatureBank
from earshot.studies.data import TEST_SPLIT
from earshot.studies.outcome import Attempt, AttemptFile
from earshot.studies.sides import Sides, clip_sides, toy_sides
from earshot.studies.spec import Protocol, Row
from earshot.studies.spoiling import SpoiledBank
from earshot.studies.synthetic import TOYS, Toy, toy_predictions
from earshot.training.batches import draw_seed
from earshot.training.history import repeat_seeds
from earshot.training.on_features import FittedFeatures, fit_on_features
from earshot.versions import versions

Progress = Callable[[int, int], None]

_VERSION = 1  # raise when the same experiment would give another result, also where a network was changed


class Workbench:
    """Where the attempts of a study are made and kept.

    Args:
        folder: of the finished attempts.
        bank: features of the clips; None where a study has toy rows only.
        spoiled: features of the damaged clips, where a row is judged on them.
    """

    def __init__(
        self,
        folder: Path,
        bank: FeatureBank | None,
        *,
        protocol: Protocol,
        seed: int,
        device: str,
        spoiled: SpoiledBank | None = None,
    ) -> None:
        self.folder, self.bank, self.protocol, self.spoiled = folder, bank, protocol, spoiled
        self.seed, self.device = seed, device

    def attempt(self, row: Row, fold: Fold | None, *, run: int, on_progress: Progress) -> Attempt:
        """Read back, or made and kept.

        Raises:
            EarshotError: the row cannot be run here, or its training diverged.
        """
        found = self.finished(row, fold, run=run)
        if found is not None:
            return found
        file = self._file(row, fold, run)
        started = time.perf_counter()
        with _threads(1 if row.toy else torch.get_num_threads()):
            made = self._made(row, fold, seed=self._seed_of(fold, run), file=file, on_progress=on_progress)
        attempt = Attempt(**made, seconds=time.perf_counter() - started)
        file.save(attempt)
        return attempt

    def finished(self, row: Row, fold: Fold | None, *, run: int) -> Attempt | None:
        """The attempt of an earlier start, or None."""
        return self._file(row, fold, run).load()

    def predictions(self, row: Row, fold: Fold | None, attempt: Attempt) -> Predictions | None:
        """The attempt's probabilities with the clips they are of; None for the toy regression."""
        if row.toy:
            return toy_predictions(self.toy(row), attempt.probs) if row.toy == "classification" else None
        assert self.bank is not None
        assert fold is not None
        clips, n = self.bank.data.clips, self._n_judged
        rows = np.repeat(fold.test, n)
        copies = np.tile(np.arange(n), len(fold.test))
        ids = [clips.ids[i] + (f"#{v}" if v else "") for i, v in zip(rows, copies, strict=True)]
        return Predictions(
            attempt.probs,
            clips.classes,
            clip_ids=tuple(ids),
            targets=clips.targets[rows],
            split="test" if self.protocol.split == "random" or fold.name == TEST_SPLIT else "oof",
            groups=tuple(clips.groups[rows]),
        )

    def toy(self, row: Row) -> Toy:
        """The points of a toy row, the same for every run."""
        return TOYS[row.toy](seed=self.seed)

    def sides(self, row: Row, fold: Fold | None) -> Sides:
        """What a row learns from and what it is judged on."""
        if row.toy:
            return toy_sides(self.toy(row))
        assert self.bank is not None
        assert fold is not None
        return clip_sides(
            self.bank, row, fold, n_judged=self._n_judged, seed=self.seed, protocol=self.protocol
        )

    @property
    def _n_judged(self) -> int:
        return self.bank.n_variants if self.bank is not None and self.protocol.augmented_test else 1

    def _made(
        self, row: Row, fold: Fold | None, *, seed: int, file: AttemptFile, on_progress: Progress
    ) -> dict[str, Any]:
        sides = self.sides(row, fold)
        fitted = fit_on_features(
            available(row),
            row.training,
            features=sides.features,
            targets=sides.targets,
            validation=(sides.judged, sides.judged_targets),
            groups=sides.groups,
            seed=seed,
            device=self.device,
            multilabel=row.toy == "classification",
            calibrate=False,  # accuracy is what the tables compare
            checkpoint=file.checkpoint,
            on_progress=on_progress,
        )
        confusion = None
        if row.confusion_of_training:
            confusion = _confusion(fitted, sides.features, sides.targets)
        return {
            "probs": fitted.probs(sides.judged),
            "history": fitted.history,
            "n_parameters": None
            if isinstance(fitted.member, ClassicalMember)
            else n_parameters(fitted.network),
            "training_confusion": confusion,
            "spoiled": None
            if fold is None or self.spoiled is None or not row.spoiled
            else self.spoiled.said_by(fitted, row.view, fold.test),
        }

    def _seed_of(self, fold: Fold | None, run: int) -> int:
        """The same for a fold whichever other folds are judged with it."""
        name = "" if fold is None else fold.name
        return draw_seed(repeat_seeds(self.seed, run + 1)[run], *name.encode())

    def _file(self, row: Row, fold: Fold | None, run: int) -> AttemptFile:
        return AttemptFile(self.folder, self._identity(row, fold, run))

    def _identity(self, row: Row, fold: Fold | None, run: int) -> str:
        """Everything that an attempt's result depends on, as a hash; names and published figures do not count."""
        assert row.model is not None
        parts: dict[str, Any] = {
            "version": _VERSION,
            "versions": versions(),
            "model": row.model.model_dump(mode="json"),
            "training": row.training.model_dump(mode="json"),
            "n_translated": row.n_translated,
            "translate": [row.translate_share, row.translate_fill_db],
            "confusion": row.confusion_of_training,
            "toy": row.toy,
            "seed": [self.seed, run],
        }
        if isinstance(row.model, SEEDED):
            parts["estimator_seed"] = 1  # those of earlier versions were all drawn from 0
        if digest := pretrained_digest(row.model):
            parts["pretrained"] = digest
        if fold is not None and self.bank is not None and row.view:
            clips = self.bank.data.clips
            parts |= {
                "view": self.bank.key(row.view),
                "variants": row.variants,
                "augmented_test": self._n_judged,
                "labels": [list(clips.classes), clips.labels.tolist(), list(clips.groups)],
                "fold": [fold.name, fold.train.tolist(), fold.test.tolist()],
            }
            if self.protocol.standardise or self.protocol.inner_by == "item":
                parts["sides"] = [self.protocol.standardise, self.protocol.inner_by]
            if row.spoiled and self.spoiled is not None:
                parts["spoiled"] = self.spoiled.key(row.view)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextmanager
def _threads(n: int) -> Iterator[None]:
    """So many intra-op threads: a network of 50 weights is ten times as fast on one as on two of a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def available(row: Row) -> Any:
    """The model's configuration, its pretrained weights being on this machine: a study downloads nothing.

    Raises:
        ConfigError: weights or the library for them are not here.
    """
    model: Any = row.model
    weights = getattr(model, "weights", None)
    if not isinstance(weights, str) or not hasattr(model, "resolved"):
        return model
    if importlib.util.find_spec("transformers") is None:
        raise ConfigError("transformers is not installed: pip install transformers")
    if Path(weights).expanduser().is_dir():
        return model
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(weights, local_files_only=True)
    except Exception as error:  # whatever the hub's client raises where nothing is cached
        raise ConfigError(
            f"the weights {weights} are not on this machine, and a study downloads nothing; fetch them once with "
            f"`hf download {weights}`"
        ) from error
    return model.model_copy(update={"weights": str(folder)})


def _confusion(fitted: FittedFeatures, features: Tensor, targets: Tensor) -> list[list[int]]:
    said = fitted.probs(features).argmax(axis=1)
    counts = confusion_matrix(targets.argmax(dim=1).numpy(), said, n_classes=targets.shape[1])
    return [[int(n) for n in line] for line in counts]
