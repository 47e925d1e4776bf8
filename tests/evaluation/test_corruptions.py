import json
from dataclasses import replace

import numpy as np
import pytest

from earshot.errors import DataError
from earshot.evaluation.corruptions import (
    CorruptionScores,
    clips_digest,
    mean_corruption_error,
    score_corruptions,
)
from earshot.evaluation.metrics import summarise
from earshot.evaluation.predictions import Predictions

SCORES = CorruptionScores(
    0.9, {"noise": (0.8, 0.6), "speed": (0.7, 0.3), "gain": (0.9, 0.9)}, frozenset({"speed", "gain"})
)


def answers(right, *, groups=None, ids="clip"):
    """Predictions of two classes that are right where `right` says so."""
    right = np.asarray(right, dtype=bool)
    labels = np.arange(len(right)) % 2
    said = np.where(right, labels, 1 - labels)
    probs, targets = np.eye(2, dtype=np.float32)[said], np.eye(2, dtype=np.float32)[labels]
    names = tuple(f"{ids} {i}" for i in range(len(right)))
    return Predictions(probs, ("a", "b"), clip_ids=names, targets=targets, groups=groups)


def test_a_digest_tells_clips_and_labels_but_not_their_order_or_other_classes():
    here = answers([1, 1, 0, 1])
    wider = replace(
        here,
        probs=np.c_[here.probs, np.zeros(4, np.float32)],
        targets=np.c_[here.targets, np.zeros(4, np.float32)],
        classes=("a", "b", "never"),
    )
    same = (here.subset([2, 0, 3, 1]), answers([0, 0, 0, 0]), wider)
    assert {clips_digest(each) for each in same} == {clips_digest(here)}
    turned = replace(here, targets=here.targets[:, ::-1])
    others = (answers([1, 1, 0, 1], ids="other"), here.subset([0, 1, 2]), turned)
    assert len({clips_digest(each) for each in (here, *others)}) == 4


def test_accuracies_are_counted_by_hand():
    scores = score_corruptions(
        answers([1, 1, 1, 0]),
        {
            "noise": [answers([1, 1, 0, 0]), answers([0, 0, 0, 0])],
            "gain": [answers([1, 1, 1, 0]), answers([1, 1, 1, 1])],
        },
        held_out=("gain", "reverberation"),
        rng=np.random.default_rng(0),
    )
    assert scores.clean == 0.75
    assert scores.accuracy == {"noise": (0.5, 0.0), "gain": (0.75, 1.0)}
    assert scores.held_out == {"gain"}
    assert scores.n_clips == 4
    assert scores.means == {"noise": 0.25, "gain": 0.875}


def test_means_are_over_corruptions_and_over_the_held_out_ones_alone():
    assert SCORES.mean == pytest.approx((0.7 + 0.5 + 0.9) / 3)
    assert SCORES.mean_held_out == pytest.approx((0.5 + 0.9) / 2)
    assert SCORES.relative == pytest.approx(0.7 / 0.9)
    assert SCORES.worst == "speed"
    assert CorruptionScores(0.0, {"noise": (0.0,)}).relative is None
    assert CorruptionScores(0.9, {"noise": (0.5,)}).mean_held_out is None


def test_accuracy_with_several_labels_is_that_of_the_metrics(make):
    [clips] = make(multilabel=True, n_clips=200)
    scores = score_corruptions(clips, {"none": [clips]}, rng=np.random.default_rng(0))
    assert (
        scores.clean
        == scores.accuracy["none"][0]
        == summarise(clips, rng=np.random.default_rng(0))["accuracy"]
    )


def test_the_interval_widens_where_clips_of_a_group_fail_together():
    right = np.repeat(np.arange(20) % 2, 10)
    groups = tuple(f"g{i // 10}" for i in range(200))
    together, apart = (
        score_corruptions(
            answers(right, groups=each),
            {"noise": [answers(right, groups=each)]},
            rng=np.random.default_rng(0),
        )
        for each in (groups, None)
    )
    assert together.mean == apart.mean == 0.5
    low, high = together.interval
    assert low < 0.5 < high
    assert (high - low) > 2.5 * (apart.interval[1] - apart.interval[0])  # sqrt(10), as groups are of 10


def test_one_group_or_perfect_answers_claim_no_certainty():
    one_group = ("g",) * 4
    mixed = answers([1, 0, 1, 0], groups=one_group)
    assert score_corruptions(mixed, {"x": [mixed]}, rng=np.random.default_rng(0)).interval == (0.0, 1.0)
    low, high = score_corruptions(
        answers([1] * 10), {"x": [answers([1] * 10)]}, rng=np.random.default_rng(0)
    ).interval
    assert (round(low, 3), high) == (0.722, 1.0)  # Wilson's, of 10 in 10


def test_the_interval_holds_the_score_where_every_clip_is_as_often_right():
    right, wrong = answers([1] * 30), answers([0] * 30)
    scores = score_corruptions(right, {"x": [right, wrong]}, rng=np.random.default_rng(0))
    low, high = scores.interval
    assert scores.mean == 0.5
    assert (round(low, 3), round(high, 3)) == (0.332, 0.668)  # Wilson's, of 15 in 30
    alone = score_corruptions(answers([1]), {"x": [answers([1]), answers([0])]}, rng=np.random.default_rng(0))
    assert alone.interval == (0.0, 1.0)


