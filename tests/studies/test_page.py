import re

import numpy as np
import pytest

from earshot.studies.page import Drawing, Matrix, StudyPage, markdown, render
from earshot.studies.spec import Claim, Mistake
from earshot.studies.tables import Table
from earshot.studies.verdicts import Verdict

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture
def make():
    """`make(**changes)`: a page with something of everything."""

    def build(**changes):
        claim = Claim(text="Nets win.", kind="higher", left="net", right="knn-1")
        values = {
            "name": "small",
            "title": "A small study",
            "source": "nobody",
            "about": "About it.",
            "protocol": "grouped",
            "created": "today",
            "command": "earshot study small",
            "tables": [Table("All rows", "Of all.", ("", "published", "ours"), (("net", "70", "65.5"),))],
            "warnings": ["A quick run."],
            "notes": ["18 clips"],
            "verdicts": [Verdict(claim, "confirmed", "65.5 against 50.0")],
            "mistakes": [Mistake(what="By file.", cost="Siblings.", here="Folds.")],
            "figures": [
                Drawing("A curve.", svgs=("<svg id='curve'></svg>",)),
                Drawing("A grid.", png="data:image/png;base64,AA"),
            ],
            "matrices": [Matrix("net, held-out", ("yes", "no"), np.array([[3, 1], [0, 0]]))],
            "layers": [("net", "1,234", "Linear  10 x 2")],
            "environment": [("torch", "2")],
        }
        return StudyPage(**(values | changes))

    return build


def test_everything_is_on_the_page(make):
    page = render(make())
    for text in (
        *("A small study", "About it.", "A quick run.", "18 clips", "65.5", "confirmed", "65.5 against 50.0"),
        *("By file.", "Siblings.", "Folds.", "<svg id='curve'></svg>", "A grid.", "1,234", "Linear  10 x 2"),
        "earshot study small",
    ):
        assert text in page


@pytest.mark.parametrize("field", ["title", "source", "about", "protocol", "command", "created"])
def test_hostile_text_stays_text(make, field):
    page = render(make(**{field: HOSTILE}))
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


def test_hostile_labels_stay_text_in_every_part(make):
    table = Table(HOSTILE, HOSTILE, ("", HOSTILE), ((HOSTILE, HOSTILE),))
    page = render(
        make(
            tables=[table],
            notes=[HOSTILE],
            warnings=[HOSTILE],
            matrices=[Matrix(HOSTILE, (HOSTILE,), np.ones((1, 1)))],
            layers=[(HOSTILE, HOSTILE, HOSTILE)],
            environment=[(HOSTILE, HOSTILE)],
            figures=[Drawing(HOSTILE, png="data:,")],
        )
    )
    assert "<script" not in page


def test_the_page_loads_nothing(make):
    page = render(make())
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "@import" not in page


def test_a_matrix_is_in_percent_of_the_true_class_and_an_empty_class_is_blank(make):
    page = render(make())
    matrix = page[page.index('<table class="matrix">') :]
    assert re.findall(r"<em>(\d+)</em>", matrix[: matrix.index("</table>")]) == ["75", "25"]


def test_the_progress_is_drawn_with_both_figures(make):
    steps = [
        {"label": "Forest", "published": 34.4, "ours": 31.25, "which": "500 trees"},
        {"label": "Swarm", "published": 81.1, "ours": None, "which": ""},
    ]
    page = render(make(steps=steps))
    assert "width:31.2%" in page
    assert "width:81.1%" in page
    assert "500 trees" in page


def test_markdown_has_tables_trends_and_mistakes(make):
    document = markdown(make())
    assert "| net | 70 | 65.5 |" in document
    assert "- **confirmed**: Nets win. 65.5 against 50.0." in document
    assert "- **By file.** Siblings. Here: Folds." in document
    assert "> A quick run." in document
