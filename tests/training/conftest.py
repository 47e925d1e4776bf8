"""Tiny sounds and recipes that train in a second."""

import numpy as np
import pytest

from earshot.audio.augment import AugmentConfig
from earshot.audio.log_mel import LogMelConfig
from earshot.audio.statistics import StatisticsConfig
from earshot.audio.windows import InMemory, to_int16
from earshot.models.classical import SvmConfig
from earshot.models.cnn2d import Cnn2dConfig
from earshot.training.checkpoint import Checkpoint
from earshot.training.members import FoldData, MemberConfig, fit_member
from earshot.training.options import TrainingConfig

RATE_HZ = 4_000
LENGTH = 2_000


def tones(labels, *, seed=0):
    """A noisy tone a clip, at a pitch of its class; int16 arrays of 0.3 to 0.8 s."""
    rng = np.random.default_rng(seed)
    clips = []
    for label in labels:
        t = np.arange(rng.integers(1_200, 3_200)) / RATE_HZ
        pitch_hz = 250.0 * 1.6**label * rng.uniform(0.95, 1.05)
        tone = np.sin(2 * np.pi * pitch_hz * t + rng.uniform(0, 6)) * rng.uniform(0.1, 0.5)
        clips.append(to_int16((tone + 0.02 * rng.normal(size=len(t))).astype(np.float32)))
    return clips


@pytest.fixture
def make_fold():
    """A fold over tones: `make_fold(n_clips=24, n_classes=3, n_test=6, multilabel=False)`."""

    def make(*, n_clips=24, n_classes=3, n_test=6, multilabel=False, test_seed=0):
        labels = np.arange(n_clips) % n_classes
        targets = np.eye(n_classes, dtype=np.float32)[labels]
        clips = tones(labels)
        if multilabel:
            second = tones((labels + 1) % n_classes, seed=1)
            for i in range(0, n_clips, 2):
                targets[i, (labels[i] + 1) % n_classes] = 1
                n = min(len(clips[i]), len(second[i]))
                clips[i] = clips[i][:n] // 2 + second[i][:n] // 2
        if test_seed:
            clips[n_clips - n_test :] = tones(labels[n_clips - n_test :], seed=test_seed)
        return FoldData(
            view=InMemory(clips),
            targets=targets,
            groups=np.array([f"g{i // n_classes}" for i in range(n_clips)], dtype=object),
            train=np.arange(n_clips - n_test),
            test=np.arange(n_clips - n_test, n_clips),
            length=LENGTH,
            hop=LENGTH,
            rate_hz=RATE_HZ,
            multilabel=multilabel,
        )

    return make


@pytest.fixture
def network_config():
    """A network of a few thousand weights: `network_config(epochs=3, **training)`."""

    def make(*, augment=None, **training):
        dropout = 0.0 if training.get("optimizer") == "lbfgs" else 0.2
        values = {"epochs": 3, "batch_size": 6, "watch_every": 1, "learning_rate": 1e-2} | training
        return MemberConfig(
            features=LogMelConfig(n_fft=256, hop_length=128, n_mels=16),
            model=Cnn2dConfig(n_stem_channels=4, block_channels=(6, 8), dropout=dropout),
            augment=augment or AugmentConfig(),
            training=TrainingConfig(**values),
        )

    return make


@pytest.fixture
def svm_config():
    mel = LogMelConfig(n_fft=256, hop_length=128, n_mels=16, floor_db=-90.0)
    return MemberConfig(
        features=StatisticsConfig(mel=mel, n_modulation_bands=4, n_modulation_rates=4), model=SvmConfig()
    )


@pytest.fixture
def fit(tmp_path):
    """Fits a member on a fold: `fit(config, data)`; another name has a checkpoint of its own."""

    def run(config, data, name="one"):
        return fit_member(
            config,
            data,
            seed=0,
            device="cpu",
            checkpoint=Checkpoint(tmp_path / name, identity="any"),
            on_progress=lambda done, total: None,
        )

    return run
