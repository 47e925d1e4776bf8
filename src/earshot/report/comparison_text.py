"""A comparison of runs for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from earshot.data.fields import printable
from earshot.report.comparison import ComparisonValues, p_value, size_text, verdict
from earshot.report.page import THIN_SPACE

_RUN_HEADER = ("run", "accuracy", "95 % interval", "log loss", "ECE", "training", "a window", "size")
_PAIR_HEADER = ("pair", "points", "95 % interval", "p by groups", "p by clips", "clips needed", "")


def comparison_text(values: ComparisonValues) -> str:
    """Standings with costs, every pair, and who is ahead."""
    costs = {row["name"]: row for row in values.costs.to_dict("records")}
    runs = [_run_cells(row, costs[row["name"]]) for row in values.standings.to_dict("records")]
    pairs = [_pair_cells(row) for row in values.pairs.to_dict("records")]
    lines = [
        f"{values.n_clips} clips from {values.n_groups} groups, the same for every run",
        *(f"note: {printable(note)}" for note in values.notes),
        "",
        aligned([_RUN_HEADER, *runs]),
        "",
        aligned([_PAIR_HEADER, *pairs]),
        "",
        printable(verdict(values.standings, values.pairs).replace(THIN_SPACE, " ")),
    ]
    return "\n".join(lines)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest cell; the first to the left, the others to the right.

    >>> print(aligned([("a", "1"), ("bc", "10")]))
    a    1
    bc  10
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *rest]).rstrip())
    return "\n".join(lines)


def _run_cells(standing: Mapping[Any, Any], cost: Mapping[Any, Any]) -> list[str]:
    known = {name: None if pd.isna(value) else value for name, value in cost.items()}
    return [
        printable(standing["name"]),
        f"{100 * standing['accuracy']:.1f} %",
        f"{100 * standing['low']:.1f} to {100 * standing['high']:.1f}",
        f"{cost['log_loss']:.3f}",
        f"{100 * cost['ece']:.1f} %",
        "-" if known["train_s"] is None else f"{known['train_s']:.0f} s",
        "-" if known["latency_ms"] is None else f"{known['latency_ms']:.1f} ms",
        size_text(known["n_parameters"], known["n_support_vectors"]).replace(THIN_SPACE, " "),
    ]


def _pair_cells(pair: Mapping[Any, Any]) -> list[str]:
    return [
        f"{printable(pair['first'])} - {printable(pair['second'])}",
        f"{100 * pair['difference']:+.1f}",
        f"{100 * pair['low']:+.1f} to {100 * pair['high']:+.1f}",
        p_value(pair["p_groups_holm"]),
        p_value(pair["p_mcnemar_holm"]),
        "-" if pd.isna(pair["n_clips_needed"]) else f"{int(pair['n_clips_needed'])}",
        "clear" if pair["clear"] else "can be luck" if pair["difference"] else "level",
    ]
