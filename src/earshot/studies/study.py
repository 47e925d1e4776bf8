"""A study from its name to its tables and its page: the one function that the command line calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from earshot.data.fields import printable
from earshot.deploy.bundle import environment
from earshot.errors import EarshotError
from earshot.runfolder import RunFolder
from earshot.studies.data import facts
from earshot.studies.everything import everything_tried
from earshot.studies.illustrate import drawings, layers_of, matrices
from earshot.studies.loading import load_study
from earshot.studies.page import StudyPage, markdown, render
from earshot.studies.request import StudyRun
from earshot.studies.runner import StudyResult, run_rows
from earshot.studies.spoil_table import hurts_most, spoil_table
from earshot.studies.tables import Table, as_text, ladder, study_tables
from earshot.studies.verdicts import verdicts


@dataclass(frozen=True)
class FinishedStudy:
    """What was written, and the tables as text for a console."""

    text: str
    page: Path
    markdown: Path
    n_failed: int


def run_study(asked: StudyRun) -> FinishedStudy:
    """Runs a study, or what is missing of it, and writes its page and its Markdown.

    Files are called after the protocol: `grouped.html`, `grouped.md`, with `-quick` for a quick run.

    Raises:
        EarshotError: what is asked for is not there, or another process works in the folder.
    """
    if isinstance(asked.study, str):
        asked = replace(asked, study=load_study(asked.study))  # before a folder is made for a name mistyped
    is_new = not asked.folder.exists()
    folder = RunFolder(asked.folder)
    with folder.locked():
        try:
            result = run_rows(asked, folder)
        except EarshotError:
            if is_new:
                folder.remove_if_empty()
            raise
        page = page_of(result, asked)
        name = result.protocol + ("-quick" if asked.quick else "")
        folder.write(f"{name}.html", render(page).encode("utf-8", errors="backslashreplace"))
        folder.write(f"{name}.md", markdown(page).encode("utf-8", errors="backslashreplace"))
    return FinishedStudy(
        text=console_text(page),
        page=folder.root / f"{name}.html",
        markdown=folder.root / f"{name}.md",
        n_failed=sum(bool(row.reason) for row in result.results.values()),
    )


def console_text(page: StudyPage) -> str:
    """Tables and trends for a console."""
    trends = [f"{v.answer}: {v.claim.text} {v.numbers}." for v in page.verdicts]
    parts = [*page.warnings, *(as_text(table) for table in page.tables)]
    return "\n\n".join([*parts, "\n".join(["Trends that the source states", *trends])] if trends else parts)


def page_of(result: StudyResult, asked: StudyRun) -> StudyPage:
    """Everything that the page shows, computed."""
    study = result.study
    steps = [
        {
            "label": step.label,
            "published": step.published,
            "ours": None if best is None or best.accuracy is None else 100 * best.accuracy,
            "which": "" if best is None else best.row.label,
        }
        for step, best in ladder(study.ladder, study, result.results)
    ]
    return StudyPage(
        name=study.name,
        title=study.title,
        source=study.source,
        about=study.about,
        groups=study.groups,
        protocol=result.protocol,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=asked.command or f"earshot study {study.name}",
        tables=_tables(result),
        steps=steps,
        warnings=_warnings(result, asked),
        notes=_notes(result),
        verdicts=verdicts(study, result.results, seed=study.seed, quick=asked.quick),
        mistakes=study.mistakes,
        figures=drawings(result),
        matrices=matrices(result),
        layers=layers_of(result),
        environment=list((environment() | {"device": result.device}).items()),
    )


def _tables(result: StudyResult) -> list[Table]:
    """The sections, what is left on spoiled clips, and everything together."""
    study, results = result.study, result.results
    last = (spoil_table(study, results), everything_tried(study, results))
    tables = study_tables(study, results, seed=study.seed)
    return [*tables, *(table for table in last if table is not None)]


def _warnings(result: StudyResult, asked: StudyRun) -> list[str]:
    """What must be known before a figure is read."""
    said = []
    if asked.quick:
        said.append(
            "This is a quick run: a fraction of the clips, copies, folds and epochs. It shows that every row "
            "works; its figures, trends included, say nothing about the methods."
        )
    if result.protocol == "book":
        said.append("This run repeats the source with its mistakes; see below what they cost.")
    failed = [row.row.label for row in result.results.values() if row.reason]
    if failed:
        said.append(f"Rows without figures: {', '.join(failed)}. The tables say why.")
    missing = len(result.study.rows) - len(result.results)
    if missing:
        rows = "1 row of the study was" if missing == 1 else f"{missing} rows of the study were"
        said.append(f"{rows} not run yet.")
    return said


def _notes(result: StudyResult) -> Sequence[str]:
    notes = [result.study.protocols[result.protocol].about]
    if result.data is None:
        return notes
    sizes = ", ".join(f"{n} {name}" for name, n in facts(result.data, groups=result.study.groups).items())
    judged = ", ".join(fold.name for fold in result.data.folds)
    copies = result.study.n_variants
    folder = printable(result.data.source)
    notes.append(f"Data: folder {folder}, {sizes}. Judged: {judged}.")
    if copies > 1:
        who = (
            "Each clip stands"
            if all(row.variants for row in result.study.rows)
            else "In some rows each clip stands"
        )
        notes.append(f"{who} with {copies - 1} augmented copies; only their features are kept.")
    if result.bench.spoiled is not None:
        notes += result.bench.spoiled.notes
    if hurts := hurts_most(result.study, result.results):
        notes.append(hurts)
    return [*notes, *(printable(note) for note in result.data.notes)]
