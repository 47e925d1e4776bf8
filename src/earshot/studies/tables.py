"""Tables of a study: our figures beside the published ones, as values, as plain text and as Markdown.

Conventions: every cell is text; a figure is percent with one decimal unless the row's unit is a loss; an en dash
stands for what is not there. `±` is the standard error of the mean over runs; a range is a 95 % interval over
source recordings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from earshot.evaluation.statistics import mean_and_error
from earshot.studies.outcome import RowResult
from earshot.studies.spec import Published, Row, Section, Step, Study
from earshot.training.history import BestEpoch, best_of

NOTHING = "–"
TEXT_COLUMNS = ("note", "which")

Results = Mapping[str, RowResult]


@dataclass(frozen=True)
class Table:
    """A heading, column names and rows of text; the first column names the row."""

    title: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def study_tables(study: Study, results: Results, *, seed: int) -> list[Table]:
    """The progress table, then a table a section."""
    tables = [progress_table(study.ladder, study, results)] if study.ladder else []
    for section in study.sections:
        rows = [row for row in study.rows if row.section == section.id]
        found = [results[row.id] for row in rows if row.id in results]
        if found:
            tables.append(
                grid_table(section, rows, found) if section.grid else list_table(section, found, seed=seed)
            )
    return tables


def list_table(section: Section, results: Sequence[RowResult], *, seed: int) -> Table:
    """A row a line; columns that nobody fills are left out."""
    columns = {
        "": [result.row.label for result in results],
        "published": [published_text(result.row.published) for result in results],
        "ours": [ours_text(result) for result in results],
        "spread": [spread_text(result, seed=seed) for result in results],
        "published a clip": [published_text(result.row.published_clip) for result in results],
        "ours a clip": [ours_text(result.per_clip()) if result.clips else NOTHING for result in results],
        "spread of clips": [spread_text(result.per_clip(), seed=seed) for result in results],
        "learned from": [training_text(result) for result in results],
        "lowest held-out loss (epoch, accuracy there)": [lowest_text(result) for result in results],
        "parameters": [parameters_text(result) for result in results],
        "time": [_time_text(result.seconds) for result in results],
        "note": [_note(result) for result in results],
    }
    filled = {name: cells for name, cells in columns.items() if name in ("", "ours") or _any(cells)}
    rows = tuple(zip(*filled.values(), strict=True))
    return Table(section.title, section.about, tuple(filled), rows)


def grid_table(section: Section, rows: Sequence[Row], results: Sequence[RowResult]) -> Table:
    """Lines and columns by the rows' `cell`; each cell "ours (published)", ours a dash where it was not run."""
    found = {result.row.id: result for result in results}
    cells = {row.cell: _pair_text(row, found.get(row.id)) for row in rows if row.cell}
    lines = list(dict.fromkeys(line for line, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    texts = [(str(line), *(cells.get((line, column), NOTHING) for column in columns)) for line in lines]
    failed = [f"{r.row.label}: {r.reason}" for r in results if r.reason]
    about = " ".join([section.about, "Each cell: ours (published).", *failed]).strip()
    return Table(section.title, about, (section.grid, *map(str, columns)), tuple(texts))


def progress_table(steps: Sequence[Step], study: Study, results: Results) -> Table:
    """The best row of each step: what the steps of the source bring."""
    rows = []
    for step, best in ladder(steps, study, results):
        ours = ours_text(best) if best else NOTHING
        rows.append((step.label, f"{step.published:.1f}", ours, best.row.label if best else NOTHING))
    about = (
        "The best row of each step, chosen on the clips it is judged on, there as here: a little flattering."
    )
    return Table("Progress", about, ("", "published", "ours", "which"), tuple(rows))


def ladder(steps: Sequence[Step], study: Study, results: Results) -> list[tuple[Step, RowResult | None]]:
    """Each step with its best row, None where no row of it has a figure."""
    found = []
    for step in steps:
        there = [results[row.id] for row in study.matching(step.rows) if row.id in results]
        judged = [result for result in there if result.accuracy is not None]
        found.append((step, max(judged, key=lambda r: r.accuracy or 0.0, default=None)))
    return found


def published_text(published: Published | None) -> str:
    """`75.54 ± 0.92`."""
    if published is None:
        return NOTHING
    return f"{published.mean:g}" + ("" if published.se is None else f" ± {published.se:g}")


def ours_text(result: RowResult) -> str:
    """Mean over the runs; a loss for the toy regression; nothing where the row failed."""
    if result.row.unit == "loss":
        loss = result.last("test_loss")
        return NOTHING if loss is None else f"{loss:.4f}"
    return NOTHING if result.accuracy is None else f"{100 * result.accuracy:.1f}"


def spread_text(result: RowResult, *, seed: int) -> str:
    """Standard error over runs where there are several, else the interval over source recordings."""
    if len(result.accuracies) > 1:
        _, error = mean_and_error(result.accuracies)
        return f"± {100 * error:.2f}, {len(result.accuracies)} runs"
    interval = result.interval(seed=seed)
    return NOTHING if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def training_text(result: RowResult) -> str:
    """Accuracy on what was learned from: by the final weights where asked for, else over the last epoch."""
    share = learned(result)
    return NOTHING if share is None else f"{100 * share:.1f}"


def learned(result: RowResult) -> float | None:
    """Accuracy on what was learned from."""
    counts = result.training_confusion
    if counts is not None:
        return float(np.trace(counts) / counts.sum())
    return result.last("train_accuracy")


def lowest(result: RowResult) -> BestEpoch | None:
    """Minimum held-out loss, its epoch, accuracy there, of the curve that is the mean over runs and folds."""
    losses, accuracies = (dict(result.curve(key)) for key in ("test_loss", "test_accuracy"))
    if not losses:
        return None
    rows: list[dict[str, float]] = [{"epoch": epoch, "test_loss": loss} for epoch, loss in losses.items()]
    for row in rows:
        if int(row["epoch"]) in accuracies:
            row["test_accuracy"] = accuracies[int(row["epoch"])]
    return best_of(rows, "test_loss")


def lowest_text(result: RowResult) -> str:
    """`1.234 (12, 45.0)`; it describes the curve, no weights were chosen by it."""
    best = lowest(result)
    if best is None:
        return NOTHING
    there = "" if best.accuracy is None else f", {100 * best.accuracy:.1f}"
    return f"{best.loss:.4f} ({best.epoch}{there})"


def parameters_text(result: RowResult) -> str:
    """Of one network."""
    return NOTHING if result.n_parameters is None else f"{result.n_parameters:,}"


def as_text(table: Table) -> str:
    """For a console: columns aligned, figures to the right."""
    lines = [table.columns, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]

    def drawn(line: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if i == 0 or table.columns[i] in TEXT_COLUMNS else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([table.title, drawn(table.columns), rule, *(drawn(row) for row in table.rows)])


def as_markdown(table: Table) -> str:
    """For a document; bars in cells are escaped."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    is_text = [i == 0 or name in TEXT_COLUMNS for i, name in enumerate(table.columns)]
    rule = "|" + "|".join(":--" if text else "--:" for text in is_text) + "|"
    about = [table.about, ""] if table.about else []
    return "\n".join([f"## {table.title}", "", *about, line(table.columns), rule, *map(line, table.rows), ""])


def _pair_text(row: Row, result: RowResult | None) -> str:
    ours = NOTHING if result is None else "failed" if result.reason else ours_text(result)
    return f"{ours} ({published_text(row.published)})"


def _note(result: RowResult) -> str:
    """Why there are no figures, or what is to be said of them; another size than the published one is said too."""
    ours, theirs = result.n_parameters, result.row.published_parameters
    size = f"published with {theirs:,} parameters" if theirs and ours and theirs != ours else ""
    return result.reason or "; ".join(t for t in (result.row.note, result.note, size) if t) or NOTHING


def _any(cells: Sequence[str]) -> bool:
    return any(cell not in (NOTHING, "") for cell in cells)


def _time_text(seconds: float) -> str:
    if seconds == 0:
        return NOTHING
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
