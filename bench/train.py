"""Training on ESC-10's official folds: what a score costs in time and memory, default recipe and fast one.

Accuracy is out of fold: no clip is scored by a model that heard its source recording. The fast recipe starts with
an empty cache of its own, so decoding is in its time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from bench import Cost, cost, data_folder, earshot, mib, table


def train(
    data: Path, run: Path, recipe: str, *, cache: Path | None = None, changes: tuple[str, ...] = ()
) -> Cost:
    """Time and memory of `earshot train`, in a process of its own."""
    options = [option for change in changes for option in ("--set", change)]
    env = {"EARSHOT_CACHE": str(cache)} if cache else None
    return cost(earshot("train", data, "-o", run, "--recipe", recipe, "--quiet", *options), env=env)


def row(what: str, run: Path, spent: Cost | None, target: str) -> tuple[str, ...]:
    """A line of the table from a finished run."""
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    low, high = metrics["accuracy_ci95"]
    return (
        what,
        f"{100 * metrics['accuracy']:.2f} %",
        f"{100 * low:.1f} to {100 * high:.1f} %",
        f"{spent.seconds if spent else metrics['seconds']:.0f} s",
        mib(spent.peak_bytes) if spent else "not measured",
        target,
    )


def main(*, run: Path | None = None, changes: tuple[str, ...] = ()) -> str:
    """The table; a finished `run` of the default recipe is read, not repeated (its memory stays unknown)."""
    data = data_folder("esc10")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = run or folder / "default"
        finished = (run / "metrics.json").is_file()
        fast = train(data, folder / "fast", "fast", cache=folder / "cache")
        spent = None if finished else train(data, run, "default", changes=changes)
        rows = [
            row("`--recipe fast`, cold cache", folder / "fast", fast, ">= 85 % in <= 60 s"),
            row("default recipe", run, spent, ">= 93 % in <= 30 min, <= 3 GiB"),
        ]
    header = ("`earshot train` on ESC-10", "accuracy", "95 % interval", "time", "peak memory", "target")
    note = "400 clips, 5 official folds, one seed. Memory is that of the largest process."
    return table(header, rows, note=note)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run", type=Path, help="run folder of the default recipe; made if it is not finished"
    )
    print(main(run=parser.parse_args().run))
