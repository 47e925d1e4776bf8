import base64
import io

import numpy as np
import pytest
from PIL import Image

from earshot.report.explanation import MAX_MAPS, curves_grid, maps_image, spectrogram, strongest, traces
from earshot.report.page import inline_svg


def opened(uri):
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("L"))


def test_the_strongest_filters_come_first_and_no_more_than_are_shown():
    maps = np.arange(100.0)[:, None, None] * np.ones((100, 4, 5))
    order = strongest(maps)
    assert len(order) == MAX_MAPS
    assert order[:2].tolist() == [99, 98]


def test_the_lowest_row_of_a_map_is_at_the_bottom_of_its_picture():
    maps = np.zeros((1, 4, 6), np.float32)
    maps[0, 0] = 1.0
    picture = opened(maps_image(maps))
    assert picture[-1].min() > 200
    assert picture[0].max() < 40


def test_a_flat_map_is_drawn():
    assert opened(maps_image(np.full((3, 1, 7), 2.0))).size > 0


@pytest.mark.parametrize("saliency", [None, np.zeros((4, 5)), np.eye(4, 5)])
def test_a_spectrogram_has_axes_in_hertz_and_seconds(saliency):
    levels = -80 * np.random.default_rng(0).random((129, 700))
    figure = spectrogram(levels, duration_s=2.0, rate_hz=16_000, start_s=3.0, saliency=saliency)
    text = inline_svg(figure, prefix="a-")
    assert "seconds" in text
    assert "4 kHz" in text
    assert figure.axes[0].get_xlim() == (3.0, 5.0)
    assert len(figure.axes[0].images) == (2 if saliency is not None and saliency.any() else 1)


def test_curves_have_a_line_each():
    curves = np.random.default_rng(0).standard_normal((7, 1_000))
    assert len(traces(curves, start=0.0, end=1.0, label="seconds").axes[0].lines) == 7
    figure = curves_grid(np.arange(1_000.0), curves, x_label="tap")
    assert len(figure.axes[0].lines) == 7
    for line in figure.axes[0].lines:
        assert np.ptp(line.get_ydata()) == pytest.approx(1)
