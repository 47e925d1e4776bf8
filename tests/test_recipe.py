import re
import tomllib

import numpy as np
import pytest

from earshot.audio.windows import Gate
from earshot.errors import ConfigError
from earshot.hearing import window_samples
from earshot.recipe import Recipe, load_recipe, recipe_names


def refusal(source, *changes):
    with pytest.raises(ConfigError) as caught:
        load_recipe(source, changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def network_of(recipe):
    return recipe.members["cnn"]


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_ships_loads_says_what_it_is_and_survives_toml(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description.endswith(".")
    assert load_recipe(tomllib.loads(recipe.to_toml())) == recipe


def test_the_recipes_that_the_documentation_names_are_there():
    assert {"default", "fast", "cnn"} <= set(recipe_names())


def test_every_default_is_written_out():
    written = tomllib.loads(load_recipe("default").to_toml())
    assert written["audio"]["rate_hz"] == 44_100
    assert written["members"]["cnn"]["training"]["learning_rate"] == 0.003
    assert written["members"]["cnn"]["features"]["mel_scale"] == "slaney"


def test_a_recipe_is_read_from_a_file_and_named_after_it(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(load_recipe("cnn", ["seed=7"]).to_toml().replace('name = "cnn"\n', ""))
    recipe = load_recipe(path)
    assert (recipe.name, recipe.seed) == ("mine", 7)
    assert load_recipe(str(path)) == recipe


@pytest.mark.parametrize("key", ["epochs", "training.epochs", "members.cnn.training.epochs"])
def test_a_setting_goes_by_its_name_where_that_is_unambiguous(key):
    for name in ("cnn", "default"):
        assert network_of(load_recipe(name, [f"{key}=3"])).training.epochs == 3


@pytest.mark.parametrize(
    ("change", "read", "value"),
    [
        ("seed=5", lambda r: r.seed, 5),
        ("ignore_folds=true", lambda r: r.ignore_folds, True),
        ("window_s=2.5", lambda r: r.audio.window_s, 2.5),
        ("window_s=auto", lambda r: r.audio.window_s, "auto"),
        ('window_s = "auto"', lambda r: r.audio.window_s, "auto"),
        ("hop_s=0.5", lambda r: r.audio.hop_s, 0.5),
        ("block_channels=[8, 16]", lambda r: network_of(r).model.block_channels, (8, 16)),
        ("f_max_hz=9000.0", lambda r: network_of(r).features.f_max_hz, 9_000.0),
        ("noise_snr_db=[1.0, 2.0]", lambda r: network_of(r).augment.noise_snr_db, (1.0, 2.0)),
        ("description=one = two", lambda r: r.description, "one = two"),
    ],
)
def test_values_are_read_as_toml_or_as_text(change, read, value):
    assert read(load_recipe("cnn", [change])) == value


def test_later_changes_win_and_the_rest_stays():
    recipe = load_recipe("cnn", ["epochs=3", "epochs=4"])
    assert network_of(recipe).training.epochs == 4
    plain = load_recipe("cnn")
    assert network_of(recipe).model == network_of(plain).model


def test_a_recipe_without_changes_and_with_empty_ones_is_the_same():
    assert load_recipe("default", []) == load_recipe("default")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("epoch=3", ["--set: key is 'epoch'", "such as members.cnn.training.epochs"]),
        ("epochs", ["change is 'epochs'", "key=value"]),
        ("=3", ["--set: key is ''"]),
        ("epochs=-3", ["members.cnn.training.epochs is -3", "greater than or equal to 1"]),
        ("epochs=many", ["epochs is 'many'", "integer"]),
        ("rate_hz=10", ["audio.rate_hz is 10"]),
        ("window_s=0.001", ["window_s"]),
        ("window_s=short", ["window_s"]),
        ("hop_s=0", ["hop_s is 0"]),
        ("members.cnn.model.kind=resnext", ["resnext"]),
        ("cnn.kind=x", ["key is 'cnn.kind'", "a key of the recipe, such as members.cnn."]),
        ("n_folds=1", ["n_folds is 1"]),
        ("seed=-1", ["seed is -1"]),
    ],
)
def test_changes_that_make_no_sense_name_field_value_and_rule(change, said):
    line = refusal("cnn", change)
    assert [part for part in said if part not in line] == []


def test_an_ambiguous_key_lists_what_it_could_mean():
    line = refusal("default", "n_mels=32")
    assert "members.cnn.features.n_mels" in line
    assert "members.fast.features.mel.n_mels" in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "members"),
        ("members = 3", "tables [members.NAME]"),
        ("[members]", "members"),
        ("[members.a]\nfeatures = 3", "members.a"),
        ("a = ", "not TOML"),
        ("unknown = 1\n[members.a.features]\nkind='log_mel'\n[members.a.model]\nkind='cnn2d'", "a known key"),
        ("[members.a.features]\nkind='statistics'\n[members.a.model]\nkind='cnn2d'", "cannot work on"),
        ("[members.a.features]\nkind='sonogram'\n[members.a.model]\nkind='svm'", "sonogram"),
    ],
)
def test_files_that_make_no_sense_are_refused_in_one_line(tmp_path, content, said):
    path = tmp_path / "broken.toml"
    path.write_text(content)
    line = refusal(path)
    assert said in line
    assert line.startswith("broken.toml")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "not TOML" in refusal(path)


