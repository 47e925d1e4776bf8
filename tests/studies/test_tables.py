import numpy as np
import pytest

from earshot.studies.outcome import Attempt, RowResult
from earshot.studies.spec import Published, Section, Step
from earshot.studies.tables import (
    NOTHING,
    Table,
    as_markdown,
    as_text,
    grid_table,
    ladder,
    list_table,
    lowest_text,
    ours_text,
    progress_table,
    published_text,
    spread_text,
    study_tables,
    training_text,
)

from .conftest import outcome, row

HALF = [True, False] * 10
MOST = [True] * 15 + [False] * 5


def column(table, name):
    return [line[table.columns.index(name)] for line in table.rows]


def test_our_figures_stand_beside_the_published_ones():
    results = [
        outcome("a", HALF, published={"mean": 41.63}),
        outcome("b", MOST, HALF, published={"mean": 75.54, "se": 0.92}),
    ]
    table = list_table(Section(id="all", title="All"), results, seed=0)
    assert column(table, "published") == ["41.63", "75.54 ± 0.92"]
    assert column(table, "ours") == ["50.0", "62.5"]
    # Runs at 75 and 50 percent: standard error 12.5.
    assert column(table, "spread")[1] == "± 12.50, 2 runs"


def test_columns_that_nobody_fills_are_left_out():
    table = list_table(Section(id="all", title="All"), [outcome("a", HALF)], seed=0)
    assert table.columns == ("", "ours", "spread", "time")


def test_a_row_without_figures_says_why():
    results = [outcome("a", HALF), RowResult(row("b"), reason="not run: no weights")]
    table = list_table(Section(id="all", title="All"), results, seed=0)
    assert column(table, "ours") == ["50.0", NOTHING]
    assert column(table, "note") == [NOTHING, "not run: no weights"]


def test_a_loss_is_shown_as_a_loss():
    history = [{"epoch": 1, "test_loss": 0.9}, {"epoch": 2, "test_loss": 0.04331}]
    made = Attempt(np.zeros((1, 1), np.float32), history, 0.0)
    result = RowResult(row(unit="loss"), (), ((made,),))
    assert ours_text(result) == "0.0433"


def test_the_lowest_held_out_loss_comes_with_its_epoch_and_accuracy():
    history = [
        {"epoch": 1, "test_loss": 1.5, "test_accuracy": 0.25},
        {"epoch": 2, "test_loss": 1.25, "test_accuracy": 0.4625},
        {"epoch": 3, "test_loss": 1.75, "test_accuracy": 0.5},
    ]
    assert lowest_text(outcome("a", HALF, history=history)) == "1.2500 (2, 46.2)"
    assert lowest_text(outcome("a", HALF)) == NOTHING


def test_the_lowest_loss_and_what_was_learned_are_of_all_folds_where_some_stopped_early():
    def fold(n_epochs, loss, learned):
        line = {"test_loss": loss, "test_accuracy": 0.5, "train_accuracy": learned}
        history = [line | {"epoch": i + 1, "test_loss": loss if i else 1.0} for i in range(n_epochs)]
        return Attempt(np.zeros((1, 2), np.float32), history, 0.0)

    folds = tuple(fold(*each) for each in ((3, 0.9, 0.6), (3, 0.7, 0.8), (9, 0.2, 1.0)))
    result = RowResult(row(), (), (folds,))
    assert lowest_text(result) == "0.6000 (2, 50.0)"
    assert training_text(result) == "80.0"


def test_what_was_learned_is_judged_by_the_final_weights_where_that_was_measured():
    result = outcome("a", HALF, history=[{"epoch": 1, "train_loss": 0.1, "train_accuracy": 0.75}])
    assert training_text(result) == "75.0"
    made = Attempt(result.attempts[0][0].probs, [], 0.0, training_confusion=[[9, 1], [0, 10]])
    assert training_text(RowResult(row(), result.runs, ((made,),))) == "95.0"


def test_a_number_of_parameters_that_differs_from_the_published_one_is_shown_with_it():
    same = outcome("a", HALF, n_parameters=46, published_parameters=46)
    other = outcome("a", HALF, n_parameters=666522, published_parameters=666618)
    table = list_table(Section(id="all", title="All"), [same, other], seed=0)
    assert column(table, "parameters") == ["46", "666,522"]
    assert column(table, "note") == [NOTHING, "published with 666,618 parameters"]


def test_one_run_gets_an_interval_over_sources():
    low, high = (float(end) for end in spread_text(outcome("a", HALF), seed=0).split(" to "))
    assert 20 < low < 50 < high < 80


def test_a_grid_has_a_cell_a_row():
    results = [
        outcome(f"{depth}{z}", rights, cell=[z, depth], published={"mean": 10 + z})
        for z in (3, 5)
        for depth, rights in (("flat", HALF), ("deep", MOST))
    ]
    results[3] = RowResult(results[3].row, reason="failed: it diverged")
    rows, section = [each.row for each in results], Section(id="all", title="Grid", grid="kernel")
    table = grid_table(section, rows, results)
    assert table.columns == ("kernel", "flat", "deep")
    assert table.rows == (("3", "50.0 (13)", "75.0 (13)"), ("5", "50.0 (15)", "failed (15)"))
    assert "it diverged" in table.about
    table = grid_table(section, rows, results[1:2])  # the order is the study's, whatever was run
    assert table.columns == ("kernel", "flat", "deep")
    assert table.rows == (("3", "– (13)", "75.0 (13)"), ("5", "– (15)", "– (15)"))


def test_the_ladder_takes_the_best_row_of_each_step(study):
    results = {"knn-1": outcome("knn-1", HALF), "knn-3": outcome("knn-3", MOST)}
    steps = [
        Step(label="neighbours", rows="knn-*", published=55.5),
        Step(label="net", rows="net", published=70),
    ]
    found = ladder(steps, study, results)
    assert [best.row.id if best else None for _, best in found] == ["knn-3", None]
    table = progress_table(steps, study, results)
    assert table.rows[0] == ("neighbours", "55.5", "75.0", "row knn-3")
    assert table.rows[1][1:3] == ("70.0", NOTHING)


def test_sections_without_results_have_no_table(study):
    tables = study_tables(study, {"knn-1": outcome("knn-1", HALF)}, seed=0)
    assert [table.title for table in tables] == ["Progress", "All rows"]


@pytest.mark.parametrize(
    ("published", "text"),
    [(None, NOTHING), (Published(mean=10.0), "10"), (Published(mean=76.18, se=0.85), "76.18 ± 0.85")],
)
def test_published_figures_are_shown_as_published(published, text):
    assert published_text(published) == text


def test_text_is_aligned_and_markdown_escapes_bars():
    table = Table("T", "about", ("", "ours"), (("a | b", "1.0"), ("c", "12.0")))
    lines = as_text(table).splitlines()
    assert lines[3] == "a | b   1.0"
    assert lines[4] == "c      12.0"
    document = as_markdown(table)
    assert "| a \\| b | 1.0 |" in document
    assert "|:--|--:|" in document
