from dataclasses import replace

import numpy as np
import pytest
import torch

from earshot.audio.features import FEATURES
from earshot.audio.transforms import PUBLISHED_STEPS
from earshot.monitor import Silent
from earshot.studies.bank import FeatureBank
from earshot.studies.data import gather


@pytest.fixture
def data(study, sounds):
    return gather(study, sounds, protocol="grouped", monitor=Silent())


@pytest.fixture
def make(study, data, tmp_path):
    """`make(**changes)`: a bank of the small study's views in one folder."""

    def build(**changes):
        values = {"views": study.views, "n_variants": 3, "steps": PUBLISHED_STEPS, "seed": 0}
        return FeatureBank(tmp_path / "cache", changes.pop("data", data), **(values | changes))

    return build


def test_the_first_variant_is_the_clip_itself_as_the_front_end_sees_it(study, data, make):
    bank = make()
    bank.ensure(["mel", "picture"], monitor=Silent())
    for name in ("mel", "picture"):
        front_end = FEATURES[study.views[name].kind](study.views[name], data.rate_hz)
        expected = front_end(torch.from_numpy(data.waveform(4))[None])[0]
        np.testing.assert_allclose(bank.array(name)[4, 0], expected.numpy(), atol=1e-4)
    assert bank.array("picture").dtype == np.uint8
    assert bank.array("mel").shape == (18, 3, *bank.shape("mel"))


def test_copies_differ_from_their_clip_and_follow_it_wherever_it_stands(data, make):
    bank = make()
    turned = make(data=_reversed(data))
    copies = bank.copies(0)
    assert (copies[1:] != copies[0]).any(dim=1).sum() >= 1
    assert torch.equal(copies, turned.copies(len(data.clips) - 1))


def _reversed(data):
    order = np.arange(len(data.clips))[::-1].copy()

    class Turned:
        n_samples = data.view.n_samples[order]

        def __len__(self):
            return len(order)

        def get(self, i):
            return data.view.get(int(order[i]))

        def fill(self, out, i, start):
            data.view.fill(out, int(order[i]), start)

    contents = tuple(data.contents[i] for i in order)
    return replace(data, clips=data.clips.subset(order), view=Turned(), contents=contents)


def test_items_are_clips_with_their_copies_one_after_the_other(make):
    bank = make()
    bank.ensure(["raw"], monitor=Silent())
    items = bank.items("raw", np.array([2, 5]), n_variants=2)
    assert torch.equal(items[1], torch.from_numpy(bank.array("raw")[2, 1].copy()))
    assert torch.equal(items[2], torch.from_numpy(bank.array("raw")[5, 0].copy()))
    assert items.shape == (4, 160)


def test_a_stopped_bank_goes_on_and_gives_the_same_numbers(make, monkeypatch):
    whole = make()
    whole.ensure(["raw"], monitor=Silent())
    expected = whole.array("raw").copy()
    whole.file("raw").unlink()

    class Stops(Silent):
        def progress(self, task, done, total):
            if done >= 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make().ensure(["raw"], monitor=Stops())
    computed = []
    again = make()
    first = FeatureBank._compute
    monkeypatch.setattr(
        FeatureBank, "_compute", lambda self, i, slots: (computed.append(i), first(self, i, slots))
    )
    again.ensure(["raw"], monitor=Silent())
    assert sorted(computed) == list(range(8, 18))
    np.testing.assert_array_equal(again.array("raw"), expected)


def test_a_finished_view_is_not_computed_again(make, monkeypatch):
    make().ensure(["raw"], monitor=Silent())
    monkeypatch.setattr(FeatureBank, "_compute", lambda *_: pytest.fail("computed again"))
    make().ensure(["raw"], monitor=Silent())


def test_features_of_other_versions_are_made_anew(make, monkeypatch):
    own = make().file("raw")
    monkeypatch.setattr("earshot.studies.bank.versions", lambda: {"soxr": "0.0"})
    assert make().file("raw") != own


def test_what_features_depend_on_changes_their_file(study, data, make):
    own = make().file("raw")
    changed = study.views["raw"].model_copy(update={"factor": 10})
    assert make(seed=1).file("raw") != own
    assert make(n_variants=2).file("raw") != own
    assert make(steps=PUBLISHED_STEPS[:1]).file("raw") != own
    assert make(views={"raw": changed}).file("raw") != own
    contents = ("other", *data.contents[1:])
    assert make(data=replace(data, contents=contents)).file("raw") != own
    later = data.clips.assign(start_s=[0.01] * len(data.clips))
    assert make(data=replace(data, clips=later)).file("raw") != own
    assert make(data=replace(data, length=data.length - 1)).file("raw") != own
    assert make().file("raw") == own