def test_an_unknown_recipe_names_those_there_are(tmp_path):
    for source in ("resnet", tmp_path, tmp_path / "none.toml"):
        line = refusal(source)
        assert "default" in line
        assert "fast" in line


def test_a_recipe_cannot_be_changed_in_place():
    recipe = load_recipe("fast")
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3
    assert isinstance(recipe, Recipe)


def test_a_setting_of_networks_is_called_that_where_there_is_none():
    for key in ("epochs", "epoch"):
        with pytest.raises(ConfigError, match="epochs is of networks, and there is none"):
            load_recipe("fast", [f"{key}=3"])


@pytest.mark.parametrize("stem", ["my recipe (v2)", "recipe+aug", "run²", "½", "-x", "é…", "(-)"])
def test_a_file_of_any_name_is_a_recipe(tmp_path, stem):
    path = tmp_path / f"{stem}.toml"
    path.write_text("[members.a.features]\nkind='statistics'\n[members.a.model]\nkind='svm'\n")
    assert re.fullmatch(r"\w[\w. -]*", load_recipe(path).name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "members is missing; expected a value for it"),
        ("[trainig]\na=1\n[members.a.model]\nkind='svm'", "trainig is a table; expected a known key"),
        (
            "[members.a.features]\nn_mels=3\n[members.a.model]\nkind='svm'",
            "is a table; expected a table with a kind",
        ),
        (
            "name = '-x'\n[members.a.model]\nkind='svm'",
            "name is '-x'; expected letters, digits, blanks, dots",
        ),
        ("[members.a.features]\nkind='log_mel'\nn_mel=3\n[members.a.model]\nkind='cnn'", "such as n_mels"),
        (
            "[members.a.features]\nkind='statistics'\n[members.a.model]\nkind='cnn2d'",
            "members.a is a combination that does not work; expected parts that fit",
        ),
        ("[members.a.features]\nkind='log_mel'\n[members.a.model]\nkind='svn'", "is 'svn'; expected one of"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_words(tmp_path, text, said):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(tmp_path / "mine.toml")
    assert said in str(caught.value)


def test_windows_that_leave_gaps_are_refused():
    with pytest.raises(ConfigError, match="hop_s at most as long as window_s"):
        load_recipe("fast", ["window_s=1", "hop_s=1.5"])
    assert load_recipe("fast", ["window_s=1", "hop_s=1"]).audio.hop_s == 1
    auto = load_recipe("fast", ["hop_s=4"]).audio
    assert window_samples(auto, np.array([2 * 44_100])) == (2 * 44_100, 2 * 44_100)


@pytest.mark.parametrize("name", ["", " ", ".", "../x", "a/b", "a\0b", "x" * 81])
def test_a_member_is_named_as_a_file_can_be(name):
    members = {name: load_recipe("fast").model_dump(mode="json")["members"]["fast"]}
    with pytest.raises(ConfigError, match="members"):
        load_recipe({"members": members})


def test_a_gate_and_the_score_of_windows_are_off_and_the_mean_unless_they_are_set():
    plain = load_recipe("fast").audio
    assert plain.gate.is_open
    assert plain.window_score == "mean"
    changes = ["gate_db=30", "audio.gate_dbfs=-60.5", "window_score=mean_logit"]
    changed = load_recipe("fast", changes).audio
    assert changed.gate == Gate(below_loudest_db=30, floor_dbfs=-60.5)
    assert changed.window_score == "mean_logit"
    assert load_recipe(tomllib.loads(load_recipe("fast", changes).to_toml())).audio == changed


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("gate_db=0", "greater than 0"),
        ("gate_dbfs=3", "less than or equal to 0"),
        ("window_score=median", "'mean'"),
    ],
)
def test_a_gate_or_a_score_that_makes_no_sense_is_refused(change, rule):
    with pytest.raises(ConfigError, match=rule):
        load_recipe("fast", [change])


def test_a_change_leaves_the_copies_of_a_classical_member_as_they_are():
    plain = load_recipe("robust")
    changed = load_recipe("robust", ["epochs=3"])
    assert changed.members["fast"] == plain.members["fast"]
    assert plain.members["fast"].augment.n_copies > 0
    assert load_recipe("robust", ["n_folds=3"]).members == plain.members


def test_the_robust_recipe_differs_from_the_default_in_its_augmentation_alone():
    robust, default = load_recipe("robust"), load_recipe("default")
    assert list(robust.members) == list(default.members)
    for name, member in robust.members.items():
        theirs = default.members[name]
        assert member.augment != theirs.augment
        assert member.model_copy(update={"augment": theirs.augment}) == theirs
