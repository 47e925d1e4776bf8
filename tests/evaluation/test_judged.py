import json

import numpy as np
import pytest

from earshot.evaluation.calibration import Temperature
from earshot.evaluation.decisions import DecisionsConfig, fit_decisions
from earshot.evaluation.judged import Judged, answer_scores, cross_judged

CONFIG = DecisionsConfig(wanted_precisions=(0.6, 0.9))


def test_each_fold_is_answered_by_what_the_others_taught(make, folds_of):
    members = make(n_members=2, n_clips=300, sharpness=2.0)
    folds = folds_of(300, 3)
    judged = cross_judged(members, folds, methods=["temperature"] * len(folds), config=CONFIG)
    others = np.concatenate(folds[1:])
    fitted = fit_decisions(
        [each.subset(np.sort(others)) for each in members], method="temperature", config=CONFIG
    )
    alone = fitted.probs(np.stack([each.probs[folds[0]] for each in members]), multilabel=False)
    np.testing.assert_array_equal(judged.predictions.probs[folds[0]], alone)
    np.testing.assert_array_equal(judged.sets[folds[0]], fitted.sets.apply(alone))
    np.testing.assert_array_equal(judged.said[0.9][folds[0]], fitted.thresholds[1].apply(alone))
    assert isinstance(fitted.calibrator, Temperature)


def test_a_folds_own_labels_change_nothing_in_it(make, folds_of):
    [clips] = make(n_clips=200)
    folds = folds_of(200)
    before = cross_judged([clips], folds, methods=["vector"] * len(folds), config=CONFIG)
    targets = clips.targets.copy()
    targets[folds[1]] = np.roll(targets[folds[1]], 1, axis=1)
    lied = type(clips)(clips.probs, clips.classes, clip_ids=clips.clip_ids, targets=targets, split="oof")
    after = cross_judged([lied], folds, methods=["vector"] * len(folds), config=CONFIG)
    np.testing.assert_array_equal(after.predictions.probs[folds[1]], before.predictions.probs[folds[1]])
    np.testing.assert_array_equal(after.sets[folds[1]], before.sets[folds[1]])
    assert (after.predictions.probs[folds[0]] != before.predictions.probs[folds[0]]).any()


def test_sets_cover_about_what_they_state(make, folds_of):
    [clips] = make(n_clips=2000, strengths=2.0, n_groups=500)
    judged = cross_judged([clips], folds_of(2000, 5), methods=["none"] * 5, config=CONFIG)
    sets = fit_decisions([clips], method="none", config=CONFIG).sets
    scores = answer_scores(judged, sets, rng=np.random.default_rng(0))
    assert scores["sets"]["coverage"] == pytest.approx(0.9, abs=0.02)
    low, high = scores["sets"]["coverage_ci95"]
    assert low < scores["sets"]["coverage"] < high
    assert 1 <= scores["sets"]["mean_size"] <= 4


def test_scores_of_answers_are_counted_by_hand(make):
    [clips] = make(n_clips=4, n_classes=2)
    right = np.eye(2, dtype=bool)[clips.labels]
    said = right.copy()
    said[0], said[1] = ~said[0], False
    sets = np.ones((4, 2), dtype=bool)
    sets[2] = right[2]
    sets[3] = ~right[3]
    judged = Judged(clips, sets, {0.9: said, 0.99: np.zeros((4, 2), dtype=bool)})
    size = fit_decisions([clips], method="none", config=CONFIG).sets
    scores = answer_scores(judged, size, rng=np.random.default_rng(0))
    assert scores["precision"] == [
        {"wanted": 0.9, "precision": 2 / 3, "answered": 0.75},
        {"wanted": 0.99, "precision": None, "answered": 0.0},
    ]
    assert scores["sets"]["coverage"] == 0.75
    assert scores["sets"]["mean_size"] == 1.5
    assert scores["sets"]["single_share"] == 0.5
    assert sum(row["n"] for row in scores["reliability"]) == 4
    assert json.loads(json.dumps(scores)) == scores


def test_with_several_labels_a_clip_there_are_no_sets(make, folds_of):
    members = make(n_clips=120, multilabel=True)
    judged = cross_judged(members, folds_of(120), methods=["none"] * 4, config=CONFIG)
    assert judged.sets is None
    scores = answer_scores(judged, None, rng=np.random.default_rng(0))
    assert "sets" not in scores
    assert all(row["answered"] <= 1 for row in scores["precision"])
