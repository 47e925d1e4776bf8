import numpy as np
import pytest

from earshot.deploy.bundle import Judgement
from earshot.deploy.choices import REFUSALS, Chooser
from earshot.deploy.decisions import DecisionsData
from earshot.errors import ConfigError

from .conftest import make_bundle

DECISIONS = {
    "thresholds": [
        {"precision": 0.9, "thresholds": [0.6, 0.6, 0.6]},
        {"precision": 0.99, "thresholds": [0.9, None, 0.9]},
    ],
    "sets": {"score": "lac", "limit": 0.7, "miss_rate": 0.1, "n_clips": 99},
    "novelty": {"limit": 1.0, "kept": 0.95},
}
SURE, TORN = (0.05, 0.9, 0.05), (0.5, 0.4, 0.1)


def bundle(classes=("bark", "meow", "moo"), *, multilabel=False, decisions=DECISIONS):
    made = make_bundle()
    if multilabel:
        decisions = {"thresholds": decisions["thresholds"]}
    values = {"classes": classes, "multilabel": multilabel}
    made.config = made.config.model_copy(
        update={**values, "decisions": DecisionsData.model_validate(decisions)}
    )
    return made


def answer(chooser, probs, *, novelty=0.0, reason=""):
    return chooser.answer(Judgement(np.array(probs, np.float32), novelty), reason=reason)


def test_without_wishes_the_most_probable_class_is_the_answer():
    chooser = Chooser(bundle())
    said = answer(chooser, TORN, novelty=99.0, reason="silent")
    assert (said.label, said.confidence, said.columns) == ("bark", 0.5, {})
    assert not chooser.needs_novelty


@pytest.mark.parametrize(
    ("novelty", "reason", "rejected"),
    [
        (0.99, "", ""),
        (1.0, "", ""),
        (1.01, "", "unknown"),
        (float("nan"), "", "unknown"),
        (None, "", "unknown"),
        (0.0, "partial;silent", "silent"),
        (9.0, "silent", "silent"),
        (0.0, "partial", ""),
    ],
)
def test_strange_or_silent_sounds_get_no_label(novelty, reason, rejected):
    said = answer(Chooser(bundle(), reject=True), SURE, novelty=novelty, reason=reason)
    assert said.columns["rejected"] == rejected
    assert said.label == ("" if rejected else "meow")
    assert said.confidence == (None if rejected else pytest.approx(0.9))
    finite = novelty is not None and np.isfinite(novelty)
    assert said.columns["novelty"] == (pytest.approx(novelty, abs=1e-4) if finite else None)


@pytest.mark.parametrize("name", ["noise", "Other", "BACKGROUND", "Silence"])
def test_a_background_class_is_no_answer_and_not_unknown(name):
    chooser = Chooser(bundle(("bark", name, "moo")), reject=True)
    assert answer(chooser, SURE, novelty=9.0).columns["rejected"] == "background"
    assert answer(chooser, TORN).label == "bark"
    assert answer(Chooser(bundle(("bark", name, "moo"))), SURE).label == name


def test_thresholds_leave_out_what_is_not_sure():
    chooser = Chooser(bundle(), precision=0.9)
    assert answer(chooser, SURE).label == "meow"
    torn = answer(chooser, TORN)
    assert (torn.label, torn.confidence, torn.columns) == ("", None, {"rejected": "unsure"})
    never = answer(Chooser(bundle(), precision=0.99), SURE)
    assert never.columns["rejected"] == "unsure"


def test_sets_name_the_classes_that_are_likely_enough():
    chooser = Chooser(bundle(), sets=True)
    assert answer(chooser, SURE).columns["set"] == "meow"
    assert answer(chooser, TORN).columns["set"] == "bark;meow"
    assert answer(Chooser(bundle(), sets=True, reject=True), TORN, novelty=2.0).columns["set"] == ""


def test_several_labels_are_said_the_most_probable_first():
    chooser = Chooser(bundle(multilabel=True), precision=0.9)
    said = answer(chooser, (0.7, 0.1, 0.95), novelty=None)
    assert (said.label, said.confidence) == ("moo;bark", pytest.approx(0.95))
    assert answer(chooser, (0.1, 0.1, 0.1), novelty=None).columns["rejected"] == "unsure"


def test_of_several_labels_those_are_said_that_the_scores_count():
    chooser = Chooser(bundle(multilabel=True))
    said = answer(chooser, (0.5, 0.49, 0.95), novelty=None)
    assert (said.label, said.confidence, said.columns) == ("moo;bark", pytest.approx(0.95), {})
    none = answer(chooser, (0.1, 0.2, 0.3), novelty=None)
    assert (none.label, none.confidence, none.columns) == ("", None, {})


def test_a_file_that_cannot_be_read_has_empty_columns():
    chooser = Chooser(bundle(), reject=True, sets=True, precision=0.9)
    unread = chooser.answer(None, reason="empty")
    assert (unread.label, unread.confidence) == ("", None)
    assert unread.columns == {"rejected": "", "novelty": None, "set": ""}
    assert unread.columns.keys() == answer(chooser, SURE).columns.keys()


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"reject": True}, "--reject: model is one without novelty limit"),
        ({"sets": True}, "--sets: model is one without sets"),
        (
            {"precision": 0.9},
            "--precision: precision is 0.9; expected one that the model was fitted for (none)",
        ),
    ],
)
def test_what_an_older_model_lacks_is_named(wish, said):
    with pytest.raises(ConfigError) as caught:
        Chooser(bundle(decisions={}), **wish)
    assert said in str(caught.value)


def test_a_precision_that_was_not_fitted_is_refused_with_those_that_were():
    with pytest.raises(ConfigError, match=r"0\.9, 0\.99"):
        Chooser(bundle(), precision=0.8)


def test_every_refusal_is_explained():
    chooser = Chooser(bundle(("bark", "noise", "moo")), reject=True, precision=0.9)
    found = [
        answer(chooser, SURE, reason="silent"),
        answer(chooser, SURE),
        answer(chooser, (0.9, 0.05, 0.05), novelty=2.0),
        answer(chooser, TORN),
    ]
    assert [each.columns["rejected"] for each in found] == list(REFUSALS)
