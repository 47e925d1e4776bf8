import subprocess
import sys
import threading
import time

import pytest
import torch

from earshot.audio.threads import ahead, over_parts, over_rows


@pytest.fixture(params=[1, 2, 4])
def n_threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_rows", [0, 1, 2, 100])
def test_every_row_is_worked_on_once(n_threads, n_rows):
    rows = []
    over_rows(rows.append, n_rows)
    assert sorted(rows) == list(range(n_rows))


def test_rows_are_worked_on_side_by_side_with_one_torch_thread_each(n_threads):
    if n_threads == 1:
        return
    together, seen = threading.Barrier(n_threads, timeout=20), set()

    def work(row):
        seen.add(torch.get_num_threads())
        together.wait()

    over_rows(work, n_threads)
    assert seen == {1}


def test_an_error_in_a_row_reaches_the_caller(n_threads):
    def work(row):
        if row == 3:
            raise KeyError("row 3")

    with pytest.raises(KeyError, match="row 3"):
        over_rows(work, 8)


@pytest.mark.parametrize("n_rows", [0, 1, 3, 10])
def test_parts_are_the_rows_in_a_part_a_thread(n_threads, n_rows):
    parts = []
    over_parts(parts.append, n_rows)
    rows = sorted(row for part in parts for row in range(part.start, part.stop))
    assert rows == list(range(n_rows))
    assert len(parts) <= n_threads


def test_work_inside_work_does_not_hang(n_threads):
    done = []
    over_rows(lambda row: over_rows(lambda inner: done.append((row, inner)), 3), 5)
    assert len(done) == 15


def test_there_are_no_gradients_inside_and_the_callers_mode_outside(n_threads):
    modes = []
    over_rows(lambda row: modes.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled())), 4)
    assert torch.is_grad_enabled()
    with torch.inference_mode():
        over_rows(lambda row: modes.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled())), 4)
    assert modes == [(False, False)] * 4 + [(False, True)] * 4


def test_rows_of_an_inference_tensor_can_be_written(n_threads):
    with torch.inference_mode():
        out = torch.zeros(6, 3)
        over_rows(lambda row: out[row].add_(row), 6)
    assert out[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_the_pool_leaves_threads_that_start_later_with_torchs_own_number():
    """torch takes the number for new threads from whoever set it last: the pool must not be the last."""
    script = """
import threading, torch
from earshot.audio.threads import over_rows
torch.set_num_threads(3)
over_rows(lambda row: None, 8)
seen = []
thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
thread.start(); thread.join()
assert seen == [3] and torch.get_num_threads() == 3, seen
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_what_is_made_ahead_comes_in_order_and_waits_for_the_caller(n_threads):
    started = []

    def work(item):
        started.append(item)
        time.sleep(0.001 * (item % 3))
        return -item

    made = ahead(work, iter(range(60)))
    assert [next(made) for _ in range(10)] == [-item for item in range(10)]
    time.sleep(0.05)
    assert len(started) <= 10 + 2 * n_threads
    assert list(made) == [-item for item in range(10, 60)]
    assert list(ahead(work, [])) == []


def test_what_is_made_ahead_may_go_over_rows_with_one_thread(n_threads):
    def work(item):
        rows = []
        over_rows(rows.append, 5)
        return item, rows, torch.get_num_threads()

    assert list(ahead(work, range(20))) == [(item, [0, 1, 2, 3, 4], 1) for item in range(20)]


def test_errors_ahead_are_raised_at_their_turn_and_nothing_more_is_begun(n_threads):
    started = []

    def work(item):
        started.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    made, seen = ahead(work, range(1000)), []
    with pytest.raises(ValueError, match="three"):
        seen.extend(made)
    assert len(started) < 20

    def items():
        yield 1
        raise OSError("no more")

    made = ahead(work, items())
    with pytest.raises(OSError, match="no more"):
        list(made)


def test_a_caller_that_stops_leaves_nothing_waiting(n_threads):
    started, gate = [], threading.Event()

    def work(item):
        started.append(item)
        if item:
            gate.wait(5)
        return item

    made = ahead(work, range(1000))
    assert next(made) == 0
    made.close()
    gate.set()
    time.sleep(0.05)
    assert len(started) <= 1 + 2 * n_threads
