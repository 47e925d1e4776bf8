from earshot.report.summary import limits_of_trust

SOUND = {
    "n_clips": 400, "n_groups": 300, "n_failed": 0, "accuracy": 0.9, "accuracy_ci95": [0.87, 0.93], "ece": 0.03,
    "per_class": [{"label": "rain", "n": 40, "n_groups": 30, "recall": 0.9}],
}  # fmt: skip


def said(**changes):
    return " ".join(limits_of_trust(SOUND | changes))


def test_nothing_is_said_of_a_run_that_can_be_trusted():
    assert limits_of_trust(SOUND) == []
    assert limits_of_trust({}) == []


def test_each_limit_is_named():
    assert "Only 12 groups" in said(n_groups=12)
    assert "Every clip counts as a recording of its own" in said(n_groups=400)
    found = ["groups: source recording in names FOLD-CLIP-TAKE (400 of 400 names)"]
    assert limits_of_trust(SOUND | {"n_groups": 400}, found) == []
    assert "1 file could not be read and is not" in said(n_failed=1)
    assert "2 files could not be read and are not" in said(n_failed=2)
    assert "15 points wide" in said(accuracy_ci95=[0.8, 0.95])
    assert "off by 20.0" in said(ece=0.2)
    assert "75.0" in said(test={"accuracy": 0.75, "accuracy_ci95": [0.7, 0.8]})
    assert "split" not in said(test={"accuracy": 0.85, "accuracy_ci95": [0.8, 0.9]}), "the intervals meet"
    assert said(test={"accuracy": 0.88, "accuracy_ci95": [0.8, 0.92]}) == ""
    weak = [{"label": f"c{i}", "n": 9, "n_groups": 3, "recall": 0.2} for i in range(7)]
    assert said(per_class=weak).count("“c4” and 2 more") == 2
