import json
import random
import sys

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from earshot.audio import transforms
from earshot.audio.transforms import (
    PUBLISHED_STEPS,
    AudiomentationsConfig,
    NoiseConfig,
    PitchShiftConfig,
    StepConfig,
    TimeShiftConfig,
    TimeStretchConfig,
    apply_parameters,
    apply_steps,
    check_steps,
    draw_parameters,
)
from earshot.errors import ConfigError, DataError

RATE_HZ = 8_000
GAUSSIAN = AudiomentationsConfig(name="AddGaussianSNR", probability=1.0)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def sounds(n=4, n_samples=4_000, *, seed=0):
    return torch.randn(n, n_samples, generator=rng(seed)) * 0.1


def applied(waveforms, *steps, seed=0):
    return apply_steps(waveforms, steps, rate_hz=RATE_HZ, rng=rng(seed))


def draws(step, n=4_000):
    """The values of a step, drawn many times."""
    generator = np.random.default_rng(0)
    return [values for _ in range(n) for values in draw_parameters([step], generator)]


def assert_uniform(values, low, high):
    values = np.array(values)
    assert low <= values.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < values.max() <= high
    assert np.histogram(values, bins=4, range=(low, high))[0].min() > 0.22 * len(values)


def test_published_steps_are_the_four_in_order_each_applied_to_half_of_the_variants():
    assert [step.kind for step in PUBLISHED_STEPS] == ["time_shift", "noise", "pitch_shift", "time_stretch"]
    generator = np.random.default_rng(0)
    drawn = [[v["kind"] for v in draw_parameters(PUBLISHED_STEPS, generator)] for _ in range(2_000)]
    for step in PUBLISHED_STEPS:
        assert 0.46 < np.mean([step.kind in kinds for kinds in drawn]) < 0.54
    patterns = {tuple(kinds) for kinds in drawn}
    assert len(patterns) == 16  # independent of each other, always in this order


def test_published_ranges():
    shift, noise, pitch, stretch = (step.model_copy(update={"probability": 1.0}) for step in PUBLISHED_STEPS)
    assert_uniform([v["shift_s"] for v in draws(shift)], -1 / 8, 1 / 8)
    assert {v["amplitude"] for v in draws(noise)} == {0.1}
    assert_uniform([v["semitones"] for v in draws(pitch)], -10, 10)
    assert_uniform([v["rate"] for v in draws(stretch)], 0.5, 1.5)


@pytest.mark.parametrize("shift_s", [0.1, -0.1, 0.0, 2.0, -2.0])
def test_a_time_shift_moves_samples_and_leaves_zeros(shift_s):
    waveform = sounds(1)[0]
    moved = apply_parameters(waveform, [{"kind": "time_shift", "shift_s": shift_s}], rate_hz=RATE_HZ)
    expected, n = torch.zeros(4_000), round(shift_s * RATE_HZ)
    if abs(n) < 4_000:
        expected[max(n, 0) : 4_000 + min(n, 0)] = waveform[max(-n, 0) : 4_000 - max(n, 0)]
    assert torch.equal(moved, expected)


def test_noise_is_uniform_between_nothing_and_its_share_of_the_range():
    waveform = sounds(1, 40_000)[0]
    (noisy,), ((values,),) = applied(waveform[None], NoiseConfig(probability=1.0))
    height = 0.1 * (waveform.max() - waveform.min())
    assert_uniform(((noisy - waveform) / height).tolist(), -1e-4, 1.0001)
    other = apply_parameters(waveform, [values | {"seed": values["seed"] + 1}], rate_hz=RATE_HZ)
    assert abs(np.corrcoef(noisy - waveform, other - waveform)[0, 1]) < 0.03


def test_pitch_moves_and_tempo_stays_and_the_other_way_round():
    n = 4 * RATE_HZ
    clicks = torch.zeros(n)
    clicks[RATE_HZ] = 1.0  # one click after a second
    at = {}
    for values in ({"kind": "pitch_shift", "semitones": 7.0}, {"kind": "time_stretch", "rate": 2.0}):
        changed = apply_parameters(clicks, [values], rate_hz=RATE_HZ)
        assert len(changed) == n
        at[values["kind"]] = int(changed.abs().argmax()) / RATE_HZ
    assert at["pitch_shift"] == pytest.approx(1.0, abs=0.1)  # a frame is 0.26 s here
    assert at["time_stretch"] == pytest.approx(0.5, abs=0.1)


