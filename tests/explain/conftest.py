"""Tiny models that know tone bursts in noise, whose time and frequency are random: a map must find them."""

import numpy as np
import pytest
import torch

from earshot.audio.log_mel import LogMelConfig
from earshot.audio.samples import WaveformConfig
from earshot.audio.statistics import StatisticsConfig
from earshot.audio.windows import to_float, to_int16
from earshot.deploy.bundle import Bundle, BundleMember, new_config
from earshot.models import MODELS
from earshot.models.classical import SvmConfig
from earshot.models.cnn1d import Stack1dConfig
from earshot.models.cnn2d import Cnn2dConfig
from earshot.models.member import ClassicalMember, NetworkMember
from earshot.training.members import MemberConfig, build_front_end

RATE_HZ = 8_000
N_SAMPLES = 8_000
CLASSES = ("burst", "noise")
MEL = LogMelConfig(n_fft=256, hop_length=128, n_mels=32)
CNN = MemberConfig(features=MEL, model=Cnn2dConfig(n_stem_channels=8, block_channels=(8, 16), dropout=0.0))
WAVE = MemberConfig(
    features=WaveformConfig(scale="none"),
    model=Stack1dConfig(
        layers=(*("conv 8 8 stride 4 same", "norm", "relu") * 4, "global average"), scale="none"
    ),
)
SVM = MemberConfig(
    features=StatisticsConfig(mel=MEL, n_modulation_bands=4, n_modulation_rates=4), model=SvmConfig()
)
BURST_S, BURST_HZ = (0.55, 0.75), 2_000.0


def noise(seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.005, 0.03) * rng.standard_normal(N_SAMPLES)


def burst(seed, *, place_s=None, frequency_hz=None):
    """A tone of 0.2 s in noise, anywhere in time and frequency unless told."""
    rng = np.random.default_rng([seed, 1])
    first = rng.uniform(0.05, 0.75) if place_s is None else place_s[0]
    hz = rng.uniform(500, 3_500) if frequency_hz is None else frequency_hz
    t = np.arange(N_SAMPLES) / RATE_HZ
    inside = (t >= first) & (t < first + 0.2)
    return noise(seed) + 0.15 * inside * np.sin(2 * np.pi * hz * t)


def clips(n, *, seed=0):
    """n int16 clips and their classes, every second one with a burst."""
    made = [burst(seed + i) if i % 2 == 0 else noise(seed + i) for i in range(n)]
    return np.stack([to_int16(clip.astype(np.float32)) for clip in made]), np.arange(n) % 2


def trained(config, *, n_steps, seed=0):
    """A network member, trained in a few seconds."""
    waves, targets = clips(160)
    front_end = build_front_end(config, RATE_HZ)
    with torch.no_grad():
        features = front_end(torch.from_numpy(to_float(waves)))
    shape = config.features.output_shape(N_SAMPLES, rate_hz=RATE_HZ)
    torch.manual_seed(seed)
    network = MODELS[config.model.kind](config.model, input_shape=shape, n_classes=2)
    network.scaler.measure(features)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    wanted = torch.from_numpy(targets)
    for step in range(n_steps):
        rows = torch.arange(16) + 16 * step
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(features[rows % 160]), wanted[rows % 160])
        loss.backward()
        optimiser.step()
    return NetworkMember(front_end, network)


def fitted_svm():
    waves, targets = clips(80)
    front_end = build_front_end(SVM, RATE_HZ)
    rows = front_end(torch.from_numpy(to_float(waves))).numpy()
    model = MODELS["svm"](SVM.model, input_shape=rows.shape[1:], n_classes=2).fit(rows, targets)
    return ClassicalMember(front_end, model, n_classes=2, temperature=0.5)


def bundle_of(**families):
    """A bundle of members by name: (configuration, fold models, weight)."""
    members = {
        name: BundleMember(
            config=config,
            weight=weight,
            files=tuple(f"{name}-{i}.bin" for i in range(len(fitted))),
            temperatures=(1.0,) * len(fitted),
        )
        for name, (config, fitted, weight) in families.items()
    }
    config = new_config(
        classes=CLASSES,
        multilabel=False,
        rate_hz=RATE_HZ,
        window_samples=N_SAMPLES,
        hop_samples=N_SAMPLES,
        resampler="HQ",
        members=members,
    )
    return Bundle(config, {name: fitted for name, (_, fitted, _) in families.items()})


@pytest.fixture(scope="session")
def cnn():
    return trained(CNN, n_steps=80)


@pytest.fixture(scope="session")
def wave_net():
    return trained(WAVE, n_steps=120)


@pytest.fixture(scope="session")
def svm():
    return fitted_svm()


@pytest.fixture(scope="session")
def sample():
    """A burst at a known place: int16 [T]."""
    return to_int16(burst(999, place_s=BURST_S, frequency_hz=BURST_HZ).astype(np.float32))
