import numpy as np
import pytest
import torch
from pydantic import ValidationError

from earshot.audio.augment import AugmentConfig, augment_spectrograms, augment_waveforms
from earshot.audio.recording import LevelConfig
from earshot.audio.spectrogram_changes import translate_in_time
from earshot.audio.transforms import PUBLISHED_STEPS, NoiseConfig, TimeShiftConfig, apply_steps
from earshot.audio.waveform_changes import add_background, add_noise_, change_speed, draw_mixing

NOTHING = {
    "shift": False,
    "gain_db": 0,
    "polarity": False,
    "noise_probability": 0,
    "speed_octaves": 0,
    "mix_probability": 0,
    "time_resize": 0,
    "frequency_resize": 0,
    "n_time_masks": 0,
    "n_frequency_masks": 0,
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def noises(n=16, n_samples=4_000, *, seed=1):
    levels = torch.logspace(-3, -0.5, n)[:, None]
    return torch.randn(n, n_samples, generator=rng(seed)) * levels


def only(**values):
    return AugmentConfig(**{**NOTHING, **values})


def changed(waveforms, *, seed=0, **values):
    """Waveforms after one kind of change alone."""
    targets = torch.eye(len(waveforms))
    return augment_waveforms(waveforms, targets, only(**values), rng=rng(seed), rate_hz=8_000)[0]


def rms(waveforms):
    return waveforms.square().mean(dim=1).sqrt()


def test_with_everything_off_nothing_changes():
    waveforms, targets = noises(), torch.eye(16)
    same, same_targets = augment_waveforms(waveforms, targets, only(), rng=rng())
    assert torch.equal(same, waveforms)
    assert torch.equal(same_targets, targets)
    spectrograms = torch.randn(3, 8, 20)
    assert torch.equal(augment_spectrograms(spectrograms, only(), rng=rng()), spectrograms)


def test_a_shift_is_circular_and_differs_between_rows():
    waveforms = noises()
    shifted = changed(waveforms, shift=True)
    steps = []
    for row, moved in zip(waveforms, shifted, strict=True):
        similarity = torch.fft.irfft(torch.fft.rfft(moved) * torch.fft.rfft(row).conj(), n=len(row))
        steps.append(int(similarity.argmax()))
        assert torch.equal(moved, row.roll(steps[-1]))
    assert len(set(steps)) > 12


def test_gain_stays_within_its_range_and_fills_it():
    waveforms = noises(400, 50)
    gain_db = 20 * torch.log10(rms(changed(waveforms, gain_db=6.0)) / rms(waveforms))
    assert gain_db.abs().max() <= 6.001
    assert gain_db.min() < -5.5
    assert gain_db.max() > 5.5


def test_polarity_flips_about_half_of_the_rows():
    waveforms = noises(200, 20)
    flipped = changed(waveforms, polarity=True)
    signs = (flipped / waveforms).mean(dim=1)
    assert torch.equal(flipped, waveforms * signs[:, None].round())
    assert 70 < (signs < 0).sum() < 130


@pytest.mark.parametrize("snr_db", [(0.0, 0.0), (10.0, 10.0), (30.0, 30.0)])
def test_noise_reaches_its_ratio_at_every_level(snr_db):
    waveforms = noises(8, 50_000)
    noisy = waveforms.clone()
    add_noise_(noisy, snr_db=snr_db, rng=rng())
    noise = noisy - waveforms
    reached_db = 20 * torch.log10(rms(waveforms) / rms(noise))
    torch.testing.assert_close(reached_db, torch.full((8,), snr_db[0]), atol=0.15, rtol=0)
    correlation = np.corrcoef(noise.numpy())
    assert np.abs(correlation - np.eye(8)).max() < 0.05


def test_noise_touches_the_share_of_rows_it_should_and_leaves_silence_silent():
    waveforms = noises(400, 30)
    noisy = changed(waveforms, noise_probability=0.3)
    assert 80 < (noisy != waveforms).any(dim=1).sum() < 160
    silence = torch.zeros(5, 100)
    assert torch.equal(changed(silence, noise_probability=1.0), silence)


def test_speed_moves_the_pitch_within_its_range():
    rate_hz, n = 8_000, 8_000
    tone = torch.sin(2 * torch.pi * 500 * torch.arange(n) / rate_hz).repeat(60, 1)
    faster = change_speed(tone, octaves=0.5, rng=rng())
    assert faster.shape == tone.shape
    # A window, because a faster tone starts again from its beginning.
    pitch_hz = (
        torch.fft.rfft(faster[:, :5_000] * torch.hann_window(5_000)).abs().argmax(dim=1) * rate_hz / 5_000
    )
    octaves = torch.log2(pitch_hz / 500)
    assert octaves.abs().max() < 0.51
    assert octaves.min() < -0.4
    assert octaves.max() > 0.4


def test_a_faster_row_starts_again_and_a_slower_one_is_cut():
    ramp = torch.linspace(0, 1, 1_000).repeat(40, 1)
    for row in change_speed(ramp, octaves=1.0, rng=rng()):
        drops = (row.diff() < -0.5).sum()
        if row[-1] < 0.99 and drops == 0:
            assert row.max() == row[-1]  # slower: the end is cut off
        else:
            assert drops <= 1
        assert row[0] < 0.01


def mixing_of(waveforms, seed=0, probability=1.0):
    return draw_mixing(rms(waveforms), rng=rng(seed), probability=probability)


def test_a_mix_is_heard_at_the_ratio_of_its_targets_whatever_the_levels():
    waveforms = noises(64)
    mixing = mixing_of(waveforms)
    levels = rms(waveforms)
    own, other = mixing.own * levels, mixing.other * levels[mixing.partners]
    apart = mixing.partners != torch.arange(64)
    heard = own / (own + other)
    torch.testing.assert_close(heard[apart], mixing.share[apart], atol=2e-3, rtol=0)


def test_a_mix_of_equal_levels_keeps_the_energy():
    waveforms = torch.randn(32, 60_000, generator=rng(3)) * 0.1
    mixed = changed(waveforms, mix_probability=1.0)
    torch.testing.assert_close(rms(mixed), rms(waveforms), rtol=0.02, atol=0)
    assert not torch.equal(mixed, waveforms)


def test_mixed_targets_are_the_two_shares():
    waveforms = noises()
    targets = torch.eye(16)
    _, soft = augment_waveforms(waveforms, targets, only(mix_probability=1.0), rng=rng())
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(16))
    assert ((soft > 0).sum(dim=1) <= 2).all()
    assert ((soft > 0.01) & (soft < 0.99)).any()


