"""The audit of a table of clips: what is in them, what is wrong with them, and what to do.

Conventions: N clips were asked for; what is known of those that could be read is NaN or "" for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earshot.audio.measure import Measurements
from earshot.audit.findings import SEVERITIES, Finding, table_findings
from earshot.audit.listening import Listened, Source, listen
from earshot.audit.modelling import Verdicts, model_findings, try_models
from earshot.audit.settings import AuditConfig
from earshot.data.clips import Clips
from earshot.data.copies import Copies, find_copies, merged_groups
from earshot.hearing import Heard, hear
from earshot.monitor import Monitor, Silent
from earshot.recipe import AudioConfig


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Args:
        table: one row a clip, in the order that was asked for; `issues` names the findings of each.
        clips: all clips, with groups that keep copies together.
        verdicts: what models said, where they could be fitted.
        samples: row of the table -> its samples, int16 [T] at `rate_hz`; None for a clip that could not be read.
    """

    table: pd.DataFrame
    findings: list[Finding]
    clips: Clips
    copies: Copies
    verdicts: Verdicts = field(default_factory=Verdicts)
    samples: Callable[[int], NDArray[np.int16] | None] | None = None
    rate_hz: int = 0

    def of(self, severity: str) -> list[Finding]:
        """The findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]


def audit(
    clips: Clips,
    *,
    folder: Path,
    audio: AudioConfig | None = None,
    config: AuditConfig | None = None,
    models: bool = True,
    monitor: Monitor | None = None,
    store_root: Path | None = None,
) -> Audit:
    """Looks at every clip once and at the table as a whole.

    Args:
        folder: keeps what was heard, so that the audit goes on where it was stopped.
        audio: how clips are decoded; frequencies above half its rate are not looked at.
        models: also look for shortcuts, leaks and doubtful labels.

    Raises:
        DataError: no clip could be read.
    """
    config, audio, monitor = config or AuditConfig(), audio or AudioConfig(), monitor or Silent()
    heard = hear(clips, audio, monitor=monitor, store_root=store_root)
    accepted = np.flatnonzero([outcome.accepted for outcome in heard.outcomes])
    studied = whole_groups(heard.clips.groups, config.max_model_clips, seed=config.seed)
    listened = listen(
        heard.view,
        _sources(heard),
        rate_hz=audio.rate_hz,
        folder=folder / "heard",
        monitor=monitor,
        wanted=studied,
    )
    silent = listened.column("peak_db") < config.silent_below_db
    copies = find_copies(listened.digests, listened.prints, silent=silent, config=config.matching)
    table = measured_table(heard, listened, copies=copies, rate_hz=audio.rate_hz)
    groups = list(clips.groups)
    for i, group in zip(accepted, merged_groups([groups[i] for i in accepted], copies.near), strict=True):
        groups[i] = group
    findings = table_findings(table, config)
    verdicts = Verdicts()
    grouped = clips.assign(group=groups)
    if models:
        usable = accepted[studied & ~silent]
        monitor.say("audit: fitting small models, for shortcuts, leaks and labels")
        features = listened.features[~silent[studied]]
        verdicts = try_models(grouped.subset(usable), table.iloc[usable], features, config=config)
        if not studied.all():
            note = f"shortcuts, leaks and labels were looked for in {len(usable)} of {len(table)} clips"
            verdicts = replace(verdicts, notes=(*verdicts.notes, note))
        findings += model_findings(verdicts, usable)
        _note_doubts(table, verdicts, usable)
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    table["issues"] = _issues(len(table), findings)
    place = {int(row): i for i, row in enumerate(accepted)}

    def samples(row: int) -> NDArray[np.int16] | None:
        return heard.view.get(place[row]) if row in place else None

    return Audit(table, findings, grouped, copies, verdicts, samples, audio.rate_hz)


def measured_table(heard: Heard, listened: Listened, *, copies: Copies, rate_hz: int) -> pd.DataFrame:
    """One row a clip: what was asked for, what came of it, and what was measured."""
    asked = heard.asked.table
    accepted = np.flatnonzero([outcome.accepted for outcome in heard.outcomes])
    columns: dict[str, Any] = {
        name: asked[name].tolist() for name in ("id", "path", "label", "group", "fold", "split")
    }
    columns["start_s"], columns["end_s"] = asked["start_s"].to_numpy(), asked["end_s"].to_numpy()
    columns["status"] = [outcome.status for outcome in heard.outcomes]
    columns["reason"] = [outcome.reason for outcome in heard.outcomes]
    columns["format"] = [Path(path).suffix.lower().lstrip(".") for path in asked["path"]]
    table = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    for name in ("source_rate_hz", "n_channels"):
        table[name] = _spread(len(table), accepted, [getattr(heard.outcomes[i], name) for i in accepted])
        table[name] = table[name].astype("Int64")
    for name in Measurements._fields:
        table[name] = _spread(len(table), accepted, listened.column(name))
    rates_hz = table["source_rate_hz"].to_numpy(np.float64, na_value=np.nan)
    table["bandwidth_limit_hz"] = np.minimum(rates_hz, rate_hz) / 2
    table["duplicate_set"] = _set_names(len(table), accepted, copies.exact)
    table["near_set"] = _set_names(len(table), accepted, copies.near)
    for name in ("start_s", "end_s"):
        table[name] = table[name].astype(float)
    return table


def whole_groups(groups: Sequence[str] | NDArray[Any], n_clips: int, *, seed: int) -> NDArray[np.bool_]:
    """Clips of groups drawn at random, as many as asked for; all where there are no more. Shape: bool [N]."""
    names, group_of, sizes = np.unique(np.asarray(groups, dtype=str), return_inverse=True, return_counts=True)
    if len(group_of) <= n_clips:
        return np.ones(len(group_of), dtype=bool)
    order = np.random.default_rng(seed).permutation(len(names))
    drawn = np.zeros(len(names), dtype=bool)
    left = n_clips
    for i in order:
        if sizes[i] <= left:
            drawn[i], left = True, left - sizes[i]
    return np.asarray(drawn[group_of], dtype=bool)


def _sources(heard: Heard) -> list[Source]:
    """What the samples of each clip that could be read depend on."""
    kept = [outcome for outcome in heard.outcomes if outcome.accepted]
    return [
        Source(f"{o.content} {o.segment.start_s} {o.segment.end_s} {o.n_samples}", o.source_rate_hz)
        for o in kept
    ]


def _spread(n: int, at: Any, values: Any) -> Any:
    column = np.full(n, np.nan)
    column[at] = values
    return column


def _set_names(n: int, accepted: Any, sets: Sequence[Sequence[int]]) -> list[str]:
    names = [""] * n
    for number, members in enumerate(sets, start=1):
        for i in members:
            names[accepted[i]] = f"set {number}"
    return names


def _note_doubts(table: pd.DataFrame, verdicts: Verdicts, usable: Any) -> None:
    table["label_quality"] = np.nan
    table["suggested_label"] = ""
    for row, quality in verdicts.quality.items():
        table.loc[usable[row], "label_quality"] = quality
    for row, name in verdicts.suggested.items():
        table.loc[usable[row], "suggested_label"] = name


def _issues(n: int, findings: Sequence[Finding]) -> list[str]:
    codes: list[list[str]] = [[] for _ in range(n)]
    for finding in findings:
        for row in finding.rows:
            codes[row].append(finding.code)
    return [";".join(each) for each in codes]
