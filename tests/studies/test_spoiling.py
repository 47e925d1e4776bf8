import numpy as np
import pytest

from earshot.audio.corruptions import CORRUPTIONS
from earshot.audio.transforms import PUBLISHED_STEPS
from earshot.monitor import Silent
from earshot.runfolder import RunFolder
from earshot.studies.data import gather
from earshot.studies.loading import read_study
from earshot.studies.runner import run_rows
from earshot.studies.spoil_table import held_out, hurts_most, spoil_scores
from earshot.studies.spoiling import SpoiledBank
from earshot.studies.study import run_study

from .conftest import plain_study


def spoiled_study():
    rows = plain_study()["rows"][:2]
    for row in rows:
        row |= {"spoiled": True, "variants": row["id"] == "net", "published_spoiled": {"mean": 65.7}}
    return read_study(
        plain_study(
            rows=rows,
            protocols={"grouped": {"about": "by source"}},
            spoil={"corruptions": ["white_noise", "gain", "dropouts"], "severities": [1, 5]},
            steps=[{"kind": "noise"}],
            baseline="knn-1",
            ladder=[],
            pictures="",
            claims=[
                {"text": "Networks.", "kind": "higher", "left": "net", "right": "knn-1", "per": "spoiled"},
                {"text": "Above 10.", "kind": "above", "left": "net", "value": 10, "per": "spoiled"},
            ],
        )
    )


@pytest.fixture
def result(ask):
    asked = ask(study=spoiled_study(), n_workers=1)
    return run_rows(asked, RunFolder(asked.folder))


def test_a_damage_is_of_the_clip_and_repeats_itself(sounds, tmp_path):
    study = spoiled_study()
    data = gather(study, sounds, protocol="grouped", monitor=Silent())
    banks = [
        SpoiledBank(tmp_path / name, data, views=study.views, spoil=study.spoil, seed=0) for name in "ab"
    ]
    first, again = (bank.copies(3).numpy() for bank in banks)
    np.testing.assert_array_equal(first, again)
    assert [name for name, _ in banks[0].damages] == [
        n for n in ("white_noise", "gain", "dropouts") for _ in "12"
    ]
    np.testing.assert_array_equal(first[0], data.waveform(3))
    # 30 dB and 0 dB of noise; 10 and 50 dB quieter.
    power = np.square(first).mean(axis=1)
    assert 10 * np.log10(np.square(first[2] - first[0]).mean() / power[0]) == pytest.approx(0, abs=1)
    assert 10 * np.log10(power[3] / power[0]) == pytest.approx(CORRUPTIONS["gain"].values[0], abs=0.1)


def test_every_judged_clip_is_answered_for_every_damage(result):
    for row in result.results.values():
        assert list(row.spoiled) == ["white_noise", "gain", "dropouts"]
        for each in row.spoiled.values():
            assert [len(one) for one in each] == [18, 18]
            assert each[0].clip_ids == row.runs[0].clip_ids
        assert row.on_spoiled().accuracy == pytest.approx(
            np.mean([(one.labels == one.predicted).mean() for each in row.spoiled.values() for one in each])
        )


def test_the_scores_hold_out_what_no_copy_taught(result):
    scores = spoil_scores(result.study, result.results)["net"]
    assert scores.held_out == {"gain", "dropouts"}
    assert scores.clean == result.results["net"].accuracies[0]
    assert hurts_most(result.study, result.results).count(",") >= 3


def test_a_study_s_own_copies_the_usual_ones_and_none_hold_out_what_they_did_not_teach():
    study = spoiled_study()
    assert held_out(study) == {"gain", "dropouts"}
    usual = study.model_copy(update={"steps": ()})
    assert usual.copy_steps == PUBLISHED_STEPS
    assert held_out(usual) == {"gain", "dropouts"}  # the usual copies have noise too
    alone = study.model_copy(update={"n_variants": 1})
    assert held_out(alone) == {"white_noise", "gain", "dropouts"}


def test_the_page_has_the_table_and_everything_tried(ask):
    done = run_study(ask(study=spoiled_study(), n_workers=1))
    for words in (
        "Spoiled clips",
        "mean of those held out",
        "worst",
        "Everything tried",
        "65.7",
        "Above 10.",
    ):
        assert words in done.text
        assert words in done.page.read_text()


def test_a_second_start_reads_the_damaged_answers_back(result, ask):
    again = run_rows(ask(study=spoiled_study(), n_workers=1), RunFolder(ask().folder))
    for name, row in again.results.items():
        assert row.on_spoiled().accuracies == result.results[name].on_spoiled().accuracies
