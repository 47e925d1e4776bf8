import numpy as np
import pytest

from earshot.errors import DataError
from earshot.evaluation.power_law import fit_power_law, outlook, resampled_means

SIZES = np.array([40, 60, 80, 120, 160, 240, 320])


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.0, 2.0, 0.5), (0.05, 3.0, 0.7), (0.1, 1.0, 0.3)])
def test_a_law_without_noise_is_found_and_foretells_twice_the_clips(floor, scale, exponent):
    law = fit_power_law(SIZES, floor + scale * SIZES**-exponent)
    assert law.at(640) == pytest.approx(floor + scale * 640**-exponent, abs=0.004)


def test_an_error_that_does_not_fall_is_not_made_to_fall():
    law = fit_power_law(SIZES, [0.2, 0.21, 0.2, 0.22, 0.21, 0.22, 0.23])
    assert law.at(640) == pytest.approx(law.at(320), abs=1e-9)


def test_no_mistakes_at_all_stay_none():
    assert fit_power_law(SIZES, np.zeros(7)).at(640) == 0


def test_many_curves_are_fitted_like_each_alone():
    rng = np.random.default_rng(0)
    errors = 0.1 + 2 * SIZES**-0.6 + 0.01 * rng.random((5, 7))
    together = fit_power_law(SIZES, errors).at(640)
    assert together.shape == (5,)
    np.testing.assert_allclose(together, [fit_power_law(SIZES, row).at(640) for row in errors])


@pytest.mark.parametrize(
    ("sizes", "errors"), [([1, 2], [0.1, 0.1]), ([1, 3, 2], [0.1] * 3), ([1, 2, 3], [0.1, np.nan, 0.1])]
)
def test_too_little_to_fit_is_refused(sizes, errors):
    with pytest.raises(DataError, match="power law"):
        fit_power_law(sizes, errors)


def simulated(rng, *, floor, scale, exponent, n_groups=80, size=5):
    """Whether each clip is wrong at each size: a clip is learned when the error falls below its difficulty."""
    difficulty = np.repeat(rng.random(n_groups), size) * 0.5 + rng.random(n_groups * size) * 0.5
    order = np.argsort(np.argsort(difficulty)) / len(difficulty)
    errors = floor + scale * SIZES.astype(float) ** -exponent
    return np.stack([order < error for error in errors]), np.repeat(np.arange(n_groups), size)


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.02, 3.0, 0.6), (0.0, 1.5, 0.4)])
def test_the_interval_of_the_gain_mostly_holds_the_true_gain(floor, scale, exponent):
    held = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        errors = floor + scale * SIZES**-exponent
        wrong = rng.random((7, 400)) < errors[:, None]
        ahead = outlook(SIZES, wrong, np.repeat(np.arange(80), 5), n=640, rng=rng)
        held += ahead.gain_ci95[0] <= errors[-1] - (floor + scale * 640**-exponent) <= ahead.gain_ci95[1]
        assert ahead.gain_ci95[0] <= ahead.gain_ci95[1]
        assert 0 <= ahead.error_ci95[0] <= ahead.error_ci95[1] <= 1
    assert held >= 17


def test_the_outlook_starts_from_where_the_model_stands():
    wrong, groups = simulated(np.random.default_rng(0), floor=0.05, scale=2.0, exponent=0.6)
    ahead = outlook(SIZES, wrong, groups, n=640, rng=np.random.default_rng(0))
    assert ahead.error == pytest.approx(wrong[-1].mean() - ahead.gain)
    assert ahead.n == 640


def test_clips_of_a_group_are_drawn_together():
    values = np.array([[1.0, 1.0, 0.0, 0.0]])
    means = resampled_means(values, ["a", "a", "b", "b"], n_resamples=200, rng=np.random.default_rng(0))
    assert set(means[:, 0]) == {0.0, 0.5, 1.0}
