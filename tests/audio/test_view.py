from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import earshot.audio.view as view_module
from earshot.audio.view import AudioView
from earshot.errors import EarshotError


def make_view(folder, sounds, *, n_shards=1):
    """A view over `sounds` (int16 arrays) laid out in `n_shards` files."""
    rows, parts = [], [b""] * n_shards
    for i, sound in enumerate(sounds):
        rows.append((i % n_shards, len(parts[i % n_shards]), len(sound)))
        parts[i % n_shards] += sound.astype("<i2").tobytes()
    for i, part in enumerate(parts):
        (folder / f"{i}.i16").write_bytes(part)
    return AudioView(
        folder, [f"{i}.i16" for i in range(n_shards)], rows=np.array(rows, np.int64), rate_hz=8_000
    )


@pytest.fixture(scope="module")
def sounds():
    rng = np.random.default_rng(0)
    return [rng.integers(-32_768, 32_768, n).astype(np.int16) for n in (1, 2, 37, 100, 5_000)]


@pytest.fixture(scope="module")
def view(tmp_path_factory, sounds):
    return make_view(tmp_path_factory.mktemp("view"), sounds, n_shards=2)


def test_whole_sounds_come_back(view, sounds):
    assert len(view) == 5
    np.testing.assert_array_equal(view.n_samples, [len(sound) for sound in sounds])
    for i, sound in enumerate(sounds):
        np.testing.assert_array_equal(view.get(i), sound)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 4), st.integers(0, 5_100), st.integers(1, 300))
def test_a_window_is_a_slice_of_the_sound_or_the_sound_repeated(view, sounds, index, start, length):
    whole, rows = sounds[index], np.full((3, length), 7, np.int16)
    view.fill(rows[1], index, start)
    fits = start + length <= len(whole)
    wanted = whole[start : start + length] if fits else np.tile(whole, length)[:length]
    np.testing.assert_array_equal(rows[1], wanted)
    assert (rows[[0, 2]] == 7).all()


def test_nothing_beside_a_window_is_read(view, monkeypatch):
    read = []
    plain = view_module.os.preadv
    monkeypatch.setattr(
        view_module.os, "preadv", lambda fd, to, at: read.append(len(to[0])) or plain(fd, to, at)
    )
    view.fill(np.empty(10, np.int16), 4, 4_000)
    assert read == [20]


def test_threads_may_read_while_descriptors_are_recycled(tmp_path, monkeypatch):
    monkeypatch.setattr(view_module, "_MAX_OPEN", 2)
    sounds = [np.full(50, i, np.int16) for i in range(12)]
    view = make_view(tmp_path, sounds, n_shards=12)
    wrong = []

    def read(seed):
        for index in np.random.default_rng(seed).integers(0, 12, 500):
            if not (view.get(index) == index).all():
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_shard_cut_short_is_an_error_and_no_crash(tmp_path, sounds):
    view = make_view(tmp_path, sounds)
    (tmp_path / "0.i16").write_bytes(b"ab")
    with pytest.raises(EarshotError, match="damaged while in use"):
        view.get(4)
    (tmp_path / "0.i16").unlink()
    with pytest.raises(EarshotError, match="removed while in use"):
        pickle.loads(pickle.dumps(view)).get(4)


@pytest.mark.skipif(not view_module.Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_what_was_read(tmp_path):
    n_samples = 2**22
    with (tmp_path / "0.i16").open("wb") as file:
        file.truncate(32 * 2 * n_samples)  # 256 MiB, sparse
    rows = np.array([(0, 2 * n_samples * i, n_samples) for i in range(32)], np.int64)
    view = AudioView(tmp_path, ["0.i16"], rows=rows, rate_hz=32_000)
    resident = lambda: int(view_module.Path("/proc/self/statm").read_text().split()[1]) * 4096  # noqa: E731
    out = np.zeros(n_samples, np.int16)
    before = resident()
    for i in range(32):
        view.fill(out, i, 0)
    assert resident() - before < 32 * 2**20
