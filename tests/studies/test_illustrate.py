import json
from types import SimpleNamespace

import numpy as np
import pytest

from earshot.studies.illustrate import layers_of, slice_power, tonal_and_broadband

from .conftest import outcome

RATE_HZ = 8_000


def sounds(*clips):
    return SimpleNamespace(clips=clips, waveform=lambda i: clips[i].astype(np.float32), rate_hz=RATE_HZ)


def tone(hz, seconds=1.0):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)


def test_the_loudest_slice_is_looked_at_and_its_power_kept():
    samples = np.concatenate([0.01 * tone(500), tone(1_000), 0.01 * tone(500)]).astype(np.float32)
    power = slice_power(samples, rate_hz=RATE_HZ)
    assert np.argmax(power) * RATE_HZ / 2 / (len(power) - 1) == pytest.approx(1_000, abs=10)
    assert power.sum() == pytest.approx(0.5**2 / 2, rel=0.05)


def test_a_tone_is_tonal_noise_is_broadband_and_silence_is_neither():
    noise = np.random.default_rng(0).normal(size=RATE_HZ) * 0.1
    clicks = (np.arange(RATE_HZ) % 400 < 4) * 0.5
    silence = np.zeros(RATE_HZ)
    assert tonal_and_broadband(sounds(silence, clicks, noise, tone(700))) == (3, 2)
    assert tonal_and_broadband(sounds(silence, silence)) == (0, 0)


def test_a_clip_shorter_than_a_slice_has_a_spectrum():
    assert len(slice_power(tone(500, 0.05).astype(np.float32), rate_hz=RATE_HZ)) == 201


def test_layers_of_a_pretrained_network_need_no_weights_and_no_network(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    asked = []

    def fetch(name, **options):
        asked.append(options)
        raise FileNotFoundError(name)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    tiny = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    (tmp_path / "config.json").write_text(json.dumps(tiny | {"layer_type": "basic"}))
    rows = {
        name: outcome(name, [True], n_parameters=7, layers=True, model={"kind": "resnet", "weights": weights})
        for name, weights in (("here", str(tmp_path)), ("gone", "microsoft/resnet-18"))
    }
    bank = SimpleNamespace(
        shape=lambda view: (16, 32), data=SimpleNamespace(clips=SimpleNamespace(classes="ab"))
    )
    result = SimpleNamespace(results=rows, bench=SimpleNamespace(bank=bank))
    ((label, n_parameters, text),) = layers_of(result)
    assert (label, n_parameters) == ("row here", "7")
    assert "Conv2d" in text
    assert asked == [{"local_files_only": True}]
