from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earshot.data import fields


@given(st.text(st.characters(), max_size=20))
def test_an_escaped_cell_comes_back_and_is_no_formula(text: str) -> None:
    cell = fields.escape_cell(text)
    assert fields.unescape_cell(cell) == text
    assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r")


@given(st.binary(max_size=30))
def test_any_file_name_becomes_printable_utf8_and_stays_so(name: bytes) -> None:
    text = fields.printable(name.decode("utf-8", "surrogateescape"))
    assert text.isprintable()
    text.encode("utf-8")
    assert fields.printable(text) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        (pd.NA, ""),
        (np.float32("nan"), ""),
        (3.0, "3"),
        (2.5, "2.5"),
        ("NA", "NA"),
    ],
)
def test_cells_become_text(value: object, text: str) -> None:
    assert fields.text_of(value) == text


def test_a_label_is_one_spelling() -> None:
    assert fields.clean_label(" dog ;cat;dog; ") == "dog;cat"
    assert fields.clean_label("cafe\u0301") == fields.clean_label("caf\u00e9")


@pytest.mark.parametrize("label", ["a/b", "a\\b", "a\0b", ".", ".."])
def test_labels_that_cannot_name_a_folder_are_faults(label: str) -> None:
    assert fields.label_fault(label)


@pytest.mark.parametrize("label", ["...", "<script>", "=1+1", "@x", "Łoś 3", "a.b"])
def test_any_other_label_is_free_text(label: str) -> None:
    assert not fields.label_fault(label)
