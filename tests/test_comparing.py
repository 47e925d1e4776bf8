import csv
import json
import shutil
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from earshot import read_clips
from earshot.comparing import compare_runs, comparison_values, load_run, write_comparison
from earshot.deploy.bundle import Bundle
from earshot.deploy.evaluate import evaluate_bundle
from earshot.errors import DataError
from earshot.evaluation.predictions import Predictions, safe_frame

from . import corpus

CLASSES = ("a", "b", "c")


def predictions(*, seed=0, n=90, wrong=0.2, classes=CLASSES, multilabel=False, prefix=""):
    """Clips of which a share is taken for the next class, other ones for each seed."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(classes)
    targets = np.eye(len(classes), dtype=np.float32)[labels]
    said = np.where(rng.random(n) < wrong, (labels + 1) % len(classes), labels)
    probs = np.full((n, len(classes)), 0.1, np.float32)
    probs[np.arange(n), said] = 1 - 0.1 * (len(classes) - 1)
    if multilabel:
        targets[::5, 0] = 1.0
    return Predictions(
        probs, classes, clip_ids=tuple(f"{prefix}{i}.wav" for i in range(n)), targets=targets, split="oof",
        groups=tuple(f"g{i // 2}" for i in range(n)), multilabel=multilabel,
    )  # fmt: skip


def write(folder, said, *, contents=None, tested_in="fold 1", **metrics):
    """A run folder as `train` leaves it, without a model."""
    folder.mkdir(parents=True)
    values = {"classes": list(said.classes), "members": {"fast": {"seconds": 2.5}, "cnn": {"seconds": 10}}}
    if said.multilabel:
        values["mean_average_precision"] = 0.5
    (folder / "metrics.json").write_text(json.dumps(values | metrics))
    frame = safe_frame(said.to_frame().assign(split=said.split))
    frame.to_csv(folder / "predictions.csv", index=False)
    if contents is not None:
        table = {
            "id": said.clip_ids,
            "content": contents,
            "start_s": 0.0,
            "end_s": "",
            "tested_in": tested_in,
        }
        safe_frame(pd.DataFrame(table)).to_csv(folder / "clips.csv", index=False)
    return folder


def test_the_better_run_stands_first_and_its_lead_is_tested(tmp_path):
    good = write(tmp_path / "good", predictions(wrong=0.02))
    poor = write(tmp_path / "poor", predictions(wrong=0.5, seed=1))
    compared = compare_runs([poor, good])
    assert [each.name for each in compared.comparison.standings] == ["good", "poor"]
    [pair] = compared.comparison.pairs
    assert pair.is_clear
    assert compared.comparison.n_clips == 90
    assert compared.comparison.n_groups == 45
    assert compared.notes == ()
    assert compared.costs["train_s"].tolist() == [12.5, 12.5]
    assert compared.costs["latency_ms"].isna().all()


def test_folders_may_be_given_as_text(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, predictions(seed=ord(name)))
    compared = compare_runs([str(tmp_path / "a"), str(tmp_path / "b")], latency=False)
    assert {each.name for each in compared.comparison.standings} == {"a", "b"}


def test_what_was_written_is_read_back(tmp_path):
    said = predictions(classes=("=cmd", "-x", "NA"))
    run = load_run(write(tmp_path / "run", said), name="run")
    np.testing.assert_allclose(run.predictions.probs, said.probs)
    np.testing.assert_array_equal(run.predictions.known_targets, said.known_targets)
    assert run.predictions.groups == said.groups


def test_several_labels_a_clip_are_read_back(tmp_path):
    said = predictions(classes=("=cmd", "b", "c"), multilabel=True)
    run = load_run(write(tmp_path / "run", said), name="run")
    np.testing.assert_array_equal(run.predictions.known_targets, said.known_targets)
    assert run.predictions.multilabel


def test_only_clips_that_all_runs_have_are_compared_and_it_is_said(tmp_path):
    all_clips, few = predictions(), predictions(seed=1).subset(np.arange(60))
    compared = compare_runs([write(tmp_path / "all", all_clips), write(tmp_path / "few", few)])
    assert compared.comparison.n_clips == 60
    assert compared.notes == ("30 of 90 clips of all are not in all runs and left out",)


def test_clips_are_known_by_their_content_wherever_they_lie(tmp_path):
    contents = [f"{i:064x}" for i in range(90)]
    here = write(tmp_path / "here", predictions(), contents=contents)
    there = write(tmp_path / "there", predictions(seed=1, prefix="moved/"), contents=contents)
    assert compare_runs([here, there]).comparison.n_clips == 90
    (there / "clips.csv").unlink()
    with pytest.raises(DataError, match="clips in common is 0"):
        compare_runs([here, there])


def test_copies_of_a_clip_are_counted_each(tmp_path):
    contents = ["ab" * 32] * 3 + [f"{i:064x}" for i in range(87)]
    folders = [
        write(tmp_path / name, predictions(seed=seed), contents=contents) for seed, name in enumerate("xy")
    ]
    assert compare_runs(folders).comparison.n_clips == 90


def test_where_one_run_has_dropped_a_copy_the_other_copy_keeps_its_partner(tmp_path):
    whole = predictions()
    contents = ["ab" * 32] * 2 + [f"{i:064x}" for i in range(88)]  # clips 0 and 1 differ in their label
    less, order = np.arange(1, 90), np.random.default_rng(0).permutation(90)
    folders = [
        write(tmp_path / "whole", whole, contents=contents),
        write(tmp_path / "less", predictions(seed=1).subset(less), contents=contents[1:]),
        write(tmp_path / "shuffled", whole.subset(order), contents=[contents[i] for i in order]),
    ]
    assert compare_runs(folders[:2]).comparison.n_clips == 89
    [pair] = compare_runs(folders[::2]).comparison.pairs
    assert (pair.n_only_first, pair.n_only_second) == (0, 0)


def test_reading_a_run_takes_memory_for_its_numbers_and_not_for_their_text(tmp_path):
    targets = np.eye(50, dtype=np.float32)[np.arange(2_000) % 50]
    ids = tuple(map(str, range(2_000)))
    said = Predictions(
        0.5 * targets + 0.01, tuple(f"class {k}" for k in range(50)), clip_ids=ids, targets=targets
    )
    run = write(tmp_path / "run", said)
    load_run(run, name="warm")
    tracemalloc.start()
    try:
        load_run(run, name="run")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2_000 * 3_000  # 20 kB a clip as rows of text


def test_other_folds_are_noted(tmp_path):
    contents = [f"{i:064x}" for i in range(90)]
    one = write(tmp_path / "one", predictions(), contents=contents)
    two = write(tmp_path / "two", predictions(seed=1), contents=contents, tested_in="fold 2")
    assert any("different folds" in note for note in compare_runs([one, two]).notes)


def test_classes_in_another_order_are_lined_up(tmp_path):
    said = predictions()
    order = [2, 0, 1]
    turned = Predictions(
        said.probs[:, order], tuple(CLASSES[k] for k in order), clip_ids=said.clip_ids,
        targets=said.known_targets[:, order], split="oof", groups=said.groups,
    )  # fmt: skip
    compared = compare_runs([write(tmp_path / "one", said), write(tmp_path / "two", turned)])
    [pair] = compared.comparison.pairs
    assert (pair.n_only_first, pair.n_only_second) == (0, 0)


def refused(folders, said):
    with pytest.raises(DataError, match=said) as caught:
        compare_runs(folders)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path):
    run = write(tmp_path / "run", predictions())
    refused([run], "number of runs is 1; expected 2 or more")
    refused([run, run], "each run once")
    refused([run, tmp_path], "metrics.json.*earshot train")
    other = write(tmp_path / "other", predictions(classes=("a", "b", "d")))
    refused([run, other], "classes of other is 3; expected those of run. Not in both: c, d")
    tests = predictions(seed=2)
    object.__setattr__(tests, "split", "test")
    refused([run, write(tmp_path / "test", tests)], "rows of test is 'test'; expected oof")
    lied = predictions()
    object.__setattr__(lied, "targets", np.roll(lied.targets, 1, axis=0))
    refused([run, write(tmp_path / "lied", lied)], "other labels")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"classes": ["a", "b", "zz"]}', '{"classes": 7}'])
def test_damaged_runs_are_refused(tmp_path, content):
    good, bad = write(tmp_path / "good", predictions()), write(tmp_path / "bad", predictions(seed=1))
    (bad / "metrics.json").write_text(content)
    refused([good, bad], "bad: ")


def test_runs_of_one_name_are_called_by_their_paths(tmp_path):
    one, two = (write(tmp_path / side / "run", predictions(seed=i)) for i, side in enumerate("lr"))
    names = {standing.name for standing in compare_runs([one, two]).comparison.standings}
    assert names == {str(one), str(two)}


def test_models_are_measured_and_a_damaged_one_is_noted(fast_run, tmp_path):
    copy = shutil.copytree(fast_run, tmp_path / "copy")
    found = compare_runs([fast_run, copy]).costs.set_index("name")
    assert (found["latency_ms"] > 0).all()
    assert (found["n_support_vectors"] > 0).all()
    assert (found["n_parameters"] == 0).all()
    assert found["n_models"].tolist() == [2, 2]
    (copy / "model" / "README.md").write_text("changed")
    compared = compare_runs([fast_run, copy], latency=False)
    assert compared.costs["latency_ms"].isna().all()
    assert any("model of copy could not be loaded" in note for note in compared.notes)


def test_folders_of_evaluate_are_compared_too(fast_run, tmp_path):
    data = corpus.make(tmp_path / "data", ("hiss", "hum", "ticks"), n=3, first_seed=40)
    bundle = Bundle.load(fast_run / "model")
    for name in ("one", "two"):
        evaluate_bundle(bundle, read_clips(data), folder=tmp_path / name)
    compared = compare_runs([tmp_path / "one", tmp_path / "two"])
    assert compared.comparison.n_clips == 9
    assert compared.costs["train_s"].isna().all()


def test_tables_and_page_are_written(tmp_path):
    folders = [
        write(tmp_path / name, predictions(seed=i, wrong=0.1 * i + 0.1))
        for i, name in enumerate(("=x", "y", "z"))
    ]
    compared = compare_runs(folders)
    write_comparison(compared, tmp_path / "out", command="earshot compare")
    with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
        pairs = list(csv.DictReader(file))
    assert len(pairs) == 3
    assert {"difference", "low", "high", "p_groups_holm", "clear"} <= set(pairs[0])
    runs = pd.read_csv(tmp_path / "out" / "runs.csv")
    assert runs["name"].tolist() == ["'=x", "y", "z"]
    assert {"accuracy", "low", "high", "log_loss", "train_s", "latency_ms"} <= set(runs.columns)
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "earshot compare" in page
    assert comparison_values(compared).title == "3 runs compared"


def regrouped(said, groups):
    return Predictions(
        said.probs,
        said.classes,
        clip_ids=said.clip_ids,
        targets=said.targets,
        split=said.split,
        groups=groups,
    )


def test_clips_that_any_run_keeps_together_count_as_one_group_in_either_order(tmp_path):
    sites = tuple(f"site {i // 18}" for i in range(90))
    one = write(tmp_path / "one", predictions(wrong=0.0))
    two = write(tmp_path / "two", regrouped(predictions(wrong=0.3, seed=1), sites))
    compared = [compare_runs(order) for order in ([one, two], [two, one])]
    assert [each.comparison.n_groups for each in compared] == [5, 5]
    assert compared[0].comparison.pairs[0].p_groups == compared[1].comparison.pairs[0].p_groups
    assert any("group the clips differently" in note for note in compared[0].notes)
    assert not any("group the clips" in note for note in compare_runs([one, write_copy(one, tmp_path)]).notes)


def write_copy(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    return tmp_path / "copy"


def test_groups_that_cross_are_joined_through_both_runs(tmp_path):
    pairs, shifted = (tuple(f"{(i + shift) // 2}" for i in range(90)) for shift in (0, 1))
    one = write(tmp_path / "one", regrouped(predictions(), pairs))
    two = write(tmp_path / "two", regrouped(predictions(seed=1), shifted))
    assert compare_runs([one, two]).comparison.n_groups == 1


def test_an_evaluation_without_folds_is_not_said_to_have_others(tmp_path):
    contents = [f"{i:064x}" for i in range(90)]
    run = write(tmp_path / "run", predictions(), contents=contents)
    evaluated = write(tmp_path / "evaluated", predictions())
    assert not compare_runs([run, evaluated]).notes


def test_a_damaged_table_of_clips_is_one_clear_error(tmp_path):
    run = write(tmp_path / "run", predictions(), contents=["x"] * 90)
    (run / "clips.csv").write_bytes(b"id,content\n\xff\xfe,1\n")
    with pytest.raises(DataError, match=r"the run cannot be read .*Run it again"):
        load_run(run, name="run")
