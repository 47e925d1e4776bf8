import shutil

import pytest

from earshot.cli import app
from earshot.data.readers import read_clips

from .. import corpus


def run(*arguments):
    app([*map(str, arguments)], result_action="return_value")


def test_an_audit_of_a_folder_prints_findings_and_leaves_what_it_says(sounds, tmp_path, capsys):
    run("audit", sounds, "-o", tmp_path, "--rate-hz", 8000, "--fix-list", tmp_path / "fix.csv", "--quiet")
    printed = capsys.readouterr()
    assert printed.out.startswith("18 clips")
    assert printed.err == ""
    assert (tmp_path / "audit.html").read_text().startswith("<!doctype html>")
    assert len((tmp_path / "audit.csv").read_text().splitlines()) == 19
    assert (tmp_path / "fix.csv").read_text().startswith("id,path,action,finding,same_as")
    assert len(read_clips(tmp_path / "grouped.csv")) == 18


@pytest.mark.parametrize("models", [True, False])
def test_models_can_be_left_out(models, sounds, tmp_path, capsys):
    run("audit", sounds, "-o", tmp_path, "--rate-hz", 8000, *([] if models else ["--no-models"]))
    assert ("leak_price" in capsys.readouterr().out) == models


@pytest.mark.parametrize("name", ["birds.2023", "birds"])
def test_an_audit_is_found_by_the_run_on_the_same_folder(name, sounds, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sounds, tmp_path / name)
    run("audit", name, "--rate-hz", 8000, "--quiet", "--no-models", "--no-sounds")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [f"audit-{name}"]
    run("train", name, "--recipe", "fast", "--quiet")
    page = (tmp_path / "runs" / f"{name}-fast" / "report.html").read_text()
    assert f"../audit-{name}/audit.html" in page


def test_two_clips_a_class_are_audited_without_models(tmp_path, capsys):
    sounds = corpus.make(tmp_path / "sounds", ("hiss", "hum", "ticks"), n=2)
    run("audit", sounds, "-o", tmp_path / "audit", "--rate-hz", 8000, "--quiet")
    assert "not more clips than classes" in capsys.readouterr().out
    assert (tmp_path / "audit" / "audit.csv").is_file()
