from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from earshot import Bundle, Clips, read_clips, trainings
from earshot.deploy.choices import Chooser
from earshot.deploy.predict import predict_paths
from earshot.errors import ConfigError, DataError, EarshotError
from earshot.experiment import Experiment, RunResult, run
from earshot.recipe import load_recipe

from . import corpus


class Listening:
    """A monitor that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: dict[str, list[int]] = {}

    def say(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, task: str, done: int, total: int) -> None:
        self.steps.setdefault(task, []).append(done)


def trained(
    clips: Clips, folder: Path, *changes: str, recipe: str = "fast", monitor: Listening | None = None
) -> RunResult:
    base = corpus.FAST if recipe == "fast" else corpus.CNN
    return run(
        Experiment(
            clips=clips,
            recipe=load_recipe(recipe, [*base, *changes]),
            folder=folder,
            device="cpu",
            monitor=monitor or Listening(),
        )
    )


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all weights of a run, those of its folds and those of its model."""
    files = [*folder.glob("folds/*/weights.*"), *folder.glob("model/*.safetensors")]
    assert files
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.mark.parametrize("n_good", [6, pytest.param(500, marks=pytest.mark.slow, id="500 a class")])
def test_good_files_among_broken_ones_train_and_predict_exactly(tmp_path: Path, n_good: int) -> None:
    data = corpus.make(tmp_path / "data", ("hum", "hiss"), n=n_good)
    broken = {f"hiss/{name}" for name in corpus.add_broken(data / "hiss")}
    listening = Listening()
    result = trained(read_clips(data), tmp_path / "run", monitor=listening)
    assert result.metrics["n_clips"] == 2 * n_good
    assert result.metrics["n_failed"] == len(broken)
    assert (
        f"{len(broken)} of {2 * n_good + len(broken)} clips could not be read and were left out: clips.csv says why"
        in listening.lines
    )
    rows = table(tmp_path / "run" / "clips.csv")
    assert len(rows) == 2 * n_good + len(broken)
    assert {row["id"] for row in rows if row["status"] == "failed"} == broken
    assert all(
        row["reason"] and row["message"] and not row["tested_in"] for row in rows if row["id"] in broken
    )
    assert all(row["status"] == "ok" and row["tested_in"] for row in rows if row["id"] not in broken)
    scored = table(tmp_path / "run" / "predictions.csv")
    assert sorted(row["id"] for row in scored) == sorted(row["id"] for row in rows if row["id"] not in broken)
    page = (tmp_path / "run" / "report.html").read_text()
    assert all(name in page for name in broken)
    found, predicted = predict_paths(result.bundle, [data])
    outcomes = dict(zip(found.ids, (outcome for outcome, _ in predicted), strict=True))
    assert len(outcomes) == 2 * n_good + len(broken)
    assert {name for name, outcome in outcomes.items() if not outcome.accepted} == broken


def test_out_of_fold_predictions_come_from_models_that_did_not_hear_the_group(tmp_path: Path) -> None:
    data = corpus.make(tmp_path / "data", ("hum", "hiss"), n=6)
    clips = read_clips(data)
    grouped = clips.assign(group=[f"{row.label}{i % 3}" for i, row in enumerate(clips.table.itertuples())])
    trained(grouped, tmp_path / "run", "n_folds=3")
    rows = table(tmp_path / "run" / "clips.csv")
    folds_of = {row["group"]: {r["tested_in"] for r in rows if r["group"] == row["group"]} for row in rows}
    assert len(folds_of) == 6
    assert all(len(folds) == 1 for folds in folds_of.values())


