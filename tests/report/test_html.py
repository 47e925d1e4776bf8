import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from earshot.evaluation.metrics import summarise
from earshot.evaluation.predictions import Predictions
from earshot.report import html, summary
from earshot.report.html import ReportValues, render, write_report

HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """The page as a browser sees it: elements with their attributes, and text. Every tag must be closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self._open = [], [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def text(self):
        """All words, every kind of space shown as one plain space."""
        return " ".join(" ".join(self.words).split())


def scores(classes, *, n=8, seed=0, absent=(), multilabel=False):
    rng = np.random.default_rng(seed)
    labels = np.repeat([k for k in range(len(classes)) if k not in absent], n)
    probs = rng.dirichlet(np.ones(len(classes)), len(labels)) + 1.5 * np.eye(len(classes))[labels]
    probs /= probs.sum(axis=1, keepdims=True)
    predictions = Predictions(
        probs,
        tuple(classes),
        clip_ids=tuple(f"{i}.wav" for i in range(len(labels))),
        targets=np.eye(len(classes))[labels],
        split="oof",
        groups=tuple(f"g{i // 2}" for i in range(len(labels))),
        multilabel=multilabel,
    )
    summary = summarise(predictions, n_bootstrap=50, rng=rng)
    fold = {"name": "fold 1", "n_train": 30, "n_test": 10, "accuracy": 0.9}
    member = {"accuracy": 0.625, "accuracy_ci95": [0.5, 0.75], "seconds": 3.0}
    return summary | {
        "classes": list(classes),
        "folds": [fold],
        "members": {"fast": member, "cnn": member | {"accuracy": 0.9}},
        "baseline": "fast",
        "protocol": "5 folds",
        "seconds": 75.2,
        "n_failed": 1,
    }


def history(members=("cnn",)):
    return pd.DataFrame(
        [
            {
                "member": member,
                "fold": fold,
                "epoch": epoch,
                "train_loss": 1 / epoch,
                "test_loss": 1.2 / epoch,
                "test_accuracy": 0.9,
            }
            for member in members
            for fold in range(2)
            for epoch in range(1, 4)
        ]
    )


def values(classes=("dog", "rain", "siren"), **changes):
    given = {
        "title": "My sounds",
        "created": "2026-02-01 10:00",
        "command": "earshot train sounds -o runs/a",
        "metrics": scores(classes),
        "history": history(),
        "config_toml": '[data]\npath = "sounds"\n',
        "environment": {"torch": "2.13.0", "cpu": {"avx512": True}},
        "problems": [{"id": "a.wav", "status": "failed", "reason": "empty", "message": "no bytes"}],
        "notes": ["every file is its own group"],
    }
    return ReportValues(**(given | changes))


def assert_asks_for_nothing(text):
    page = Page(text)
    assert not page.all("script")
    for tag, attrs in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img", "image", "audio"}
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            assert attrs.get(name, "#").startswith("#")
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*['\"]?([^)]*)", text))
    assert "@import" not in text
    return page


def test_the_page_says_what_it_must():
    page = assert_asks_for_nothing(render(values()))
    for words in (
        "My sounds",
        "2026-02-01 10:00 · 5 folds",
        "earshot train sounds -o runs/a",
        "every file is its own group",
        "the baseline “fast” (62.5 %)",
        "of 24 clips",
        "from 12 groups of clips",
        "Balanced accuracy",
        "a.wav failed empty no bytes",
        "fold 1 30 clips 10 clips 90.0 %",
        "torch 2.13.0",
        'cpu {"avx512": true}',
        'path = "sounds"',
        "1 min 15 s",
    ):
        assert words in page.text
    score, (low, high) = (values().metrics[key] for key in ("accuracy", "accuracy_ci95"))
    assert f"right class for {100 * score:.1f} % of" in page.text
    assert f"expect {100 * low:.1f} % to {100 * high:.1f} % (95 % interval" in page.text


def test_the_page_is_the_same_for_the_same_values():
    assert render(values()) == render(values())


def test_without_clips_the_policy_forbids_scripts_and_requests():
    policy = next(
        meta["content"]
        for meta in Page(render(values())).all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy


@pytest.mark.parametrize(
    "label",
    [
        HOSTILE,
        "\"><img src=x onerror='alert(1)'>",
        "' onmouseover='x",
        "</table></style>",
        "{{ 7 * 7 }}",
        "$\\frac{",
        "&lt;b&gt;",
    ],
)
def test_hostile_text_stays_text_wherever_it_appears(label):
    metrics = scores((label, "rain", "siren"))
    members = {label: metrics["members"]["fast"], "cnn": metrics["members"]["cnn"]}
    page = assert_asks_for_nothing(
        render(
            values(
                title=label,
                created=label,
                command=label,
                metrics=metrics
                | {"members": members, "baseline": label, "protocol": label}
                | {"folds": [{"name": label, "n_train": 1, "n_test": 1, "accuracy": 0.5}]},
                history=history((label, "cnn")),
                config_toml=label,
                environment={label: label},
                problems=[dict.fromkeys(("id", "status", "reason", "message"), label)],
                notes=[label],
            )
        )
    )
    assert page.text.count(" ".join(label.split())) >= 12


def test_no_network_address_is_loaded_from_anywhere_in_the_page():
    text = render(values(notes=["see http://example.org/x.png"], command="earshot train https://example.org"))
    assert_asks_for_nothing(text)
    for hit in re.finditer(r"https?://", text):
        before = text[max(0, hit.start() - 12) : hit.start()]
        assert not re.search(r"(src|href)\s*=\s*[\"']?$|url\([\"']?$", before)


@pytest.mark.parametrize(
    "empty", [pd.DataFrame(), pd.DataFrame(columns=["member", "fold", "epoch", "train_loss"])]
)
def test_an_empty_history_is_said_in_words(empty):
    page = assert_asks_for_nothing(render(values(history=empty)))
    assert "No network was trained in this run" in page.text
    assert not page.all("svg")


def test_ids_stay_unique_with_curves_of_several_members():
    page = Page(render(values(history=history(("cnn", "rnn")))))
    assert len(page.all("svg")) == 4
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = {attrs["href"][1:] for attrs in page.all("a")} | {
        attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs
    }
    assert named <= set(ids)


def test_curves_take_the_colours_and_width_of_the_page():
    text = render(values())
    svg = text[text.index("<svg") : text.index("</svg>")]
    assert "var(--plot-held-out)" in svg
    assert not re.search(r"#[0-9a-f]{6}", svg)
    assert "font-family" not in svg
    assert "<style" not in svg
    assert not re.search(r"<svg[^>]* (width|height)=", svg)


def test_a_class_without_clips_says_so_and_comes_first():
    page = assert_asks_for_nothing(render(values(metrics=scores(("dog", "rain", "siren"), absent=(1,)))))
    assert "rain 0 no clips to score" in page.text


def test_fifty_classes_fit_a_small_page_with_every_class_and_cell():
    classes = [f"class number {i}" for i in range(50)]
    text = render(values(classes))
    page = assert_asks_for_nothing(text)
    assert len(text) < 400_000
    matrix = next(attrs for attrs in page.all("table") if "matrix" in attrs.get("class", ""))
    assert "small" in matrix["class"]
    assert text.count("<td", text.index('class="matrix')) >= 2500
    for name in classes:
        assert page.text.count(name) >= 3


def test_the_hardest_class_is_listed_first():
    metrics = scores(("a", "b"))
    rows = [
        {"label": "easy", "n": 4, "precision": 1.0, "recall": 1.0, "f1": 1.0},
        {"label": "hard", "n": 4, "precision": 0.5, "recall": 0.5, "f1": 0.5},
    ]
    text = render(values(metrics=metrics | {"per_class": rows}))
    assert text.index(">hard<") < text.index(">easy<")


def test_confusions_are_shown_in_percent_with_their_counts():
    metrics = scores(("dog", "rain")) | {"confusion": [[37, 3], [0, 40]]}
    page = Page(render(values(metrics=metrics)))
    cells = {attrs["title"]: attrs["class"] for attrs in page.all("td") if "title" in attrs}
    assert cells == {
        "37 of 40 “dog” clips predicted as “dog”": "r10",
        "3 of 40 “dog” clips predicted as “rain”": "w3",
        "40 of 40 “rain” clips predicted as “rain”": "r10",
    }
    assert "92.5" in page.text
    assert "dog rain 3 of 40 7.5 %" in page.text


@pytest.mark.parametrize(
    ("share", "small", "roomy"),
    [
        (0.04, "<1", "<0.1"),
        (0.2, "<1", "0.2"),
        (2.5, "3", "2.5"),
        (99.7, "99", "99.7"),
        (99.98, "99", "99.9"),
        (100, "100", "100"),
    ],
)
def test_little_is_not_shown_as_nothing_nor_almost_all_as_all(share, small, roomy):
    assert html._share_text(share, digits=0) == small
    assert html._share_text(share, digits=1) == roomy


def test_several_labels_a_clip_have_no_confusion_matrix():
    metrics = scores(("dog", "rain", "siren"), multilabel=True)
    page = assert_asks_for_nothing(render(values(metrics=metrics)))
    assert "exactly the right labels" in page.text
    assert "Mean average precision" in page.text
    assert "What is taken for what" not in page.text


def test_a_report_with_scores_only_still_renders():
    bare = ReportValues(title="t", created="c", command="x", metrics={"accuracy": 0.5, "n_clips": 4})
    page = assert_asks_for_nothing(render(bare))
    assert "every file could be read" in page.text
    assert "None" not in page.text.replace("None: every file", "")


def test_a_model_that_is_its_own_baseline_is_compared_with_nothing():
    metrics = scores(("a", "b"))
    only = {"fast": {"accuracy": metrics["accuracy"], "accuracy_ci95": metrics["accuracy_ci95"]}}
    page = Page(render(values(metrics=metrics | {"members": only})))
    assert "baseline" not in page.text


@pytest.mark.parametrize(
    ("ours", "interval", "words"),
    [
        (0.9, [0.85, 0.95], "27.5 points above the baseline “fast”"),
        (0.6, [0.5, 0.7], "2.5 points below the baseline “fast” (62.5\u202f%). Their intervals overlap"),
        (0.625, [0.5, 0.75], "level with the baseline"),
    ],
)
def test_the_baseline_stands_beside_the_score_in_words(ours, interval, words):
    sentence = summary.gain_sentence(scores(("a", "b")) | {"accuracy": ours, "accuracy_ci95": interval})
    assert words in sentence
    assert ("overlap" in sentence) == (ours != 0.9)


def test_thousands_of_bad_files_are_counted_and_the_first_listed():
    problems = [
        {"id": f"{i}.wav", "status": "failed", "reason": "empty", "message": "m"} for i in range(5000)
    ]
    text = render(values(problems=problems))
    page = Page(text)
    assert "5 000 files need a look" in page.text
    assert "empty (5 000)" in page.text
    assert "The first 200 are listed" in page.text
    assert len(text) < 300_000


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_shade_of_the_matrix_carries_readable_text(mode):
    style = re.search(r"<style>(.*?)</style>", render(values()), re.DOTALL)[1]
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    shades = re.findall(
        r"\.([rw]\d+) { background: (#\w{6}); color: (#\w{6}) }", light if mode == "light" else dark
    )
    assert len(shades) == 16
    for _, back, ink in shades:
        low, high = sorted((luminance(back), luminance(ink)))
        assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2.2, level AA


def luminance(colour):
    """Relative luminance of #rrggbb. Source: WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_what_scrolls_can_be_reached_by_keyboard_and_has_a_name():
    metrics = scores(("dog", "rain")) | {"confusion": [[7, 1], [0, 8]]}
    page = Page(render(values(metrics=metrics)))
    scrolling = [attrs for _, attrs in page.elements if "scroll" in attrs.get("class", "").split()]
    assert len(scrolling) == 5  # classes, confusions, mistakes, folds, files
    for attrs in scrolling:
        assert attrs["tabindex"] == "0"
        assert attrs["role"] == "region"
        assert attrs["aria-labelledby"]


