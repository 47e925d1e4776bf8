import pandas as pd
import pytest

from earshot.report.audited import find_audit


def write(folder, rows, *, page=False):
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "audit.csv", index=False)
    if page:
        (folder / "audit.html").write_text("page")


ROWS = [
    {"id": "a.wav", "issues": "", "suggested_label": ""},
    {"id": "b.wav", "issues": "label;clipped", "suggested_label": "rain"},
    {"id": "'=c.wav", "issues": "clipped", "suggested_label": ""},
]
IDS = ("a.wav", "b.wav", "=c.wav")


def test_an_audit_of_the_same_clips_is_summed_up_and_linked(tmp_path):
    write(tmp_path / "audit #1", ROWS, page=True)
    found = find_audit([tmp_path, tmp_path / "audit #1"], ids=IDS, seen_from=tmp_path / "run")
    assert found.n_clips == 3
    assert list(found.counts) == [("clipped", 2), ("label", 1)]
    assert found.href == "../audit%20%231/audit.html"
    assert found.remarks["b.wav"] == ["the audit doubts this label: “rain”?", "audit: clipped"]
    assert found.remarks["=c.wav"] == ["audit: clipped"]


def test_an_audit_of_other_clips_is_not_taken_for_one_of_these(tmp_path):
    write(tmp_path, ROWS)
    assert find_audit([tmp_path], ids=("a.wav", *(f"{i}.wav" for i in range(20))), seen_from=tmp_path) is None


@pytest.mark.parametrize("text", ["", "id\n", "id,issues\na.wav\n", "x,y\n1,2\n", "id,issues\n\0\n"])
def test_a_file_that_is_no_audit_is_passed_over(tmp_path, text):
    (tmp_path / "audit.csv").write_text(text)
    assert find_audit([tmp_path], ids=("a.wav",), seen_from=tmp_path) is None


def test_no_audit_is_no_error(tmp_path):
    assert find_audit([tmp_path / "none"], ids=IDS, seen_from=tmp_path) is None