def test_rows_that_are_not_mixed_keep_waveform_and_target():
    waveforms, targets = noises(200, 40), torch.eye(200)
    mixed, soft = augment_waveforms(waveforms, targets, only(mix_probability=0.5), rng=rng())
    kept = (soft == targets).all(dim=1)
    assert 60 < kept.sum() < 140
    assert torch.equal(mixed[kept], waveforms[kept])


def test_mixing_with_silence_stays_finite():
    waveforms = noises(8)
    waveforms[::2] = 0
    assert torch.isfinite(changed(waveforms, mix_probability=1.0)).all()
    assert torch.isfinite(changed(torch.zeros(4, 100), mix_probability=1.0)).all()


def test_several_labels_a_clip_are_mixed_alike():
    targets = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    _, soft = augment_waveforms(noises(2), targets, only(mix_probability=1.0), rng=rng(1))
    assert ((soft >= 0) & (soft <= 1)).all()
    torch.testing.assert_close(soft[:, 1], torch.ones(2))


def test_disabled_training_sees_clips_as_they_are():
    config = AugmentConfig(enabled=False, steps=PUBLISHED_STEPS, time_translate=0.5)
    waveforms, targets, spectrograms = noises(), torch.eye(16), torch.randn(3, 8, 20)
    state = rng(3)
    same, same_targets = augment_waveforms(waveforms, targets, config, rng=state)
    assert torch.equal(same, waveforms)
    assert torch.equal(same_targets, targets)
    assert torch.equal(augment_spectrograms(spectrograms, config, rng=state), spectrograms)


def test_steps_come_before_the_other_changes():
    waveforms, targets = noises(), torch.eye(16)
    config = only(steps=(TimeShiftConfig(probability=1.0), NoiseConfig()), gain_db=6.0)
    changed_by_both, _ = augment_waveforms(waveforms, targets, config, rng=rng(2), rate_hz=8_000)
    draws = rng(2)
    stepped, _ = apply_steps(waveforms, config.steps, rate_hz=8_000, rng=draws)
    expected, _ = augment_waveforms(stepped, targets, only(gain_db=6.0), rng=draws)
    assert torch.equal(changed_by_both, expected)
    assert not torch.equal(stepped, waveforms)


