"""Corruption by row: what is left of each row's accuracy on damaged clips, the mean of it and the worst.

Conventions: cells are percent, the mean over the severities; an interval is 95 %, over groups of clips. A
corruption is held out where nothing like it made the copies that rows learn from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from earshot.audio.corruptions import CORRUPTIONS
from earshot.evaluation.corruptions import CorruptionScores, score_corruptions
from earshot.studies.outcome import RowResult
from earshot.studies.spec import Study
from earshot.studies.tables import NOTHING, Table, published_text

TITLE = "Spoiled clips"


def held_out(study: Study) -> frozenset[str]:
    """The study's corruptions that its copies have nothing of."""
    assert study.spoil is not None
    used = {getattr(step, "name", step.kind) for step in study.copy_steps}
    return frozenset(name for name in study.spoil.corruptions if not used & set(CORRUPTIONS[name].taught_by))


def spoil_scores(study: Study, results: Mapping[str, RowResult]) -> dict[str, CorruptionScores]:
    """By row, the accuracies on damaged clips of every row that has them."""
    found = {}
    for name, result in results.items():
        if result.spoiled:
            kept = held_out(study) & set(result.spoiled)
            rng = np.random.default_rng(study.seed)
            found[name] = score_corruptions(result.runs[0], result.spoiled, held_out=kept, rng=rng)
    return found


def spoil_table(study: Study, results: Mapping[str, RowResult]) -> Table | None:
    """The table; None where no row was judged on damaged clips."""
    scores = spoil_scores(study, results)
    if study.spoil is None or not scores:
        return None
    each = list(scores.values())
    names = list(each[0].accuracy)
    lines = [("no damage", *(_percent(s.clean) for s in each))]
    lines += [(_name(name, study), *(_percent(s.means[name]) for s in each)) for name in names]
    lines += [
        ("mean of all", *(_percent(s.mean) for s in each)),
        ("its interval", *(_interval_text(s) for s in each)),
        ("mean of those held out", *(_percent(s.mean_held_out) for s in each)),
        ("worst", *(s.worst for s in each)),
    ]
    theirs = [published_text(results[name].row.published_spoiled) for name in scores]
    if any(text != NOTHING for text in theirs):
        lines.append(("published, on spoiled clips of its own", *theirs))
    columns = ("", *(results[name].row.label for name in scores))
    return Table(TITLE, _about(study), columns, tuple(lines))


def hurts_most(study: Study, results: Mapping[str, RowResult]) -> str:
    """Which corruptions cost most, over all rows; "" where none was judged."""
    scores = spoil_scores(study, results)
    if not scores:
        return ""
    names = list(next(iter(scores.values())).accuracy)
    lost = {name: float(np.mean([s.clean - s.means[name] for s in scores.values()])) for name in names}
    worst = sorted(lost, key=lambda name: -lost[name])[:3]
    told = ", ".join(f"{name} ({-100 * lost[name]:+.1f})" for name in worst)
    return f"what hurts most, in points over all rows that were judged on spoiled clips: {told}"


def _about(study: Study) -> str:
    assert study.spoil is not None
    severities: Sequence[int] = study.spoil.severities
    text = (
        f"Judged clips damaged in memory, percent right, the mean over severities "
        f"{', '.join(map(str, severities))} of 5. "
    )
    taught = [name for name in study.spoil.corruptions if name not in held_out(study)]
    if taught:
        text += (
            f"Copies that rows learn from have something like {', '.join(taught)}; the others are held out."
        )
    return text.strip()


def _name(name: str, study: Study) -> str:
    assert study.spoil is not None
    values = [CORRUPTIONS[name].values[severity - 1] for severity in study.spoil.severities]
    return f"{name} ({', '.join(f'{value:g}' for value in values)}: {CORRUPTIONS[name].unit})"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.1f}"


def _interval_text(scores: CorruptionScores) -> str:
    return NOTHING if scores.interval is None else " to ".join(_percent(end) for end in scores.interval)
