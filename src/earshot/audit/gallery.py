"""Clips of a finding to hear and to see, copies side by side, within a bound on the size of the page."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

from earshot.audit.auditing import Audit
from earshot.audit.findings import Finding
from earshot.data.fields import printable
from earshot.report.media import MAX_SECONDS, compressed, spectrogram

MAX_SETS = 12  # of copies, or clips, a finding
MAX_IN_SET = 4
_CHEAP = {"silent", "padded", "clipped", "dc_offset", "bandwidth", "duration"}  # a few examples are enough
_MAX_EXAMPLES = 4


@dataclass(frozen=True)
class Card:
    """One clip: words, and where there was room a spectrogram (WebP) and a sound, as data addresses."""

    id: str
    label: str
    suggested: str
    remarks: tuple[str, ...]
    picture: str = ""
    sound: str = ""


class Room:
    """What is left of the page's bound for sounds and pictures, in characters.

    Args:
        sounds: False leaves sounds out.
    """

    def __init__(self, n_characters: int, *, sounds: bool = True) -> None:
        self.left, self.sounds = n_characters, sounds

    def take(self, kind: str, body: bytes) -> str:
        """A data address, or "" where it does not fit."""
        text = f"data:{kind};base64,{base64.b64encode(body).decode('ascii')}"
        if len(text) > self.left:
            return ""
        self.left -= len(text)
        return text


def gallery(audit: Audit, finding: Finding, room: Room) -> list[list[Card]]:
    """The clips of a finding, most telling first: sets of copies side by side, other clips alone.

    Findings that hearing does not help, such as groups on two sides, show none.
    """
    return [[_card(audit, row, finding, room) for row in rows] for rows in _sets(audit, finding)]


def _sets(audit: Audit, finding: Finding) -> Iterator[list[int]]:
    if finding.code.startswith(("duplicate", "near_duplicate")):
        column = "near_set" if finding.code.startswith("near") else "duplicate_set"
        names = audit.table[column]
        wanted = list(dict.fromkeys(names.iloc[list(finding.rows)]))
        for name in wanted[:MAX_SETS]:
            yield [int(row) for row in (names == name).to_numpy().nonzero()[0][:MAX_IN_SET]]
    elif finding.code == "label" or finding.action == "check":
        yield from ([row] for row in finding.rows[:MAX_SETS])
    elif finding.code in _CHEAP:
        yield from ([row] for row in _extremes(audit, finding)[:_MAX_EXAMPLES])


def _extremes(audit: Audit, finding: Finding) -> list[int]:
    """The clips of a finding, those first that have most of it."""
    order = {
        "clipped": -audit.table["clipped_share"],
        "dc_offset": -audit.table["dc_offset"].abs(),
        "bandwidth": audit.table["bandwidth_hz"],
        "padded": -audit.table[["lead_silence_s", "tail_silence_s"]].max(axis=1),
    }.get(finding.code)
    rows = list(finding.rows)
    return rows if order is None else sorted(rows, key=lambda row: float(order.iloc[row]))


def _card(audit: Audit, row: int, finding: Finding, room: Room) -> Card:
    clip = audit.table.iloc[row]
    suggested = str(clip["suggested_label"]) if finding.code == "label" else ""
    words = Card(
        printable(str(clip["id"])),
        printable(str(clip["label"])),
        printable(suggested),
        _remarks(audit, row, finding),
    )
    samples = audit.samples(row) if audit.samples else None
    if samples is None or not len(samples):
        return words
    part = samples[: round(MAX_SECONDS * audit.rate_hz)]
    picture = room.take("image/webp", spectrogram(part, audit.rate_hz))
    coded = compressed(part, audit.rate_hz) if room.sounds and picture else None
    sound = room.take(*coded) if coded else ""
    return Card(words.id, words.label, words.suggested, words.remarks, picture, sound)


def _remarks(audit: Audit, row: int, finding: Finding) -> tuple[str, ...]:
    clip = audit.table.iloc[row]
    said = [f"{clip['duration_s']:.2f} s, level {clip['level_db']:.0f} dB"]
    said += [f"{name} {clip[name]}" for name in ("fold", "split") if finding.code.endswith(name)]
    said += {
        "clipped": [f"{clip['clipped_share']:.2%} at full scale"],
        "dc_offset": [f"offset {clip['dc_offset']:+.1%}"],
        "bandwidth": [f"ends at {clip['bandwidth_hz'] / 1000:.1f} kHz, falls by {clip['edge_db']:.0f} dB"],
        "padded": [f"silence {clip['lead_silence_s']:.2f} s before, {clip['tail_silence_s']:.2f} s after"],
        "label": [f"label quality {clip['label_quality']:.2f}"] if finding.code == "label" else [],
    }.get(finding.code, [])
    return tuple(said)
