from __future__ import annotations

import contextlib
import io

import librosa
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot.audio.decode import AUDIO_EXTENSIONS, REASONS, WARNINGS, DecodeLimits, decode
from earshot.errors import ConfigError, DecodeError

from .sounds import RATE_HZ, data, encoded, flac, fmt, good_bytes, riff, tone


def written(path, samples, *, rate_hz=RATE_HZ, subtype="FLOAT", container=None):
    soundfile.write(path, samples, rate_hz, subtype=subtype, format=container)
    return path


def reason_of(source, **options):
    with pytest.raises(DecodeError) as caught:
        decode(source, **options)
    message = str(caught.value)
    assert caught.value.reason in REASONS
    assert "\n" not in message
    assert message.endswith(REASONS[caught.value.reason])
    return caught.value.reason


def test_samples_come_back_as_they_were_written(tmp_path):
    samples = tone().astype(np.float32)
    sound = decode(written(tmp_path / "a.wav", samples))
    np.testing.assert_array_equal(sound.samples, samples)
    assert (sound.rate_hz, sound.source_rate_hz, sound.n_channels) == (RATE_HZ, RATE_HZ, 1)
    assert sound.samples.dtype == np.float32
    assert sound.duration_s == pytest.approx(0.1)
    assert sound.warnings == ()


def test_channels_that_cancel_each_other_are_told_from_silence(tmp_path):
    turned = np.stack([tone(), -tone()], axis=1).astype(np.float32)
    assert decode(written(tmp_path / "a.wav", turned)).warnings == ("cancelled", "silent")
    assert decode(written(tmp_path / "b.wav", 0 * turned)).warnings == ("silent",)


def test_an_endless_range_goes_to_the_end(tmp_path):
    path = written(tmp_path / "a.wav", tone().astype(np.float32))
    whole = decode(path, start_s=0.05)
    endless = decode(path, start_s=0.05, end_s=float("inf"))
    np.testing.assert_array_equal(whole.samples, endless.samples)
    assert whole.warnings == endless.warnings == ()
    for start_s in (float("inf"), float("nan")):
        assert reason_of(path, start_s=start_s) == "bad_range"


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([tone(), 0.3 * tone(hz=900)], axis=1).astype(np.float32)
    sound = decode(written(tmp_path / "a.wav", stereo))
    np.testing.assert_allclose(sound.samples, stereo.mean(axis=1), atol=1e-7)
    assert sound.n_channels == 2