def test_writing_replaces_the_page_in_one_move_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(path, values())
    assert path.read_text("utf-8") == render(values())
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_failed_write_keeps_the_old_page(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def refuse(self, target):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_report(path, values())
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_names_that_are_not_unicode_can_be_written(tmp_path):
    bad = {"id": "caf\udce9.wav", "status": "failed", "reason": "empty", "message": "m"}
    write_report(tmp_path / "report.html", values(problems=[bad]))
    assert "caf\\udce9.wav" in (tmp_path / "report.html").read_text("utf-8")


def test_the_score_on_the_datas_own_test_split_stands_below_the_out_of_fold_score():
    scores = {"accuracy": 0.5, "accuracy_ci95": [0.4, 0.6]}
    page = render(
        ReportValues(
            title="t", created="now", command="c", metrics=scores | {"test": scores | {"accuracy": 0.45}}
        )
    )
    assert page.index("This model") < page.index("On the test split")


SURE = {
    "reliability": [
        {"low": 0.6, "high": 0.7, "n": 10, "confidence": 0.65, "accuracy": 0.6, "accuracy_low": 0.3,
         "accuracy_high": 0.8},
        {"low": 0.9, "high": 1.0, "n": 30, "confidence": 0.95, "accuracy": 0.9, "accuracy_low": 0.8,
         "accuracy_high": 0.97},
    ],
    "calibration": {
        "method": "vector",
        "nested": [
            {"method": name, "log_loss": 0.5, "brier": 0.2, "ece": 0.04, "accuracy": 0.9}
            for name in ("none", "vector")
        ],
    },
    "sets": {"score": "lac", "miss_rate": 0.1, "coverage": 0.912, "coverage_ci95": [0.88, 0.94],
             "mean_size": 1.36, "single_share": 0.7},
    "precision": [{"wanted": 0.9, "precision": 0.915, "answered": 0.62},
                  {"wanted": 0.99, "precision": None, "answered": 0.0}],
    "novelty": {"known_kept": 0.95, "kept": 0.94, "n_clips": 40, "members": ["fast"], "probes_rejected": 1,
                "probes": {
                    "white noise": {"label": "", "rejected": "background"},
                    "mains hum": {"label": "<i>engine</i>", "rejected": ""},
                }},
}  # fmt: skip


def test_how_sure_it_is_has_a_diagram_and_what_was_measured_of_it():
    text = render(ReportValues(title="t", created="now", command="c", metrics=SURE))
    section = text[text.index('id="sure"') : text.index('id="files"')]
    assert section.count("<svg") == 1
    for part in (
        *("held it 91.2\u202f%", "88.0\u202f% to 94.0\u202f%", "1.36 classes", "70\u202f% of them name one"),
        *(
            "answered for 62\u202f%",
            "right 91.5\u202f%",
            "kept 94.0\u202f%",
            "Of 2 made-up noises and tones, 1 are",
        ),
        "mains hum as “&lt;i&gt;engine&lt;/i&gt;”",
    ):
        assert part in section, part
    assert "Asked to be right 99\u202f% of the time, it never answered" in section
    assert section.index("vector") < section.index("in use")
    assert section.count("in use") == 1


def test_a_run_of_before_has_no_such_section():
    text = render(ReportValues(title="t", created="now", command="c", metrics={"accuracy": 0.5}))
    assert "How sure it is" not in text
    only = {"reliability": SURE["reliability"]}
    text = render(ReportValues(title="t", created="now", command="c", metrics=only))
    assert "How sure it is" in text
    assert "Ways to calibrate" not in text


def test_with_several_labels_a_clip_answers_are_counted_as_such():
    text = render(
        ReportValues(title="t", created="now", command="c", metrics=SURE | {"mean_average_precision": 0.9})
    )
    assert "named a label for 62\u202f% of the clips, and 91.5\u202f% of the labels named were right" in text
    assert "A larger point stands for more answers, one a class and clip" in text
    assert "was right 91.5" not in text


def test_without_intervals_and_training_nothing_is_said_of_them():
    row = {"label": "a", "n": 3, "precision": 1.0, "recall": 1.0, "f1": 1.0}
    metrics = {"accuracy": 1.0, "per_class": [row]}
    text = render(ReportValues(title="t", created="now", command="c", metrics=metrics))
    assert "In brackets" not in text
    assert "How it learned" not in text
    assert "Learning curves" not in text
    row["recall_ci95"] = [0.5, 1.0]
    members = {"fast": {"accuracy": 1.0}}
    metrics |= {"members": members}
    text = render(ReportValues(title="t", created="now", command="c", metrics=metrics))
    assert "In brackets: 95 % intervals over groups" in text
    assert "No network was trained in this run" in text


def test_very_many_classes_have_no_cells_to_choose():
    n = 120
    metrics = {"confusion": np.eye(n, dtype=int).tolist(), "classes": [f"c{i}" for i in range(n)]}
    text = render(ReportValues(title="t", created="now", command="c", metrics={"accuracy": 1.0} | metrics))
    assert "Too many classes for a matrix" in text
    assert "Each row is a true class" not in text


def test_names_from_right_to_left_do_not_move_what_follows_them():
    counts = [[2, 2], [0, 4]]
    metrics = {"accuracy": 0.75, "confusion": counts, "classes": ["كلب", "dog"]}
    text = render(ReportValues(title="t", created="now", command="c", metrics=metrics))
    assert "“\u2068كلب\u2069” taken for “dog”" in text
