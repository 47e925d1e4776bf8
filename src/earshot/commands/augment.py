"""The command that writes an augmented corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from earshot.commands.app import Columns, app
from earshot.console import ConsoleMonitor
from earshot.errors import ConfigError, complaint


@app.command
def augment(
    data: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    copies: int | None = None,
    steps: Path | None = None,
    seed: int | None = None,
    rate_hz: int | None = None,
    file_format: Annotated[Literal["flac", "wav"] | None, Parameter(name="--format")] = None,
    test_fold: int | None = None,
    hold_out: float | None = None,
    columns: Columns | None = None,
    quiet: bool = False,
) -> None:
    """Write each training clip and its variants to disk; clips of the test side stay as they are.

    Re-run the same command to continue one that was stopped.

    Args:
        data: Labelled sounds, in any form that `train` takes.
        output: Folder of the augmented corpus; train on its clips.csv.
        copies: Variants of each clip, besides itself; 19 without it.
        steps: TOML file of settings and steps; the published steps without it.
        seed: Of every draw; 0 without it.
        rate_hz: Rate of the files; each clip's own without it.
        file_format: Format of the files, 16 bit; flac without it.
        test_fold: Make this fold of the data the test side.
        hold_out: Make about this share of each class the test side, by whole groups.
        quiet: Print nothing but errors.
    """
    from earshot.data.augmented import load_offline_config, with_test_side, write_augmented

    if data.is_dir() and data.resolve() in output.resolve().parents:
        fix = "Inside, it would be taken for a class."
        raise ConfigError(complaint("--output", "folder", str(output), f"one outside of {data}", fix))
    config = load_offline_config(steps, copies=copies, seed=seed, rate_hz=rate_hz, format=file_format)
    clips = (columns or Columns()).read(data)
    clips = with_test_side(clips, test_fold=test_fold, test_fraction=hold_out, seed=config.seed)
    with ConsoleMonitor(quiet=quiet) as monitor:
        written = write_augmented(clips, output, config=config, monitor=monitor)
        monitor.say(
            f"{written.n_sources} clips: {written.n_written} files written, {written.n_kept} kept, "
            f"{len(written.skipped)} clips left out"
        )
        monitor.say(f"train on: {written.clips_csv}")
