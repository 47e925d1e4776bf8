"""What a model says of made-up sounds that most models should not know.

A model may have been trained on such sounds; then they are known, and rightly so.
"""

from __future__ import annotations

from typing import Any

from earshot.deploy.artificial import probe_sounds
from earshot.deploy.bundle import Bundle
from earshot.deploy.choices import Chooser

_MIN_DURATION_S = 1.0


def probe(bundle: Bundle) -> dict[str, Any]:
    """Keys of metrics.json: how many of `probe_sounds` `predict --reject` rejects, and its answer to each.

    An answer has a `label`, or where that is empty the reason in `rejected`.
    """
    config = bundle.config
    duration_s = max(_MIN_DURATION_S, config.window_samples / config.rate_hz)
    sounds = probe_sounds(config.rate_hz, duration_s=duration_s)
    chooser = Chooser(bundle, reject=True)
    answers = [chooser.answer(judgement) for judgement in bundle.judge(sounds.values())]
    return {
        "probes_rejected": sum(not answer.label for answer in answers),
        "probes": {
            name: {"label": answer.label, "rejected": answer.columns["rejected"]}
            for name, answer in zip(sounds, answers, strict=True)
        },
    }
