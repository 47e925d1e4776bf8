"""The damaged clips are put together by hand here, one at a time, and scored as waveforms."""

from types import SimpleNamespace

import numpy as np
import pytest

from earshot import read_clips
from earshot.audio.augment import AugmentConfig
from earshot.audio.corruptions import CORRUPTIONS, SEVERITIES, rng_of
from earshot.audio.windows import to_float, to_int16
from earshot.deploy.robustness import score_damaged, taught_to
from earshot.errors import ConfigError, DataError
from earshot.evaluation.predictions import Predictions
from earshot.training.members import MemberConfig

from .. import corpus

RATE_HZ = 4_000
LABELS = ("bark", "meow")


def waveforms():
    """Tones in noise at 16 bits, 3 of each label: each is its own recording."""
    rng = np.random.default_rng(0)
    t = np.arange(3_000) / RATE_HZ
    made = [0.2 * np.sin(2 * np.pi * 200 * (i + 1) * t) + 0.02 * rng.standard_normal(3_000) for i in range(6)]
    return [to_float(to_int16(each.astype(np.float32))) for each in made]


@pytest.fixture
def clips(tmp_path):
    for i, waveform in enumerate(waveforms()):
        corpus.write(tmp_path / LABELS[i // 3] / f"{i}.wav", waveform, rate_hz=RATE_HZ)
    return read_clips(tmp_path)


def clean(model, clips):
    targets = np.zeros((len(clips), 3), np.float32)
    targets[:, :2] = clips.targets
    probs = np.stack(list(model.score(map(to_int16, waveforms()))))
    return Predictions(probs, model.classes, clip_ids=clips.ids, targets=targets, groups=tuple(clips.groups))


@pytest.fixture
def fickle(bundle):
    """Says one of two classes by whether the sum of the samples is odd: every other sound may change its mind."""

    def score(clips):
        for samples in clips:
            yield np.eye(3, dtype=np.float32)[int(samples.sum(dtype=np.int64)) % 2]

    return SimpleNamespace(score=score, classes=bundle.classes, config=bundle.config, rate_hz=bundle.rate_hz)


def test_every_clip_is_scored_under_every_corruption_and_severity(fickle, clips):
    predictions = clean(fickle, clips)
    names = ("white_noise", "high_pass", "gain")
    scores, notes = score_damaged(fickle, clips, predictions, wanted="gain,high_pass,white_noise", seed=3)
    assert (tuple(scores.accuracy), notes, scores.n_clips) == (names, [], 6)
    for name in names:
        for severity in SEVERITIES:
            right = []
            for waveform, clip_id, label in zip(waveforms(), clips.ids, predictions.labels, strict=True):
                rng = rng_of(name, severity, clip_id=clip_id, seed=3)
                made = CORRUPTIONS[name].apply(waveform, rate_hz=RATE_HZ, severity=severity, rng=rng)
                right.append(next(fickle.score([to_int16(made)])).argmax() == label)
            assert scores.accuracy[name][severity - 1] == pytest.approx(np.mean(right))
    assert len({value for each in scores.accuracy.values() for value in each}) > 2


def test_only_what_no_network_was_trained_on_is_held_out(bundle, clips):
    scores, _ = score_damaged(bundle, clips, clean(bundle, clips), wanted="gain,clipping,mu_law")
    assert scores.held_out == {"clipping", "mu_law"}


def test_copies_for_a_classical_member_teach_it_what_waveforms_can_show(bundle):
    both = SimpleNamespace(config=bundle.config)
    assert "dropouts" in taught_to(both)  # masked by the network
    svm = bundle.config.members["fast"]
    augment = AugmentConfig(n_copies=1, speed_octaves=0.2)
    copied = svm.model_copy(update={"config": svm.config.model_copy(update={"augment": augment})})
    alone = SimpleNamespace(config=SimpleNamespace(members={"fast": copied}))
    assert taught_to(alone) == {
        *("white_noise", "pink_noise", "gain", "speed", "time_stretch", "pitch_shift", "time_shift")
    }
    assert taught_to(SimpleNamespace(config=SimpleNamespace(members={"fast": svm}))) == frozenset()


def test_masks_teach_nothing_where_the_features_are_no_spectrogram(bundle):
    network = next(each for each in bundle.config.members.values() if each.config.is_network)
    config = MemberConfig.model_validate(
        {"features": {"kind": "decimated", "seconds": 0.1}, "model": {"kind": "mlp"}}
    )
    rows = network.model_copy(update={"config": config})
    assert not {"dropouts", "low_pass", "high_pass"} & taught_to(
        SimpleNamespace(config=SimpleNamespace(members={"rows": rows}))
    )


def test_background_comes_from_clips_of_other_recordings(bundle, clips, monkeypatch):
    heard = []

    def listen(samples, snr_db, scene):
        heard.append((samples, scene.pool))
        return samples

    spy = CORRUPTIONS["background"].__class__(listen, (5, 4, 3, 2, 1), "dB", "noise", needs_pool=True)
    monkeypatch.setitem(CORRUPTIONS, "background", spy)
    score_damaged(bundle, clips, clean(bundle, clips), wanted="background")
    assert len(heard) == 6 * 5
    for samples, pool in heard:
        assert len(pool) == 5
        assert not any(np.array_equal(samples, each) for each in pool)


def test_one_recording_has_no_background_and_a_note_says_so(bundle, clips):
    alone = clips.subset([0])
    predictions = clean(bundle, clips).subset([0])
    scores, notes = score_damaged(bundle, alone, predictions, wanted="background,gain")
    assert tuple(scores.accuracy) == ("gain",)
    assert notes == ["background is left out: it needs clips of other recordings"]


def test_other_clips_than_those_predicted_are_refused(bundle, clips):
    with pytest.raises(DataError, match="robustness: clips is 1; expected the clips of the predictions"):
        score_damaged(bundle, clips.subset([0]), clean(bundle, clips))


def test_an_unknown_corruption_is_refused_before_anything_is_decoded(bundle, clips):
    with pytest.raises(ConfigError, match="--corruptions: name is 'hiss'"):
        score_damaged(bundle, clips, clean(bundle, clips), wanted="hiss")


def test_a_clip_that_is_gone_is_named(bundle, clips, tmp_path):
    predictions = clean(bundle, clips)
    (tmp_path / "meow" / "4.wav").unlink()
    with pytest.raises(DataError, match=r"can no longer be read: .*4\.wav"):
        score_damaged(bundle, clips, predictions, wanted="gain")
