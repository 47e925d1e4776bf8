"""A run in plain words: how it stands to its baseline, and what limits the trust in its score.

Conventions: `metrics` is the content of metrics.json, of which any key may be missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from earshot.report.page import count, isolated, percent

FEW_GROUPS = 30  # below, an interval over groups is itself unsure
FEW_GROUPS_OF_A_CLASS = 8
WIDE_INTERVAL = 0.1
POOR_CALIBRATION = 0.1
_N_NAMED = 5


def gain_sentence(metrics: Mapping[str, Any]) -> str:
    """How the model stands to its baseline; empty where there is nothing to compare."""
    name, members = metrics.get("baseline"), metrics.get("members") or {}
    base = members.get(name) or {}
    ours, theirs = metrics.get("accuracy"), base.get("accuracy")
    if ours is None or theirs is None or (len(members) == 1 and ours == theirs):
        return ""
    points = 100 * (ours - theirs)
    side = "above" if points > 0 else "below"
    gap = f"{abs(points):.1f} points {side}" if abs(points) >= 0.05 else "level with"
    sentence = f"That is {gap} the baseline “{name}” ({percent(theirs)})."
    (low, high), (base_low, base_high) = (
        scores.get("accuracy_ci95") or (math.nan, math.nan) for scores in (metrics, base)
    )
    if low <= base_high and base_low <= high:
        sentence += " Their intervals overlap, so take the difference with care."
    return sentence


def limits_of_trust(metrics: Mapping[str, Any], notes: Sequence[str] = ()) -> list[str]:
    """What a reader has to keep in mind about the score, one sentence each; may be empty.

    Args:
        notes: on the data, as they were read.
    """
    has_groups = any(note.startswith("groups: ") for note in notes)
    return [*_about_size(metrics, has_groups=has_groups), *_about_answers(metrics)]


def _about_size(metrics: Mapping[str, Any], *, has_groups: bool) -> Iterator[str]:
    n_clips, n_groups = metrics.get("n_clips"), metrics.get("n_groups")
    if n_groups and n_groups < FEW_GROUPS:
        yield (
            f"Only {n_groups} groups: other recordings may score quite differently, and the interval is rough."
        )
    if n_groups and n_clips == n_groups and not has_groups:
        yield (
            "Every clip counts as a recording of its own. If several were cut from one recording, the score is too "
            "high: name the recordings in a column “group”."
        )
    if metrics.get("n_failed"):
        n = int(metrics["n_failed"])
        files, are = ("file", "is") if n == 1 else ("files", "are")
        yield f"{count(n)} {files} could not be read and {are} not scored."
    low, high = metrics.get("accuracy_ci95") or (0.0, 0.0)
    if high - low > WIDE_INTERVAL:
        yield f"The interval is {100 * (high - low):.0f} points wide: more recordings would narrow it."
    small = [
        str(row["label"])
        for row in metrics.get("per_class") or ()
        if 0 < row.get("n_groups", FEW_GROUPS_OF_A_CLASS) < FEW_GROUPS_OF_A_CLASS
    ]
    if small:
        yield (
            f"Fewer than {FEW_GROUPS_OF_A_CLASS} recordings each, too few to judge the class: {_listed(small)}."
        )


def _about_answers(metrics: Mapping[str, Any]) -> Iterator[str]:
    weak = [
        str(row["label"]) for row in metrics.get("per_class") or () if row.get("n") and row["recall"] < 0.5
    ]
    if weak:
        yield f"Less than half of the clips found: {_listed(weak)}."
    if (metrics.get("ece") or 0.0) > POOR_CALIBRATION:
        yield f"Its probabilities are off by {percent(metrics['ece'])} on average: do not take them at their word."
    test = metrics.get("test") or {}
    if test.get("accuracy") is not None and metrics.get("accuracy") is not None:
        _, high = test.get("accuracy_ci95") or (0.0, 1.0)
        low, _ = metrics.get("accuracy_ci95") or (metrics["accuracy"],) * 2
        if high < low:
            yield (
                f"On the data's own test split it reaches {percent(test['accuracy'])} only, below that interval: "
                "those sounds may differ from the ones it learned from."
            )


def _listed(names: list[str]) -> str:
    rest = len(names) - _N_NAMED
    return ", ".join(f"“{isolated(name)}”" for name in names[:_N_NAMED]) + (
        f" and {rest} more" if rest > 0 else ""
    )
