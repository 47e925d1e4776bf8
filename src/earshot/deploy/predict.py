"""Files in, rows of predictions out, streamed: memory holds a batch, a bad file keeps its row with the reason."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from earshot.audio.store import Outcome
from earshot.data.clips import Clips
from earshot.deploy.bundle import Bundle, Judgement
from earshot.deploy.choices import Chooser
from earshot.deploy.decoded import decoded
from earshot.errors import ConfigError, complaint
from earshot.evaluation.predictions import safe_cell
from earshot.files import usual_mode

Row = dict[str, Any]
Progress = Callable[[int, int], None]
Said = TypeVar("Said")
STANDARD_OUTPUT = Path("-")
_PARQUET_ROWS = 4096
_CSV_TEXT: dict[str, Any] = {"newline": "", "encoding": "utf-8", "errors": "backslashreplace"}


def score_files(
    bundle: Bundle, clips: Clips, *, on_progress: Progress = lambda done, total: None
) -> Iterator[tuple[Outcome, NDArray[np.float32] | None]]:
    """Decodes and scores each clip, in order.

    Yields:
        The outcome of decoding and the probabilities [K]; None where the clip could not be read.
    """
    return _streamed(bundle, clips, bundle.score, on_progress)


def judge_files(
    bundle: Bundle, clips: Clips, *, on_progress: Progress = lambda done, total: None
) -> Iterator[tuple[Outcome, Judgement | None]]:
    """As `score_files`, with the novelty of each clip, which costs a little more."""
    return _streamed(bundle, clips, bundle.judge, on_progress)


def _streamed(
    bundle: Bundle,
    clips: Clips,
    score: Callable[[Iterable[NDArray[np.int16]]], Iterator[Said]],
    on_progress: Progress,
) -> Iterator[tuple[Outcome, Said | None]]:
    waiting: list[Outcome] = []

    def readable() -> Iterator[NDArray[np.int16]]:
        for outcome, samples in decoded(bundle, clips):
            waiting.append(outcome)
            if samples is not None:
                yield samples

    done = 0
    for said in score(readable()):
        while True:
            outcome = waiting.pop(0)
            done += 1
            yield (outcome, said) if outcome.accepted else (outcome, None)
            if outcome.accepted:
                break
        on_progress(done, len(clips))
    for outcome in waiting:
        yield outcome, None
    on_progress(len(clips), len(clips))


def prediction_rows(
    bundle: Bundle,
    clips: Clips,
    scored: Iterable[tuple[Outcome, NDArray[np.float32] | Judgement | None]],
    *,
    top: int | None = None,
    chooser: Chooser | None = None,
) -> Iterator[Row]:
    """A flat row a clip: file, label, confidence, then a column a class (or the `top` best), status and reason.

    Where every class has its column, a file that failed has NaN (empty cells) in them. A chooser says what stands
    as label, and adds its columns after the confidence.
    """
    # Every row has the same columns: times in all of them as soon as one clip is a part of its file.
    names, times = clips.ids, list(clips.segments())
    has_times = any(start > 0 or end is not None for _, start, end in times)
    chooser = chooser or Chooser(bundle)
    for i, (outcome, said) in enumerate(scored):
        judgement = Judgement(said, None) if isinstance(said, np.ndarray) else said
        own = times[i][1:] if has_times else None
        yield prediction_row(names[i], own, outcome, judgement, chooser=chooser, top=top)


def prediction_row(
    file: str,
    times: tuple[float | None, float | None] | None,
    outcome: Outcome,
    judgement: Judgement | None,
    *,
    chooser: Chooser,
    top: int | None = None,
) -> Row:
    """One row of `prediction_rows`; times are start and end in seconds, None for none in any row."""
    row: Row = {"file": file}
    if times is not None:
        row |= {"start_s": times[0], "end_s": times[1]}
    answer = chooser.answer(judgement, reason=outcome.reason)
    row |= {"label": answer.label, "confidence": answer.confidence, **answer.columns}
    probs = None if judgement is None else judgement.probs
    row |= _class_columns(chooser.classes, probs, top=top, first=0 if chooser.may_refuse else 1)
    return row | {"status": outcome.status, "reason": outcome.reason, "message": outcome.message}


def _class_columns(
    classes: Sequence[str], probs: NDArray[np.float32] | None, *, top: int | None, first: int
) -> Row:
    """A column a class, or names and probabilities of the `top` best from rank `first` on."""
    if top is None:
        values = [None] * len(classes) if probs is None else [round(float(p), 6) for p in probs]
        return {f"p_{name}": value for name, value in zip(classes, values, strict=True)}
    best: list[int] = [] if probs is None else np.argsort(-probs, kind="stable").tolist()
    row: Row = {}
    for rank in range(first, min(top, len(classes))):
        k = None if probs is None else best[rank]
        row[f"label_{rank + 1}"] = "" if k is None else classes[k]
        row[f"confidence_{rank + 1}"] = None if k is None or probs is None else round(float(probs[k]), 6)
    return row


class RowWriter:
    """Writes rows as they come to a `.csv`, `.json` or `.parquet` file that appears, whole, at the end.

    Raises:
        ConfigError: the suffix is none of these, the path is a folder, or pyarrow is not there for Parquet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix.lower() not in _FORMATS:
            rule = f"a file name that ends in {', '.join(_FORMATS)}, or - for standard output"
            raise ConfigError(complaint("-o", "output", str(path), rule))
        if path.is_dir():
            raise ConfigError(complaint("-o", "output", str(path), "a file", "A folder has that name."))
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        self._temporary = Path(name)
        try:
            self._format: Any = _FORMATS[path.suffix.lower()](self._temporary)
        except BaseException:
            self._temporary.unlink()
            raise

    def __enter__(self) -> RowWriter:
        return self

    def write(self, row: Row) -> None:
        """Adds a row."""
        self._format.write(row)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                self._temporary.unlink(missing_ok=True)  # first: closing writes, and the disk may be full
            self._format.close()
            if kind is None:
                self._temporary.chmod(usual_mode())
                self._temporary.replace(self.path)
        except OSError:
            self._temporary.unlink(missing_ok=True)
            if kind is None:
                raise


