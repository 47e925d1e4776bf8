"""Everything that a study tried in one table, best first, with what it brought against one row: also nothing.

Conventions: differences are points on the same clips, with a 95 % bootstrap over groups.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from earshot.evaluation.statistics import group_bootstrap
from earshot.studies.outcome import N_BOOTSTRAP, RowResult
from earshot.studies.spec import Study
from earshot.studies.tables import NOTHING, Table, ours_text, published_text


def everything_tried(study: Study, results: Mapping[str, RowResult]) -> Table | None:
    """The table; None where the study names no baseline or it was not run."""
    first = results.get(study.baseline)
    if first is None or not first.runs:
        return None
    judged = [result for result in results.values() if result.runs]
    ranked = sorted(judged, key=lambda result: -(result.accuracy or 0.0))
    rows = tuple(
        (
            result.row.label,
            published_text(result.row.published),
            ours_text(result),
            _difference(result, first, seed=study.seed),
            ours_text(result.on_spoiled()) if result.spoiled else NOTHING,
            _difference(result.on_spoiled(), first.on_spoiled(), seed=study.seed),
        )
        for result in ranked
    )
    columns = ("", "published", "ours", "points against the first network", "spoiled", "points when spoiled")
    about = (
        f"Best first, also what did not help; points against {first.row.label!r}, clip by clip. "
        "A range that holds 0 is within chance."
    )
    return Table("Everything tried", about, columns, rows)


def _difference(one: RowResult, other: RowResult, *, seed: int) -> str:
    """`+1.2 (-0.3 to +2.8)`."""
    if one.row.id == other.row.id or not one.runs or not other.runs:
        return NOTHING
    gain = one.correct - other.correct
    rng = np.random.default_rng(seed)
    low, high = group_bootstrap(gain, one.runs[0].groups, n_resamples=N_BOOTSTRAP, rng=rng)
    return f"{100 * gain.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
