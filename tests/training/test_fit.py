import contextlib
import dataclasses

import numpy as np
import pytest
import torch

from earshot.audio.augment import AugmentConfig
from earshot.audio.windows import InMemory
from earshot.errors import ConfigError, EarshotError
from earshot.models.mlp import MlpConfig
from earshot.training import fit
from earshot.training.batches import FixedBatches, TrainingBatches
from earshot.training.checkpoint import Checkpoint
from earshot.training.fit import TrainingDiverged, fit_network, measure_scale
from earshot.training.members import fit_member
from earshot.training.networks import prepared_network
from earshot.training.options import TrainingConfig


class Killed(BaseException):
    pass


@pytest.fixture
def train(tmp_path, make_fold, network_config):
    def run(name, *, kill_after=None, identity="one", data=None, augment=None, **training):
        def on_progress(done, total):
            if kill_after is not None and done == kill_after:
                raise Killed

        if training.get("optimizer") == "lbfgs":
            augment, data = AugmentConfig(enabled=False), data or in_one_window(make_fold())
        elif augment is not None:
            data = data or in_one_window(make_fold())
        return fit_member(
            network_config(augment=augment, **{"epochs": 4, "watch_every": 2} | training),
            data or make_fold(),
            seed=3,
            device="cpu",
            checkpoint=Checkpoint(tmp_path / name, identity=identity),
            on_progress=on_progress,
        )

    return run


def in_one_window(data):
    """The same clips, none longer than a window."""
    clips = [data.view.get(i)[: data.length] for i in range(len(data.view))]
    return dataclasses.replace(data, view=InMemory(clips))


