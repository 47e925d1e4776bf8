from dataclasses import replace

from earshot.studies.everything import everything_tried
from earshot.studies.loading import read_study

from .conftest import answers, outcome, plain_study

HALF = [True, False] * 10
MOST = [True] * 15 + [False] * 5


def small(**changes):
    return read_study(plain_study(**changes))


def test_rows_are_ranked_and_compared_clip_by_clip_with_the_baseline():
    results = {"knn-1": outcome("knn-1", HALF), "knn-3": outcome("knn-3", MOST)}
    table = everything_tried(small(baseline="knn-1"), results)
    assert [line[0] for line in table.rows] == ["row knn-3", "row knn-1"]
    better, own = table.rows
    assert better[2] == "75.0"
    assert better[3].startswith("+25.0 (")
    assert own[3] == "–"


def test_damaged_clips_have_their_own_difference():
    first, second = outcome("knn-1", MOST), outcome("knn-3", MOST)
    results = {
        "knn-1": replace(first, spoiled={"gain": (answers(HALF),)}),
        "knn-3": replace(second, spoiled={"gain": (answers(MOST),)}),
    }
    table = everything_tried(small(baseline="knn-1"), results)
    line = next(line for line in table.rows if line[0] == "row knn-3")
    assert line[3].startswith("+0.0 (")
    assert line[4] == "75.0"
    assert line[5].startswith("+25.0 (")


def test_without_a_baseline_there_is_no_table():
    assert everything_tried(small(), {"knn-1": outcome("knn-1", HALF)}) is None
    assert everything_tried(small(baseline="knn-1"), {}) is None
