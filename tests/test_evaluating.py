"""A run scored out of fold on its own clips, clean and damaged, and a baseline to set it beside."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from earshot import Bundle, fold_trainer, read_clips
from earshot.deploy.evaluate import evaluate_bundle
from earshot.errors import ConfigError, DataError, EarshotError
from earshot.evaluating import evaluate
from earshot.evaluation.corruptions import CorruptionScores
from earshot.experiment import Experiment
from earshot.experiment import run as train
from earshot.held_out import held_out_folds, is_run
from earshot.recipe import load_recipe
from earshot.trainings import Job

from . import corpus


@pytest.fixture
def run(fast_run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may spoil."""
    return Path(shutil.copytree(fast_run, tmp_path / "run"))


def refusal(kind: type[Exception], *args: object, **options: object) -> str:
    with pytest.raises(kind) as caught:
        evaluate(*args, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_clean_scores_of_a_run_are_its_own_out_of_fold_scores(fast_run: Path, sounds: Path) -> None:
    own = json.loads((fast_run / "metrics.json").read_text())
    metrics = evaluate(fast_run, read_clips(sounds))
    assert metrics["accuracy"] == own["accuracy"]
    assert metrics["confusion"] == own["confusion"]
    assert metrics["log_loss"] == pytest.approx(own["log_loss"], abs=1e-4)
    assert [each["accuracy"] for each in metrics["folds"]] == [each["accuracy"] for each in own["folds"]]


def test_each_fold_is_judged_by_the_model_that_did_not_hear_it(fast_run: Path, sounds: Path) -> None:
    clips = read_clips(sounds)
    tested_in = {row["id"]: row["tested_in"] for row in corpus_rows(fast_run / "clips.csv")}
    folds = held_out_folds(fast_run, clips)
    assert sorted(name for fold in folds for name in fold.clips.ids) == sorted(clips.ids)
    whole = Bundle.load(fast_run / "model")
    for number, fold in enumerate(folds):
        assert {tested_in[name] for name in fold.clips.ids} == {fold.name}
        for name, family in fold.bundle.families.items():
            assert len(family) == 1
            theirs = whole.families[name][number].estimator  # type: ignore[attr-defined]
            mine = family[0].estimator  # type: ignore[attr-defined]
            np.testing.assert_array_equal(mine[-1].dual_coef_, theirs[-1].dual_coef_)


def corpus_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_is_scored_damaged_and_written_like_a_model(
    fast_run: Path, sounds: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    metrics = evaluate(fast_run, read_clips(sounds), folder=out, corruptions="gain,white_noise")
    scores = CorruptionScores.from_dict(metrics["corruptions"])
    assert scores.clean == metrics["accuracy"]
    assert scores.n_clips == 18
    assert set(scores.accuracy) == scores.held_out == {"gain", "white_noise"}
    assert scores.accuracy["white_noise"][0] > scores.accuracy["white_noise"][4]
    for name in ("metrics.json", "predictions.csv", "corruptions.csv", "report.html", "robustness.html"):
        assert (out / name).is_file()
    assert {row["split"] for row in corpus_rows(out / "predictions.csv")} == {"oof"}
    assert "white noise" in (out / "robustness.html").read_text()


def test_a_run_beside_itself_has_a_mean_corruption_error_of_one(
    fast_run: Path, sounds: Path, tmp_path: Path
) -> None:
    clips = read_clips(sounds)
    first = evaluate(fast_run, clips, folder=tmp_path / "first", corruptions="white_noise")
    for baseline in (tmp_path / "first", fast_run):
        metrics = evaluate(fast_run, clips, corruptions="white_noise", baseline=baseline)
        assert metrics["corruptions"] == first["corruptions"]
        assert metrics["corruption_errors"]["mce"] == pytest.approx(1)
        assert metrics["corruption_errors"]["baseline"] == baseline.name


def test_a_model_is_set_beside_a_baseline_on_the_same_clips(model: Path, tmp_path: Path) -> None:
    clips = read_clips(corpus.make(tmp_path / "data", ("hiss", "hum"), n=2, first_seed=40))
    metrics = evaluate(model, clips, folder=tmp_path / "out", corruptions="low_pass", baseline=model)
    alone = evaluate_bundle(Bundle.load(model), clips, corruptions="low_pass")
    assert metrics["corruptions"] == alone["corruptions"]
    assert metrics["corruption_errors"]["baseline"] == "model"


def test_a_baseline_of_other_clips_is_left_out_and_that_is_said(model: Path, tmp_path: Path) -> None:
    first, other = (
        read_clips(corpus.make(tmp_path / name, ("hiss", "hum"), n=2, first_seed=seed))
        for name, seed in (("first", 40), ("other", 60))
    )
    evaluate(model, first.assign(id=[f"x{i}" for i in range(4)]), folder=tmp_path / "out", corruptions="gain")
    lines: list[str] = []
    listening = SimpleNamespace(say=lines.append, progress=lambda *_: None)
    metrics = evaluate(model, other, corruptions="gain", baseline=tmp_path / "out", monitor=listening)
    assert "corruption_errors" not in metrics
    assert any(line.startswith("note: the baseline is left out: ") for line in lines)


def test_a_baseline_that_is_nothing_or_was_not_scored_on_damage_is_refused(
    model: Path, fast_run: Path, sounds: Path, tmp_path: Path
) -> None:
    clips = read_clips(sounds)
    said = refusal(DataError, model, clips, corruptions="gain", baseline=tmp_path / "nowhere")
    assert said.startswith("--baseline: path is")
    assert "nowhere" in said
    (tmp_path / "metrics.json").write_text('{"accuracy": 1}')
    said = refusal(DataError, model, clips, corruptions="gain", baseline=tmp_path / "metrics.json")
    assert "scores of damaged clips" in said
    (tmp_path / "metrics.json").write_text("{")
    assert "cannot be read" in refusal(DataError, model, clips, corruptions="gain", baseline=tmp_path)
    said = refusal(EarshotError, model, clips, baseline=fast_run)
    assert "expected no baseline without --corruptions" in said


def test_a_baseline_of_other_clips_is_left_out_with_a_note_and_the_scores_stay(
    model: Path, sounds: Path, tmp_path: Path
) -> None:
    scores = CorruptionScores(0.9, {"gain": (0.9, 0.8, 0.7, 0.6, 0.5)}, n_clips=7)
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"corruptions": scores.to_dict()}))
    fresh = read_clips(corpus.make(tmp_path / "data", ("hum",), n=2, first_seed=40))
    found = evaluate(model, fresh, corruptions="gain", baseline=path, folder=tmp_path / "out")
    assert "corruptions" in found
    assert "corruption_errors" not in found
    assert "number of clips is 7; expected 2, as here" in (tmp_path / "out" / "robustness.html").read_text()


