import librosa
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from earshot.audio.features import (
    FEATURES,
    FeatureStatistics,
    LogMel,
    LogMelConfig,
    StatisticsConfig,
    hz_to_mel,
    log_mel,
    mel_filters,
    mel_to_hz,
)
from earshot.errors import ConfigError

RATE_HZ = 8_000
CONFIGS = {"log_mel": LogMelConfig(n_fft=512, hop_length=200, n_mels=32), "statistics": StatisticsConfig()}


def front_end(kind):
    return FEATURES[kind](CONFIGS[kind], RATE_HZ)


def sounds(rate_hz, *, n_samples=20_000):
    """A loud glide over faint noise, noise, and clicks. Shape: [3, n_samples]."""
    rng = np.random.default_rng(0)
    t = np.arange(n_samples) / rate_hz
    glide = 0.9 * np.sin(2 * np.pi * (100 * t + 0.1 * rate_hz * t**2)) + 1e-4 * rng.normal(size=n_samples)
    noise = 0.1 * rng.normal(size=n_samples)
    clicks = (np.arange(n_samples) % 3_001 == 0) * 0.9
    return np.stack([glide, noise, clicks]).astype(np.float32)


def librosa_levels(waveform, rate_hz, config):
    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=rate_hz,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
        fmin=config.f_min_hz,
        fmax=config.f_max_hz,
        htk=config.mel_scale == "htk",
        norm="slaney" if config.mel_norm == "slaney" else None,
    )
    return librosa.power_to_db(power, top_db=None)


@pytest.mark.parametrize(
    ("rate_hz", "values"),
    [
        (44_100, {}),
        (44_100, {"hop_length": 882, "n_mels": 64}),
        (32_000, {"n_fft": 1024, "hop_length": 640, "n_mels": 64, "f_min_hz": 50.0, "f_max_hz": 14_000.0}),
        (16_000, {"n_fft": 400, "hop_length": 160, "n_mels": 40, "mel_scale": "htk"}),
        (22_050, {"n_fft": 512, "hop_length": 300, "n_mels": 33, "mel_scale": "htk", "mel_norm": "none"}),
        (8_000, {"n_fft": 256, "hop_length": 64, "n_mels": 20, "f_max_hz": 3_000.0, "mel_norm": "none"}),
        (96_000, {"n_fft": 4096, "hop_length": 1000, "n_mels": 80, "f_min_hz": 200.0}),
    ],
)
def test_log_mel_agrees_with_librosa_over_the_top_80_db(rate_hz, values):
    config = LogMelConfig(**values)
    waveforms = sounds(rate_hz)
    levels = LogMel(config, rate_hz)(torch.from_numpy(waveforms)).numpy()
    for ours, waveform in zip(levels, waveforms, strict=True):
        theirs = librosa_levels(waveform, rate_hz, config)
        assert ours.shape == theirs.shape
        near = (theirs > theirs.max() - 80) & (theirs > config.floor_db + 1)
        assert np.abs(ours - theirs)[near].max() <= 1e-3


@pytest.mark.parametrize("htk", [False, True])
def test_filters_and_scales_are_librosas(htk):
    scale = "htk" if htk else "slaney"
    config = LogMelConfig(n_fft=1024, n_mels=50, f_min_hz=30.0, f_max_hz=9_000.0, mel_scale=scale)
    theirs = librosa.filters.mel(
        sr=22_050, n_fft=1024, n_mels=50, fmin=30.0, fmax=9_000.0, htk=htk, dtype=np.float64
    )
    np.testing.assert_allclose(mel_filters(config, 22_050), theirs, atol=1e-12)
    frequencies_hz = np.array([0.0, 60.0, 999.9, 1_000.0, 1_001.0, 20_000.0])
    mels = hz_to_mel(frequencies_hz, scale)
    np.testing.assert_allclose(mels, librosa.hz_to_mel(frequencies_hz, htk=htk), atol=1e-9)
    np.testing.assert_allclose(mel_to_hz(mels, scale), frequencies_hz, atol=1e-8)


def test_a_tone_is_loudest_in_the_band_around_it_at_every_pitch():
    config = LogMelConfig(n_fft=2048, hop_length=512, n_mels=40)
    t = np.arange(16_000) / 16_000
    centres_hz = mel_to_hz(np.linspace(*hz_to_mel(np.array([0.0, 8_000.0]), "slaney"), 42), "slaney")[1:-1]
    tones = np.sin(2 * np.pi * centres_hz[::5, None] * t).astype(np.float32)
    loudest = log_mel(torch.from_numpy(tones), 16_000, config=config).mean(dim=2).argmax(dim=1)
    assert loudest.tolist() == list(range(0, 40, 5))


def test_twice_the_amplitude_is_six_decibels_more():
    waveform = torch.from_numpy(sounds(RATE_HZ)[1:2])
    louder, level = front_end("log_mel")(2 * waveform), front_end("log_mel")(waveform)
    torch.testing.assert_close(louder - level, torch.full_like(level, 20 * np.log10(2)), atol=1e-4, rtol=0)


def test_silence_is_the_floor_and_nothing_is_below_it():
    module = LogMel(LogMelConfig(floor_db=-70.0), RATE_HZ)
    assert (module(torch.zeros(1, 4_000)) == -70).all()
    assert module(1e-6 * torch.randn(1, 4_000)).min() >= -70.0001


