from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earshot import Bundle, read_clips
from earshot.cli import app
from earshot.deploy.choices import Chooser
from earshot.deploy.config import CLIP_SCORES
from earshot.deploy.predict import RowWriter, predict_paths, prediction_rows
from earshot.deploy.window_rows import window_rows

from .. import corpus


@pytest.fixture(scope="module")
def bundle(fast_run: Path) -> Bundle:
    return Bundle.load(fast_run / "model")


@pytest.fixture
def data(tmp_path: Path, bundle: Bundle) -> Path:
    """Three windows and a half of two sounds, a short sound, and a file that cannot be read."""
    window_s = bundle.config.window_samples / bundle.rate_hz
    long = [corpus.sound(name, duration_s=1.75 * window_s) for name in ("hum", "hiss")]
    corpus.write(tmp_path / "b.wav", np.concatenate(long))
    corpus.write(tmp_path / "c.wav", corpus.sound("hum", duration_s=window_s / 4))
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "d.wav").write_bytes(b"RIFF")
    return tmp_path


def rows_of(bundle: Bundle, data: Path, **options: Any) -> list[dict[str, Any]]:
    options = {"chooser": Chooser(bundle)} | options
    return list(window_rows(bundle, read_clips(data, labels=False), **options))


def test_each_window_has_a_row_with_its_place_and_its_own_answer(bundle: Bundle, data: Path) -> None:
    rows = rows_of(bundle, data)
    window_s = bundle.config.window_samples / bundle.rate_hz
    assert [row["file"] for row in rows] == ["a.wav", "b.wav", "b.wav", "b.wav", "b.wav", "c.wav", "d.wav"]
    assert [row["status"] for row in rows] == ["failed", *["ok"] * 5, "failed"]
    ok = [row for row in rows if row["status"] == "ok"]
    starts = np.array([0, 1, 2, 2.5]) * window_s
    np.testing.assert_allclose([row["start_s"] for row in ok], [*starts, 0], atol=1e-3)
    np.testing.assert_allclose([row["end_s"] for row in ok], [*(starts + window_s), window_s / 4], atol=1e-3)
    assert [row["label"] for row in ok] == ["hum", ok[1]["label"], "hiss", "hiss", "hum"]
    assert all(row["label"] == "" for row in (rows[0], rows[-1]))


def test_a_window_says_what_the_model_says_of_it_as_a_clip(bundle: Bundle, data: Path) -> None:
    ok = [row for row in rows_of(bundle, data) if row["status"] == "ok"]
    columns = [f"p_{name}" for name in bundle.classes]
    table = "\n".join(f"{row['file']},{row['start_s']},{row['end_s']}" for row in ok)
    (data / "list.csv").write_text(f"path,start_s,end_s\n{table}\n")
    clips, scored = predict_paths(bundle, [data / "list.csv"])
    expected = list(prediction_rows(bundle, clips, scored))
    for row, other in zip(ok, expected, strict=True):
        assert [row[c] for c in columns] == pytest.approx([other[c] for c in columns], abs=1e-5)


def test_windows_that_the_model_skips_have_no_row(bundle: Bundle, tmp_path: Path) -> None:
    window_s = bundle.config.window_samples / bundle.rate_hz
    sound = corpus.sound("hum", duration_s=window_s)
    corpus.write(tmp_path / "a.wav", np.concatenate([sound, sound / 1_000, sound]))
    gated = Bundle(
        bundle.config.model_copy(update={"gate_db": 30.0, "clip_score": CLIP_SCORES["vote"]}), bundle.families
    )
    rows = rows_of(gated, tmp_path)
    np.testing.assert_allclose([row["start_s"] for row in rows], [0, 2 * window_s], atol=1e-3)
    plain = rows_of(bundle, tmp_path)
    columns = [f"p_{name}" for name in bundle.classes]
    for row, other in zip(rows, (plain[0], plain[2]), strict=True):
        assert [row[c] for c in columns] == pytest.approx([other[c] for c in columns], abs=1e-5)


def test_a_window_without_a_sound_is_silent(bundle: Bundle, tmp_path: Path) -> None:
    window_s = bundle.config.window_samples / bundle.rate_hz
    sound = corpus.sound("hum", duration_s=window_s)
    corpus.write(tmp_path / "a.wav", np.concatenate([sound, np.zeros_like(sound)]))
    first, second = rows_of(bundle, tmp_path, chooser=Chooser(bundle, reject=True))
    assert (first["status"], first["reason"]) == ("ok", "")
    assert (second["status"], second["reason"], second["rejected"]) == ("warning", "silent", "silent")


@pytest.mark.parametrize("reject", [False, True])
def test_rows_have_the_same_columns_and_can_be_written(bundle: Bundle, data: Path, reject: bool) -> None:
    rows = rows_of(bundle, data, chooser=Chooser(bundle, reject=reject), top=2)
    assert len({tuple(row) for row in rows}) == 1
    assert ("novelty" in rows[0]) == reject
    for suffix in (".csv", ".json"):
        with RowWriter(data / f"rows{suffix}") as writer:
            for row in rows:
                writer.write(row)


def test_progress_ends_with_every_file(bundle: Bundle, data: Path) -> None:
    seen: list[tuple[int, int]] = []
    rows_of(bundle, data, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (4, 4)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_command_prints_a_line_a_window(
    fast_run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app(["predict", str(fast_run / "model"), str(data), "--windows", "--quiet"], result_action="return_value")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert lines[1].startswith("b.wav 0-")
