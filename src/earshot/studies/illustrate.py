"""The figures of a study: of its sounds, of how its networks learned, and of what they confuse.

Conventions: sounds are taken from the data at hand, chosen by measurement and not by name, so that any data set has
its tonal and its broadband example.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from earshot.errors import ConfigError
from earshot.evaluation.metrics import confusion_matrix
from earshot.models import MODELS
from earshot.report.html import inline_svg
from earshot.studies import figures
from earshot.studies.attempts import available
from earshot.studies.bank import FeatureBank
from earshot.studies.data import StudyData
from earshot.studies.outcome import RowResult
from earshot.studies.page import Drawing, Matrix
from earshot.studies.runner import StudyResult
from earshot.studies.spec import Row

_SLICE_S = 0.2  # of which a spectrum is shown: long enough for a hum, short enough for a bark
_LOUD = 1e-3  # root mean square from which a slice is worth looking at
_PICTURES_A_CLASS = 10


def drawings(result: StudyResult) -> list[Drawing]:
    """Every figure of a study, sounds first."""
    made: list[Drawing] = []
    if result.data is not None and result.study.pictures:
        made += _sounds(result.data)
        assert result.bench.bank is not None
        made += _pictures(result.data, result.bench.bank, result.study.pictures)
    for number, row in enumerate(result.results.values()):
        made += _learning(row, number)
        if row.row.toy and row.attempts:
            made += _toy(result, row, number)
    return made


def matrices(result: StudyResult) -> list[Matrix]:
    """Confusion matrices of the rows that want them, learned from and held out side by side."""
    found = []
    items = "clips" if result.data is None or result.data.whole is None else "segments"
    for row in result.results.values():
        if not row.runs or not (row.row.confusion or row.row.confusion_of_training):
            continue
        run = row.runs[0]
        if row.training_confusion is not None:
            found.append(
                Matrix(f"{row.row.label}, {items} learned from", run.classes, row.training_confusion)
            )
        counts = confusion_matrix(run.labels, run.predicted, n_classes=len(run.classes))
        found.append(Matrix(f"{row.row.label}, held-out {items}", run.classes, counts))
    return found


def _sounds(data: StudyData) -> Iterator[Drawing]:
    """A clip's samples, and the spectra of the most tonal and the most broadband slice of the data."""
    tonal, broadband = tonal_and_broadband(data)
    name = data.clips.table["label"].iloc[tonal]
    title = f"{name}: samples"
    figure = figures.waveform(data.waveform(tonal), rate_hz=data.rate_hz, title=title)
    yield _svg(figure, "sound-samples-", f"The samples of one clip ({name}).")
    for kind, i in (("tonal", tonal), ("broadband", broadband)):
        name = data.clips.table["label"].iloc[i]
        power = slice_power(data.waveform(i), rate_hz=data.rate_hz)
        figure = figures.spectrum(power, rate_hz=data.rate_hz, title=f"{name}: a {kind} sound")
        words = f"Power spectrum of {1000 * _SLICE_S:g} ms of the most {kind} clip ({name}), in dB below its peak."
        yield _svg(figure, f"sound-{kind}-", words)


def tonal_and_broadband(data: StudyData) -> tuple[int, int]:
    """The clips whose loudest slice has the least and the most even spectrum."""
    flatness = []
    for i in range(len(data.clips)):
        power = slice_power(data.waveform(i), rate_hz=data.rate_hz) + 1e-20
        loud = power.sum() > _LOUD**2
        even = float(np.exp(np.log(power).mean()) / power.mean())
        flatness.append(even if loud else np.nan)
    measured = np.asarray(flatness)
    if np.isnan(measured).all():
        return 0, 0
    return int(np.nanargmin(measured)), int(np.nanargmax(measured))


def slice_power(samples: NDArray[np.float32], *, rate_hz: int) -> NDArray[np.float64]:
    """Power spectrum of the loudest slice under a Hann window, summing to its mean square. Shape: [T] -> [bins]."""
    n = min(len(samples), max(16, round(_SLICE_S * rate_hz)))
    energy = np.add.reduceat(np.square(samples, dtype=np.float64), np.arange(0, len(samples) - n + 1, n))
    start = int(energy.argmax()) * n
    window = np.hanning(n)
    spectrum = np.fft.rfft(samples[start : start + n] * window)
    return np.asarray(np.square(np.abs(spectrum)) * 2 / (n * np.square(window).sum()))


