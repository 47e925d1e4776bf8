import numpy as np
import pandas as pd
import pytest

from earshot.audio.windows import InMemory
from earshot.data.clips import Clips
from earshot.errors import ConfigError
from earshot.monitor import Silent
from earshot.runfolder import RunFolder
from earshot.studies.bank import FeatureBank
from earshot.studies.data import facts, gather
from earshot.studies.loading import read_study
from earshot.studies.runner import run_rows
from earshot.studies.segmented import cut_up, evened
from earshot.studies.sides import clip_sides
from earshot.studies.spec import Segments
from earshot.studies.study import run_study

from .. import corpus
from .conftest import cut_study


@pytest.fixture
def gathered(recordings):
    """`gathered(protocol, **changes)`: the data of the cut study."""

    def make(protocol="grouped", **changes):
        return gather(read_study(cut_study(**changes)), recordings, protocol=protocol, monitor=Silent())

    return make


def test_segments_cover_their_recordings_and_stay_on_its_side(gathered):
    data = gathered(segments={"hop_s": 0.2, "training_hop_s": 0.1})
    whole = data.whole
    counts = np.bincount(whole.owners)
    assert sorted(counts) == [5] * 4 + [9] * 6  # 0.6 s and 1 s, every 0.1 s
    for fold in data.folds:
        assert not set(whole.owners[fold.train]) & set(whole.owners[fold.test])
        assert (np.bincount(whole.owners[fold.test])[np.unique(whole.owners[fold.test])] >= 3).all()
    judged = np.concatenate([fold.test for fold in data.folds])
    starts = whole.clips.table["start_s"].to_numpy()[judged]
    np.testing.assert_allclose(starts / 0.2, np.round(starts / 0.2), atol=1e-9)
    assert facts(data)["clips"] == 10
    assert facts(data)["segments that are judged"] == len(judged) == 6 * 5 + 4 * 3


def test_a_segment_holds_the_samples_of_its_time(gathered):
    data = gathered()
    i = int(np.flatnonzero(data.clips.table["start_s"] > 0.25)[0])
    owner, start = data.whole.owners[i], data.clips.table["start_s"].iloc[i]
    own = data.whole.view.view.get(int(owner))[round(start * corpus.RATE_HZ) :][: data.length]
    np.testing.assert_array_equal(data.view.get(i), own)
    assert data.view.n_samples[i] == data.length


def test_one_gate_drops_silence_on_both_sides_and_no_recording(gathered):
    data = gathered()
    owners = data.whole.owners
    judged = np.concatenate([fold.test for fold in data.folds])
    assert set(owners[judged]) == set(range(10))
    starts = data.clips.table["start_s"].to_numpy()
    quiet_half = (starts >= 0.5) & np.array(["1.wav" in name or "3.wav" in name for name in data.clips.ids])
    quiet_half &= data.clips.labels == data.clips.classes.index("hum")
    assert quiet_half.any()
    assert not set(np.flatnonzero(quiet_half)) & (set(judged) | set(data.folds[0].train))


def test_the_book_judges_silence_that_it_did_not_learn_from(gathered):
    book, honest = gathered("book"), gathered()
    n_book, n_honest = (sum(len(fold.test) for fold in data.folds) for data in (book, honest))
    assert n_book == 6 * 5 + 4 * 3 > n_honest


def test_by_recording_every_sound_is_standardised_by_itself(gathered, tmp_path):
    data = gathered()
    rows = np.arange(len(data.clips))
    mean, deviation = data.whole.scale(rows, by="recording")
    for i in (0, len(rows) - 1):
        samples = data.whole.view.view.get(int(data.whole.owners[i])) / 32768
        assert mean[i] == pytest.approx(samples.mean(), abs=1e-9)
        assert deviation[i] == pytest.approx(samples.std(), rel=1e-6)


