"""The command that runs a textbook study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from earshot.commands.app import app, reproduction
from earshot.console import ConsoleMonitor
from earshot.errors import EarshotError, complaint


@app.command
def study(
    name: str,
    /,
    *,
    data: Path | None = None,
    protocol: str = "",
    quick: bool = False,
    rows: str = "*",
    runs: int | None = None,
    folds: str = "",
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    device: str = "auto",
    quiet: bool = False,
) -> None:
    """Run a textbook study: its tables and figures, with the published ones beside ours.

    Re-run the same command to continue one that was stopped; finished experiments are kept.

    Args:
        name: esc10-ladder, mel-mlp-cnn, views, cats-dogs or voice-gender.
        data: Folder of the clips; without it the folders that the study names are looked for.
        protocol: grouped, the default, is honest; book repeats the source, mistakes included; views has folds.
        quick: Every row on a fraction of clips and epochs, to see that it works.
        rows: Only the rows whose ids match these patterns, with commas in between.
        runs: Trainings of each row that the study trains several times.
        folds: Judge only these official folds, with commas in between.
        output: Folder for features, finished experiments and pages; runs/study-NAME without it.
        device: Where networks train: cpu, cuda, cuda:1, mps; auto takes the fastest there is.
        quiet: Print nothing but results and errors.
    """
    from earshot.studies.request import StudyRun
    from earshot.studies.study import run_study

    numbers = [fold.strip() for fold in folds.split(",") if fold.strip()]
    if not all(fold.isdecimal() for fold in numbers):
        raise EarshotError(complaint("--folds", "folds", folds, "whole numbers with commas in between"))
    with ConsoleMonitor(quiet=quiet) as monitor:
        finished = run_study(
            StudyRun(
                study=name,
                data=data,
                folder=output or Path("runs") / f"study-{name}",
                protocol=protocol,
                quick=quick,
                rows=rows,
                runs=runs,
                folds=tuple(int(fold) for fold in numbers),
                device=device,
                command=reproduction(),
                monitor=monitor,
            )
        )
    print(finished.text)
    print(f"\npage: {finished.page}\ntable: {finished.markdown}")
