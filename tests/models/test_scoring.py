import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot.audio.windows import Gate, cover
from earshot.models.pooling import WINDOW_SCORES, pool_windows
from earshot.models.scoring import predict_windows, score_clips


class Counting(torch.nn.Module):
    """Passes waveforms through and counts how many windows it saw."""

    def __init__(self):
        super().__init__()
        self.n_windows = 0
        self.largest = 0

    def forward(self, waveforms):
        self.n_windows += len(waveforms)
        self.largest = max(self.largest, len(waveforms))
        return waveforms


class Mean:
    """A member whose probabilities are simple functions of a window."""

    def __init__(self, features, power=1):
        self.features = features
        self.power = power
        self.temperature = 1.0

    def predict_features(self, features):
        p = (0.5 + 0.5 * features.mean(dim=1).clamp(-1, 1).numpy()) ** self.power
        return np.stack([p, 1 - p], axis=1).astype(np.float32)


def clips_of(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(-20_000, 20_000, n).astype(np.int16) for n in lengths]


@given(
    st.lists(st.integers(1, 60), max_size=12),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 9),
)
@settings(max_examples=150, deadline=None)
def test_a_clip_is_the_mean_of_its_windows_however_they_are_batched(lengths, length, hop, batch_windows):
    clips, member = clips_of(lengths), Mean(Counting())
    scored = list(score_clips(clips, [member], length=length, hop=hop, batch_windows=batch_windows))
    assert len(scored) == len(clips)
    for probs, clip in zip(scored, clips, strict=True):
        windows = torch.from_numpy(cover(clip, length=length, hop=hop))
        np.testing.assert_allclose(probs[0], member.predict_features(windows).mean(axis=0), atol=1e-6)


def test_members_keep_their_order_and_share_a_front_ends_work():
    shared, own = Counting(), Counting()
    members = [Mean(shared), Mean(own, power=2), Mean(shared, power=3)]
    clips = clips_of([100, 250, 30])
    together = np.stack(list(score_clips(clips, members, length=50, hop=50)))
    assert together.shape == (3, 3, 2)
    assert shared.n_windows == own.n_windows == 2 + 5 + 1
    for m, member in enumerate(members):
        alone = np.stack(list(score_clips(clips, [member], length=50, hop=50)))
        np.testing.assert_array_equal(together[:, m], alone[:, 0])


def test_one_endless_clip_takes_no_more_than_a_batch_at_a_time():
    front_end = Counting()
    clip = clips_of([100_000])[0]
    (probs,) = score_clips([clip], [Mean(front_end)], length=100, hop=100, batch_windows=8)
    assert front_end.n_windows == 1_000
    assert front_end.largest == 8
    assert np.isfinite(probs).all()


def test_clips_are_taken_one_by_one_as_they_are_needed():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield np.zeros(10, np.int16)

    scored = score_clips(endless(), [Mean(Counting())], length=10, hop=10, batch_windows=4)
    next(scored)
    assert len(taken) <= 5


def test_no_clips_give_no_rows():
    assert list(score_clips([], [Mean(Counting())], length=10, hop=10)) == []


@pytest.mark.parametrize("value", [-32_768, 0, 32_767])
def test_windows_reach_members_in_floats_of_full_scale(value):
    seen = []

    class Watching(Mean):
        def predict_features(self, features):
            seen.append(features)
            return super().predict_features(features)

    probs = predict_windows(np.full((2, 5), value, np.int16), [Watching(Counting())])
    assert probs.shape == (1, 2, 2)
    assert seen[0].dtype == torch.float32
    assert torch.equal(seen[0], torch.full((2, 5), value / 32_768))


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("score", WINDOW_SCORES)
@pytest.mark.parametrize("batch_windows", [1, 3, 100])
def test_clips_are_pooled_by_the_wanted_rule_however_they_are_batched(score, multilabel, batch_windows):
    clips, member = clips_of([7, 95, 10, 41, 200]), Mean(Counting())
    settings_ = {"window_score": score, "multilabel": multilabel, "batch_windows": batch_windows}
    scored = list(score_clips(clips, [member], length=10, hop=7, **settings_))
    for (probs,), clip in zip(scored, clips, strict=True):
        windows = member.predict_features(torch.from_numpy(cover(clip, length=10, hop=7)))
        owners = np.zeros(len(windows), np.int64)
        (expected,) = pool_windows(windows, owners, score=score, multilabel=multilabel)
        np.testing.assert_allclose(probs, expected, atol=1e-6)


def test_windows_that_the_gate_skips_are_not_computed():
    quiet, loud = clips_of([30, 20])
    clip = np.concatenate([quiet // 1_000, loud])
    front_end, gate = Counting(), Gate(below_loudest_db=30)
    (probs,) = score_clips([clip], [Mean(front_end)], length=10, hop=10, gate=gate)
    assert front_end.n_windows == 2
    (expected,) = score_clips([loud], [Mean(Counting())], length=10, hop=10)
    np.testing.assert_array_equal(probs, expected)


@pytest.mark.parametrize("score", WINDOW_SCORES)
def test_what_follows_the_classes_is_averaged_and_changes_no_probability(score):
    class WithMore(Mean):
        def predict_features(self, features):
            more = features[:, :3].numpy() - 7
            return np.concatenate([super().predict_features(features), more], axis=1)

    clips = clips_of([95, 10, 41])
    settings_ = {"length": 10, "hop": 7, "window_score": score, "batch_windows": 4}
    alone = list(score_clips(clips, [Mean(Counting())], **settings_))
    both = list(score_clips(clips, [WithMore(Counting())], n_classes=2, **settings_))
    for own, rows, clip in zip(alone, both, clips, strict=True):
        np.testing.assert_array_equal(rows[:, :2], own)
        expected = (cover(clip, length=10, hop=7)[:, :3] - 7).mean(axis=0)
        np.testing.assert_allclose(rows[0, 2:], expected, atol=1e-5)


@pytest.mark.parametrize("score", WINDOW_SCORES)
def test_a_silent_clip_has_probabilities(score):
    gate = Gate(below_loudest_db=20, floor_dbfs=-50)
    (probs,) = score_clips(
        [np.zeros(95, np.int16)], [Mean(Counting())], length=10, hop=10, gate=gate, window_score=score
    )
    assert np.isfinite(probs).all()
