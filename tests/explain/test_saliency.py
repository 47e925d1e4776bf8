"""A tone burst in noise must be where the saliency is, for each method that claims to tell."""

import numpy as np
import pytest
import torch

from earshot.audio.log_mel import hz_to_mel
from earshot.audio.picture import PictureConfig
from earshot.errors import ConfigError
from earshot.explain import gradients
from earshot.explain.explaining import explain_clip
from earshot.explain.gradients import Explained, features_of, grad_cam, integrated_gradients
from earshot.explain.saliency import N_FINE
from earshot.explain.scores import Scorer
from earshot.models.cnn2d import Cnn2d, Cnn2dConfig
from earshot.models.member import NetworkMember
from earshot.training.members import MemberConfig, build_front_end

from .conftest import BURST_HZ, BURST_S, CNN, MEL, N_SAMPLES, RATE_HZ, SVM, WAVE, bundle_of, to_float

SILENCE = np.zeros(N_SAMPLES, np.float32)


@pytest.fixture(scope="module")
def by_cnn(cnn, sample):
    return explain_clip(bundle_of(cnn=(CNN, [cnn], 1.0)), sample)


@pytest.fixture(scope="module")
def by_wave(wave_net, sample):
    return explain_clip(bundle_of(wave=(WAVE, [wave_net], 1.0)), sample)


@pytest.fixture(scope="module")
def by_all(cnn, svm, sample):
    return explain_clip(bundle_of(svm=(SVM, [svm], 0.5), cnn=(CNN, [cnn, cnn], 0.5)), sample)


def box():
    """The burst and what a frame of 32 ms and a half-band of 350 Hz around it touch. Shape: `N_FINE`."""
    top = hz_to_mel(np.array([RATE_HZ / 2]), "slaney")[0]
    low, high = hz_to_mel(np.array([BURST_HZ - 350, BURST_HZ + 350]), "slaney") / top * N_FINE[0]
    first, last = (BURST_S[0] - 0.03) * N_FINE[1], (BURST_S[1] + 0.03) * N_FINE[1]
    inside = np.zeros(N_FINE, bool)
    inside[int(low) : int(np.ceil(high)), int(first) : int(np.ceil(last))] = True
    return inside


def shares_of(found):
    """By method: share of the saliency in the burst's box, and in its time."""
    inside = box()
    in_time = inside.any(axis=0)
    return {
        each.saliency.method: (each.saliency.fine[inside].sum(), each.saliency.fine[:, in_time].sum())
        for each in found.tested
    }


def test_the_box_is_a_small_part_of_the_plane():
    assert box().mean() < 0.06


def test_a_network_on_spectrograms_looks_at_the_burst(by_cnn):
    assert by_cnn.classes[by_cnn.k] == "burst"
    shares = shares_of(by_cnn)
    assert set(shares) == {"occlusion", "grad_cam", "integrated_gradients"}
    assert shares["occlusion"][0] > 0.5
    assert shares["integrated_gradients"][0] > 0.5
    assert shares["grad_cam"][0] > 3 * box().mean()  # as coarse as its maps
    assert by_cnn.tested[0].verdict.level == "faithful"


def test_a_network_on_samples_looks_at_the_time_of_the_burst(by_wave):
    shares, resolves = shares_of(by_wave), {e.saliency.method: e.saliency.resolves for e in by_wave.tested}
    assert resolves == {
        "occlusion": "time and frequency",
        "grad_cam": "time",
        "integrated_gradients": "time",
    }
    assert shares["occlusion"][0] > 0.5
    assert shares["grad_cam"][1] > 0.6
    assert shares["integrated_gradients"][1] > 0.6


def test_occlusion_and_the_test_work_without_any_network(svm, sample):
    found = explain_clip(bundle_of(svm=(SVM, [svm], 1.0)), sample, class_name="burst")
    assert [each.saliency.method for each in found.tested] == ["occlusion"]
    assert shares_of(found)["occlusion"][0] > 0.4
    assert found.members[0].layers == []


def test_an_ensemble_has_maps_of_the_whole_and_of_each_member(by_all):
    assert {each.saliency.method for each in by_all.tested} == {
        "occlusion",
        "grad_cam",
        "integrated_gradients",
    }
    assert {(each.member, each.method) for each in by_all.saliencies} == {
        ("svm", "occlusion"),
        ("cnn", "occlusion"),
        ("cnn", "grad_cam"),
        ("cnn", "integrated_gradients"),
    }
    assert shares_of(by_all)["occlusion"][0] > 0.5
    assert len(by_all.members[1].contributions) == 2


