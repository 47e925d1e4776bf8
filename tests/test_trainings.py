"""Trainings in processes of their own: the same results, errors as they were raised, nobody left behind."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from earshot.audio.windows import InMemory
from earshot.errors import EarshotError
from earshot.recipe import load_recipe
from earshot.runfolder import FoldFile, RunFolder
from earshot.training.fit import TrainingDiverged
from earshot.training.members import FoldData
from earshot.trainings import Job, make_side_by_side, sharing

from . import corpus

RATE_HZ = 8_000


def job(folder: Path, *changes: str, fold: int = 1, n_clips: int = 16) -> Job:
    """A tiny network on tones against noise."""
    recipe = load_recipe("cnn", [*corpus.CNN, *changes])
    config = recipe.members["cnn"]
    rng = np.random.default_rng(fold)
    tones = [8_000 * np.sin(np.arange(RATE_HZ // 2) * (0.2 + 0.01 * i)) for i in range(n_clips // 2)]
    hisses = [rng.normal(0, 4_000, RATE_HZ // 2) for _ in range(n_clips // 2)]
    data = FoldData(
        view=InMemory([clip.astype(np.int16) for clip in (*tones, *hisses)]),
        targets=np.repeat(np.eye(2, dtype=np.float32), n_clips // 2, axis=0),
        groups=np.arange(n_clips).astype(str).astype(object),
        train=np.flatnonzero(np.arange(n_clips) % 4 != 0),
        test=np.arange(0, n_clips, 4),
        length=RATE_HZ // 2,
        hop=RATE_HZ // 2,
        rate_hz=RATE_HZ,
        multilabel=False,
    )
    file = FoldFile(RunFolder(folder), member="cnn", fold=str(fold), config=config, identity={"fold": fold})
    return Job(config, data, seed=fold, device="cpu", file=file)


def one_thread_each(jobs: list[Job]) -> list[np.ndarray]:
    """Held-out probabilities of jobs that are made here, in the way of a process that has one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [each.make(lambda done, total: None)[0].probs for each in jobs]
    finally:
        torch.set_num_threads(before)


def test_side_by_side_gives_what_one_after_the_other_gives(tmp_path: Path) -> None:
    jobs = [job(tmp_path / "side", fold=k) for k in (1, 2)]
    seen: list[tuple[int, int]] = []
    n_listening = threading.active_count()
    make_side_by_side(jobs, n_processes=2, on_progress=lambda done, total: seen.append((done, total)))
    expected = one_thread_each([job(tmp_path / "here", fold=k) for k in (1, 2)])
    for each, probs in zip(jobs, expected, strict=True):
        finished = each.file.load(each.data, device="cpu")
        assert finished is not None
        np.testing.assert_allclose(finished[0].probs, probs, atol=1e-5)
        assert finished[1] > 0
    n_epochs = jobs[0].config.training.epochs
    assert seen[-1] == (2 * n_epochs, 2 * n_epochs)
    assert seen == sorted(seen)
    assert threading.active_count() == n_listening


def test_an_error_is_raised_as_it_was_and_the_others_keep_what_they_have(tmp_path: Path) -> None:
    wrong = job(tmp_path, "learning_rate=1e30", "epochs=100", fold=1)
    long = job(tmp_path, "epochs=100000", fold=2)
    started = time.monotonic()
    with pytest.raises(TrainingDiverged, match="loss"):
        make_side_by_side([wrong, long], n_processes=2, on_progress=lambda done, total: None)
    assert time.monotonic() - started < 60
    assert long.file.load(long.data, device="cpu") is None


def test_a_process_that_is_killed_is_named_with_a_way_out(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "epochs=100000", fold=k) for k in (1, 2)]

    def kill_one(done: int, total: int) -> None:
        for child in children():
            os.kill(child, signal.SIGKILL)

    with pytest.raises(EarshotError, match=r"exit code of cnn-\d is -9; .*--jobs 1"):
        make_side_by_side(jobs, n_processes=2, on_progress=kill_one)
    assert children() == []