def test_a_table_with_columns_and_parts_of_files(tmp_path: Path) -> None:
    lines = ["sound,what,who,from,to"]
    for speaker in range(4):
        parts = [corpus.sound(kind, seed=speaker) for kind in ("hum", "hiss")]
        corpus.write(tmp_path / "audio" / f"r{speaker}.flac", np.concatenate(parts))
        lines += [f"r{speaker}.flac,hum,s{speaker},0,0.4", f"r{speaker}.flac,hiss,s{speaker},0.4,"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    clips = read_clips(
        tmp_path / "list.csv",
        path_column="sound",
        label_column="what",
        group_column="who",
        start_column="from",
        end_column="to",
    )
    result = trained(clips, tmp_path / "run")
    assert result.metrics["n_clips"] == 8
    assert result.metrics["n_groups"] == 4
    assert result.metrics["accuracy"] == 1.0
    rows = table(tmp_path / "run" / "clips.csv")
    assert [(row["start_s"], row["end_s"]) for row in rows[:2]] == [("0.0", "0.4"), ("0.4", "")]


def test_esc_names_bring_official_folds(tmp_path: Path) -> None:
    for fold in (1, 2, 3):
        for kind in ("hum", "hiss"):
            for take in "AB":
                name = f"{fold}-{fold}0{kind == 'hum':d}-{take}.wav"
                corpus.write(tmp_path / "data" / kind / name, corpus.sound(kind, seed=10 * fold + ord(take)))
    result = trained(read_clips(tmp_path / "data"), tmp_path / "run", "n_folds=2")
    assert [fold["name"] for fold in result.metrics["folds"]] == ["fold 1", "fold 2", "fold 3"]
    assert result.metrics["n_groups"] == 6


def test_a_test_folder_is_scored_and_never_trained_on(tmp_path: Path) -> None:
    corpus.make(tmp_path / "data" / "train", ("hum", "hiss"), n=4)
    # In the test folder the names are exchanged, so that a model that has not heard it is always wrong.
    swapped = {"hum": "hiss", "hiss": "hum"}
    corpus.make(tmp_path / "data" / "test", ("hum", "hiss"), n=2, first_seed=90, names=swapped)
    listening = Listening()
    result = trained(read_clips(tmp_path / "data"), tmp_path / "run", monitor=listening)
    assert result.metrics["accuracy"] == 1.0
    assert result.metrics["n_clips"] == 8
    assert result.metrics["test"]["accuracy"] == 0.0
    assert result.metrics["test"]["n_clips"] == 4
    assert any("on the data's own test split: accuracy 0.0 %" in line for line in listening.lines)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"] == result.metrics["test"]
    split = [row["split"] for row in table(tmp_path / "run" / "predictions.csv")]
    assert sorted(split) == ["oof"] * 8 + ["test"] * 4


def test_folds_side_by_side_give_the_run_that_one_after_the_other_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = read_clips(corpus.make(tmp_path / "data", ("hum", "hiss"), n=4))
    recipe = load_recipe("cnn", [*corpus.CNN, "decisions.novelty=false"])
    monkeypatch.setattr(trainings, "_WORTH_A_PROCESS_S", 0.0)
    alone, listening = tmp_path / "alone", Listening()
    run(Experiment(clips=clips, recipe=recipe, folder=alone, device="cpu", n_jobs=1))
    beside = tmp_path / "beside"
    asked = Experiment(clips=clips, recipe=recipe, folder=beside, device="cpu", n_jobs=2, monitor=listening)
    run(asked)
    assert listening.steps["cnn, 2 folds"][-1] == 4
    assert digests(beside) == digests(alone)
    assert (beside / "log.txt").read_text().count("trained beside others") == 2
    shutil.rmtree(beside / "folds" / "cnn-2")
    again = Listening()
    run(replace(asked, monitor=again))
    assert again.steps["cnn, 1 fold"][-1] == 2
    assert digests(beside) == digests(alone)
    log = (beside / "log.txt").read_text()
    assert "cnn fold 1: finished before" in log
    with pytest.raises(ConfigError, match="number of jobs is 0"):
        run(replace(asked, n_jobs=0))


def test_the_window_does_not_depend_on_the_clips_of_the_test_split(tmp_path: Path) -> None:
    corpus.make(tmp_path / "data" / "train", ("hum", "hiss"), n=4)
    for kind in ("hum", "hiss"):
        long = corpus.sound(kind, seed=90, duration_s=4.0)
        corpus.write(tmp_path / "data" / "test" / kind / "long.wav", long)
    result = trained(read_clips(tmp_path / "data"), tmp_path / "run")
    assert result.metrics["test"]["n_clips"] == 2
    assert result.bundle.config.window_samples == max(0.5, corpus.DURATION_S) * 8_000


@pytest.mark.parametrize("recipe", ["fast", "cnn"])
def test_several_labels_a_clip(tmp_path: Path, recipe: str) -> None:
    lines = ["path,label"]
    for i in range(12):
        label = ("hum", "hiss", "hum;hiss")[i % 3]
        mix = sum(corpus.sound(kind, seed=i) for kind in label.split(";"))
        corpus.write(tmp_path / f"{i}.wav", np.asarray(mix))
        lines.append(f"{i}.wav,{label}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    result = trained(read_clips(tmp_path / "list.csv"), tmp_path / "run", recipe=recipe)
    assert result.bundle.config.multilabel
    assert result.metrics["n_clips"] == 12
    assert len(table(tmp_path / "run" / "predictions.csv")) == 12
    again = Bundle.load(tmp_path / "run" / "model")
    both = corpus.sound("hum") + corpus.sound("hiss")
    probs = again.score_waveforms([both.astype(np.float32)])
    if recipe == "fast":
        assert (probs > 0.5).all()


def test_uneven_classes_are_balanced_and_it_is_said(tmp_path: Path) -> None:
    data = corpus.make(tmp_path / "data", {"hum": 12, "hiss": 3})
    listening = Listening()
    result = trained(read_clips(data), tmp_path / "run", monitor=listening)
    assert any("uneven" in line for line in listening.lines), listening.lines
    assert "uneven" in (tmp_path / "run" / "log.txt").read_text()
    assert "balanced_accuracy" in result.metrics


def test_even_classes_need_no_word(sounds: Path, tmp_path: Path) -> None:
    listening = Listening()
    trained(read_clips(sounds), tmp_path / "run", monitor=listening)
    assert not any("uneven" in line for line in listening.lines)


def test_the_baseline_is_told_before_the_network_trains(sounds: Path, tmp_path: Path) -> None:
    listening = Listening()
    changes = [change for change in corpus.CNN if not change.startswith(("n_", "hop_", "block"))]
    small = ["features.n_fft=256", "features.hop_length=128", "features.n_mels=16", "block_channels=[8,8]"]
    recipe = load_recipe(
        "default", [*changes, *(f"cnn.{change}" for change in small[:3]), small[3], "n_folds=2"]
    )
    result = run(
        Experiment(
            clips=read_clips(sounds), recipe=recipe, folder=tmp_path / "run", device="cpu", monitor=listening
        )
    )
    said = [line.split(",")[0] for line in listening.lines if "accuracy" in line]
    assert said == ["fast", "cnn", "together"]
    assert result.metrics["baseline"] == "fast"
    assert list(result.metrics["members"]) == ["fast", "cnn"]


def test_finished_folds_are_read_back_not_trained_again(sounds: Path, tmp_path: Path) -> None:
    clips = read_clips(sounds)
    first = trained(clips, tmp_path / "run", recipe="cnn")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("run/folds/*/*")}
    assert len(before) == 4
    listening = Listening()
    second = trained(clips, tmp_path / "run", recipe="cnn", monitor=listening)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("run/folds/*/*")} == before
    assert not [task for task in listening.steps if task.startswith("cnn")]
    assert (tmp_path / "run" / "log.txt").read_text().count("finished before, read back") == 2
    for name in ("accuracy", "confusion", "log_loss", "folds"):
        assert second.metrics[name] == first.metrics[name]


