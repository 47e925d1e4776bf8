import pytest

from earshot.studies.loading import read_study
from earshot.studies.verdicts import verdicts

from .conftest import outcome, plain_study

GOOD = [True] * 36 + [False] * 4
POOR = [True] * 10 + [False] * 30


def judge(results, *, quick=False, **claim):
    """The only verdict of a study with rows knn-1, knn-3 and net."""
    values = {"text": "So it is.", "left": "net", "right": "knn-1"} | claim
    study = read_study(plain_study(claims=[values]))
    (verdict,) = verdicts(study, results, seed=0, quick=quick)
    return verdict


def test_a_clear_difference_confirms_or_refutes():
    assert (
        judge({"net": outcome("net", GOOD), "knn-1": outcome("knn-1", POOR)}, kind="higher").answer
        == "confirmed"
    )
    found = judge({"net": outcome("net", POOR), "knn-1": outcome("knn-1", GOOD)}, kind="higher")
    assert found.answer == "refuted"
    assert "25.0 against 90.0: -65.0 points" in found.numbers


def test_a_small_difference_is_chance_either_way():
    better = [True] * 11 + [False] * 29
    swapped = [False] * 3 + [True] * 10 + [False] * 27
    first = judge({"net": outcome("net", better), "knn-1": outcome("knn-1", POOR)}, kind="higher")
    assert first.answer == "same direction, within chance"
    second = judge({"net": outcome("net", swapped), "knn-1": outcome("knn-1", POOR)}, kind="higher")
    assert second.answer == "not seen"


def test_clips_of_one_source_count_once():
    groups = ["a"] * 26 + ["b"] * 14
    results = {
        "net": outcome("net", [True] * 26 + [False] * 14, groups=groups),
        "knn-1": outcome("knn-1", [False] * 26 + [False] * 13 + [True], groups=groups),
    }
    assert judge(results, kind="higher").answer == "same direction, within chance"


def test_runs_that_hardly_differ_are_the_same_and_runs_far_apart_are_not():
    def runs(*n_right):
        return [[True] * n + [False] * (40 - n) for n in n_right]

    near = {"net": outcome("net", *runs(30, 32, 31)), "knn-1": outcome("knn-1", *runs(31, 30, 32))}
    assert judge(near, kind="same").answer == "not refuted"
    far = {"net": outcome("net", *runs(10, 11, 12)), "knn-1": outcome("knn-1", *runs(31, 30, 32))}
    found = judge(far, kind="same")
    assert found.answer == "refuted"
    assert "p = 0.000" in found.numbers
    assert "Cohen's d = -20" in found.numbers
    single = {"net": outcome("net", GOOD), "knn-1": outcome("knn-1", POOR)}
    assert judge(single, kind="same").answer == "open"


def test_two_runs_apart_that_few_runs_cannot_tell_apart_do_not_confirm_that_they_are_the_same():
    def runs(*n_right):
        return [[True] * n + [False] * (20 - n) for n in n_right]

    results = {"net": outcome("net", *runs(12, 16)), "knn-1": outcome("knn-1", *runs(17, 19))}
    assert judge(results, kind="same").answer == "not refuted"


def test_that_one_is_no_better_is_refuted_by_a_gain_and_confirmed_by_a_loss_only():
    good, poor = ({"net": GOOD, "knn-1": POOR}, {"net": POOR, "knn-1": GOOD})
    answers = [
        judge({name: outcome(name, rights) for name, rights in each.items()}, kind="not_higher").answer
        for each in (good, poor, {"net": GOOD, "knn-1": GOOD})
    ]
    assert answers == ["refuted", "confirmed", "not refuted"]


