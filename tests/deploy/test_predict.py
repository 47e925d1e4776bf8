from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soxr

from earshot import AudioClassifier, Bundle, read_clips
from earshot.audio.store import Outcome, Segment
from earshot.audio.windows import to_int16, window_starts
from earshot.deploy import decoded
from earshot.deploy.choices import Chooser
from earshot.deploy.predict import RowWriter, judge_files, predict_paths, prediction_rows, score_files
from earshot.errors import EarshotError
from earshot.models import scoring

from .. import corpus


@pytest.fixture(scope="module")
def bundle(fast_run: Path) -> Bundle:
    return Bundle.load(fast_run / "model")


def rows_of(bundle: Bundle, *sources: Path, top: int | None = None) -> list[dict[str, object]]:
    clips, scored = predict_paths(bundle, sources)
    return list(prediction_rows(bundle, clips, scored, top=top))


def probs_of(bundle: Bundle, rows: list[dict[str, object]]) -> np.ndarray:
    return np.array([[row[f"p_{name}"] for name in bundle.classes] for row in rows], dtype=float)


def test_rows_equal_the_bundle_and_the_classifier_on_the_same_files(
    bundle: Bundle, fast_run: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(sounds.rglob("*.wav"))
    rows = rows_of(bundle, sounds)
    assert [row["file"] for row in rows] == [str(path.relative_to(sounds)) for path in paths]
    from_rows = probs_of(bundle, rows)
    assert from_rows.sum(axis=1) == pytest.approx(1, abs=1e-5)
    streamed = np.stack(
        [p for _, p in score_files(bundle, read_clips(sounds, labels=False)) if p is not None]
    )
    np.testing.assert_allclose(from_rows, streamed, atol=1e-6)
    again = AudioClassifier.load(fast_run / "model").predict_proba(read_clips(sounds))
    np.testing.assert_array_equal(again, streamed)
    waveforms = [_samples(path) for path in paths]
    np.testing.assert_allclose(bundle.score_waveforms(waveforms), streamed, atol=1e-6)

    monkeypatch.setattr(scoring.score_clips, "__kwdefaults__", {"batch_windows": 5})
    np.testing.assert_allclose(bundle.score_waveforms(waveforms), streamed, atol=1e-6)
    one_by_one = np.concatenate([bundle.score_waveforms([waveform]) for waveform in waveforms])
    np.testing.assert_allclose(one_by_one, streamed, atol=1e-6)


def _samples(path: Path) -> np.ndarray:
    import soundfile

    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == corpus.RATE_HZ
    return np.asarray(samples)


def test_what_a_member_says_of_a_long_clip_is_the_mean_over_its_windows(bundle: Bundle) -> None:
    long = to_int16(corpus.sound("hum", duration_s=7.0).astype(np.float32))
    members = [member for family in bundle._fitted.values() for member in family]
    length, hop = 16_000, 16_000
    starts = window_starts(len(long), length=length, hop=hop)
    assert starts.tolist() == [0, 16_000, 32_000, 40_000]
    cuts = [long[start : start + length] for start in starts]
    one_by_one = np.stack(list(scoring.score_clips(cuts, members, length=length, hop=hop)))
    [whole] = scoring.score_clips([long], members, length=length, hop=hop)
    assert np.ptp(one_by_one, axis=0).max() > 1e-4, "windows of equal scores would prove nothing"
    np.testing.assert_allclose(whole, one_by_one.mean(axis=0), atol=1e-6)


def test_a_clip_of_more_windows_than_a_batch_is_scored_as_one(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [corpus.sound("hiss", duration_s=s).astype(np.float32) for s in (0.2, 4.1, 0.4, 2.0)]
    whole = bundle.score_waveforms(clips)
    monkeypatch.setattr(scoring.score_clips, "__kwdefaults__", {"batch_windows": 3})
    np.testing.assert_allclose(bundle.score_waveforms(clips), whole, atol=1e-6)


def test_other_rates_and_channels_are_heard_as_in_training(bundle: Bundle, tmp_path: Path) -> None:
    mono = corpus.sound("hum", rate_hz=22_050)
    stereo = corpus.write(tmp_path / "s.flac", np.stack([mono, mono], axis=1), rate_hz=22_050)
    at_8_khz = soxr.resample(mono, 22_050, bundle.rate_hz, quality=bundle.config.resampler)
    row = rows_of(bundle, stereo)[0]
    np.testing.assert_allclose(probs_of(bundle, [row]), bundle.score_waveforms([at_8_khz]), atol=1e-3)


def test_a_bad_file_keeps_its_row_and_place_with_the_reason(
    bundle: Bundle, sounds: Path, tmp_path: Path
) -> None:
    data = corpus.make(tmp_path / "data", ("hum",), n=3)
    broken = [f"hum/{name}" for name in corpus.add_broken(data / "hum")]
    rows = rows_of(bundle, data)
    assert [row["file"] for row in rows] == sorted(str(p.relative_to(data)) for p in data.rglob("*.*"))
    failed = {str(row["file"]): row for row in rows if row["status"] == "failed"}
    assert sorted(failed) == broken
    for row in failed.values():
        assert row["reason"]
        assert str(row["file"]).split("/")[1] in str(row["message"])
        assert row["label"] == ""
        assert row["confidence"] is None
        assert [row[f"p_{name}"] for name in bundle.classes] == [None] * 3
    assert {row["label"] for row in rows if row["status"] == "ok"} == {"hum"}


@pytest.mark.parametrize("top", [None, 1, 2, 99])
def test_csv_json_and_parquet_agree(bundle: Bundle, tmp_path: Path, top: int | None) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    data = corpus.make(tmp_path / "data", ("hum", "hiss"), n=2)
    (data / "bad.wav").write_bytes(b"RIFF")
    rows = rows_of(bundle, data, top=top)
    for suffix in (".csv", ".json", ".parquet"):
        with RowWriter(tmp_path / f"rows{suffix}") as writer:
            for row in rows:
                writer.write(row)
    from_json = json.loads((tmp_path / "rows.json").read_text())
    assert from_json == rows
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == rows
    with (tmp_path / "rows.csv").open(newline="") as file:
        from_csv = list(csv.DictReader(file))
    assert [_as_text(row) for row in rows] == from_csv


def _as_text(row: dict[str, object]) -> dict[str, str]:
    return {key: "" if value is None else str(value) for key, value in row.items()}


def test_top_gives_the_best_classes_in_order(bundle: Bundle, tmp_path: Path) -> None:
    data = corpus.make(tmp_path, ("ticks",), n=2)
    full, short = rows_of(bundle, data), rows_of(bundle, data, top=2)
    for every, best in zip(full, short, strict=True):
        ranked = sorted(bundle.classes, key=lambda name: -float(str(every[f"p_{name}"])))
        assert [best["label"], best["label_2"]] == ranked[:2]
        assert [best["confidence"], best["confidence_2"]] == [every[f"p_{name}"] for name in ranked[:2]]
        assert "label_3" not in best


def test_top_keeps_the_best_class_of_a_clip_that_was_rejected(bundle: Bundle, tmp_path: Path) -> None:
    data = corpus.make(tmp_path, ("ticks",), n=2)
    clips, scored = predict_paths(bundle, [data], with_novelty=True)
    chooser = Chooser(bundle, reject=True)
    chooser.limit = -np.inf
    for row, whole in zip(
        prediction_rows(bundle, clips, scored, top=2, chooser=chooser), rows_of(bundle, data), strict=True
    ):
        assert (row["label"], row["confidence"], row["rejected"]) == ("", None, "unknown")
        assert (row["label_1"], row["confidence_1"]) == (whole["label"], whole["confidence"])
        assert row["label_2"] not in ("", row["label_1"])


def test_strange_file_names_are_heard_and_written_safely(bundle: Bundle, tmp_path: Path) -> None:
    data = tmp_path / "data"
    good = corpus.write(tmp_path / "good.wav", corpus.sound("hum")).read_bytes()
    names = [
        b"=1+1.wav",
        b"-x.wav",
        b"+a,b.wav",
        b"@cmd.wav",
        b"a\nb.wav",
        b'q"uote.wav',
        b"caf\xe9.wav",
        b" .wav",
    ]
    data.mkdir()
    for name in names:
        (data / os.fsdecode(name)).write_bytes(good)
    (data / "caf\udce9bad\n.wav").write_bytes(b"RIFF")
    rows = rows_of(bundle, data)
    assert len({row["file"] for row in rows}) == len(names) + 1
    assert [row["label"] for row in rows if row["status"] == "ok"] == ["hum"] * len(names)
    for suffix in (".csv", ".json", ".parquet"):
        with RowWriter(tmp_path / f"rows{suffix}") as writer:
            for row in rows:
                writer.write(row)
    assert [row["file"] for row in json.loads((tmp_path / "rows.json").read_text())] == [
        r["file"] for r in rows
    ]
    text = (tmp_path / "rows.csv").read_text(encoding="utf-8")
    assert len(text.splitlines()) == len(rows) + 1
    with (tmp_path / "rows.csv").open(newline="") as file:
        written = [row["file"] for row in csv.DictReader(file)]
    assert not [name for name in written if name.startswith(("=", "+", "-", "@"))]
    assert sorted(name.removeprefix("'") for name in written) == sorted(str(row["file"]) for row in rows)


def test_a_name_with_a_leading_dash_can_be_given_by_itself(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    corpus.write(tmp_path / "-o.wav", corpus.sound("hiss"))
    assert [row["label"] for row in rows_of(bundle, Path("-o.wav"))] == ["hiss"]


def test_an_output_is_whole_or_absent(tmp_path: Path) -> None:
    def broken() -> None:
        with RowWriter(tmp_path / "rows.csv") as writer:
            writer.write({"file": "a"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert list(tmp_path.iterdir()) == []


def test_an_output_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EarshotError, match=r"\.csv, \.json, \.parquet"):
        RowWriter(tmp_path / "rows.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_memory_holds_a_batch_however_many_files_there_are(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_files, n_made, most_ahead = 3_000, 0, 0
    samples = to_int16(corpus.sound("hum").astype(np.float32))

    def endless(segments: list[Segment], **options: object) -> Iterator[tuple[Outcome, np.ndarray]]:
        nonlocal n_made
        for segment in segments:
            n_made += 1
            yield Outcome(segment, "ok", n_samples=len(samples)), samples

    class Many:
        def __len__(self) -> int:
            return n_files

        def segments(self) -> Iterator[tuple[str, float, None]]:
            return ((f"{i}.wav", 0.0, None) for i in range(n_files))

    monkeypatch.setattr(decoded, "decode_stream", endless)
    monkeypatch.setattr(
        scoring, "predict_windows", lambda cut, members: np.full((2, len(cut), 3), 1 / 3, "f4")
    )
    for n_given, _ in enumerate(score_files(bundle, Many())):  # type: ignore[arg-type]
        most_ahead = max(most_ahead, n_made - n_given)
    assert n_made == n_given + 1 == n_files
    assert most_ahead <= scoring._BATCH_WINDOWS


def test_parts_of_files_have_their_times_in_every_row(bundle: Bundle, tmp_path: Path) -> None:
    both = np.concatenate([corpus.sound("hum"), corpus.sound("hiss")])
    corpus.write(tmp_path / "both.wav", both)
    (tmp_path / "list.csv").write_text("path,start_s,end_s\nboth.wav,,\nboth.wav,0,0.4\nboth.wav,0.4,\n")
    rows = rows_of(bundle, tmp_path / "list.csv")
    assert [(row["start_s"], row["end_s"]) for row in rows] == [(0.0, None), (0.0, 0.4), (0.4, None)]
    assert [row["label"] for row in rows[1:]] == ["hum", "hiss"]
    for suffix in (".csv", ".json", ".parquet"):
        with RowWriter(tmp_path / f"rows{suffix}") as writer:
            for row in rows:
                writer.write(row)


def test_rows_of_a_chooser_have_its_columns_in_every_format(bundle: Bundle, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    data = corpus.make(tmp_path / "data", ("hum",), n=2, first_seed=70)
    corpus.write(data / "noise.wav", 0.001 * np.random.default_rng(0).standard_normal(4_000))
    corpus.write(data / "silence.wav", np.zeros(4_000))
    (data / "bad.wav").write_bytes(b"RIFF")
    chooser = Chooser(bundle, reject=True, sets=True)
    clips, scored = predict_paths(bundle, [data], with_novelty=True)
    rows = list(prediction_rows(bundle, clips, scored, chooser=chooser))
    by_file = {str(row["file"]): row for row in rows}
    assert by_file["silence.wav"]["rejected"] == "silent"
    assert by_file["noise.wav"]["rejected"] == "unknown"
    assert by_file["noise.wav"]["novelty"] > 1
    assert by_file["bad.wav"]["rejected"] == ""
    assert by_file["hum/hum0070.wav"]["label"] == "hum"
    assert "hum" in str(by_file["hum/hum0070.wav"]["set"]).split(";")
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert list(rows[0])[:6] == ["file", "label", "confidence", "rejected", "novelty", "set"]
    for suffix in (".csv", ".json", ".parquet"):
        with RowWriter(tmp_path / f"rows{suffix}") as writer:
            for row in rows:
                writer.write(row)
    assert json.loads((tmp_path / "rows.json").read_text()) == rows
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == rows


def test_judged_files_have_the_probabilities_of_scored_ones(bundle: Bundle, sounds: Path) -> None:
    clips = read_clips(sounds, labels=False)
    for (_, probs), (_, judgement) in zip(
        score_files(bundle, clips), judge_files(bundle, clips), strict=True
    ):
        assert probs is not None
        assert judgement is not None
        np.testing.assert_allclose(judgement.probs, probs, atol=1e-6)
        assert judgement.novelty is not None
        assert np.isfinite(judgement.novelty)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
@pytest.mark.parametrize("failed_before", [False, True])
def test_on_a_full_disk_no_part_of_the_rows_stays_behind(tmp_path, monkeypatch, suffix, failed_before):
    def fill():
        with RowWriter(tmp_path / f"rows{suffix}") as writer:
            close = writer._format.close

            def full():
                close()
                raise OSError(errno.ENOSPC, "No space left on device")

            writer.write({"file": "a.wav", "label": "hum"})
            monkeypatch.setattr(writer._format, "close", full)
            if failed_before:
                raise ValueError("the disk is full")

    with pytest.raises(ValueError if failed_before else OSError, match=r"full|No space"):
        fill()
    assert list(tmp_path.iterdir()) == []
