"""What a table of measured clips has to say: one finding a kind of trouble, with its clips and the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from earshot.audio.reasons import WARNINGS
from earshot.audit.settings import AuditConfig

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One kind of trouble.

    `rows` are positions in the table; `action` is what a fix list says of them: "drop", "merge", "check" or "".
    """

    severity: Severity
    code: str
    text: str
    fix: str
    rows: tuple[int, ...] = ()
    action: str = ""


def table_findings(table: pd.DataFrame, config: AuditConfig) -> list[Finding]:
    """Everything that is seen in the table of an audit (see `auditing.measured_table`), worst first."""
    found = [finding for check in _CHECKS for finding in check(table, config)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _rows(mask: Any) -> tuple[int, ...]:
    return tuple(np.flatnonzero(np.asarray(mask, dtype=bool)).tolist())


def _unusable(table: pd.DataFrame, config: AuditConfig) -> Iterator[Finding]:
    failed = _rows(table["status"] == "failed")
    if failed:
        reasons = ", ".join(f"{n} {r}" for r, n in table["reason"].iloc[list(failed)].value_counts().items())
        fix = "Copy or export them again, or drop them."
        yield Finding("error", "unreadable", f"{_n(failed)} cannot be read: {reasons}", fix, failed, "drop")
    silent = _rows((table["status"] != "failed") & (table["peak_db"] < config.silent_below_db))
    if silent:
        text = f"silent, never above {config.silent_below_db:g} dB: {_n(silent)}"
        fix = "Drop them, or find the recording that was meant."
        yield Finding("error", "silent", text, fix, silent, "drop")


def _odd_files(table: pd.DataFrame, config: AuditConfig) -> Iterator[Finding]:
    for code, meaning in WARNINGS.items():
        rows = _rows([code in reason.split(";") for reason in table["reason"]])
        if rows and code not in ("silent", "clipped"):
            yield Finding("warning", code, f"{_n(rows)}: {meaning}", "Listen to them.", rows, "check")


def _signal(table: pd.DataFrame, config: AuditConfig) -> Iterator[Finding]:
    over = np.array(["clipped" in reason.split(";") for reason in table["reason"]], dtype=bool)
    clipped = _rows((table["clipped_share"] > config.max_clipped_share) | over)
    if clipped:
        text = f"clipped, over {config.max_clipped_share:.1%} of the samples at full scale: {_n(clipped)}"
        fix = "Record at a lower gain; keep them if use clips too."
        yield Finding("warning", "clipped", text, fix, clipped)
    offset = _rows(table["dc_offset"].abs() > config.max_dc_offset)
    if offset:
        text = f"DC offset beyond {config.max_dc_offset:.0%} of full scale: {_n(offset)}"
        yield Finding("warning", "dc_offset", text, "Filter below 20 Hz, in use as in training.", offset)
    padded = _rows(
        (table[["lead_silence_s", "tail_silence_s"]].max(axis=1) >= config.min_silence_s)
        & (table["peak_db"] >= config.silent_below_db)
    )
    if padded:
        text = f"digital silence of {config.min_silence_s:g} s or more at an end, as padding leaves it: "
        fix = "Trim them: clips may differ in length, and shorter ones are repeated to fill a window."
        yield Finding("note", "padded", text + _n(padded) + _by_class(table, padded), fix, padded)


def _bandwidth(table: pd.DataFrame, config: AuditConfig) -> Iterator[Finding]:
    narrow = _rows(
        (table["bandwidth_hz"] < config.min_bandwidth * table["bandwidth_limit_hz"])
        & (table["edge_db"] >= config.min_edge_db)
        & (table["peak_db"] >= config.silent_below_db)
    )
    if narrow:
        middle = float(table["bandwidth_hz"].iloc[list(narrow)].median())
        text = (
            f"low-passed or upsampled, nothing in the upper {1 - config.min_bandwidth:.0%} of the spectrum: "
        )
        text += f"{_n(narrow)}, half of them below {middle / 1000:.1f} kHz{_by_class(table, narrow)}"
        fix = "Lossy coding and low rates do this. If only some classes are, a model can learn it: find the "
        yield Finding("warning", "bandwidth", text, fix + "originals, or filter all alike.", narrow)


def _mixtures(table: pd.DataFrame, config: AuditConfig) -> Iterator[Finding]:
    for column, code, what in (
        ("source_rate_hz", "mixed_rates", "sample rates"),
        ("n_channels", "mixed_channels", "numbers of channels"),
        ("format", "mixed_formats", "file formats"),
    ):
        counts = table.loc[table["status"] != "failed", column].value_counts()
        if len(counts) > 1:
            shown = ", ".join(f"{value} ({n})" for value, n in list(counts.items())[:6])
            text = f"{len(counts)} {what}: {shown}"
            fix = "They are converted; see below whether they give the label away."
            yield Finding(
                "note", code, text, fix, _rows(table[column].notna() & (table[column] != counts.index[0]))
            )


def _lengths(table: pd.DataFrame, config: AuditConfig) -> Iterator[Finding]:
    length = np.log(table["duration_s"].to_numpy(np.float64))
    if np.isnan(length).all():
        return
    middle = float(np.nanmedian(length))
    away = np.abs(length - middle)
    # Where lengths differ anyway, a long clip is no outlier: 1.4826 turns the median into a standard deviation.
    limit = max(np.log(config.max_length_ratio), 3 * 1.4826 * float(np.nanmedian(away)))
    rows = _rows(away > limit)
    if rows:
        text = f"over {np.exp(limit):.1f} times longer or shorter than the median, {np.exp(middle):.2f} s: "
        fix = "Cut the long ones, listen to the short ones."
        yield Finding("warning", "duration", text + _n(rows), fix, rows, "check")


def _copies(table: pd.DataFrame, config: AuditConfig) -> Iterator[Finding]:
    exact_set = table["duplicate_set"].tolist()
    yield from _one_kind(table, _members(exact_set), "exact")
    near = _members(table["near_set"].tolist())
    # Sets of exact copies alone are told already.
    yield from _one_kind(table, [rows for rows in near if not _is_one_set(exact_set, rows)], "near")


def _members(names: Sequence[str]) -> list[list[int]]:
    """The rows of each set, by the name of the set that each row is in ("" for none)."""
    sets: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if name:
            sets.setdefault(name, []).append(row)
    return list(sets.values())


def _is_one_set(names: Sequence[str], rows: Sequence[int]) -> bool:
    found = {names[row] for row in rows}
    return len(found) == 1 and "" not in found


def _one_kind(table: pd.DataFrame, sets: list[list[int]], word: str) -> Iterator[Finding]:
    exact = word == "exact"
    code = "duplicate" if exact else "near_duplicate"
    later = tuple(sorted(row for rows in sets for row in rows[1:]))
    if later:
        what = "the same samples" if exact else "the same sound at another gain, offset or codec, or in part,"
        fix = "Drop them." if exact else "Drop them, or train on grouped.csv, which keeps them together."
        text = f"{what} as an earlier clip: {_n(later)}"
        yield Finding("warning", code, text, fix, later, "drop" if exact else "merge")
    for column in ("label", "fold", "split"):
        values = table[column].astype(str).tolist()
        torn = [rows for rows in sets if len({values[row] for row in rows}) > 1]
        rows = tuple(sorted(row for each in torn for row in each))
        if rows:
            shown = " and ".join(f"{table['id'].iloc[i]} ({table[column].iloc[i]})" for i in torn[0][:2])
            many = f"{len(torn)} sound{'s have' if len(torn) > 1 else ' has'} {word} copies"
            text = f"{many} in two {column}s: {shown}"
            fix = (
                "Decide which label is right." if column == "label" else "Put both on one side, or drop one."
            )
            action = "check" if column == "label" else "merge"
            yield Finding("error", f"{code}_{column}", text, fix, rows, action)


def _groups(table: pd.DataFrame, config: AuditConfig) -> Iterator[Finding]:
    for column in ("fold", "split"):
        sides = table.assign(side=table[column].astype(str)).groupby("group")["side"].nunique()
        torn = set(sides[sides > 1].index)
        rows = _rows(table["group"].isin(torn))
        if rows:
            text = (
                f"groups in several {column}s: {len(torn)}, with {_n(rows)}, for instance {sorted(torn)[0]!r}"
            )
            fix = "Correct the group or the side; train --set ignore_folds=true deals folds anew."
            yield Finding("error", f"group_{column}", text, fix, rows, "merge")
    sizes = table["group"].map(table["group"].value_counts())
    rows = _rows(sizes > 1)
    if rows:
        text = f"in a group (recording, speaker, site) with another clip: {_n(rows)}"
        yield Finding("note", "shared_group", text, "Folds keep groups together; nothing to do.", rows)


def _classes(table: pd.DataFrame, config: AuditConfig) -> Iterator[Finding]:
    parts = table.assign(label=table["label"].str.split(";")).explode("label")
    parts = parts[parts["label"] != ""]
    counts = parts["label"].value_counts()
    if len(counts) > 1 and counts.iloc[0] > config.max_imbalance * counts.iloc[-1]:
        largest, smallest = f"{counts.index[0]} ({counts.iloc[0]})", f"{counts.index[-1]} ({counts.iloc[-1]})"
        text = f"the classes are uneven: {largest} against {smallest}"
        fix = "Look at balanced accuracy; record more of the small ones."
        yield Finding("warning", "imbalance", text, fix)
    n_groups = parts.groupby("label")["group"].nunique()
    lone, few = n_groups[n_groups < 2], n_groups[(n_groups >= 2) & (n_groups < config.min_groups)]
    fix = "Record more of them elsewhere, or leave them out."
    if len(lone):
        text = f"classes of a single group, which cannot be split: {_counted(lone)}"
        yield Finding("error", "lone_class", text, fix)
    if len(few):
        text = f"classes of fewer than {config.min_groups} groups: {_counted(few)}"
        yield Finding("warning", "small_class", text + "; there can be no more folds than groups", fix)


def _by_class(table: pd.DataFrame, rows: Sequence[int]) -> str:
    """Between which classes the share of such clips differs most; nothing where it is about the same."""
    has = pd.Series(0.0, index=table.index)
    has.iloc[list(rows)] = 1.0
    share = has[table["label"] != ""].groupby(table["label"]).mean().sort_values()
    if len(share) < 2 or share.iloc[-1] - share.iloc[0] < 0.2:
        return ""
    return f"; {share.iloc[0]:.0%} of {share.index[0]}, {share.iloc[-1]:.0%} of {share.index[-1]}"


def _counted(counts: pd.Series[Any]) -> str:
    more = ", ..." if len(counts) > 6 else ""
    return ", ".join(f"{name} ({n})" for name, n in list(counts.items())[:6]) + more


def _n(rows: Sequence[int]) -> str:
    return f"{len(rows)} clip{'' if len(rows) == 1 else 's'}"


_CHECKS: tuple[Callable[[pd.DataFrame, AuditConfig], Iterator[Finding]], ...] = (
    _unusable,
    _copies,
    _groups,
    _classes,
    _signal,
    _bandwidth,
    _lengths,
    _odd_files,
    _mixtures,
)