def test_steps_need_the_rate():
    with pytest.raises(ValueError, match="rate_hz"):
        augment_waveforms(noises(), torch.eye(16), only(steps=PUBLISHED_STEPS), rng=rng())


@pytest.mark.parametrize(
    "features",
    [torch.randn(6, 40), torch.randint(255, (6, 3, 20, 30), dtype=torch.uint8), torch.randn(6, 3, 20, 30)],
    ids=["rows", "pictures", "float pictures"],
)
def test_features_that_are_no_spectrograms_are_left_alone(features):
    config = AugmentConfig(time_translate=0.5)
    assert augment_spectrograms(features, config, rng=rng()) is features


def test_a_translation_alone_is_that_of_the_spectrograms():
    spectrograms = torch.rand(20, 4, 50) * 60 - 60
    moved = translate_in_time(spectrograms, max_share=0.2, fill_db=-80.0, rng=rng())
    config = only(time_translate=0.2, translate_fill_db=-80.0)
    assert torch.equal(augment_spectrograms(spectrograms, config, rng=rng()), moved)
    assert not torch.equal(spectrograms, moved)


@pytest.mark.parametrize("n_samples", [1, 2, 999])
@pytest.mark.parametrize("n", [1, 5])
def test_all_changes_together_keep_shapes_and_stay_finite(n, n_samples):
    config = AugmentConfig(speed_octaves=0.3, noise_probability=1.0)
    waveforms, targets = augment_waveforms(noises(n, n_samples), torch.eye(5)[:n], config, rng=rng())
    assert waveforms.shape == (n, n_samples)
    assert targets.shape == (n, 5)
    assert torch.isfinite(waveforms).all()
    spectrograms = augment_spectrograms(torch.randn(n, 3, 1 + n_samples // 100), config, rng=rng())
    assert spectrograms.shape == (n, 3, 1 + n_samples // 100)
    assert torch.isfinite(spectrograms).all()


def test_one_generator_state_gives_one_result_on_any_number_of_threads():
    config = AugmentConfig(speed_octaves=0.3, noise_probability=1.0)
    inputs, targets, n_threads = noises(), torch.eye(16), torch.get_num_threads()
    results = []
    try:
        for n in (1, 2, 5):
            torch.set_num_threads(n)
            draws = rng(7)
            waveforms, soft = augment_waveforms(inputs, targets, config, rng=draws)
            spectrograms = augment_spectrograms(inputs[:, :800].view(16, 20, 40), config, rng=draws)
            results.append((waveforms, soft, spectrograms))
    finally:
        torch.set_num_threads(n_threads)
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            torch.testing.assert_close(one, same, atol=1e-6, rtol=1e-5)
    assert not torch.equal(results[0][0], changed(inputs, seed=8, shift=True))


def test_inputs_are_left_alone():
    waveforms, spectrograms, targets = noises(), torch.randn(4, 8, 20), torch.eye(16)
    before = waveforms.clone(), spectrograms.clone(), targets.clone()
    augment_waveforms(waveforms, targets, AugmentConfig(speed_octaves=0.2), rng=rng())
    augment_spectrograms(spectrograms, AugmentConfig(), rng=rng())
    for now, then in zip((waveforms, spectrograms, targets), before, strict=True):
        assert torch.equal(now, then)


@pytest.mark.parametrize(
    "values",
    [
        {"gain_db": -1},
        {"mix_probability": 1.1},
        {"time_resize": 1.0},
        {"n_time_masks": -1},
        {"x": 1},
        {"time_translate": 2},
    ],
)
def test_values_out_of_bounds_are_refused(values):
    with pytest.raises(ValidationError):
        AugmentConfig(**values)


def test_background_is_another_row_of_the_batch_as_far_below_as_drawn():
    waveforms = noises()
    mixed = add_background(waveforms, snr_db=(10.0, 10.0), rng=rng())
    added = mixed - waveforms
    below_db = 20 * torch.log10(rms(waveforms) / rms(added))
    meets_itself = rms(added) == 0
    assert meets_itself.sum() < 4
    torch.testing.assert_close(below_db[~meets_itself], torch.full_like(below_db, 10.0)[~meets_itself])
    for i in torch.nonzero(~meets_itself)[:, 0].tolist():
        spectra = torch.fft.rfft(added[i]).conj() * torch.fft.rfft(waveforms)
        likeness = torch.fft.irfft(spectra, n=waveforms.shape[1]).abs().amax(dim=1) / rms(waveforms)
        assert likeness.argmax() != i
        assert likeness.max() > 10 * likeness.median()


def test_background_leaves_labels_input_and_the_rows_that_are_not_chosen():
    waveforms, targets = noises(400, 50), torch.eye(400)
    before = waveforms.clone()
    mixed, same = augment_waveforms(waveforms, targets, only(background_probability=0.3), rng=rng())
    assert torch.equal(same, targets)
    assert torch.equal(waveforms, before)
    assert 0.24 < float((mixed != waveforms).any(dim=1).float().mean()) < 0.36


def test_background_of_silence_and_for_silence_is_nothing():
    waveforms = torch.cat([torch.zeros(2, 100), noises(2, 100)])
    mixed = add_background(waveforms, snr_db=(0.0, 0.0), rng=rng(2))
    assert torch.isfinite(mixed).all()
    assert not mixed[:2].any()


def test_copies_for_a_classical_model_keep_their_labels_and_lose_what_only_spectrograms_have():
    config = AugmentConfig(n_copies=3, noise_probability=0.5, time_translate=0.2).for_copies()
    waveforms, targets = noises(), torch.eye(16)
    changed_waveforms, same = augment_waveforms(waveforms, targets, config, rng=rng())
    assert torch.equal(same, targets)
    assert not torch.equal(changed_waveforms, waveforms)
    spectrograms = torch.randn(3, 8, 20)
    assert torch.equal(augment_spectrograms(spectrograms, config, rng=rng()), spectrograms)


def test_a_share_of_the_rows_stays_clean_and_the_rest_is_spoiled_as_ever():
    waveforms = noises(400, 50)
    step = NoiseConfig(probability=1.0)
    spoiled = changed(waveforms, steps=(step,), clean_share=0.4, background_probability=0.5)
    same = (spoiled == waveforms).all(dim=1)
    assert 0.33 < same.float().mean() < 0.47
    everything = changed(waveforms, steps=(step,), clean_share=0.0)
    assert not (everything == waveforms).all(dim=1).any()
    assert torch.equal(changed(waveforms, steps=(step,), clean_share=1.0), waveforms)


def test_last_steps_come_after_mixing_and_noise():
    def whole_steps(waveforms):
        steps = waveforms * 32_768
        return (steps == steps.round()).all(dim=1).float().mean()

    rounding = LevelConfig(probability=1.0, gain_db=(0.0, 0.0))
    everything = {"mix_probability": 1.0, "noise_probability": 1.0, "background_probability": 1.0}
    waveforms = noises(400, 100)
    assert whole_steps(changed(waveforms, steps=(rounding,), **everything)) == 0
    assert whole_steps(changed(waveforms, last_steps=(rounding,), **everything)) == 1
    some = whole_steps(changed(waveforms, last_steps=(rounding,), clean_share=0.5, **everything))
    assert 0.4 < some < 0.6


def test_clean_rows_do_not_ask_for_a_rate_and_copies_are_never_clean():
    targets = torch.eye(4)
    same, _ = augment_waveforms(noises(4), targets, only(clean_share=0.5), rng=rng())
    assert torch.equal(same, noises(4))
    assert only(clean_share=0.5).for_copies().clean_share == 0


def test_cepstra_are_stretched_in_time_only_and_power_is_filled_with_nothing():
    config = AugmentConfig(time_translate=0.2, frequency_resize=0.2, gain_db=3.0)
    cepstra, power, rows = (config.for_view(holds) for holds in ("cepstra", "power", "other"))
    ramps = torch.arange(13.0)[:, None].expand(6, 13, 40)  # a coefficient each: no frame may mix them
    assert torch.equal(augment_spectrograms(ramps, cepstra, rng=rng()), ramps)
    assert cepstra.time_resize == config.time_resize > 0
    assert float(augment_spectrograms(torch.rand(50, 8, 40), power, rng=rng()).min()) == 0
    assert augment_spectrograms(ramps, rows, rng=rng()) is ramps
    assert config.for_view("levels") == config
    assert {each.gain_db for each in (cepstra, power, rows)} == {3.0}
