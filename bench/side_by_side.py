"""Folds of the default network side by side, in processes that share the threads, against one after the other.

Both train the same folds on the same clips; what differs is `--jobs`. The processes' start is in their time.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from bench import alternating, data_folder, table
from earshot import read_clips
from earshot.data.splits import k_folds
from earshot.hearing import Heard, hear, window_samples
from earshot.monitor import Silent
from earshot.recipe import Recipe, load_recipe
from earshot.runfolder import FoldFile, RunFolder
from earshot.training.members import FoldData
from earshot.trainings import Job, make_side_by_side, sharing

EPOCHS, ROUNDS = 4, 3


def jobs(heard: Heard, recipe: Recipe, folder: Path) -> list[Job]:
    """As many folds as torch has threads."""
    clips, config = heard.clips, recipe.members["cnn"]
    length, hop = window_samples(recipe.audio, heard.view.n_samples)
    made = []
    for number, fold in enumerate(k_folds(clips)[: torch.get_num_threads()]):
        data = FoldData(
            view=heard.view,
            targets=clips.targets,
            groups=clips.groups,
            train=fold.train,
            test=fold.test,
            length=length,
            hop=hop,
            rate_hz=recipe.audio.rate_hz,
            multilabel=False,
        )
        file = FoldFile(RunFolder(folder), member="cnn", fold=str(number), config=config, identity=number)
        made.append(Job(config, data, seed=number, device="cpu", file=file))
    return made


def seconds(heard: Heard, recipe: Recipe, *, side_by_side: bool) -> float:
    """Of all the folds, from the start to their results on disk."""
    with tempfile.TemporaryDirectory() as name:
        waiting = jobs(heard, recipe, Path(name))
        started = time.perf_counter()
        if side_by_side:
            together = sharing(waiting, n_processes=len(waiting))
            make_side_by_side(together, n_processes=len(together), on_progress=lambda done, total: None)
        else:
            for job in waiting:
                job.make(lambda done, total: None)
        return time.perf_counter() - started


def main() -> str:
    """The table."""
    recipe = load_recipe("cnn", [f"epochs={EPOCHS}"])
    heard = hear(read_clips(data_folder("esc10")), recipe.audio, monitor=Silent())
    n = torch.get_num_threads()
    ways = [partial(seconds, heard, recipe, side_by_side=together) for together in (False, True)]
    alone, together = alternating(ROUNDS, *ways)
    rows = [
        (f"one after the other, {n} threads", f"{alone:.1f} s", "1.00x"),
        (f"side by side, {n} processes of one thread", f"{together:.1f} s", f"{alone / together:.2f}x"),
    ]
    note = (
        f"{n} folds of ESC-10, {EPOCHS} epochs each, medians of {ROUNDS} alternating rounds. The start of a "
        f"process, some 3 s, counts here for {EPOCHS} epochs and in the default recipe for 120."
    )
    return table(("the default network", "time", "against one after the other"), rows, note=note)


if __name__ == "__main__":
    print(main())
