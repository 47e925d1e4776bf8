import pytest
import torch

from earshot.audio.features import FEATURES
from earshot.audio.log_mel import LogMelConfig
from earshot.audio.mel import MelConfig
from earshot.audio.mfcc import MfccConfig
from earshot.audio.picture import PictureConfig
from earshot.audio.samples import DecimatedConfig, WaveformConfig
from earshot.audio.spectra import PowerSpectrumConfig, SpectrogramConfig
from earshot.audio.statistics import StatisticsConfig
from earshot.audio.voice import VoiceConfig

RATE_HZ = 8_000
CONFIGS = {
    "log_mel": LogMelConfig(n_fft=512, hop_length=200, n_mels=32),
    "statistics": StatisticsConfig(),
    "voice": VoiceConfig(),
    "mel": MelConfig(n_fft=512, hop_length=200, n_mels=32, padding="reflect"),
    "mfcc": MfccConfig(n_mfcc=13, range_db=80.0),
    "spectrogram": SpectrogramConfig(n_fft=256, hop_length=100),
    "power_spectrum": PowerSpectrumConfig(start_s=0.1, n_fft=1024),
    "picture": PictureConfig(),
    "decimated": DecimatedConfig(factor=10),
    "waveform": WaveformConfig(scale="clip"),
}


def front_end(kind):
    return FEATURES[kind](CONFIGS[kind], RATE_HZ)


@pytest.mark.parametrize("kind", FEATURES)
def test_every_front_end_has_the_shape_it_says_for_any_length(kind):
    module = front_end(kind)
    for n_samples in (1, 7, 199, 200, 201, 4_096, 20_001):
        features = module(torch.randn(2, n_samples))
        assert features.shape == (2, *CONFIGS[kind].output_shape(n_samples, rate_hz=RATE_HZ))
        assert features.ndim == 1 + CONFIGS[kind].rank
        assert features.dtype in (torch.float32, torch.uint8)
        assert torch.isfinite(features).all()


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
