from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot.audio.decode import DecodeLimits, decode
from earshot.audio.reasons import REASONS, WARNINGS
from earshot.errors import DecodeError

# As in TIMIT: big and little endian both occur on its disc.
TIMIT_FIELDS = {
    "database_id": "-s5 TIMIT",
    "utterance_id": "-s8 cjf0_sa1",
    "channel_count": "-i 1",
    "sample_count": "-i 1600",
    "sample_rate": "-i 16000",
    "sample_min": "-i -2191",
    "sample_n_bytes": "-i 2",
    "sample_byte_format": "-s2 01",
    "sample_sig_bits": "-i 16",
}
NUMBERS = np.random.default_rng(0).integers(-20_000, 20_000, 1600).astype("<i2")


def sphere(
    body: bytes = NUMBERS.tobytes(), *, size: int = 1024, line: str = "", **changes: str | None
) -> bytes:
    fields = {name: value for name, value in (TIMIT_FIELDS | changes).items() if value is not None}
    lines = [
        "NIST_1A",
        line or f"{size:7d}",
        *(f"{name} {value}" for name, value in fields.items()),
        "end_head",
    ]
    return ("\n".join(lines) + "\n").encode("latin-1").ljust(size, b" ") + body


def heard(content: bytes, **options: object) -> np.ndarray:
    return np.rint(decode(io.BytesIO(content), **options).samples * 32_768).astype(int)


def refusal(content: bytes, **options: object) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(io.BytesIO(content), **options)
    assert caught.value.reason in REASONS
    assert "\n" not in str(caught.value)
    return caught.value


def test_samples_come_back_in_either_order_of_bytes():
    np.testing.assert_array_equal(heard(sphere()), NUMBERS)
    big = sphere(NUMBERS.astype(">i2").tobytes(), sample_byte_format="-s2 10", sample_coding="-s3 pcm")
    np.testing.assert_array_equal(heard(big), NUMBERS)


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW"])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_what_libsndfile_writes_is_read_as_libsndfile_reads_it(subtype, endian, tmp_path):
    samples = NUMBERS / 40_000
    path = tmp_path / "SA1.WAV"
    soundfile.write(path, samples, 16_000, subtype=subtype, endian=endian, format="NIST")
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(decode(path).samples, expected)


def test_channels_are_averaged_and_the_rate_is_the_files():
    sound = decode(io.BytesIO(sphere(channel_count="-i 2", sample_count="-i 800", sample_rate="-i 8000")))
    assert (sound.n_channels, sound.rate_hz, len(sound.samples)) == (2, 8000, 800)
    np.testing.assert_allclose(sound.samples, NUMBERS.reshape(-1, 2).mean(axis=1) / 32_768, atol=1e-6)


def test_a_longer_header_hides_no_sample_and_what_follows_the_samples_is_not_heard():
    np.testing.assert_array_equal(heard(sphere(size=4096)), NUMBERS)
    np.testing.assert_array_equal(heard(sphere(sample_count="-i 100")), NUMBERS[:100])


def test_a_range_is_cut_out():
    np.testing.assert_array_equal(heard(sphere(), start_s=0.01, end_s=0.02), NUMBERS[160:320])


@pytest.mark.parametrize(("body", "n"), [(NUMBERS.tobytes()[:2001], 1000), (NUMBERS.tobytes()[:2], 1)])
def test_missing_samples_leave_a_warning(body, n):
    sound = decode(io.BytesIO(sphere(body)))
    assert len(sound.samples) == n
    assert "partial" in sound.warnings


@pytest.mark.parametrize("coding", ["pcm,embedded-shorten-v2.00", "pcm,embedded-wavpack-v1", "shorten"])
def test_packed_samples_are_refused_with_the_tool_that_unpacks_them(coding):
    error = refusal(sphere(sample_coding=f"-s{len(coding)} {coding}"))
    assert error.reason == "compressed"
    assert "sph2pipe" in str(error)


def test_packed_samples_are_refused_where_the_header_keeps_silent():
    assert refusal(sphere(b"ajkg\x02" + NUMBERS.tobytes())).reason == "compressed"


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        *(
            ("unreadable", {name: None})
            for name in ("channel_count", "sample_count", "sample_rate", "sample_n_bytes")
        ),
        ("unreadable", {"sample_byte_format": None}),
        ("unreadable", {"sample_byte_format": "-s2 99"}),
        ("unreadable", {"sample_count": "-i -5"}),
        ("unreadable", {"sample_count": "-i 99999999999999999999"}),
        ("unreadable", {"sample_rate": "-i -1"}),
        ("unreadable", {"sample_rate": "-s3 abc"}),
        ("unreadable", {"sample_n_bytes": "-i 99"}),
        ("unreadable", {"sample_coding": "-s4 g723"}),
        ("unreadable", {"sample_coding": "-s4 ulaw"}),
        ("bad_rate", {"sample_rate": "-i 0"}),
        ("bad_rate", {"sample_rate": "-i 99999999"}),
        ("too_many_channels", {"channel_count": "-i 9999"}),
        ("empty", {"channel_count": "-i 0"}),
        ("empty", {"sample_count": "-i 0"}),
    ],
)
def test_headers_that_make_no_sense_are_refused(reason, changes):
    assert refusal(sphere(**changes)).reason == reason


@pytest.mark.parametrize("line", ["      0", "     16", "9999999", "  -1024", "1e3", "", " " * 900])
def test_a_size_of_the_header_that_cannot_be_is_refused(line):
    assert refusal(sphere(line=line or "       ")).reason in {"unreadable", "truncated", "not_audio"}


def test_a_file_that_breaks_off_in_its_header_is_truncated():
    assert refusal(sphere()[:300]).reason == "truncated"
    assert refusal(sphere(b"")).reason == "empty"


def test_limits_hold_for_what_is_there_not_for_what_is_claimed():
    assert len(heard(sphere(sample_count="-i 9000000000"), limits=DecodeLimits(max_seconds=0.2))) == 1600
    assert refusal(sphere(), limits=DecodeLimits(max_seconds=0.05)).reason == "too_long"


def test_a_second_value_of_a_name_and_text_that_looks_like_one_change_nothing():
    sly = sphere(comment="-s21 sample_rate -i 96000000", zzz="-i 1\nsample_rate -i 48000")
    assert decode(io.BytesIO(sly)).rate_hz == 16_000


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_anywhere_ends_in_sound_or_in_a_reason(data):
    content = bytearray(sphere())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, 400))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(content)))
    reason, warnings, samples = "", (), np.zeros(1)
    try:
        sound = decode(io.BytesIO(bytes(content[:cut])))
        warnings, samples = sound.warnings, sound.samples
    except DecodeError as error:
        reason = error.reason
    assert not reason or reason in REASONS
    assert np.isfinite(samples).all()
    assert set(warnings) <= set(WARNINGS)
