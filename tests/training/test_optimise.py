import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from earshot.errors import ConfigError
from earshot.models.cnn2d import Cnn2d, Cnn2dConfig
from earshot.training import optimise
from earshot.training.batches import FixedBatches
from earshot.training.optimise import (
    build_optimizer,
    check_full_batch,
    one_cycle,
    penalise,
    precision_for,
    scoring_precision,
)
from earshot.training.options import TrainingConfig

LBFGS = TrainingConfig(optimizer="lbfgs", schedule="constant", averaging_share=0)
CURVATURES = torch.tensor([1.0, 5.0, 20.0])


def config_of(optimizer, **values):
    return LBFGS if optimizer == "lbfgs" else TrainingConfig(optimizer=optimizer, **values)


def descend(config, *, steps, start=(1.0, -2.0, 3.0)):
    """Minimises half the sum of curvature * w^2; the weights at the end."""
    weights = nn.Parameter(torch.tensor(start))
    optimizer = build_optimizer(config, [weights])

    def evaluated():
        optimizer.zero_grad()
        loss = (CURVATURES * weights.square()).sum() / 2
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(evaluated)
    return weights.detach()


@pytest.mark.parametrize(
    ("optimizer", "rate", "steps"),
    [("adamw", 0.05, 400), ("adam", 0.05, 400), ("sgd", 0.01, 400), ("lbfgs", 1, 15)],
)
def test_every_optimiser_finds_the_bottom_of_a_bowl(optimizer, rate, steps):
    config = config_of(optimizer, learning_rate=rate, weight_decay=0)
    assert descend(config, steps=steps).abs().max() < 1e-3


def test_momentum_and_its_look_ahead_make_a_difference():
    plain, heavy, nesterov = (
        descend(TrainingConfig(optimizer="sgd", learning_rate=0.01, momentum=m, nesterov=n), steps=10)
        for m, n in ((0.0, True), (0.9, False), (0.9, True))
    )
    assert plain.norm() > heavy.norm() > 0
    assert not torch.allclose(heavy, nesterov)


def test_plain_descent_takes_the_steps_of_its_formula():
    config = TrainingConfig(optimizer="sgd", learning_rate=0.01, momentum=0, weight_decay=0.5)
    expected = torch.tensor([1.0, -2.0, 3.0]) * (1 - 0.01 * (CURVATURES + 0.5)) ** 3
    torch.testing.assert_close(descend(config, steps=3), expected)


def test_decay_is_apart_from_the_gradient_with_adamw_alone():
    rate, decay = 0.01, 0.1
    moved = {}
    for name in ("adam", "adamw"):
        weight = nn.Parameter(torch.ones(1))
        optimizer = build_optimizer(
            TrainingConfig(optimizer=name, learning_rate=rate, weight_decay=decay), [weight]
        )
        weight.grad = torch.zeros(1)
        optimizer.step()
        moved[name] = float(1 - weight.detach())
    assert moved["adamw"] == pytest.approx(rate * decay, rel=1e-3)
    assert moved["adam"] == pytest.approx(
        rate, rel=1e-3
    )  # Adam scales a gradient of decay alone to a whole step


def test_frozen_weights_are_left_out():
    layers = nn.Sequential(nn.Linear(2, 3).requires_grad_(False), nn.Linear(3, 2))
    taken = build_optimizer(TrainingConfig(), layers.parameters()).param_groups[0]["params"]
    assert [tuple(p.shape) for p in taken] == [(2, 3), (2,)]


def test_the_penalty_and_its_gradient_belong_together():
    weights = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    weights.grad = torch.ones(3)
    optimizer = torch.optim.SGD([weights], lr=1.0)
    assert penalise(optimizer, 0.5) == pytest.approx(0.25 * 14)
    torch.testing.assert_close(weights.grad, 1 + 0.5 * weights.detach())