def test_other_devices_and_gradients_take_a_path_with_the_same_levels():
    waveforms = torch.from_numpy(sounds(RATE_HZ)[1:])
    module = front_end("log_mel")
    traced = waveforms.clone().requires_grad_()
    levels = module(traced)
    torch.testing.assert_close(levels, module(waveforms), atol=5e-3, rtol=0)
    levels.sum().backward()
    assert traced.grad.abs().sum() > 0
    assert torch.isfinite(traced.grad).all()


@pytest.mark.parametrize(
    "values",
    [
        {"f_max_hz": 5_000.0},
        {"f_min_hz": 4_000.0},
        {"f_min_hz": 300.0, "f_max_hz": 200.0},
    ],
)
def test_bands_outside_the_spectrum_are_refused(values):
    with pytest.raises(ConfigError, match=r"f_max_hz is .*; expected f_min_hz .* Leave it out"):
        LogMel(LogMelConfig(**values), RATE_HZ)


@pytest.mark.parametrize(
    "values", [{"n_fft": 4}, {"hop_length": 0}, {"n_mels": 1}, {"f_min_hz": -1}, {"x": 1}]
)
def test_values_out_of_bounds_are_refused(values):
    with pytest.raises(ValidationError):
        LogMelConfig(**values)


def test_more_bands_than_bins_leave_some_at_the_floor_and_nothing_breaks():
    levels = LogMel(LogMelConfig(n_fft=64, hop_length=32, n_mels=200), RATE_HZ)(torch.randn(2, 999))
    assert levels.shape == (2, 200, 32)
    assert torch.isfinite(levels).all()


def test_statistics_tell_what_they_say():
    module = FeatureStatistics(CONFIGS["statistics"], 44_100)
    n_mels = CONFIGS["statistics"].mel.n_mels
    waveforms = torch.from_numpy(sounds(44_100, n_samples=60_000))
    levels = module.mel(waveforms).numpy()
    rows = module(waveforms).numpy()
    spread = rows[:, : 6 * n_mels].reshape(3, 6, n_mels)
    quantiles = np.quantile(levels, [0.1, 0.5, 0.9], axis=2)
    expected = [levels.mean(axis=2), levels.std(axis=2), *quantiles, levels.max(axis=2)]
    np.testing.assert_allclose(spread, np.stack(expected, axis=1), atol=1e-3)
    changes = np.diff(levels, axis=2)
    np.testing.assert_allclose(rows[:, 6 * n_mels : 7 * n_mels], changes.mean(axis=2), atol=1e-3)
    np.testing.assert_allclose(rows[:, 11 * n_mels : 12 * n_mels], changes.max(axis=2), atol=1e-3)


@pytest.mark.parametrize("pulse_hz", [2.0, 8.0])
def test_the_modulation_spectrum_finds_the_rate_of_pulses(pulse_hz):
    config = StatisticsConfig()
    module = FeatureStatistics(config, 44_100)
    t = np.arange(5 * 44_100) / 44_100
    noise = np.random.default_rng(0).normal(size=len(t))
    pulses = (0.1 * noise * 10 ** (np.sin(2 * np.pi * pulse_hz * t))).astype(np.float32)
    row = module(torch.from_numpy(pulses[None]))[0]
    rates = (
        row[13 * config.mel.n_mels :].view(config.n_modulation_bands, config.n_modulation_rates).mean(dim=0)
    )
    edges_hz = np.geomspace(0.4, module.frame_rate_hz / 2, config.n_modulation_rates + 1)
    assert edges_hz[rates.argmax()] <= pulse_hz * 1.1
    assert edges_hz[rates.argmax() + 1] >= pulse_hz * 0.9


# Every front end


@pytest.mark.parametrize("kind", FEATURES)
def test_every_front_end_has_the_shape_it_says_for_any_length(kind):
    module = front_end(kind)
    for n_samples in (1, 7, 199, 200, 201, 4_096, 20_001):
        features = module(torch.randn(2, n_samples))
        assert features.shape[:2] == (2, module.n_features)
        assert features.dtype == torch.float32
        assert torch.isfinite(features).all()
        if kind == "log_mel":
            assert features.shape[2] == 1 + n_samples // 200


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("level", [0.0, 1e-20, 1e-6, 1.0])
def test_every_front_end_is_finite_from_silence_to_full_scale(kind, level):
    module = front_end(kind)
    for wave in (torch.ones(1, 4_000), torch.randn(1, 4_000).sign()):
        assert torch.isfinite(module(level * wave)).all()


@pytest.mark.parametrize("kind", FEATURES)
def test_every_front_end_repeats_itself_and_leaves_its_input_alone(kind):
    module = front_end(kind)
    waveforms = torch.randn(5, 6_000)
    before = waveforms.clone()
    first = module(waveforms)
    assert torch.equal(waveforms, before)
    assert torch.equal(first, module(waveforms))
    assert torch.equal(first, front_end(kind)(waveforms))
    alone = torch.cat([module(row[None]) for row in waveforms])
    torch.testing.assert_close(first, alone, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("kind", FEATURES)
def test_every_front_end_gives_the_same_on_any_number_of_threads(kind):
    waveforms, n_threads = torch.randn(7, 6_000), torch.get_num_threads()
    results = []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            with torch.inference_mode():
                results.append(front_end(kind)(waveforms))
    finally:
        torch.set_num_threads(n_threads)
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("kind", FEATURES)
def test_every_front_end_has_nothing_to_save(kind):
    module = front_end(kind)
    assert dict(module.named_parameters()) == {}
    assert module.state_dict() == {}


def test_every_front_end_is_tried_here():
    assert CONFIGS.keys() == FEATURES.keys()
    assert all(config.kind == kind for kind, config in CONFIGS.items())