def test_by_class_the_label_decides_the_scale_of_each_side(gathered, tmp_path):
    data = gathered("book")
    study = read_study(cut_study())
    bank = FeatureBank(tmp_path / "cache", data, views=study.views, n_variants=1, steps=(), seed=0)
    bank.ensure(["samples"], monitor=Silent())
    fold, row = data.folds[0], study.rows[0]
    sides = clip_sides(bank, row, fold, n_judged=1, seed=0, protocol=study.protocols["book"])
    raw = bank.items("samples", fold.train, n_variants=1)
    labels = data.clips.labels[fold.train]
    for k in (0, 1):
        scaled, own = sides.features[labels == k], raw[labels == k]
        ratio = float(own.std() / scaled.std())
        _, deviation = data.whole.scale(fold.train[labels == k], by="class")
        assert np.ptp(deviation) < 1e-12
        assert ratio == pytest.approx(deviation[0], rel=0.01)
    assert len(set(sides.groups)) == len(set(fold.train))  # set aside by segment


def test_classes_are_learned_from_evenly(gathered):
    fold = gathered().folds[0]
    labels = gathered().clips.labels[fold.train]
    assert np.bincount(labels)[0] == np.bincount(labels)[1]
    rows = np.array([3, 5, 6, 9])
    even = evened(rows, np.array([0, 0, 0, 1]), seed=0)
    assert even.tolist() == [3, 5, 6, 9, 9, 9]


def test_the_share_of_the_more_frequent_class_is_said(gathered):
    data = gathered(segments={"hop_s": 0.2, "training_hop_s": 0.1})
    note = data.notes[-1]
    assert (
        "hum every time would be right for 71.4 % of the judged segments; hum, for 60.0 % of the clips"
        in note
    )


@pytest.mark.parametrize(
    ("n_samples", "judged"),
    [
        (24_000, [0, 8_000]),  # two windows of training, of which the last is off the grid of judging
        (24_100, [0, 8_000]),  # so it is where the rest is too short for a window in training
        (40_200, [0, 16_000, 24_000]),
        (32_100, [0, 16_000]),
        (33_000, [0, 16_000, 17_000]),
    ],
)
def test_judged_segments_leave_no_more_of_a_recording_unheard_than_windows_do(n_samples, judged):
    table = pd.DataFrame({"path": ["a.wav"], "label": ["cat"]})
    view = InMemory([np.arange(n_samples, dtype=np.int16)])
    how = Segments(hop_s=1.0, training_hop_s=0.5)
    found = cut_up(Clips(table, root="."), view, how, rate_hz=16_000, window_s=1.0)
    assert found.view.cut_up.starts[found.is_judged].tolist() == judged


def test_a_hop_that_is_no_multiple_is_refused():
    with pytest.raises(ConfigError, match="whole number of times"):
        read_study(cut_study(segments={"hop_s": 0.2, "training_hop_s": 0.15}))


def test_segments_have_no_copies():
    with pytest.raises(ConfigError, match="n_variants = 1"):
        read_study(cut_study(n_variants=3))


@pytest.fixture
def asked(ask, recordings):
    def make(**changes):
        values = {"study": read_study(cut_study()), "data": recordings, "n_workers": 1}
        return ask(**(values | changes))

    return make


def test_a_clip_is_the_mean_of_its_segments(asked):
    made = asked()
    result = run_rows(made, RunFolder(made.folder))
    row = result.results["net"]
    (items,), (clips,) = row.runs, row.clips
    owners = result.data.whole.owners[np.concatenate([fold.test for fold in result.data.folds])]
    assert len(clips) == 10
    for i, name in enumerate(clips.clip_ids):
        own = items.probs[owners == result.data.recordings.ids.index(name)]
        np.testing.assert_allclose(clips.probs[i], own.mean(axis=0), atol=1e-6)
    assert row.per_clip().accuracy == np.mean(clips.labels == clips.predicted)


def test_the_page_has_both_figures_and_the_book_its_warning(asked):
    done = run_study(asked())
    assert "ours a clip" in done.text
    assert "segments that are judged" in done.page.read_text()
    book = run_study(asked(protocol="book"))
    assert "with its mistakes" in book.page.read_text()
    assert book.n_failed == 0


def test_the_protocol_changes_the_training_of_every_row(asked):
    made = asked(protocol="book")
    result = run_rows(made, RunFolder(made.folder))
    assert result.study.rows[0].training.keep == "best"
    history = result.results["net"].attempts[0][0].history
    assert "inner_loss" in history[0]
