"""The command that looks at data before anything is trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from earshot.commands.app import Columns, app, must_be_apart, must_be_writable, name_of, reproduction
from earshot.console import ConsoleMonitor
from earshot.errors import ConfigError, complaint

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000


@app.command
def audit(
    data: Path,
    /,
    *,
    columns: Columns | None = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    fix_list: Path | None = None,
    rate_hz: int = 44_100,
    no_models: bool = False,
    no_sounds: bool = False,
    quiet: bool = False,
) -> None:
    """Find what is wrong with the data: broken, silent and copied clips, leaks, shortcuts, doubtful labels.

    Re-run the same command to continue one that was stopped.

    Args:
        data: Folder, CSV file or name of a corpus.
        output: Folder for audit.csv, audit.html and grouped.csv; runs/audit-NAME without it.
        fix_list: CSV file for the clips to drop, merge or check.
        rate_hz: Rate at which clips are heard; nothing is known above half of it.
        no_models: Do not look for shortcuts, leaks and doubtful labels.
        no_sounds: Leave sounds out of audit.html; spectrograms stay.
        quiet: Print nothing but results and errors.
    """
    from earshot.audit.auditing import audit as look
    from earshot.audit.output import summary_text, write_fix_list, write_tables
    from earshot.audit.page import write_audit_page
    from earshot.recipe import AudioConfig

    folder = output or Path("runs") / f"audit-{name_of(data)}"
    clips = (columns or Columns()).read(data)
    must_be_apart(folder, option="--output", data=data)
    must_be_writable(folder, option="--output")
    if fix_list:
        must_be_writable(fix_list.parent, option="--fix-list")
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        rule = f"a rate from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}"
        raise ConfigError(complaint("audit", "--rate-hz", rate_hz, rule))
    with ConsoleMonitor(quiet=quiet) as monitor:
        found = look(
            clips,
            folder=folder,
            audio=AudioConfig(rate_hz=rate_hz),
            models=not no_models,
            monitor=monitor,
        )
        write_tables(found, folder)
        monitor.say("audit: writing the page")
        write_audit_page(
            found,
            folder / "audit.html",
            title=name_of(data),
            command=reproduction(),
            sounds=not no_sounds,
        )
        print(summary_text(found))
        if fix_list:
            n_rows = write_fix_list(found, fix_list)
            monitor.say(f"fix list: {fix_list}, {n_rows} rows")
        monitor.say(f"page: {folder / 'audit.html'}\ntable: {folder / 'audit.csv'}")
