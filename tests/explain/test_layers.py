import numpy as np
import pytest
import torch
from torch import nn

from earshot.explain.filters import filters_of, frequency_response_db
from earshot.explain.gradients import features_of
from earshot.explain.layers import contributions_of, layers_of

from .conftest import CNN, MEL, RATE_HZ, WAVE, to_float


@pytest.mark.parametrize("name", ["cnn", "wave_net"])
def test_contributions_and_bias_sum_to_the_logits(name, request, sample):
    member = request.getfixturevalue(name)
    features = features_of(member, to_float(sample))
    found = contributions_of(member.network, features)
    with torch.no_grad():
        logits = member.network(features)[0].numpy()
    np.testing.assert_allclose(found.table.sum(axis=0) + found.bias, logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.logits, logits, rtol=1e-4, atol=1e-4)


def test_layers_are_convolutions_with_their_norm_and_activation(cnn, sample):
    layers = layers_of(cnn.network, features_of(cnn, to_float(sample)))
    assert [each.name.split(",")[0] for each in layers] == [
        "convolution 5×5",
        *("convolution 3×3", "convolution 3×3", "average of neighbours") * 2,
    ]
    assert layers[0].name.endswith("norm, ReLU")
    assert layers[0].activations.shape == (8, 16, 32)
    assert all((each.activations >= 0).all() for each in layers)


def test_the_last_maps_pool_to_what_the_last_layer_sees(cnn, sample):
    features = features_of(cnn, to_float(sample))
    over_time = layers_of(cnn.network, features)[-1].activations.mean(axis=1)
    pooled = over_time.mean(axis=1) + over_time.max(axis=1)
    np.testing.assert_allclose(contributions_of(cnn.network, features).pooled, pooled, rtol=1e-4)


def test_curves_of_a_network_on_samples(wave_net, sample):
    layers = layers_of(wave_net.network, features_of(wave_net, to_float(sample)))
    assert [each.activations.shape for each in layers] == [(8, 2_000), (8, 500), (8, 125), (8, 32), (8, 1)]


def test_looking_at_layers_leaves_the_network_as_it_was(cnn, sample):
    features = features_of(cnn, to_float(sample))
    layers_of(cnn.network, features)
    assert not any(module._forward_hooks for module in cnn.network.modules())


def test_first_filters_of_each_kind(cnn, wave_net, sample):
    layers = layers_of(cnn.network, features_of(cnn, to_float(sample)))
    over_mel = filters_of(cnn.network, features=MEL, rate_hz=RATE_HZ, first_maps=layers[0].activations)
    assert over_mel.weights.shape == (8, 5, 5)
    assert over_mel.profiles.shape == (8, 16)
    along_samples = filters_of(wave_net.network, features=WAVE.features, rate_hz=RATE_HZ)
    assert along_samples.weights.shape == (8, 8)
    assert along_samples.response_db.shape == (8, 257)
    assert along_samples.frequencies_hz[-1] == RATE_HZ / 2
    assert filters_of(nn.Linear(3, 2), features=CNN.features, rate_hz=RATE_HZ) is None


def test_frequency_responses_agree_with_scipy():
    from scipy.signal import freqz

    taps = np.random.default_rng(0).standard_normal((3, 700))
    found = frequency_response_db(taps)
    for row, filter_taps in zip(found, taps, strict=True):
        size = np.abs(freqz(filter_taps, worN=np.linspace(0, np.pi, 257))[1])
        np.testing.assert_allclose(row, np.maximum(20 * np.log10(size / size.max()), -60), atol=1e-6)
