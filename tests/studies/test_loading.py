import pytest

from earshot.errors import ConfigError
from earshot.studies.loading import expanded, load_study, read_study, study_names

from .conftest import plain_study

BARE = {"claims": [], "ladder": [], "pictures": ""}


@pytest.mark.parametrize("name", study_names())
def test_every_study_that_ships_can_be_read_and_says_what_its_source_got_wrong(name):
    study = load_study(name)
    assert study.name == name
    assert study.mistakes
    assert next(iter(study.protocols)) == "grouped"
    for claim in study.claims:
        assert study.matching(claim.left)
        assert not claim.right or study.matching(claim.right)
    for step in study.ladder:
        assert study.matching(step.rows)


def test_the_ladder_has_every_row_of_the_source():
    study = load_study("esc10-ladder")
    grid = [row for row in study.rows if row.section == "cnn1d"]
    assert len(grid) == 40
    published = {row.id: row.published.mean for row in grid}
    assert (published["deep1-z7"], published["deep2-z33"], published["shallow-z3"]) == (50.50, 10.00, 41.63)
    assert {row.runs for row in study.matching("cnn2d-*")} == {6}
    swarms = [row for row in study.rows if row.ensemble and row.ensemble.combination.startswith("swarm_")]
    assert len(swarms) == 6


def test_an_unknown_study_is_refused_with_the_names_there_are():
    with pytest.raises(ConfigError, match="esc10-ladder"):
        load_study("esc11-ladder")


def test_a_grid_becomes_a_row_a_combination_with_typed_values():
    row = {
        "id": "{depth}-{z}",
        "cell": ["{z}", "{depth}"],
        "model": {"kernel": "{z}", "layers": ["conv {z} 8"]},
        "grid": {"z": [3, 5], "depth": ["a", "b"]},
        "published": [[1, 2], [3, 4]],
    }
    rows = list(expanded(row))
    assert [each["id"] for each in rows] == ["a-3", "b-3", "a-5", "b-5"]
    assert rows[2]["model"] == {"kernel": 5, "layers": ["conv 5 8"]}
    assert rows[3]["cell"] == [5, "b"]
    assert [each["published"]["mean"] for each in rows] == [1, 2, 3, 4]


def test_a_named_training_can_be_changed_in_a_row(study):
    rows = plain_study()["rows"]
    rows[1]["training"] = {"base": "short", "epochs": 9}
    net = read_study(plain_study(rows=rows)).matching("net")[0]
    assert (net.training.epochs, net.training.batch_size) == (9, study.matching("net")[0].training.batch_size)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"view": "nowhere"}, "no view 'nowhere'"),
        ({"section": "nowhere"}, "no section 'nowhere'"),
        ({"model": {"kind": "oracle"}}, "row 'net'"),
        ({"training": {"base": "unknown"}}, "base"),
        ({"ensemble": {"members": "knn-1", "combination": "mean"}}, "a model, an ensemble or a recipe"),
        ({"toy": "regression"}, "a view or a toy"),
        ({"id": "knn-1"}, "row ids must differ"),
        ({"model": None, "recipe": "fast"}, "only a row with a model has .*runs, training, view"),
    ],
)
def test_a_row_that_breaks_a_rule_is_named(change, words):
    rows = plain_study()["rows"]
    rows[1] |= change
    with pytest.raises(ConfigError, match=words):
        read_study(plain_study(rows=rows))


@pytest.mark.parametrize(
    ("protocol", "change", "words"),
    [
        ({"augmented_test": True}, {}, "row both, protocol mine: weights are fitted on folds"),
        (
            {"augmented_test": True, "split": "random"},
            {"rows": [plain_study()["rows"][0] | {"spoiled": True}], "spoil": {"corruptions": ["gain"]}},
            "row knn-1, protocol mine: only clips are spoiled",
        ),
        (
            {"standardise": "class"},
            {},
            "row knn-1, protocol mine: standardise is for samples.*'raw' is decimated",
        ),
        (
            {"standardise": "recording"},
            {
                "views": {"raw": {"kind": "waveform"}},
                "rows": [plain_study()["rows"][0] | {"spoiled": True}],
                "spoil": {"corruptions": ["gain"]},
                **BARE,
            },
            "row knn-1, protocol mine: spoiled segments are not standardised",
        ),
        (
            {"augmented_test": True, "split": "random"},
            {"rows": [{"id": "fast", "label": "", "section": "all", "recipe": "fast"}], **BARE},
            "row fast, protocol mine: .*recipes judge only clips",
        ),
    ],
)
def test_a_row_that_does_not_go_with_a_protocol_is_refused(protocol, change, words):
    with pytest.raises(ConfigError, match=words):
        read_study(plain_study(protocols={"mine": {"about": "", **protocol}}, **change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"claims": [{"text": "", "kind": "higher", "left": "net"}]}, "compares left with right"),
        ({"claims": [{"text": "x", "kind": "above", "left": "cnn-*"}]}, "claim 'x': no row fits 'cnn-\\*'"),
        ({"ladder": [{"label": "y", "rows": "z", "published": 1}]}, "step 'y': no row fits 'z'"),
        (
            {"sections": [{"id": "all", "title": "", "grid": "k"}, {"id": "ensemble", "title": ""}]},
            "section 'all' is a grid, and the row has no cell",
        ),
        (
            {"rows": [plain_study()["rows"][0] | {"published": [1.0]}]},
            "row 'knn-{k}': published is .*a figure for each combination",
        ),
    ],
)
def test_a_study_that_does_not_fit_together_is_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        read_study(plain_study(**change))


def test_a_recipe_s_seed_is_the_study_s():
    row = {"id": "x", "label": "", "section": "all", "recipe": "fast", "recipe_changes": ["seed=7"]}
    with pytest.raises(ConfigError, match="the seed of a recipe is the study's"):
        read_study(plain_study(rows=[row], **BARE))


def test_patterns_choose_rows(study):
    assert [row.id for row in study.matching("knn-*")] == ["knn-1", "knn-3"]
    assert [row.id for row in study.matching("net, both")] == ["net", "both"]
    assert study.matching("none-*") == ()
