import json
from typing import get_args

import pytest

from earshot.audio.windows import Gate
from earshot.deploy.config import CLIP_SCORES, BundleConfig, read_config
from earshot.errors import BundleError
from earshot.models.pooling import WINDOW_SCORES


def test_a_configuration_is_read_as_it_was_written(bundle, tmp_path):
    (tmp_path / "config.json").write_text(bundle.config.model_dump_json())
    assert read_config(tmp_path) == bundle.config
    assert BundleConfig.model_validate(bundle.config.model_dump()) == bundle.config


def test_a_fault_is_named_with_its_place(bundle, tmp_path):
    (tmp_path / "config.json").write_text(bundle.config.model_dump_json().replace('"HQ"', "7"))
    with pytest.raises(BundleError, match=r"config\.json: resampler is 7"):
        read_config(tmp_path)


def test_a_huge_file_is_refused_unread(tmp_path):
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(17 * 2**20)
    with pytest.raises(BundleError, match="size"):
        read_config(tmp_path)


def test_how_windows_are_chosen_and_pooled_is_read_back(bundle, tmp_path):
    for score, name in CLIP_SCORES.items():
        config = bundle.config.model_copy(update={"gate_db": 25.0, "gate_dbfs": -70.0, "clip_score": name})
        (tmp_path / "config.json").write_text(config.model_dump_json())
        loaded = read_config(tmp_path)
        assert loaded.window_score == score
        assert loaded.gate == Gate(25.0, -70.0)


def test_every_way_to_pool_has_a_name_in_the_file():
    assert list(CLIP_SCORES) == list(WINDOW_SCORES)
    names = get_args(BundleConfig.model_fields["clip_score"].annotation)
    assert list(names) == list(CLIP_SCORES.values())


def test_a_configuration_from_before_there_were_gates_hears_every_window_and_averages(bundle, tmp_path):
    old = json.loads(bundle.config.model_dump_json())
    del old["gate_db"], old["gate_dbfs"]
    assert old["clip_score"] == "mean of window probabilities"
    (tmp_path / "config.json").write_text(json.dumps(old))
    loaded = read_config(tmp_path)
    assert loaded.gate.is_open
    assert loaded.window_score == "mean"


@pytest.mark.parametrize(("key", "value"), [("gate_db", -3), ("gate_dbfs", 6), ("clip_score", "median")])
def test_a_gate_or_a_score_that_is_none_is_refused(bundle, tmp_path, key, value):
    (tmp_path / "config.json").write_text(
        json.dumps(json.loads(bundle.config.model_dump_json()) | {key: value})
    )
    with pytest.raises(BundleError, match=key):
        read_config(tmp_path)
