"""The judged clips of a study damaged in many ways: a bank whose copies of a clip are its damages.

Conventions: variant 0 is the clip itself, then corruption by corruption, severity by severity. A clip is damaged
before it is repeated to fill its window, and what goes beyond full scale is cut off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earshot.audio import windows
from earshot.audio.corruptions import CORRUPTIONS, corruptions_of, rng_of
from earshot.audio.features import FeatureConfig
from earshot.evaluation.predictions import Predictions
from earshot.studies.bank import FeatureBank
from earshot.studies.data import StudyData
from earshot.studies.outcome import Attempt
from earshot.studies.spec import Spoil
from earshot.training.on_features import FittedFeatures


class SpoiledBank(FeatureBank):
    """Views of every clip and of its damages under `folder`.

    Raises:
        ConfigError: a corruption is not known.
    """

    def __init__(
        self,
        folder: Path,
        data: StudyData,
        *,
        views: Mapping[str, FeatureConfig],
        spoil: Spoil,
        seed: int,
    ) -> None:
        names, self.notes = corruptions_of(",".join(spoil.corruptions), has_pool=False)
        self.damages = tuple((name, severity) for name in names for severity in spoil.severities)
        super().__init__(folder, data, views=views, n_variants=1 + len(self.damages), steps=(), seed=seed)

    def copies(self, i: int) -> Tensor:
        """Clip i and its damages. Shape: [V, length]."""
        clip = windows.to_float(self.data.view.get(i)[: self.data.length])
        made = [clip]
        for name, severity in self.damages:
            rng = rng_of(name, severity, clip_id=self.name_of(i), seed=self.seed)
            made.append(CORRUPTIONS[name].apply(clip, rate_hz=self.data.rate_hz, severity=severity, rng=rng))
        cut = [windows.cut(windows.to_int16(each), 0, self.data.length) for each in made]
        return torch.from_numpy(windows.to_float(np.stack(cut)))

    def said_by(self, fitted: FittedFeatures, view: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """What a model says of the damages of some clips, one clip at a time: there are many. Shape: [S, n, K]."""
        n = self.n_variants
        return np.stack(
            [fitted.probs(self.items(view, rows[i : i + 1], n_variants=n)[1:]) for i in range(len(rows))],
            axis=1,
        )

    def by_corruption(self, run: Sequence[Attempt], clean: Predictions) -> dict[str, tuple[Predictions, ...]]:
        """The predictions of one run's damaged clips, one a severity; none where they were not judged."""
        probs = [attempt.spoiled for attempt in run if attempt.spoiled is not None]
        if len(probs) < len(run):
            return {}
        found: dict[str, tuple[Predictions, ...]] = {}
        for (name, _), each in zip(self.damages, np.concatenate(probs, axis=1), strict=True):
            found[name] = (*found.get(name, ()), replace(clean, probs=each))
        return found

    def _key_of_copies(self) -> dict[str, Any]:
        return {"damages": [[*each, CORRUPTIONS[each[0]].values[each[1] - 1]] for each in self.damages]}
