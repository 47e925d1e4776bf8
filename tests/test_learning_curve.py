import json

import numpy as np
import pandas as pd
import pytest

from earshot import read_clips
from earshot.data.clips import Clips
from earshot.data.splits import Fold, k_folds
from earshot.evaluation.predictions import Predictions
from earshot.experiment import Experiment, run
from earshot.learning_curve import SHARES, _classes, learning_curve, nested_shares
from earshot.recipe import load_recipe

from . import corpus


def clips(n_groups=16, n_each=2, classes=("a", "b", "c"), both=False):
    rows = [
        {
            "path": f"{name}{g}-{i}.wav",
            "label": name + (";a" if both and name == "b" else ""),
            "group": f"{name}{g}",
        }
        for name in classes
        for g in range(n_groups)
        for i in range(n_each)
    ]
    return Clips(pd.DataFrame(rows))


def full(data, folds, *, error=0.1, seed=0):
    rows = np.concatenate([fold.test for fold in folds])
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(rows)) < error
    labels = data.targets[rows].argmax(axis=1)
    probs = 0.1 + 0.7 * np.eye(3)[np.where(wrong, (labels + 1) % 3, labels)]
    return Predictions(
        probs,
        data.classes,
        clip_ids=tuple(data.ids[row] for row in rows),
        targets=data.targets[rows],
        split="oof",
        groups=tuple(data.groups[rows]),
    )


@pytest.mark.parametrize("both", [False, True])
def test_shares_are_nested_keep_groups_whole_and_hold_every_class(both):
    data = clips(both=both)
    fold = Fold(train=np.arange(60), test=np.arange(60, len(data)), name="1")
    data_groups = data.groups
    before = set()
    for share, kept in zip(SHARES, nested_shares(data, fold, seed=0), strict=True):
        assert before <= set(kept.tolist()) <= set(fold.train.tolist())
        before = set(kept.tolist())
        groups = set(data_groups[kept])
        assert before == {i for i in fold.train.tolist() if data_groups[i] in groups}
        assert (data.targets[kept].sum(axis=0) > 0).tolist() == (
            data.targets[fold.train].sum(axis=0) > 0
        ).tolist()
        assert len(kept) <= (share + 0.2) * len(fold.train) + 12


def test_more_clips_help_where_the_error_falls_with_them():
    data = clips(n_groups=40)
    folds = k_folds(data, n_folds=4, seed=0)
    calls = []

    def fit(percent, number, fold):
        calls.append((percent, number))
        rng = np.random.default_rng([percent, number])
        labels = data.targets[fold.test].argmax(axis=1)
        wrong = rng.random(len(fold.test)) < 2.5 * len(fold.train) ** -0.6
        return (0.1 + 0.7 * np.eye(3)[np.where(wrong, (labels + 1) % 3, labels)]).astype(np.float32)

    n_full = 180
    curve = learning_curve(
        data, folds, full=full(data, folds, error=2.5 * n_full**-0.6), fit=fit, member="fast", seed=0
    )
    assert calls == [(round(100 * share), i) for share in SHARES for i in range(4)]
    sizes = [row["n_train"] for row in curve["points"]]
    assert sizes == sorted(sizes)
    assert sizes[-1] == n_full
    assert curve["doubled"]["n_train"] == 2 * n_full
    true_gain = 2.5 * (n_full**-0.6 - (2 * n_full) ** -0.6)
    low, high = curve["doubled"]["gain_ci95"]
    assert low < true_gain < high
    assert {row["label"] for row in curve["classes"]} == {"a", "b", "c"}
    json.dumps(curve, allow_nan=False)


def test_where_every_clip_is_right_nothing_is_left_to_gain():
    data = clips(n_groups=40)
    folds = k_folds(data, n_folds=4, seed=0)

    def fit(percent, number, fold):
        labels = data.targets[fold.test].argmax(axis=1)
        wrong = np.random.default_rng([percent, number]).random(len(labels)) < 0.2 * (1 - percent / 100)
        return (0.1 + 0.7 * np.eye(3)[np.where(wrong, (labels + 1) % 3, labels)]).astype(np.float32)

    curve = learning_curve(data, folds, full=full(data, folds, error=0), fit=fit, member="fast", seed=0)
    assert curve["points"][-1]["accuracy"] == 1
    assert curve["doubled"]["gain"] <= 0
    assert max(curve["doubled"]["gain_ci95"]) <= 0


def test_of_many_classes_those_that_gain_by_luck_alone_are_not_said_to_gain():
    n_classes, n_clips = 40, 60
    labels = np.repeat(np.arange(n_classes), n_clips)
    targets = np.eye(n_classes, dtype=np.float32)[labels]
    names = tuple(f"class {k}" for k in range(n_classes))
    ids = tuple(map(str, range(len(labels))))
    said = Predictions(targets, names, clip_ids=ids, targets=targets, groups=ids)
    rng = np.random.default_rng(0)
    halves = np.repeat(rng.random((2, len(labels), 1)) < 0.7, n_classes, axis=2)
    halves[:, labels == 7] = np.array([False, True])[:, None, None]
    rows = list(_classes(*halves, said, rng=rng))
    assert sum(row["gain_ci95"][0] > 0 for row in rows) > 1  # one at a time, others would be, too
    assert [row["label"] for row in rows if row["clearly_gains"]] == ["class 7"]


def test_few_groups_give_fewer_points_and_no_outlook():
    data = clips(n_groups=4)
    folds = k_folds(data, n_folds=2, seed=0)
    curve = learning_curve(
        data,
        folds,
        full=full(data, folds),
        fit=lambda *_: pytest.fail("nothing to leave out"),
        member="m",
        seed=0,
    )
    assert [row["share"] for row in curve["points"]] == [1.0]
    assert curve["doubled"] is None
    assert curve["classes"] == []


def test_a_run_with_a_learning_curve_says_what_more_clips_bring_and_reads_finished_shares_back(tmp_path):
    sounds = corpus.make(tmp_path / "sounds", ("hiss", "hum"), n=12)
    experiment = Experiment(
        clips=read_clips(sounds),
        recipe=load_recipe("fast", corpus.FAST),
        folder=tmp_path / "run",
        learning_curve=True,
    )
    first = run(experiment).metrics["learning_curve"]
    assert first["points"][-1]["n_train"] == 12
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert written["learning_curve"] == json.loads(json.dumps(first))
    assert "Would more clips help?" in (tmp_path / "run" / "report.html").read_text()
    assert run(experiment).metrics["learning_curve"] == first
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "fast.share38 fold 1: finished before, read back" in log
