"""Members one by one; test_models.py tries what all of them promise."""

import contextlib

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.multiclass import OneVsRestClassifier

from earshot.audio.log_mel import LogMelConfig
from earshot.errors import EarshotError
from earshot.models import MODELS
from earshot.models.classical import (
    CentroidConfig,
    ForestConfig,
    KnnConfig,
    NaiveBayesConfig,
    SvmConfig,
    build_svm,
)
from earshot.models.cnn1d import Stack1dConfig
from earshot.models.cnn2d import Cnn2d, Cnn2dConfig
from earshot.models.member import (
    NetworkMember,
    decision_values,
    fast_precision,
    fused,
    pick_device,
    scores_to_probs,
)
from earshot.models.stack import Stack
from earshot.training.members import MemberConfig, build_front_end
from earshot.training.tuning import fit_estimator

RATE_HZ = 4_000
MEL = LogMelConfig(n_fft=256, hop_length=128, n_mels=16)
CNN = MemberConfig(features=MEL, model=Cnn2dConfig(n_stem_channels=4, block_channels=(6, 8)))


def rows_of(n, n_features, *, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    rows = rng.normal(size=(n, n_features)) + 2 * rng.normal(size=(n_classes, n_features))[labels]
    return rows.astype(np.float32), labels


def network_member():
    torch.manual_seed(0)
    network = MODELS["cnn2d"](CNN.model, input_shape=(16, 16), n_classes=3)
    return NetworkMember(build_front_end(CNN, RATE_HZ), network)


# Scores and probabilities


@pytest.mark.parametrize("temperature", [1e-3, 1.0, 50.0])
def test_scores_become_probabilities_without_overflow(temperature):
    scores = np.array([[1.0, -2.0, 0.5], [1e4, -1e4, 0.0], [0.0, 0.0, 0.0]])
    probs = scores_to_probs(scores, temperature=temperature)
    np.testing.assert_allclose(probs, softmax(scores / temperature, axis=1), atol=1e-6)
    several = scores_to_probs(scores, temperature=temperature, multilabel=True)
    np.testing.assert_allclose(several, expit(scores / temperature), atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_every_class_has_a_column_of_decision_values(n_classes):
    rows, labels = rows_of(30, 5, n_classes=n_classes)
    model = build_svm(SvmConfig(), input_shape=(5,), n_classes=n_classes).fit(rows, labels)
    values = decision_values(model, rows, n_classes=n_classes)
    assert values.shape == (30, n_classes)
    np.testing.assert_array_equal(values.argmax(axis=1), model.predict(rows))


@pytest.mark.parametrize("present", [(0, 1), (1, 3), (0, 1, 3), (2, 3)])
def test_a_class_that_was_never_seen_is_the_least_likely(present):
    rows, labels = rows_of(40, 5, n_classes=4)
    seen = np.isin(labels, present)
    model = build_svm(SvmConfig(), input_shape=(5,), n_classes=4).fit(rows[seen], labels[seen])
    values = decision_values(model, rows, n_classes=4)
    assert np.isin(values.argmax(axis=1), present).all()
    absent = [k for k in range(4) if k not in present]
    assert (values[:, absent].max(axis=1) < values[:, list(present)].min(axis=1)).all()


@pytest.mark.filterwarnings("ignore:Label")
def test_a_label_that_all_or_none_of_the_clips_had_is_a_clear_yes_or_no():
    rows, labels = rows_of(30, 5)
    marks = np.eye(5, dtype=bool)[labels]
    marks[:, 3] = True
    model = OneVsRestClassifier(build_svm(SvmConfig(), input_shape=(5,), n_classes=5)).fit(rows, marks)
    values = decision_values(model, rows, n_classes=5)
    assert (values[:, 3] == 1).all()
    assert (values[:, 4] == -1).all()
    np.testing.assert_array_equal(values[:, :3].argmax(axis=1), labels)


@pytest.mark.parametrize(
    "config", [KnnConfig(), ForestConfig(n_trees=9), NaiveBayesConfig(), CentroidConfig()]
)
def test_models_without_decision_values_rank_classes_as_they_predict(config):
    rows, labels = rows_of(60, 4)
    rows = rows + np.random.default_rng(1).normal(size=rows.shape).astype(np.float32) * 3
    targets = np.eye(3, dtype=np.float32)[labels]
    estimator = fit_estimator(config, rows[:40], targets[:40], multilabel=False)
    values = decision_values(estimator, rows[40:], n_classes=3)
    predicted = estimator.predict(rows[40:])
    at_most_tied = values[np.arange(20), predicted] == values.max(axis=1)
    assert at_most_tied.all()
    assert len(set(predicted)) == 3


def test_a_vote_that_nobody_gave_makes_a_class_unlikely_and_not_impossible():
    rows, labels = rows_of(30, 50)
    estimator = fit_estimator(KnnConfig(), rows, np.eye(3, dtype=np.float32)[labels], multilabel=False)
    values = decision_values(estimator, rows, n_classes=3)
    np.testing.assert_allclose(values.max(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(values.min(axis=1), np.log(1e-3))


def test_naive_bayes_still_tells_apart_what_it_is_certain_of():
    rows, labels = rows_of(30, 50)
    estimator = fit_estimator(NaiveBayesConfig(), rows, np.eye(3, dtype=np.float32)[labels], multilabel=False)
    assert (estimator.predict_proba(rows) == 0).any()
    values = decision_values(estimator, rows, n_classes=3)
    assert np.isfinite(values).all()
    assert all(len(set(row)) == 3 for row in values)


def test_a_temperature_softens_a_network_too():
    plain, soft = network_member(), network_member()
    soft.temperature = 4.0
    features = plain.features(torch.randn(6, 2_000))
    logits = plain.network(features).detach().numpy()
    np.testing.assert_allclose(soft.predict_features(features), softmax(logits / 4, axis=1), atol=1e-6)


def test_a_network_member_does_not_train():
    member = network_member()
    assert not member.network.training


def test_bf16_stays_near_full_precision():
    member = network_member()
    features = member.features(torch.randn(4, 2_000))
    full = member.predict_features(features)
    member.precision = "bf16"
    np.testing.assert_allclose(member.predict_features(features), full, atol=0.05)


# Devices


def test_the_device_asked_for_is_taken_and_auto_finds_one():
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") in ("cuda", "mps", "cpu")


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0", "cuda:1"])
def test_one_of_several_gpus_is_taken(two_gpus, device):
    assert pick_device(device) == device.replace("auto", "cuda")


@pytest.mark.parametrize("device", ["cuda:2", "cuda:9", "cuda:x", "cpu:1", "mps", "gpu", ""])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(two_gpus, device):
    with pytest.raises(EarshotError, match=f"'{device}'; expected .* here: cuda:0, cuda:1, cpu"):
        pick_device(device)


def test_each_gpu_is_asked_for_its_own_precision(monkeypatch):
    current = [0]

    @contextlib.contextmanager
    def device(wanted):
        current.append(torch.device(wanted).index or 0)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: current[-1] == 1)
    assert [fast_precision(name) for name in ("cuda", "cuda:0", "cuda:1")] == ["fp32", "fp32", "bf16"]


@pytest.mark.parametrize(("capable", "precision"), [(True, "bf16"), (False, "fp32")])
def test_bf16_is_taken_where_a_cpu_has_it(monkeypatch, capable, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": capable})
    assert fast_precision("cpu") == precision


# Folding


def test_a_fused_network_says_what_the_network_says():
    torch.manual_seed(0)
    network = Cnn2d(Cnn2dConfig(block_channels=(8, 8)), input_shape=(16, 40), n_classes=3)
    network(
        torch.randn(8, 16, 40)
    )  # one step of running statistics: folding them in must not be the identity
    features = torch.randn(4, 16, 40)
    with torch.no_grad():
        torch.testing.assert_close(fused(network)(features), network.eval()(features), atol=1e-5, rtol=1e-4)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fused(network).modules())


def test_batch_norm_along_time_is_folded_too():
    torch.manual_seed(0)
    config = Stack1dConfig(layers=("conv 3 6", "norm", "relu", "global average"))
    network = Stack(config, input_shape=(4, 30), n_classes=3)
    network(torch.randn(8, 4, 30) * 3 + 1)
    features = torch.randn(4, 4, 30)
    with torch.no_grad():
        torch.testing.assert_close(fused(network)(features), network.eval()(features), atol=1e-5, rtol=1e-4)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fused(network).modules())
