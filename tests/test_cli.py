from __future__ import annotations

import csv
import importlib
import json
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from earshot.cli import app
from earshot.commands.model import print_row
from earshot.console import ConsoleMonitor, exits
from earshot.deploy.bundle import Bundle
from earshot.evaluation.thresholds import ClassThresholds

from . import corpus

FAST = [part for change in corpus.FAST for part in ("--set", change)]
CNN = [part for change in corpus.CNN for part in ("--set", change)]


def command(*args: object) -> int:
    """Runs a command in this process; returns the exit code."""
    try:
        with exits():
            app([str(arg) for arg in args], result_action="return_value")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def refusal(*args: object) -> str:
    """The one line that a command in a process of its own ends with."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "earshot", *map(str, args)], capture_output=True, text=True, timeout=120
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    # Processor time, and half as much again: what else the machine does is not ours to judge.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 7.5
    return done.stderr.strip()


def _empty(root: Path) -> list[object]:
    (root / "data").mkdir()
    return ["train", root / "data"]


def _missing(root: Path) -> list[object]:
    return ["train", root / "nowhere"]


def _one_class(root: Path) -> list[object]:
    return ["train", corpus.make(root / "data", ("hum",), n=3)]


def _one_clip_a_class(root: Path) -> list[object]:
    return ["train", corpus.make(root / "data", ("hum", "hiss"), n=1)]


def _no_such_column(root: Path) -> list[object]:
    (root / "list.csv").write_text("file,class\na.wav,x\n")
    return ["train", root / "list.csv", "--label-column", "species"]


def _no_such_recipe(root: Path) -> list[object]:
    return ["train", corpus.make(root / "data"), "--recipe", "resnet"]


def _no_such_key(root: Path) -> list[object]:
    return ["train", corpus.make(root / "data"), "--set", "epoch=3"]


def _value_against_the_rule(root: Path) -> list[object]:
    return ["train", corpus.make(root / "data"), "--set", "epochs=-3"]


BAD_DATA: dict[str, tuple[Callable[[Path], list[object]], list[str]]] = {
    "empty folder": (
        _empty,
        ["number of labelled sounds is 0", "expected sound files", "the folder is empty"],
    ),
    "missing folder": (_missing, ["path is", "nowhere", "that exists", "Check the spelling"]),
    "one class": (_one_class, ["classes is ['hum']", "at least 2 classes", "Add clips"]),
    "one clip a class": (_one_clip_a_class, ["'hiss'", "groups is 1 (1 clip", "at least 2", "Record more"]),
    "missing column": (
        _no_such_column,
        ["column is 'species'", "one of the columns there: file, class", "Name"],
    ),
    "unknown recipe": (
        _no_such_recipe,
        ["recipe: name is 'resnet'", "cnn, default, fast, robust, voice, or a TOML file that exists"],
    ),
    "unknown key": (_no_such_key, ["key is 'epoch'", "expected a key of the recipe", "experiment.toml"]),
    "bad value": (
        _value_against_the_rule,
        ["members.cnn.training.epochs is -3", "greater than or equal to 1", "docs/recipes"],
    ),
}


@pytest.mark.parametrize("fault", BAD_DATA)
def test_unusable_data_or_recipes_are_refused_in_one_line(fault: str, tmp_path: Path) -> None:
    build, said = BAD_DATA[fault]
    line = refusal(*build(tmp_path))
    assert line.startswith("earshot: ")
    assert [part for part in said if part not in line] == [], line
    assert not (tmp_path / "runs").exists()


def test_a_model_with_a_flipped_byte_is_refused_in_one_line(
    model: Path, sounds: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    weights = copy / "fast-1.skops"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    line = refusal("predict", copy, sounds)
    assert "fast-1.skops: SHA-256 is" in line
    assert "Copy the model folder again" in line


class _Trap:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.canary),)


def test_a_model_with_a_pickle_in_it_is_refused_and_the_pickle_never_runs(
    model: Path, sounds: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    (copy / "weights.pkl").write_bytes(pickle.dumps(_Trap(tmp_path / "canary")))
    line = refusal("predict", copy, sounds)
    assert "file is 'weights.pkl'; expected only the files of the manifest" in line
    assert "Remove it" in line
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("kind", ["a folder of sounds", "a file", "nothing"])
def test_what_is_no_model_folder_is_refused(
    kind: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    place = {"a folder of sounds": sounds, "a file": tmp_path / "file", "nothing": tmp_path / "none"}[kind]
    assert command("predict", place, sounds) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "expected a folder with manifest.json" in said.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--top", "0"], "--top: N is 0"),
        (["-o", "rows.xlsx"], "a file name that ends in .csv, .json, .parquet, or - for standard output"),
        (["--device", "cuda"], "device is 'cuda'"),
        (["--device", "cuda:1"], "device is 'cuda:1'"),
        (["--device", "gpu"], "device is 'gpu'; expected one that torch finds here: cpu"),
        (["--precision", "0.5"], "--precision: precision is 0.5; expected one that the model was fitted for"),
    ],
)
def test_wrong_options_of_predict_are_refused(
    args: list[str],
    said: str,
    model: Path,
    sounds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert command("predict", model, sounds, *args) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_the_predictions_is_refused_before_anything_is_scored(
    model: Path,
    sounds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "rows.csv").mkdir()
    monkeypatch.setattr(Bundle, "judge", lambda *_, **__: pytest.fail("it was scored first"))
    assert command("predict", model, sounds, "-o", tmp_path / "rows.csv") == 1
    assert "expected a file. A folder has that name." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_wrong_usage_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("train") == 2
    assert command("trian", "x") == 2
    assert 'Did you mean "train"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ZeroDivisionError("on purpose"), 3, "please report it"),
        (MemoryError("Unable to allocate 9 TiB"), 1, "9 TiB. Close other programs"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 TiB"), 1, "9 TiB. Close other programs"),
        (OSError(28, "No space left"), 1, "No space left. Check the disk"),
    ],
)
def test_what_goes_wrong_inside_has_its_exit_code_and_advice(
    error: Exception,
    code: int,
    says: str,
    sounds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*args: object) -> None:
        raise error

    monkeypatch.setattr("earshot.experiment.run", broken)
    assert command("train", sounds, "--recipe", "fast", "-o", tmp_path / "run") == code
    said = capsys.readouterr().err
    assert says in said
    assert ("disk" in said) == isinstance(error, OSError)


def test_train_predict_and_evaluate_say_what_they_did(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert command("train", sounds, "-o", run, "--recipe", "fast", *FAST) == 0
    said = capsys.readouterr().err
    assert "18 clips in 18 files" in said
    assert "every file is its own group" in said
    assert "fast, out of fold: accuracy" in said
    files = ("experiment.toml", "clips.csv", "predictions.csv", "metrics.json", "history.csv", "report.html")
    assert [name for name in (*files, "log.txt", "model/manifest.json") if not (run / name).is_file()] == []

    assert command("predict", run / "model", sounds, "-o", tmp_path / "rows.csv") == 0
    assert "18 files scored, 0 could not be read" in capsys.readouterr().err
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert {row["file"].split("/")[0] == row["label"] for row in csv.DictReader(file)} == {True}

    fresh = corpus.make(tmp_path / "fresh", ("hiss", "hum", "ticks"), n=2, first_seed=50)
    assert command("evaluate", run / "model", fresh, "-o", tmp_path / "scores", "--quiet") == 0
    said = capsys.readouterr()
    assert said.out.startswith("6 clips: accuracy 100.0 %")
    assert said.err == ""
    assert json.loads((tmp_path / "scores" / "metrics.json").read_text())["accuracy"] == 1.0
    assert (tmp_path / "scores" / "report.html").is_file()


def test_the_table_of_corruptions_and_what_it_comes_to_are_printed(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = corpus.make(tmp_path / "fresh", ("hiss", "hum", "ticks"), n=2, first_seed=50)
    options = ("--corruptions", "gain", "--baseline", model, "--quiet")
    assert command("evaluate", model, fresh, *options) == 0
    said = capsys.readouterr().out
    assert re.search(r"^ *gain( +\d+(\.\d+)?){6}", said, re.MULTILINE)  # severities and their mean
    assert "damaged: " in said
    assert "mean corruption error" in said


def test_without_an_output_predict_prints_the_best_guesses(
    model: Path, sounds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("predict", model, sounds / "hum", "--top", 2, "--quiet") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    name, first, second = lines[0].split("\t")
    assert (name, first.split()[0]) == ("hum0000.wav", "hum")
    assert float(first.split()[1]) > float(second.split()[1])


def test_predict_prints_its_table_for_a_pipe(
    model: Path, sounds: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    assert command("predict", model, sounds / "hum", "-o", out) == 0
    capfd.readouterr()
    assert command("predict", model, sounds / "hum", "-o", "-") == 0
    said = capfd.readouterr()
    assert said.out.encode() == out.read_bytes()
    assert "6 files scored" in said.err
    assert "predictions:" not in said.err
    print("standard output is open")
    assert capfd.readouterr().out == "standard output is open\n"


def test_a_reader_that_has_enough_ends_the_command_in_silence(model: Path, sounds: Path) -> None:
    earshot = [sys.executable, "-m", "earshot", "predict", str(model), str(sounds), "-o", "-", "--quiet"]
    with subprocess.Popen(earshot, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141  # as what SIGPIPE ends


def test_predict_takes_the_columns_of_a_table(model: Path, sounds: Path, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("sound,from,site\nhum/hum0000.wav,0.1,a\nhum/hum0001.wav,0,b\n")
    columns = [
        "--path-column",
        "sound",
        "--start-column",
        "from",
        "--audio-root",
        sounds,
        "--where",
        "site=a",
    ]
    out = tmp_path / "out.csv"
    assert command("predict", model, table, "-o", out, "--quiet", *columns) == 0
    rows = pd.read_csv(out)
    assert rows[["label", "start_s"]].values.tolist() == [["hum", 0.1]]


@pytest.mark.parametrize("args", [["train"], ["predict", "m"], ["explain", "m"], ["compare"]])
def test_what_is_missing_is_named_and_leaves_with_2(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*args) == 2
    said = capsys.readouterr()
    assert re.search(r"parameter (DATA|PATHS|FILE|RUNS)", said.out + said.err)


def test_a_run_in_the_place_of_its_model_and_the_reverse_are_pointed_out(
    fast_run: Path, sounds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("predict", fast_run, sounds) == 1
    assert f"Is {fast_run / 'model'} meant?" in capsys.readouterr().err
    assert command("compare", fast_run / "model", fast_run) == 1
    assert f"Is {fast_run} meant?" in capsys.readouterr().err


def test_a_score_on_what_was_heard_in_training_says_so_even_when_quiet(
    model: Path, sounds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("evaluate", model, sounds, "--quiet") == 0
    assert "18 of them heard in training" in capsys.readouterr().out


def test_variants_are_not_written_among_the_classes(sounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("augment", sounds, "-o", sounds / "new" / "copies") == 1
    assert "one outside of" in capsys.readouterr().err
    assert not (sounds / "new").exists()


@pytest.mark.parametrize("command_of", ["audit", "evaluate", "explain"])
def test_results_are_not_written_among_sounds_or_over_a_run(
    command_of: str, fast_run: Path, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[object] = [sounds]
    if command_of == "explain":
        given = [next(sounds.rglob("*.wav"))]
    if command_of != "audit":
        given = [fast_run / "model", *given]
    among = next(sounds.iterdir())
    places = {among: "sounds, such as", fast_run: "a run"}
    if command_of != "explain":  # a sound's folder is not the folder of the data
        places[sounds] = "the data"
    for place, what in places.items():
        before = sorted(place.rglob("*"))
        assert command(command_of, *given, "-o", place) == 1
        assert f"expected a folder of its own. This one holds {what}" in capsys.readouterr().err
        assert sorted(place.rglob("*")) == before


def test_a_precision_out_of_reach_is_named_before_predicting(
    model: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = ClassThresholds((None, 0.5, None), 0.99, multilabel=False)
    monkeypatch.setattr(
        "earshot.deploy.decisions.DecisionsData.build_thresholds", lambda *_, **__: {0.99: limits}
    )
    assert command("predict", model, sounds, "--precision", 0.99) == 0
    first, _, last = Bundle.load(model).classes
    assert f"{first}, {last}: never said; too few clips show that it is right 99 %" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--n-classes", 1), ("--window-s", -1), ("--window-s", 0.001)])
def test_a_summary_of_nonsense_is_refused(
    option: str, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("summary", "cnn", option, value) == 1
    assert f"{option}: " in capsys.readouterr().err


def test_a_summary_of_a_classical_model_shows_the_keys_of_the_recipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command("summary", "fast", "--set", "c=3") == 0
    assert ", c = 3.0, " in capsys.readouterr().out


def test_a_text_among_sounds_is_a_failed_row(
    model: Path, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.txt").write_text("Recorded in May.")
    assert command("predict", model, tmp_path / "README.txt", next(sounds.rglob("*.wav"))) == 0
    said = capsys.readouterr()
    assert "README.txt\t-\tnot_audio" in said.out
    assert "1 file scored, 1 could not be read" in said.err


def test_a_study_that_cannot_begin_leaves_no_folder(tmp_path: Path, sounds: Path) -> None:
    out = tmp_path / "out"
    assert command("study", "views", "--data", sounds, "--protocol", "foo", "-o", out) == 1
    assert not out.exists()


def test_a_clip_of_several_labels_may_get_none(capsys: pytest.CaptureFixture[str]) -> None:
    print_row({"file": "a.wav", "status": "ok", "label": "", "confidence": None, "set": ""})
    assert capsys.readouterr().out == "a.wav\t-\t{}\n"


def test_a_name_that_is_not_utf8_is_trained_on_like_any_other(sounds: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(sounds, data)
    first = next((data / "hum").iterdir())
    first.rename(first.with_name(os.fsdecode(b"caf\xe9.wav")))
    assert command("train", data, "-o", tmp_path / "run", "--recipe", "fast", *FAST, "--quiet") == 0
    with (tmp_path / "run" / "clips.csv").open(newline="", encoding="utf-8") as file:
        assert "hum/caf%E9.wav" in {row["id"] for row in csv.DictReader(file)}


def test_what_the_model_does_not_know_gets_no_label_with_reject(
    model: Path, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus.write(tmp_path / "data" / "silence.wav", np.zeros(4_000))
    corpus.write(tmp_path / "data" / "tone.wav", np.sin(np.arange(4_000)))
    assert command("predict", model, tmp_path / "data", sounds / "hum", "--reject", "--sets") == 0
    said = capsys.readouterr()
    lines = {line.split("\t")[0].split("/")[-1]: line.split("\t")[1:] for line in said.out.splitlines()}
    assert lines["silence.wav"][1].startswith("rejected: silent")
    assert lines["tone.wav"][1].startswith("rejected: unknown (novelty ")
    kept = [cells for name, cells in lines.items() if name.startswith("hum")]
    assert (
        sum(cells[0].startswith("hum ") and "hum" in cells[-1].strip("{}").split(";") for cells in kept) >= 5
    )
    n_rejected = said.out.count("rejected:")
    assert f"8 files scored, {n_rejected} of them without a label, 0 could not be read" in said.err


def test_nothing_readable_to_predict_is_exit_code_1(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = corpus.add_broken(tmp_path / "data")
    assert command("predict", model, tmp_path / "data", "-o", tmp_path / "rows.csv", "--quiet") == 1
    assert "readable files is 0" in capsys.readouterr().err
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert sorted(row["file"] for row in csv.DictReader(file)) == names


def test_ctrl_c_ends_at_once_in_one_line_and_the_run_goes_on_later(sounds: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    # A checkpoint after every epoch, and more epochs than anybody would wait for.
    # What starts the tests in the background may have told them, and so their children, to ignore Ctrl-C.
    patched = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "import earshot.training.fit as f; f._CHECKPOINT_EVERY_S = 0; from earshot.cli import main; main()"
    )
    args = ["train", sounds, "-o", folder, "--quiet", "--recipe", "cnn", "--device", "cpu", *CNN]
    process = subprocess.Popen(
        [sys.executable, "-c", patched, *map(str, args), "--set", "epochs=100000"],
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoint = folder / "folds" / "cnn-1" / "checkpoint"
    try:
        _wait_for(checkpoint, process)
        importlib.import_module("earshot.experiment")  # loading torch is not what is timed
        start_s = time.monotonic()
        again = ["train", sounds, "-o", folder, "--recipe", "cnn", *CNN, "--set", "epochs=100000"]
        assert command(*again) == 1, "a second run in the same folder"
        assert time.monotonic() - start_s < 2
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert said == "earshot: interrupted; the same command goes on where it stopped\n"
    assert checkpoint.stat().st_size > 0
    assert [p.name for p in folder.rglob("*.part")] == []


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(6_000):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError(f"{path.name} did not appear within a minute")


def test_hostile_class_names_stay_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"hum": "<script>alert(1)<x>", "hiss": "=cmd|' calc'!A0", "ticks": "-1+2 [bold]"}
    data = corpus.make(tmp_path / "data", ("hum", "hiss", "ticks"), n=4, names=names)
    run = tmp_path / "run"
    assert command("train", data, "-o", run, "--recipe", "fast", *FAST) == 0
    page = (run / "report.html").read_text()
    assert "<script>alert" not in page
    assert page.count("<script") == 2  # the clips as data, and the page's own
    assert "&lt;script&gt;alert(1)" in page
    for name in ("clips.csv", "predictions.csv"):
        assert not _formulas(run / name), name
    assert "<script" not in (run / "model" / "README.md").read_text()
    capsys.readouterr()
    assert command("predict", run / "model", data, "-o", tmp_path / "rows.csv") == 0
    assert not _formulas(tmp_path / "rows.csv")
    assert command("evaluate", run / "model", data, "-o", tmp_path / "scores") == 0
    assert not _formulas(tmp_path / "scores" / "predictions.csv")
    page = (tmp_path / "scores" / "report.html").read_text()
    assert "<script>alert" not in page
    assert page.count("<script") == 2


def _formulas(path: Path) -> list[str]:
    """Cells that a spreadsheet would run."""
    with path.open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert any(cell.startswith("'=cmd") or "p_=cmd" in cell for cell in cells), "the class is not there"
    return [cell for cell in cells if cell[:1] in tuple("=+-@\t\r") and not _is_number(cell)]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_the_report_asks_for_nothing_from_outside(fast_run: Path) -> None:
    page = (fast_run / "report.html").read_text()
    for outside in ("http://", "https://", "src=", "<link", "@import"):
        found = [part[:60] for part in page.split(outside)[1:] if not part.startswith("www.w3.org/")]
        assert not found, (outside, found)


def test_each_column_is_filtered_once(sounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("train", sounds, "--where", "site=a", "--where", "site=b") == 1
    assert "Join alternatives with a comma: site=a,b" in capsys.readouterr().err


def test_a_refused_command_leaves_no_folder(sounds: Path, tmp_path: Path) -> None:
    assert command("train", sounds, "--recipe", "nosuch", "-o", tmp_path / "a" / "b" / "c") == 1
    assert list(tmp_path.iterdir()) == []


def test_data_in_a_folder_whose_name_is_not_utf_8_can_be_trained_on(sounds: Path, tmp_path: Path) -> None:
    home = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(sounds, home)
    assert command("train", home, "--recipe", "fast", *FAST, "-o", tmp_path / "run", "--quiet") == 0
    assert "caf%E9" in (tmp_path / "run" / "report.html").read_text()


def test_names_are_shown_as_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    ConsoleMonitor().say("classes: :dog: [bold]")
    assert "classes: :dog: [bold]" in capfd.readouterr().err
