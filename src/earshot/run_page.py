"""What the report of a run shows beside its scores: clips to hear, curves of each class, what an audit found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earshot.evaluation.class_scores import class_curves
from earshot.evaluation.predictions import Predictions
from earshot.hearing import Heard
from earshot.report.audited import find_audit
from earshot.report.evidence import gather


def clips_to_hear(
    together: Predictions,
    members: Mapping[str, Predictions],
    *,
    heard: Heard,
    rate_hz: int,
    folder: Path,
    title: str,
) -> dict[str, Any]:
    """Keys evidence, curves and audit of `ReportValues`.

    An audit is looked for in the run folder, in its audit/, and where `earshot audit` puts it beside other runs.

    Args:
        title: name of the data.
    """
    places = [folder, folder / "audit", folder.parent / f"audit-{title}", folder.parent / "audit"]
    audit = find_audit(places, ids=together.clip_ids, seen_from=folder)
    row_of = {name: row for row, name in enumerate(heard.clips.ids)}
    return {
        "evidence": gather(
            together,
            members=members,
            remarks=audit.remarks if audit else None,
            samples=lambda row: heard.view.get(row_of[together.clip_ids[row]]),
            rate_hz=rate_hz,
        ),
        "curves": class_curves(together),
        "audit": audit,
    }
