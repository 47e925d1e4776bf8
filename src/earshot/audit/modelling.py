"""From clips to what small models find out about them, in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earshot.audit.findings import Finding
from earshot.audit.models import (
    Labels,
    LeakPrice,
    Shortcut,
    TooFewClips,
    doubtful_labels,
    find_shortcuts,
    grouped_folds,
    leak_price,
    repeated_probs,
)
from earshot.audit.settings import AuditConfig
from earshot.data.clips import Clips
from earshot.errors import ConfigError

_FAMILIES = {
    "length": ("duration_s",),
    "level": ("level_db", "peak_db", "clipped_share", "dc_offset"),
    "bandwidth": ("bandwidth_hz", "edge_db"),
    "noise floor": ("noise_floor_db",),
    "digital silence": ("silence_share", "lead_silence_s", "tail_silence_s"),
    "file format": ("source_rate_hz", "n_channels", "format"),
}


@dataclass(frozen=True)
class Verdicts:
    """What models found. `suggested` and `quality` are by position among the clips that were looked at."""

    shortcuts: list[Shortcut] = field(default_factory=list)
    leak: LeakPrice | None = None
    suggested: dict[int, str] = field(default_factory=dict)
    quality: dict[int, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def try_models(
    clips: Clips, table: pd.DataFrame, features: NDArray[np.float32], *, config: AuditConfig
) -> Verdicts:
    """Shortcuts, the price of a leak and doubtful labels of clips that can be heard.

    Classes of a single group are left out: nothing could be judged on them.

    Args:
        clips: with groups that keep copies together.
        table: their rows of the audit's table.
        features: of each clip. Shape: [N, D].
    """
    if not clips.is_labelled or clips.is_multilabel:
        return Verdicts(notes=("shortcuts, leaks and labels were not looked at: they need one label a clip",))
    n_groups = (
        pd.Series(clips.groups)
        .groupby(clips.labels)
        .nunique()
        .reindex(range(len(clips.classes)), fill_value=0)
    )
    able = np.flatnonzero(n_groups.to_numpy()[clips.labels] >= 2)
    present, labels = np.unique(clips.labels[able], return_inverse=True)
    if len(present) < 2:
        why = "fewer than two classes have two groups"
        return Verdicts(notes=(f"shortcuts, leaks and labels were not looked at: {why}",))
    groups = [str(group) for group in clips.groups[able]]
    n_folds = max(2, min(config.n_folds, int(n_groups.to_numpy()[present].min())))
    folds = grouped_folds(labels, groups, n_folds=n_folds, seed=config.seed)
    rows = np.nan_to_num(features[able].astype(np.float32))
    n_repeats = config.n_repeats if len(able) <= config.max_repeat_clips else 1
    try:
        grouped, at_random = (
            repeated_probs(rows, labels, kept, n_folds=n_folds, n_repeats=n_repeats, seed=config.seed)
            for kept in (groups, None)
        )
        shortcuts = _shortcuts(table.iloc[able], labels, groups, folds, config)
    except TooFewClips:
        why = "outside some fold there are not more clips than classes"
        return Verdicts(notes=(f"shortcuts, leaks and labels were not looked at: {why}",))
    leak = leak_price(grouped, at_random, labels, groups, seed=config.seed)
    names = [clips.classes[k] for k in present]
    try:
        doubts = doubtful_labels(labels, grouped.mean(axis=0))
    except ConfigError as error:
        return Verdicts(shortcuts, leak, notes=(str(error),))
    suggested = {int(able[i]): names[k] for i, k in zip(doubts.rows, doubts.suggested, strict=True)}
    quality = {int(i): float(q) for i, q in zip(able, doubts.quality, strict=True)}
    return Verdicts(shortcuts, leak, suggested, quality)


def _shortcuts(
    table: pd.DataFrame, labels: Labels, groups: list[str], folds: NDArray[np.int64], config: AuditConfig
) -> list[Shortcut]:
    """On whole folds' worth of clips, but no more than are quick."""
    keep = np.arange(len(labels))
    if len(keep) > config.max_nuisance_clips:
        chosen = np.random.default_rng(config.seed).choice(keep, config.max_nuisance_clips, replace=False)
        keep = np.sort(chosen)
    present, kept_labels = np.unique(labels[keep], return_inverse=True)
    families = {
        name: _numbers(table.iloc[keep], columns)
        for name, columns in _FAMILIES.items()
        if table.iloc[keep][list(columns)].nunique().max() > 1
    }
    if not families or len(present) < 2:
        return []
    kept_groups = [groups[i] for i in keep]
    return find_shortcuts(
        families, kept_labels, kept_groups, folds=folds[keep], n_trees=config.n_trees, seed=config.seed
    )


def _numbers(table: pd.DataFrame, columns: tuple[str, ...]) -> NDArray[Any]:
    parts = [
        pd.get_dummies(table[name]).to_numpy(np.float32)
        if name == "format"
        else table[name].to_numpy(np.float32, na_value=0.0)[:, None]
        for name in columns
    ]
    return np.column_stack(parts)


def model_findings(verdicts: Verdicts, positions: NDArray[np.int64]) -> list[Finding]:
    """The verdicts as findings; `positions` leads from theirs to those of the whole table."""
    found = []
    clear = [each for each in verdicts.shortcuts if each.is_clear]
    if clear:
        shown = ", ".join(f"{each.name} {each.score:.0%}" for each in clear)
        text = f"the label can be told without listening: {shown} (balanced; chance {clear[0].chance:.0%})"
        fix = "Even these out, or augment them away; else a model may learn them instead of the sound."
        found.append(Finding("warning", "shortcut", text, fix))
    if verdicts.leak:
        found.append(_leak_finding(verdicts.leak))
    if verdicts.suggested:
        rows = tuple(int(positions[i]) for i in verdicts.suggested)
        are = "1 clip has" if len(rows) == 1 else f"{len(rows)} clips have"
        text = f"{are} a label that a quick model doubts"
        found.append(Finding("warning", "label", text, "Listen to them, the worst first.", rows, "check"))
    return found + [Finding("note", "not_done", note, "") for note in verdicts.notes]


def _leak_finding(leak: LeakPrice) -> Finding:
    text = f"a quick model has {leak.grouped:.1%} with groups kept together, {leak.random:.1%} at random"
    text += (
        f": a random split would {'add' if leak.price >= 0 else 'take'} {abs(100 * leak.price):.1f} points"
    )
    text += f" (95 % interval {100 * leak.low:+.1f} to {100 * leak.high:+.1f})"
    if leak.is_clear:
        return Finding("warning", "leak_price", text, "Judge by group, as train does.")
    return Finding("note", "leak_price", text, "Nothing to do: train judges by group.")
