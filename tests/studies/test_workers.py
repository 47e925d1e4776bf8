import os
import signal

import numpy as np
import pytest

from earshot.studies.attempts import Workbench
from earshot.studies.spec import Row
from earshot.studies.workers import Job, Workers, n_cores
from earshot.training.fit import TrainingDiverged

from .conftest import TRAINING


def job(seed_of_row=0, **model):
    row = Row.model_validate(
        {
            "id": f"toy{seed_of_row}",
            "label": "toy",
            "section": "all",
            "toy": "regression",
            "model": {"kind": "mlp", "hidden": [2 + seed_of_row], "scale": "none"} | model,
            "training": TRAINING | {"loss": "mean_squared_error", "batch_size": 500},
        }
    )
    return Job(row, None, 0)


@pytest.fixture
def bench(study, tmp_path):
    return Workbench(tmp_path, None, protocol=study.protocols["grouped"], seed=0, device="cpu")


def result(workers, one):
    return workers.attempt(one, on_progress=lambda done, total: None)


def test_jobs_side_by_side_give_what_they_give_alone_and_one_that_fails_ends_no_other(
    bench, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    diverging = job(1).row.training.model_copy(update={"learning_rate": 1e30, "epochs": 20})
    bad = Job(job(1).row.model_copy(update={"training": diverging, "id": "bad"}), None, 0)
    jobs = [job(0), bad, job(1)]
    with Workers(bench, 2) as workers:
        workers.submit(jobs)
        assert (os.environ["OMP_NUM_THREADS"], "MKL_NUM_THREADS" in os.environ) == ("7", False)
        together = {each.name: result(workers, each).probs for each in (job(1), job(0))}
        with pytest.raises(TrainingDiverged, match="loss is"):
            result(workers, bad)
    alone = Workbench(tmp_path / "alone", None, protocol=bench.protocol, seed=0, device="cpu")
    for each in (job(0), job(1)):
        probs = result(Workers(alone, 1), each).probs
        np.testing.assert_allclose(probs, together[each.name], atol=1e-6)
        assert np.array_equal(bench.finished(each.row, None, run=0).probs, together[each.name])


def test_a_process_that_is_killed_costs_no_row(bench):
    import multiprocessing

    before, said = set(multiprocessing.active_children()), []
    jobs = [job(i) for i in range(3)]
    with Workers(bench, 2, say=said.append) as workers:
        workers.submit(jobs)
        killed = next(iter(set(multiprocessing.active_children()) - before))
        os.kill(killed.pid, signal.SIGKILL)  # before it has loaded its libraries
        for each in jobs:
            assert np.isfinite(result(workers, each).probs).all()
    assert len(said) == 1
    assert "killed" in said[0]


def test_an_interrupt_ends_the_processes_at_once(bench):
    import multiprocessing

    before = set(multiprocessing.active_children())
    slow = job(0).row.training.model_copy(update={"epochs": 100_000, "max_draws": 10**9})
    jobs = [Job(job(i).row.model_copy(update={"training": slow}), None, 0) for i in range(2)]
    workers = Workers(bench, 2)

    def interrupted():
        with workers:
            workers.submit(jobs)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert set(multiprocessing.active_children()) <= before


def test_there_is_a_core():
    assert 1 <= n_cores() <= (os.cpu_count() or 1)
