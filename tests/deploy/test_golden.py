import hashlib

import numpy as np
import pytest

from earshot.deploy.golden import golden_clips


def test_golden_sounds_are_silence_a_tone_noise_and_clicks():
    silence, sweep, bursts, clicks = golden_clips(8_000)
    assert not silence.any()
    crossings = np.diff(np.signbit(sweep[sweep != 0])).nonzero()[0]
    assert np.diff(crossings)[:3].mean() > 5 * np.diff(crossings)[-20:].mean()
    assert 0 < (bursts != 0).mean() < 0.6
    assert (clicks != 0).sum() == 5


@pytest.mark.parametrize("rate_hz", [1_000, 8_000, 44_100])
def test_golden_sounds_last_half_a_second_in_16_bit(rate_hz):
    for clip in golden_clips(rate_hz):
        assert clip.dtype == np.int16
        assert len(clip) == rate_hz // 2


def test_golden_sounds_are_the_same_samples_everywhere():
    content = b"".join(clip.astype("<i2").tobytes() for clip in golden_clips(8_000))
    digest = "886446ba6b3e7c17075ef5c94b1425df45c8752dc10b27f576a5cae0d2fccf35"
    assert hashlib.sha256(content).hexdigest() == digest
