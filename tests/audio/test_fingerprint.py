import io

import numpy as np
import pytest
import soundfile
import soxr
from scipy import signal

import earshot.audio.fingerprint as finger
from earshot.audio.fingerprint import MatchConfig, fingerprint, near_pairs
from earshot.audio.measure import spectra
from earshot.audio.windows import to_int16

RATE_HZ = 22_050


def scene(seed, seconds=2.5):
    """Filtered noise under an envelope, and a gliding tone: like enough to others to be a test."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE_HZ)
    t = np.arange(n) / RATE_HZ
    low = rng.uniform(200, 1500)
    taps = signal.butter(2, [low, low * rng.uniform(1.5, 4)], "band", fs=RATE_HZ, output="sos")
    hiss = signal.sosfilt(taps, rng.standard_normal(n)) * (
        1 + 0.8 * np.sin(2 * np.pi * rng.uniform(1, 6) * t)
    )
    tone = np.sin(2 * np.pi * (rng.uniform(300, 900) * t + rng.uniform(20, 200) * t**2))
    return 0.2 * hiss / np.abs(hiss).max() + 0.1 * rng.random() * tone + 0.003 * rng.standard_normal(n)


def coded(wave, form, subtype):
    file = io.BytesIO()
    soundfile.write(file, wave, RATE_HZ, format=form, subtype=subtype)
    file.seek(0)
    return soundfile.read(file)[0]


CHANGES = {
    "gain": lambda wave: wave * 0.1,
    "offset": lambda wave: wave[round(0.613 * RATE_HZ) :],
    "later": lambda wave: np.concatenate([np.zeros(5_003), wave]),
    "mp3": lambda wave: coded(wave, "MP3", "MPEG_LAYER_III"),
    "vorbis": lambda wave: coded(wave, "OGG", "VORBIS"),
    "rate": lambda wave: soxr.resample(soxr.resample(wave, RATE_HZ, 11_025), 11_025, RATE_HZ),
    "trimmed": lambda wave: wave[round(0.4 * RATE_HZ) : -round(0.5 * RATE_HZ)],
    "polarity": lambda wave: -wave,
    "all": lambda wave: 0.3 * coded(wave[7_777:], "OGG", "VORBIS"),
}


def printed(wave):
    return fingerprint(spectra(to_int16(np.asarray(wave, np.float32)), RATE_HZ).bands)


@pytest.fixture(scope="module")
def originals():
    return [scene(seed) for seed in range(40)]


def test_planted_copies_are_found_and_nothing_else(originals):
    prints = [printed(wave) for wave in originals]
    changes = list(CHANGES.values())
    prints += [printed(changes[i % len(changes)](originals[i])) for i in range(32)]
    wanted = {(i, 40 + i) for i in range(32)}
    found = {(pair.first, pair.second) for pair in near_pairs(prints)}
    assert len(found & wanted) / len(wanted) >= 0.95
    assert len(found & wanted) / len(found) >= 0.95


def test_candidates_are_the_same_when_they_are_counted_part_by_part(originals, monkeypatch):
    prints = [printed(wave) for wave in [*originals, *originals[:9]]]
    at_once = list(finger._candidates(prints))
    assert len(at_once) >= 9
    elections = []
    elected = finger._elected
    monkeypatch.setattr(finger, "_elected", lambda *given: elections.append(1) or elected(*given))
    monkeypatch.setattr(finger, "_MEETINGS_AT_ONCE", 500)
    assert list(finger._candidates(prints)) == at_once
    assert len(elections) > 5


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_seen_through(change, originals):
    prints = [printed(wave) for wave in originals[:4]]
    prints += [printed(CHANGES[change](originals[0]))]
    assert [(pair.first, pair.second) for pair in near_pairs(prints)] == [(0, 4)]


def test_the_offset_says_where_one_begins_in_the_other(originals):
    (pair,) = near_pairs([printed(originals[0]), printed(originals[0][40 * 512 :])])
    assert pair.offset == 40
    assert pair.error_rate < 0.1


def test_silence_has_no_words_and_no_copies():
    silence = printed(np.zeros(RATE_HZ))
    assert not silence.any()
    assert near_pairs([silence, silence]) == []
    assert near_pairs([]) == []


def test_a_share_of_common_sound_that_is_too_small_is_no_copy():
    one, other = scene(0, seconds=5), scene(1, seconds=5)
    for n_frames, found in ((40, []), (80, [(0, 1)])):
        joined = np.concatenate([one[-n_frames * 512 :], other])
        prints = [printed(one), printed(joined)]
        assert [pair[:2] for pair in near_pairs(prints)] == found
    assert near_pairs(prints, MatchConfig(min_overlap=0.5)) == []


def hum(seed, *, seconds=5.0):
    """A mains hum, the same in every clip, under a noise of its own."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 20))
    return 0.05 * tones + 0.01 * np.random.default_rng(seed).standard_normal(len(t))


def same_room(seed):
    """Knocks at other times in one room: the same colour of noise, the same resonance."""
    rng = np.random.default_rng(seed)
    wave = np.zeros(5 * RATE_HZ)
    wave[rng.integers(0, len(wave), 12)] = rng.uniform(0.3, 1, 12)
    ring = signal.lfilter([1.0], [1.0, -1.8 * np.cos(0.3), 0.81], wave)
    return 0.1 * ring + 0.01 * signal.lfilter([1.0], [1.0, -0.9], rng.standard_normal(len(wave)))


NEGATIVES = {
    "white noise": lambda seed: 0.1 * np.random.default_rng(seed).standard_normal(5 * RATE_HZ),
    "brown noise": lambda seed: signal.lfilter(
        [0.01], [1, -0.99], np.random.default_rng(seed).standard_normal(5 * RATE_HZ)
    ),
    "hum": hum,
    "same room": same_room,
    "mostly silence": lambda seed: np.concatenate([scene(seed, seconds=0.4), np.zeros(4 * RATE_HZ)]),
}


@pytest.mark.parametrize("kind", NEGATIVES)
def test_sounds_that_are_only_alike_are_no_copies(kind):
    assert near_pairs([printed(NEGATIVES[kind](seed)) for seed in range(16)]) == []


def test_many_copies_hang_together(originals):
    rng = np.random.default_rng(0)
    prints = [printed(originals[0] * gain) for gain in rng.uniform(0.1, 1, 40)]
    reached, pairs = {0}, near_pairs(prints)
    for _ in prints:
        reached |= {end for pair in pairs for end in pair[:2] if {*pair[:2]} & reached}
    assert reached == set(range(40))
