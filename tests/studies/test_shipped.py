"""The shipped studies of recordings, on small made-up data of their layouts, from the folder to the page."""

import numpy as np
import pytest

from earshot.models.summary import n_parameters
from earshot.studies.loading import load_study, study_names
from earshot.studies.study import run_study
from earshot.training.networks import prepared_network

from .. import corpus

RATE_HZ = 16_000
KEPT_STATISTICS = {"cnn-tuned": 96}  # running means and variances, which Keras counts


def spoken(pitch_hz, *, seed, duration_s):
    """A buzz of a voice's pitch with noise, at 16 kHz. Shape: [T]."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    wave = sum(np.sin(2 * np.pi * k * pitch_hz * t) / k for k in range(1, 8))
    return 0.1 * wave + 0.005 * rng.standard_normal(len(t))


@pytest.fixture
def cats_and_dogs(tmp_path):
    """Ten recordings of each, 1.2 to 2.4 s."""
    root = tmp_path / "cats-dogs" / "train"
    for k, name in enumerate(("cat", "dog")):
        for i in range(10):
            sound = spoken(500 - 350 * k, seed=i, duration_s=1.2 + 0.4 * (i % 4))
            corpus.write(root / name / f"{name}_{i}.wav", sound, rate_hz=RATE_HZ)
    return tmp_path


@pytest.fixture
def timit(tmp_path):
    """Three speakers of each sex to learn from and one to judge, one sentence of their own and one of all."""
    for part, numbers in (("TRAIN", range(3)), ("TEST", range(3, 4))):
        for sex, pitch_hz in (("M", 110), ("F", 210)):
            for i in numbers:
                for sentence in ("SX1", "SA2"):
                    sound = spoken(pitch_hz + 5 * i, seed=i, duration_s=1.0)
                    folder = tmp_path / "TIMIT" / part / "DR1" / f"{sex}ABC{i}"
                    corpus.write(folder / f"{sentence}.WAV", sound, rate_hz=RATE_HZ)
    return tmp_path / "TIMIT"


def test_cats_and_dogs_are_found_and_judged_a_segment_and_a_clip(ask, cats_and_dogs, monkeypatch):
    monkeypatch.setenv("EARSHOT_DATA", str(cats_and_dogs))
    asked = ask(study=load_study("cats-dogs"), data=None, quick=True, rows="stride3,filters5", n_workers=1)
    done = run_study(asked)
    assert done.n_failed == 0
    assert "ours a clip" in done.text
    page = done.page.read_text()
    for words in (
        "standardised by that class",
        "/cats-dogs, 20 clips",
        "cat every time",
        "1,082",
    ):
        assert words in page


def test_cats_and_dogs_as_published(ask, cats_and_dogs):
    study = load_study("cats-dogs")
    done = run_study(
        ask(
            study=study,
            data=cats_and_dogs / "cats-dogs",
            quick=True,
            rows="stride3",
            protocol="book",
            n_workers=1,
        )
    )
    assert done.n_failed == 0
    assert "with its mistakes" in done.page.read_text()


def test_voices_of_timit_are_judged_on_its_test_speakers_clean_and_spoiled(ask, timit):
    study = load_study("voice-gender")
    spoil = study.spoil.model_copy(update={"corruptions": ("white_noise", "dropouts"), "severities": (5,)})
    study = study.model_copy(update={"spoil": spoil})
    done = run_study(
        ask(study=study, data=timit, quick=True, rows="cnn1d,cnn1d-log-copies", n_workers=1)
    )  # fmt: skip
    assert done.n_failed == 0
    for words in (
        "own test split",
        "8 clips are the sentences",
        "Spoiled clips",
        "Everything tried",
        "/TIMIT, ",
    ):
        assert words in done.page.read_text()


@pytest.mark.parametrize("name", study_names())
def test_every_network_of_a_shipped_study_fits_its_view_and_counts_as_published(name):
    study = load_study(name)
    n_samples = round(study.window_s * study.rate_hz)
    for row in study.rows:
        if row.model is None or not row.view or not row.model.is_network or hasattr(row.model, "weights"):
            continue
        shape = study.views[row.view].output_shape(n_samples, rate_hz=study.rate_hz)
        network = prepared_network(
            row.model, input_shape=shape, n_classes=len(study.classes[0].names), seed=0
        )
        ours, theirs = n_parameters(network), row.published_parameters
        assert theirs is None or ours == theirs - KEPT_STATISTICS.get(row.id, 0), row.id
