"""What a model costs to keep and to use: parameters, support vectors, time a clip."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from earshot.deploy.bundle import Bundle
from earshot.deploy.golden import golden_clips
from earshot.models.member import ClassicalMember, NetworkMember

_ROUNDS = 5


def n_parameters(bundle: Bundle) -> int:
    """Trained numbers of all networks."""
    networks = [
        m.network for family in bundle.families.values() for m in family if isinstance(m, NetworkMember)
    ]
    return sum(parameter.numel() for network in networks for parameter in network.parameters())


def n_support_vectors(bundle: Bundle) -> int:
    """Training windows that support vector machines keep."""
    estimators = [
        m.estimator for family in bundle.families.values() for m in family if isinstance(m, ClassicalMember)
    ]
    return sum(_support_vectors(each) for each in estimators)


def _support_vectors(estimator: Any) -> int:
    if hasattr(estimator, "estimators_") and not hasattr(estimator, "steps"):  # one a label
        return sum(_support_vectors(each) for each in estimator.estimators_)
    machine = estimator[-1] if hasattr(estimator, "steps") else estimator
    return int(machine.n_support_.sum()) if hasattr(machine, "n_support_") else 0


def latencies_ms(bundles: Mapping[str, Bundle], *, n_threads: int = 1) -> dict[str, float]:
    """Median time of one window on its own, from samples to probabilities, in ms.

    Each bundle scores its golden sounds one by one, repeated or cut to its window; the bundles take turns, so that
    what else the machine does falls on all of them.
    """
    before = torch.get_num_threads()
    taken: dict[str, list[float]] = {name: [] for name in bundles}
    sounds = {
        name: [np.resize(sound, bundle.config.window_samples) for sound in golden_clips(bundle.rate_hz)]
        for name, bundle in bundles.items()
    }
    torch.set_num_threads(n_threads)
    try:
        for i in range(_ROUNDS + 1):
            for name, bundle in bundles.items():
                for sound in sounds[name]:
                    started = time.perf_counter()
                    next(bundle.score([sound]))
                    if i:  # the first round warms up
                        taken[name].append(1000 * (time.perf_counter() - started))
    finally:
        torch.set_num_threads(before)
    return {name: statistics.median(each) for name, each in taken.items()}
