import numpy as np
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
from earshot.explain.listening import band_edges_hz
from earshot.explain.views import Extent, as_map, averaged, extent_of, on_grid

RATE_HZ, N_SAMPLES = 16_000, 32_000
VIEWS = [
    LogMelConfig(n_mels=40),
    MelConfig(n_mels=40),
    MfccConfig(),
    SpectrogramConfig(),
    PowerSpectrumConfig(start_s=0.5),
    PictureConfig(),
    DecimatedConfig(factor=10),
    WaveformConfig(),
    StatisticsConfig(),
    VoiceConfig(),
]
RESOLVED = ("log_mel", "mel", "spectrogram", "picture")


def test_every_view_is_known_here():
    assert {view.kind for view in VIEWS} == set(FEATURES)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.kind)
def test_maps_fit_their_extent(view):
    extent = extent_of(view, n_samples=N_SAMPLES, rate_hz=RATE_HZ)
    if view.kind in ("statistics", "voice"):
        assert extent is None
        return
    placed = as_map(view, np.ones(view.output_shape(N_SAMPLES, rate_hz=RATE_HZ)))
    assert placed.shape == (len(extent.edges_hz) - 1, len(extent.edges_s) - 1)
    assert (np.diff(extent.edges_hz) > 0).all()
    assert (np.diff(extent.edges_s) > 0).all()


@pytest.mark.parametrize("view", [v for v in VIEWS if v.kind in RESOLVED], ids=lambda view: view.kind)
def test_the_loudest_place_of_a_view_lies_where_the_tone_is(view):
    t = torch.arange(N_SAMPLES) / RATE_HZ
    wave = torch.sin(2 * torch.pi * 3_000 * t) * ((t > 1.2) & (t < 1.4))
    features = FEATURES[view.kind](view, RATE_HZ)(wave[None])[0].double().numpy()
    extent = extent_of(view, n_samples=N_SAMPLES, rate_hz=RATE_HZ)
    values = as_map(view, features - features.min())
    edges_hz, edges_s = band_edges_hz(8, RATE_HZ), np.linspace(0, 2, 11)
    cells = on_grid(values, extent, edges_hz=edges_hz, edges_s=edges_s)
    band, place = np.unravel_index(cells.argmax(), cells.shape)
    assert edges_hz[band] <= 3_000 < edges_hz[band + 1]
    assert place == 6  # 1.2 to 1.4 s


def test_averages_keep_what_there_is_and_are_nothing_outside():
    values = np.arange(6.0)[:, None]
    found = averaged(values, np.arange(7.0), np.array([0.0, 1.5, 3.0, 6.0, 9.0]))[:, 0]
    np.testing.assert_allclose(found, [(0 + 0.5) / 1.5, (0.5 + 2) / 1.5, (3 + 4 + 5) / 3, 0.0])


def test_a_view_without_frequency_speaks_of_all_bands_alike():
    extent = Extent(np.array([0.0, 8_000.0]), np.array([0.0, 1.0, 2.0]))
    cells = on_grid(
        np.array([[1.0, 3.0]]), extent, edges_hz=band_edges_hz(4, RATE_HZ), edges_s=np.linspace(0, 2, 3)
    )
    np.testing.assert_allclose(cells, np.tile([1.0, 3.0], (4, 1)))
    assert extent.resolves == "time"