def test_a_fold_whose_data_changed_is_trained_again(sounds: Path, tmp_path: Path) -> None:
    clips = read_clips(corpus.make(tmp_path / "data", ("hum", "hiss"), n=4))
    trained(clips, tmp_path / "run")
    before = digests(tmp_path / "run")
    corpus.write(tmp_path / "data" / "hum" / "hum0000.wav", corpus.sound("ticks", seed=77))
    trained(read_clips(tmp_path / "data"), tmp_path / "run")
    assert "read back" not in (tmp_path / "run" / "log.txt").read_text()
    assert digests(tmp_path / "run") != before


def test_the_order_of_the_classes_makes_other_folds(sounds: Path, tmp_path: Path) -> None:
    clips = read_clips(sounds)
    turned = Clips(clips.table, root=clips.root, classes=clips.classes[::-1])
    first, second = (trained(each, tmp_path / "run") for each in (clips, turned))
    assert second.metrics["accuracy"] == first.metrics["accuracy"]
    assert "read back" not in (tmp_path / "run" / "log.txt").read_text()


def test_damaged_results_of_a_fold_are_trained_again(sounds: Path, tmp_path: Path) -> None:
    clips = read_clips(sounds)
    trained(clips, tmp_path / "run", recipe="cnn")
    before = digests(tmp_path / "run")
    weights = tmp_path / "run" / "folds" / "cnn-1" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    trained(clips, tmp_path / "run", recipe="cnn")
    assert digests(tmp_path / "run") == before
    assert (tmp_path / "run" / "log.txt").read_text().count("read back") == 1


