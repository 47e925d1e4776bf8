"""What must not stop the store or make it wrong: damage, crashes, hangs, kills, and company."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import earshot.audio.decode_pool as decode_pool
import earshot.audio.decode_process as decode_process
import earshot.audio.shards as shards
from earshot.audio.store import AudioStore, Segment

from .contents import content_of, expected, settle
from .sounds import RATE_HZ, encoded, good_bytes, tone

SABOTAGE = """
import os, time
import earshot.audio.decode as door

honest = door.decode
read = os.read

def slow_read(fd, n):
    name = os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))
    if "slow" in name:
        time.sleep(0.3)
        n = min(n, 300)
    return read(fd, n)

os.read = slow_read

def decode(fd, **options):
    name = os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))
    if "crash" in name:
        os.abort()
    if "hang" in name:
        time.sleep(600)
    if "greedy" in name:
        bytearray(2**30)
    return honest(fd, **options)

door.decode = decode
"""


def test_every_damage_is_noticed_and_mended(folder, root):
    rng = np.random.default_rng(0)
    items, wanted = settle(folder), expected(folder)
    with AudioStore(RATE_HZ, root=root) as store:
        store.ensure(items)
        for turn in range(100):
            victims = sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size)
            victim = victims[rng.integers(len(victims))]
            raw = bytearray(victim.read_bytes())
            if turn % 4 == 0:
                raw = raw[: rng.integers(len(raw))]
            else:
                for at in rng.integers(0, len(raw), 5):
                    raw[at] ^= 1 << rng.integers(8)
            victim.write_bytes(raw)
            assert content_of(store.view(store.ensure(items))) == wanted, (turn, victim.name)


@pytest.mark.parametrize("victim", ["index.sqlite", "shards"])
def test_removed_parts_are_made_again(folder, root, victim):
    items = settle(folder)
    AudioStore(RATE_HZ, root=root).ensure(items)
    for path in [root / victim] if victim.endswith("sqlite") else (root / victim).iterdir():
        path.unlink()
    store = AudioStore(RATE_HZ, root=root)
    assert content_of(store.view(store.ensure(items))) == expected(folder)


def test_orphans_of_a_lost_index_do_not_fill_the_disk(folder, root):
    items = settle(folder)
    AudioStore(RATE_HZ, root=root).ensure(items)
    orphans = set((root / "shards").iterdir())
    (root / "index.sqlite").unlink()
    young, *old = sorted(orphans)
    for path in old:
        os.utime(path, (0, 0))
    AudioStore(RATE_HZ, root=root).ensure(items)
    assert orphans & set((root / "shards").iterdir()) == {young}


@pytest.mark.skipif(sys.platform != "linux", reason="the sabotage needs /proc")
def test_a_crash_a_hang_and_a_glutton_lose_one_file_each(folder, root, tmp_path, monkeypatch):
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hooks"))
    for i, name in enumerate(["5crash", "5hang", "5greedy"]):
        (folder / f"{name}.wav").write_bytes(good_bytes(20 + i))
    store = AudioStore(RATE_HZ, root=root, timeout_s=1.0, n_workers=2)
    outcomes = store.ensure(settle(folder))
    reasons = {Path(o.segment.path).name: o.reason for o in outcomes if o.reason}
    assert reasons == {"5crash.wav": "crashed", "5hang.wav": "timed_out", "5greedy.wav": "no_memory"}
    assert sum(o.status == "ok" for o in outcomes) == 10
    monkeypatch.delenv("PYTHONPATH")
    assert all(o.status == "ok" for o in store.ensure(settle(folder)))


@pytest.mark.skipif(sys.platform != "linux", reason="the sabotage needs /proc")
def test_a_large_file_may_take_longer_to_read_than_a_decoder_to_answer(folder, root, tmp_path, monkeypatch):
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hooks"))
    (folder / "slow.wav").write_bytes(good_bytes(20))
    started = time.monotonic()
    outcomes = AudioStore(RATE_HZ, root=root, timeout_s=1.0).ensure(settle(folder))
    assert time.monotonic() - started > 1.5  # some 1,600 bytes, 300 at a time
    assert [o.reason for o in outcomes] == [""] * 11


def test_a_worker_that_hangs_is_killed_while_others_are_busy(tmp_path, root, monkeypatch):
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(3_000):
        (folder / f"{i:04d}.wav").write_bytes(good_bytes(i))
    greet, killed_after = decode_process.WorkerProcess.greet, []

    def stop_the_first(worker):
        greet(worker)
        if not killed_after:
            os.kill(worker._process.pid, signal.SIGSTOP)
            killed_after.append(time.monotonic())

    def note(worker):
        was_late = worker._late
        look(worker)
        if worker._late and not was_late:
            killed_after.append(time.monotonic())

    look = decode_process.WorkerProcess.kill_if_overdue
    monkeypatch.setattr(decode_process.WorkerProcess, "greet", stop_the_first)
    monkeypatch.setattr(decode_process.WorkerProcess, "kill_if_overdue", note)
    n_done_at_kill = []

    def progress(n_done, n_all):
        if len(killed_after) == 2 and not n_done_at_kill:
            n_done_at_kill.append(n_done)

    outcomes = AudioStore(RATE_HZ, root=root, n_workers=2, timeout_s=1.0).ensure(
        settle(folder), progress=progress
    )
    assert {o.reason for o in outcomes if o.reason} == {"timed_out"}
    assert n_done_at_kill[0] < 2_900  # not when the other worker had come to its end


def kill_after_three_shards(script, root):
    run = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while len(list(root.glob("shards/*.i16"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    run.wait()


def test_a_killed_run_keeps_what_it_had_of_one_long_file(tmp_path, root):
    path, n_parts, samples = tmp_path / "long.wav", 400, tone(400 * 800)
    path.write_bytes(encoded("WAV", "PCM_16", samples))
    script = f"""