@pytest.mark.parametrize("rate_hz", [4_000, 11_025, 32_000])
def test_streamed_resampling_equals_soxr_in_one_shot(tmp_path, rate_hz):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 700_000).astype(np.float32)
    sound = decode(written(tmp_path / "a.wav", samples, rate_hz=44_100), rate_hz=rate_hz)
    np.testing.assert_array_equal(sound.samples, soxr.resample(samples, 44_100, rate_hz, quality="HQ"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what librosa imports
@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "PCM_24"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16")],
)
def test_agrees_with_librosa(tmp_path, container, subtype):
    stereo = np.random.default_rng(1).uniform(-0.3, 0.3, (44_100, 2))
    path = written(tmp_path / "a", stereo, rate_hz=44_100, subtype=subtype, container=container)
    theirs, _ = librosa.load(path, sr=22_050)
    ours = decode(path, rate_hz=22_050).samples
    n = min(len(ours), len(theirs))  # librosa rounds the length up
    assert abs(len(ours) - len(theirs)) <= 1
    np.testing.assert_allclose(ours[:n], theirs[:n], atol=1e-6)


@pytest.mark.parametrize(
    ("container", "subtype", "tolerance"),
    [("WAV", "PCM_16", 0), ("FLAC", "PCM_16", 0), ("OGG", "VORBIS", 1e-5), ("MP3", "MPEG_LAYER_III", 1e-4)],
)
def test_range_equals_the_same_slice_of_the_whole(tmp_path, container, subtype, tolerance):
    noise = np.random.default_rng(2).uniform(-0.3, 0.3, 3 * 16_000)
    path = written(tmp_path / "a", noise, rate_hz=16_000, subtype=subtype, container=container)
    whole = decode(path).samples
    part = decode(path, start_s=1.25, end_s=2.0)
    np.testing.assert_allclose(part.samples, whole[20_000:32_000], atol=tolerance)
    assert part.warnings == ()


def test_range_of_flac_without_length_is_read_and_dropped(tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(flac(frames=0))
    np.testing.assert_array_equal(decode(path, start_s=0.05).samples, decode(path).samples[400:])


def test_range_beyond_the_end_is_refused_or_cut(tmp_path):
    path = written(tmp_path / "a.wav", tone())
    assert reason_of(path, start_s=0.5) == "bad_range"
    assert reason_of(path, start_s=0.05, end_s=0.05) == "bad_range"
    assert reason_of(path, start_s=float("nan")) == "bad_range"
    sound = decode(path, start_s=0.05, end_s=9.0)
    assert len(sound.samples) == 400
    assert sound.warnings == ("range_cut",)


def test_limits_apply_to_the_range_and_not_to_the_file(tmp_path):
    path = written(tmp_path / "a.wav", tone(8 * RATE_HZ))
    limits = DecodeLimits(max_seconds=2)
    assert reason_of(path, limits=limits) == "too_long"
    assert decode(path, start_s=5, end_s=7, limits=limits).duration_s == 2


def test_limits_are_exact(tmp_path):
    path = written(tmp_path / "a.wav", np.tile(tone()[:, None], 3))
    assert (
        decode(path, limits=DecodeLimits(max_seconds=0.1, max_bytes=800 * 3 * 4, max_channels=3)).n_channels
        == 3
    )
    assert reason_of(path, limits=DecodeLimits(max_seconds=0.099)) == "too_long"
    assert reason_of(path, limits=DecodeLimits(max_bytes=800 * 3 * 4 - 1)) == "too_long"
    assert reason_of(path, limits=DecodeLimits(max_channels=2)) == "too_many_channels"
    assert reason_of(path, limits=DecodeLimits(min_rate_hz=8_001)) == "bad_rate"
    assert reason_of(path, limits=DecodeLimits(max_rate_hz=7_999)) == "bad_rate"


def test_upsampling_cannot_outgrow_the_limit_on_bytes(tmp_path):
    path = written(tmp_path / "a.wav", tone(10 * RATE_HZ))
    assert reason_of(path, rate_hz=768_000, limits=DecodeLimits(max_bytes=2**20)) == "too_long"


def test_slight_overshoot_is_clipped_and_told(tmp_path):
    sound = decode(written(tmp_path / "a.wav", 2.4 * tone()))
    assert sound.warnings == ("clipped",)
    assert sound.samples.max() == 1.0
    assert sound.samples.min() == -1.0


def test_overshoot_of_a_lossy_codec_is_nothing_to_tell(tmp_path):
    square = np.sign(tone(8000)) * 0.999
    path = written(tmp_path / "a.ogg", square, subtype="VORBIS")
    assert np.abs(soundfile.read(path)[0]).max() > 1
    sound = decode(path)
    assert sound.warnings == ()
    assert np.abs(sound.samples).max() == 1.0


def test_integers_saved_as_floats_are_refused(tmp_path):
    assert reason_of(written(tmp_path / "a.wav", 20_000 * tone())) == "out_of_range"


@pytest.mark.parametrize(
    ("container", "subtype"), [("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("W64", "PCM_16")]
)
def test_half_a_file_is_accepted_as_partial(container, subtype):
    raw = encoded(container, subtype, np.random.default_rng(3).uniform(-0.5, 0.5, 40_000))
    sound = decode(io.BytesIO(raw[: len(raw) // 2]))
    assert sound.warnings == ("partial",)
    assert 5_000 < len(sound.samples) < 40_000


def test_file_objects_read_like_paths(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(good_bytes())
    with path.open("rb") as file:
        file.seek(7)
        np.testing.assert_array_equal(decode(file).samples, decode(path).samples)
        assert not file.closed
    assert reason_of(io.BytesIO()) == "empty"
    assert reason_of(io.BytesIO(b"no sound at all")) == "not_audio"


def test_unfinished_recording_without_sizes_is_read_to_its_end():
    raw = riff(fmt(), data(size=0), size=0)
    sound = decode(io.BytesIO(raw))
    assert sound.warnings == ("no_length",)
    np.testing.assert_array_equal(sound.samples, decode(io.BytesIO(riff(fmt(), data()))).samples)


def test_of_two_data_chunks_the_first_counts():
    both = decode(io.BytesIO(riff(fmt(), data(), data(np.zeros(5000)))))
    np.testing.assert_array_equal(both.samples, decode(io.BytesIO(riff(fmt(), data()))).samples)


def test_wrong_arguments_are_the_callers_fault(tmp_path):
    path = written(tmp_path / "a.wav", tone())
    with pytest.raises(ConfigError, match="rate_hz is 10"):
        decode(path, rate_hz=10)
    with pytest.raises(ConfigError, match="quality is 'best'"):
        decode(path, quality="best")


def test_codes_and_extensions_are_well_formed():
    assert not set(REASONS) & set(WARNINGS)
    assert all(text.endswith(".") and "\n" not in text for text in REASONS.values())
    assert all(ext == ext.lower() and ext.startswith(".") for ext in AUDIO_EXTENSIONS)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=300), st.integers(1, 4))
def test_sixteen_bits_survive_exactly(values, n_channels):
    samples = np.repeat(np.array(values, np.int16)[:, None], n_channels, axis=1)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE_HZ, format="WAV", subtype="PCM_16")
    decoded = decode(io.BytesIO(buffer.getvalue())).samples
    np.testing.assert_allclose(decoded * 32_768, values, atol=0.01)


@pytest.mark.parametrize(
    ("container", "subtype"), [("WAV", "PCM_16"), ("WAV", "MS_ADPCM"), ("FLAC", "PCM_16"), ("AIFF", "PCM_24")]
)
def test_damaged_bytes_give_sound_or_a_reason_and_nothing_else(container, subtype):
    raw = encoded(container, subtype)
    rng = np.random.default_rng(4)
    for _ in range(150):
        broken = bytearray(raw)
        for at in rng.integers(0, min(len(raw), 120), 3):
            broken[at] = rng.integers(256)
        with contextlib.suppress(DecodeError):
            sound = decode(io.BytesIO(bytes(broken)), limits=DecodeLimits(max_seconds=60))
            assert np.isfinite(sound.samples).all()
            assert np.abs(sound.samples).max() <= 1
