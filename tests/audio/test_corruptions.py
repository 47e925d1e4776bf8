"""Each damage against its physics, and what holds for all of them."""

from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from earshot.audio.augment import AugmentConfig
from earshot.audio.codecs import CODECS
from earshot.audio.corruptions import CORRUPTIONS, SEVERITIES, corruptions_of, rng_of, taught_by
from earshot.audio.recording import BandLimitConfig, ColouredNoiseConfig, GapsConfig, LevelConfig
from earshot.audio.transforms import AudiomentationsConfig, PitchShiftConfig, _transforms
from earshot.errors import ConfigError
from earshot.recipe import load_recipe

RATE_HZ = 16_000
MADE_HERE = [name for name, each in CORRUPTIONS.items() if not each.codec or CODECS[each.codec].is_there()]
# How far the result lies from the clip grows with the severity for these. Not for a sound that is moved or delayed,
# nor for a codec that makes up what it leaves out.
_UNORDERED = ("resampling", "opus", "mp3", "time_shift")
_GROUPS = ("noise", "level", "codec", "loss")
GROWING = [name for name in MADE_HERE if CORRUPTIONS[name].group in _GROUPS and name not in _UNORDERED]


def noise(n_samples=RATE_HZ, *, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def tone(hz, n_samples=RATE_HZ, *, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(n_samples) / RATE_HZ)).astype(np.float32)


def damaged(name, waveform, severity=5, *, rate_hz=RATE_HZ, seed=0):
    rng = rng_of(name, severity, clip_id="clip", seed=seed)
    pool = [noise(7_000, seed=99)]
    return CORRUPTIONS[name].apply(waveform, rate_hz=rate_hz, severity=severity, rng=rng, pool=pool)


def value(name, severity=5):
    return CORRUPTIONS[name].values[severity - 1]


def loudest_hz(waveform):
    levels = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return levels.argmax() * RATE_HZ / len(waveform)


def level_db(waveform):
    return 10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)))


def distance(waveform, other):
    return np.sqrt(np.mean(np.square(waveform - other, dtype=np.float64)))


@pytest.mark.parametrize("name", MADE_HERE)
@pytest.mark.parametrize("severity", [1, 5])
def test_every_damage_keeps_the_length_the_type_and_its_input(name, severity):
    waveform = noise(5_000)
    before = waveform.copy()
    made = damaged(name, waveform, severity)
    assert (made.shape, made.dtype) == (waveform.shape, np.float32)
    assert np.isfinite(made).all()
    assert np.abs(made).max() > 1e-5
    np.testing.assert_array_equal(waveform, before)


@pytest.mark.parametrize("name", MADE_HERE)
@pytest.mark.parametrize("rate_hz", [2_000, 8_000, 44_100])
def test_the_shortest_clips_at_any_rate_are_borne(name, rate_hz):
    for n_samples in (1, 2, 33):
        made = damaged(name, noise(n_samples), rate_hz=rate_hz)
        assert made.shape == (n_samples,)
        assert np.isfinite(made).all()


@pytest.mark.parametrize("name", MADE_HERE)
def test_silence_stays_silence(name):
    assert not damaged(name, np.zeros(300, np.float32)).any()
    assert damaged(name, np.zeros(0, np.float32)).shape == (0,)


@pytest.mark.parametrize("name", MADE_HERE)
def test_the_same_seed_clip_and_severity_make_the_same_sound(name):
    waveform = noise(3_000)
    np.testing.assert_array_equal(damaged(name, waveform, 3), damaged(name, waveform, 3))


@pytest.mark.parametrize("name", GROWING)
def test_a_higher_severity_takes_a_sound_further_away(name):
    waveform = tone(300) * 0.5 + noise() * 0.3
    distances = [distance(damaged(name, waveform, severity), waveform) for severity in SEVERITIES]
    assert (np.diff(distances) > 0).all(), distances


@pytest.mark.parametrize("name", ["low_pass", "high_pass"])
def test_a_higher_severity_filters_more_of_a_sound_away(name):
    waveform = noise(44_100)
    levels = [level_db(damaged(name, waveform, severity, rate_hz=44_100)) for severity in SEVERITIES]
    assert (np.diff(levels) < 0).all(), levels


