from pathlib import Path

from earshot.deploy.artificial import probe_sounds
from earshot.deploy.bundle import Bundle
from earshot.deploy.probes import probe


def test_answers_are_those_of_predict_with_reject(fast_run: Path) -> None:
    bundle = Bundle.load(fast_run / "model")
    found = probe(bundle)
    names = probe_sounds(bundle.rate_hz, duration_s=1.0)
    assert list(found["probes"]) == list(names)
    assert all(
        (answer["label"] in bundle.classes) != bool(answer["rejected"]) for answer in found["probes"].values()
    )
    assert found["probes_rejected"] == sum(not answer["label"] for answer in found["probes"].values())
    assert found["probes"]["faint white noise"] == {"label": "", "rejected": "unknown"}