def test_lbfgs_agrees_with_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 4)), rng.normal(size=30)

    def loss_of(w):
        return float(np.log1p(np.exp(-b * (a @ w))).sum() + 0.5 * w @ w)

    oracle = minimize(loss_of, np.zeros(4), method="BFGS", options={"gtol": 1e-7})
    weights = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimizer = build_optimizer(LBFGS, [weights])

    def evaluated():
        optimizer.zero_grad()
        logits = -torch.from_numpy(b) * (torch.from_numpy(a) @ weights)
        loss = nn.functional.softplus(logits).sum()
        loss.backward()
        return float(loss.detach()) + penalise(optimizer, 1.0)

    for _ in range(30):
        optimizer.step(evaluated)
    np.testing.assert_allclose(weights.detach(), oracle.x, atol=1e-5)


def test_the_learning_rate_rises_once_and_falls_once():
    factors = np.array([one_cycle(s, warmup_share=0.25) for s in np.linspace(0, 1, 101)])
    assert factors.argmax() == 25
    assert factors[25] == 1
    assert (np.diff(factors[:26]) > 0).all()
    assert (np.diff(factors[25:]) < 0).all()
    assert one_cycle(0.0, warmup_share=0.0) == 1


def test_the_learning_rate_is_that_of_pytorchs_one_cycle():
    n_steps, peak = 101, 19  # PyTorch's peak is at step pct_start * total_steps - 1
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=n_steps, pct_start=(peak + 1) / n_steps, final_div_factor=1e4 / 25
    )
    for step in range(n_steps):
        ours = one_cycle(step / (n_steps - 1), warmup_share=peak / (n_steps - 1))
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        if step + 1 < n_steps:
            oracle.step()


@pytest.fixture
def on_fast_hardware(monkeypatch):
    monkeypatch.setattr(optimise, "fast_precision", lambda device: "bf16")


def test_only_networks_that_gain_by_it_leave_full_precision(on_fast_hardware):
    convolutions = Cnn2d(Cnn2dConfig(), input_shape=(16, 20), n_classes=3)
    large = nn.Linear(4_000, 4_000)
    small = nn.Sequential(nn.Conv1d(1, 4, 3), nn.Flatten(), nn.Linear(8, 1))
    recurrent = nn.Sequential(nn.Conv2d(1, 2, 3), nn.LSTM(3, 4))
    precisions = [precision_for("auto", n, "cpu") for n in (convolutions, large, small, recurrent)]
    assert precisions == ["bf16", "bf16", "fp32", "fp32"]


def test_a_network_scores_in_full_precision_where_it_was_trained_in_it(on_fast_hardware, monkeypatch):
    network = nn.Conv2d(1, 2, 3)
    assert [scoring_precision(p, network, "cpu") for p in ("fp32", "bf16", "auto")] == [
        "fp32",
        "bf16",
        "bf16",
    ]
    monkeypatch.setattr(optimise, "fast_precision", lambda device: "fp32")
    assert scoring_precision("bf16", network, "cpu") == "fp32"


def test_a_wanted_precision_is_taken_but_for_recurrent_layers_on_a_cpu(on_fast_hardware):
    assert precision_for("fp32", nn.Conv2d(1, 2, 3), "cpu") == "fp32"
    assert precision_for("bf16", nn.Linear(2, 2), "cpu") == "bf16"
    assert precision_for("bf16", nn.LSTM(2, 2), "cpu") == "fp32"
    assert precision_for("bf16", nn.LSTM(2, 2), "cpu:0") == "fp32"
    assert precision_for("bf16", nn.LSTM(2, 2), "cuda") == "bf16"


@pytest.mark.parametrize(
    ("network", "values", "rule"),
    [
        (nn.Linear(2, 2), {"batch_size": 4}, "all 6 clips, once each"),
        (nn.Linear(2, 2), {"batch_size": 6, "weights": np.full(6, 1 / 6)}, "once each"),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3)), {"batch_size": 6}, "dropout is 0.3; expected 0"),
        (nn.LSTM(2, 2, num_layers=2, dropout=0.1), {"batch_size": 6}, "dropout is 0.1; expected 0"),
    ],
)
def test_lbfgs_refuses_a_loss_that_would_change_by_chance(network, values, rule):
    batches = FixedBatches(torch.zeros(6, 2), torch.eye(2)[[0, 1] * 3], seed=0, **values)
    with pytest.raises(ConfigError, match=rule):
        check_full_batch(network, batches)
