"""What matters in a window to a bundle: by occlusion for any model, by gradients for networks.

Conventions: maps are signed, [bands, times] over the cells of a `Plane`, positive where the sound speaks for the
class. Occlusion is in log-odds; maps of gradients are shares of what was attributed, averaged over fold models and,
by their say in the pool, over members.
Source of occlusion: Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earshot.deploy.bundle import Bundle
from earshot.explain.gradients import Explained, features_of, grad_cam, integrated_gradients
from earshot.explain.listening import Plane, band_edges_hz
from earshot.explain.scores import Scorer, log_odds
from earshot.explain.views import Extent, as_map, extent_of, on_grid
from earshot.models.member import Member, NetworkMember

Floats = NDArray[np.float64]

METHODS: dict[str, str] = {
    "occlusion": "how much the log-odds fall when a cell is taken away; for any model",
    "grad_cam": "the maps of the last convolution, weighed by their gradients; for networks with convolutions",
    "integrated_gradients": "gradients summed on the way from a reference to this sound; for networks",
}

N_FINE = (40, 96)
"""Bands and times of the maps that are shown."""


@dataclass(frozen=True)
class Saliency:
    """One map of what matters.

    Attributes:
        method: key of `METHODS`.
        member: whose; "" for the whole bundle.
        cells: signed, over the cells of the plane. Shape: [bands, times].
        fine: the part that speaks for the class, finer where the method is; its sum is 1 or 0. Shape: `N_FINE`.
        resolves: "time and frequency", "time" or "frequency"; along the other axis it is the same everywhere.
        error: of integrated gradients, by how much its sum misses the log-odds, as a share; else None.
    """

    method: str
    member: str
    cells: Floats
    fine: Floats
    resolves: str
    error: float | None = None


def occlusion(
    plane: Plane, scorer: Scorer, *, k: int, full: Floats, on_scored: Callable[[int], None] = lambda n: None
) -> list[Saliency]:
    """The map of the whole bundle, then, where there are several, those of its members.

    Args:
        full: what the fold models say of the whole window, [M, K].
    """
    taken = np.eye(int(np.prod(plane.shape)), dtype=bool).reshape(-1, *plane.shape)
    rows = scorer.rows((plane.without(cells) for cells in taken), on_scored=on_scored)
    found = [_occluded(scorer.whole(rows)[:, k], scorer.whole(full[None])[0, k], plane, member="")]
    if len(scorer.families) > 1:
        whole = scorer.by_family(full[None])
        found += [
            _occluded(probs[:, k], whole[name][0, k], plane, member=name)
            for name, probs in scorer.by_family(rows).items()
        ]
    return found


def _occluded(probs: Floats, full: float, plane: Plane, *, member: str) -> Saliency:
    cells = (log_odds(np.asarray(full)) - log_odds(probs)).reshape(plane.shape)
    rows, columns = (np.arange(n) * size // n for n, size in zip(N_FINE, plane.shape, strict=True))
    fine = _shares(cells[np.ix_(rows, columns)])
    return Saliency("occlusion", member, cells, fine, "time and frequency")


def by_gradients(
    plane: Plane, bundle: Bundle, *, k: int, shares: Mapping[str, float], on_done: Callable[[], None]
) -> list[Saliency]:
    """Grad-CAM and integrated gradients of the members that have them, each after their mean over the bundle.

    Raises:
        ConfigError: captum is not installed.
    """
    found: list[Saliency] = []
    for name, members in bundle.families.items():
        features = bundle.config.members[name].config.features
        extent = extent_of(features, n_samples=len(plane.waveform), rate_hz=plane.rate_hz)
        if extent is None:
            continue
        folds: list[Saliency] = []
        for member in networks_of(members):
            folds += _of_network(member, plane, k=k, name=name, features=features, extent=extent)
            on_done()
        found += [_mean(each, [1.0] * len(each), member=name) for each in _by_method(folds)]
    if len(bundle.families) == 1:
        return [_mean([each], [1.0], member="") for each in found]
    together = [_mean(each, [shares[one.member] for one in each], member="") for each in _by_method(found)]
    return together + found


def _by_method(found: Sequence[Saliency]) -> list[list[Saliency]]:
    groups = [[each for each in found if each.method == method] for method in METHODS]
    return [group for group in groups if group]


def _of_network(
    member: NetworkMember, plane: Plane, *, k: int, name: str, features: object, extent: Extent
) -> list[Saliency]:
    explained = Explained(member, k=k)
    given = features_of(member, plane.waveform)
    maps = []
    cam = grad_cam(explained, given)
    if cam is not None:
        # Maps with one axis, and colours that are gone already: brought to the shape of what they speak of.
        shaped = np.broadcast_to(cam, given.shape[1:])
        over_time = cam.ndim == 1 and len(extent.edges_s) > 2
        maps.append(_placed("grad_cam", name, as_map(features, shaped), extent, plane, over_time=over_time))
    silence = features_of(member, np.zeros_like(plane.waveform))
    integrated = integrated_gradients(explained, given, silence=silence)
    placed = _placed("integrated_gradients", name, as_map(features, integrated.values), extent, plane)
    return [*maps, replace(placed, error=integrated.error)]


def _placed(
    method: str, name: str, values: Floats, extent: Extent, plane: Plane, *, over_time: bool = False
) -> Saliency:
    fine_hz, fine_s = band_edges_hz(N_FINE[0], plane.rate_hz), np.linspace(0, plane.duration_s, N_FINE[1] + 1)
    cells = on_grid(values, extent, edges_hz=plane.band_edges_hz, edges_s=plane.time_edges_s)
    fine = on_grid(values, extent, edges_hz=fine_hz, edges_s=fine_s)
    resolves = "time" if over_time else extent.resolves
    return Saliency(method, name, _scaled(cells), _scaled(fine), resolves)


def _mean(maps: Sequence[Saliency], weights: Sequence[float], *, member: str) -> Saliency:
    """One map of several; a view that knows only time speaks of all bands alike."""
    total = sum(weights) or 1.0
    cells = sum(weight / total * each.cells for weight, each in zip(weights, maps, strict=True))
    fine = sum(weight / total * each.fine for weight, each in zip(weights, maps, strict=True))
    resolves = max((each.resolves for each in maps), key=len)
    errors = [each.error for each in maps if each.error is not None]
    return Saliency(
        maps[0].method,
        member,
        np.asarray(cells),
        _shares(np.asarray(fine)),
        resolves,
        max(errors) if errors else None,
    )


def _scaled(values: Floats) -> Floats:
    """Signed, absolute values summing to 1, so that fold models count alike."""
    return np.asarray(values / max(float(np.abs(values).sum()), 1e-30))


def _shares(values: Floats) -> Floats:
    positive = np.maximum(values, 0.0)
    return np.asarray(positive / max(float(positive.sum()), 1e-30))


def networks_of(members: Sequence[Member]) -> list[NetworkMember]:
    """Those of some fold models that are networks."""
    return [member for member in members if isinstance(member, NetworkMember)]
