"""Runs side by side: who is ahead, by how much, whether that is more than luck, and at what cost.

Conventions: a run is the folder of `train`, whose out-of-fold rows are compared, or of `evaluate -o`, whose rows
are those of a test. Clips are the same where their contents are (clips.csv), else where their ids are.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from earshot.deploy.bundle import Bundle
from earshot.deploy.cost import latencies_ms, n_parameters, n_support_vectors
from earshot.errors import BundleError, DataError, Words, complaint
from earshot.evaluation.comparison import Comparison, compare
from earshot.evaluation.metrics import summarise
from earshot.evaluation.predictions import Predictions, safe_cell, safe_frame
from earshot.files import write_whole
from earshot.monitor import Monitor, Silent
from earshot.report.comparison import ComparisonValues, write_comparison_page


@dataclass(frozen=True)
class Run:
    """What a run folder says of its clips.

    Attributes:
        contents: what each clip is made of, as text that is the same wherever it lies, and for each copy of it; ""
            where that is not known.
        tested_in: the fold of each, "" where there are none.
    """

    name: str
    folder: Path
    predictions: Predictions
    contents: tuple[str, ...]
    tested_in: tuple[str, ...]
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Compared:
    """The comparison on the clips that all runs have; `costs` has a row a run, in the order of the standings."""

    comparison: Comparison
    costs: pd.DataFrame
    notes: tuple[str, ...]


def compare_runs(
    folders: Sequence[str | os.PathLike[str]],
    *,
    latency: bool = True,
    seed: int = 0,
    monitor: Monitor | None = None,
) -> Compared:
    """Compares runs on the clips that all of them have.

    Args:
        latency: time the runs' models, too.

    Raises:
        DataError: fewer than two runs, a folder is no run, or the runs differ in classes or labels.
    """
    if len(folders) < 2:
        raise DataError(
            complaint("compare", "number of runs", len(folders), "2 or more", "Name their folders.")
        )
    places = [Path(folder) for folder in folders]
    names = _names(places)
    runs, notes = _on_common_clips([load_run(f, name=n) for f, n in zip(places, names, strict=True)])
    predictions = {run.name: run.predictions for run in runs}
    comparison = compare(predictions, rng=np.random.default_rng(seed))
    order = [standing.name for standing in comparison.standings]
    found, more = _models(runs, latency=latency, monitor=monitor or Silent())
    by_name = {run.name: run for run in runs}
    costs = pd.DataFrame([_cost_row(by_name[name], found.get(name, {})) for name in order])
    return Compared(comparison, costs, tuple(notes + more))


def load_run(folder: Path, *, name: str) -> Run:
    """Reads metrics.json, predictions.csv and, where it is there, clips.csv.

    Raises:
        DataError: a file is missing or does not fit.
    """
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        predictions = _predictions(_rows(folder / "predictions.csv"), metrics)
        listed = _rows(folder / "clips.csv") if (folder / "clips.csv").is_file() else ()
        about = {row["id"]: (_content(row), row.get("tested_in") or "") for row in listed if row.get("id")}
    except OSError as error:
        fix = "Name the folder of `earshot train`, or of `earshot evaluate -o`."
        there = f"a folder without {Path(error.filename or '').name}" if folder.is_dir() else "no folder"
        if (folder.parent / "metrics.json").is_file():
            fix = f"Is {folder.parent} meant?"
        raise DataError(complaint(folder, "run", Words(there), "a run folder", fix)) from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(f"{folder}: the run cannot be read ({error!r}). Run it again.") from error
    contents, tested_in = zip(*(about.get(each, ("", "")) for each in predictions.clip_ids), strict=True)
    return Run(name, folder, predictions, contents, tested_in, metrics)


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or their paths where two have the same."""
    short = [folder.resolve().name for folder in folders]
    names = [name if short.count(name) == 1 else str(f) for name, f in zip(short, folders, strict=True)]
    for name, n in Counter(names).items():
        if n > 1:
            raise DataError(complaint("compare", "run", name, "each run once"))
    return names


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Row by row: a whole table of strings would need many times the memory of its numbers."""
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _predictions(rows: Iterable[Mapping[str, str]], metrics: Mapping[str, Any]) -> Predictions:
    """Out-of-fold predictions where there are any, else those of the test split."""
    classes = [str(name) for name in metrics["classes"]]
    multilabel = "mean_average_precision" in metrics
    kept = [
        (
            row["split"],
            row["id"],
            row["label"],
            row.get("group"),
            np.array([float(row[f"p_{name}"]) for name in classes], dtype=np.float32),
        )
        for row in rows
        if row.get("split") in ("oof", "test")
    ]
    split = "oof" if any(each[0] == "oof" for each in kept) else "test"
    of_split = [each[1:] for each in kept if each[0] == split]
    if not of_split:
        raise ValueError("no rows of a split oof or test")
    ids, labels, groups, probs = zip(*of_split, strict=True)
    column = {str(safe_cell(name)): k for k, name in enumerate(classes)}
    targets = np.zeros((len(ids), len(classes)), np.float32)
    for i, cell in enumerate(labels):
        for label in _labels(cell, column, multilabel=multilabel):
            targets[i, column[label]] = 1.0
    return Predictions(
        np.stack(probs),
        tuple(classes),
        clip_ids=ids,
        targets=targets,
        split=split,
        groups=None if None in groups else groups,
        multilabel=multilabel,
    )


def _labels(cell: str, known: Mapping[str, int], *, multilabel: bool) -> list[str]:
    if not multilabel or not cell:
        return [] if multilabel else [cell]
    # The apostrophe of a cell that would be a formula stands before the first of several labels.
    parts = cell.split(";")
    return [part if part in known else part.removeprefix("'") for part in parts]


def _content(row: Mapping[str, str]) -> str:
    """Hash and times of a clip; "" where the hash is not known."""
    parts = [row.get(part) or "" for part in ("content", "start_s", "end_s")]
    return " ".join(parts) if parts[0] else ""


def _by_content(runs: Sequence[Run]) -> list[Run]:
    """The runs with clips named by what they hold: paths may have changed. Copies go by their ids."""
    counts = [Counter(run.contents) for run in runs]
    several = {content for count in counts for content, n in count.items() if n > 1}
    named = []
    for run in runs:
        own = run.predictions
        pairs = zip(run.contents, own.clip_ids, strict=True)
        ids = tuple(f"{content} {name}" if content in several else content for content, name in pairs)
        named.append(replace(run, predictions=replace(own, clip_ids=ids)))
    return named


def _on_common_clips(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The runs on the clips and in the class order of the first, and what the reader should know of it."""
    first, notes = runs[0], []
    for run in runs[1:]:
        if set(run.predictions.classes) != set(first.predictions.classes):
            only = sorted(set(run.predictions.classes) ^ set(first.predictions.classes))
            fix = f"Not in both: {', '.join(only[:10])}."
            rule = f"those of {first.name}"
            raise DataError(
                complaint("compare", f"classes of {run.name}", len(run.predictions.classes), rule, fix)
            )
        if run.predictions.split != first.predictions.split:
            fix = "Compare runs of train with each other, and folders of evaluate with each other."
            rule = f"{first.predictions.split}, as in {first.name}"
            raise DataError(complaint("compare", f"rows of {run.name}", run.predictions.split, rule, fix))
    if all(all(run.contents) for run in runs):
        runs = _by_content(runs)
    common = set.intersection(*(set(run.predictions.clip_ids) for run in runs))
    if not common:
        fix = "Runs are compared on clips that all of them predicted."
        raise DataError(complaint("compare", "clips in common", 0, "1 or more", fix))
    for run in runs:
        if left := len(run.predictions) - len(common):
            notes.append(
                f"{left} of {len(run.predictions)} clips of {run.name} are not in all runs and left out"
            )
    chosen = [_subset(run, common, first.predictions.classes) for run in runs]
    # An evaluation of a run out of fold does not say in which.
    folds = [
        dict(zip(run.predictions.clip_ids, run.tested_in, strict=True))
        for run in chosen
        if any(run.tested_in)
    ]
    if any(each != folds[0] for each in folds):
        notes.append(
            "the runs were cross-validated on different folds, which is part of what sets them apart"
        )
    joined = _in_one_grouping([run.predictions for run in chosen])
    if joined is not None:
        notes.append(
            "the runs group the clips differently: what one of them keeps together counts as one group"
        )
        chosen = [replace(run, predictions=each) for run, each in zip(chosen, joined, strict=True)]
    return chosen, notes