def test_a_run_killed_within_a_fold_ends_with_the_weights_of_an_unbroken_one(
    sounds: Path, tmp_path: Path
) -> None:
    changes = [*corpus.CNN, "epochs=40"]
    script = (
        "import sys, json, earshot.training.fit as fit; fit._CHECKPOINT_EVERY_S = 0\n"
        "from earshot.cli import main; main()"
    )
    options = [part for change in changes for part in ("--set", change)]
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            script,
            "train",
            sounds,
            "-o",
            folder,
            "--recipe",
            "cnn",
            "--device",
            "cpu",
            *options,
        ],
        stderr=subprocess.DEVNULL,
    )
    checkpoint = folder / "folds" / "cnn-1" / "checkpoint"
    for _ in range(60_000):
        if checkpoint.exists():
            break
        assert process.poll() is None
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert checkpoint.exists(), "killed too late: the fold was finished"
    assert not (folder / "metrics.json").exists()

    listening = Listening()
    trained(read_clips(sounds), folder, "epochs=40", recipe="cnn", monitor=listening)
    first_fold = next(steps for task, steps in listening.steps.items() if task.startswith("cnn, fold 1"))
    assert 0 < first_fold[0] < 40, "it did not go on from the checkpoint"
    trained(read_clips(sounds), tmp_path / "whole", "epochs=40", recipe="cnn")
    assert digests(folder) == digests(tmp_path / "whole")
    assert not list(folder.rglob("checkpoint")), "a finished fold keeps no checkpoint"


@pytest.mark.parametrize(("device", "says"), [("cpu", "run folder"), ("cuda:9", "--device")])
def test_what_is_refused_leaves_the_folder_as_it_was(device, says, sounds: Path, tmp_path: Path) -> None:
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    (tmp_path / "letters").mkdir()
    clips, folder = read_clips(sounds), tmp_path if device == "cpu" else tmp_path / "new"
    listening = Listening()
    with pytest.raises(EarshotError, match=says):
        run(
            Experiment(
                clips=clips, recipe=load_recipe("fast"), folder=folder, device=device, monitor=listening
            )
        )
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]
    assert not listening.steps, "the sounds were read first"


def test_another_recipe_in_the_same_folder_is_refused(fast_run: Path, sounds: Path) -> None:
    before = (fast_run / "experiment.toml").read_text()
    with pytest.raises(EarshotError, match=r"another recipe .*Choose another folder with -o"):
        trained(read_clips(sounds), fast_run, "seed=7")
    assert (fast_run / "experiment.toml").read_text() == before


def test_one_seed_gives_one_result_and_another_another(sounds: Path, tmp_path: Path) -> None:
    clips = read_clips(sounds)
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        trained(clips, tmp_path / name, f"seed={seed}", recipe="cnn")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")


