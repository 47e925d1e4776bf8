"""One thread for each test process: tests run side by side, and tiny tensors gain nothing from more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from . import corpus

os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no failure, and a suite that passed passes again.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An audio store of the tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARSHOT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of six clips; read only."""
    return corpus.make(tmp_path_factory.mktemp("sounds"), ("hiss", "hum", "ticks"), n=6)


@pytest.fixture(scope="session")
def fast_run(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a fast recipe on `sounds`; read only."""
    from earshot import read_clips
    from earshot.experiment import Experiment, run
    from earshot.recipe import load_recipe

    folder = tmp_path_factory.mktemp("runs") / "fast"
    recipe = load_recipe("fast", corpus.FAST)
    run(Experiment(clips=read_clips(sounds), recipe=recipe, folder=folder, title="sounds"))
    return folder


@pytest.fixture
def model(fast_run: Path) -> Path:
    """The model folder of `fast_run`; read only."""
    return fast_run / "model"
