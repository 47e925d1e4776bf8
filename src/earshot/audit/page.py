"""An audit as one HTML page: findings by severity, pictures of the data, and the clips to hear, see and mend."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from matplotlib.figure import Figure

from earshot.audit.auditing import Audit
from earshot.audit.findings import SEVERITIES, Finding
from earshot.audit.gallery import Room, gallery
from earshot.audit.plots import MAX_CLASSES, class_sizes, leak_bars, lengths, shortcut_scores, spread_by_class
from earshot.data.fields import printable
from earshot.report.page import inline_svg, template, write_page

MAX_MB = 15.0
_MAX_SHOWN = 200
_WORDS = {"error": "Must be mended", "warning": "Should be looked at", "note": "Good to know"}


def write_audit_page(
    audit: Audit,
    path: str | os.PathLike[str],
    *,
    title: str,
    command: str = "",
    sounds: bool = True,
    max_mb: float = MAX_MB,
) -> None:
    """Writes the page in one move; see `render_audit`."""
    write_page(path, render_audit(audit, title=title, command=command, sounds=sounds, max_mb=max_mb))


def render_audit(
    audit: Audit, *, title: str, command: str = "", sounds: bool = True, max_mb: float = MAX_MB
) -> str:
    """The page as text. Names and labels are escaped, as is everything else.

    Args:
        sounds: False leaves sounds out; spectrograms stay.
        max_mb: of sounds and spectrograms together, in 10^6 bytes.
    """
    counts: dict[str, int] = {severity: len(audit.of(severity)) for severity in SEVERITIES}
    room = Room(int(max_mb * 1e6), sounds=sounds)
    findings = [_finding(audit, finding, room) for finding in audit.findings]
    return template("audit.html.j2").render(
        title=printable(title),
        created=time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        command=printable(command),
        n_clips=len(audit.table),
        verdict=_verdict(counts),
        parts=[
            {"severity": severity, "words": _WORDS[severity], "findings": found}
            for severity in SEVERITIES
            if (found := [each for each in findings if each["severity"] == severity])
        ],
        findings=findings,
        plots=[
            {"svg": inline_svg(figure, prefix=f"plot{i}-"), "words": words}
            for i, (words, figure) in enumerate(_plots(audit))
            if figure is not None
        ],
        shortcuts=audit.verdicts.shortcuts,
        max_shown=_MAX_SHOWN,
    )


def _verdict(counts: dict[str, int]) -> str:
    if counts["error"]:
        must = "1 finding must" if counts["error"] == 1 else f"{counts['error']} findings must"
        return f"{must} be mended first, {counts['warning']} should be looked at."
    if counts["warning"]:
        return f"Nothing must be mended; {counts['warning']} should be looked at."
    return "Nothing was found that needs mending."


def _plots(audit: Audit) -> Iterator[tuple[str, Figure | None]]:
    table = audit.table.assign(label=[printable(str(label)) for label in audit.table["label"]])
    n_classes = len(set(";".join(table["label"]).split(";")) - {""})
    some = f", {MAX_CLASSES} of {n_classes}" if n_classes > MAX_CLASSES else ""
    yield f"Clips and groups of each class{some}", class_sizes(table)
    yield "Lengths of the clips", lengths(table["duration_s"].tolist())
    single = table[~table["label"].str.contains(";", regex=False)]
    of_classes = f"by class{some}: median and middle 80 %"
    yield f"Level {of_classes}", spread_by_class(single, "level_db", unit="dB of full scale")
    yield f"Bandwidth {of_classes}", spread_by_class(single, "bandwidth_hz", unit="kHz", scale=1e-3)
    yield f"Noise floor {of_classes}", spread_by_class(single, "noise_floor_db", unit="dB of full scale")
    if audit.verdicts.shortcuts:
        yield "Balanced accuracy of each family of figures", shortcut_scores(audit.verdicts.shortcuts)
    if audit.verdicts.leak:
        yield (
            "Accuracy of a quick model with groups together and dealt at random",
            leak_bars(audit.verdicts.leak),
        )


def _finding(audit: Audit, finding: Finding, room: Room) -> dict[str, Any]:
    shown = audit.table.iloc[list(finding.rows[:_MAX_SHOWN])]
    names = [
        {"id": printable(str(name)), "label": printable(str(label))}
        for name, label in zip(shown["id"], shown["label"], strict=True)
    ]
    return {
        "severity": finding.severity,
        "code": finding.code,
        "text": printable(finding.text),
        "fix": finding.fix,
        "clips": names,
        "n_clips": len(finding.rows),
        "gallery": gallery(audit, finding, room),
    }
