import numpy as np
import pytest

from earshot.evaluation.predictions import Predictions
from earshot.report import evidence
from earshot.report.evidence import gather, ranked_errors

from .clips_to_show import predicted


def of(probs, labels, *, multilabel=False, **given):
    probs = np.asarray(probs, dtype=np.float32)
    targets = np.asarray(labels) if multilabel else np.eye(probs.shape[1])[labels]
    ids = tuple(f"{i}.wav" for i in range(len(probs)))
    return Predictions(
        probs, tuple("abcd"[: probs.shape[1]]), clip_ids=ids, targets=targets, multilabel=multilabel, **given
    )


def test_mistakes_come_first_and_the_surest_mistake_before_them_all():
    found = gather(of([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.05, 0.95]], [1, 0, 0, 0]))
    assert [found.clips[i]["id"] for i in found.errors] == ["3.wav", "2.wav", "0.wav"]
    assert (found.n_errors, found.n_sure) == (3, 1)
    assert found.clips[0] == {
        "id": "3.wav", "true": [0], "said": [1], "top": [[1, 0.95], [0, 0.05]], "p_true": [0.05]
    }  # fmt: skip


def test_every_cell_leads_to_its_clips_and_to_no_other():
    predictions = predicted(n=8)
    found = gather(predictions)
    listed = {tuple(map(int, cell.split(","))): rows for cell, rows in found.cells.items()}
    matrix = np.zeros((3, 3), int)
    np.add.at(matrix, (predictions.labels, predictions.predicted), 1)
    assert set(listed) == {tuple(cell) for cell in np.argwhere(matrix).tolist()}
    for (true, said), indices in listed.items():
        wanted = matrix[true, said] if true != said else min(matrix[true, said], evidence.N_RIGHT)
        assert len(indices) == wanted
        for i in indices:
            assert (found.clips[i]["true"], found.clips[i]["said"]) == ([true], [said])
            assert found.clips[i]["id"] == predictions.clip_ids[found.rows[i]]


def test_of_right_answers_the_least_sure_two_and_the_surest_are_kept():
    found = gather(of([[p, 1 - p] for p in (0.6, 0.99, 0.8, 0.7, 0.9)] + [[0.1, 0.9]], [0] * 5 + [1]))
    assert [found.clips[i]["id"] for i in found.cells["0,0"]] == ["0.wav", "3.wav", "1.wav"]


def test_with_several_labels_the_class_that_is_furthest_off_decides():
    probs = [[0.9, 0.6, 0.1], [0.9, 0.1, 0.97], [0.4, 0.1, 0.1], [0.9, 0.1, 0.1]]
    truth = [[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]]
    predictions = of(probs, truth, multilabel=True)
    assert ranked_errors(predictions).tolist() == [1, 0, 2]
    found = gather(predictions)
    assert found.cells == {}
    assert [clip["said"] for clip in found.clips] == [[0, 2], [0, 1], []]


def test_members_are_quoted_only_where_there_are_several():
    one, two = predicted(), predicted(seed=1)
    assert "members" not in gather(one, members={"fast": one}).clips[0]
    found = gather(one, members={"fast": one, "cnn": two})
    row = found.rows[0]
    (_, k, p), (name, _, _) = found.clips[0]["members"]
    assert (k, name) == (int(one.predicted[row]), "cnn")
    assert p == pytest.approx(float(one.confidence[row]), abs=1e-4)


def test_what_an_audit_says_of_a_clip_goes_with_it():
    predictions = predicted()
    wrong = predictions.clip_ids[ranked_errors(predictions)[0]]
    found = gather(predictions, remarks={wrong: ["audit: clipped"], "else.wav": ["x"]})
    assert [clip.get("remarks") for clip in found.clips].count(["audit: clipped"]) == 1
    assert found.clips[0]["remarks"] == ["audit: clipped"]


def test_tens_of_thousands_of_mistakes_are_counted_and_a_bounded_number_is_listed():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(40), 20_000).astype(np.float32)
    labels = rng.integers(0, 40, 20_000)
    found = gather(
        Predictions(
            probs,
            tuple(f"class {k}" for k in range(40)),
            clip_ids=tuple(f"{'long ' * 60}{i}.wav" for i in range(20_000)),
            targets=np.eye(40)[labels],
        )
    )
    assert found.n_errors == int((probs.argmax(axis=1) != labels).sum()) > 19_000
    assert len(found.errors) == evidence.N_ERRORS
    assert len(found.clips) == evidence.N_CLIPS
    assert max(len(rows) for rows in found.cells.values()) <= evidence.N_PER_CELL
    assert max(len(clip["id"]) for clip in found.clips) <= 160
    assert found.clips[0]["id"].endswith(".wav")
