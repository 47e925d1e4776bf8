"""The store's promises: bit-exact, never stale, never wrong after damage, and no file can stop a run."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import earshot.audio.decode_pool as decode_pool
from earshot.audio.decode import DecodeLimits
from earshot.audio.store import AudioStore, Segment
from earshot.errors import EarshotError

from .contents import content_of, expected, settle
from .sounds import N_SAMPLES, RATE_HZ, chunk, fmt, good_bytes, riff


@pytest.fixture
def nobody_decodes(monkeypatch):
    def forbid():
        def refuse(self):
            raise AssertionError("a worker was asked for")

        monkeypatch.setattr(decode_pool.DecodePool, "hire", refuse)

    return forbid


def test_sixteen_bit_sounds_at_the_stores_rate_are_exact(folder, root):
    store = AudioStore(RATE_HZ, root=root)
    outcomes = store.ensure(settle(folder))
    assert content_of(store.view(outcomes)) == expected(folder)
    assert {(o.status, o.n_samples, o.source_rate_hz, o.n_channels) for o in outcomes} == {
        ("ok", N_SAMPLES, RATE_HZ, 1)
    }
    assert len({o.content for o in outcomes}) == 10


def test_full_scale_saturates_instead_of_wrapping(root, tmp_path):
    floats = np.array([1.0, -1.0, 1.5, 0.0], "<f4")
    (tmp_path / "a.wav").write_bytes(riff(fmt(tag=3, bits=32), chunk(b"data", floats.tobytes())))
    store = AudioStore(RATE_HZ, root=root)
    outcomes = store.ensure([Segment(str(tmp_path / "a.wav"))])
    np.testing.assert_array_equal(store.view(outcomes).get(0), [32_767, -32_768, 32_767, 0])
    assert (outcomes[0].status, outcomes[0].reason) == ("warning", "clipped")


def test_warm_open_decodes_nothing_and_hashes_nothing(folder, root, nobody_decodes):
    items = settle(folder)
    cold = AudioStore(RATE_HZ, root=root).ensure(items)
    nobody_decodes()
    steps = []
    assert AudioStore(RATE_HZ, root=root).ensure(items, progress=lambda *step: steps.append(step)) == cold
    assert steps == [(10, 10)]


def test_progress_counts_items_up_to_their_total(folder, root):
    steps = []
    items = settle(folder) * 2
    AudioStore(RATE_HZ, root=root).ensure(items, progress=lambda *step: steps.append(step))
    assert steps[0] == (0, 20)
    assert steps[-1] == (20, 20)
    assert steps == sorted(steps)


def test_ranges_rates_and_qualities_are_kept_apart(folder, root):
    path = str(folder / "0.wav")
    items = [Segment(path), Segment(path, 0.0, 0.05), Segment(path, 0.05), Segment(path, 0.02, 0.03)]
    store = AudioStore(RATE_HZ, root=root)
    view = store.view(store.ensure(items))
    whole = view.get(0)
    for i, part in enumerate([whole, whole[:400], whole[400:], whole[160:240]]):
        np.testing.assert_array_equal(view.get(i), part)
    for options in ({"rate_hz": 4_000}, {"rate_hz": 4_000, "quality": "QQ"}):
        other = AudioStore(root=root, **options)
        half = other.view(other.ensure(items)).get(0)
        assert len(half) == 400
    limited = AudioStore(RATE_HZ, root=root, limits=DecodeLimits(max_seconds=0.05))
    assert [o.reason for o in limited.ensure(items[:2])] == ["too_long", ""]


def test_a_moved_or_copied_file_is_recognised_by_its_content(folder, root):
    store = AudioStore(RATE_HZ, root=root)
    store.ensure(settle(folder))
    (folder / "0.wav").rename(folder / "moved.wav")
    (folder / "copy.wav").write_bytes((folder / "1.wav").read_bytes())
    n_shards = len(list((root / "shards").iterdir()))
    assert content_of(store.view(store.ensure(settle(folder)))) == expected(folder)
    assert len(list((root / "shards").iterdir())) == n_shards


def test_content_that_changes_at_the_same_size_and_time_is_not_served_stale(folder, root):
    store = AudioStore(RATE_HZ, root=root)
    store.ensure(settle(folder))
    path = folder / "3.wav"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(good_bytes(99))
    os.utime(path, ns=times)
    assert content_of(store.view(store.ensure(settle(folder)))) == expected(folder)


def test_content_that_changes_at_once_after_hashing_is_not_served_stale(folder, root):
    path = folder / "3.wav"
    store = AudioStore(RATE_HZ, root=root)
    with store:
        for seed in range(20):
            path.write_bytes(good_bytes(seed))
            view = store.view(store.ensure([Segment(str(path))]))
            assert view.get(0).tobytes() == good_bytes(seed)[44:]


def test_failures_of_content_are_remembered_and_passing_ones_are_not(folder, root, tmp_path, nobody_decodes):
    (folder / "bad.wav").write_bytes(b"no sound at all")
    store = AudioStore(RATE_HZ, root=root)
    items = settle(folder)
    bad = store.ensure(items)[-1]
    assert (bad.status, bad.reason, bad.accepted) == ("failed", "not_audio", False)
    assert bad.message.startswith(f"{folder}/bad.wav: file is ")
    late = Segment(str(tmp_path / "late.wav"))
    assert store.ensure([late])[0].reason == "missing"
    (tmp_path / "late.wav").write_bytes(good_bytes())
    assert store.ensure([late])[0].status == "ok"
    nobody_decodes()
    assert store.ensure(items)[-1] == bad


def test_hopeless_caches_are_one_line_to_the_user(tmp_path, folder):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EarshotError, match=r"cache is '(Not a directory|File exists)'.*EARSHOT_CACHE"):
        AudioStore(RATE_HZ, root=tmp_path / "file" / "cache")


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("EARSHOT_CACHE", str(tmp_path / "here"))
    assert AudioStore(RATE_HZ).root == tmp_path / "here"


def test_a_view_survives_pickling_into_another_process(folder, root):
    store = AudioStore(RATE_HZ, root=root)
    view = store.view(store.ensure(settle(folder)))
    assert content_of(pickle.loads(pickle.dumps(view))) == expected(folder)
    script = "import pickle, sys; sys.stdout.buffer.write(pickle.load(sys.stdin.buffer).get(7).tobytes())"
    run = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(view), capture_output=True, check=True
    )
    assert run.stdout == expected(folder)[7]