class RowPrinter:
    """Writes rows as CSV to standard output, each at once: whoever reads a pipe need not wait for the end."""

    def __enter__(self) -> RowPrinter:
        self._text = io.TextIOWrapper(sys.stdout.buffer, line_buffering=True, **_CSV_TEXT)
        self._rows = _Csv(self._text)
        return self

    def write(self, row: Row) -> None:
        """Prints a row."""
        self._rows.write(row)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._text.detach()  # standard output stays open


def row_writer(output: Path) -> RowWriter | RowPrinter:
    """What writes rows to a file, or, for `-`, to standard output.

    Raises:
        ConfigError: as `RowWriter`.
    """
    return RowPrinter() if output == STANDARD_OUTPUT else RowWriter(output)


class _Csv:
    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._writer: Any = None

    def write(self, row: Row) -> None:
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, [safe_cell(name) for name in row])
            self._writer.writeheader()
        self._writer.writerow({safe_cell(k): safe_cell(v) for k, v in row.items()})

    def close(self) -> None:
        self._file.close()


class _Json:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._file.write("[")
        self._separator = "\n"

    def write(self, row: Row) -> None:
        self._file.write(self._separator + json.dumps(row))
        self._separator = ",\n"

    def close(self) -> None:
        self._file.write("\n]\n")
        self._file.close()


class _Parquet:
    def __init__(self, path: Path) -> None:
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                "-o: Parquet needs pyarrow, which is not installed. Run `pip install pyarrow`, "
                "or choose .csv."
            ) from error
        self._path = path
        self._rows: list[Row] = []
        self._writer: Any = None

    def write(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) == _PARQUET_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._rows:
            return
        schema = pa.schema([(name, _arrow_type(pa, name)) for name in self._rows[0]])
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, schema)
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=schema))
        self._rows = []

    def close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()


def _arrow_type(pa: Any, column: str) -> Any:
    numeric = column.startswith(("p_", "confidence")) or column in ("start_s", "end_s", "novelty")
    return pa.float64() if numeric else pa.string()


_FORMATS: dict[str, Callable[[Path], Any]] = {
    ".csv": lambda path: _Csv(path.open("w", **_CSV_TEXT)),
    ".json": _Json,
    ".parquet": _Parquet,
}


def predict_paths(
    model: Bundle,
    sources: Sequence[str | Path],
    *,
    with_novelty: bool = False,
    on_progress: Progress = lambda d, t: None,
) -> tuple[Clips, Iterator[tuple[Outcome, Any]]]:
    """The sounds of files and folders, any depth, and the stream of their scores.

    Args:
        with_novelty: yield a `Judgement` in place of probabilities.

    Raises:
        EarshotError: nothing is found.
    """
    from earshot.data.readers import read_clips

    clips = read_clips([str(source) for source in sources], labels=False)
    score = judge_files if with_novelty else score_files
    return clips, score(model, clips, on_progress=on_progress)
