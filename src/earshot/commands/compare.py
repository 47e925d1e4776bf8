"""The command that compares runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from earshot.commands.app import app, must_be_writable, reproduction
from earshot.console import ConsoleMonitor


@app.command
def compare(
    *runs: Annotated[Path, Parameter(required=True)],
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    no_latency: bool = False,
    quiet: bool = False,
) -> None:
    """Say which run is ahead on the same clips, by how much, whether it can be luck, and at what cost.

    Args:
        runs: Run folders of train, or folders of evaluate -o; two or more.
        output: Folder for comparison.html, comparison.csv (the pairs) and runs.csv.
        no_latency: Do not time the models.
        quiet: Print nothing but results and errors.
    """
    from earshot.comparing import compare_runs, comparison_values, write_comparison
    from earshot.report.comparison_text import comparison_text

    if output:
        must_be_writable(output, option="--output")
    with ConsoleMonitor(quiet=quiet) as monitor:
        compared = compare_runs(runs, latency=not no_latency, monitor=monitor)
        print(comparison_text(comparison_values(compared)))
        if output:
            write_comparison(compared, output, command=reproduction())
            monitor.say(f"comparison: {output / 'comparison.html'}")
