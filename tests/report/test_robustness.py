import re
from html.parser import HTMLParser

import numpy as np
import pytest

from earshot.audio.corruptions import CORRUPTIONS
from earshot.evaluation.corruptions import CorruptionScores, mean_corruption_error
from earshot.report.robustness import (
    RobustnessValues,
    group_curves,
    overview,
    render_robustness,
    spoken,
    write_robustness,
)

HOSTILE = '<script>alert("1")</script> & "quoted"'
SCORES = CorruptionScores(
    0.9,
    {
        "white_noise": (0.9, 0.8, 0.6, 0.4, 0.2),
        "gain": (0.9, 0.9, 0.9, 0.9, 0.9),
        "babble": (0.9, 0.7, 0.5, 0.5, 0.4),
    },
    frozenset({"babble"}),
    (0.6, 0.75),
    400,
)  # fmt: skip
WORSE = CorruptionScores(
    0.8, {name: tuple(v / 2 for v in each) for name, each in SCORES.accuracy.items()}, n_clips=400
)


def values(**options):
    return RobustnessValues(**({"title": "t", "created": "now", "command": "c", "scores": SCORES} | options))


def text_of(page):
    """The words of a page, without markup."""
    words = []

    class Reader(HTMLParser):
        def handle_data(self, data):
            words.append(data)

    Reader().feed(page)
    return re.sub(r"\s+", " ", " ".join(words)).replace("\u202f", " ")


def test_the_page_says_what_is_left_what_hurts_most_and_what_was_held_out():
    text = text_of(render_robustness(values()))
    assert "69.3 % of the damaged clips are right on average: 77 % of the accuracy on clean clips." in text
    assert (
        "White noise hurts most: 58.0 % over its severities, 20.0 % at the worst of them (SNR in dB: 0)"
        in text
    )
    assert "1 of 3 corruptions were held out" in text
    assert "mCE" not in text


def test_rows_are_worst_first_shaded_by_what_is_lost_and_marked():
    page = render_robustness(values())
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', page)
    assert [re.sub("<.*", "", name).strip() for name, _ in rows] == ["white noise", "babble", "gain"]
    assert [("held out" in name) for name, _ in rows] == [False, True, False]
    shades = [re.findall(r'<td class="(w\d)"', cells) for _, cells in rows]
    assert shades[0][:5] == ["w0", "w3", "w5", "w6", "w6"]
    assert set(shades[2]) == {"w0"}
    assert 'title="white noise, severity 3 (SNR in dB: 15): 60.0' in page


def test_with_a_baseline_the_errors_stand_beside_it():
    errors = mean_corruption_error(SCORES, WORSE)
    text = text_of(render_robustness(values(errors=errors, baseline="plain")))
    assert f"Mean corruption error beside plain: {errors.mean:.3f}" in text
    assert f"Relative mean corruption error: {errors.relative_mean:.3f}" in text
    assert text.count(f"{errors.each['babble']:.2f}") >= 1


def test_corruptions_without_a_ratio_are_named():
    same = CorruptionScores(0.9, dict.fromkeys(SCORES.accuracy, (0.9,) * 5), n_clips=400)
    text = text_of(render_robustness(values(errors=mean_corruption_error(SCORES, same), baseline="b")))
    assert "Without a ratio, because they cost the baseline nothing: babble, gain, white noise" in text
    perfect = CorruptionScores(1.0, dict.fromkeys(SCORES.accuracy, (1.0,) * 5), n_clips=400)
    text = text_of(render_robustness(values(errors=mean_corruption_error(SCORES, perfect), baseline="b")))
    assert "b makes no error on any damaged clip" in text


def test_hostile_text_stays_text_and_nothing_is_fetched():
    errors = mean_corruption_error(SCORES, WORSE)
    options = dict.fromkeys(("title", "command", "protocol", "baseline", "created"), HOSTILE)
    page = render_robustness(values(errors=errors, notes=[HOSTILE], **options))
    assert "<script" not in page
    assert HOSTILE in text_of(page)
    assert re.findall(r'(?:src|href)="(?!#)', page) == []
    assert "http://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)


def test_everything_held_out_or_nothing_is_said():
    none = CorruptionScores(0.9, SCORES.accuracy, n_clips=4)
    assert "none is held out" in text_of(render_robustness(values(scores=none)))
    everything = CorruptionScores(0.0, {"mystery": (0.0, 0.0)}, frozenset({"mystery"}), n_clips=4)
    text = text_of(render_robustness(values(scores=everything)))
    assert "Mystery hurts most: 0.0 % over its severities" in text


def test_curves_start_at_the_clean_clips_and_have_a_line_a_corruption():
    [axes] = group_curves(SCORES, ["white_noise", "babble"]).axes
    first = axes.lines[0]
    np.testing.assert_allclose(first.get_ydata(), [90, 90, 80, 60, 40, 20])
    assert [each.get_text() for each in axes.get_legend().get_texts()] == ["white noise", "babble"]
    assert axes.lines[0].get_color() != axes.lines[1].get_color()
    [axes] = overview(SCORES).axes
    np.testing.assert_allclose(axes.lines[-2].get_ydata(), [90, 90, 70, 50, 50, 40])
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), [90, 90, 85, 75, 65, 55])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_of_the_suite_has_a_kind_and_a_name(name):
    scores = CorruptionScores(0.9, {name: (0.5,) * 5}, n_clips=2)
    page = render_robustness(values(scores=scores))
    assert spoken(name) in page
    assert "<h3>Others</h3>" not in page


def test_the_page_is_written_whole(tmp_path):
    write_robustness(tmp_path / "page.html", values())
    assert (tmp_path / "page.html").read_text().endswith("</html>")
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