def _pictures(data: StudyData, bank: FeatureBank, view: str) -> Iterator[Drawing]:
    """One spectrogram with its axes, then ten of each class."""
    pictures = bank.array(view)
    labels = data.clips.labels

    def pixels(i: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(pictures[i, 0].transpose(1, 2, 0))

    name = data.clips.classes[int(labels[0])]
    seconds = data.length / data.rate_hz
    figure = figures.picture(pixels(0), rate_hz=data.rate_hz, seconds=seconds, title=f"{name}: spectrogram")
    yield _svg(figure, "sound-picture-", f"The spectrogram of one clip ({name}) as the networks see it.")
    rows = {
        each: [pixels(int(i)) for i in np.flatnonzero(labels == k)[:_PICTURES_A_CLASS]]
        for k, each in enumerate(data.clips.classes)
    }
    words = f"Up to {_PICTURES_A_CLASS} spectrograms of each class, a class a row."
    yield Drawing(words, png=figures.as_png(figures.class_grid(rows), dpi=100), wide=True)


def _learning(result: RowResult, number: int) -> Iterator[Drawing]:
    """Loss and error (or accuracy) side by side over the epochs."""
    if not result.row.curves or not result.curve("train_loss"):
        return
    panels = {"Loss": {"training": result.curve("train_loss"), "held-out": result.curve("test_loss")}}
    accuracy = {"training": result.curve("train_accuracy"), "held-out": result.curve("test_accuracy")}
    if any(accuracy.values()):
        is_error = result.row.curves == "error"
        panels[result.row.curves.capitalize()] = {
            name: [(epoch, 1 - value if is_error else value) for epoch, value in line]
            for name, line in accuracy.items()
        }
    runs = len(result.attempts) * len(result.attempts[0])
    mean = f", the mean of {runs} trainings" if runs > 1 else ""
    words = f"{result.row.label}: {' and '.join(panels).lower()} over the epochs{mean}."
    drawn = [figures.curves(lines, title=title) for title, lines in panels.items()]
    yield _svg(drawn, f"curves{number}-", words)


def _toy(result: StudyResult, row: RowResult, number: int) -> Iterator[Drawing]:
    toy, probs = result.bench.toy(row.row), row.attempts[0][0].probs
    if row.row.toy == "regression":
        points = np.concatenate([toy.inputs[toy.test], toy.targets[toy.test]], axis=1)
        fit = np.concatenate([toy.inputs[toy.test], probs], axis=1)
        figure = figures.line_fit(points, fit, title=row.row.label)
        yield _svg(
            figure, f"toy{number}-", f"{row.row.label}: the points and what the network makes of them."
        )
        return
    truth = toy.targets[toy.test, 0].astype(np.int64)
    said = (probs[:, 0] > 0.5).astype(np.int64)
    points = toy.inputs[toy.test]
    kinds = {"True class": truth, "Said": said}
    drawn = [figures.clouds(points, kind, title=title) for title, kind in kinds.items()]
    words = f"{row.row.label}: the held-out points by their true class and by what was said."
    yield _svg(drawn, f"toy{number}-", words)


def _svg(drawn: Figure | Sequence[Figure], prefix: str, words: str) -> Drawing:
    panels = [drawn] if isinstance(drawn, Figure) else drawn
    svgs = tuple(inline_svg(figure, prefix=f"{prefix}{i}-") for i, figure in enumerate(panels))
    return Drawing(words, svgs=svgs, wide=len(svgs) > 1)


def layers_of(result: StudyResult) -> Sequence[tuple[str, str, str]]:
    """Name, number of parameters and layer list of each network whose row asks for it.

    A pretrained network is built without its weights, and left out where its architecture is no longer here: a page
    asks for nothing from outside.
    """
    from earshot.models.summary import summarise

    listed = []
    for row in result.results.values():
        if not row.row.layers or row.row.model is None or not row.attempts or row.n_parameters is None:
            continue
        shape, n_classes = _input_of(result, row)
        try:
            network = _untrained(row.row, shape, n_classes)
        except ConfigError:
            continue
        listed.append((row.row.label, f"{row.n_parameters:,}", summarise(network, input_shape=shape)))
    return listed


def _untrained(row: Row, shape: tuple[int, ...], n_classes: int) -> nn.Module:
    model = available(row)
    if hasattr(model, "resolved"):
        model = model.resolved()
    with torch.random.fork_rng([]):
        network: nn.Module = MODELS[model.kind](model, input_shape=shape, n_classes=n_classes)
    return network


def _input_of(result: StudyResult, row: RowResult) -> tuple[tuple[int, ...], int]:
    if row.row.toy:
        toy = result.bench.toy(row.row)
        return toy.inputs.shape[1:], toy.targets.shape[1]
    assert result.bench.bank is not None
    return result.bench.bank.shape(row.row.view), len(result.bench.bank.data.clips.classes)
