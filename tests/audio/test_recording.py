"""Steps that stand for another recorder or another place, each against its physics."""

import json

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from earshot.audio.recording import BandLimitConfig, ColouredNoiseConfig, GapsConfig, LevelConfig
from earshot.audio.transforms import StepConfig, apply_parameters, apply_steps, draw_parameters

RATE_HZ = 16_000
STEPS = (
    ColouredNoiseConfig(probability=1),
    BandLimitConfig(probability=1),
    LevelConfig(probability=1),
    GapsConfig(probability=1),
)


def noise(n_samples=RATE_HZ, *, seed=0):
    return 0.1 * torch.randn(n_samples, generator=torch.Generator().manual_seed(seed))


def tone(hz):
    return 0.5 * torch.sin(2 * torch.pi * hz * torch.arange(RATE_HZ) / RATE_HZ)


def level_db(waveform):
    return float(10 * torch.log10(waveform.double().square().mean()))


def applied(waveform, **values):
    return apply_parameters(waveform, [values], rate_hz=RATE_HZ)


def coloured(waveform, colour, *, snr_db=0.0, start=0):
    return applied(waveform, kind="coloured_noise", colour=colour, snr_db=snr_db, start=start)


@pytest.mark.parametrize("colour", ["white", "pink", "brown"])
@pytest.mark.parametrize("snr_db", [0.0, 12.5, 30.0])
def test_noise_lies_as_far_below_the_sound_as_drawn(colour, snr_db):
    waveform = torch.cat([tone(440)] * 8)  # the lowest octaves of brown noise take seconds to even out
    added = coloured(waveform, colour, snr_db=snr_db) - waveform
    assert level_db(waveform) - level_db(added) == pytest.approx(snr_db, abs=1.5)


@pytest.mark.parametrize(("colour", "slope_db"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)])
def test_the_colour_is_the_slope_of_the_spectrum(colour, slope_db):
    waveform = 1e-4 * torch.ones(8 * RATE_HZ)
    added = (coloured(waveform, colour, snr_db=0.0) - waveform).double()
    power = torch.fft.rfft(added).abs().square()
    octaves = (100, 200, 400, 800, 1_600)
    density_db = [float(10 * torch.log10(power[8 * hz : 16 * hz].mean())) for hz in octaves]
    slope = np.polyfit(range(len(octaves)), density_db, 1)[0]
    assert slope == pytest.approx(slope_db, abs=0.3)


def test_noise_from_the_end_of_the_bank_goes_on_at_its_start():
    waveform = tone(100)
    from_end = coloured(waveform, "white", start=2**20 - 10) - waveform
    from_start = coloured(waveform, "white", start=0) - waveform
    torch.testing.assert_close(from_end[10:], from_start[:-10], atol=1e-6, rtol=0)


@pytest.mark.parametrize("order", [2, 4, 8])
def test_a_low_pass_takes_6_db_an_octave_for_each_order(order):
    # The bilinear transform bends frequencies, so that 2 kHz lies a little further above 1 kHz than an octave.
    ratio = np.tan(np.pi * 2_000 / RATE_HZ) / np.tan(np.pi * 1_000 / RATE_HZ)
    wanted_db = -10 * np.log10(1 + ratio ** (2 * order))
    kept = applied(tone(2_000), kind="band_limit", side="low", cutoff_hz=1_000, order=order)[2_000:]
    assert level_db(kept) - level_db(tone(2_000)) == pytest.approx(wanted_db, abs=1.5)
    below = applied(tone(200), kind="band_limit", side="low", cutoff_hz=1_000, order=order)
    assert level_db(below) - level_db(tone(200)) == pytest.approx(0, abs=0.2)


def test_a_high_pass_takes_what_is_below():
    values = {"kind": "band_limit", "side": "high", "cutoff_hz": 1_000, "order": 4}
    assert level_db(applied(tone(250), **values)[2_000:]) - level_db(tone(250)) < -45
    assert level_db(applied(tone(4_000), **values)) - level_db(tone(4_000)) == pytest.approx(0, abs=0.2)