def test_a_baseline_with_other_labels_is_left_out_too(model: Path, tmp_path: Path) -> None:
    clips = read_clips(corpus.make(tmp_path / "data", ("hiss", "hum"), n=2, first_seed=40))
    evaluate(model, clips, folder=tmp_path / "first", corruptions="gain")
    again = evaluate(model, clips, corruptions="gain", baseline=tmp_path / "first")
    assert again["corruption_errors"]["baseline"] == "first"
    turned = clips.assign(label=list(clips.table["label"][::-1]))
    found = evaluate(model, turned, corruptions="gain", baseline=tmp_path / "first", folder=tmp_path / "out")
    assert "corruption_errors" not in found
    assert "the same clips with the same labels" in (tmp_path / "out" / "robustness.html").read_text()


def test_a_baseline_that_heard_the_clips_is_refused(model: Path, fast_run: Path, sounds: Path) -> None:
    said = refusal(DataError, fast_run, read_clips(sounds), corruptions="gain", baseline=model)
    assert "clips heard in its training" in said
    assert "folder of its run" in said


def test_an_unknown_corruption_is_refused_before_the_run_is_read(tmp_path: Path, sounds: Path) -> None:
    assert "'rain'" in refusal(ConfigError, tmp_path, read_clips(sounds), corruptions="rain")


def test_data_that_are_not_the_runs_are_refused(run: Path, sounds: Path, tmp_path: Path) -> None:
    other = corpus.make(tmp_path / "other", ("hiss", "hum"), n=2, first_seed=70)
    assert "clips of the run are not there" in refusal(DataError, run, read_clips(other))
    same_names = Path(shutil.copytree(sounds, tmp_path / "same"))
    first = next(iter(sorted(same_names.rglob("*.wav"))))
    corpus.write(first, corpus.sound("hum", seed=99))
    said = refusal(DataError, run, read_clips(same_names))
    assert "expected the sound that run was trained on" in said


def test_a_clip_of_the_run_that_is_gone_is_named(run: Path, sounds: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sounds, tmp_path / "copy"))
    clips = read_clips(copy)
    gone = sorted(copy.rglob("*.wav"))[0]
    gone.unlink()
    assert gone.name in refusal(DataError, run, clips)


def test_a_label_that_the_run_had_otherwise_is_refused(run: Path, sounds: Path) -> None:
    clips = read_clips(sounds)
    labels = list(clips.table["label"])
    labels[0], labels[-1] = labels[-1], labels[0]
    assert "the label that the run was trained on" in refusal(DataError, run, clips.assign(label=labels))


def test_folds_of_a_later_start_on_other_data_are_no_folds_of_the_run(
    run: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = read_clips(sounds)
    before = (run / "clips.csv").read_bytes()
    turned = clips.assign(fold=[1 + i % 2 for i in range(len(clips))])
    made = []

    def stopped(job: Job, on_progress: object) -> object:
        if made:
            raise KeyboardInterrupt
        made.append(job)
        return Job.make(job, on_progress)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(fold_trainer, "Job", type("Stopped", (Job,), {"make": stopped}))
        with pytest.raises(KeyboardInterrupt):
            train(Experiment(clips=turned, recipe=load_recipe("fast", corpus.FAST), folder=run))
    assert (run / "clips.csv").read_bytes() == before
    assert "expected that which metrics.json is of" in refusal(DataError, run, clips)
    train(Experiment(clips=clips, recipe=load_recipe("fast", corpus.FAST), folder=run))
    assert {name for fold in held_out_folds(run, clips) for name in fold.clips.ids} == set(clips.ids)


def test_a_run_without_its_folds_or_unfinished_is_refused(run: Path, sounds: Path) -> None:
    clips = read_clips(sounds)
    shutil.rmtree(run / "folds" / "fast-1")
    assert "the fold cannot be read" in refusal(DataError, run, clips)
    (run / "metrics.json").unlink()
    assert "metrics.json" in refusal(DataError, run, clips)


def test_models_that_do_not_say_what_the_run_reported_are_refused(run: Path, sounds: Path) -> None:
    table = pd.read_csv(run / "predictions.csv")
    table[[name for name in table.columns if name.startswith("p_")]] = 1 / 3
    table.to_csv(run / "predictions.csv", index=False)
    assert "do not belong together" in refusal(DataError, run, read_clips(sounds))


def test_a_model_folder_is_no_run(fast_run: Path) -> None:
    assert is_run(fast_run)
    assert not is_run(fast_run / "model")
