"""A study as one HTML page and one Markdown file: values in, text out; nothing is computed but what is said of it.

Conventions: the page holds no script and asks for nothing from outside; every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jinja2
import numpy as np
from numpy.typing import ArrayLike

from earshot.report.plots import as_percent
from earshot.studies.spec import Mistake
from earshot.studies.tables import Table, as_markdown
from earshot.studies.verdicts import Verdict

_SHARES_SHOWN = 0.5  # percent; less is left blank in a matrix


@dataclass(frozen=True)
class Drawing:
    """A figure for the page: <svg> elements of our own side by side, or a PNG's data address; `words` say what."""

    words: str
    svgs: tuple[str, ...] = ()
    png: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix for the page: counts [K, K], row = true class."""

    title: str
    classes: tuple[str, ...]
    counts: ArrayLike


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """What the page shows.

    Args:
        warnings: what must be known before any figure is read: a quick run, the book's protocol.
        groups: what intervals are drawn over.
        steps: label, published, ours (percent or None) and which row, of the progress table.
        layers: name, number of parameters and layer list of each network, as text.
    """

    name: str
    title: str
    source: str
    about: str
    protocol: str
    created: str
    command: str
    tables: Sequence[Table]
    groups: str = "source recordings"
    steps: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    verdicts: Sequence[Verdict] = ()
    mistakes: Sequence[Mistake] = ()
    figures: Sequence[Drawing] = ()
    matrices: Sequence[Matrix] = ()
    layers: Sequence[tuple[str, str, str]] = ()
    environment: Sequence[tuple[str, str]] = ()


def render(page: StudyPage) -> str:
    """The page as text."""
    shown = {**page.__dict__, "matrices": [_matrix_view(matrix) for matrix in page.matrices]}
    return _template().render(page=shown)


@cache
def _template() -> jinja2.Template:
    world = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return world.from_string(resources.files("earshot.studies").joinpath("study.html.j2").read_text("utf-8"))


def _matrix_view(matrix: Matrix) -> dict[str, Any]:
    share = as_percent(np.asarray(matrix.counts, dtype=np.int64))
    rows = [
        {
            "label": name,
            "cells": [_cell(float(share[i, j]), right=i == j) for j in range(len(matrix.classes))],
        }
        for i, name in enumerate(matrix.classes)
    ]
    return {"title": matrix.title, "classes": matrix.classes, "rows": rows}


def _cell(share: float, *, right: bool) -> dict[str, Any]:
    # Shades stay light enough for the text colour of both themes to be read on them.
    shown = f"{math.floor(share + 0.5)}" if share >= _SHARES_SHOWN else ""
    return {"share": shown, "opacity": f"{0.12 + 0.5 * share / 100:.2f}", "right": right}


def markdown(page: StudyPage) -> str:
    """Tables, trends and mistakes as Markdown, without figures."""
    warnings = [f"> {text}\n" for text in page.warnings]
    head = [
        f"# {page.title}\n",
        f"After {page.source}. {page.created}, protocol `{page.protocol}`.\n",
        *warnings,
        f"{page.about}\n",
        *(f"- {note}" for note in page.notes),
        "",
    ]
    trends = [f"- **{v.answer}**: {v.claim.text} {v.numbers}." for v in page.verdicts]
    mistakes = [f"- **{m.what}** {m.cost} Here: {m.here}" for m in page.mistakes]
    parts = [*head, *(as_markdown(table) for table in page.tables)]
    if trends:
        parts += ["## Trends that the source states\n", *trends, ""]
    if mistakes:
        parts += ["## What the source got wrong\n", *mistakes, ""]
    return "\n".join([*parts, "## Do it again\n", f"    {page.command}", ""])
