import math

import numpy as np
import pytest
import safetensors.numpy
import torch

from earshot.deploy.novelty import (
    NOVELTY_FILE,
    NoveltyModel,
    WithEmbedding,
    detector_scores,
    embedding_width,
    read_novelty,
)
from earshot.errors import BundleError
from earshot.evaluation.relative_distance import RelativeDistance

from .conftest import CLASSES, network_member, noises, svm_member


def windows(n=3):
    return torch.from_numpy(np.stack(noises(n)).astype(np.float32) / 32_768)


def detector(n_features=6, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(60) % 3
    values = rng.normal(size=(60, n_features)) + 3 * np.eye(3, n_features)[labels]
    return RelativeDistance.fit(values, labels, artificial=values[:4] * 0.1)


def model():
    detectors = {"cnn": tuple(detector(6, seed) for seed in range(2)), "fast": (detector(9),)}
    scales = {name: np.array([[1.0, 0.5], [2.0, 3.0]]) for name in detectors}
    return NoveltyModel(detectors, scales, {"cnn": 0.7, "fast": 0.3}, np.array([2.0, 4.0]))


def embeddings(seed=0):
    rng = np.random.default_rng(seed)
    return {"cnn": rng.normal(size=(2, 6)), "fast": rng.normal(size=(1, 9))}


@pytest.mark.parametrize("member", [network_member(), svm_member()], ids=["network", "svm"])
def test_probabilities_stay_the_same_and_the_embedding_follows(member):
    features = member.features(windows())
    probs = member.predict_features(features)
    width = embedding_width(member, math.prod(features.shape[1:]))
    rows = WithEmbedding(member, width=width + 5).predict_features(features)
    np.testing.assert_allclose(rows[:, : len(CLASSES)], probs, atol=1e-3 if hasattr(member, "network") else 0)
    assert rows.shape == (3, len(CLASSES) + width + 5)
    assert not rows[:, -5:].any()
    embedding = rows[:, len(CLASSES) : -5]
    if hasattr(member, "network"):
        wanted = member.network.embed(features).detach().numpy()
        np.testing.assert_allclose(embedding, wanted, rtol=0.05, atol=0.05 * np.abs(wanted).max())
    else:
        np.testing.assert_array_equal(embedding, features.flatten(1).numpy())


def test_novelty_is_the_larger_of_two_means_over_members_and_fold_models():
    built, given = model(), embeddings()
    means = []
    for kind in ("score", "artificial_score"):
        by_member = {
            name: np.mean([getattr(d, kind)(row[None])[0] for d, row in zip(ds, given[name], strict=True)])
            for name, ds in built.detectors.items()
        }
        column = ("score", "artificial_score").index(kind)
        units = [(v - built.scales[n][0, column]) / built.scales[n][1, column] for n, v in by_member.items()]
        means.append((0.7 * units[0] + 0.3 * units[1]) / built.spans[column])
    assert built.score(given) == pytest.approx(max(means))


def test_scores_of_fold_models_are_averaged():
    pair = tuple(detector(6, seed) for seed in range(2))
    given = np.random.default_rng(3).normal(size=(2, 7, 6))
    both = [[d.score(own), d.artificial_score(own)] for d, own in zip(pair, given, strict=True)]
    np.testing.assert_allclose(detector_scores(pair, given), np.mean(both, axis=0))


def stored(tmp_path, **changes):
    arrays = safetensors.numpy.load(model().to_bytes())
    arrays = {k: v for k, v in {**arrays, **changes}.items() if v is not None}
    safetensors.numpy.save_file(arrays, tmp_path / NOVELTY_FILE)
    return tmp_path / NOVELTY_FILE


WIDTHS = {"cnn": [6, 6], "fast": [9], "another": [5]}


def test_what_is_stored_scores_the_same(tmp_path):
    again = read_novelty(stored(tmp_path), WIDTHS)
    for seed in range(5):
        assert again.score(embeddings(seed)) == model().score(embeddings(seed))
    assert list(again.detectors) == ["cnn", "fast"]


@pytest.mark.parametrize(
    "changes",
    [
        {"spans": None},
        {"spans": np.array([1.0, 0.0])},
        {"spans": np.array([1.0, np.inf])},
        {"spans": np.zeros(3)},
        {"cnn/scale": np.array([[0.0, 0.0], [1.0, -1.0]])},
        {"cnn/scale": np.zeros((2, 2), np.float32)},
        {"cnn/scale": None, "fast/scale": None},
        {"cnn/weight": None},
        {"cnn/weight": np.array([0.0])},
        {"cnn/2/axes": None},
        {"cnn/2/axes": np.zeros((6, 7), np.float32)},
        {"cnn/3/axes": np.zeros((6, 6), np.float32)},
        {"stranger": np.zeros(1)},
    ],
)
def test_detectors_that_do_not_belong_to_the_model_are_refused(tmp_path, changes):
    with pytest.raises(BundleError, match="novelty detectors cannot be read"):
        read_novelty(stored(tmp_path, **changes), WIDTHS)


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"\xff" * 100])
def test_a_broken_file_is_refused(tmp_path, content):
    (tmp_path / NOVELTY_FILE).write_bytes(content)
    with pytest.raises(BundleError):
        read_novelty(tmp_path / NOVELTY_FILE, WIDTHS)
