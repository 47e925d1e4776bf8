import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot.audio.augment import AugmentConfig
from earshot.audio.recording import ColouredNoiseConfig
from earshot.audio.windows import InMemory
from earshot.models.classical import (
    CentroidConfig,
    ClassicalMlpConfig,
    ForestConfig,
    KnnConfig,
    LinearSvmConfig,
    NaiveBayesConfig,
    SvmConfig,
)
from earshot.models.member import decision_values
from earshot.training import estimators
from earshot.training.checkpoint import Checkpoint
from earshot.training.estimators import _shares, balanced, fit_calibrated
from earshot.training.members import fit_member

MODELS = [
    CentroidConfig(),
    KnnConfig(),
    NaiveBayesConfig(),
    ForestConfig(n_trees=20),
    LinearSvmConfig(),
    SvmConfig(),
    SvmConfig(c_grid=(0.1, 10.0)),
    ClassicalMlpConfig(hidden=(8,), iterations=30),
]


def fit(config, data, tmp_path):
    return fit_member(
        config,
        data,
        seed=0,
        device="cpu",
        checkpoint=Checkpoint(tmp_path / "state", identity="any"),
        on_progress=lambda done, total: None,
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.kind)
def test_every_classical_model_is_a_member(make_fold, svm_config, tmp_path, model):
    data = make_fold(n_clips=36)
    fold = fit(svm_config.model_copy(update={"model": model}), data, tmp_path)
    np.testing.assert_allclose(fold.probs.sum(axis=1), 1, atol=1e-5)
    assert (fold.probs.argmax(axis=1) == data.targets[data.test].argmax(axis=1)).mean() >= 4 / 6
    assert fold.member.temperature > 0


def test_balance_is_switched_on_where_it_is_auto_classes_are_uneven_and_the_model_knows_it():
    uneven = np.eye(2, dtype=np.float32)[[0] * 9 + [1]]
    even = np.eye(2, dtype=np.float32)[[0, 1]]
    assert balanced(SvmConfig(), uneven).balance == "on"
    assert balanced(SvmConfig(), even).balance == "auto"
    assert balanced(SvmConfig(balance="off"), uneven).balance == "off"
    assert balanced(KnnConfig(), uneven) == KnnConfig()


def clouds(n=90):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    rows = rng.normal(size=(n, 4)).astype(np.float32)
    rows[:, 0] += 1.5 * labels
    return rows, np.eye(3, dtype=np.float32)[labels], np.arange(n) // 3


def test_a_model_without_calibration_gives_the_same_scores_at_temperature_one():
    rows, targets, groups = clouds()
    values = {"targets": targets, "groups": groups, "seed": 0}
    one, temperature = fit_calibrated(SvmConfig(), rows, **values)
    other, plain = fit_calibrated(SvmConfig(), rows, calibrate=False, **values)
    np.testing.assert_array_equal(
        decision_values(one, rows, n_classes=3), decision_values(other, rows, n_classes=3)
    )
    assert plain == 1.0 != temperature


def test_settings_are_searched_by_group_within_the_rows():
    rows, targets, groups = clouds()
    model = SvmConfig(c_grid=(1e-4, 1.0))
    estimator, _ = fit_calibrated(model, rows, targets=targets, groups=groups, seed=0)
    assert estimator[-1].C == 1.0


def test_windows_of_long_clips_are_all_learned_from_up_to_eight(make_fold, svm_config, tmp_path):
    data = dataclasses.replace(make_fold(), length=300, hop=100)
    fold = fit(svm_config, data, tmp_path)
    n_windows = [min(8, 1 + -(-(n - 300) // 100)) for n in data.view.n_samples[data.train]]
    assert fold.member.estimator[-1].shape_fit_[0] == sum(n_windows)


@given(st.integers(1, 300), st.lists(st.integers(1, 200), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_a_share_is_dealt_out_whole_with_one_for_each_class(n, counts):
    shares = _shares(min(n, sum(counts)), np.array(counts))
    assert shares.sum() == max(min(n, sum(counts)), len(counts))
    assert (shares >= 1).all()
    assert (shares <= np.array(counts)).all()


def with_copies(config, **values):
    noisy = ColouredNoiseConfig(probability=1.0, snr_db=(-5.0, 5.0))
    return config.model_copy(update={"augment": AugmentConfig(steps=(noisy,), **values)})


def test_copies_teach_a_classical_model_to_bear_what_they_are_changed_by(make_fold, svm_config, tmp_path):
    data = make_fold(n_clips=48, n_test=12)
    noise = np.random.default_rng(0)
    clips = [data.view.get(i) for i in range(48)]
    for i in data.test:
        level = np.sqrt(np.mean(np.square(clips[i], dtype=np.float64)))
        clips[i] = np.clip(clips[i] + level * noise.normal(size=len(clips[i])), -32_768, 32_767).astype(
            np.int16
        )
    data = dataclasses.replace(data, view=InMemory(clips))
    plain, taught = (
        fit(config, data, tmp_path) for config in (svm_config, with_copies(svm_config, n_copies=3))
    )
    truth = data.targets[data.test].astype(bool)
    assert taught.probs[truth].mean() > plain.probs[truth].mean() + 0.1


def test_copies_are_the_same_each_time_and_end_where_there_are_windows_enough(
    make_fold, svm_config, tmp_path, monkeypatch
):
    seen = []

    def keep(model, rows, **options):
        seen.append((rows, options["targets"], options["groups"]))
        return fit_calibrated(model, rows, **options)

    monkeypatch.setattr(estimators, "fit_calibrated", keep)
    data = make_fold(n_clips=24)  # 18 to train on
    limited = SvmConfig(max_windows=60)
    for model, augment in (
        (SvmConfig(), {"n_copies": 2}), (SvmConfig(), {"n_copies": 2}), (limited, {"n_copies": 50}),
        (SvmConfig(), {"n_copies": 2, "enabled": False}), (SvmConfig(), {}),
    ):  # fmt: skip
        fit(with_copies(svm_config, **augment).model_copy(update={"model": model}), data, tmp_path)
    own = len(seen[-1][0])  # some clips have two windows
    assert [len(rows) - own for rows, _, _ in seen] == [36, 36, 18, 0, 0]
    np.testing.assert_array_equal(seen[0][0], seen[1][0])
    rows, targets, groups = seen[0]
    for clip in range(18):
        assert (groups[own:] == data.groups[clip]).sum() == 6  # three clips a group, each copied twice
    np.testing.assert_array_equal(targets[own:].sum(axis=0), [12, 12, 12])
    assert len(np.unique(rows, axis=0)) == len(rows)
