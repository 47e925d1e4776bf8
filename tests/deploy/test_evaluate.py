from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from earshot import Bundle, read_clips
from earshot.deploy.evaluate import evaluate_bundle
from earshot.errors import ConfigError, DataError
from earshot.experiment import Experiment, run
from earshot.recipe import load_recipe

from .. import corpus


@pytest.fixture(scope="module")
def bundle(fast_run: Path) -> Bundle:
    return Bundle.load(fast_run / "model")


def test_scores_are_those_of_the_predictions(bundle: Bundle, tmp_path: Path) -> None:
    data = corpus.make(tmp_path / "data", ("hiss", "hum", "ticks"), n=3, first_seed=40)
    corpus.write(data / "hum" / "wrong.wav", corpus.sound("ticks", seed=60))
    metrics = evaluate_bundle(bundle, read_clips(data), folder=tmp_path / "out", command="earshot evaluate")
    assert metrics["accuracy"] == pytest.approx(9 / 10)
    assert metrics["classes"] == ["hiss", "hum", "ticks"]
    assert np.sum(metrics["confusion"]) == metrics["n_clips"] == 10
    assert metrics["confusion"][1] == [0, 3, 1]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["correct"] == "True" for row in rows) == 9
    assert "hum/wrong.wav" in {row["id"] for row in rows if row["correct"] == "False"}
    assert "earshot evaluate" in (tmp_path / "out" / "report.html").read_text()


def test_a_class_that_the_model_does_not_know_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    data = corpus.make(tmp_path, ("hum", "whistle"), n=1)
    with pytest.raises(DataError) as refusal:
        evaluate_bundle(bundle, read_clips(data))
    assert str(refusal.value) == (
        "data: label is 'whistle'; expected one of the model's classes hiss, hum, ticks. "
        "Rename the class or leave its clips out."
    )


def test_a_few_of_the_classes_are_enough(bundle: Bundle, tmp_path: Path) -> None:
    metrics = evaluate_bundle(bundle, read_clips(corpus.make(tmp_path, ("ticks",), n=3, first_seed=40)))
    assert metrics["accuracy"] == 1.0
    assert metrics["balanced_accuracy"] == 1.0
    assert [row["n"] for row in metrics["per_class"]] == [0, 0, 3]


def test_bad_files_are_counted_and_named(bundle: Bundle, tmp_path: Path) -> None:
    data = corpus.make(tmp_path / "data", ("hum", "hiss"), n=2, first_seed=40)
    broken = corpus.add_broken(data / "hum")
    metrics = evaluate_bundle(bundle, read_clips(data), folder=tmp_path / "out")
    assert metrics["n_failed"] == len(broken)
    assert metrics["n_clips"] == 4
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(f"hum/{name}" in page for name in broken)


def test_nothing_readable_is_refused_with_the_first_reason(bundle: Bundle, tmp_path: Path) -> None:
    corpus.add_broken(tmp_path / "hum")
    with pytest.raises(DataError, match=r"none of the 5 clips could be read\. The first: .*empty\.wav"):
        evaluate_bundle(bundle, read_clips(tmp_path))


def test_of_train_and_test_folders_only_test_is_scored(bundle: Bundle, tmp_path: Path) -> None:
    corpus.make(tmp_path / "train", ("hum", "hiss"), n=3)
    corpus.make(tmp_path / "test", ("hum", "hiss"), n=2, first_seed=40)
    assert evaluate_bundle(bundle, read_clips(tmp_path))["n_clips"] == 4


def test_sounds_that_were_trained_on_are_told(bundle: Bundle, sounds: Path, tmp_path: Path) -> None:
    metrics = evaluate_bundle(bundle, read_clips(sounds), folder=tmp_path / "out")
    assert metrics["n_heard_in_training"] == 18
    assert "18 of 18 clips were in the model" in (tmp_path / "out" / "report.html").read_text()
    fresh = corpus.make(tmp_path / "data", ("hum", "hiss"), n=2, first_seed=40)
    assert evaluate_bundle(bundle, read_clips(fresh))["n_heard_in_training"] == 0


def test_several_labels_a_clip_need_a_model_of_several_labels(bundle: Bundle, tmp_path: Path) -> None:
    corpus.write(tmp_path / "a.wav", corpus.sound("hum"))
    (tmp_path / "list.csv").write_text("path,label\na.wav,hum;hiss\n")
    with pytest.raises(DataError, match=r"label is 'hum;hiss'; expected one label a clip"):
        evaluate_bundle(bundle, read_clips(tmp_path / "list.csv"))


