import numpy as np
import pandas as pd
import pytest

from earshot.audit.modelling import Verdicts, model_findings, try_models
from earshot.audit.models import LeakPrice, Shortcut
from earshot.audit.settings import AuditConfig
from earshot.data.clips import Clips

CONFIG = AuditConfig(n_trees=20)
COLUMNS = (
    *("level_db", "peak_db", "clipped_share", "dc_offset", "bandwidth_hz", "edge_db", "noise_floor_db"),
    *("silence_share", "lead_silence_s", "tail_silence_s", "source_rate_hz", "n_channels"),
)


def data(labels, *, durations_s):
    clips = Clips(pd.DataFrame({"path": [f"{i}.wav" for i in range(len(labels))], "label": labels}))
    table = clips.table.assign(duration_s=durations_s, format="wav", **dict.fromkeys(COLUMNS, 1.0))
    return clips, table


def test_a_length_that_gives_the_label_away_is_named():
    rng = np.random.default_rng(0)
    labels = ["a", "b"] * 30
    clips, table = data(labels, durations_s=[1 + (label == "b") + 0.01 * rng.random() for label in labels])
    features = rng.standard_normal((60, 4)).astype(np.float32)
    verdicts = try_models(clips, table, features, config=CONFIG)
    assert [each.name for each in verdicts.shortcuts if each.is_clear] == ["all of these", "length"]
    (finding,) = [each for each in model_findings(verdicts, np.arange(60)) if each.code == "shortcut"]
    assert "length 100%" in finding.text


def test_classes_of_one_group_are_left_out_of_the_models():
    clips, table = data(["a", "b"] * 15 + ["lone"], durations_s=np.arange(31.0))
    rng = np.random.default_rng(0)
    features = (np.eye(2)[[0, 1] * 15 + [0]] + 0.05 * rng.standard_normal((31, 2))).astype(np.float32)
    assert try_models(clips, table, features, config=CONFIG).leak == LeakPrice(1.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("labels", "reason"), [(["a;b", "b"] * 4, "one label"), (["a"] * 8, "fewer than two")]
)
def test_what_no_model_can_judge_is_said(labels, reason):
    clips, table = data(labels, durations_s=1.0)
    verdicts = try_models(clips, table, np.zeros((8, 2), np.float32), config=CONFIG)
    assert verdicts.leak is None
    assert reason in model_findings(verdicts, np.arange(8))[0].text


@pytest.mark.parametrize("n_each", [2, 3])
def test_two_or_three_clips_a_class_are_few_and_no_crash(n_each):
    clips, table = data(["a", "b", "c"] * n_each, durations_s=np.arange(3.0 * n_each) + 1)
    features = np.random.default_rng(0).standard_normal((3 * n_each, 5)).astype(np.float32)
    verdicts = try_models(clips, table, features, config=CONFIG)
    if n_each == 2:
        assert "not more clips than classes" in model_findings(verdicts, np.arange(6))[0].text
    else:
        assert [finding.code for finding in model_findings(verdicts, np.arange(9))].count("leak_price") == 1


@pytest.mark.parametrize("n_of_one", [220, 240, 290])
def test_a_site_with_most_of_the_clips_leaves_models_that_fit(n_of_one):
    labels = (["a", "b", "c"] * 100)[:300]
    clips, table = data(labels, durations_s=np.linspace(1, 2, 300))
    clips = clips.assign(group=["site"] * n_of_one + [f"g{i}" for i in range(300 - n_of_one)])
    features = np.random.default_rng(0).standard_normal((300, 120)).astype(np.float32)
    verdicts = try_models(clips, table, features, config=CONFIG)
    assert verdicts.leak is not None
    assert 0 <= verdicts.leak.grouped < 0.6


def test_doubted_labels_point_into_the_whole_table():
    verdicts = Verdicts(suggested={1: "b"}, quality={0: 0.9, 1: 0.1})
    assert model_findings(verdicts, np.array([4, 7]))[0].rows == (7,)


@pytest.mark.parametrize(
    ("leak", "severity"),
    [
        ((0.8, 0.9, 0.05, 0.15), "warning"),
        ((0.8, 0.9, -0.01, 0.2), "note"),
        ((0.8, 0.81, 0.005, 0.02), "note"),
    ],
)
def test_a_leak_is_a_warning_only_where_it_pays_and_is_no_luck(leak, severity):
    verdicts = Verdicts(shortcuts=[Shortcut("length", 0.5, 0.4, 0.6, 0.5)], leak=LeakPrice(*leak))
    assert [(each.code, each.severity) for each in model_findings(verdicts, np.arange(9))] == [
        ("leak_price", severity)
    ]
