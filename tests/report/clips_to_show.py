"""Predictions of made-up clips and the sounds behind them, for tests of pages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from earshot.evaluation.class_scores import class_curves, class_details
from earshot.evaluation.metrics import summarise
from earshot.evaluation.predictions import Predictions
from earshot.report.evidence import gather
from earshot.report.html import ReportValues

from .. import corpus

RATE_HZ = 8_000


def predicted(
    classes: Sequence[str] = ("hum", "hiss", "ticks"),
    *,
    n: int = 6,
    seed: int = 0,
    ids: Sequence[str] = (),
    noise: float = 1.0,
) -> Predictions:
    """Out-of-fold predictions of n clips a class, some of them wrong; two clips a group."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(classes)), n)
    logits = noise * rng.normal(size=(len(labels), len(classes))) + 1.2 * np.eye(len(classes))[labels]
    probs = np.exp(2 * logits) / np.exp(2 * logits).sum(axis=1, keepdims=True)
    return Predictions(
        probs.astype(np.float32),
        tuple(classes),
        clip_ids=tuple(ids) or tuple(f"{classes[k]}/{i}.wav" for i, k in enumerate(labels)),
        targets=np.eye(len(classes))[labels],
        split="oof",
        groups=tuple(f"g{i // 2}" for i in range(len(labels))),
    )


def samples_of(predictions: Predictions, *, duration_s: float = 0.6):
    """Row -> int16 [T]: a sound of the kind that the row is labelled with."""
    kinds = list(corpus.SOUNDS)

    def samples(row: int):
        kind = kinds[int(predictions.labels[row]) % len(kinds)]
        return np.round(32_767 * np.clip(corpus.sound(kind, seed=row, duration_s=duration_s), -1, 1)).astype(
            np.int16
        )

    return samples


def values(predictions: Predictions, **changes) -> ReportValues:
    """A report of these predictions with sounds."""
    metrics = summarise(predictions, n_bootstrap=50, rng=np.random.default_rng(0))
    details = class_details(predictions, n_resamples=50, rng=np.random.default_rng(0))
    metrics["per_class"] = [row | more for row, more in zip(metrics["per_class"], details, strict=True)]
    given = {
        "title": "made up",
        "created": "2026-02-01 10:00",
        "command": "earshot train sounds",
        "metrics": metrics | {"classes": list(predictions.classes)},
        "evidence": gather(predictions, samples=samples_of(predictions), rate_hz=RATE_HZ),
        "curves": class_curves(predictions),
    }
    return ReportValues(**(given | changes))
