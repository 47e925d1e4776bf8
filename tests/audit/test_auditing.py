"""Planted troubles in a small folder of sounds: each is found, in the clips that have it and in no others."""

import csv
import dataclasses

import numpy as np
import pandas as pd
import pytest
import soundfile

from earshot.audit import listening
from earshot.audit.auditing import audit, whole_groups
from earshot.audit.findings import table_findings
from earshot.audit.output import summary_text, write_fix_list, write_tables
from earshot.audit.page import render_audit
from earshot.audit.settings import AuditConfig
from earshot.commands.app import must_be_writable
from earshot.data.clips import Clips
from earshot.data.readers import read_clips
from earshot.errors import ConfigError
from earshot.recipe import AudioConfig

RATE_HZ = 16_000
AUDIO = AudioConfig(rate_hz=RATE_HZ)
HOSTILE = "=1+1 <script>alert(1)<script>"


def wave(seed, seconds=1.5):
    """Noise whose colour and loudness wander, another for each seed."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE_HZ)
    slow = np.interp(np.arange(n), np.linspace(0, n, 12), rng.uniform(0.2, 1, 12))
    return 0.08 * slow * rng.standard_normal(n)


def plan(root):
    """(file, label, fold, group) of every clip; writes the files."""
    rng = np.random.default_rng(0)
    sounds = {f"{k}{i}.wav": (wave(100 * k + i), "ab"[k], i % 2 + 1) for k in range(2) for i in range(6)}
    first = sounds["00.wav"][0]
    sounds |= {
        "twin.wav": (first, "b", 2),
        "quieter.ogg": (0.3 * sounds["01.wav"][0][3_000:], "a", 2),
        "silent.wav": (np.zeros(RATE_HZ), "a", 1),
        "loud.wav": (np.clip(30 * wave(900), -1, 1), "a", 1),
        "offset.wav": (wave(901) + 0.1, "a", 1),
        "padded.wav": (np.concatenate([wave(902), np.zeros(RATE_HZ // 2)]), "b", 1),
        "long.wav": (np.concatenate([wave(seed) for seed in range(800, 812)]), "b", 1),
        "lone.wav": (wave(903), HOSTILE, 1),
    }
    for name, (samples, _, _) in sounds.items():
        soundfile.write(root / name, samples, RATE_HZ)
    soundfile.write(root / "stereo.flac", rng.normal(0, 0.1, (22_050, 2)), 22_050)
    (root / "broken.wav").write_bytes(b"RIFF")
    rows = [(name, label, fold, name) for name, (_, label, fold) in sounds.items()]
    rows += [("stereo.flac", "b", 2, "11.wav"), ("broken.wav", "b", 1, "broken")]
    return pd.DataFrame(rows, columns=["path", "label", "fold", "group"])


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp("troubled")
    return Clips(plan(root), root=root)


@pytest.fixture(scope="module")
def found(clips, tmp_path_factory):
    return audit(clips, folder=tmp_path_factory.mktemp("audit"), audio=AUDIO, config=AuditConfig(n_trees=10))


def ids(found, code):
    return [
        found.table["id"].iloc[row]
        for finding in found.findings
        if finding.code == code
        for row in finding.rows
    ]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("unreadable", ["broken.wav"]),
        ("silent", ["silent.wav"]),
        ("clipped", ["loud.wav"]),
        ("dc_offset", ["offset.wav"]),
        ("padded", ["padded.wav"]),
        ("duration", ["long.wav"]),
        ("duplicate", ["twin.wav"]),
        ("duplicate_label", ["00.wav", "twin.wav"]),
        ("duplicate_fold", ["00.wav", "twin.wav"]),
        ("near_duplicate", ["quieter.ogg"]),
        ("mixed_rates", ["stereo.flac"]),
        ("mixed_channels", ["stereo.flac"]),
        ("mixed_formats", ["quieter.ogg", "stereo.flac"]),
        ("shared_group", ["11.wav", "stereo.flac"]),
    ],
)
def test_a_planted_trouble_is_found_where_it_is_and_nowhere_else(found, code, expected):
    assert ids(found, code) == expected


def test_a_class_of_one_group_is_an_error_and_small_ones_are_named(found):
    (finding,) = [each for each in found.findings if each.code == "lone_class"]
    assert finding.severity == "error"
    assert "<script>" in finding.text


def test_errors_come_first_and_every_finding_but_a_note_has_a_fix(found):
    order = [("error", "warning", "note").index(each.severity) for each in found.findings]
    assert order == sorted(order)
    assert all(each.fix for each in found.findings if each.severity != "note")
    text = summary_text(found)
    assert text.index("ERROR") < text.index("WARNING") < text.index("NOTE")


def test_tables_are_safe_to_open_and_name_the_issues_of_each_clip(found, tmp_path):
    write_tables(found, tmp_path)
    rows = {row["id"]: row for row in csv.DictReader((tmp_path / "audit.csv").read_text().splitlines())}
    assert len(rows) == len(found.table)
    assert rows["lone.wav"]["label"] == "'" + HOSTILE
    assert {"duplicate", "duplicate_label"} <= set(rows["twin.wav"]["issues"].split(";"))
    assert rows["broken.wav"]["level_db"] == ""
    assert float(rows["loud.wav"]["clipped_share"]) > 0.01


def test_training_can_read_the_groups_that_keep_copies_together(found, tmp_path):
    write_tables(found, tmp_path)
    again = read_clips(tmp_path / "grouped.csv")
    group = dict(zip(again.ids, again.groups, strict=True))
    assert group["twin.wav"] == group["00.wav"] != group["02.wav"]
    assert group["quieter.ogg"] == group["01.wav"]
    assert len(again) == len(found.table)


def test_the_fix_list_says_what_to_drop_and_what_it_is_a_copy_of(found, tmp_path):
    n_rows = write_fix_list(found, tmp_path / "fix.csv")
    rows = list(csv.DictReader((tmp_path / "fix.csv").read_text().splitlines()))
    assert len(rows) == n_rows
    known = {(row["id"], row["finding"]): row for row in rows}
    assert known["twin.wav", "duplicate"]["action"] == "drop"
    assert known["twin.wav", "duplicate"]["same_as"] == "00.wav"
    assert known["quieter.ogg", "near_duplicate"]["same_as"] == "01.wav"
    assert known["quieter.ogg", "near_duplicate"]["action"] == "merge"
    assert known["broken.wav", "unreadable"]["action"] == "drop"


def test_the_page_escapes_names_and_loads_nothing(found):
    page = render_audit(found, title=HOSTILE, command="earshot audit '<b>'")
    assert "<script" not in page
    assert "<b>" not in page
    assert "=1+1 &lt;script&gt;" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")  # names of XML, which nothing fetches
    assert "https://" not in page


def test_the_page_shows_copies_side_by_side_and_keeps_to_its_bound(found):
    page = render_audit(found, title="sounds", max_mb=1.0)
    assert page.count('<div class="set several">') >= 2  # twin.wav and quieter.ogg, each beside its original
    assert 'src="data:image/webp;base64,' in page
    assert 'src="data:audio/' in page
    assert 'src="data:audio/' not in render_audit(found, title="sounds", sounds=False)
    bare = render_audit(found, title="sounds", max_mb=0.0)
    assert "data:image/webp" not in bare
    assert len(page) - len(bare) < 1.1e6


def test_a_label_that_breaks_out_of_a_picture_stays_text(found):
    hostile = found.table.assign(label="</text><script>x</script>$a_b$")
    page = render_audit(dataclasses.replace(found, table=hostile), title="x", max_mb=0.0)
    assert "<script" not in page
    assert "&lt;/text&gt;" in page


def test_parts_that_no_clip_is_in_any_more_are_removed(clips, tmp_path):
    audit(clips, folder=tmp_path, audio=AUDIO, models=False)
    once = set((tmp_path / "heard").iterdir())
    audit(clips.subset(np.arange(4)), folder=tmp_path, audio=AUDIO, models=False)
    left = set((tmp_path / "heard").iterdir())
    assert len(left) == 1
    assert not left & once


def test_a_second_audit_listens_to_nothing_and_says_the_same(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(listening, "_PART", 5)
    once = audit(clips, folder=tmp_path, audio=AUDIO, models=False)
    kept = sorted((tmp_path / "heard").iterdir())
    kept[0].write_bytes(kept[0].read_bytes()[:100])  # as if the disk had been full
    kept[1].unlink()
    heard = []
    real = listening._hear_one
    monkeypatch.setattr(
        listening, "_hear_one", lambda *args, **named: heard.append(1) or real(*args, **named)
    )
    again = audit(clips, folder=tmp_path, audio=AUDIO, models=False)
    assert 0 < len(heard) <= 10
    pd.testing.assert_frame_equal(once.table, again.table)
    assert [dataclasses.astuple(a) for a in once.findings] == [dataclasses.astuple(a) for a in again.findings]


def test_groups_that_cross_folds_are_an_error(clips):
    torn = clips.assign(group=["same" if i < 2 else str(i) for i in range(len(clips))])
    table = torn.table.assign(status="ok", reason="", format="wav", source_rate_hz=RATE_HZ, n_channels=1)
    figures = ("peak_db", "clipped_share", "dc_offset", "bandwidth_hz", "bandwidth_limit_hz", "edge_db")
    table = table.assign(**dict.fromkeys((*figures, "lead_silence_s", "tail_silence_s", "duration_s"), 1.0))
    found = table_findings(table.assign(duplicate_set="", near_set=""), AuditConfig())
    assert [each.rows for each in found if each.code == "group_fold"] == [(0, 1)]


def test_clips_without_labels_are_audited_without_models(clips, tmp_path):
    bare = Clips(clips.table[["path"]], root=clips.root)
    found = audit(bare, folder=tmp_path, audio=AUDIO)
    assert found.verdicts.leak is None
    assert ids(found, "duplicate") == ["twin.wav"]
    assert "need one label a clip" in summary_text(found)


@pytest.mark.parametrize("n_clips", [0, 5, 10, 30])
def test_a_sample_of_clips_keeps_groups_whole(n_clips):
    groups = np.repeat([f"g{i}" for i in range(7)], 3)
    drawn = whole_groups(groups, n_clips, seed=0)
    assert drawn.sum() <= max(n_clips, 0)
    assert all(drawn[groups == name].all() or not drawn[groups == name].any() for name in set(groups))
    assert drawn.all() == (n_clips >= 21)


def test_folders_that_cannot_be_written_are_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--output: folder is"):
        must_be_writable(tmp_path / "file" / "x", option="--output")
    must_be_writable(tmp_path / "new" / "folder", option="--output")
    assert not (tmp_path / "new").exists(), "nothing is left of work that comes to nothing"
