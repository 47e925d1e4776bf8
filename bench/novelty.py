"""Sounds of no class: each class of ESC-10 left out in turn, and how well a model of the others tells it.

A model is trained on folds 1 to 4 of nine classes as `earshot train` does it, its limit set on out-of-fold clips.
Then the finished model hears what it has never met: fold 5 of its nine classes, which are known, and all clips
of the tenth, which are not. The novelty that `predict --reject` goes by stands beside two scores without detectors.

    python -m bench.novelty default members.cnn.training.epochs=60 --runs runs/novelty

prints the table of another recipe. The ten runs are kept in `--runs`: the same command goes on after a stop.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import data_folder, table
from earshot.data.clips import Clips
from earshot.data.readers import read_clips
from earshot.deploy.bundle import Bundle
from earshot.deploy.predict import judge_files
from earshot.evaluation.novelty import auroc, entropy, false_alarm_at_kept, unlikely
from earshot.experiment import Experiment, run
from earshot.recipe import Recipe, load_recipe

TEST_FOLD = 5
KEPT = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """What a model says of N clips: probabilities [N, K] and novelty [N]."""

    probs: NDArray[np.float32]
    novelty: Floats


def judged(bundle: Bundle, clips: Clips) -> Judged:
    """Every clip by the finished model."""
    rows = [judgement for _, judgement in judge_files(bundle, clips) if judgement is not None]
    novelty = np.array([np.nan if row.novelty is None else row.novelty for row in rows])
    return Judged(np.stack([row.probs for row in rows]), novelty)


def without(clips: Clips, label: str, *, recipe: Recipe, folder: Path) -> tuple[Judged, Judged]:
    """Known and unknown clips by a model that never met the class `label`, trained in a run folder of its own."""
    is_out = (clips.table["label"] == label).to_numpy()
    is_test = (clips.table["fold"] == TEST_FOLD).to_numpy()
    learning = clips.subset(~is_out & ~is_test)
    learning = learning.assign(label=list(learning.table["label"]))  # forgets the class that has no clip left
    bundle = run(Experiment(clips=learning, recipe=recipe, folder=folder)).bundle
    return judged(bundle, clips.subset(~is_out & is_test)), judged(bundle, clips.subset(is_out))


def scores_of(known: Judged, unknown: Judged) -> tuple[float, ...]:
    """AUROC of three scores, what passes the model's own limit, and what passes where 95 % of known clips do."""
    return (
        auroc(known.novelty, unknown.novelty),
        float(np.mean(unknown.novelty <= 1.0)),
        float(np.mean(known.novelty <= 1.0)),
        false_alarm_at_kept(known.novelty, unknown.novelty, kept=KEPT),
        auroc(unlikely(known.probs), unlikely(unknown.probs)),
        auroc(entropy(known.probs), entropy(unknown.probs)),
    )


def main(recipe: str = "fast", changes: Sequence[str] = (), *, runs: Path | None = None) -> str:
    """The table of every class left out; with the default recipe it takes hours on a CPU.

    Args:
        recipe: name or path of a recipe.
        changes: settings of it, as `train --set` takes them.
        runs: folder for the ten runs, where finished trainings are not done again; None keeps nothing.
    """
    clips = read_clips(data_folder("esc10"))
    loaded = load_recipe(recipe, changes)
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        for label in clips.classes:
            rows[label] = scores_of(
                *without(clips, label, recipe=loaded, folder=(runs or Path(scratch)) / label)
            )
            print(f"{label}: AUROC {rows[label][0]:.3f}", file=sys.stderr, flush=True)
    rows["**mean**"] = tuple(np.mean(list(rows.values()), axis=0).tolist())
    shown = [
        (
            label,
            f"{a:.3f}",
            f"{100 * p:.0f} %",
            f"{100 * k:.0f} %",
            f"{100 * f:.0f} %",
            f"{u:.3f}",
            f"{e:.3f}",
        )
        for label, (a, p, k, f, u, e) in rows.items()
    ]
    header = (
        *("left out", "AUROC", "of it passes the limit", "known passes the limit"),
        *("of it passes at 95 % known", "AUROC of 1 - p", "AUROC of entropy"),
    )
    note = (
        f"Recipe `{' '.join([recipe, *changes])}`. Higher AUROC is better (0.5 is chance), fewer left-out clips "
        "that pass are better. The limit keeps 95 % of known clips out of fold."
    )
    return table(header, shown, note=note)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.novelty", description="The table of one recipe.")
    parser.add_argument("recipe", nargs="?", default="fast")
    parser.add_argument("changes", nargs="*", metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--runs", type=Path, help="folder that keeps the runs")
    arguments = parser.parse_args()
    print(main(arguments.recipe, arguments.changes, runs=arguments.runs))
