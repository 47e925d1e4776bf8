import base64
import io
import json

import numpy as np
import pytest
import soundfile
from PIL import Image

from earshot.report import media
from earshot.report.evidence import gather
from earshot.report.media import Embedding, as_json, compressed, embedded, spectrogram

from .clips_to_show import RATE_HZ, predicted, samples_of


def tone(frequency_hz, *, rate_hz, duration_s=1.0, level=0.5):
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    return np.round(32_767 * level * np.sin(2 * np.pi * frequency_hz * t)).astype(np.int16)


@pytest.mark.parametrize("rate_hz", [4_000, 8_000, 22_050, 44_100, 96_000])
def test_a_compressed_tone_keeps_its_pitch_length_and_level(rate_hz):
    kind, body = compressed(tone(700, rate_hz=rate_hz), rate_hz)
    heard, heard_hz = soundfile.read(io.BytesIO(body))
    assert kind in ("audio/mpeg", "audio/ogg")
    assert heard_hz <= media.SOUND_RATE_HZ
    assert len(heard) / heard_hz == pytest.approx(1.0, abs=0.12)
    middle = heard[len(heard) // 4 : -len(heard) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.fft.rfftfreq(len(middle), 1 / heard_hz)[spectrum.argmax()] == pytest.approx(700, abs=8)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_five_seconds_of_noise_stay_small():
    noise = np.random.default_rng(0).integers(-8_000, 8_000, 5 * 44_100).astype(np.int16)
    assert len(compressed(noise, 44_100)[1]) < 30_000
    assert len(spectrogram(noise, 44_100)) < 10_000


def brightness(body):
    return np.asarray(Image.open(io.BytesIO(body)).convert("L"), dtype=float)


def test_the_picture_has_low_tones_at_the_bottom_and_time_from_left_to_right():
    quiet = np.zeros(RATE_HZ, np.int16)
    low = brightness(spectrogram(np.concatenate([tone(200, rate_hz=RATE_HZ), quiet]), RATE_HZ))
    high = brightness(spectrogram(np.concatenate([quiet, tone(3_000, rate_hz=RATE_HZ)]), RATE_HZ))
    rows, columns = low.shape
    assert low.mean(axis=1).argmax() > 0.8 * rows
    assert high.mean(axis=1).argmax() < 0.3 * rows
    assert low[:, : columns // 2].mean() > 4 * low[:, columns // 2 + 10 :].mean()
    assert high[:, columns // 2 :].mean() > 4 * high[:, : columns // 2 - 10].mean()


def test_a_quiet_clip_is_as_bright_as_a_loud_one():
    loud, quiet = (brightness(spectrogram(tone(500, rate_hz=RATE_HZ, level=x), RATE_HZ)) for x in (0.9, 0.01))
    assert abs(loud.max() - quiet.max()) < 10


@pytest.mark.parametrize("n", [1, 7, 300])
def test_a_few_samples_and_silence_can_be_shown(n):
    assert brightness(spectrogram(np.zeros(n, np.int16), RATE_HZ)).shape[1] == 320
    kind, body = compressed(np.zeros(n, np.int16), RATE_HZ)
    with soundfile.SoundFile(io.BytesIO(body)) as file:
        assert (file.channels, kind) in {(1, "audio/mpeg"), (1, "audio/ogg")}
        assert file.frames >= 1


def sounding(predictions, **given):
    return gather(predictions, samples=samples_of(predictions, **given), rate_hz=RATE_HZ)


def test_everything_fits_into_a_large_page():
    found = sounding(predicted())
    data = embedded(found, Embedding(), n_bytes=5_000_000)
    assert data["left_out"] == {"clips": 0, "sounds": 0, "pictures": 0}
    assert base64.b64decode(data["clips"][0]["picture"])[:4] == b"RIFF"
    assert data["clips"][0]["seconds"] == 0.6
    assert "picture" not in found.clips[0]  # the evidence itself stays as it was


@pytest.mark.parametrize("n_bytes", [0, 900, 8_000, 30_000, 60_000, 120_000])
def test_the_bound_holds_and_the_worst_mistakes_keep_their_sounds_longest(n_bytes):
    data = embedded(sounding(predicted(n=12)), Embedding(), n_bytes=n_bytes)
    assert len(as_json(data)) <= n_bytes + 200  # the frame around the clips
    for name in ("sound", "picture"):
        has = [name in clip for clip in data["clips"]]
        assert has == sorted(has, reverse=True)
    assert data["left_out"]["sounds"] == sum("sound" not in clip for clip in data["clips"])
    listed = {i for rows in data["cells"].values() for i in rows} | set(data["errors"])
    assert listed <= set(range(len(data["clips"])))


def test_between_sound_and_words_comes_the_picture_alone():
    data = embedded(sounding(predicted(n=12)), Embedding(), n_bytes=60_000)
    kinds = {("sound" in clip, "picture" in clip) for clip in data["clips"]}
    assert {(True, True), (False, True)} <= kinds


def test_sounds_can_be_left_out():
    data = embedded(sounding(predicted()), Embedding(sounds=False), n_bytes=1_000_000)
    assert not any("sound" in clip for clip in data["clips"])
    assert all("picture" in clip for clip in data["clips"])


def test_long_clips_show_their_beginning_and_say_so():
    data = embedded(sounding(predicted(n=1), duration_s=11.0), Embedding(), n_bytes=1_000_000)
    assert data["clips"][0]["seconds"] == 11.0
    assert data["clips"][0]["shown_s"] == 10.0


def test_without_sounds_at_hand_there_are_words():
    data = embedded(gather(predicted()), Embedding(), n_bytes=1_000_000)
    assert data["sounds"] is False
    assert data["clips"][0]["id"]


def test_json_in_a_page_cannot_end_its_script():
    text = as_json({"id": "</script><script>alert(1)</script>&\u2028é\udce9"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text)["id"] == "</script><script>alert(1)</script>&\u2028é\udce9"
