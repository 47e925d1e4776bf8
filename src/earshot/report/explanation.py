"""Pictures of what a model hears in a sound: values in, figures and images out; nothing is computed of the model.

Conventions: spectrograms and saliency are drawn over time and mel; maps [C, M, F] have the lowest row first; the
strongest filters are drawn first, `MAX_MAPS` of them at the most.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from earshot.audio.log_mel import hz_to_mel
from earshot.report.plots import COLOURS, CURVE_SIZE_INCHES

Floats = NDArray[np.floating[Any]]

MAX_MAPS = 64
MAX_FILTERS = 24
RANGE_DB = 80.0
_ROWS, _COLUMNS = 128, 400  # of a spectrogram as it is drawn
_POINTS = 240  # of a curve as it is drawn
_TILE = (48, 80)  # pixels of a map in a picture of many
_TICKS_HZ = (0, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000)
_MOST_COLUMNS, _PITCH = 4, 1.3  # of small panels side by side
_HOT = LinearSegmentedColormap.from_list(
    "hot", [(1.0, 0.75, 0.1, 0.0), (1.0, 0.6, 0.1, 0.55), (0.9, 0.25, 0.05, 0.85)]
)


def spectrogram(
    levels_db: Floats,
    *,
    duration_s: float,
    rate_hz: int,
    start_s: float = 0.0,
    saliency: Floats | None = None,
) -> Figure:
    """A spectrogram over mel, in grey; where there is a map of what matters, in colour on top of it.

    Args:
        levels_db: dB re the loudest, [bins, frames], from 0 Hz to half the rate.
        saliency: [bands, times], not negative, bands even in mel; any scale.
    """
    figure = Figure(figsize=(CURVE_SIZE_INCHES[0], 2.9), layout="constrained")
    axes = figure.add_subplot()
    top_mel = _mel(rate_hz / 2.0)
    extent = (start_s, start_s + duration_s, 0.0, top_mel)
    rows = np.linspace(0.0, top_mel, _ROWS)
    bins_mel = hz_to_mel(np.linspace(0.0, rate_hz / 2.0, len(levels_db)), "slaney")
    image = levels_db[np.abs(bins_mel[None, :] - rows[:, None]).argmin(axis=1)]
    image = _fewer(image, _COLUMNS)
    axes.imshow(
        image,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="gray",
        vmin=-RANGE_DB,
        vmax=0,
        interpolation="none",
    )
    if saliency is not None and saliency.max() > 0:
        shown = np.sqrt(saliency / np.quantile(saliency[saliency > 0], 0.98)).clip(0, 1)
        axes.imshow(
            shown,
            origin="lower",
            aspect="auto",
            extent=extent,
            cmap=_HOT,
            vmin=0,
            vmax=1,
            interpolation="none",
        )
    _frequency_ticks(axes, rate_hz)
    axes.set_xlabel("seconds", fontsize=10, color=COLOURS["muted"])
    _quiet(axes)
    return figure


def deletion_curves(
    shares: Sequence[float], own: tuple[Floats, Floats], random: Sequence[tuple[Floats, Floats]]
) -> Figure:
    """The probability as parts are taken away (left) and given back (right), in a map's order and in random ones.

    Args:
        own: deletion and insertion of the map.
        random: of each random order.
    """
    figure = Figure(figsize=(CURVE_SIZE_INCHES[0], 2.3), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for i, (axes, title) in enumerate(zip(panels, ("taken away", "given back"), strict=True)):
        for each in random:
            axes.plot(shares, each[i], color=COLOURS["muted"], linewidth=0.7, alpha=0.35)
        axes.plot(shares, own[i], color=COLOURS["held-out"], linewidth=2.2, marker="o", markersize=3)
        _quiet(axes)
        axes.grid(axis="y", color=COLOURS["line"], linewidth=0.8)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        axes.set_title(title, loc="left", fontsize=10, color=COLOURS["text"])
    panels[0].set_ylabel("probability", fontsize=10, color=COLOURS["muted"])
    return figure


def traces(curves: Floats, *, start: float, end: float, label: str) -> Figure:
    """Curves one above the other, each in its own range. Shape: [C, T], C <= MAX_MAPS.

    Args:
        start, end: of what they lie along; `label` says what it is.
    """
    n = len(curves)
    height = float(np.clip(0.16 * n + 0.4, 1.2, 7.0))
    figure = Figure(figsize=(CURVE_SIZE_INCHES[0], height), layout="constrained")
    axes = figure.add_subplot()
    shown = _fewer(curves, _POINTS)
    places = start + (np.arange(shown.shape[1]) + 0.5) / shown.shape[1] * (end - start)
    low, high = shown.min(axis=1, keepdims=True), shown.max(axis=1, keepdims=True)
    scaled = (shown - low) / np.maximum(high - low, 1e-12) * 0.85
    for i, curve in enumerate(scaled):
        axes.plot(places, curve + n - 1 - i, color=COLOURS["held-out"], linewidth=0.9)
    axes.set_ylim(-0.15, n)
    axes.set_xlim(start, end)
    axes.set_yticks([])
    axes.set_xlabel(label, fontsize=9, color=COLOURS["muted"])
    _quiet(axes)
    return figure


def bars(values: Floats) -> Figure:
    """Numbers side by side, such as the units of a dense layer. Shape: [C]."""
    figure = Figure(figsize=(CURVE_SIZE_INCHES[0], 1.2), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(np.arange(len(values)), values, width=0.85, color=COLOURS["held-out"])
    _quiet(axes)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    return figure


def curves_grid(x: Floats, curves: Floats, *, x_label: str, dots: bool = False) -> Figure:
    """Small panels, one a curve, each in its own range, in the order given. Shape: [n], [C, n].

    They are drawn into one pair of axes: two dozen pairs took seconds to lay out.
    """
    n_columns = min(_MOST_COLUMNS, len(curves))
    n_rows = -(-len(curves) // n_columns)
    figure = Figure(figsize=(CURVE_SIZE_INCHES[0], 0.5 + 0.55 * n_rows), layout="constrained")
    axes = figure.add_subplot()
    low, high = curves.min(axis=1, keepdims=True), curves.max(axis=1, keepdims=True)
    scaled = (curves - low) / np.maximum(high - low, 1e-12)
    along = (x - x[0]) / max(float(x[-1] - x[0]), 1e-12)
    marker = "o" if dots else None
    for i, curve in enumerate(scaled):
        row, column = divmod(i, n_columns)
        place = (along + _PITCH * column, curve - _PITCH * row)
        axes.plot(*place, color=COLOURS["held-out"], linewidth=1.2, marker=marker, markersize=2.5)
    starts = _PITCH * np.arange(n_columns)
    ends = np.stack([starts, starts + 1.0], axis=1).ravel()
    axes.set_xticks(ends, [f"{x[0]:g}", f"{x[-1]:g}"] * n_columns)
    axes.set_yticks([])
    axes.set_xlabel(x_label, fontsize=9, color=COLOURS["muted"])
    _quiet(axes)
    return figure


def strongest(activations: Floats, *, n: int = MAX_MAPS) -> NDArray[np.int64]:
    """The filters that respond most, by mean square, in that order. Shape: [C, ...] -> [min(C, n)]."""
    strength = np.square(activations).reshape(len(activations), -1).mean(axis=1)
    return np.argsort(-strength, kind="stable")[:n]


def maps_image(maps: Floats) -> str:
    """Maps side by side as one picture, a data URI; each has its own range, lowest row at the bottom.

    Shape: [C, M, F], C <= MAX_MAPS.
    """
    n_columns = min(8, len(maps))
    n_rows = -(-len(maps) // n_columns)
    height, width = (min(most, size * 16) for most, size in zip(_TILE, maps.shape[1:], strict=True))
    rows = np.arange(height) * maps.shape[1] // height
    columns = np.arange(width) * maps.shape[2] // width
    sheet = np.full((n_rows * (height + 2) - 2, n_columns * (width + 2) - 2), 128, np.uint8)
    for i, values in enumerate(maps[:, ::-1][:, rows][:, :, columns]):
        row, column = divmod(i, n_columns)
        low, high = float(values.min()), float(values.max())
        tile = 25 + 230 * (values - low) / max(high - low, 1e-12)
        top, left = row * (height + 2), column * (width + 2)
        sheet[top : top + height, left : left + width] = tile.astype(np.uint8)
    return png_uri(sheet)


def png_uri(grey: NDArray[np.uint8]) -> str:
    """A grey picture in 32 steps as a data URI. Shape: [height, width]."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(grey & 0xF8).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _fewer(values: Floats, n: int) -> Floats:
    """At most n columns: means of neighbours. Shape: [C, T] -> [C, min(T, n)]."""
    if values.shape[1] <= n:
        return values
    edges = np.linspace(0, values.shape[1], n + 1).astype(int)[:-1]
    sums = np.add.reduceat(values, edges, axis=1)
    return np.asarray(sums / np.diff([*edges, values.shape[1]]))


def _mel(frequency_hz: float) -> float:
    return float(hz_to_mel(np.array([frequency_hz]), "slaney")[0])


def _frequency_ticks(axes: Axes, rate_hz: int) -> None:
    ticks = [hz for hz in _TICKS_HZ if hz <= rate_hz / 2.0]
    names = [f"{hz / 1000:g} kHz" if hz >= 1000 else f"{hz} Hz" for hz in ticks]
    axes.set_yticks([_mel(hz) for hz in ticks], names)


def _quiet(axes: Axes) -> None:
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=COLOURS["muted"], labelsize=9, pad=4)
