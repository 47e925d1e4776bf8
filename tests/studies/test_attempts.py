from dataclasses import replace

import numpy as np
import pytest

from earshot.audio.transforms import PUBLISHED_STEPS
from earshot.errors import ConfigError
from earshot.monitor import Silent
from earshot.studies import attempts
from earshot.studies.attempts import Workbench, available
from earshot.studies.bank import FeatureBank
from earshot.studies.data import gather
from earshot.studies.loading import load_study
from earshot.studies.spec import Row
from earshot.studies.synthetic import bent_line

from .conftest import TRAINING


def quiet(done, total):
    """Hears nothing."""


@pytest.fixture
def data(study, sounds):
    return gather(study, sounds, protocol="grouped", monitor=Silent())


@pytest.fixture
def bench(study, data, tmp_path):
    """`bench(**changes)`: a workbench in one folder."""

    def make(**changes):
        own = changes.pop("data", data)
        bank = FeatureBank(
            tmp_path / "cache", own, views=study.views, n_variants=2, steps=PUBLISHED_STEPS, seed=0
        )
        bank.ensure(list(study.views), monitor=Silent())
        values = {"protocol": study.protocols["grouped"], "seed": 0, "device": "cpu"}
        return Workbench(tmp_path / "experiments", bank, **(values | changes))

    return make


def toy_row(kind, **training):
    return Row.model_validate(
        {
            "id": kind,
            "label": kind,
            "section": "all",
            "toy": kind,
            "model": {"kind": "mlp", "hidden": [8, 8], "scale": "none"},
            "training": TRAINING | {"epochs": 20, "batch_size": 100} | training,
        }
    )


def test_an_attempt_judges_each_held_out_clip_once_and_is_kept(bench, study, data, monkeypatch):
    row, fold = study.matching("knn-3")[0], data.folds[0]
    made = bench().attempt(row, fold, run=0, on_progress=quiet)
    assert made.probs.shape == (len(fold.test), 3)
    monkeypatch.setattr(attempts, "fit_on_features", lambda *_, **__: pytest.fail("trained again"))
    again = bench().attempt(row, fold, run=0, on_progress=quiet)
    np.testing.assert_array_equal(again.probs, made.probs)


def test_runs_differ_and_each_repeats_itself(bench, study, data):
    row, fold = study.matching("net")[0], data.folds[0]
    first = bench().attempt(row, fold, run=0, on_progress=quiet)
    second = bench().attempt(row, fold, run=1, on_progress=quiet)
    assert not np.array_equal(first.probs, second.probs)
    for file in bench().folder.iterdir():
        file.unlink()
    np.testing.assert_array_equal(bench().attempt(row, fold, run=0, on_progress=quiet).probs, first.probs)


def test_a_network_s_attempt_has_its_curve_size_and_training_confusion(bench, study, data):
    row, fold = study.matching("net")[0], data.folds[0]
    made = bench().attempt(row, fold, run=0, on_progress=quiet)
    assert [line["epoch"] for line in made.history] == [1, 2, 3]
    assert {"train_loss", "train_accuracy", "test_loss", "test_accuracy"} <= set(made.history[-1])
    n_values = np.prod(bench().bank.shape("mel"))
    assert made.n_parameters == (n_values + 1) * 8 + 9 * 3
    assert np.sum(made.training_confusion) == 2 * len(fold.train)


