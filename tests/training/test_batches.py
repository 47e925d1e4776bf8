import numpy as np
import pytest
import torch

from earshot.audio.augment import AugmentConfig
from earshot.audio.log_mel import LogMel, LogMelConfig
from earshot.audio.windows import Gate, InMemory
from earshot.training.batches import FixedBatches, TrainingBatches, balancing_weights, draw_seed

RATE_HZ = 4_000
STILL = AugmentConfig(
    shift=False,
    gain_db=0,
    polarity=False,
    noise_probability=0,
    mix_probability=0,
    time_resize=0,
    frequency_resize=0,
    n_time_masks=0,
    n_frequency_masks=0,
)


class Same(torch.nn.Module):
    """A front end that passes waveforms through."""

    def forward(self, waveforms):
        return waveforms


def batches(clips, *, n_classes=2, augment=STILL, front_end=None, weights=None, rows=None, **values):
    targets = np.eye(n_classes, dtype=np.float32)[np.arange(len(clips)) % n_classes]
    rows = np.arange(len(clips)) if rows is None else rows
    settings = {"length": 8, "batch_size": 4, "seed": 0, "device": "cpu"} | values
    return TrainingBatches(
        InMemory(clips),
        rows=rows,
        targets=targets[rows],
        front_end=front_end or Same(),
        augment=augment,
        weights=weights,
        **settings,
    )


def constants(n, length=8):
    return [np.full(length, 100 * i, np.int16) for i in range(n)]


def seen(epoch):
    return [int(v) for features, _ in epoch for v in (features[:, 0] * 327.68).round()]


def test_an_epoch_is_the_same_whenever_it_is_asked_for():
    rng = np.random.default_rng(0)
    clips = [rng.integers(-9_000, 9_000, 5_000).astype(np.int16) for _ in range(12)]
    front_end = LogMel(LogMelConfig(n_fft=256, hop_length=128, n_mels=8), RATE_HZ)
    one = batches(clips, augment=AugmentConfig(), front_end=front_end, length=2_000)
    other = batches(clips, augment=AugmentConfig(), front_end=front_end, length=2_000)
    for number in (0, 1):
        list(other.epoch(number))
    for (features, targets), (again, targets_again) in zip(one.epoch(1), other.epoch(1), strict=True):
        assert torch.equal(features, again)
        assert torch.equal(targets, targets_again)
    assert not torch.equal(next(one.epoch(0))[0], next(one.epoch(1))[0])


def test_each_clip_is_seen_once_an_epoch_in_an_order_of_its_own():
    data = batches(constants(12))
    assert sorted(seen(data.epoch(0))) == list(range(12))
    assert seen(data.epoch(0)) != seen(data.epoch(1))


def test_a_smaller_last_batch_is_left_out_and_the_clips_in_it_change():
    data = batches(constants(6))
    assert len(data) == 1
    drawn = {i for number in range(12) for i in seen(data.epoch(number))}
    assert drawn == set(range(6))


def test_fewer_clips_than_a_batch_make_one_batch():
    data = batches(constants(3), batch_size=32)
    assert [len(features) for features, _ in data.epoch(0)] == [3]


def test_only_the_given_rows_are_drawn_with_their_own_targets():
    rows = np.array([1, 4, 7, 10])
    data = batches(constants(12), n_classes=3, rows=rows)
    for features, targets in data.epoch(0):
        clips = (features[:, 0] * 327.68).round().long()
        assert set(clips.tolist()) == set(rows.tolist())
        assert (targets.argmax(dim=1) == clips % 3).all()


def test_windows_of_long_clips_start_anywhere_and_short_clips_are_repeated():
    ramp = np.arange(20, dtype=np.int16)
    data = batches([ramp, np.array([5, 6, 7], np.int16)], batch_size=2)
    starts = set()
    for number in range(60):
        for features, _ in data.epoch(number):
            rows = (features * 32_768).round().int().tolist()
            long = next(row for row in rows if row != [5, 6, 7, 5, 6, 7, 5, 6])
            assert long == list(range(long[0], long[0] + 8))
            starts.add(long[0])
    assert starts == set(range(13))


