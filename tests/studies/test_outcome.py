import numpy as np
import pytest

from earshot.studies.outcome import Attempt, AttemptFile, RowResult

from .conftest import answers, outcome, row


@pytest.fixture
def attempt():
    return Attempt(
        probs=np.array([[0.25, 0.75], [1.0, 0.0]], np.float32),
        history=[{"epoch": 1, "train_loss": 0.7}],
        seconds=1.25,
        n_parameters=42,
        training_confusion=[[3, 1], [0, 4]],
    )


def test_an_attempt_comes_back_as_it_was_saved(attempt, tmp_path):
    AttemptFile(tmp_path, "a" * 64).save(attempt)
    found = AttemptFile(tmp_path, "a" * 64).load()
    np.testing.assert_array_equal(found.probs, attempt.probs)
    assert (found.history, found.seconds, found.n_parameters) == (attempt.history, 1.25, 42)
    assert found.training_confusion == [[3, 1], [0, 4]]


def test_another_identity_or_a_damaged_file_is_no_attempt(attempt, tmp_path):
    AttemptFile(tmp_path, "a" * 64).save(attempt)
    assert AttemptFile(tmp_path, "b" * 64).load() is None
    assert AttemptFile(tmp_path, "a" * 24 + "b" * 40).load() is None
    file = AttemptFile(tmp_path, "a" * 64)
    file.path.write_bytes(file.path.read_bytes()[:-7])
    assert file.load() is None


def test_saving_removes_the_checkpoint(attempt, tmp_path):
    file = AttemptFile(tmp_path, "a" * 64)
    file.checkpoint.path.write_bytes(b"half")
    file.checkpoint.before.write_bytes(b"half")
    file.save(attempt)
    assert not file.checkpoint.path.exists()
    assert not file.checkpoint.before.exists()


def test_a_row_s_accuracy_is_the_mean_of_its_runs():
    result = outcome("a", [True, True, False, False], [True, True, True, False])
    assert result.accuracies == (0.5, 0.75)
    assert result.accuracy == 0.625
    assert result.correct.tolist() == [1.0, 1.0, 0.5, 0.0]
    assert result.seconds == 3.0


def test_a_row_without_runs_has_no_accuracy_and_no_interval():
    result = RowResult(row(), reason="not run")
    assert result.accuracy is None
    assert result.interval(seed=0) is None
    assert result.n_parameters is None


def test_an_interval_over_few_sources_is_wider_than_over_many():
    rights = [True] * 30 + [False] * 30
    many = outcome("a", rights).interval(seed=0)
    few = outcome("a", rights, groups=[str(i // 15) for i in range(60)]).interval(seed=0)
    assert few[1] - few[0] > 1.5 * (many[1] - many[0])


def test_curves_are_means_over_runs_and_folds():
    made = tuple(
        (Attempt(answers([True]).probs, [{"epoch": 1, "test_loss": loss}, {"epoch": 2}], 0.0),)
        for loss in (1.0, 3.0)
    )
    result = RowResult(row(), (), made)
    assert result.curve("test_loss") == [(1, 2.0)]
    assert result.last("test_loss") == 2.0
    assert result.last("test_accuracy") is None


def test_a_training_that_stopped_early_stays_in_the_mean_with_its_last_value():
    def made(*losses):
        history = [{"epoch": i + 1, "test_loss": loss} for i, loss in enumerate(losses)]
        return Attempt(answers([True]).probs, history, 0.0)

    result = RowResult(row(), (), ((made(1.0, 0.9), made(1.0, 0.5, 0.1, 0.2)),))
    assert [epoch for epoch, _ in result.curve("test_loss")] == [1, 2, 3, 4]
    assert [loss for _, loss in result.curve("test_loss")] == pytest.approx([1.0, 0.7, 0.5, 0.55])
    assert result.last("test_loss") == pytest.approx(0.55)


def test_training_confusion_is_summed_over_folds(attempt):
    assert RowResult(row(), (), ((attempt, attempt),)).training_confusion.tolist() == [[6, 2], [0, 8]]
    assert RowResult(row(), (), ((Attempt(attempt.probs, [], 0.0),),)).training_confusion is None