@pytest.mark.parametrize(
    "changed",
    ["seed", "run", "model", "fold", "labels", "protocol", "inner", "version", "view", "training", "row"],
)
def test_what_a_result_depends_on_makes_another_experiment(bench, study, data, changed, monkeypatch):
    row, fold = study.matching("knn-3")[0], data.folds[0]
    bench().attempt(row, fold, run=0, on_progress=quiet)
    other, run, rows = bench(), 0, [row]
    if changed == "seed":
        other = bench(seed=1)
    elif changed == "protocol":
        other = bench(protocol=study.protocols["book"])
    elif changed == "inner":
        other = bench(protocol=study.protocols["grouped"].model_copy(update={"inner_by": "item"}))
    elif changed == "run":
        run = 1
    elif changed == "view":
        rows = [row.model_copy(update={"view": "mel"})]
    elif changed == "training":
        values = {"epochs": 9, "learning_rate": 0.5, "batch_size": 3, "optimizer": "sgd"}
        rows = [
            row.model_copy(update={"training": row.training.model_copy(update={name: value})})
            for name, value in values.items()
        ]
    elif changed == "labels":
        turned = data.clips.assign(label=data.clips.table["label"].tolist()[::-1])
        other = bench(data=replace(data, clips=turned))
    elif changed == "row":
        values = {"translate_fill_db": -100.0, "translate_share": 0.1, "n_translated": 2, "variants": False}
        rows = [row.model_copy(update={name: value}) for name, value in values.items()]
    elif changed == "version":
        monkeypatch.setattr(attempts, "_VERSION", attempts._VERSION + 1)
    elif changed == "fold":
        fold = replace(fold, train=fold.train[1:])
    else:
        rows = [row.model_copy(update={"model": row.model.model_copy(update={"n_neighbours": 2})})]
    for each in rows:
        assert other.finished(each, fold, run=run) is None


def test_names_and_published_figures_are_no_part_of_an_experiment(bench, study, data):
    row, fold = study.matching("knn-3")[0], data.folds[0]
    made = bench().attempt(row, fold, run=0, on_progress=quiet)
    renamed = row.model_copy(update={"id": "other", "label": "other", "published": None, "note": "new"})
    assert np.array_equal(bench().finished(renamed, fold, run=0).probs, made.probs)


def test_predictions_know_their_clips_and_copies(bench, study, data):
    row, fold = study.matching("knn-3")[0], data.folds[0]
    book = bench(protocol=study.protocols["book"])
    made = book.attempt(row, fold, run=0, on_progress=quiet)
    found = book.predictions(row, fold, made)
    first = data.clips.ids[fold.test[0]]
    assert found.clip_ids[:2] == (first, f"{first}#1")
    assert found.groups[0] == found.groups[1] == data.clips.groups[fold.test[0]]
    assert np.array_equal(found.labels, np.repeat(data.clips.labels[fold.test], 2))
    assert found.split == "test"


def test_the_toy_regression_finds_the_bend(tmp_path, study):
    bench = Workbench(tmp_path, None, protocol=study.protocols["grouped"], seed=0, device="cpu")
    row = toy_row("regression", loss="mean_squared_error", epochs=60)
    made = bench.attempt(row, None, run=0, on_progress=quiet)
    x, y = bent_line(seed=0).inputs[:, 0], bent_line(seed=0).targets[:, 0]
    straight = float(np.square(y - np.polyval(np.polyfit(x, y, 1), x)).mean())
    assert 0.035 < made.history[-1]["test_loss"] < 0.8 * straight
    assert made.n_parameters == 16 + 72 + 9
    assert bench.predictions(row, None, made) is None


def test_the_toy_classification_comes_near_the_best_possible(tmp_path, study):
    bench = Workbench(tmp_path, None, protocol=study.protocols["grouped"], seed=0, device="cpu")
    row = toy_row("classification")
    found = bench.predictions(row, None, bench.attempt(row, None, run=0, on_progress=quiet))
    assert 0.72 < (found.labels == found.predicted).mean() < 0.84
    assert len(found) == 600


def test_a_study_downloads_no_weights(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (row,) = load_study("views").matching("resnet")
    with pytest.raises(ConfigError, match="downloads nothing"):
        available(row)
    here = row.model_copy(update={"model": row.model.model_copy(update={"weights": str(tmp_path)})})
    assert available(here).weights == str(tmp_path)


def test_runs_of_a_forest_differ_as_their_seeds_do(bench, study, data):
    forest = {"model": {"kind": "random_forest", "n_trees": 3}, "id": "forest", "label": "", "section": "all"}
    row, fold = Row.model_validate(forest | {"view": "raw"}), data.folds[0]
    first, second = (bench().attempt(row, fold, run=run, on_progress=quiet).probs for run in (0, 1))
    assert not np.array_equal(first, second)