def test_even_classes_are_not_weighed():
    assert balancing_weights(np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2]]) is None


def test_classes_beyond_two_to_one_get_equal_shares():
    labels = np.array([0] * 9 + [1] * 3 + [2] * 1)
    weights = balancing_weights(np.eye(3, dtype=np.float32)[labels])
    assert weights.sum() == pytest.approx(1)
    for k in range(3):
        assert weights[labels == k].sum() == pytest.approx(1 / 3)


def test_a_class_without_clips_does_not_count_as_uneven():
    assert balancing_weights(np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]) is None


def test_clips_with_several_labels_are_not_weighed():
    targets = np.eye(2, dtype=np.float32)[[0] * 9 + [1]]
    targets[0] = 1
    assert balancing_weights(targets) is None


def test_weighed_draws_show_classes_alike_often():
    labels = np.array([0] * 28 + [1] * 4)
    targets = np.eye(2, dtype=np.float32)[labels]
    data = TrainingBatches(
        InMemory(constants(32)),
        rows=np.arange(32),
        targets=targets,
        length=8,
        batch_size=32,
        front_end=Same(),
        augment=STILL,
        weights=balancing_weights(targets),
        seed=0,
        device="cpu",
    )
    share = np.mean([float(drawn[:, 1].mean()) for number in range(40) for _, drawn in data.epoch(number)])
    assert share == pytest.approx(0.5, abs=0.05)


def test_mixing_makes_targets_soft_and_keeps_their_sum():
    rng = np.random.default_rng(0)
    clips = [rng.integers(-9_000, 9_000, 50).astype(np.int16) for _ in range(16)]
    mixing = STILL.model_copy(update={"mix_probability": 1.0})
    targets = torch.cat([drawn for _, drawn in batches(clips, augment=mixing).epoch(0)])
    assert ((targets > 0.01) & (targets < 0.99)).any()
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(len(targets)))


