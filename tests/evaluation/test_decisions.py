import json

import numpy as np
import pytest
from pydantic import ValidationError

from earshot.errors import DataError
from earshot.evaluation import decisions
from earshot.evaluation.decisions import (
    DecisionsConfig,
    choose_calibration,
    choose_for_each_fold,
    fit_decisions,
)
from earshot.evaluation.metrics import log_loss

CONFIG = DecisionsConfig()


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("method", ["none", "temperature", "vector", "isotonic"])
def test_what_is_fitted_is_applied_as_pool_then_calibration(make, method):
    members = make(n_members=2, n_clips=400, sharpness=3.0)
    fitted = fit_decisions(members, method=method, config=CONFIG)
    stacked = np.stack([each.probs for each in members])
    pooled = fitted.blend.combine(stacked)
    wanted = pooled if fitted.calibrator is None else fitted.calibrator.apply(pooled)
    np.testing.assert_array_equal(fitted.probs(stacked, multilabel=False), wanted)
    assert (fitted.calibrator is None) == (method == "none")
    assert [each.precision for each in fitted.thresholds] == list(CONFIG.wanted_precisions)


def test_a_member_without_a_say_gets_none_at_all(make):
    good, noise = make(n_clips=500, strengths=3.0)[0], make(n_clips=500, strengths=0.0, sharpness=0.2)[0]
    noise = decisions.with_probs(good, np.roll(noise.probs, 7, axis=0))
    weights = fit_decisions([good, noise], method="none", config=CONFIG).blend.weights
    assert weights[0] > 0.5
    assert weights[1] == 0 or weights[1] >= decisions.LEAST_WEIGHT


def test_members_that_are_all_worse_than_chance_still_make_a_model_that_says_little(make):
    good = make(n_clips=300, strengths=3.0)[0]
    against = decisions.with_probs(good, np.roll(good.known_targets * 0.8 + 0.05, 1, axis=1))
    fitted = fit_decisions([against, against], method="none", config=CONFIG)
    assert all(weight > 0 for weight in fitted.blend.weights)
    said = fitted.probs(np.stack([against.probs] * 2), multilabel=False)
    np.testing.assert_allclose(said, 1 / said.shape[1], atol=0.02)


@pytest.mark.parametrize("method", ["vector", "isotonic"])
def test_sets_hold_the_true_class_of_new_clips_as_often_as_they_say_after_calibration(make, method):
    clips = make(n_clips=4_300, n_classes=10, strengths=1.7, sharpness=2.0)[0]
    covered = []
    for start in range(0, 300, 100):  # what is fitted on 400 clips, on 4,000 others
        taught = np.arange(start, start + 400)
        rest = np.setdiff1d(np.arange(4_300), taught)
        fitted = fit_decisions([clips.subset(taught)], method=method, config=CONFIG)
        sets = fitted.sets.apply(fitted.probs(clips.probs[None, rest], multilabel=False))
        covered.append(sets[np.arange(len(rest)), clips.labels[rest]].mean())
    assert 0.87 < np.mean(covered) < 0.94


def test_a_boastful_class_is_calibrated_and_a_calibrated_pool_is_left_alone(make, folds_of):
    honest = make(n_clips=1200, strengths=2.0)[0]
    # The pool mends a wrong sharpness by itself; one class that is said too often it cannot mend.
    tilted = honest.probs * np.array([6.0, 1.0, 1.0, 1.0])
    boastful = decisions.with_probs(honest, tilted / tilted.sum(axis=1, keepdims=True))
    folds = folds_of(1200)
    method, table = choose_calibration(boastful, folds, config=CONFIG, rng=rng())
    assert method == "vector"
    assert list(table["method"]) == ["none", "temperature", "vector", "isotonic"]
    losses = table.set_index("method")["log_loss"]
    assert losses["vector"] < losses["none"]
    fitted = fit_decisions([honest], method="none", config=CONFIG)
    pooled = decisions.with_probs(honest, fitted.probs(honest.probs[None], multilabel=False))
    assert choose_calibration(pooled, folds, config=CONFIG, rng=rng())[0] == "none"


def test_no_fold_has_a_part_in_the_choice_of_its_calibration(make, folds_of, monkeypatch):
    clips, folds, asked = make(n_clips=120)[0], folds_of(120), []

    def remember(predictions, own_folds, *, config, rng):
        asked.append({*predictions.clip_ids})
        assert sorted(np.concatenate(own_folds)) == list(range(len(predictions)))
        return f"choice {len(asked)}", None

    monkeypatch.setattr(decisions, "choose_calibration", remember)
    methods = choose_for_each_fold([clips], folds, config=CONFIG, seed=0)
    assert methods == ("choice 1", "choice 2", "choice 3", "choice 4")
    everything = {*clips.clip_ids}
    assert asked == [everything - {clips.clip_ids[row] for row in fold} for fold in folds]


