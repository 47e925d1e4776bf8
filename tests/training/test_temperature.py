import numpy as np
import pytest
from scipy.special import log_softmax

from earshot.training.temperature import fit_temperature


@pytest.mark.parametrize("truth", [0.5, 2.0])
def test_the_temperature_of_sampled_labels_is_found(truth):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4_000, 4))
    sampled = (logits / truth + rng.gumbel(size=logits.shape)).argmax(axis=1)
    targets = np.eye(4, dtype=np.float32)[sampled]
    assert fit_temperature(logits, targets) == pytest.approx(truth, rel=0.1)


def test_scores_without_an_error_do_not_mean_certainty():
    labels = np.arange(30) % 3
    targets = np.eye(3, dtype=np.float32)[labels]
    temperature = fit_temperature(targets.astype(np.float64), targets)
    wrong = np.exp(log_softmax(np.array([1.0, 0.0, 0.0]) / temperature))[1]
    assert 1e-3 < wrong < 0.1


def test_scores_a_thousand_times_too_large_are_brought_down():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4_000, 4))
    sampled = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    targets = np.eye(4, dtype=np.float32)[sampled]
    assert fit_temperature(1000 * logits, targets) == pytest.approx(1000, rel=0.1)