def test_draws_differ_by_seed_clip_corruption_and_severity():
    keys = [
        ("gain", 1, "a", 0),
        ("speed", 1, "a", 0),
        ("gain", 2, "a", 0),
        ("gain", 1, "b", 0),
        ("gain", 1, "a", 1),
    ]
    draws = {rng_of(name, severity, clip_id=clip, seed=seed).random() for name, severity, clip, seed in keys}
    assert len(draws) == len(keys)


@pytest.mark.parametrize("name", ["white_noise", "pink_noise", "babble", "background"])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_noise_lies_as_far_below_the_clip_as_stated(name, severity):
    waveform = tone(440)
    added = damaged(name, waveform, severity).astype(np.float64) - waveform
    assert level_db(waveform) - level_db(added) == pytest.approx(value(name, severity), abs=0.1)


def test_recorded_background_is_a_clip_of_the_pool_that_is_heard():
    corruption = CORRUPTIONS["background"]
    other = tone(1_000, 3_000)
    pool = [np.zeros(400, np.float32), other]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        made = corruption.apply(tone(200), rate_hz=RATE_HZ, severity=5, rng=rng, pool=pool)
        assert loudest_hz(made - tone(200)) == pytest.approx(1_000, abs=8)


def test_background_without_a_pool_is_refused():
    with pytest.raises(ValueError, match="pool is empty"):
        CORRUPTIONS["background"].apply(noise(), rate_hz=RATE_HZ, severity=1, rng=np.random.default_rng(0))


def test_low_pass_removes_a_tone_above_and_keeps_one_below():
    cutoff_hz = value("low_pass", 4)
    above, below = (level_db(damaged("low_pass", tone(hz), 4)) - level_db(tone(hz)) for hz in (2_000, 500))
    assert cutoff_hz == 1_000
    assert above < -40  # 48 dB an octave, and its onset
    assert below == pytest.approx(0, abs=0.2)


def test_high_pass_removes_a_tone_below_and_keeps_one_above():
    below, above = (
        level_db(damaged("high_pass", tone(hz), 4)[2_000:]) - level_db(tone(hz)) for hz in (400, 1_600)
    )
    assert value("high_pass", 4) == 800
    assert below < -45
    assert above == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_stated_share_of_samples_is_clipped(severity):
    waveform = noise()
    made = damaged("clipping", waveform, severity)
    share = np.mean(np.abs(made) >= np.abs(made).max())
    assert share == pytest.approx(value("clipping", severity), abs=1e-3)
    assert np.mean(made != waveform) == pytest.approx(share, abs=1e-3)


def test_clipping_leaves_a_short_event_in_digital_silence_audible():
    waveform = np.zeros(RATE_HZ, np.float32)
    waveform[:800] = tone(500, 800)
    assert level_db(damaged("clipping", waveform)) > level_db(waveform) - 6


def test_gain_is_as_stated_but_for_the_bits_that_are_lost():
    waveform = noise()
    made = damaged("gain", waveform, 3)
    assert level_db(made) - level_db(waveform) == pytest.approx(value("gain", 3), abs=0.1)
    steps = made.astype(np.float64) * 32_768
    np.testing.assert_array_equal(steps, np.rint(steps))


@pytest.mark.parametrize("severity", [2, 5])
def test_speed_changes_the_pitch_by_its_factor_either_way(severity):
    factor, heard = value("speed", severity), set()
    for seed in range(6):
        ratio = loudest_hz(damaged("speed", tone(1_000), severity, seed=seed)[:8_000]) / 1_000
        assert min(abs(ratio - factor), abs(ratio - 1 / factor)) < 0.004
        heard.add(ratio > 1)
    assert heard == {True, False}


def test_time_stretch_moves_events_and_keeps_pitch():
    waveform = tone(1_000, 48_000)
    made = damaged("time_stretch", waveform)
    assert loudest_hz(made[4_000:20_000]) == pytest.approx(1_000, abs=3)
    waveform[12_000:] = 0  # the end of the sound shows the tempo
    end = np.flatnonzero(np.abs(damaged("time_stretch", waveform)) > 0.1)[-1] / 12_000
    assert min(abs(end - 1.5), abs(end - 1 / 1.5)) < 0.12  # a window is 2,048 samples


