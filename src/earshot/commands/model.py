"""Commands that make a model or use one: train, predict, evaluate, demo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from earshot.commands.app import (
    Columns,
    SoundColumns,
    app,
    must_be_apart,
    must_be_writable,
    name_of,
    reproduction,
)
from earshot.console import ConsoleMonitor
from earshot.errors import EarshotError, complaint

if TYPE_CHECKING:
    from earshot.evaluation.corruptions import CorruptionScores


@app.command
def train(
    data: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    recipe: str = "default",
    change: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    device: str = "auto",
    ignore_folds: bool = False,
    learning_curve: Annotated[bool, Parameter(negative="")] = False,
    no_sounds: Annotated[bool, Parameter(negative="")] = False,
    report_mb: float = 15.0,
    jobs: int | None = None,
    columns: Columns | None = None,
    quiet: bool = False,
) -> None:
    """Cross-validate by recording, score honestly, report, and save the fold models as one model.

    Re-run the same command to continue a run that was stopped.

    Args:
        data: A folder per class, a CSV file, train/ and test/ folders, or a fetched corpus such as ESC-50.
        output: Run folder; default runs/NAME-RECIPE.
        recipe: Name of a recipe (default, cnn, fast, robust, voice), or a TOML file; default without it.
        change: Change a value of the recipe, for instance --set epochs=30; may be repeated.
        device: Where networks train: cpu, cuda, cuda:1, mps; auto takes the fastest there is.
        ignore_folds: Deal new folds by group even where the data bring folds.
        learning_curve: Also train the quickest member on fewer clips, to say what more of them would bring.
        no_sounds: Leave the sounds out of the report; spectrograms and file names stay.
        report_mb: Largest size of the report; the least telling clips lose their sounds, then their spectrograms.
        jobs: Folds of a network that train side by side on a CPU; one a core unless given. 1 takes least memory.
        quiet: Print nothing but errors.
    """
    from earshot.data.readers import describe
    from earshot.data.splits import check_trainable, valid_clips_train

    if jobs is not None and jobs < 1:
        raise EarshotError(complaint("--jobs", "number", jobs, "a whole number >= 1"))
    if output:
        must_be_writable(output, option="--output")
    # Data that cannot be used are refused before torch is loaded, which takes longer than to look at them.
    clips = (columns or Columns()).read(data)
    check_trainable(valid_clips_train(clips))

    from earshot.experiment import Experiment, run
    from earshot.recipe import load_recipe
    from earshot.report.media import Embedding

    if not 1 <= report_mb <= 10_000:
        raise EarshotError(complaint("--report-mb", "size", report_mb, "megabytes, from 1 to 10,000"))
    changes = [*change, *(["ignore_folds=true"] if ignore_folds else [])]
    loaded = load_recipe(recipe, changes)
    name = name_of(data)
    folder = output or Path("runs") / f"{name}-{loaded.name}"
    with ConsoleMonitor(quiet=quiet) as monitor:
        monitor.say(describe(clips))
        run(
            Experiment(
                clips=clips,
                recipe=loaded,
                folder=folder,
                device=device,
                command=reproduction(),
                title=name,
                monitor=monitor,
                learning_curve=learning_curve,
                embedding=Embedding(sounds=not no_sounds, max_mb=report_mb),
                n_jobs=jobs,
            )
        )
        monitor.say(f"report: {folder / 'report.html'}\nmodel:  {folder / 'model'}")


@app.command
def predict(
    model: Path,
    /,
    *paths: Annotated[Path, Parameter(required=True)],
    output: Annotated[Path | None, Parameter(alias="-o", allow_leading_hyphen=True)] = None,
    top: int | None = None,
    reject: bool = False,
    sets: bool = False,
    precision: float | None = None,
    windows: bool = False,
    device: str = "auto",
    columns: SoundColumns | None = None,
    quiet: bool = False,
) -> None:
    """Score sounds with a model: a row a file, streamed; a bad file keeps its row with the reason.

    Args:
        model: Model folder, such as RUN/model.
        paths: Sound files and folders, any depth, or CSV files of files and segments.
        output: File to write, .csv, .json or .parquet, or - to print CSV; without it the best guesses are printed.
        top: Write only the N best classes instead of a column a class.
        reject: Give no label to silence, background classes and sounds unlike those of every class.
        sets: Add the classes that are likely enough, so that 90 % of such sets hold the true one.
        precision: Give no label below the thresholds that were fitted for this precision, for instance 0.95.
        windows: Write a row for each window of a file, with start_s and end_s, instead of a row a file.
        device: Where networks run: cpu, cuda, cuda:1, mps; auto takes the fastest there is.
        quiet: Print nothing but results and errors.
    """
    from earshot.deploy.bundle import Bundle
    from earshot.deploy.choices import Chooser
    from earshot.deploy.predict import STANDARD_OUTPUT, judge_files, prediction_rows, row_writer, score_files
    from earshot.deploy.window_rows import window_rows

    if top is not None and top < 1:
        raise EarshotError(complaint("--top", "N", top, "a whole number >= 1"))
    if output and output != STANDARD_OUTPUT:
        must_be_writable(output.parent, option="--output")
    bundle = Bundle.load(model, device=device)
    chooser = Chooser(bundle, reject=reject, sets=sets, precision=precision)
    n_files = n_failed = n_rejected = 0
    with ConsoleMonitor(quiet=quiet) as monitor:

        def show(done: int, total: int) -> None:
            monitor.progress("predicting", done, total)

        clips = (columns or SoundColumns()).read(paths)
        if chooser.never_said:
            monitor.say(never_said_text(chooser.never_said, precision or 0.0))
        scored = (judge_files if chooser.needs_novelty else score_files)(bundle, clips, on_progress=show)
        shown = 1 if output is None else top
        if windows:
            rows = window_rows(bundle, clips, chooser=chooser, top=top or shown, on_progress=show)
        else:
            rows = prediction_rows(bundle, clips, scored, top=top or shown, chooser=chooser)
        with row_writer(output) if output else nullcontext() as writer:
            for row in rows:
                n_files, n_failed = n_files + 1, n_failed + (row["status"] == "failed")
                n_rejected += bool(row.get("rejected"))
                if writer is not None:
                    writer.write(row)
                elif windows and row["status"] != "failed":
                    print_row(row | {"file": f"{row['file']} {row['start_s']:g}-{row['end_s']:g} s"})
                else:
                    print_row(row)
        of_them = "" if n_files - n_failed == 1 else " of them"
        without = f", {n_rejected}{of_them} without a label" if reject or precision is not None else ""
        n_scored = n_files - n_failed
        what = ("window" if windows else "file") + ("" if n_scored == 1 else "s")
        monitor.say(f"{n_scored} {what} scored{without}, {n_failed} could not be read")
        if output and output != STANDARD_OUTPUT:
            monitor.say(f"predictions: {output}")
    if n_files == n_failed:
        raise EarshotError(complaint("predict", "readable files", 0, "at least 1", "See the reasons above."))


def never_said_text(names: Sequence[str], precision: float) -> str:
    """What a wanted precision costs: the classes that no clip will be called."""
    from earshot.data.fields import printable

    shown = ", ".join(printable(name) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{shown}{more}: never said; too few clips show that it is right {100 * precision:g} % of the time"


def print_row(row: dict[str, Any]) -> None:
    """One line for a person: file, label, confidence, or the reason why there is none."""
    from earshot.data.fields import printable

    file = printable(row["file"])
    if row["status"] == "failed":
        print(f"{file}\t-\t{row['reason']}: {printable(row['message'])}")
        return
    if row.get("rejected"):
        novelty = f" (novelty {row['novelty']:.2f})" if row.get("novelty") is not None else ""
        print(f"{file}\t-\trejected: {row['rejected']}{novelty}")
        return
    ranked = [(row["label"], row["confidence"])]
    ranked += [(row[f"label_{k}"], row[f"confidence_{k}"]) for k in range(2, 1000) if f"label_{k}" in row]
    # With several labels a clip there may be none.
    cells = [
        "-" if confidence is None else f"{printable(label)} {confidence:.3f}" for label, confidence in ranked
    ]
    if "set" in row:
        cells.append("{" + printable(row["set"]) + "}")
    print(file, *cells, sep="\t")


@app.command
def evaluate(
    model: Path,
    data: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    corruptions: str = "",
    baseline: Path | None = None,
    device: str = "auto",
    columns: Columns | None = None,
    quiet: bool = False,
) -> None:
    """Score a model on labelled sounds that it was not trained on.

    Of a run folder with its own data, each clip is scored by the fold models that did not hear it.

    Args:
        model: Model folder, such as RUN/model, or the folder of a finished run.
        data: Labelled sounds, in any form that `train` takes; of train/ and test/ folders, test is used.
        output: Folder for metrics.json, predictions.csv, report.html and, with corruptions, robustness.html.
        corruptions: Also score the clips damaged: standard, or names and groups such as noise,speed.
        baseline: Model, run, or metrics.json of an evaluation with corruptions, to set the errors beside.
        device: Where networks run: cpu, cuda, cuda:1, mps; auto takes the fastest there is.
        quiet: Print nothing but results and errors.
    """
    from earshot.data.fields import printable
    from earshot.evaluating import evaluate as score
    from earshot.evaluation.corruptions import CorruptionScores
    from earshot.results import accuracy_line

    if output:
        must_be_apart(output, option="--output", data=data)
        must_be_writable(output, option="--output")
    clips = (columns or Columns()).read(data)
    with ConsoleMonitor(quiet=quiet) as monitor:
        metrics = score(
            model,
            clips,
            folder=output,
            corruptions=corruptions,
            baseline=baseline,
            device=device,
            command=reproduction(),
            monitor=monitor,
        )
        about = f"{metrics['n_clips']} clips"
        about += f", {metrics['n_failed']} could not be read" if metrics["n_failed"] else ""
        if metrics.get("n_heard_in_training"):
            about += f", {metrics['n_heard_in_training']} of them heard in training"
        print(accuracy_line(about, metrics))
        if corruptions:
            scores = CorruptionScores.from_dict(metrics["corruptions"])
            print(scores.to_table().round(3).to_string(index=False))
            for line in robustness_lines(scores, metrics.get("corruption_errors")):
                print(printable(line))
        if output:
            monitor.say(f"report: {output / 'report.html'}")
            if corruptions:
                monitor.say(f"robustness: {output / 'robustness.html'}")


def robustness_lines(scores: CorruptionScores, errors: dict[str, Any] | None) -> Iterator[str]:
    """What the table comes to, in one line or two."""
    left = "" if scores.relative is None else f", {scores.relative:.1%} of the accuracy on clean clips"
    held_out = (
        "" if scores.mean_held_out is None else f"; {scores.mean_held_out:.1%} over held-out corruptions"
    )
    yield f"damaged: {scores.mean:.1%} on average{left}{held_out}; {scores.worst} hurts most"
    if errors is not None:
        mce, relative = (
            "not known: the baseline makes no error" if value is None else f"{value:.3f}"
            for value in (errors["mce"], errors["relative_mce"])
        )
        yield f"beside {errors['baseline']}: mean corruption error {mce}, relative {relative}; below 1 is better"


@app.command
def demo(
    *,
    output: Annotated[Path, Parameter(alias="-o")] = Path("runs/demo"),
    device: str = "auto",
) -> None:
    """Synthesise a corpus, train, report and predict: needs nothing but the install.

    Args:
        output: Folder for the corpus and the run; runs/demo without it.
        device: Where the network trains: cpu, cuda, cuda:1, mps; auto takes the fastest there is.
    """
    from earshot.demo import run_demo

    with ConsoleMonitor() as monitor:
        run_demo(output, device=device, monitor=monitor, command=reproduction())