def test_rows_at_chance_are_counted_and_missing_rows_matter_where_they_could_decide():
    chance = [True, False] * 20

    def found(value, **rights):
        results = {name.replace("_", "-"): outcome(name, each) for name, each in rights.items()}
        return judge(results, kind="chance", left="knn-*,net", right="", value=value)

    some = found(2, net=GOOD, knn_1=chance, knn_3=chance)
    assert some.answer == "seen"
    assert some.numbers == "2 of 3 rows are not above chance (50)"
    assert found(2, net=GOOD, knn_1=chance, knn_3=GOOD).answer == "not seen"
    part = found(2, net=GOOD, knn_1=chance)
    assert part.answer == "open"
    assert "1 of 2 rows" in part.numbers
    assert "not run: 1" in part.numbers
    assert found(1, net=GOOD, knn_1=chance).answer == "seen"
    assert found(2, net=GOOD, knn_1=GOOD).answer == "not seen"
    assert found(0, net=GOOD, knn_1=GOOD, knn_3=GOOD).answer == "not seen"


@pytest.mark.parametrize(
    ("value", "answer"),
    [(60.0, "confirmed"), (99.5, "refuted"), (88.0, "same direction, within chance"), (92.0, "not seen")],
)
def test_a_figure_to_reach(value, answer):
    found = judge({"net": outcome("net", GOOD)}, kind="above", right="", value=value)
    assert found.answer == answer


def test_a_figure_to_reach_is_compared_with_the_mean_of_all_rows_and_runs():
    first, second = [True] * 40, [True] * 20 + [False] * 20
    results = {"net": outcome("net", first, second), "knn-1": outcome("knn-1", second, second)}
    found = judge(results, kind="above", left="net,knn-1", right="", value=85)
    assert found.numbers.startswith("62.5 (5")
    assert found.answer == "refuted"


@pytest.mark.parametrize(
    ("value", "within", "answer"),
    [(90, 15, "confirmed"), (90, 5, "not refuted"), (70, 5, "refuted"), (70, 40, "confirmed")],
)
def test_a_figure_that_is_about_so_much(value, within, answer):
    found = judge({"net": outcome("net", GOOD)}, kind="about", right="", value=value, within=within)
    assert found.answer == answer
    assert f"against {value}, {within} points either way" in found.numbers


def test_a_held_out_loss_that_turns_is_seen():
    def curve(*losses):
        return [{"epoch": i + 1, "test_loss": loss} for i, loss in enumerate(losses)]

    def answer(*losses):
        result = outcome("net", GOOD, history=curve(*losses))
        return judge({"net": result}, kind="turns", right="", value=2).answer

    assert answer(1.0, 0.6, 0.8, 1.2) == "seen"
    assert answer(1.0, 0.8, 0.6, 0.5, 0.4, 0.3) == "not seen"
    assert answer(1.0, 0.6, 0.61, 0.62) == "not seen"
    assert answer(1.0, 0.6) == "open"


def test_a_gap_between_learned_and_held_out_is_overfitting():
    history = [{"epoch": 1, "test_loss": 1.0, "train_accuracy": 1.0}]
    results = {"net": outcome("net", POOR, history=history)}
    assert judge(results, kind="overfits", right="", value=20).answer == "confirmed"
    assert judge(results, kind="overfits", right="", value=70).answer == "same direction, within chance"
    assert judge(results, kind="overfits", right="", value=80).answer == "not seen"
    found = judge(results, kind="overfits", right="", value=95)
    assert found.answer == "refuted"
    assert "100.0 on what was learned from, 25.0 held out: +75.0 points (+" in found.numbers
    assert judge({"net": outcome("net", POOR)}, kind="overfits", right="").answer == "open"


def test_a_missing_row_leaves_the_question_open():
    assert judge({"net": outcome("net", GOOD)}, kind="higher").answer == "open"


def test_a_quick_run_gives_numbers_and_no_answer():
    results = {"net": outcome("net", GOOD), "knn-1": outcome("knn-1", POOR)}
    found = judge(results, kind="higher", quick=True)
    assert found.answer == "not judged"
    assert "+65.0 points" in found.numbers
