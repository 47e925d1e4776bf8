import base64
import hashlib
import json
import re

import pytest

from earshot.report.audited import AuditSummary
from earshot.report.html import render
from earshot.report.media import Embedding

from .clips_to_show import predicted, values

HOSTILE = "</script><script>alert(1)</script>"
FILE = '"><img src=x onerror=alert(1)>.wav'


def scripts(text):
    return re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL)


def test_only_the_pages_own_script_may_run():
    text = render(values(predicted()))
    (data_type, _), (own_type, own) = scripts(text)
    assert data_type == ' type="application/json" id="clips"'
    assert own_type == ""
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    directives = dict(each.split(" ", 1) for each in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == f"'sha256-{digest}'"
    assert directives["media-src"] == directives["img-src"] == "data:"
    assert not re.search(r"https?://|innerHTML|insertAdjacent|document\.write|eval\(", own)


def test_hostile_names_of_clips_classes_and_remarks_stay_text():
    predictions = predicted(("hum", HOSTILE, FILE), ids=[f"{i}{FILE}" for i in range(18)])
    audit = AuditSummary(n_clips=18, counts=[(HOSTILE, 3)], href="%22.html", remarks={})
    text = render(values(predictions, title=HOSTILE, audit=audit))
    assert len(scripts(text)) == 2
    assert "<img" not in text
    data = json.loads(scripts(text)[0][1])
    assert data["classes"] == ["hum", HOSTILE, FILE]
    assert data["clips"][0]["id"].endswith(FILE)


@pytest.mark.parametrize("max_mb", [0.12, 0.2, 0.5])
def test_the_page_keeps_to_its_size_and_says_what_it_left_out(max_mb):
    text = render(values(predicted(n=40), embedding=Embedding(max_mb=max_mb)))
    assert len(text.encode()) <= max_mb * 1e6
    assert f"To stay within {max_mb:g} MB" in text
    left_out = json.loads(scripts(text)[0][1])["left_out"]
    assert f"{left_out['sounds']} of" in text


def test_a_page_with_room_for_all_says_nothing_of_that_kind():
    text = render(values(predicted()))
    assert "To stay within" not in text
    assert "left out as asked" not in text
    assert "It holds recordings" in text


def test_sounds_that_are_left_out_are_said_to_be():
    text = render(values(predicted(), embedding=Embedding(sounds=False)))
    assert "Sounds were left out as asked" in text
    assert "It holds recordings" not in text


def test_every_cell_with_clips_is_a_button_that_says_what_it_opens():
    predictions = predicted()
    text = render(values(predictions))
    cells = re.findall(r'<button type="button" data-cell="(\d,\d)" data-n="(\d+)" aria-label="([^"]*)"', text)
    assert sum(int(n) for _, n, _ in cells) == len(predictions)
    listed = json.loads(scripts(text)[0][1])["cells"]
    assert {cell for cell, _, _ in cells} == set(listed)
    assert all("predicted as" in words for _, _, words in cells)


def test_an_audit_is_summed_up_and_its_absence_names_the_command():
    found = AuditSummary(n_clips=18, counts=[("clipped", 3), ("label", 1)], href="../audit/audit.html")
    text = render(values(predicted(), audit=found))
    assert "clipped (3), label (1)" in text
    assert '<a href="../audit/audit.html">Open the audit</a>' in text
    assert "<code>earshot audit</code>" in render(values(predicted()))
