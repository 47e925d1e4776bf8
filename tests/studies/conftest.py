"""A study of three rows on tones, hisses and ticks: every part of it in a second."""

import numpy as np
import pytest

from earshot.evaluation.predictions import Predictions
from earshot.studies.loading import read_study
from earshot.studies.outcome import Attempt, RowResult
from earshot.studies.request import StudyRun
from earshot.studies.spec import Row

from .. import corpus

TRAINING = {
    "epochs": 3,
    "batch_size": 8,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "schedule": "constant",
    "averaging_share": 0.0,
    "watch_every": 1,
}
MEL = {"kind": "log_mel", "n_fft": 256, "hop_length": 128, "n_mels": 16}


def row(name="a", **values):
    """A row with a model, for results that were never trained."""
    plain = {"id": name, "label": f"row {name}", "section": "all", "view": "mel", "model": {"kind": "knn"}}
    return Row.model_validate(plain | values)


def answers(rights, *, groups=None, split="oof"):
    """Predictions of two classes in which the clips of class 0 are right where `rights` says so."""
    said = np.array([[0.9, 0.1] if right else [0.1, 0.9] for right in rights], np.float32)
    truth = np.tile(np.array([[1.0, 0.0]], np.float32), (len(said), 1))
    names = tuple(f"clip{i}" for i in range(len(said)))
    of = tuple(groups) if groups is not None else names
    return Predictions(said, ("yes", "no"), clip_ids=names, targets=truth, split=split, groups=of)


def outcome(name, *runs, history=(), groups=None, n_parameters=None, **values):
    """A row's result from lists of right and wrong."""
    made = tuple(answers(rights, groups=groups) for rights in runs)
    attempts = tuple((Attempt(run.probs, list(history), 1.5, n_parameters=n_parameters),) for run in made)
    return RowResult(row(name, **values), made, attempts)


def plain_study(**changes):
    """The values of a small study."""
    values = {
        "name": "small",
        "title": "A small study",
        "source": "nobody, nowhere",
        "about": "Three kinds of sound.",
        "rate_hz": corpus.RATE_HZ,
        "window_s": 0.4,
        "n_variants": 3,
        "classes": [{"names": ["hum", "hiss", "ticks"]}],
        "pictures": "picture",
        "views": {
            "mel": MEL,
            "raw": {"kind": "decimated", "factor": 20, "seconds": 0.4},
            "picture": {"kind": "picture", "height": 8, "width": 12, "n_fft": 64},
        },
        "protocols": {
            "grouped": {"about": "by source"},
            "book": {"split": "random", "augmented_test": True, "about": "by file"},
        },
        "sections": [{"id": "all", "title": "All rows"}, {"id": "ensemble", "title": "Together"}],
        "trainings": {"short": TRAINING},
        "rows": [
            {
                "id": "knn-{k}",
                "label": "{k} neighbours",
                "section": "all",
                "view": "raw",
                "model": {"kind": "knn", "n_neighbours": "{k}"},
                "grid": {"k": [1, 3]},
                "published": [50.0, 55.5],
            },
            {
                "id": "net",
                "label": "network",
                "section": "all",
                "view": "mel",
                "model": {"kind": "mlp", "hidden": [8]},
                "training": {"base": "short"},
                "runs": 2,
                "published": {"mean": 70.0, "se": 1.0},
                "curves": "error",
                "confusion": True,
                "confusion_of_training": True,
                "layers": True,
            },
            {
                "id": "both",
                "label": "both networks",
                "section": "ensemble",
                "ensemble": {"members": "net", "combination": "accuracy"},
                "published": 75.0,
            },
        ],
        "claims": [{"text": "Networks win.", "kind": "higher", "left": "net", "right": "knn-1"}],
        "ladder": [{"label": "neighbours", "rows": "knn-*", "published": 55.5}],
        "mistakes": [{"what": "Split by file.", "cost": "Siblings.", "here": "Folds."}],
    }
    return values | changes


def cut_study(**changes):
    """The small study on segments of 0.2 s, two views of samples, a protocol of each kind."""
    values = plain_study(
        name="cut",
        window_s=0.2,
        n_variants=1,
        pictures="",
        classes=[{"names": ["hum", "hiss"]}],
        views={"samples": {"kind": "waveform"}},
        segments={"hop_s": 0.2, "training_hop_s": 0.1, "gate": 1.0, "even": True},
        protocols={
            "grouped": {"standardise": "recording", "about": "by recording"},
            "book": {
                "standardise": "class",
                "gate_judged": False,
                "inner_by": "item",
                "training": {"keep": "best"},
                "about": "as published",
            },
        },
        rows=[
            {
                "id": "net",
                "label": "network",
                "section": "all",
                "view": "samples",
                "model": {"kind": "mlp", "hidden": [4], "scale": "none"},
                "training": {"base": "short"},
            }
        ],
        claims=[{"text": "Clips.", "kind": "above", "left": "net", "value": 10, "per": "clip"}],
        ladder=[],
    )
    return values | changes


@pytest.fixture
def study():
    return read_study(plain_study())


@pytest.fixture
def ask(study, sounds, tmp_path):
    """`ask(**changes)` makes the request for a run of the small study in a folder of its own."""

    def make(**changes):
        values = {"study": study, "data": sounds, "folder": tmp_path / "study", "device": "cpu"}
        return StudyRun(**(values | changes))

    return make


@pytest.fixture
def recordings(tmp_path):
    """Six hums of 1 s, three of them loud for half of it only, and four hisses of 0.6 s."""
    rng = np.random.default_rng(0)
    for i in range(6):
        sound = corpus.sound("hum", seed=i, duration_s=1.0)
        if i % 2:
            sound[corpus.RATE_HZ // 2 :] *= 0.01
        corpus.write(tmp_path / "sounds" / "hum" / f"{i}.wav", sound)
    for i in range(4):
        noise = 0.1 * rng.standard_normal(round(0.6 * corpus.RATE_HZ))
        corpus.write(tmp_path / "sounds" / "hiss" / f"{i}.wav", noise)
    return tmp_path / "sounds"