def test_copies_of_a_sound_are_never_on_both_sides(tmp_path: Path) -> None:
    data = corpus.make(tmp_path / "data", ("hum", "hiss"), n=4)
    for i in range(3):
        corpus.write(data / "hum" / f"copy{i}.wav", corpus.sound("hum", seed=0))
    listening = Listening()
    trained(read_clips(data), tmp_path / "run", monitor=listening)
    assert any("copies of other clips, grouped with them: 3" in line for line in listening.lines), (
        listening.lines
    )
    rows = {row["id"]: row for row in table(tmp_path / "run" / "clips.csv")}
    same = [rows[f"hum/{name}.wav"] for name in ("hum0000", "copy0", "copy1", "copy2")]
    assert len({row["tested_in"] for row in same}) == 1
    assert len({row["group"] for row in same}) == 1


def test_a_class_of_which_nothing_can_be_read_is_refused_with_its_name(tmp_path: Path) -> None:
    data = corpus.make(tmp_path / "data", ("hum", "hiss"), n=3)
    corpus.add_broken(data / "ticks")
    with pytest.raises(DataError, match=r"'ticks'.*number of groups is 0"):
        trained(read_clips(data), tmp_path / "run")


def test_when_nothing_can_be_read_the_first_reason_is_given(tmp_path: Path) -> None:
    for label in ("a", "b"):
        corpus.add_broken(tmp_path / "data" / label)
    with pytest.raises(DataError, match=r"none of the 10 clips could be read\. The first: .*empty\.wav"):
        trained(read_clips(tmp_path / "data"), tmp_path / "run")


def test_every_default_is_written_out(fast_run: Path) -> None:
    import tomllib

    recipe = load_recipe("fast", corpus.FAST)
    assert tomllib.loads((fast_run / "experiment.toml").read_text())["members"]["fast"]["model"]["c"] == 10.0
    assert load_recipe(fast_run / "experiment.toml") == recipe


