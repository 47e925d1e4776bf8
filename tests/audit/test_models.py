import builtins

import numpy as np
import pytest

from earshot.audit.models import (
    content_model,
    doubtful_labels,
    find_shortcuts,
    grouped_folds,
    held_out_probs,
    leak_price,
    random_folds,
    repeated_probs,
)
from earshot.errors import ConfigError

LABELS = np.repeat(np.arange(3), 40)
GROUPS = [str(i // 4) for i in range(120)]


def rows(*, told, seed=0):
    """Features [120, 6]: of the label if `told` == "label", of the group if "group", else of nothing."""
    rng = np.random.default_rng(seed)
    centres = {"label": np.eye(6)[LABELS], "group": rng.standard_normal((30, 6))[np.arange(120) // 4]}
    return 3 * centres.get(told, np.zeros((120, 6))) + 0.4 * rng.standard_normal((120, 6))


def test_grouped_folds_tear_no_group_and_random_ones_spread_classes():
    grouped = grouped_folds(LABELS, GROUPS, n_folds=5, seed=0)
    assert all(len(set(grouped[i : i + 4])) == 1 for i in range(0, 120, 4))
    dealt = random_folds(LABELS, n_folds=5, seed=0)
    assert np.bincount(3 * dealt + LABELS).tolist() == [8] * 15
    assert any(len(set(dealt[i : i + 4])) > 1 for i in range(0, 120, 4))


def test_features_of_a_recording_pay_in_a_random_split_only():
    features = rows(told="group")
    scores = [
        (held_out_probs(content_model, features, LABELS, folds).argmax(axis=1) == LABELS).mean()
        for folds in (
            grouped_folds(LABELS, GROUPS, n_folds=5, seed=0),
            random_folds(LABELS, n_folds=5, seed=0),
        )
    ]
    assert scores[1] > scores[0] + 0.05


def test_a_shortcut_is_clear_where_it_tells_the_label_and_not_by_luck():
    folds = grouped_folds(LABELS, GROUPS, n_folds=5, seed=0)
    families = {"length": rows(told="label"), "level": rows(told="", seed=5), "format": rows(told="group")}
    found = {
        each.name: each for each in find_shortcuts(families, LABELS, GROUPS, folds=folds, n_trees=30, seed=0)
    }
    assert found["length"].is_clear
    assert found["length"].score > 0.95
    assert not found["level"].is_clear
    assert found["level"].score == pytest.approx(1 / 3, abs=0.12)


def test_swapped_labels_are_doubted_first_and_the_right_one_is_suggested():
    pytest.importorskip("cleanlab")
    wrong = np.array([3, 50, 100])
    given = LABELS.copy()
    given[wrong] = (given[wrong] + 1) % 3
    folds = grouped_folds(given, GROUPS, n_folds=5, seed=0)
    doubts = doubtful_labels(given, held_out_probs(content_model, rows(told="label"), given, folds))
    assert set(doubts.rows[:3]) == set(wrong)
    assert doubts.suggested[:3].tolist() == LABELS[doubts.rows[:3]].tolist()
    assert doubts.quality[wrong].max() < np.delete(doubts.quality, wrong).min()


def test_without_cleanlab_the_message_names_the_library(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **options):
        if name.startswith("cleanlab"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match="pip install cleanlab"):
        doubtful_labels(LABELS, np.full((120, 3), 1 / 3))


def test_a_tenth_of_the_labels_swapped_is_found_and_few_others():
    pytest.importorskip("cleanlab")
    rng = np.random.default_rng(3)
    wrong = rng.choice(120, 12, replace=False)
    given = LABELS.copy()
    given[wrong] = (given[wrong] + rng.integers(1, 3, 12)) % 3
    features = rows(told="label") + rng.standard_normal((120, 6))
    probs = repeated_probs(features, given, GROUPS, n_folds=5, n_repeats=3, seed=0).mean(axis=0)
    doubted = set(doubtful_labels(given, probs).rows.tolist())
    assert len(doubted & set(wrong.tolist())) >= 0.6 * 12
    assert len(doubted & set(wrong.tolist())) >= 0.5 * len(doubted)


def test_the_price_of_a_leak_has_an_interval_over_groups():
    features = rows(told="group")
    grouped, dealt = (
        repeated_probs(features, LABELS, groups, n_folds=5, n_repeats=2, seed=0) for groups in (GROUPS, None)
    )
    assert grouped.shape == (2, 120, 3)
    found = leak_price(grouped, dealt, LABELS, GROUPS, seed=0)
    assert found.low <= found.price <= found.high
    assert found.is_clear
    assert leak_price(grouped, grouped, LABELS, GROUPS, seed=0).price == 0