def test_many_folds_are_left_out_some_at_a_time(make, folds_of, monkeypatch):
    clips, folds, asked = make(n_clips=240)[0], folds_of(240, 24), []

    def remember(predictions, own_folds, *, config, rng):
        asked.append({*predictions.clip_ids})
        return str(len(asked)), None

    monkeypatch.setattr(decisions, "choose_calibration", remember)
    methods = choose_for_each_fold([clips], folds, config=CONFIG, seed=0)
    assert len(asked) == 10
    for fold, method in zip(folds, methods, strict=True):
        assert not asked[int(method) - 1] & {clips.clip_ids[row] for row in fold}


def test_a_single_other_fold_chooses_nothing_and_a_wish_is_followed_in_every_fold(make, folds_of):
    clips = make(n_clips=80)[0]
    assert choose_for_each_fold([clips], folds_of(80, 2), config=CONFIG, seed=0) == ("none", "none")
    wish = DecisionsConfig(calibration="vector")
    assert choose_for_each_fold([clips], folds_of(80, 3), config=wish, seed=0) == ("vector",) * 3


def test_all_other_folds_tilted_alike_choose_a_calibration_for_each(make, folds_of):
    honest = make(n_clips=1200, strengths=2.0)[0]
    tilted = honest.probs * np.array([6.0, 1.0, 1.0, 1.0])
    boastful = decisions.with_probs(honest, tilted / tilted.sum(axis=1, keepdims=True))
    folds = folds_of(1200)
    assert choose_for_each_fold([boastful], folds, config=CONFIG, seed=0) == ("vector",) * len(folds)


def test_without_mistakes_nothing_is_calibrated(make, folds_of):
    clips = make(n_clips=60, strengths=30.0, sharpness=0.1)[0]
    assert (clips.predicted == clips.labels).all()
    method, table = choose_calibration(clips, folds_of(60), config=CONFIG, rng=rng())
    assert table.set_index("method")["log_loss"].idxmin() != "none", "the shape of the data makes it tempting"
    assert method == "none"


def test_a_wish_is_followed(make, folds_of):
    clips = make(n_clips=80)[0]
    config = DecisionsConfig(calibration="isotonic")
    assert choose_calibration(clips, folds_of(80), config=config, rng=rng())[0] == "isotonic"


def test_many_clips_are_thinned_and_the_calibration_is_nearly_the_same(make, folds_of, monkeypatch):
    clips = make(n_clips=4000, sharpness=2.5)[0]
    whole = fit_decisions([clips], method="temperature", config=CONFIG)
    monkeypatch.setattr(decisions, "_MOST_VALUES", 4_000)
    monkeypatch.setattr(decisions, "_CLIPS_PER_CLASS", 1)
    thinned = fit_decisions([clips], method="temperature", config=CONFIG)
    assert thinned.calibrator != whole.calibrator
    assert thinned.calibrator.temperature == pytest.approx(whole.calibrator.temperature, rel=0.15)
    _, table = choose_calibration(clips, folds_of(4000), config=CONFIG, rng=rng())
    none = table.set_index("method").loc["none", "log_loss"]
    assert none == pytest.approx(log_loss(clips.labels, clips.probs), rel=0.1)


def test_thinning_keeps_some_clips_of_each_class(make, monkeypatch):
    clips = make(n_clips=4000)[0]
    n_classes = len(clips.classes)
    rare = np.append(np.flatnonzero(clips.labels != 0), np.flatnonzero(clips.labels == 0)[:40])
    clips = clips.subset(np.sort(rare))
    monkeypatch.setattr(decisions, "_MOST_VALUES", 4_000)
    thinned = decisions._thinned(clips)
    assert len(thinned) == pytest.approx(max(4_000 // n_classes, 50 * n_classes), abs=1)
    shares = [np.bincount(each.labels, minlength=n_classes) / len(each) for each in (clips, thinned)]
    np.testing.assert_allclose(shares[1], shares[0], atol=1.5 / len(thinned))


def test_several_labels_a_clip_have_thresholds_but_no_sets(make):
    fitted = fit_decisions(make(multilabel=True), method="vector", config=CONFIG)
    assert fitted.sets is None
    assert len(fitted.thresholds) == 3


def test_predictions_of_a_test_are_refused(make):
    with pytest.raises(DataError, match="split"):
        fit_decisions(make(split="test"), method="none", config=CONFIG)


@pytest.mark.parametrize(
    "change",
    [{"calibration": "platt"}, {"miss_rate": 0.0}, {"wanted_precisions": [1.0]}, {"known_kept": 0.3}],
)
def test_a_configuration_out_of_bounds_is_refused(change):
    with pytest.raises(ValidationError):
        DecisionsConfig.model_validate_json(json.dumps(change))
