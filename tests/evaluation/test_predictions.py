import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earshot.errors import DataError
from earshot.evaluation.predictions import Predictions, safe_cell, safe_frame

PROBS = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3], [0.5, 0.5, 0.0]], dtype=np.float32)
TARGETS = np.eye(3, dtype=np.float32)[[0, 2, 2, 1]]


def make(**changes):
    values = {
        "probs": PROBS,
        "classes": ("rain", "dog", "siren"),
        "clip_ids": ("a", "b", "c", "d"),
        "targets": TARGETS,
        "split": "oof",
        "groups": ("g1", "g1", "g2", "g3"),
    }
    return Predictions(**(values | changes))


def test_the_most_probable_class_is_predicted_and_the_first_of_equals_wins():
    predictions = make()
    assert predictions.predicted.tolist() == [0, 2, 1, 0]
    assert predictions.labels.tolist() == [0, 2, 2, 1]
    assert predictions.confidence.dtype == np.float32
    assert predictions.confidence.tolist() == pytest.approx([0.7, 0.8, 0.4, 0.5])


def test_it_is_frozen_and_stores_float32():
    predictions = make(probs=PROBS.astype(np.float64))
    assert predictions.probs.dtype == np.float32
    with pytest.raises(dataclasses.FrozenInstanceError):
        predictions.split = "test"


def test_the_frame_has_one_row_a_clip_and_one_column_a_class():
    frame = make().to_frame()
    assert list(frame.columns) == [
        "id", "group", "label", "predicted", "correct", "confidence", "p_rain", "p_dog", "p_siren",
    ]  # fmt: skip
    assert frame["label"].tolist() == ["rain", "siren", "siren", "dog"]
    assert frame["correct"].tolist() == [True, True, False, False]
    np.testing.assert_array_equal(frame[["p_rain", "p_dog", "p_siren"]].to_numpy(), PROBS)


def test_without_truth_the_frame_leaves_out_label_and_correct():
    frame = make(targets=None, groups=None).to_frame()
    assert list(frame.columns)[:3] == ["id", "predicted", "confidence"]


def test_several_labels_are_joined_by_semicolons():
    predictions = make(
        probs=[[0.9, 0.6, 0.1], [0.1, 0.2, 0.3]],
        targets=[[1, 1, 0], [0, 1, 0]],
        clip_ids=("a", "b"),
        groups=None,
        multilabel=True,
    )
    frame = predictions.to_frame()
    assert frame["label"].tolist() == ["rain;dog", "dog"]
    assert frame["predicted"].tolist() == ["rain;dog", ""]
    assert frame["correct"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"probs": np.where(np.float32(0.8) == PROBS, np.nan, PROBS)}, ("'b'", "nan", "diverged")),
        ({"probs": np.where(np.float32(0.8) == PROBS, np.inf, PROBS)}, ("'b'", "inf")),
        ({"probs": PROBS * 0.9}, ("'a'", "sum of probs", "multilabel=True")),
        ({"probs": PROBS[:3]}, ("shape of probs", "(3, 3)", "(4, 3)")),
        ({"probs": PROBS - 0.2}, ("probs", "[0, 1]")),
        ({"targets": TARGETS[:, :2]}, ("shape of targets",)),
        ({"targets": np.ones((4, 3))}, ("sum of targets", "multilabel=True")),
        ({"split": "dev"}, ("split", "'dev'", "oof")),
        ({"classes": ("rain", "rain", "dog")}, ("classes", "distinct")),
        ({"groups": ("g1",)}, ("number of groups", "one a clip (4)")),
    ],
)
def test_a_broken_rule_is_named_in_one_line(changes, words):
    with pytest.raises(DataError) as caught:
        make(**changes)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_scoring_without_truth_is_an_error_that_says_why():
    with pytest.raises(DataError, match="came without labels"):
        _ = make(targets=None).labels


def test_a_subset_keeps_rows_aligned_by_mask_and_by_indices():
    by_mask = make().subset(np.array([False, True, False, True]))
    by_index = make().subset([3, 1])
    assert by_mask.clip_ids == ("b", "d")
    assert by_index.clip_ids == ("d", "b")
    assert by_index.groups == ("g3", "g1")
    np.testing.assert_array_equal(by_index.probs, PROBS[[3, 1]])
    np.testing.assert_array_equal(by_index.targets, TARGETS[[3, 1]])
    assert len(make().subset(np.zeros(4, dtype=bool))) == 0
    assert len(make().subset([])) == 0


def test_a_mask_of_the_wrong_length_is_refused():
    with pytest.raises(DataError, match="shape of the mask"):
        make().subset(np.array([True]))


@given(cut=st.integers(0, 4))
def test_joining_the_two_halves_of_a_cut_restores_the_whole(cut):
    whole = make()
    joined = Predictions.join([whole.subset(np.arange(cut)), whole.subset(np.arange(cut, 4))])
    pd.testing.assert_frame_equal(joined.to_frame(), whole.to_frame())
    assert joined.split == "oof"


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ({}, "clip is 'a'"),
        ({"clip_ids": tuple("efgh"), "classes": ("x", "y", "z")}, "classes"),
        ({"clip_ids": tuple("efgh"), "split": "test"}, "split"),
        ({"clip_ids": tuple("efgh"), "targets": None}, "presence of targets"),
        ({"clip_ids": tuple("efgh"), "groups": None}, "presence of groups"),
    ],
)
def test_parts_that_do_not_belong_together_are_not_joined(other, word):
    with pytest.raises(DataError, match=word):
        Predictions.join([make(), make(**other)])


def test_joining_nothing_is_an_error():
    with pytest.raises(DataError, match="parts"):
        Predictions.join([])


@given(st.text(max_size=20))
def test_no_safe_cell_starts_like_a_formula_and_the_text_survives(text):
    safe = safe_cell(text)
    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert safe.removeprefix("'") == text.removeprefix("'")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_formula_starts_get_an_apostrophe(start):
    assert safe_cell(start + "cmd") == "'" + start + "cmd"


def test_a_safe_frame_guards_text_and_headers_and_leaves_numbers_alone():
    frame = pd.DataFrame(
        {
            "label": ["=1+1", "rain", None],
            "-kind": pd.Categorical(["@a", "b", "b"]),
            "score": [-1.5, 2.0, 3.0],
            "correct": [True, False, True],
        }
    )
    before = frame.copy()
    safe = safe_frame(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert list(safe.columns) == ["label", "'-kind", "score", "correct"]
    read = pd.read_csv(io.StringIO(safe.to_csv(index=False)))
    assert read["label"].tolist()[:2] == ["'=1+1", "rain"]
    assert read["label"].isna().tolist() == [False, False, True]
    assert read["'-kind"].tolist() == ["'@a", "b", "b"]
    assert read["score"].tolist() == [-1.5, 2.0, 3.0]


def test_a_safe_frame_takes_names_that_are_not_utf8():
    frame = pd.DataFrame({"path": pd.Series(["a\udcff.wav", "=b"], dtype=object)})
    assert safe_frame(frame)["path"].tolist() == ["a\udcff.wav", "'=b"]
