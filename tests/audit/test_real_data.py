"""What the audit finds among real recordings after something was planted in them, by the way that users take."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from earshot.audit.auditing import audit
from earshot.audit.settings import AuditConfig
from earshot.data.clips import Clips
from earshot.data.readers import read_clips

pytestmark = pytest.mark.slow
CONFIG = AuditConfig(n_trees=2)


@pytest.fixture(scope="module")
def esc10():
    folder = Path(os.environ.get("EARSHOT_DATA", "")) / "esc10"
    if not os.environ.get("EARSHOT_DATA") or not folder.is_dir():
        pytest.skip("EARSHOT_DATA does not name a folder that holds esc10/")
    return read_clips(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all, so that the clips are listened to once."""
    return tmp_path_factory.mktemp("esc10")


@pytest.mark.parametrize("seed", [20, 21, 22])
def test_a_tenth_of_the_labels_swapped_is_found(esc10, folder, seed):
    pytest.importorskip("cleanlab")
    rng = np.random.default_rng(seed)
    names, given = list(esc10.classes), np.array(esc10.labels)
    wrong = rng.choice(len(esc10), len(esc10) // 10, replace=False)
    given[wrong] = (given[wrong] + rng.integers(1, len(names), len(wrong))) % len(names)
    found = audit(esc10.assign(label=[names[k] for k in given]), folder=folder, config=CONFIG)
    doubted = {row for finding in found.findings if finding.code == "label" for row in finding.rows}
    hits = doubted & set(wrong.tolist())
    assert len(hits) / len(wrong) >= 0.6
    assert len(hits) / len(doubted) >= 0.5


def copy_of(wave, rate_hz, *, kind, rng):
    """The file's content as a person who copies it might leave it, and the extension that says how."""
    sounding = np.flatnonzero(np.abs(wave) > 2 / 32_768)
    first, last = (sounding[0], sounding[-1] + 1) if len(sounding) else (0, len(wave))
    cut = round(rng.uniform(0.05, 0.4) * (last - first))
    changed = {
        "gain": wave * 10 ** (-rng.uniform(6, 20) / 20),
        "offset": wave[first + cut :],
        "trimmed": wave[first + cut // 2 : last - cut // 2],
        "mp3": wave,
        "vorbis": wave,
        "all": 0.4 * wave[first + cut :],
    }[kind]
    return changed, {"mp3": ".mp3", "all": ".mp3", "vorbis": ".ogg"}.get(kind, ".wav")


def test_planted_copies_are_found_and_little_else(esc10, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {"path": path, "id": name} for name, (path, _, _) in zip(esc10.ids, esc10.segments(), strict=True)
    ]
    kinds = ("gain", "offset", "trimmed", "mp3", "vorbis", "all")
    planted = rng.choice(len(rows), 198, replace=False)
    wanted = set()
    for n, i in enumerate(planted.tolist()):
        wave, rate_hz = soundfile.read(rows[i]["path"])
        changed, suffix = copy_of(wave, rate_hz, kind=kinds[n % len(kinds)], rng=rng)
        path = tmp_path / f"copy{n}{suffix}"
        soundfile.write(path, changed, rate_hz)
        rows.append({"path": str(path), "id": path.name})
        wanted.add((i, len(esc10) + n))
    found = audit(Clips(pd.DataFrame(rows)), folder=tmp_path, config=CONFIG, models=False)
    # Two pairs of ESC-10 itself are copies, and so are a copy and its original's copy.
    sets = [
        {i if i < len(esc10) else planted[i - len(esc10)] for i in members} for members in found.copies.near
    ]
    pairs = {(min(each), i) for each in found.copies.near for i in each if i >= len(esc10)}
    assert len(pairs & wanted) / len(wanted) >= 0.95
    alien = [each for each in sets if len(each) > 1]
    assert len(alien) <= 0.05 * len(sets)
