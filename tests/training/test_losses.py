import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax
from torch.nn import functional

from earshot.errors import ConfigError
from earshot.training.losses import curve_point, focal_loss, hits, target_loss, training_loss
from earshot.training.options import TrainingConfig

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 0.0], [-4.0, 0.2, 0.1]])
SOFT = torch.tensor([[0.7, 0.3, 0.0], [0.1, 0.2, 0.7], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("multilabel", [False, True])
def test_soft_targets_count_by_their_shares(multilabel):
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 0.0]])
    soft = torch.tensor([[0.7, 0.3, 0.0], [0.1, 0.2, 0.7]])
    loss = float(target_loss(logits, soft, multilabel=multilabel))
    if multilabel:
        p = torch.sigmoid(logits)
        expected = -(soft * p.log() + (1 - soft) * (1 - p).log()).mean()
    else:
        expected = -(soft.numpy() * log_softmax(logits.numpy(), axis=1)).sum(axis=1).mean()
    assert loss == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("multilabel", [False, True])
def test_auto_is_the_loss_of_the_targets(multilabel):
    loss = training_loss(TrainingConfig(), multilabel=multilabel)
    assert torch.equal(loss(LOGITS, SOFT), target_loss(LOGITS, SOFT, multilabel=multilabel))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_loss_is_its_formula(gamma):
    p = np.exp(log_softmax(LOGITS.double().numpy(), axis=1))
    expected = -(SOFT.numpy() * (1 - p) ** gamma * np.log(p)).sum(axis=1).mean()
    assert float(focal_loss(LOGITS, SOFT, gamma=gamma, multilabel=False)) == pytest.approx(expected, rel=1e-5)
    p, t = expit(LOGITS.double().numpy()), SOFT.numpy()
    expected = -(t * (1 - p) ** gamma * np.log(p) + (1 - t) * p**gamma * np.log(1 - p)).mean()
    assert float(focal_loss(LOGITS, SOFT, gamma=gamma, multilabel=True)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("multilabel", [False, True])
def test_without_gamma_the_focal_loss_is_the_plain_one(multilabel):
    plain = float(target_loss(LOGITS, SOFT, multilabel=multilabel))
    assert float(focal_loss(LOGITS, SOFT, gamma=0, multilabel=multilabel)) == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_loss_of_certain_outputs_has_finite_gradients(gamma, multilabel):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0], [30.0, 0.0]], requires_grad=True)
    focal_loss(logits, torch.eye(2)[[0, 0, 0]], gamma=gamma, multilabel=multilabel).backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("loss", ["auto", "cross_entropy"])
def test_smoothed_labels_are_pytorchs(loss):
    smoothed = training_loss(TrainingConfig(loss=loss, label_smoothing=0.2), multilabel=False)
    expected = functional.cross_entropy(LOGITS, SOFT, label_smoothing=0.2)
    assert float(smoothed(LOGITS, SOFT)) == pytest.approx(float(expected), rel=1e-6)


def test_smoothed_yes_and_no_move_to_the_middle():
    smoothed = training_loss(TrainingConfig(label_smoothing=0.2), multilabel=True)
    expected = functional.binary_cross_entropy_with_logits(LOGITS, 0.8 * SOFT + 0.1)
    assert float(smoothed(LOGITS, SOFT)) == pytest.approx(float(expected), rel=1e-6)


def test_a_regression_is_judged_by_squares():
    config = TrainingConfig(loss="mean_squared_error")
    expected = float(((LOGITS - SOFT) ** 2).mean())
    assert float(training_loss(config, multilabel=False)(LOGITS, SOFT)) == pytest.approx(expected)
    point = curve_point(LOGITS, SOFT, config, multilabel=False, prefix="test")
    assert point == {"test_loss": pytest.approx(expected)}


def test_binary_cross_entropy_takes_classes_one_by_one():
    loss = training_loss(TrainingConfig(loss="binary_cross_entropy"), multilabel=False)
    assert float(loss(LOGITS, SOFT)) == pytest.approx(float(target_loss(LOGITS, SOFT, multilabel=True)))


def test_one_class_a_clip_is_refused_where_clips_have_several():
    with pytest.raises(ConfigError, match="binary_cross_entropy, focal or auto"):
        training_loss(TrainingConfig(loss="cross_entropy"), multilabel=True)


def test_rows_are_right_by_their_largest_output_or_by_their_side():
    assert int(hits(LOGITS, SOFT)) == 1
    assert int(hits(torch.tensor([[1.0], [-1.0], [2.0]]), torch.tensor([[1.0], [0.0], [0.0]]))) == 2


def test_curves_show_the_plain_loss_whatever_is_trained_on():
    config = TrainingConfig(loss="focal", label_smoothing=0.3)
    point = curve_point(LOGITS, SOFT, config, multilabel=False, prefix="inner")
    assert point["inner_loss"] == pytest.approx(float(target_loss(LOGITS, SOFT, multilabel=False)))
    assert point["inner_accuracy"] == pytest.approx(1 / 3)
    assert set(curve_point(LOGITS, SOFT, config, multilabel=True, prefix="test")) == {"test_loss"}