def _in_one_grouping(several: Sequence[Predictions]) -> list[Predictions] | None:
    """Predictions of the same clips where those that share a group in any of them do so in all; None if they do."""
    ids = several[0].clip_ids
    groupings = []
    for each in several:
        names = each.clip_ids if each.groups is None else each.groups
        group_of = dict(zip(each.clip_ids, names, strict=True))
        groupings.append(pd.factorize(np.array([group_of[name] for name in ids], dtype=object))[0])
    if all(np.array_equal(each, groupings[0]) for each in groupings):
        return None
    n = len(ids)
    starts = n + np.cumsum([0, *(each.max() + 1 for each in groupings)])
    ends = np.concatenate([each + start for each, start in zip(groupings, starts[:-1], strict=True)])
    links = (np.ones(len(ends)), (np.tile(np.arange(n), len(groupings)), ends))
    parts = connected_components(coo_array(links, shape=(starts[-1], starts[-1])), directed=False)[1]
    group = {name: str(part) for name, part in zip(ids, parts[:n], strict=True)}
    return [replace(each, groups=tuple(group[name] for name in each.clip_ids)) for each in several]


def _subset(run: Run, common: set[str], classes: tuple[str, ...]) -> Run:
    own = run.predictions
    rows = np.array([i for i, name in enumerate(own.clip_ids) if name in common], dtype=np.int64)
    columns = [own.classes.index(name) for name in classes]
    targets: NDArray[np.float32] = own.known_targets
    predictions = Predictions(
        own.probs[rows][:, columns],
        classes,
        clip_ids=tuple(own.clip_ids[i] for i in rows),
        targets=targets[rows][:, columns],
        split=own.split,
        groups=None if own.groups is None else tuple(own.groups[i] for i in rows),
        multilabel=own.multilabel,
    )
    return replace(run, predictions=predictions, tested_in=tuple(run.tested_in[i] for i in rows))


