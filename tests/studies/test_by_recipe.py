import numpy as np
import pytest
import soundfile
import soxr

from earshot.deploy.bundle import Bundle
from earshot.runfolder import RunFolder
from earshot.studies import by_recipe
from earshot.studies.loading import read_study
from earshot.studies.runner import run_rows

from .. import corpus
from .conftest import cut_study, plain_study

FAST = tuple(change for change in corpus.FAST if not change.startswith(("n_fft", "hop", "n_mels", "n_folds")))


def small(*changes, **others):
    """A study of one neighbour and one recipe with some changes."""
    recipe = {"id": "fast", "label": "fast recipe", "section": "all", "recipe": "fast"}
    rows = [plain_study()["rows"][0], recipe | {"recipe_changes": [*FAST, *changes]}]
    values = {"rows": rows, "n_variants": 1, "claims": [], "ladder": [], "pictures": ""}
    values |= {"protocols": {"grouped": {"about": "by source"}}} | others
    return read_study(plain_study(**values))


@pytest.fixture
def run(ask):
    """`run(**changes)`: runs a study of one recipe and one neighbour in this process."""

    def do(**changes):
        asked = ask(**({"n_workers": 1, "study": small()} | changes))
        return run_rows(asked, RunFolder(asked.folder))

    return do


def test_a_recipe_judges_every_clip_out_of_fold_on_the_study_s_folds(run):
    result = run()
    row, other = result.results["fast"], result.results["knn-1"]
    assert row.reason == ""
    assert row.runs[0].clip_ids == other.runs[0].clip_ids
    assert row.runs[0].split == "oof"
    np.testing.assert_array_equal(row.runs[0].labels, other.runs[0].labels)
    assert row.accuracy > 0.9  # tones, hisses and ticks are easy for it
    assert row.seconds > 0


def test_where_clips_are_cut_up_a_recipe_judges_them_whole_in_the_same_order(ask, recordings):
    recipe = {"id": "fast", "label": "fast", "section": "all", "recipe": "fast", "recipe_changes": [*FAST]}
    study = read_study(cut_study(rows=[*cut_study()["rows"], recipe]))
    asked = ask(study=study, data=recordings, n_workers=1)
    results = run_rows(asked, RunFolder(asked.folder)).results
    assert results["fast"].runs == ()
    assert results["fast"].clips[0].clip_ids == results["net"].clips[0].clip_ids
    assert results["fast"].per_clip().accuracy > 0.9


def test_a_recipe_judges_the_data_s_own_test_clips_at_its_own_rate(run, sounds, tmp_path):
    paths = sorted(sounds.rglob("*.wav"))
    rows = [f"{path},{path.parent.name},{'test' if path.stem[-1] in '45' else 'train'}" for path in paths]
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(["path,label,split", *rows]))
    given = {"grouped": {"split": "given", "about": "given"}}
    result = run(study=small("rate_hz=4000", protocols=given), data=table)
    row = result.results["fast"]
    assert row.reason == ""
    assert row.runs[0].split == "test"
    (folder,) = (tmp_path / "study" / "recipes").glob("*/model")
    model, judged = Bundle.load(folder), result.data.clips.table["path"].iloc[result.data.folds[0].test]
    heard = [soxr.resample(soundfile.read(path)[0], corpus.RATE_HZ, 4_000) for path in judged]
    np.testing.assert_allclose(row.runs[0].probs, model.score_waveforms(heard), atol=1e-3)


def test_where_some_folds_are_judged_the_others_still_teach_weights_and_calibration(run):
    whole, part = run().results["fast"].runs[0], run(folds=(1,)).results["fast"].runs[0]
    assert 0 < len(part) < len(whole)
    place = [whole.clip_ids.index(name) for name in part.clip_ids]
    np.testing.assert_array_equal(part.probs, whole.probs[place])


def test_a_finished_recipe_is_read_back(run, monkeypatch):
    first = run().results["fast"]
    monkeypatch.setattr(by_recipe, "run", lambda *_: pytest.fail("trained again"))
    assert run().results["fast"].accuracies == first.accuracies
    assert run(rows="knn-1").results["fast"].accuracies == first.accuracies


def test_a_recipe_that_cannot_run_says_why_and_the_rest_goes_on(run):
    alone = run(rows="knn-1").results["knn-1"]
    rows = [plain_study()["rows"][0], {"id": "x", "label": "x", "section": "all", "recipe": "nothing"}]
    result = run(study=small(rows=rows))
    assert "recipe" in result.results["x"].reason
    assert result.results["knn-1"].accuracies == alone.accuracies
    assert alone.accuracy > 0.3  # a third is chance


@pytest.mark.parametrize("fault", [RuntimeError("a fold fell over"), MemoryError("9 TiB")])
def test_a_recipe_that_falls_over_does_not_end_the_study(run, monkeypatch, fault):
    def broken(_):
        raise fault

    monkeypatch.setattr(by_recipe, "run", broken)
    results = run().results
    assert results["fast"].reason == f"failed: {type(fault).__name__}: {fault}"
    assert results["knn-1"].reason == ""


@pytest.mark.parametrize("changed", ["version", "classes"])
def test_what_a_recipe_s_result_depends_on_makes_another_run(run, monkeypatch, changed):
    run()
    study = small()
    if changed == "version":
        monkeypatch.setattr(by_recipe, "FOLD_VERSION", by_recipe.FOLD_VERSION + 1)
    else:
        study = small(classes=[{"names": ["ticks", "hum", "hiss"]}])
    monkeypatch.setattr(by_recipe, "run", lambda _: pytest.fail("it is to be made anew"))
    with pytest.raises(pytest.fail.Exception, match="made anew"):
        run(study=study)
