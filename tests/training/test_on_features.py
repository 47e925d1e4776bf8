import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from earshot.errors import ConfigError
from earshot.models.classical import CentroidConfig, ForestConfig, NaiveBayesConfig, SvmConfig
from earshot.models.cnn1d import Stack1dConfig
from earshot.models.cnn2d import Stack2dConfig
from earshot.models.member import NetworkMember
from earshot.models.mlp import MlpConfig
from earshot.training import fit
from earshot.training.checkpoint import Checkpoint
from earshot.training.history import best_of
from earshot.training.on_features import fit_on_features
from earshot.training.options import TrainingConfig

PLAIN = TrainingConfig(
    epochs=20, optimizer="adam", learning_rate=0.02, schedule="constant", weight_decay=0, averaging_share=0
)
SMALL = MlpConfig(hidden=(5, 5), scale="none")


def changed(config, **values):
    return TrainingConfig(**(config.model_dump() | values))


def clouds(n=240, *, n_classes=2, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    rows = rng.normal(size=(n, 3)).astype(np.float32)
    rows[:, 0] += 2.5 * labels
    return rows, labels


def bend(n=400):
    """A line with a bend, and noise of deviation 0.1."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.5, 0.5, size=(n, 1)).astype(np.float32)
    return x, np.maximum(2 * x, 0) + 0.1 * rng.normal(size=x.shape).astype(np.float32)


def test_a_regression_reaches_the_noise_of_its_data():
    x, y = bend()
    training = changed(PLAIN, loss="mean_squared_error", epochs=60)
    fitted = fit_on_features(SMALL, training, features=x, targets=y)
    assert best_of(fitted.history, "train_loss").loss == pytest.approx(0.01, rel=0.3)
    truth = np.maximum(2 * x, 0)
    assert np.abs(fitted.probs(x) - truth).mean() < 0.05
    assert sum(p.numel() for p in fitted.network.parameters()) == 46


def test_a_yes_or_no_in_one_column_is_learned_and_its_curves_show_accuracy():
    rows, labels = clouds()
    seen, unseen = clouds(seed=1), clouds(seed=2)
    fitted = fit_on_features(
        SMALL,
        changed(PLAIN, watch_every=1),
        features=rows,
        targets=labels,
        validation=unseen,
        multilabel=True,
    )
    probs = fitted.probs(seen[0])
    assert probs.shape == (240, 1)
    assert ((probs[:, 0] > 0.5) == seen[1]).mean() > 0.85
    right = ((fitted.probs(unseen[0])[:, 0] > 0.5) == unseen[1]).mean()
    assert fitted.history[-1]["test_accuracy"] == pytest.approx(right)
    assert [row["epoch"] for row in fitted.history if "test_loss" in row] == list(range(1, 21))


def test_what_is_watched_chooses_nothing():
    rows, labels = clouds()
    one, other = (
        fit_on_features(SMALL, PLAIN, features=rows, targets=labels, validation=watched)
        for watched in (None, clouds(seed=5))
    )
    np.testing.assert_array_equal(one.probs(rows), other.probs(rows))


def test_lbfgs_on_one_layer_is_logistic_regression():
    rows, labels = clouds(n_classes=3)
    labels[:40] = 0  # so that the best weights are finite
    training = TrainingConfig(
        epochs=60,
        optimizer="lbfgs",
        schedule="constant",
        averaging_share=0,
        weight_decay=0,
        balance="off",
    )
    linear = Stack1dConfig(layers=("flatten",), scale="none")
    fitted = fit_on_features(linear, training, features=rows, targets=labels)
    oracle = LogisticRegression(C=np.inf, max_iter=1_000, tol=1e-8).fit(rows, labels)
    np.testing.assert_allclose(fitted.probs(rows), oracle.predict_proba(rows), atol=2e-3)


def test_a_classical_model_has_no_curve_and_no_network():
    rows, labels = clouds(n_classes=3)
    fitted = fit_on_features(SvmConfig(), PLAIN, features=rows, targets=labels)
    assert fitted.history == []
    assert (fitted.probs(rows).argmax(axis=1) == labels).mean() > 0.8
    with pytest.raises(TypeError, match="no network"):
        _ = fitted.network


@pytest.mark.parametrize(
    "config", [SvmConfig(), NaiveBayesConfig(), CentroidConfig(), ForestConfig(n_trees=20)]
)
def test_a_classical_model_learns_a_yes_or_no_in_one_column(config):
    rows, labels = clouds()
    unseen = clouds(seed=2)
    fitted = fit_on_features(config, PLAIN, features=rows, targets=labels, multilabel=True)
    probs = fitted.probs(unseen[0])
    assert probs.shape == (240, 1)
    assert ((probs[:, 0] > 0.5) == unseen[1]).mean() > 0.7


@pytest.mark.parametrize("model", [SMALL, SvmConfig()], ids=["network", "classical"])
def test_one_seed_gives_one_result(model):
    rows, labels = clouds()
    one, other = (fit_on_features(model, PLAIN, features=rows, targets=labels, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.probs(rows), other.probs(rows))


def test_inner_rows_are_not_learned_from():
    rows, labels = clouds()
    inner = np.arange(0, 240, 5)
    spoiled = rows.copy()
    spoiled[inner] = 1e3
    training = changed(PLAIN, balance="off")
    kept = np.setdiff1d(np.arange(240), inner)
    alone = fit_on_features(SMALL, training, features=rows[kept], targets=labels[kept])
    beside = fit_on_features(SMALL, training, features=spoiled, targets=labels, inner=inner)
    np.testing.assert_array_equal(alone.probs(rows), beside.probs(rows))
    assert "inner_loss" in beside.history[0]


def test_early_stopping_by_group_ends_before_the_last_epoch_with_the_best_weights():
    rows, _ = clouds()
    labels = np.random.default_rng(0).integers(2, size=240)  # nothing to learn: soon it gets worse
    training = changed(PLAIN, epochs=200, early_stopping_patience=5, keep="best", learning_rate=0.05)
    fitted = fit_on_features(SMALL, training, features=rows, targets=labels, groups=np.arange(240) // 4)
    best = best_of(fitted.history, "inner_loss")
    assert len(fitted.history) == best.epoch + 5 < 200


def test_pictures_of_bytes_are_taken_as_they_are():
    labels = np.arange(40) % 2
    pictures = np.random.default_rng(0).integers(0, 120, size=(40, 3, 8, 8)).astype(np.uint8)
    pictures[labels == 1, 0] += 120
    fitted = fit_on_features(MlpConfig(hidden=(8,)), PLAIN, features=pictures, targets=labels)
    assert (fitted.probs(pictures).argmax(axis=1) == labels).all()


def test_large_rows_are_scored_few_at_a_time(monkeypatch):
    pictures = torch.randint(256, (90, 3, 100, 160), dtype=torch.uint8)
    fitted = fit_on_features(
        Stack2dConfig(layers=("pool 20", "flatten"), scale="none"),
        TrainingConfig(epochs=1, batch_size=16),
        features=pictures[:32],
        targets=np.arange(32) % 3,
    )
    seen = []
    score = NetworkMember.predict_features
    monkeypatch.setattr(
        NetworkMember, "predict_features", lambda self, part: seen.append(len(part)) or score(self, part)
    )
    assert fitted.probs(pictures).shape == (90, 3)
    assert seen == [43, 43, 4]


def test_a_killed_fit_goes_on_bit_for_bit(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killer(done, total):
        if done == 3:
            raise Killed

    monkeypatch.setattr(fit, "_CHECKPOINT_EVERY_S", 0.0)
    rows, labels = clouds()
    training = changed(PLAIN, epochs=6, schedule="plateau", plateau_patience=1, keep="best")
    values = {"features": rows, "targets": labels}
    unbroken = fit_on_features(SMALL, training, **values)
    checkpoint = Checkpoint(tmp_path / "state", identity="any")
    with pytest.raises(Killed):
        fit_on_features(SMALL, training, checkpoint=checkpoint, on_progress=killer, **values)
    resumed = fit_on_features(SMALL, training, checkpoint=checkpoint, **values)
    np.testing.assert_array_equal(unbroken.probs(rows), resumed.probs(rows))
    assert len(resumed.history) == 6


def test_a_class_that_no_row_has_keeps_its_column():
    rows, labels = clouds()
    assert fit_on_features(SMALL, PLAIN, features=rows, targets=labels, n_classes=4).probs(rows).shape[1] == 4


def test_targets_that_do_not_fit_are_refused():
    rows, labels = clouds()
    with pytest.raises(ConfigError, match="number of targets is 239; expected one a row: 240"):
        fit_on_features(SMALL, PLAIN, features=rows, targets=labels[1:])
    with pytest.raises(ConfigError, match="columns of targets is 1; expected at least 2 classes"):
        fit_on_features(SMALL, PLAIN, features=rows, targets=torch.ones(240, 1))
