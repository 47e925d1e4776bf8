"""From what a model says of a clip to the answer in a row: a class, a set of classes, or none and why.

Conventions: an answer without a label has a reason from `REFUSALS`; the first that applies, in that order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from earshot.deploy.bundle import Bundle, Judgement
from earshot.deploy.decisions import is_background
from earshot.errors import ConfigError, Words, complaint
from earshot.evaluation.predictions import THRESHOLD

REFUSALS: dict[str, str] = {
    "silent": "every sample is zero",
    "background": "the most probable class is a background class",
    "unknown": "the sound is unlike those of every class",
    "unsure": "no class is probable enough",
}
"""Why a clip gets no label."""


@dataclass(frozen=True)
class Answer:
    """Class names joined by ";", the probability of the first, or no label and the reason; further columns."""

    label: str
    confidence: float | None
    columns: dict[str, Any]


class Chooser:
    """How `predict` answers.

    Args:
        reject: no label for silence, background classes and sounds unlike every class.
        sets: add the conformal set of each clip.
        precision: no label below the thresholds that were fitted for it.

    Raises:
        ConfigError: the model lacks what is asked for.
    """

    def __init__(
        self, bundle: Bundle, *, reject: bool = False, sets: bool = False, precision: float | None = None
    ) -> None:
        decisions, many = bundle.config.decisions, bundle.config.multilabel
        self.classes, self.multilabel, self.reject = bundle.classes, many, reject
        self.background = np.array([is_background(name) for name in bundle.classes])
        self.limit = decisions.novelty.limit if decisions.novelty is not None else None
        if reject and self.limit is None:
            raise ConfigError(_missing("--reject", "novelty limit", many))
        self.sets = decisions.build_sets() if sets else None
        if sets and self.sets is None:
            raise ConfigError(_missing("--sets", "sets", many))
        limits = decisions.build_thresholds(multilabel=many)
        if precision is not None and precision not in limits:
            rule = f"one that the model was fitted for ({_listed(limits)})"
            fix = "Train with decisions.wanted_precisions to have another."
            if not limits:
                fix = "`earshot train` fits some, `AudioClassifier` does not."
            elif not 0 < precision < 1:
                rule, fix = f"a number between 0 and 1, {rule}", ""
            raise ConfigError(complaint("--precision", "precision", precision, rule, fix))
        self.thresholds = None if precision is None else limits[precision]

    @property
    def never_said(self) -> tuple[str, ...]:
        """Classes that get no clip at the wanted precision: too few clips showed that it can be reached."""
        if self.thresholds is None:
            return ()
        limits = zip(self.classes, self.thresholds.thresholds, strict=True)
        return tuple(name for name, limit in limits if limit is None)

    @property
    def needs_novelty(self) -> bool:
        """Whether clips must be judged, not only scored."""
        return self.reject

    @property
    def may_refuse(self) -> bool:
        """Whether a clip that was scored can be left without a label."""
        return self.reject or self.thresholds is not None or self.multilabel

    def answer(self, judgement: Judgement | None, *, reason: str = "") -> Answer:
        """The answer for a clip; None for one that could not be read. `reason` is that of its decoding."""
        if judgement is None:
            return Answer("", None, self._columns(None, refusal="", said=()))
        said = self._said(judgement)
        refusal = self._refusal(judgement, said, reason)
        if refusal:
            return Answer("", None, self._columns(judgement, refusal=refusal, said=()))
        label = ";".join(self.classes[k] for k in said)
        confidence = round(float(judgement.probs[said[0]]), 6)
        return Answer(label, confidence, self._columns(judgement, refusal="", said=said))

    def _said(self, judgement: Judgement) -> tuple[int, ...]:
        """Classes that are said, the most probable first."""
        best = np.argsort(-judgement.probs, kind="stable")
        if self.thresholds is not None:
            passed = self.thresholds.apply(judgement.probs[None])[0]
        elif self.multilabel:  # as in the scores
            passed = judgement.probs >= THRESHOLD
        else:
            return (int(best[0]),)
        return tuple(int(k) for k in best if passed[k])

    def _refusal(self, judgement: Judgement, said: tuple[int, ...], reason: str) -> str:
        if self.reject and "silent" in reason.split(";"):
            return "silent"
        if self.reject and self.background[int(judgement.probs.argmax())]:
            return "background"
        # Not a number is no reason to trust a sound.
        if self.reject and not (judgement.novelty is not None and judgement.novelty <= (self.limit or 0.0)):
            return "unknown"
        return "" if said else "unsure"

    def _columns(self, judgement: Judgement | None, *, refusal: str, said: tuple[int, ...]) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        if self.reject or self.thresholds is not None:
            columns["rejected"] = refusal
        if self.reject:
            novelty = None if judgement is None else judgement.novelty
            known = novelty is not None and np.isfinite(novelty)
            columns["novelty"] = round(novelty, 4) if novelty is not None and known else None
        if self.sets is not None:
            inside: Iterable[int] = ()
            if judgement is not None and not refusal:
                inside = np.flatnonzero(self.sets.apply(judgement.probs[None])[0])
            columns["set"] = ";".join(self.classes[k] for k in inside)
        return columns


def _missing(option: str, what: str, multilabel: bool) -> str:
    fix = "`earshot train` makes such models unless their recipe says otherwise; `AudioClassifier` does not."
    fix = "With several labels a clip, use --precision." if multilabel else fix
    return complaint(option, "model", Words(f"one without {what}"), f"one that has {what}", fix)


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{each:g}" for each in values) or "none"
