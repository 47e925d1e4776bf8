import numpy as np
import pytest

from earshot.explain.faithfulness import (
    N_RANDOM,
    SHARES,
    Curves,
    curves_of,
    deletion_masks,
    first_cells,
    judge,
    order_of,
    random_orders,
)

SHAPE = (8, 16)
MATTERS = np.zeros(SHAPE)
MATTERS[2:5, 6:10] = 1.0  # 12 of 128 cells


def score(masks):
    """A model that knows what matters: its probability is the share of it that is left."""
    return np.array([1.0 - MATTERS.ravel()[mask].sum() / MATTERS.sum() for mask in masks])


def curves_along(cells, score=score, ends=(1.0, 0.0)):
    orders = {"own": order_of(cells)} | {str(i): o for i, o in enumerate(random_orders(SHAPE))}
    curves = curves_of(orders, score, ends=ends)
    return curves["own"], [curves[str(i)] for i in range(N_RANDOM)]


def test_a_map_of_what_matters_is_faithful():
    verdict = judge(*curves_along(MATTERS))
    assert verdict.level == "faithful"
    assert verdict.p_deletion == verdict.p_insertion == pytest.approx(1 / 21)
    assert "from 1.00 to 0.00" in verdict.sentence


@pytest.mark.parametrize(("n_as_good", "level"), [(0, "faithful"), (1, "not")])
def test_a_faithful_map_beats_every_random_order(n_as_good, level):
    own, random = curves_along(MATTERS)
    verdict = judge(own, [own] * n_as_good + random[n_as_good:])
    assert verdict.level == level
    assert verdict.p_deletion == verdict.p_insertion == pytest.approx((1 + n_as_good) / 21)


def test_a_map_of_what_does_not_matter_is_not():
    assert judge(*curves_along(1.0 - MATTERS)).level == "not"


def test_random_maps_are_rarely_called_faithful():
    rng = np.random.default_rng(5)
    levels = [judge(*curves_along(np.roll(MATTERS, rng.integers(0, 128)))).level for _ in range(40)]
    blind = [
        judge(*curves_along(order.reshape(SHAPE).astype(float))).level
        for order in random_orders(SHAPE, seed=9)
    ]
    assert levels.count("faithful") < 20  # some of the shifted maps still lie on it
    assert blind.count("faithful") <= 3


def test_a_model_that_never_changes_its_mind_cannot_be_tested():
    verdict = judge(*curves_along(MATTERS, lambda masks: np.array([0.99 for _ in masks]), ends=(0.99, 0.99)))
    assert verdict.level == "untestable"


def test_a_map_that_is_no_better_than_loudness_is_said_to_be():
    own, random = curves_along(MATTERS)
    assert "loudest" in judge(own, random, loudest=own).sentence
    assert "loudest" not in judge(own, random, loudest=random[0]).sentence


def test_masks_take_the_first_cells_then_leave_only_them():
    order = np.arange(128)[::-1]
    masks = list(deletion_masks([order]))
    assert len(masks) == 2 * len(SHARES)
    assert masks[0].sum() == round(SHARES[0] * 128)
    assert masks[0][-1]
    assert (masks[0] == ~masks[len(SHARES)]).all()
    assert first_cells(order, 0.0001).sum() == 1


def test_areas_are_those_of_trapezoids():
    curves = Curves(np.linspace(1, 1, 8), np.array([0.0, *SHARES, 1.0]))
    assert curves.areas == pytest.approx((1.0, 0.5))


def test_equal_cells_are_dealt_at_random():
    order = order_of(np.zeros(SHAPE))
    assert sorted(order) == list(range(128))
    assert list(order) != list(range(128))


def test_a_map_that_beats_all_random_orders_by_a_hair_is_not_faithful():
    """Whatever is taken away first, nearly all of the probability goes: the map's own order hardly matters."""

    def collapses(masks):
        return np.array([0.45 - 0.01 * MATTERS.ravel()[m].mean() if m.any() else 0.95 for m in masks])

    verdict = judge(*curves_along(MATTERS, score=collapses, ends=(0.95, 0.44)))
    assert verdict.p_deletion < 0.05
    assert verdict.level == "not"
