import numpy as np

from earshot.studies.synthetic import bent_line, two_clouds


def test_the_bent_line_is_flat_then_steep_with_noise_of_a_fifth():
    toy = bent_line(20_000, seed=1)
    x, y = toy.inputs[:, 0], toy.targets[:, 0]
    left = y[x <= 0]
    assert abs(left.mean()) < 0.01
    assert abs(left.std() - 0.2) < 0.005
    slope, height = np.polyfit(x[x > 0], y[x > 0], 1)
    assert abs(slope - 2) < 0.05
    assert abs(height - 1) < 0.02


def test_clouds_have_the_published_means_and_spreads():
    toy = two_clouds(20_000, seed=2)
    for label, mean, variance in ((0, -1.0, 4.0), (1, 1.0, 3.0)):
        points = toy.inputs[toy.targets[:, 0] == label]
        assert np.abs(points.mean(axis=0) - mean).max() < 0.06
        assert np.abs(np.cov(points.T) - variance * np.eye(2)).max() < 0.15


def test_thirty_percent_of_the_points_are_held_out_and_none_is_on_both_sides():
    toy = two_clouds(seed=3)
    assert len(toy.test) == 600
    assert np.array_equal(np.sort(np.concatenate([toy.train, toy.test])), np.arange(2000))


def test_a_seed_repeats_its_points_and_another_does_not():
    assert np.array_equal(bent_line(seed=4).targets, bent_line(seed=4).targets)
    assert not np.array_equal(bent_line(seed=4).targets, bent_line(seed=5).targets)


def test_the_rule_that_knows_both_clouds_is_right_three_times_of_four():
    # Clouds 2.8 apart with deviations of about 1.9: about 77 % by the normal distribution.
    toy = two_clouds(20_000, seed=6)
    points = toy.inputs[toy.test].astype(np.float64)
    first, second = (
        -np.square(points - mean).sum(axis=1) / (2 * variance) - np.log(variance)
        for mean, variance in ((-1.0, 4.0), (1.0, 3.0))
    )
    assert 0.74 < ((second > first) == (toy.targets[toy.test, 0] > 0.5)).mean() < 0.80
