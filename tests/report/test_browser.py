"""The report in a real browser without a network: it plays, opens, closes, and asks for nothing."""

import shutil

import pytest

from earshot.report.html import render
from earshot.report.media import Embedding

from . import browser as chromium
from .clips_to_show import predicted, values

HOSTILE_CLASS = "<script>alert(1)</script>"
HOSTILE_FILE = '"><img src=x onerror=alert(1)>.wav'

pytestmark = pytest.mark.skipif(chromium.program() is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    classes = ("hum", HOSTILE_CLASS, "ticks")
    ids = tuple(f"{i}{HOSTILE_FILE}" for i in range(48))
    predictions = predicted(classes, n=16, ids=ids)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(values(predictions)), "utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    profile = tmp_path_factory.mktemp("profile")
    opened = chromium.Browser(profile)
    yield opened
    opened.close()
    shutil.rmtree(profile, ignore_errors=True)


def test_the_page_loads_without_complaint_or_request_and_hostile_names_stay_text(browser, page):
    browser.open(page)
    browser.wait_for("document.querySelectorAll('#errors .clip').length > 0")
    browser.wait_for("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.complaints == []
    assert browser.requests == [page.as_uri()]
    assert browser.run("document.querySelectorAll('img[src=x]').length") == 0
    assert browser.run("document.scripts.length") == 2
    text = browser.run("document.getElementById('errors').textContent")
    assert HOSTILE_FILE in text
    assert HOSTILE_CLASS in text


def test_a_script_that_got_in_would_not_run(browser, page):
    browser.open(page)
    browser.run("(() => { const s = document.createElement('script'); s.textContent = 'window.got = 1';"
                " document.body.append(s); })()")  # fmt: skip
    assert browser.run("window.got === undefined")
    assert any("Content Security Policy" in each for each in browser.complaints)


def test_pressing_play_plays_the_sound_and_a_second_one_stops_the_first(browser, page):
    browser.open(page)
    browser.click("#errors .clip .play")
    sound = "document.querySelector('#errors audio')"
    browser.wait_for(f"{sound}.readyState >= 2 && {sound}.currentTime > 0.05")
    assert browser.run(f"{sound}.duration") == pytest.approx(0.6, abs=0.15)
    browser.click("#errors .clip:nth-child(2) .play")
    browser.wait_for("document.querySelectorAll('#errors audio')[1].currentTime > 0")
    assert browser.run(f"{sound}.paused")
    assert browser.complaints == []


def test_the_matrix_opens_by_keyboard_and_escape_gives_the_focus_back(browser, page):
    browser.open(page)
    browser.run("document.querySelector('table.matrix button[tabindex=\"0\"]').focus()")
    first = browser.run("document.activeElement.dataset.cell")
    browser.press("ArrowRight", code=39)
    cell = browser.run("document.activeElement.dataset.cell")
    assert cell.split(",")[0] == first.split(",")[0]
    assert cell != first
    browser.press("Enter", code=13, text="\r")
    browser.wait_for("document.querySelector('dialog').open")
    n = int(browser.run("document.querySelector('table.matrix button[tabindex=\"0\"]').dataset.n"))
    assert browser.run("document.querySelectorAll('dialog .clip').length") == min(n, 6)
    assert browser.run("document.querySelector('dialog').contains(document.activeElement)")
    heading = browser.run("document.querySelector('dialog h2').textContent")
    assert heading == f"“hum” taken for “{HOSTILE_CLASS}”"
    browser.press("Escape", code=27)
    browser.wait_for("!document.querySelector('dialog').open")
    assert browser.run("document.activeElement.dataset.cell") == cell
    assert browser.complaints == []


def test_more_mistakes_come_a_page_at_a_time(browser, page):
    browser.open(page)
    n_errors = browser.run("JSON.parse(document.getElementById('clips').textContent).errors.length")
    assert n_errors > 6
    assert browser.run("document.querySelectorAll('#errors .clip').length") == 6
    browser.click("#more-errors")
    assert browser.run("document.querySelectorAll('#errors .clip').length") == min(n_errors, 18)
    assert browser.run(
        "document.activeElement.closest('.clip') === document.querySelectorAll('#errors .clip')[6]"
    )


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(browser, page, width, dark, tmp_path):
    browser.open(page, width=width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    back = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, back[4:-1].split(","))) < 80) == dark
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000


def test_a_page_without_sounds_has_pictures_and_no_players(browser, tmp_path):
    text = render(values(predicted(), embedding=Embedding(sounds=False)))
    (tmp_path / "silent.html").write_text(text, "utf-8")
    browser.open(tmp_path / "silent.html")
    browser.wait_for("document.querySelectorAll('#errors img').length > 0")
    assert browser.run("document.querySelectorAll('audio, .play').length") == 0
    assert "Sounds were left out as asked" in browser.run("document.body.textContent")


def test_names_from_right_to_left_keep_to_themselves_and_right_answers_say_their_order(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render(values(predicted(("كلب", "dog", "ticks"), n=16))), "utf-8")
    browser.open(path)
    browser.wait_for("document.querySelectorAll('#errors .clip').length > 0")
    assert "\u2068كلب\u2069" in browser.run("document.querySelector('#errors').textContent")
    browser.run("document.querySelector(`[data-cell='1,1']`).click()")
    lead = browser.run("document.querySelector('dialog .lead').textContent")
    assert "the least sure, and the surest last" in lead
    assert browser.complaints == []
