from __future__ import annotations

from pathlib import Path

import pytest

from earshot import demo, read_clips
from earshot.data.synth import synthesise
from earshot.demo import run_demo
from earshot.errors import ConfigError
from earshot.recipe import load_recipe


class Listening:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, task: str, done: int, total: int) -> None:
        assert 0 <= done <= total


def test_its_changes_fit_the_default_recipe() -> None:
    recipe = load_recipe("default", demo._CHANGES)
    assert recipe.audio.rate_hz == 22_050
    assert recipe.members["cnn"].training.epochs < 30


def test_a_setting_of_networks_needs_no_path_where_there_is_one_network() -> None:
    assert load_recipe("default", ["epochs=3"]).members["cnn"].training.epochs == 3
    with pytest.raises(
        ConfigError, match=r"expected one of members\..*n_mels, members\..*n_mels\. Give more"
    ):
        load_recipe("default", ["n_mels=3"])


def test_a_fault_is_named_by_the_key_that_a_file_has() -> None:
    with pytest.raises(ConfigError, match=r"members\.cnn\.features\.n_mels is 0; expected"):
        load_recipe("default", ["cnn.features.n_mels=0"])


def test_the_last_recording_of_every_class_is_held_out(tmp_path: Path) -> None:
    corpus = synthesise(tmp_path, n_per_class=5, n_recordings=5, rate_hz=16_000)
    clips = demo._held_out_marked(read_clips(corpus))
    test = clips.table[clips.table["split"] == "test"]
    assert sorted(test["label"]) == list(clips.classes)
    assert not set(test["group"]) & set(clips.table[clips.table["split"] == "train"]["group"])


@pytest.mark.slow
def test_the_whole_way_on_a_small_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_N_CLIPS", 10)
    small = (
        "cnn.features.n_fft=512",
        "cnn.features.n_mels=32",
        "block_channels=[8,8]",
        "epochs=2",
        "rate_hz=8000",
    )
    monkeypatch.setattr(demo, "_CHANGES", (*small, "cnn.features.hop_length=160", "n_folds=2"))
    listening = Listening()
    guesses = run_demo(tmp_path / "demo", device="cpu", monitor=listening, command="earshot demo")
    assert [truth for truth, _, _ in guesses] == ["birds", "dog", "siren"]
    assert all(0 < p <= 1 for _, _, p in guesses)
    said = "\n".join(listening.lines)
    for part in (
        "fast, out of fold",
        "cnn, out of fold",
        "together",
        "test split",
        "held-out file",
        "report:",
    ):
        assert part in said
    assert (tmp_path / "demo" / "run" / "report.html").is_file()
    n_lines = len(listening.lines)
    again = run_demo(tmp_path / "demo", device="cpu", monitor=listening, command="earshot demo")
    assert again == guesses, "a second start goes on from the first"
    assert len(listening.lines) <= 2 * n_lines