def test_other_clips_than_the_clean_ones_are_refused():
    damaged = {"noise": [answers([1, 0]), answers([1, 0], ids="other")]}
    with pytest.raises(DataError, match="noise 2: clips is '2 clips'; expected the 2 clean clips"):
        score_corruptions(answers([1, 1]), damaged, rng=np.random.default_rng(0))


def test_no_clip_is_refused():
    with pytest.raises(DataError, match="number of clips is 0"):
        score_corruptions(answers([]), {"noise": [answers([])]}, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    "accuracy", [{}, {"a": ()}, {"a": (0.5,), "b": (0.5, 0.4)}, {"a": (1.2,)}, {"a": (np.nan,)}]
)
def test_accuracies_that_make_no_table_are_refused(accuracy):
    with pytest.raises(DataError, match="corruption scores: accuracy is"):
        CorruptionScores(0.9, accuracy)


def test_a_held_out_name_that_is_not_in_the_suite_is_refused():
    with pytest.raises(DataError, match="held out is 'hiss'"):
        CorruptionScores(0.9, {"noise": (0.5,)}, frozenset({"hiss"}))


def test_the_mean_corruption_error_is_the_papers():
    """Two corruptions by hand: (0.6 / 1.0 + 1.0 / 0.8) / 2, and with the clean errors 0.1 and 0.2 taken off."""
    model = CorruptionScores(0.9, {"noise": (0.8, 0.6), "speed": (0.7, 0.3)})
    baseline = CorruptionScores(0.8, {"noise": (0.6, 0.4), "speed": (0.7, 0.5), "gain": (0.1, 0.1)})
    errors = mean_corruption_error(model, baseline)
    assert errors.each == pytest.approx({"noise": 0.6 / 1.0, "speed": 1.0 / 0.8})
    assert errors.mean == pytest.approx((0.6 + 1.25) / 2)
    assert errors.relative_each == pytest.approx({"noise": 0.4 / 0.6, "speed": 0.8 / 0.4})
    assert errors.relative_mean == pytest.approx((0.4 / 0.6 + 2.0) / 2)


def test_corruptions_without_a_ratio_are_named_and_the_mean_is_over_the_others():
    model = CorruptionScores(0.9, {"noise": (0.5,), "gain": (0.8,), "speed": (0.7,)})
    baseline = CorruptionScores(0.9, {"noise": (0.7,), "gain": (0.9,), "speed": (1.0,)})
    errors = mean_corruption_error(model, baseline)
    assert errors.without == ("speed",)  # the baseline makes no error
    assert errors.without_relative == ("gain", "speed")  # it is no worse than on clean clips
    assert errors.mean == pytest.approx((0.5 / 0.3 + 0.2 / 0.1) / 2)
    assert errors.relative_mean == pytest.approx(0.4 / 0.2)
    written = json.loads(json.dumps(errors.to_dict()))
    assert written["without"] == ["speed"]
    assert written["mce"] == errors.mean


def test_a_model_beside_itself_has_an_error_of_one():
    errors = mean_corruption_error(SCORES, SCORES)
    assert errors.mean == pytest.approx(1)
    assert errors.relative_mean == pytest.approx(1)
    assert set(errors.each) == {"noise", "speed", "gain"}
    assert set(errors.relative_each) == {"noise", "speed"}  # gain costs nothing: no ratio


def test_a_baseline_without_error_has_no_ratio():
    perfect = CorruptionScores(1.0, {"noise": (1.0, 1.0)})
    errors = mean_corruption_error(CorruptionScores(1.0, {"noise": (0.5, 0.5)}), perfect)
    assert (errors.each, errors.mean, errors.relative_mean) == ({}, None, None)


def test_a_baseline_with_another_suite_is_refused():
    with pytest.raises(DataError, match="corruption is 'speed'"):
        mean_corruption_error(SCORES, CorruptionScores(0.9, {"noise": (0.5, 0.5)}))
    with pytest.raises(DataError, match="severities is 1"):
        mean_corruption_error(CorruptionScores(0.9, {"noise": (0.5,)}), SCORES)


def test_scores_return_whole_from_json():
    scores = CorruptionScores(0.9, SCORES.accuracy, SCORES.held_out, (0.6, 0.8), 40)
    assert CorruptionScores.from_dict(json.loads(json.dumps(scores.to_dict()))) == scores
    assert scores.to_dict()["worst"] == "speed"
    with pytest.raises(DataError, match="an evaluation with corruptions"):
        CorruptionScores.from_dict({"clean": 0.9})


def test_the_frame_has_a_row_for_each_severity_and_the_clean_clips_first():
    frame = SCORES.to_frame()
    assert len(frame) == 1 + 3 * 2
    assert frame.iloc[0].to_dict() == {
        "corruption": "clean", "severity": 0, "accuracy": 0.9, "lost": 0.0, "held_out": False
    }  # fmt: skip
    row = frame[(frame["corruption"] == "speed") & (frame["severity"] == 2)].iloc[0]
    assert (row["accuracy"], row["held_out"]) == (0.3, True)
    assert row["lost"] == pytest.approx(0.6)


def test_the_table_has_a_row_a_corruption_worst_first():
    table = SCORES.to_table()
    assert list(table.columns) == ["corruption", "1", "2", "mean", "held_out"]
    assert table["corruption"].tolist() == ["speed", "noise", "gain"]
    assert table["mean"].tolist() == pytest.approx([0.5, 0.7, 0.9])