def test_a_faster_clip_ends_in_zeros_and_a_slower_one_is_cut():
    waveform = sounds(1)[0]
    fast = apply_parameters(waveform, [{"kind": "time_stretch", "rate": 2.0}], rate_hz=RATE_HZ)
    slow = apply_parameters(waveform, [{"kind": "time_stretch", "rate": 0.5}], rate_hz=RATE_HZ)
    assert torch.equal(fast[2_000:], torch.zeros(2_000))
    assert slow[-500:].abs().max() > 0.05
    assert len(fast) == len(slow) == 4_000


def test_recorded_parameters_survive_json_and_make_the_same_samples_again():
    waveforms = sounds(12)
    changed, parameters = applied(waveforms, *PUBLISHED_STEPS, GAUSSIAN, seed=3)
    for row, again, values in zip(waveforms, changed, parameters, strict=True):
        read = json.loads(json.dumps(values))
        assert torch.equal(apply_parameters(row, read, rate_hz=RATE_HZ), again)


def test_rows_get_their_own_draws_and_a_seed_gives_them_again_on_any_number_of_threads():
    waveforms, n_threads = sounds(8), torch.get_num_threads()
    results = []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            results.append(applied(waveforms, *PUBLISHED_STEPS, GAUSSIAN, seed=5))
    finally:
        torch.set_num_threads(n_threads)
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert len({json.dumps(values) for values in results[0][1]}) == 8
    assert applied(waveforms, *PUBLISHED_STEPS, seed=6)[1] != applied(waveforms, *PUBLISHED_STEPS, seed=5)[1]


def test_how_one_step_falls_does_not_change_what_another_draws():
    one = draw_parameters(
        [TimeShiftConfig(probability=0.0), PitchShiftConfig(probability=1.0)], np.random.default_rng(4)
    )
    both = draw_parameters(
        [TimeShiftConfig(probability=1.0), PitchShiftConfig(probability=1.0)], np.random.default_rng(4)
    )
    assert one == both[1:]


def numpy_state():
    return np.random.get_state()[1].tolist()  # noqa: NPY002


def test_inputs_and_the_global_generators_are_left_alone():
    waveforms = sounds()
    before = waveforms.clone(), random.getstate(), numpy_state(), torch.get_rng_state()
    applied(waveforms, *PUBLISHED_STEPS, GAUSSIAN)
    assert torch.equal(waveforms, before[0])
    assert random.getstate() == before[1]
    assert numpy_state() == before[2]
    assert torch.equal(torch.get_rng_state(), before[3])


def test_without_steps_nothing_changes():
    waveforms = sounds()
    same, parameters = applied(waveforms)
    assert torch.equal(same, waveforms)
    assert parameters == [[], [], [], []]


@pytest.mark.parametrize("n_samples", [1, 3, 700])
def test_short_and_silent_clips_keep_their_length(n_samples):
    steps = [step.model_copy(update={"probability": 1.0}) for step in PUBLISHED_STEPS]
    for waveforms in (sounds(3, n_samples), torch.zeros(3, n_samples)):
        changed, _ = applied(waveforms, *steps)
        assert changed.shape == waveforms.shape
        assert torch.isfinite(changed).all()
    assert torch.equal(changed, torch.zeros(3, n_samples))


@pytest.mark.parametrize(
    "step",
    [
        GAUSSIAN,
        AudiomentationsConfig(name="TimeStretch", params={"leave_length_unchanged": False}, probability=1.0),
        AudiomentationsConfig(
            name="Resample", params={"max_sample_rate": 6_000, "min_sample_rate": 4_000}, probability=1.0
        ),
        AudiomentationsConfig(name="BandPassFilter", params={"max_center_freq": 2_000.0}, probability=1.0),
        AudiomentationsConfig(name="TimeMask", probability=1.0),
        AudiomentationsConfig(name="AddColorNoise", probability=1.0),
    ],
    ids=lambda step: step.name,
)
def test_transforms_of_audiomentations_keep_the_length_and_follow_the_seed(step):
    waveforms = sounds(2, 8_000)
    changed, parameters = applied(waveforms, step, seed=1)
    random.seed(99)
    again, _ = applied(waveforms, step, seed=1)
    other, _ = applied(waveforms, step, seed=2)
    assert changed.shape == waveforms.shape
    assert torch.equal(changed, again)
    assert not torch.equal(changed, other)
    assert not torch.equal(changed, waveforms)
    assert parameters[0][0]["name"] == step.name


