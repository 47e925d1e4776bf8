"""What an audit leaves behind: lines for the console, tables that are safe to open, a list of what to mend."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd

from earshot.audit.auditing import Audit
from earshot.data.fields import printable
from earshot.evaluation.predictions import safe_frame
from earshot.files import write_whole

# The column of the sets that a finding is about, by the first word of its code.
_SETS = {"duplicate": "duplicate_set", "near": "near_set"}
_WORDS = {"error": "must be mended", "warning": "should be looked at", "note": "good to know"}


def summary_text(audit: Audit) -> str:
    """The findings for a terminal, worst first, each with its fix."""
    n = len(audit.findings)
    lines = [f"{len(audit.table)} clips, {n} finding{'' if n == 1 else 's'}"]
    for severity, words in _WORDS.items():
        found = audit.of(severity)
        if found:
            lines += ["", f"{severity.upper()}: {words}"]
        for finding in found:
            lines.append(f"  {printable(finding.text)} [{finding.code}]")
            lines += [f"    -> {finding.fix}"] if finding.fix else []
    return "\n".join(lines)


def write_tables(audit: Audit, folder: Path) -> None:
    """Writes audit.csv (one row a clip) and grouped.csv (clips for train, copies in one group)."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "audit.csv", csv_text(audit.table))
    audit.clips.write_csv(folder / "grouped.csv")


def write_fix_list(audit: Audit, path: Path) -> int:
    """Writes what to drop, merge or check, one row a clip and finding; returns the number of rows."""
    known = {name: audit.table[name].tolist() for name in ("id", "path", "label", "suggested_label")}
    originals = {code: _originals(audit.table[column]) for code, column in _SETS.items()}
    rows = [
        {
            "id": known["id"][row],
            "path": known["path"][row],
            "action": finding.action,
            "finding": finding.code,
            "same_as": _same_as(known["id"], row, originals.get(finding.code.split("_")[0], {})),
            "label": known["label"][row],
            "suggested_label": known["suggested_label"][row] if finding.code == "label" else "",
            "fix": finding.fix,
        }
        for finding in audit.findings
        if finding.action
        for row in finding.rows
    ]
    columns = ["id", "path", "action", "finding", "same_as", "label", "suggested_label", "fix"]
    write_whole(path, csv_text(pd.DataFrame(rows, columns=columns)))
    return len(rows)


def csv_text(table: pd.DataFrame) -> bytes:
    """A table as CSV: no cell runs as a formula, names that are not Unicode keep their bytes."""
    buffer = io.StringIO(newline="")
    safe_frame(table).to_csv(buffer, index=False, quoting=csv.QUOTE_MINIMAL, float_format="%.6g")
    return buffer.getvalue().encode("utf-8", errors="surrogateescape")


def _originals(names: pd.Series[Any]) -> dict[int, int]:
    """Row -> the first row of the set of copies that it is in."""
    first: dict[str, int] = {}
    return {row: first.setdefault(name, row) for row, name in enumerate(names.tolist()) if name}


def _same_as(ids: list[Any], row: int, originals: dict[int, int]) -> str:
    """The first clip of the set that a copy belongs to."""
    first = originals.get(row, row)
    return "" if first == row else str(ids[first])