def test_a_fault_of_ours_comes_with_its_traceback(tmp_path: Path) -> None:
    broken = replace(job(tmp_path), seed="no number")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"(?s)in the training of a fold.*Traceback"):
        make_side_by_side([broken], n_processes=1, on_progress=lambda done, total: None)


def test_a_disk_that_cannot_be_written_is_said_as_here(tmp_path: Path) -> None:
    (tmp_path / "folds").write_text("a file in the way")
    with pytest.raises(OSError, match="folds"):
        make_side_by_side([job(tmp_path)], n_processes=1, on_progress=lambda done, total: None)


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from pathlib import Path\n"
        "from earshot.trainings import make_side_by_side\n"
        "from tests.test_trainings import job\n"
        f"jobs = [job(Path({str(tmp_path)!r}), 'epochs=100000', fold=k) for k in (1, 2)]\n"
        "make_side_by_side(jobs, n_processes=2, on_progress=lambda done, total: print(done, flush=True))\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    while int(parent.stdout.readline()) < 4:
        pass
    found = children(parent.pid)
    assert len(found) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in found):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_interrupt_ends_them_and_the_next_start_goes_on_from_their_checkpoints(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "epochs=100000", fold=k) for k in (1, 2)]
    checkpoints = [each.file.checkpoint.path for each in jobs]

    def interrupt_late(done: int, total: int) -> None:
        if all(path.exists() for path in checkpoints):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_side_by_side(jobs, n_processes=2, on_progress=interrupt_late)
    assert children() == []
    assert not [*tmp_path.rglob("*.part")]
    first: list[int] = []

    def stop(done: int, total: int) -> None:
        first.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_side_by_side(jobs, n_processes=2, on_progress=stop)
    assert first[0] > 1


def test_a_process_is_worth_its_start_for_long_trainings_of_networks_on_a_cpu(tmp_path: Path) -> None:
    short = job(tmp_path)
    long = job(tmp_path, "epochs=100000")
    assert not short.is_long
    assert long.is_long
    assert not replace(long, device="cuda").is_long
    fast = load_recipe("fast").members["fast"]
    assert not replace(long, config=fast).is_long


def test_shares_of_the_threads_add_up_to_all_whatever_is_already_finished(tmp_path: Path) -> None:
    jobs = [job(tmp_path, fold=k) for k in range(1, 6)]

    def shares(n_processes: int) -> list[float]:
        return [each.share for each in sharing(jobs, n_processes=n_processes)]

    assert shares(2) == [0.5, 0.5, 0.5, 0.5, 1.0]
    assert shares(4) == [0.25, 0.25, 0.25, 0.25, 1.0]
    assert shares(5) == shares(16) == [0.2] * 5
    assert shares(1) == [1.0] * 5


def test_jobs_travel(tmp_path: Path) -> None:
    there = pickle.loads(pickle.dumps(job(tmp_path)))
    assert there.file.folder == tmp_path / "folds" / "cnn-1"


def test_what_a_library_prints_does_not_get_between_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talkative = tmp_path / "talkative"
    talkative.mkdir()
    (talkative / "sitecustomize.py").write_text(
        "import sys, threading, time\n"
        "def talk():\n"
        "    while True:\n"
        "        time.sleep(0.02)\n"
        "        if 'earshot.training.members' in sys.modules: print('listen to me', flush=True)\n"
        "threading.Thread(target=talk, daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(talkative))
    jobs = [job(tmp_path / "run", fold=k) for k in (1, 2)]
    make_side_by_side(jobs, n_processes=2, on_progress=lambda done, total: None)
    assert all(each.file.load(each.data, device="cpu") is not None for each in jobs)


def children(parent: int | None = None) -> list[int]:
    """Processes that a parent has started for trainings and that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            line = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if (
            int(fields[1]) == (parent or os.getpid())
            and b"earshot.trainings import serve" in line
            and fields[0] != "Z"
        ):
            found.append(int(stat.parent.name))
    return found
