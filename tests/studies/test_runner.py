import pytest

from earshot.errors import ConfigError
from earshot.runfolder import RunFolder
from earshot.studies import attempts
from earshot.studies.loading import read_study
from earshot.studies.runner import run_rows

from .conftest import plain_study


@pytest.fixture
def run(ask):
    """`run(**changes)`: runs the small study in this process."""

    def do(**changes):
        asked = ask(**({"n_workers": 1} | changes))
        return run_rows(asked, RunFolder(asked.folder))

    return do


def test_every_row_is_judged_on_every_clip_once_by_source(run):
    result = run()
    assert list(result.results) == ["knn-1", "knn-3", "net", "both"]
    for row in result.results.values():
        assert row.reason == ""
        assert all(len(each) == 18 for each in row.runs)
        assert all(each.split == "oof" for each in row.runs)
    assert len(result.results["net"].runs) == 2
    assert len(result.results["net"].attempts[0]) == len(result.data.folds) == 5
    assert result.results["both"].note.startswith("2 members; fitted on the labels that are judged it would")


def test_the_book_judges_every_copy_of_the_clips_set_aside(run):
    result = run(protocol="book", rows="knn-1")
    judged = result.results["knn-1"].runs[0]
    assert len(judged) == 3 * len(result.data.folds[0].test) == 3 * 3
    assert judged.split == "test"


def test_a_second_start_trains_nothing(run, monkeypatch):
    first = run()
    monkeypatch.setattr(attempts, "fit_on_features", lambda *_, **__: pytest.fail("trained again"))
    second = run()
    assert [r.accuracies for r in second.results.values()] == [r.accuracies for r in first.results.values()]


def test_an_interrupt_keeps_what_is_finished(run, monkeypatch):
    n_fits = 0
    fit = attempts.fit_on_features

    def counted(*given, **options):
        nonlocal n_fits
        n_fits += 1
        if n_fits == 8:
            raise KeyboardInterrupt
        return fit(*given, **options)

    monkeypatch.setattr(attempts, "fit_on_features", counted)
    with pytest.raises(KeyboardInterrupt):
        run()
    n_fits = 100
    run()
    assert n_fits == 100 + 2 * 5 + 2 * 5 - 7


def test_rows_can_be_added_and_earlier_ones_are_shown_with_them(run):
    assert list(run(rows="knn-3").results) == ["knn-3"]
    assert list(run(rows="knn-1").results) == ["knn-1", "knn-3"]


@pytest.fixture
def whole(run):
    """The accuracy of a row where nothing is wrong."""
    results = run(rows="knn-*").results
    return {name: row.accuracy for name, row in results.items()}


def test_an_ensemble_can_be_asked_for_alone_once_its_members_are_there(run):
    together = run(rows="net,both").results["both"]
    assert run(rows="both").results["both"].accuracies == together.accuracies


def test_a_row_that_diverges_is_shown_with_its_reason_and_the_rest_goes_on(run, ask, whole):
    rows = plain_study()["rows"]
    rows[1]["training"] = {"base": "short", "optimizer": "sgd", "learning_rate": 1e30, "epochs": 30}
    result = run(study=read_study(plain_study(rows=rows)))
    assert "loss is" in result.results["net"].reason
    assert result.results["both"].reason == "not run: its members were not"
    assert result.results["knn-3"].reason == ""
    assert result.results["knn-3"].accuracy == whole["knn-3"]
    assert "net: " in (ask().folder / "log.txt").read_text()


def test_a_fault_in_one_row_does_not_end_the_others(run, whole, monkeypatch):
    fit = attempts.fit_on_features

    def faulty(model, *given, **options):
        if model.kind == "mlp":
            raise RuntimeError("out of memory")
        return fit(model, *given, **options)

    monkeypatch.setattr(attempts, "fit_on_features", faulty)
    result = run()
    assert result.results["net"].reason == "failed: RuntimeError: out of memory"
    assert result.results["knn-1"].reason == ""
    assert result.results["knn-1"].accuracy == whole["knn-1"]


def test_rows_that_fit_no_pattern_are_an_error(run):
    with pytest.raises(ConfigError, match="knn-1"):
        run(rows="cnn-*")


def test_a_limit_on_folds_is_kept_and_weights_are_not_fitted_on_one(run):
    result = run(folds=(2,))
    assert [fold.name for fold in result.data.folds] == ["fold 2"]
    assert "folds" in result.results["both"].reason


@pytest.mark.parametrize("n", [0, -1])
def test_less_than_one_run_is_refused_before_any_work(run, n):
    with pytest.raises(ConfigError, match=f"--runs is {n}; expected a whole number >= 1"):
        run(runs=n)


def test_more_runs_make_more_members(run):
    result = run(runs=3, rows="net,both")
    assert len(result.results["net"].runs) == 3
    assert len(result.results["both"].runs) == 1