import earshot.audio.shards as shards
from pathlib import Path
from earshot.audio.store import AudioStore, Segment
shards._FULL_SOUNDS = 20
items = [Segment({str(path)!r}, i / 10, (i + 1) / 10) for i in range({n_parts})]
AudioStore({RATE_HZ}, root=Path({str(root)!r})).ensure(items)
"""
    time.sleep(0.15)
    kill_after_three_shards(script, root)
    items = [Segment(str(path), i / 10, (i + 1) / 10) for i in range(n_parts)]
    steps, store = [], AudioStore(RATE_HZ, root=root)
    view = store.view(store.ensure(items, progress=lambda n_done, _: steps.append(n_done)))
    assert steps[0] == 0  # what the file holds is only known when it has been hashed again
    assert 40 <= steps[1] < n_parts
    parts = np.split(soundfile.read(path, dtype="int16")[0], n_parts)
    assert content_of(view) == [part.tobytes() for part in parts]


def test_ranges_of_few_files_keep_several_workers_busy(tmp_path, root, monkeypatch):
    items = []
    for i in range(2):
        (tmp_path / f"{i}.wav").write_bytes(encoded("WAV", "PCM_16", tone(20 * 800)))
        items += [Segment(str(tmp_path / f"{i}.wav"), k / 10, (k + 1) / 10) for k in range(20)]
    hire, hired = decode_pool.DecodePool.hire, set()
    monkeypatch.setattr(decode_pool.DecodePool, "hire", lambda self: hired.add(w := hire(self)) or w)
    AudioStore(RATE_HZ, root=root, n_workers=2).ensure(items)
    assert len(hired) == 2


def test_a_killed_run_keeps_what_it_had(tmp_path, root):
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(400):
        (folder / f"{i:03d}.wav").write_bytes(good_bytes(i))
    script = f"""
import earshot.audio.shards as shards
from pathlib import Path
from earshot.audio.store import AudioStore, Segment
shards._FULL_SOUNDS = 20
paths = sorted(Path({str(folder)!r}).iterdir())
AudioStore({RATE_HZ}, root=Path({str(root)!r}), n_workers=1).ensure([Segment(str(p)) for p in paths])
"""
    time.sleep(0.15)
    kill_after_three_shards(script, root)
    steps = []
    store = AudioStore(RATE_HZ, root=root)
    outcomes = store.ensure(settle(folder), progress=lambda *step: steps.append(step))
    assert 40 <= steps[0][0] < 400
    assert content_of(store.view(outcomes)) == expected(folder)
    assert not list(root.rglob("*.part"))


def test_a_write_that_fails_costs_no_entry_of_the_index(folder, root, monkeypatch):
    outcomes = AudioStore(RATE_HZ, root=root).ensure(settle(folder))
    script = f"""
