"""What an audit of the same data found, read back from the table that it wrote."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from earshot.report.page import isolated

_SAME_DATA = 0.9  # share of the run's clips that an audit must name to be about these data
_WORDS = {"label": "the audit doubts this label"}


@dataclass(frozen=True, kw_only=True)
class AuditSummary:
    """Findings of an audit.

    Args:
        n_clips: clips that it looked at. counts: (finding, clips that it names), most frequent first.
        href: the audit's page, relative to the report; "" without one.
        remarks: clip id -> what it says of the clip.
    """

    n_clips: int
    counts: Sequence[tuple[str, int]]
    href: str = ""
    remarks: dict[str, list[str]] = field(default_factory=dict)


class _Row(NamedTuple):
    """What is read of a clip's row; the whole table would be several kB a clip."""

    id: str
    issues: str
    suggested_label: str


def find_audit(places: Iterable[Path], *, ids: Iterable[str], seen_from: Path) -> AuditSummary | None:
    """The first audit.csv in these folders that is about the clips `ids`; None without one.

    Args:
        seen_from: folder of the report, for the link.
    """
    wanted = set(ids)
    for place in places:
        rows = _rows(place / "audit.csv")
        known = {row.id.removeprefix("'") for row in rows} | {row.id for row in rows}
        if rows and len(wanted & known) >= _SAME_DATA * len(wanted):
            return _summary(rows, wanted, page=place / "audit.html", seen_from=seen_from)
    return None


def _rows(path: Path) -> list[_Row]:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file)
            return [
                _Row(row["id"], row["issues"], row.get("suggested_label") or "")
                for row in rows
                if row.get("id") is not None and row.get("issues") is not None
            ]
    except (OSError, csv.Error):
        return []


def _summary(rows: list[_Row], wanted: set[str], *, page: Path, seen_from: Path) -> AuditSummary:
    counts: Counter[str] = Counter()
    remarks: dict[str, list[str]] = {}
    for row in rows:
        # A spreadsheet would have run a name that starts with a sign: the audit put an apostrophe before it.
        name = row.id if row.id in wanted else row.id.removeprefix("'")
        codes = [code for code in row.issues.split(";") if code]
        counts.update(codes)
        if codes and name in wanted:
            remarks[name] = [_remark(code, row.suggested_label) for code in codes]
    link = quote(os.fsencode(os.path.relpath(page, seen_from)), safe="/") if page.is_file() else ""
    return AuditSummary(n_clips=len(rows), counts=counts.most_common(), href=link, remarks=remarks)


def _remark(code: str, suggested: str) -> str:
    text = _WORDS.get(code, f"audit: {code}")
    return f"{text}: “{isolated(suggested)}”?" if code == "label" and suggested else text
