"""What the commands share: the application, and options that several of them take."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App, Parameter

import earshot
from earshot.errors import ConfigError, EarshotError, complaint

if TYPE_CHECKING:
    from earshot.data.clips import Clips

app = App(
    name="earshot",
    help="Turn a folder of labelled sounds into a classifier you can trust, explain and ship.",
    version=earshot.__version__,
    version_flags=["--version"],
    default_parameter=Parameter(negative=(), show_default=False),
    suppress_keyboard_interrupt=False,  # `exits` says what Ctrl-C means here
)


@Parameter(name="*", negative=())
@dataclass(frozen=True, kw_only=True)
class SoundColumns:
    """Where a table of sounds keeps things.

    Args:
        path_column: Column of the paths in a CSV file; the usual names are found unasked. So for the others.
        start_column: Column of each clip's start in its file, in seconds.
        end_column: Column of each clip's end in its file, in seconds.
        audio_root: Folder that the paths of a table start from.
        where: Keep rows by a column's value, for instance esc10=True; commas separate alternatives.
    """

    path_column: str | None = None
    start_column: str | None = None
    end_column: str | None = None
    audio_root: Path | None = None
    where: tuple[str, ...] = ()

    def read(self, data: Path | Sequence[Path]) -> Clips:
        """The clips of files, folders and tables."""
        return self._read(data, labels=False)

    def _read(self, data: Path | Sequence[Path], *, labels: bool) -> Clips:
        from earshot.data.readers import read_clips

        options = asdict(self)
        where: dict[str, str] = {}
        for condition in options.pop("where"):
            column, equals, value = condition.partition("=")
            if not equals:
                raise EarshotError(complaint("--where", "condition", condition, "COLUMN=VALUE"))
            if column in where:
                fix = f"Join alternatives with a comma: {column}={where[column]},{value}"
                raise EarshotError(complaint("--where", "condition", condition, "each column once", fix))
            where[column] = value
        return read_clips(data, where=where or None, labels=labels, **options)


@Parameter(name="*", negative=())
@dataclass(frozen=True, kw_only=True)
class Columns(SoundColumns):
    """Where a table of labelled sounds keeps things.

    Args:
        label_column: Column of the labels; several labels a clip as "a;b".
        group_column: Column of the source recording, speaker, site or device.
        fold_column: Column of the official folds.
        split_column: Column that says train, valid or test.
    """

    label_column: str | None = None
    group_column: str | None = None
    fold_column: str | None = None
    split_column: str | None = None

    def read(self, data: Path | Sequence[Path]) -> Clips:
        """The clips of DATA with their labels."""
        return self._read(data, labels=True)


def name_of(data: Path) -> str:
    """What runs and audits of some data are called: the folder's name, or the table's without its suffix."""
    from earshot.data.fields import printable
    from earshot.data.readers import TABLE_EXTENSIONS

    path = data.resolve()
    return printable(path.stem if path.suffix.lower() in TABLE_EXTENSIONS else path.name)


def reproduction() -> str:
    """The command that was given, as one line for a shell."""
    from earshot.data.fields import printable

    return printable(shlex.join(["earshot", *sys.argv[1:]]))


def must_be_apart(folder: Path, *, option: str, data: Path | None = None) -> None:
    """Refuses to write results among sounds, which would be taken for a class or a clip, or over those of a run.

    Raises:
        ConfigError: `folder` is `data`, or holds sounds or a run.
    """
    from earshot.audio.decode import AUDIO_EXTENSIONS

    if not folder.is_dir():
        return
    inside = {each.name for each in folder.iterdir() if each.name != "salient.wav"}  # a page of explain
    sounds = sorted(name for name in inside if Path(name).suffix.lower() in AUDIO_EXTENSIONS)
    what = "the data" if data is not None and folder.resolve() == data.resolve() else ""
    what = f"sounds, such as {sounds[0]}" if sounds else what
    what = "a run" if "experiment.toml" in inside else what
    if what:
        raise ConfigError(
            complaint(option, "folder", str(folder), "a folder of its own", f"This one holds {what}.")
        )


def must_be_writable(folder: Path, *, option: str) -> None:
    """Says so before hours of work where a folder cannot be made or written to.

    Raises:
        ConfigError: it cannot.
    """
    try:
        made = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for each in made:
            each.rmdir()  # nothing is left of work that comes to nothing
    except OSError as error:
        rule = "a folder that can be made and written to"
        raise ConfigError(complaint(option, "folder", str(folder), rule, f"{error.strerror}.")) from error