def test_the_salient_part_alone_is_still_the_class(by_cnn):
    assert by_cnn.salient_probs[by_cnn.k] > 0.8
    assert len(by_cnn.salient) == len(by_cnn.plane.waveform)


def test_integrated_gradients_sum_to_the_difference_of_log_odds(cnn, sample):
    explained = Explained(cnn, k=0)
    features = features_of(cnn, to_float(sample))
    found = integrated_gradients(explained, features, silence=features_of(cnn, SILENCE), n_steps=64)
    scaled = explained.scaled(features)
    with torch.no_grad():
        wanted = float(explained(scaled) - explained(torch.zeros_like(scaled)))
    assert found.values.sum() == pytest.approx(wanted, rel=0.02)
    assert found.error < 0.02


@pytest.mark.parametrize("scale", ["none", "band", "clip"])
@pytest.mark.parametrize("view", [MEL, PictureConfig(height=16, width=20)], ids=lambda view: view.kind)
def test_sounds_are_compared_with_silence_where_the_network_does_not_scale(view, scale, sample):
    config = MemberConfig(features=view, model=Cnn2dConfig(block_channels=(4,), scale=scale))
    shape = view.output_shape(len(sample), rate_hz=RATE_HZ)
    torch.manual_seed(0)
    network = Cnn2d(config.model, input_shape=shape, n_classes=2)
    member = NetworkMember(build_front_end(config, RATE_HZ), network)
    silence, sound = features_of(member, SILENCE), features_of(member, to_float(sample))
    network.scaler.measure(sound)
    explained = Explained(member, k=0)
    with torch.no_grad():
        reference = explained.scaled(silence) if scale == "none" else torch.zeros(1, *shape)
        wanted = float(explained(explained.scaled(sound)) - explained(reference))
    found = integrated_gradients(explained, sound, silence=silence, n_steps=256)
    assert found.values.sum() == pytest.approx(wanted, rel=0.05)
    if scale == "none":
        assert not integrated_gradients(explained, silence, silence=silence).values.any()


def test_log_odds_are_those_of_the_softmax(cnn, sample):
    features = features_of(cnn, to_float(sample))
    with torch.no_grad():
        probs = cnn.network(features).softmax(dim=1)[0]
        log_odds = [float(Explained(cnn, k=k)(Explained(cnn, k=k).scaled(features))) for k in (0, 1)]
    assert log_odds == pytest.approx((probs.log() - (1 - probs).log()).tolist(), rel=0.01)


def test_maps_of_gradients_have_the_shape_of_what_they_speak_of(cnn, wave_net, sample):
    wave = to_float(sample)
    assert grad_cam(Explained(cnn, k=0), features_of(cnn, wave)).shape == (32, 63)
    assert grad_cam(Explained(wave_net, k=0), features_of(wave_net, wave)).shape == (8_000,)


def test_explaining_changes_nothing_in_the_network(cnn, sample):
    before = {name: value.clone() for name, value in cnn.network.state_dict().items()}
    explain = Explained(cnn, k=0)
    grad_cam(explain, features_of(cnn, to_float(sample)))
    assert all(torch.equal(value, before[name]) for name, value in cnn.network.state_dict().items())
    assert all(parameter.requires_grad for parameter in cnn.network.parameters())


def test_scores_are_those_of_the_bundle(cnn, svm, sample):
    bundle = bundle_of(svm=(SVM, [svm], 0.3), cnn=(CNN, [cnn, cnn], 0.7))
    scorer = Scorer(bundle)
    rows = scorer.rows([to_float(sample)])
    np.testing.assert_allclose(scorer.whole(rows)[0], next(iter(bundle.score([sample]))), atol=1e-6)
    assert scorer.shares == {"svm": 0.3, "cnn": 0.7}


def test_without_captum_the_message_names_the_library(monkeypatch, cnn, sample):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(gradients.importlib, "import_module", missing)
    with pytest.raises(ConfigError, match="pip install captum"):
        explain_clip(bundle_of(cnn=(CNN, [cnn], 1.0)), sample)