def _models(
    runs: Sequence[Run], *, latency: bool, monitor: Monitor
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Size and latency of each run's model, and what could not be measured."""
    bundles, notes = {}, []
    for i, run in enumerate(runs):
        monitor.progress("loading models", i, len(runs))
        if not (run.folder / "model").is_dir():
            continue
        try:
            bundles[run.name] = Bundle.load(run.folder / "model", device="cpu")
        except BundleError as error:
            notes.append(
                f"the model of {run.name} could not be loaded, so its size and latency are missing: {error}"
            )
    monitor.progress("loading models", len(runs), len(runs))
    timed = latencies_ms(bundles) if latency and bundles else {}
    found = {
        name: {
            "n_models": sum(len(family) for family in bundle.families.values()),
            "n_parameters": n_parameters(bundle),
            "n_support_vectors": n_support_vectors(bundle),
            "latency_ms": timed.get(name),
        }
        for name, bundle in bundles.items()
    }
    return found, notes


def _cost_row(run: Run, model: Mapping[str, Any]) -> dict[str, Any]:
    scores = summarise(
        run.predictions, n_bootstrap=1, rng=np.random.default_rng(0)
    )  # the interval is not read
    members = run.metrics.get("members") or {}
    seconds = [member.get("seconds") for member in members.values()]
    known = bool(seconds) and all(isinstance(each, int | float) for each in seconds)
    row: dict[str, Any] = {"name": run.name, "folder": str(run.folder)}
    row |= {name: scores[name] for name in ("balanced_accuracy", "log_loss", "ece", "brier")}
    row |= {"train_s": float(sum(seconds)) if known else None}
    return row | {
        name: model.get(name) for name in ("n_models", "n_parameters", "n_support_vectors", "latency_ms")
    }


def write_comparison(compared: Compared, folder: Path, *, command: str = "") -> None:
    """Writes comparison.csv, a row a pair, runs.csv, a row a run, and comparison.html."""
    folder.mkdir(parents=True, exist_ok=True)
    values = comparison_values(compared, command=command)
    write_whole(folder / "comparison.csv", safe_frame(values.pairs).to_csv(index=False))
    runs = values.standings.merge(values.costs, on="name")
    write_whole(folder / "runs.csv", safe_frame(runs).to_csv(index=False))
    write_comparison_page(folder / "comparison.html", values)


def comparison_values(compared: Compared, *, command: str = "") -> ComparisonValues:
    """What page and terminal show."""
    standings = compared.comparison.standings_frame()
    few = " and ".join(standings["name"])
    return ComparisonValues(
        title=few if len(standings) == 2 else f"{len(standings)} runs compared",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=command,
        standings=standings,
        pairs=compared.comparison.pairs_frame(),
        costs=compared.costs,
        n_clips=compared.comparison.n_clips,
        n_groups=compared.comparison.n_groups,
        notes=compared.notes,
    )