def test_sampled_features_are_not_augmented():
    data = batches(constants(5), augment=AugmentConfig(), length=8)
    values = (data.sample_features(3) * 327.68).round()
    assert values.shape == (3, 8)
    assert set(values.flatten().tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert len(data.sample_features(99)) == 5


def test_seeds_of_neighbouring_numbers_differ_and_stay_in_63_bits():
    seeds = {draw_seed(a, b, c) for a in range(5) for b in range(5) for c in range(5)}
    assert len(seeds) == 125
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert draw_seed(1, 2) == draw_seed(1, 2) != draw_seed(1, 2, 0)


def fixed(n=10, *, dtype=torch.float32, **values):
    settings = {"batch_size": 4, "seed": 0} | values
    return FixedBatches(torch.arange(n).to(dtype)[:, None], torch.eye(n), **settings)


def rows(batches, number=0):
    return [features[:, 0].tolist() for features, _ in batches.epoch(number)]


def test_fixed_features_come_once_an_epoch_in_an_order_of_its_own_with_their_targets():
    data = fixed()
    assert [len(batch) for batch in rows(data)] == [4, 4, 2]
    assert sorted(row for batch in rows(data) for row in batch) == list(range(10))
    assert rows(data, 1) == rows(data, 1) != rows(data, 0)
    for features, targets in data.epoch(0):
        assert features[:, 0].tolist() == targets.argmax(dim=1).tolist()


@pytest.mark.parametrize(("n", "sizes"), [(9, [4, 4]), (10, [4, 4, 2]), (3, [3]), (1, [1])])
def test_a_last_batch_of_one_is_left_out(n, sizes):
    data = fixed(n)
    assert [len(batch) for batch in rows(data)] == sizes
    assert len(data) == len(sizes)


def test_one_batch_of_everything_keeps_its_order():
    assert rows(fixed(batch_size=10), 3) == [list(range(10))]


def test_pictures_stay_bytes():
    assert {features.dtype for features, _ in fixed(dtype=torch.uint8).epoch(0)} == {torch.uint8}


def test_weighed_fixed_features_are_drawn_by_their_weights():
    weights = np.array([0.91] + [0.01] * 9)
    drawn = [
        value for number in range(30) for batch in rows(fixed(weights=weights), number) for value in batch
    ]
    assert np.mean(np.array(drawn) == 0) == pytest.approx(0.91, abs=0.06)


def test_a_sample_of_fixed_features_is_theirs():
    data = fixed()
    assert data.sample_features(99).tolist() == data.features.tolist()
    assert len(set(data.sample_features(4)[:, 0].tolist())) == 4


def test_targets_are_hard_unless_clips_are_mixed():
    mixing = STILL.model_copy(update={"mix_probability": 0.5})
    off = mixing.model_copy(update={"enabled": False})
    assert [batches(constants(4), augment=a).hard_targets for a in (STILL, mixing, off)] == [
        True,
        False,
        True,
    ]


def test_switched_off_augmentation_leaves_windows_as_they_are():
    data = batches(constants(8), augment=AugmentConfig(enabled=False))
    assert sorted(seen(data.epoch(0))) == list(range(8))


def half_quiet(n=12):
    """Clips of 40 samples, the last 20 of them loud."""
    rng = np.random.default_rng(0)
    return [(np.sign(rng.normal(size=40)) * np.repeat([3, 9_000], 20)).astype(np.int16) for _ in range(n)]


def test_a_gate_keeps_quiet_places_out_of_training_and_out_of_the_measured_scale():
    gated = batches(half_quiet(), gate=Gate(below_loudest_db=2), hop=4)
    free = batches(half_quiet())
    drawn = [torch.cat([f for number in range(9) for f, _ in each.epoch(number)]) for each in (gated, free)]
    powers = [(features**2).mean(dim=1) * 32_768**2 / 9_000**2 for features in drawn]
    assert powers[0].min() >= 10 ** (-2 / 10) - 1e-6
    assert powers[1].min() < 0.01
    assert (gated.sample_features(12) ** 2).mean(dim=1).min() > 0.01 * 0.6
    assert len({tuple(row) for row in drawn[0].tolist()}) > 60, "windows are not only those of the cover"


def test_gated_epochs_are_the_same_whenever_they_are_asked_for():
    gate = Gate(below_loudest_db=2)
    one, other = (batches(half_quiet(), gate=gate, hop=4) for _ in range(2))
    for number in (0, 2, 1):
        list(other.epoch(number))
    for (features, _), (again, _) in zip(one.epoch(2), other.epoch(2), strict=True):
        assert torch.equal(features, again)


def test_windows_without_a_gate_are_those_of_earlier_versions():
    clips = [np.arange(100 * i, 100 * i + 60, dtype=np.int16) for i in range(4)]
    rng = np.random.default_rng(draw_seed(0, 3, 0))
    order = rng.permutation(4)
    expected = [100 * i + int(rng.integers(53)) for i in order]
    [(features, _)] = batches(clips).epoch(3)
    assert (features[:, 0] * 32_768).round().int().tolist() == expected


def test_a_long_clip_counts_no_more_than_a_short_one_and_classes_are_drawn_alike():
    labels = np.array([0] * 20 + [1] * 4)
    lengths = np.where(np.arange(24) % 2, 2_000, 8)
    targets = np.eye(2, dtype=np.float32)[labels]
    clips = [np.full(n, 100 * i, np.int16) for i, n in enumerate(lengths)]
    data = batches(clips, weights=balancing_weights(targets), batch_size=24)
    drawn = np.array([i for number in range(100) for i in seen(data.epoch(number))])
    assert np.mean(labels[drawn]) == pytest.approx(0.5, abs=0.04)
    assert np.mean(lengths[drawn] > 8) == pytest.approx(0.5, abs=0.04)
    plain = batches(clips, batch_size=24)
    assert sorted(seen(plain.epoch(0))) == list(range(24))