def without_times(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def weights_of(fold):
    return fold.member.network.state_dict()


WAYS = {
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    "adam": {"optimizer": "adam", "schedule": "constant", "averaging_share": 0},
    "sgd": {"optimizer": "sgd", "clip_gradient": 0.1, "loss": "focal", "label_smoothing": 0.1},
    "plain sgd": {"optimizer": "sgd", "momentum": 0, "averaging_share": 0},
    "plateau": {"schedule": "plateau", "plateau_patience": 1, "inner_share": 0.3},
    "best": {"keep": "best", "inner_share": 0.3},
    "early stopping": {
        "schedule": "constant",
        "early_stopping_patience": 1,
        "keep": "best",
        "learning_rate": 0.3,
        "inner_share": 0.3,
        "averaging_share": 0,
    },
    "lbfgs": {"optimizer": "lbfgs", "schedule": "constant", "averaging_share": 0},
    "fixed features": {"augment": AugmentConfig(enabled=False), "keep": "best", "inner_share": 0.3},
}


@pytest.fixture
def saves_each_epoch(monkeypatch):
    monkeypatch.setattr(fit, "_CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(fit, "_SAVES_APART", 0.0)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_training_killed_twice_ends_like_an_unbroken_one(train, saves_each_epoch, way):
    unbroken = train("unbroken", **way)
    for epoch in (1, 3):
        with contextlib.suppress(Killed):  # one that has stopped early by then is not killed
            train("broken", kill_after=epoch, **way)
    resumed = train("broken", **way)
    assert weights_of(unbroken).keys() == weights_of(resumed).keys()
    for name, value in weights_of(unbroken).items():
        assert torch.equal(value, weights_of(resumed)[name]), name
    assert without_times(unbroken.history) == without_times(resumed.history)
    np.testing.assert_array_equal(unbroken.probs, resumed.probs)


def test_a_resumed_training_repeats_no_saved_epoch(train, saves_each_epoch, monkeypatch):
    with pytest.raises(Killed):
        train("broken", kill_after=3)
    epochs = []
    real = TrainingBatches.epoch
    monkeypatch.setattr(TrainingBatches, "epoch", lambda b, n: (epochs.append(n), real(b, n))[1])
    train("broken")
    assert epochs == [3]


def test_a_finished_training_needs_no_further_epoch(train, monkeypatch):
    first = train("done")
    monkeypatch.setattr(TrainingBatches, "epoch", None)
    again = train("done")
    np.testing.assert_array_equal(first.probs, again.probs)


def test_a_checkpoint_of_another_training_is_not_continued(train, saves_each_epoch):
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


def test_where_memory_runs_out_the_batch_size_is_named(train, monkeypatch):
    def full(self, number):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr("earshot.training.fit._Run.epoch", full)
    with pytest.raises(EarshotError, match="batch_size is 8; expected one that memory holds") as caught:
        train("full", batch_size=8)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr("earshot.training.fit._Run.epoch", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train("other", batch_size=8)


def test_uneven_classes_are_balanced_unless_switched_off(make_fold, network_config, tmp_path, monkeypatch):
    weights = []
    real = TrainingBatches.__init__

    def spy(self, view, **values):
        weights.append(values["weights"])
        real(self, view, **values)

    monkeypatch.setattr(TrainingBatches, "__init__", spy)
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
    balanced, as_they_come = weights
    assert as_they_come is None
    is_rare = labels[data.train] == 0
    assert balanced[is_rare].min() > balanced[~is_rare].max()


def test_silence_alone_does_not_diverge(train, make_fold):
    data = make_fold()
    silent = type(data)(**{**data.__dict__, "view": InMemory([np.zeros(999, np.int16)] * 24)})
    assert np.isfinite(train("silent", data=silent).probs).all()


@pytest.fixture
def follow():
    """Trains a small network on two clouds of points; `inner_losses`, where given, are what is judged by."""

    def run(*, inner_losses=None, checkpoint=None, **training):
        rng = np.random.default_rng(0)
        points = torch.from_numpy(rng.normal(size=(64, 2)).astype(np.float32))
        points[32:] += 2
        targets = torch.eye(2)[[0] * 32 + [1] * 32]
        values = {"epochs": 6, "batch_size": 16, "schedule": "constant", "averaging_share": 0} | training
        network = prepared_network(MlpConfig(hidden=(4,)), input_shape=(2,), n_classes=2, seed=0)
        batches = FixedBatches(points, targets, batch_size=values["batch_size"], seed=0)
        measure_scale(network, batches)
        seen = []

        def inner(candidate):
            seen.append({k: v.clone() for k, v in candidate.state_dict().items()})
            return {"inner_loss": inner_losses[len(seen) - 1]}

        fitted, history = fit_network(
            network,
            batches,
            TrainingConfig(**values),
            multilabel=False,
            seed=0,
            checkpoint=checkpoint,
            watch=lambda candidate: {},
            on_epoch=lambda done, total: None,
            inner=inner if inner_losses is not None else None,
        )
        return fitted.state_dict(), history, seen

    return run


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_training_stops_early_and_keeps_the_weights_of_the_best_epoch(follow):
    losses = [3.0, 2.0, 2.5, 2.6, 1.0, 0.5]
    weights, history, seen = follow(inner_losses=losses, early_stopping_patience=2, keep="best")
    assert [row["inner_loss"] for row in history] == losses[:4]
    assert same(weights, seen[1])
    assert not same(weights, seen[3])


def test_without_keeping_the_best_the_last_weights_are_the_outcome(follow):
    weights, history, seen = follow(inner_losses=[1.0, 2.0, 3.0], early_stopping_patience=2)
    assert len(history) == 3
    assert same(weights, seen[2])


def test_a_plateau_lowers_the_rate_of_the_epochs_after_it(follow):
    losses = [3.0, 2.0, 2.0, 2.0, 2.0, 1.0]
    _, history, _ = follow(
        inner_losses=losses, schedule="plateau", plateau_patience=2, plateau_factor=0.1, learning_rate=0.01
    )
    assert [row["learning_rate"] for row in history] == pytest.approx([0.01] * 4 + [0.001] * 2)


def test_a_judgement_without_inner_clips_is_refused(follow):
    with pytest.raises(ConfigError, match="inner is None; expected inner clips"):
        follow(keep="best")


def test_a_constant_rate_stays(follow):
    assert {row["learning_rate"] for row in follow(learning_rate=0.02)[1]} == {0.02}


def test_no_averaging_is_what_a_share_of_0_says(follow):
    last = follow(inner_losses=[1.0] * 6, keep="best", plateau_patience=9)[2][-1]
    assert same(follow()[0], last)
    assert not same(follow(averaging_share=0.5)[0], last)


def test_clipped_gradients_make_smaller_steps(follow):
    start = prepared_network(MlpConfig(hidden=(4,)), input_shape=(2,), n_classes=2, seed=0).state_dict()
    sgd = {"optimizer": "sgd", "momentum": 0, "weight_decay": 0, "epochs": 1, "batch_size": 64}
    moved = {}
    for norm in (None, 1e-3):
        weights = follow(clip_gradient=norm, learning_rate=1.0, **sgd)[0]
        names = [name for name in weights if "scaler" not in name]
        moved[norm] = sum(float((weights[n] - start[n]).square().sum()) for n in names) ** 0.5
    assert moved[1e-3] == pytest.approx(1e-3, rel=1e-2)
    assert moved[None] > 0.05


def test_every_optimiser_learns(follow):
    for optimizer in ("adamw", "adam", "sgd", "lbfgs"):
        batch_size = 64 if optimizer == "lbfgs" else 16
        _, history, _ = follow(optimizer=optimizer, learning_rate=0.05, batch_size=batch_size, epochs=15)
        assert history[-1]["train_accuracy"] > 0.85, optimizer
        assert history[-1]["train_loss"] < 0.22, optimizer  # the clouds overlap: the best line has 0.20
        assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"], optimizer


def test_accuracy_in_training_is_shown_where_targets_are_hard(train, follow):
    assert all("train_accuracy" not in row for row in train("mixed").history)
    still = AugmentConfig(mix_probability=0)
    assert all(0 <= row["train_accuracy"] <= 1 for row in train("hard", augment=still).history)
    assert all("train_accuracy" not in row for row in follow(loss="mean_squared_error")[1])


def test_a_training_may_do_without_checkpoints(follow, tmp_path):
    without = follow()[0]
    assert same(without, follow(checkpoint=Checkpoint(tmp_path / "state", identity="any"))[0])


class Clock:
    """A time that goes on by a second with each epoch, which reads `perf_counter` twice."""

    now = 0.0

    def monotonic(self):
        return self.now

    def perf_counter(self):
        self.now += 0.5
        return self.now


@pytest.mark.parametrize(
    ("save_s", "saved"),
    [(0.0, [6, 12, 18, 24, 30]), (0.5, [6, 17, 28, 30]), (1.0, [6, 27, 30]), (3.0, [6, 30])],
)
def test_a_save_waits_twenty_times_as_long_as_the_one_before_it_took(
    follow, tmp_path, monkeypatch, save_s, saved
):
    clock, epochs = Clock(), []

    class Slow(Checkpoint):
        def save(self, *, epoch, **state):
            epochs.append(epoch)
            clock.now += save_s

    monkeypatch.setattr(fit, "time", clock)
    follow(epochs=30, checkpoint=Slow(tmp_path / "state", identity="any"))
    assert epochs == saved


@pytest.mark.parametrize("work", ["fresh", "training"])
def test_work_on_the_processor_leaves_the_generators_of_gpus_alone(follow, monkeypatch, work):
    seeds = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    if work == "fresh":
        prepared_network(MlpConfig(hidden=(4,)), input_shape=(2,), n_classes=2, seed=0)
    else:
        follow(epochs=1)
    assert seeds == []