def test_several_labels_a_clip_are_scored(tmp_path: Path) -> None:
    def listed(name: str, first_seed: int) -> Path:
        lines = ["path,label"]
        for i in range(9):
            label = ("hum", "hiss", "hum;hiss")[i % 3]
            mix = np.sum([corpus.sound(kind, seed=first_seed + i) for kind in label.split(";")], axis=0)
            corpus.write(tmp_path / name / f"{i}.wav", mix)
            lines.append(f"{i}.wav,{label}")
        (tmp_path / name / "list.csv").write_text("\n".join(lines))
        return tmp_path / name / "list.csv"

    clips = read_clips(listed("train", 0))
    result = run(Experiment(clips=clips, recipe=load_recipe("fast", corpus.FAST), folder=tmp_path / "run"))
    metrics = evaluate_bundle(result.bundle, read_clips(listed("test", 30)), folder=tmp_path / "out")
    assert metrics["n_clips"] == 9
    assert metrics["macro_f1"] > 0.6
    assert (tmp_path / "out" / "report.html").is_file()


def test_limits_and_sets_of_the_model_are_measured_on_these_clips(bundle: Bundle, tmp_path: Path) -> None:
    data = corpus.make(tmp_path / "data", ("hiss", "hum", "ticks"), n=4, first_seed=40)
    metrics = evaluate_bundle(bundle, read_clips(data), folder=tmp_path / "out")
    assert metrics["sets"]["coverage"] >= 0.9
    assert metrics["sets"]["miss_rate"] == bundle.config.decisions.sets.miss_rate  # type: ignore[union-attr]
    assert [row["wanted"] for row in metrics["precision"]] == [0.9, 0.95, 0.99]
    assert sum(row["n"] for row in metrics["reliability"]) == 12
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        novelty = [float(row["novelty"]) for row in csv.DictReader(file)]
    assert metrics["novelty"]["kept"] == np.mean(np.array(novelty) <= 1.0)
    assert metrics["novelty"]["n_clips"] == 12
    assert "How sure it is" in (tmp_path / "out" / "report.html").read_text()


def test_damaged_clips_are_scored_beside_the_clean_ones(bundle: Bundle, tmp_path: Path) -> None:
    clips = read_clips(corpus.make(tmp_path / "data", ("hiss", "hum"), n=2, first_seed=40))
    metrics = evaluate_bundle(bundle, clips, folder=tmp_path / "out", corruptions="gain,clipping")
    assert metrics["corruptions"]["clean"] == metrics["accuracy"]
    with (tmp_path / "out" / "corruptions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["corruption"] for row in rows} == {"clean", "gain", "clipping"}
    with pytest.raises(ConfigError, match="rain"):
        evaluate_bundle(bundle, clips, corruptions="rain")


def test_classes_of_the_training_side_alone_are_not_asked_of_the_model(
    bundle: Bundle, tmp_path: Path
) -> None:
    corpus.make(tmp_path / "train", ("hum", "ticks"), n=3, names={"ticks": "alien"})
    corpus.make(tmp_path / "test", ("hum", "hiss"), n=2, first_seed=40)
    assert evaluate_bundle(bundle, read_clips(tmp_path))["n_clips"] == 4


def test_copies_of_a_sound_are_one_group(bundle: Bundle, tmp_path: Path) -> None:
    data = corpus.make(tmp_path / "data", ("hum", "hiss"), n=3, first_seed=40)
    first = sorted(data.rglob("*.wav"))[0]
    shutil.copy(first, first.with_name("copy.wav"))
    metrics = evaluate_bundle(bundle, read_clips(data), folder=tmp_path / "out")
    assert (metrics["n_clips"], metrics["n_groups"]) == (7, 6)
    assert "copies of other clips, grouped with them: 1" in (tmp_path / "out" / "report.html").read_text()


def test_classes_have_areas_and_intervals_as_in_training(bundle: Bundle, tmp_path: Path) -> None:
    data = corpus.make(tmp_path / "data", ("hum", "hiss", "ticks"), n=3, first_seed=40)
    for row in evaluate_bundle(bundle, read_clips(data))["per_class"]:
        assert 0 <= row["recall_ci95"][0] < row["recall_ci95"][1] <= 1
        assert 0 < row["average_precision"] <= 1
