from dataclasses import replace

import numpy as np
import pytest

from earshot.errors import DataError
from earshot.evaluation.comparison import compare
from earshot.evaluation.significance import holm, mcnemar


@pytest.fixture
def models(make):
    """Three models: a good one, one as good, and a clearly worse one."""
    members = make(
        n_members=3, n_clips=400, strengths=[3.0, 3.0, 1.0], shared=0.7, n_groups=120, split="test"
    )
    return dict(zip(("wide", "deep", "tiny"), members, strict=True))


def rng():
    return np.random.default_rng(0)


def test_models_are_ranked_with_their_intervals(models):
    found = compare(models, rng=rng())
    accuracies = [each.accuracy for each in found.standings]
    assert accuracies == sorted(accuracies, reverse=True)
    assert found.standings[-1].name == "tiny"
    for each in found.standings:
        right = models[each.name].predicted == models[each.name].labels
        assert each.accuracy == right.mean()
        assert each.low < each.accuracy < each.high
    assert (found.n_clips, found.n_groups) == (400, len(set(models["wide"].groups)))


def test_each_pair_is_tested_on_the_same_clips_and_the_better_one_comes_first(models):
    found = compare(models, rng=rng())
    accuracy = {each.name: each.accuracy for each in found.standings}
    assert len(found.pairs) == 3
    for pair in found.pairs:
        first, second = (models[name].predicted == models[name].labels for name in (pair.first, pair.second))
        assert pair.difference == pytest.approx(accuracy[pair.first] - accuracy[pair.second])
        assert pair.difference >= 0
        assert pair.n_only_first - pair.n_only_second == pytest.approx(400 * pair.difference)
        assert pair.p_mcnemar == mcnemar(first, second)
        assert pair.low < pair.difference < pair.high
    corrected = holm([pair.p_mcnemar for pair in found.pairs])
    assert [pair.p_mcnemar_holm for pair in found.pairs] == pytest.approx(corrected.tolist())


def test_only_the_clearly_worse_model_is_called_so(models):
    clear = {frozenset((pair.first, pair.second)): pair.is_clear for pair in compare(models, rng=rng()).pairs}
    assert clear == {
        frozenset(("wide", "deep")): False,
        frozenset(("wide", "tiny")): True,
        frozenset(("deep", "tiny")): True,
    }


def test_a_pair_that_is_not_clear_says_how_many_clips_it_would_take(models):
    pairs = {frozenset((pair.first, pair.second)): pair for pair in compare(models, rng=rng()).pairs}
    close, far = pairs[frozenset(("wide", "deep"))], pairs[frozenset(("wide", "tiny"))]
    assert close.n_clips_needed is None or close.n_clips_needed > 400
    assert far.n_clips_needed < 400


def test_the_order_of_clips_does_not_matter(models):
    shuffled = dict(models, tiny=models["tiny"].subset(np.random.default_rng(1).permutation(400)))
    assert compare(shuffled, rng=rng()) == compare(models, rng=rng())


def test_a_model_is_no_different_from_itself(models):
    (pair,) = compare({"one": models["wide"], "other": models["wide"]}, rng=rng()).pairs
    assert (pair.difference, pair.p_mcnemar, pair.p_groups, pair.n_clips_needed) == (0, 1, 1, None)
    assert pair.low == -pair.high
    assert 0 < pair.high < 0.1  # so many clips without a difference do not prove that there is none
    assert not pair.is_clear


def test_copies_of_one_recording_prove_nothing(make):
    """Every clip thirty times over: McNemar is fooled, the test by groups is not."""
    good, fair = make(n_members=2, n_clips=30, strengths=[2.0, 1.3], shared=0.6, n_groups=None, seed=4)
    rows = np.repeat(np.arange(30), 30)

    def copied(p):
        ids = tuple(f"clip {i}" for i in range(900))
        return replace(
            p, probs=p.probs[rows], targets=p.targets[rows], clip_ids=ids, groups=tuple(map(str, rows))
        )

    (pair,) = compare({"good": copied(good), "fair": copied(fair)}, rng=rng()).pairs
    assert pair.p_mcnemar < 0.001
    assert pair.p_groups > 0.05
    assert not pair.is_clear


def test_several_labels_are_compared_by_clips_that_are_right_in_all(make):
    first, second = make(n_members=2, multilabel=True, strengths=[4.0, 2.0])
    found = compare({"a": first, "b": second}, rng=rng())
    said = (first.probs >= 0.5) == (first.known_targets >= 0.5)
    assert found.standings[0].accuracy == said.all(axis=1).mean()


def test_tables_have_a_row_a_model_and_a_row_a_pair(models):
    found = compare(models, rng=rng())
    assert found.standings_frame()["name"].tolist() == [each.name for each in found.standings]
    assert found.pairs_frame()["clear"].tolist() == [each.is_clear for each in found.pairs]


def test_models_that_cannot_be_compared_are_refused(models):
    with pytest.raises(DataError, match="number of models is 1"):
        compare({"wide": models["wide"]}, rng=rng())
    with pytest.raises(DataError, match="clips of tiny"):
        compare(dict(models, tiny=models["tiny"].subset(np.arange(9))), rng=rng())
    other = replace(models["tiny"], targets=np.roll(models["tiny"].targets, 1, axis=1))
    with pytest.raises(DataError, match="other labels"):
        compare(dict(models, tiny=other), rng=rng())
