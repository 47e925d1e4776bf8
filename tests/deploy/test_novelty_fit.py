import numpy as np
import pytest
import torch

from earshot.audio.windows import InMemory, to_float, to_int16
from earshot.data.splits import Fold
from earshot.deploy import novelty_fit
from earshot.deploy.novelty_fit import KnownSounds, fit_novelty
from earshot.models.classical import SvmConfig, build_svm
from earshot.models.member import ClassicalMember
from earshot.training.members import build_front_end

from .. import corpus
from .conftest import SVM, network_member

RATE_HZ, LENGTH = 4_000, 1_600
KINDS = ("hum", "ticks")
WEIGHTS = {"fast": 0.4, "cnn": 0.6}


def sounds(kinds=KINDS, *, n=24, first_seed=0):
    waves = [corpus.sound(kind, seed=first_seed + i, rate_hz=RATE_HZ) for kind in kinds for i in range(n)]
    return [to_int16(wave.astype(np.float32)) for wave in waves]


def known_sounds(*, n=24, is_background=False):
    labels = np.repeat(np.arange(2), n)
    rows = np.arange(2 * n)
    folds = [Fold(rows[rows % 3 != k], rows[rows % 3 == k], f"fold {k + 1}") for k in range(3)]
    background = np.full(2 * n, False) | ((labels == 1) & is_background)
    return KnownSounds(InMemory(sounds(n=n)), labels, background, folds, LENGTH, LENGTH)


def svm_members(known):
    """A support vector machine a fold, all on one front end."""
    front_end = build_front_end(SVM, RATE_HZ)
    members = []
    for fold in known.folds:
        cuts = np.stack([known.view.get(int(row))[:LENGTH] for row in fold.train])
        rows = front_end(torch.from_numpy(to_float(cuts))).numpy()
        machine = build_svm(SvmConfig(), input_shape=rows.shape[1:], n_classes=2)
        machine.fit(rows, known.labels[fold.train])
        members.append(ClassicalMember(front_end, machine, n_classes=2, temperature=1.0))
    return members


def novelty_of(fitted, members, clips):
    from earshot.models.scoring import score_clips

    n_features = members[0].estimator.n_features_in_
    wrapped = [novelty_fit.WithEmbedding(member, width=n_features) for member in members]
    scored = score_clips(clips, wrapped, length=LENGTH, hop=LENGTH)
    return np.array([fitted.model.score({"fast": rows[:, 2:]}) for rows in scored])


@pytest.fixture(scope="module")
def fitted():
    known = known_sounds()
    members = svm_members(known)
    return fit_novelty({"fast": members}, known, weights=WEIGHTS, rate_hz=RATE_HZ, kept=0.95), members


def test_new_sounds_of_the_classes_pass_and_others_do_not(fitted):
    found, members = fitted
    fresh = novelty_of(found, members, sounds(first_seed=500, n=20))
    assert np.mean(fresh <= found.data.limit) >= 0.85
    for kind in ("hiss", "whistle"):
        strange = novelty_of(found, members, sounds((kind,), first_seed=900, n=20))
        assert np.mean(strange > found.data.limit) == 1.0, kind


def test_the_limit_keeps_what_was_asked_for_out_of_fold(fitted):
    found, _ = fitted
    assert found.data.limit == 1.0
    assert np.mean(found.scores <= 1.0) == pytest.approx(0.95, abs=0.03)
    assert 0.8 <= found.kept <= 1.0
    assert found.rows.tolist() == list(range(48))


def test_background_clips_do_not_set_the_limit():
    known = known_sounds(is_background=True)
    members = svm_members(known)
    found = fit_novelty({"fast": members}, known, weights=WEIGHTS, rate_hz=RATE_HZ, kept=0.9)
    assert np.mean(found.scores[known.labels == 0] <= 1.0) == pytest.approx(0.9, abs=0.05)


def test_too_few_clips_give_no_detectors():
    known = known_sounds(n=3)
    assert (
        fit_novelty({"fast": svm_members(known_sounds())}, known, weights=WEIGHTS, rate_hz=RATE_HZ, kept=0.95)
        is None
    )


def test_an_embedding_too_wide_is_left_alone(monkeypatch):
    known = known_sounds()
    monkeypatch.setattr(novelty_fit, "MAX_EMBEDDING", 100)
    assert (
        fit_novelty({"fast": svm_members(known)}, known, weights=WEIGHTS, rate_hz=RATE_HZ, kept=0.95) is None
    )


def test_networks_and_classical_models_are_heard_together():
    known = known_sounds()
    steps = []
    networks = [network_member(seed) for seed in range(3)]
    families = {"fast": svm_members(known), "cnn": networks}
    found = fit_novelty(
        families, known, weights=WEIGHTS, rate_hz=RATE_HZ, kept=0.95, on_progress=lambda *n: steps.append(n)
    )
    assert {name: len(each) for name, each in found.model.detectors.items()} == {"fast": 3, "cnn": 3}
    assert found.model.detectors["cnn"][0].n_features == networks[0].network.head.in_features
    assert steps == [(1, 2), (2, 2)]


def test_of_very_many_clips_an_even_share_is_heard(monkeypatch):
    known = known_sounds()
    monkeypatch.setattr(novelty_fit, "MAX_CLIPS", 30)
    found = fit_novelty({"fast": svm_members(known)}, known, weights=WEIGHTS, rate_hz=RATE_HZ, kept=0.95)
    assert len(found.rows) == 30
    assert np.bincount(known.labels[found.rows]).tolist() == [15, 15]


def test_members_whose_embedding_is_too_wide_are_heard_without_a_detector(monkeypatch):
    known = known_sounds()
    narrow, wide = [network_member(seed) for seed in range(3)], svm_members(known)
    width = narrow[0].network.head.in_features
    assert wide[0].estimator.n_features_in_ > width
    monkeypatch.setattr(novelty_fit, "MAX_EMBEDDING", width)
    found = fit_novelty({"fast": wide, "cnn": narrow}, known, weights=WEIGHTS, rate_hz=RATE_HZ, kept=0.95)
    assert set(found.model.detectors) == {"cnn"}
    heard = [novelty_fit.WithEmbedding(member, width=width) for member in (wide[0], narrow[0])]
    features = wide[0].features(torch.from_numpy(to_float(np.stack(sounds(n=1)))))
    rows = heard[0].predict_features(features)
    assert rows.shape == (2, 2 + width)
    np.testing.assert_array_equal(rows[:, :2], wide[0].predict_features(features))
    np.testing.assert_allclose(rows[:, 2:], features.flatten(1)[:, :width].numpy(), rtol=1e-6)


def test_the_number_of_clips_is_of_those_that_count():
    known = known_sounds(is_background=True)
    members = svm_members(known)
    found = fit_novelty({"fast": members}, known, weights=WEIGHTS, rate_hz=RATE_HZ, kept=0.95)
    assert (found.n_counted, len(found.rows)) == (24, 48)