import resource, signal
from pathlib import Path
from earshot.audio.index import Entry, Index
from earshot.errors import EarshotError
root = Path({str(root)!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = (root / "index.sqlite").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
try:
    Index(root).add([Entry(f"{{i:064d}}", "ok", "", "") for i in range(5_000)])
except EarshotError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "index of the cache" in said
    assert said.count("\n") == 1
    monkeypatch.setattr(decode_pool.DecodePool, "hire", lambda self: pytest.fail("decoded again"))
    assert AudioStore(RATE_HZ, root=root).ensure(settle(folder)) == outcomes


def test_unfinished_shards_are_removed_when_their_process_is_gone_or_they_are_old(folder, root):
    AudioStore(RATE_HZ, root=root).ensure(settle(folder))
    own, gone = os.getpid(), 2**22 + 1  # above the highest process number
    shelf, other = root / "shards", f"{shards._HOST}9"
    names = [f"{shards._HOST}-{own}-a.part", f"{shards._HOST}-{gone}-b.part", f"{other}-{gone}-c.part"]
    names += [f"{other}-{gone}-old.part", f"{shards._HOST}-{own}-old.part"]
    for name in names:
        (shelf / name).write_bytes(b"x")
        if "old" in name:
            os.utime(shelf / name, (0, 0))
    AudioStore(RATE_HZ, root=root).ensure(settle(folder))
    assert {path.name for path in shelf.glob("*.part")} == {names[0], names[2], names[4]}


def test_ctrl_c_stops_at_once_and_leaves_nothing_partial(folder, root, monkeypatch):
    monkeypatch.setattr(shards, "_FULL_SOUNDS", 2)
    started = []
    hire = decode_pool.DecodePool.hire

    def noted(self):
        worker = hire(self)
        started.append(worker)
        return worker

    monkeypatch.setattr(decode_pool.DecodePool, "hire", noted)

    def interrupt(n_done, n_all):
        if n_done >= 5:
            raise KeyboardInterrupt

    store = AudioStore(RATE_HZ, root=root)
    with pytest.raises(KeyboardInterrupt):
        store.ensure(settle(folder), progress=interrupt)
    assert all(worker._process.poll() is not None for worker in started)
    assert not list(root.rglob("*.part"))
    steps = []
    outcomes = store.ensure(settle(folder), progress=lambda *step: steps.append(step))
    assert steps[0][0] >= 4
    assert content_of(store.view(outcomes)) == expected(folder)


def crowd(n_processes, folder, root, *, n_rounds):
    script = textwrap.dedent(f"""
        import hashlib, shutil, sys
        from pathlib import Path
        from earshot.audio.store import AudioStore, Segment
        paths = sorted(Path({str(folder)!r}).iterdir())
        for turn in range({n_rounds}):
            store = AudioStore({RATE_HZ}, root=Path({str(root)!r}) / str(turn), n_workers=1)
            view = store.view(store.ensure([Segment(str(p)) for p in paths]))
            print(hashlib.sha256(b"".join(view.get(i).tobytes() for i in range(len(view)))).hexdigest())
    """)
    command = [sys.executable, "-c", script]
    runs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(n_processes)
    ]
    results = [run.communicate(timeout=300) for run in runs]
    assert [errors for _, errors in results] == [b""] * n_processes
    assert all(run.returncode == 0 for run in runs)
    return {line for output, _ in results for line in output.split()}


def test_several_processes_share_a_cache(folder, root):
    assert len(crowd(4, folder, root, n_rounds=2)) == 1


@pytest.mark.slow
def test_sixteen_processes_share_a_cache_for_twenty_rounds(folder, root):
    assert len(crowd(16, folder, root, n_rounds=20)) == 1