def test_pitch_shift_moves_a_tone_by_its_semitones():
    ratio = loudest_hz(damaged("pitch_shift", tone(1_000, 32_000))[4_000:20_000]) / 1_000
    assert abs(12 * np.log2(ratio)) == pytest.approx(value("pitch_shift"), abs=0.05)


def test_resampling_folds_down_what_its_rate_cannot_hold():
    assert value("resampling", 3) == 8_000
    made = np.abs(np.fft.rfft(damaged("resampling", tone(6_500), 3) * np.hanning(RATE_HZ)))
    assert made[1_500] > 100 * np.median(made)
    np.testing.assert_array_equal(damaged("resampling", noise(), 1), noise())  # 16 kHz already


def test_reverberation_keeps_the_power_of_a_steady_sound_and_rings_as_long_as_stated():
    waveform = np.zeros(4 * RATE_HZ, np.float32)
    waveform[: 2 * RATE_HZ] = noise(2 * RATE_HZ)
    made = damaged("reverberation", waveform, 3)
    assert level_db(made[RATE_HZ : 2 * RATE_HZ]) == pytest.approx(level_db(waveform[: 2 * RATE_HZ]), abs=1)
    click = np.zeros(2 * RATE_HZ, np.float32)
    click[0] = 1
    tail = damaged("reverberation", click, 3).astype(np.float64)[1:] ** 2
    left_db = 10 * np.log10(np.cumsum(tail[::-1])[::-1][: RATE_HZ // 2] / tail.sum())
    slope_db = np.polyfit(np.arange(RATE_HZ // 2) / RATE_HZ, left_db, 1)[0]
    assert -60 / slope_db == pytest.approx(value("reverberation", 3), rel=0.08)


@pytest.mark.parametrize("severity", [1, 5])
def test_the_stated_share_of_time_drops_out(severity):
    waveform = noise(4 * RATE_HZ)
    lost = damaged("dropouts", waveform, severity) == 0
    assert lost.mean() == pytest.approx(value("dropouts", severity), abs=0.01)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost, [0]])))
    assert set((edges[1::2] - edges[::2]) % (RATE_HZ // 20)) == {0}  # whole gaps of 50 ms


def test_a_shifted_sound_is_the_same_but_for_what_left_the_clip():
    waveform, n = noise(), round(value("time_shift", 3) * RATE_HZ)
    seen = set()
    for seed in range(6):
        made = damaged("time_shift", waveform, 3, seed=seed)
        later = not made[:n].any()
        kept, given = (made[n:], waveform[:-n]) if later else (made[:-n], waveform[n:])
        np.testing.assert_array_equal(kept, given)
        seen.add(later)
    assert seen == {True, False}


@pytest.mark.parametrize("name", [name for name in ("vorbis", "opus", "mp3") if name in MADE_HERE])
@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100])
def test_a_codec_leaves_the_sound_where_it_was(name, rate_hz):
    burst = signal.sosfilt(
        signal.butter(4, [300, 2_000], "bandpass", fs=rate_hz, output="sos"), noise(rate_hz)
    )
    burst = (burst * (np.arange(rate_hz) % (rate_hz // 4) < rate_hz // 9)).astype(np.float32)
    for severity in (1, 3, 5) if name != "opus" else (1, 3):  # at 6 kbit/s Opus keeps no waveform
        both = signal.correlate(damaged(name, burst, severity, rate_hz=rate_hz), burst, method="fft")
        assert abs(int(both.argmax()) - (rate_hz - 1)) <= rate_hz / 4_000, severity


def test_standard_is_all_and_groups_and_names_choose():
    everything, notes = corruptions_of("standard", has_pool=True)
    assert everything == tuple(MADE_HERE)
    assert len(notes) == len(CORRUPTIONS) - len(MADE_HERE)
    names, notes = corruptions_of("tempo, clipping", has_pool=False)
    assert (names, notes) == (("clipping", "speed", "time_stretch"), ())


def test_background_is_left_out_with_a_note_where_there_are_no_other_clips():
    names, notes = corruptions_of("noise", has_pool=False)
    assert names == ("white_noise", "pink_noise", "babble")
    assert notes[-1].startswith("background is left out")
    with pytest.raises(ConfigError, match="background is left out"):
        corruptions_of("background", has_pool=False)


def test_a_codec_that_is_not_there_is_left_out_with_a_note(monkeypatch):
    monkeypatch.setattr("soundfile.available_subtypes", lambda container: {})
    names, notes = corruptions_of("codec", has_pool=False)
    assert names == ("resampling", "mu_law")
    assert [note.split()[0] for note in notes] == ["vorbis", "opus", "mp3"]


def test_an_unknown_name_is_refused_in_one_line():
    with pytest.raises(
        ConfigError, match="--corruptions: name is 'hiss'; expected standard, or some of noise"
    ):
        corruptions_of("noise,hiss", has_pool=True)


@pytest.mark.parametrize("severity", [0, 6])
def test_an_unknown_severity_is_refused(severity):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="expected \\[T\\] and 1 to 5"):
        CORRUPTIONS["gain"].apply(noise(), rate_hz=RATE_HZ, severity=severity, rng=rng)


def test_what_the_training_had_something_like_is_not_held_out():
    nothing = AugmentConfig(
        shift=False,
        gain_db=0,
        noise_probability=0,
        mix_probability=0,
        time_resize=0,
        frequency_resize=0,
        n_time_masks=0,
        n_frequency_masks=0,
    )
    assert taught_by(nothing) == frozenset()
    assert taught_by(AugmentConfig(enabled=False)) == frozenset()
    assert taught_by(nothing.model_copy(update={"shift": True})) == {"time_shift"}
    steps = (PitchShiftConfig(), AudiomentationsConfig(name="RoomSimulator"))
    assert taught_by(nothing.model_copy(update={"steps": steps})) == {"pitch_shift", "reverberation"}
    held_out = set(CORRUPTIONS) - taught_by(AugmentConfig())
    assert {"babble", "reverberation", "clipping", "opus"} <= held_out
    assert "white_noise" not in held_out


def test_training_names_in_the_table_are_names_of_augmentations():
    kinds = {"noise", "time_shift", "pitch_shift", "time_stretch"}
    kinds |= {"coloured_noise", "band_limit", "level", "gaps"}
    for each in CORRUPTIONS.values():
        for name in each.taught_by:
            assert name in AugmentConfig.model_fields or name in kinds or name[0].isupper()


def test_every_transform_of_audiomentations_is_like_a_corruption_or_known_to_be_like_none():
    taught = {name for each in CORRUPTIONS.values() for name in each.taught_by if name[0].isupper()}
    assert _transforms().keys() - taught == {"Reverse", "PolarityInversion"}
    assert taught <= _transforms().keys()


def test_the_page_states_every_group_and_value():
    page = Path(__file__).parents[2] / "docs" / "robustness.md"
    suite = page.read_text().split("## The suite")[1].split("\n## ")[0]
    rows = [line.split("|")[1:4] for line in suite.splitlines() if line.startswith("| `")]
    stated = {cells[0].strip(" `"): cells[1:] for cells in rows if cells[0].strip(" `") in CORRUPTIONS}
    assert set(stated) == set(CORRUPTIONS)
    for name, (group, values) in stated.items():
        assert group.strip() == CORRUPTIONS[name].group
        assert tuple(float(each) for each in values.split(",")) == CORRUPTIONS[name].values


def test_the_robust_recipe_holds_some_of_the_suite_out():
    taught = frozenset[str]()
    for member in load_recipe("robust").members.values():
        taught |= taught_by(member.augment)
    held_out = set(CORRUPTIONS) - taught
    assert held_out == {"babble", "reverberation", "clipping", "vorbis", "opus", "mp3", "mu_law"}


@pytest.mark.parametrize(
    ("step", "names"),
    [
        (ColouredNoiseConfig(), {"white_noise", "pink_noise"}),
        (BandLimitConfig(), {"low_pass", "high_pass", "resampling"}),
        (LevelConfig(), {"gain"}),
        (GapsConfig(), {"dropouts"}),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_what_another_recorder_does_teaches_its_own_kind(step, names):
    off = dict.fromkeys(("gain_db", "noise_probability", "mix_probability", "time_resize"), 0)
    off |= dict.fromkeys(("frequency_resize", "n_time_masks", "n_frequency_masks", "shift"), 0)
    assert taught_by(AugmentConfig(steps=(step,), **off)) == names
    assert taught_by(AugmentConfig(last_steps=(step,), **off)) == names
    assert taught_by(AugmentConfig(background_probability=0.1, **off)) == {"background"}
