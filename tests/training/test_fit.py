import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from earshot.audio.windows import InMemory
from earshot.training import fit
from earshot.training.checkpoint import Checkpoint
from earshot.training.fit import TrainingConfig, TrainingDiverged, fit_temperature, one_cycle, target_loss
from earshot.training.members import fit_member


class Killed(BaseException):
    pass


@pytest.fixture
def train(tmp_path, make_fold, network_config):
    def run(name, *, kill_after=None, identity="one", data=None, **training):
        def on_progress(done, total):
            if kill_after is not None and done == kill_after:
                raise Killed

        return fit_member(
            network_config(**{"epochs": 4, "watch_every": 2} | training),
            data or make_fold(),
            seed=3,
            device="cpu",
            checkpoint=Checkpoint(tmp_path / name, identity=identity),
            on_progress=on_progress,
        )

    return run


def without_times(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def weights_of(fold):
    return fold.member.network.state_dict()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_killed_twice_ends_like_an_unbroken_one(train, monkeypatch, precision):
    monkeypatch.setattr(fit, "_CHECKPOINT_EVERY_S", 0.0)
    unbroken = train("unbroken", precision=precision)
    for epoch in (1, 3):
        with pytest.raises(Killed):
            train("broken", kill_after=epoch, precision=precision)
    resumed = train("broken", precision=precision)
    assert weights_of(unbroken).keys() == weights_of(resumed).keys()
    for name, value in weights_of(unbroken).items():
        assert torch.equal(value, weights_of(resumed)[name]), name
    assert without_times(unbroken.history) == without_times(resumed.history)
    np.testing.assert_array_equal(unbroken.probs, resumed.probs)


def test_a_resumed_training_repeats_no_saved_epoch(train, monkeypatch):
    monkeypatch.setattr(fit, "_CHECKPOINT_EVERY_S", 0.0)
    with pytest.raises(Killed):
        train("broken", kill_after=3)
    epochs = []
    real = fit.TrainingBatches.epoch
    monkeypatch.setattr(fit.TrainingBatches, "epoch", lambda b, n: (epochs.append(n), real(b, n))[1])
    train("broken")
    assert epochs == [3]


def test_a_finished_training_needs_no_further_epoch(train, monkeypatch):
    first = train("done")
    monkeypatch.setattr(fit.TrainingBatches, "epoch", None)
    again = train("done")
    np.testing.assert_array_equal(first.probs, again.probs)


def test_a_checkpoint_of_another_training_is_not_continued(train, monkeypatch):
    monkeypatch.setattr(fit, "_CHECKPOINT_EVERY_S", 0.0)
    fresh = train("fresh")
    with pytest.raises(Killed):
        train("other", kill_after=2, identity="two", learning_rate=0.1)
    np.testing.assert_array_equal(fresh.probs, train("other").probs)


def test_the_history_has_a_row_an_epoch(train):
    history = train("any").history
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert all(np.isfinite(row["train_loss"]) and row["seconds"] >= 0 for row in history)
    assert ["test_accuracy" in row for row in history] == [False, True, False, True]
    assert history[-1]["learning_rate"] == pytest.approx(1e-2 * 1e-4)


def test_a_loss_that_is_no_number_stops_training_within_a_step(train, make_fold):
    with pytest.raises(TrainingDiverged, match="learning_rate 1e\\+30; expected a finite number") as caught:
        train("diverged", learning_rate=1e30)
    assert "\n" not in str(caught.value)


def test_large_data_shorten_the_training():
    config = TrainingConfig(epochs=100, max_draws=10_000)
    assert [config.n_epochs(n) for n in (10, 100, 1_000, 100_000)] == [100, 100, 10, 1]


def test_uneven_classes_are_balanced_unless_switched_off(make_fold, network_config, tmp_path, monkeypatch):
    weights = []
    real = fit.TrainingBatches.__init__

    def spy(self, view, **values):
        weights.append(values["weights"])
        real(self, view, **values)

    monkeypatch.setattr(fit.TrainingBatches, "__init__", spy)
    data = make_fold()
    labels = data.targets.argmax(axis=1)
    few = np.concatenate([np.flatnonzero(labels == 0)[:2], np.flatnonzero(labels != 0)[:12]])
    data = type(data)(**{**data.__dict__, "train": np.sort(few)})
    for i, balance in enumerate(("auto", "off")):
        fit_member(
            network_config(epochs=1, balance=balance),
            data,
            seed=0,
            device="cpu",
            checkpoint=Checkpoint(tmp_path / str(i), identity=balance),
            on_progress=lambda done, total: None,
        )
    assert weights[0] is not None
    assert weights[1] is None


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


def test_silence_alone_does_not_diverge(train, make_fold):
    data = make_fold()
    silent = type(data)(**{**data.__dict__, "view": InMemory([np.zeros(999, np.int16)] * 24)})
    assert np.isfinite(train("silent", data=silent).probs).all()