def test_audiomentations_gets_its_arguments():
    waveform = sounds(1, 20_000)
    step = AudiomentationsConfig(
        name="AddGaussianSNR", params={"min_snr_db": 10.0, "max_snr_db": 10.0}, probability=1.0
    )
    noise = applied(waveform, step)[0] - waveform
    reached_db = 20 * torch.log10(waveform.square().mean().sqrt() / noise.square().mean().sqrt())
    assert reached_db == pytest.approx(10.0, abs=0.3)


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("AddGausianSNR", {}, "AddGaussianSNR"),
        ("Compose", {}, "a transform of audiomentations"),
        ("Lambda", {}, "a transform of audiomentations"),
        ("AddGaussianSNR", {"snr": 3}, "unexpected keyword argument 'snr'"),
        ("BandPassFilter", {"min_center_freq": 900.0, "max_center_freq": 100.0}, "params of BandPassFilter"),
    ],
)
def test_an_unknown_transform_or_argument_is_refused_before_the_work_begins(name, params, said):
    step = AudiomentationsConfig(name=name, params=params)
    with pytest.raises(ConfigError, match="augment: ") as caught:
        check_steps([TimeShiftConfig(), step])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_transform_that_fails_on_a_sound_is_named_on_one_line(monkeypatch):
    def failing(samples, rate_hz):
        raise RuntimeError("too short\nfor a filter")

    monkeypatch.setattr(transforms, "_transform", lambda *_: failing)
    with pytest.raises(ConfigError, match="params of AddGaussianSNR is 'too short for a filter'"):
        applied(sounds(), GAUSSIAN)


def test_a_transform_that_makes_no_sound_is_refused(monkeypatch):
    monkeypatch.setattr(transforms, "_transform", lambda *_: lambda samples, rate_hz: samples * np.nan)
    with pytest.raises(DataError, match="NaN or Inf"):
        applied(sounds(), GAUSSIAN)


def test_a_missing_library_names_the_library(monkeypatch):
    transforms._transforms.cache_clear()
    transforms._transform.cache_clear()
    monkeypatch.setitem(sys.modules, "audiomentations", None)
    with pytest.raises(ConfigError, match='pip install "audiomentations<1"'):
        check_steps([GAUSSIAN])


def test_steps_are_told_apart_by_kind_and_written_out_whole():
    adapter = TypeAdapter(tuple[StepConfig, ...])
    steps = (*PUBLISHED_STEPS, GAUSSIAN.model_copy(update={"params": {"max_snr_db": 20.0, "min_snr_db": 5}}))
    assert adapter.validate_python(json.loads(adapter.dump_json(steps))) == steps
    assert adapter.validate_python([{"kind": "noise"}]) == (NoiseConfig(),)


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "echo"},
        {"kind": "noise", "level": 1},
        {"kind": "noise", "probability": 1.5},
        {"kind": "time_stretch", "min_rate": 1.2, "max_rate": 1.1},
        {"kind": "time_stretch", "min_rate": 0},
        {"kind": "pitch_shift", "max_semitones": 30},
        {"kind": "audiomentations"},
        {"kind": "audiomentations", "name": "Gain", "params": {"p": 0.5}},
    ],
)
def test_values_out_of_bounds_are_refused(values):
    with pytest.raises(ValidationError):
        TypeAdapter(StepConfig).validate_python(values)


def test_equal_limits_draw_that_value():
    step = TimeStretchConfig(min_rate=1.25, max_rate=1.25, probability=1.0)
    assert {values["rate"] for values in draws(step, 10)} == {1.25}