@pytest.fixture(scope="module")
def known_run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A fast model of three classes with enough clips to know what it does not know."""
    root = tmp_path_factory.mktemp("known")
    clips = read_clips(corpus.make(root / "data", ("hum", "ticks", "whistle"), n=15))
    return trained(clips, root / "run", "n_folds=3")


def test_a_model_tells_sounds_of_no_class_and_keeps_those_of_its_classes(
    known_run: RunResult, tmp_path: Path
) -> None:
    fresh = corpus.make(tmp_path / "known", ("hum", "ticks", "whistle"), n=10, first_seed=800)
    strange = corpus.make(tmp_path / "strange", ("hiss",), n=10, first_seed=800)
    bundle = Bundle.load(known_run.folder / "model")
    chooser = Chooser(bundle, reject=True)
    answers = {}
    for name, folder in (("known", fresh), ("strange", strange)):
        _, judged = predict_paths(bundle, [folder], with_novelty=True)
        answers[name] = [chooser.answer(judgement).label for _, judgement in judged]
    assert answers["strange"] == [""] * 10
    assert sum(label != "" for label in answers["known"]) >= 24


def test_out_of_fold_novelty_and_hashes_are_in_the_tables(known_run: RunResult) -> None:
    rows = table(known_run.folder / "predictions.csv")
    novelty = np.array([float(row["novelty"]) for row in rows])
    measured = known_run.metrics["novelty"]
    assert np.mean(novelty <= 1.0) == pytest.approx(measured["known_kept"], abs=0.03)
    assert measured["n_clips"] == len(rows) == 45
    assert measured["members"] == ["fast"]
    contents = {row["id"]: row["content"] for row in table(known_run.folder / "clips.csv")}
    path = known_run.folder.parent / "data" / rows[0]["id"]
    assert contents[rows[0]["id"]] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_decided_is_reported_and_shipped(known_run: RunResult) -> None:
    metrics = json.loads((known_run.folder / "metrics.json").read_text())
    decisions = Bundle.load(known_run.folder / "model").config.decisions
    assert decisions.sets is not None
    assert decisions.sets.n_clips == 45
    assert metrics["sets"]["coverage"] >= 0.8
    assert [row["method"] for row in metrics["calibration"]["nested"]] == [
        *("none", "temperature", "vector", "isotonic")
    ]
    assert metrics["calibration"]["method"] == "none"
    assert metrics["calibration"]["fold_methods"] == ["none"] * len(metrics["folds"])
    assert decisions.calibrator is None
    assert [each.precision for each in decisions.thresholds] == [
        row["wanted"] for row in metrics["precision"]
    ]


def test_calibration_and_novelty_can_be_chosen(sounds: Path, tmp_path: Path) -> None:
    changes = ("calibration=temperature", "novelty=false", "miss_rate=0.2", "wanted_precisions=[0.8]")
    result = trained(read_clips(sounds), tmp_path / "run", *changes)
    decisions = Bundle.load(tmp_path / "run" / "model").config.decisions
    assert decisions.calibrator is not None
    assert decisions.calibrator.kind == "temperature"
    assert decisions.novelty is None
    assert decisions.sets is not None
    assert decisions.sets.miss_rate == 0.2
    assert [each.precision for each in decisions.thresholds] == [0.8]
    assert "novelty" not in result.metrics


def test_a_member_that_does_not_help_is_not_shipped(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earshot.evaluation.decisions.LEAST_WEIGHT", 0.55)
    recipe = load_recipe("fast", corpus.FAST).model_dump(mode="json")
    weak = {**recipe["members"]["fast"], "model": {"kind": "svm", "gamma_scale": 1e6}}
    both = load_recipe({**recipe, "members": {"fast": recipe["members"]["fast"], "weak": weak}})
    result = run(Experiment(clips=read_clips(sounds), recipe=both, folder=tmp_path / "run", device="cpu"))
    assert result.metrics["members"]["weak"]["weight"] == 0
    assert set(result.bundle.config.members) == {"fast"}
    assert not list((tmp_path / "run" / "model").glob("weak*"))


def test_how_windows_are_chosen_and_pooled_reaches_the_model(sounds: Path, tmp_path: Path) -> None:
    result = trained(
        read_clips(sounds), tmp_path / "run", "window_s=0.3", "gate_db=20", "window_score=mean_logit"
    )
    loaded = Bundle.load(tmp_path / "run" / "model")
    assert (loaded.config.gate_db, loaded.config.gate_dbfs) == (20.0, None)
    assert loaded.config.window_score == "mean_logit"
    long = np.concatenate([corpus.sound(kind, duration_s=1.0) for kind in ("hum", "hiss")])
    np.testing.assert_array_equal(loaded.score_waveforms([long]), result.bundle.score_waveforms([long]))


def test_a_test_clip_that_was_learned_from_is_not_scored(tmp_path: Path) -> None:
    data = corpus.make(tmp_path / "data", ("hum", "hiss"), n=4)
    for split in ("train", "test"):
        for name in ("hum", "hiss"):
            (tmp_path / "both" / split / name).mkdir(parents=True)
    for file in sorted(data.rglob("*.wav")):
        shutil.copy(file, tmp_path / "both" / "train" / file.parent.name / file.name)
    copied = sorted((data / "hum").glob("*.wav"))[0]
    shutil.copy(copied, tmp_path / "both" / "test" / "hum" / "again.wav")
    fresh = corpus.make(tmp_path / "fresh", ("hiss",), n=1, first_seed=90)
    shutil.copy(next(fresh.rglob("*.wav")), tmp_path / "both" / "test" / "hiss" / "new.wav")
    clips = read_clips(tmp_path / "both")
    result = run(Experiment(clips=clips, recipe=load_recipe("fast", ["n_folds=2"]), folder=tmp_path / "run"))
    assert result.metrics["test"]["n_clips"] == 1
    assert "1 clips of the test split are copies" in (tmp_path / "run" / "report.html").read_text()