def test_a_low_pass_above_what_the_rate_holds_changes_nothing():
    waveform = noise()
    kept = applied(waveform, kind="band_limit", side="low", cutoff_hz=16_000.0, order=4)
    assert torch.equal(kept, waveform)
    borne = applied(waveform, kind="band_limit", side="high", cutoff_hz=16_000.0, order=8)
    assert torch.isfinite(borne).all()


def test_another_level_is_rounded_to_16_bits():
    waveform = noise()
    quiet = applied(waveform, kind="level", gain_db=-40.0)
    assert level_db(quiet) - level_db(waveform) == pytest.approx(-40, abs=0.1)
    steps = quiet * 32_768
    assert torch.equal(steps, steps.round())
    assert len(steps.unique()) < 300


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_stated_share_is_lost_in_gaps_of_50_ms_and_the_rest_stays(share):
    waveform = noise()
    left = applied(waveform, kind="gaps", share=share, seed=5)
    lost = left == 0
    assert float(lost.float().mean()) == pytest.approx(share, abs=1e-3)
    assert torch.equal(left[~lost], waveform[~lost])
    edges = torch.nonzero(lost[1:] != lost[:-1])[:, 0] + 1
    assert (edges % 800 == 0).all()


def test_what_is_drawn_lies_in_its_ranges_and_goes_into_json():
    rng = np.random.default_rng(0)
    drawn = [values for _ in range(500) for values in draw_parameters(STEPS, rng)]
    assert json.loads(json.dumps(drawn)) == drawn
    snrs = [v["snr_db"] for v in drawn if v["kind"] == "coloured_noise"]
    assert 0 <= min(snrs) < 2
    assert 33 < max(snrs) <= 35
    assert {v["colour"] for v in drawn if v["kind"] == "coloured_noise"} == {"white", "pink", "brown"}
    bands = [v for v in drawn if v["kind"] == "band_limit"]
    for side, low, high in (("low", 500, 16_000), ("high", 50, 1_600)):
        cutoffs = np.array([v["cutoff_hz"] for v in bands if v["side"] == side])
        assert cutoffs.min() >= low * 0.999
        assert cutoffs.max() <= high * 1.001
        assert np.median(cutoffs) == pytest.approx(np.sqrt(low * high), rel=0.25)  # even in octaves
    assert all(-40 <= v["gain_db"] <= 0 for v in drawn if v["kind"] == "level")


def test_rows_of_a_batch_differ_and_come_again_with_the_same_seed():
    waveforms = noise().repeat(4, 1)
    first, again = (
        apply_steps(waveforms, STEPS, rate_hz=RATE_HZ, rng=torch.Generator().manual_seed(3))[0]
        for _ in range(2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(waveforms, noise().repeat(4, 1))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
@pytest.mark.parametrize("n_samples", [0, 1, 7, 3_000])
def test_silence_and_the_shortest_sounds_are_borne(step, n_samples):
    for waveform in (torch.zeros(n_samples), noise(n_samples)):
        changed, _ = apply_steps(
            waveform[None], [step], rate_hz=RATE_HZ, rng=torch.Generator().manual_seed(0)
        )
        assert changed.shape == (1, n_samples)
        assert torch.isfinite(changed).all()
        assert waveform.any() or not changed.any()


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "coloured_noise", "snr_db": [20, 10]},
        {"kind": "coloured_noise", "colours": []},
        {"kind": "coloured_noise", "colours": ["mauve"]},
        {"kind": "band_limit", "low_pass_hz": [0, 100]},
        {"kind": "level", "gain_db": ["nan", 0]},
        {"kind": "level", "gain": [0, 0]},
    ],
)
def test_ranges_that_make_no_sense_are_refused(values):
    with pytest.raises(ValidationError):
        TypeAdapter(StepConfig).validate_python(values)
