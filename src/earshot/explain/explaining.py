"""One sound explained: what the model says, what matters in it, whether that is so, and what each layer does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earshot.audio import windows
from earshot.data.readers import read_clips
from earshot.deploy.bundle import Bundle
from earshot.deploy.decoded import decoded
from earshot.errors import DataError, EarshotError, complaint
from earshot.explain.asked import check_file
from earshot.explain.faithfulness import (
    SALIENT_SHARE,
    SHARES,
    Curves,
    Verdict,
    curves_of,
    first_cells,
    judge,
    order_of,
    random_orders,
)
from earshot.explain.filters import Filters, filters_of
from earshot.explain.gradients import features_of, require_captum
from earshot.explain.layers import Contributions, Layer, contributions_of, layers_of
from earshot.explain.listening import Plane
from earshot.explain.saliency import Saliency, by_gradients, networks_of, occlusion
from earshot.explain.scores import Scorer
from earshot.explain.views import Extent, extent_of
from earshot.monitor import Monitor, Silent

Floats = NDArray[np.float64]
_LOUDEST = "loudest first"


@dataclass(frozen=True)
class Tested:
    """A map of the whole bundle after the test of deletion and insertion."""

    saliency: Saliency
    curves: Curves
    verdict: Verdict


@dataclass(frozen=True)
class MemberView:
    """What one member says, and how its first fold model comes to it; a classical member has no layers.

    Attributes:
        probs: of its fold models on average, [K].
        contributions: of every fold model, in their order.
        layers, filters: of the first fold model.
        extent: where its view lies, None where it has no place in time or frequency.
    """

    name: str
    features: str
    model: str
    share: float
    n_folds: int
    probs: Floats
    contributions: list[Contributions]
    layers: list[Layer]
    filters: Filters | None
    extent: Extent | None


@dataclass(frozen=True)
class Explanation:
    """Everything that is known of one sound, for one class.

    Attributes:
        probs: what the model says of the whole clip, [K].
        window_probs: of the window that is explained, [K].
        k: the class that is explained.
        start_s: where the window begins in the clip.
        clip_s: how long the clip is; shorter than the window, it is heard repeated.
        salient: the window with silence in place of all but its salient part, float32 [T].
        salient_probs: what the model says of that part in quiet noise, [K].
        tested: maps of the whole bundle, the one that passed the test best first.
        saliencies: maps of the members.
        random: curves of random orders.
    """

    name: str
    classes: tuple[str, ...]
    multilabel: bool
    probs: Floats
    window_probs: Floats
    k: int
    start_s: float
    clip_s: float
    plane: Plane
    salient: NDArray[np.float32]
    salient_probs: Floats
    tested: list[Tested]
    saliencies: list[Saliency]
    random: list[Curves]
    loudest: Curves
    members: list[MemberView]


def explain_file(
    bundle: Bundle,
    path: Path,
    *,
    class_name: str | None = None,
    at_s: float | None = None,
    monitor: Monitor | None = None,
) -> Explanation:
    """Explains one sound file; the arguments are those of `explain_clip`.

    Raises:
        EarshotError: the file is none, or no sound.
    """
    check_file(path)
    [(outcome, samples)] = decoded(bundle, read_clips([str(path)], labels=False))
    if samples is None:
        raise DataError(outcome.message)
    return explain_clip(
        bundle, samples, name=path.name, class_name=class_name, at_s=at_s, monitor=monitor or Silent()
    )


def explain_clip(
    bundle: Bundle,
    samples: NDArray[np.int16],
    *,
    name: str = "clip",
    class_name: str | None = None,
    at_s: float | None = None,
    monitor: Monitor | None = None,
) -> Explanation:
    """Explains what a bundle says of one clip.

    Args:
        samples: int16 [T] at the bundle's rate, T >= 1.
        class_name: the class to explain; without it the most probable one.
        at_s: where the window begins; without it the one that speaks most for the class.

    Raises:
        ConfigError: captum is not installed and the bundle has networks.
        EarshotError: the class is not one of the bundle's, or the clip does not reach `at_s`.
    """
    if any(networks_of(members) for members in bundle.families.values()):
        require_captum()
    monitor = monitor or Silent()
    scorer = Scorer(bundle)
    probs = next(iter(bundle.score([samples]))).astype(np.float64)
    k = _class_index(bundle, class_name, probs)
    start = _start(bundle, samples, scorer, k=k, at_s=at_s)
    window = windows.to_float(windows.cut(samples, start, bundle.config.window_samples))
    plane = Plane(window, rate_hz=bundle.rate_hz)
    full = scorer.rows([window])[0]
    found = _saliencies(plane, bundle, scorer, k=k, full=full, monitor=monitor)
    whole = [each for each in found if not each.member]
    tested, random, loudest = _tested(whole, plane, scorer, k=k, monitor=monitor)
    kept = salient_cells(tested[0].saliency)
    return Explanation(
        name=name,
        classes=bundle.classes,
        multilabel=bundle.config.multilabel,
        probs=probs,
        window_probs=scorer.whole(full[None])[0],
        k=k,
        start_s=start / bundle.rate_hz,
        clip_s=len(samples) / bundle.rate_hz,
        plane=plane,
        salient=plane.alone(kept),
        salient_probs=scorer.whole(scorer.rows([plane.without(~kept)]))[0],
        tested=tested,
        saliencies=[each for each in found if each.member],
        random=random,
        loudest=loudest,
        members=[
            _member_view(bundle, name, window, probs=said[0], share=scorer.shares[name])
            for name, said in scorer.by_family(full[None]).items()
        ],
    )


def _class_index(bundle: Bundle, class_name: str | None, probs: Floats) -> int:
    if class_name is None:
        return int(probs.argmax())
    if class_name not in bundle.classes:
        known = ", ".join(bundle.classes[:20]) + (", ..." if len(bundle.classes) > 20 else "")
        raise EarshotError(complaint("--class", "class", class_name, f"one of {known}"))
    return bundle.classes.index(class_name)


def _start(bundle: Bundle, samples: NDArray[np.int16], scorer: Scorer, *, k: int, at_s: float | None) -> int:
    """First sample of the window to explain."""
    length, hop = bundle.config.window_samples, bundle.config.hop_samples
    if at_s is not None:
        clip_s = len(samples) / bundle.rate_hz
        if not 0.0 <= at_s < clip_s:
            rule = f"seconds from 0 to below {clip_s:g}, the length of the clip"
            raise EarshotError(complaint("--at", "start", at_s, rule))
        return max(0, min(round(at_s * bundle.rate_hz), len(samples) - length))
    starts = windows.heard_windows(samples, length=length, hop=hop, gate=bundle.config.gate).starts
    if len(starts) == 1:
        return int(starts[0])
    cut = (windows.to_float(windows.cut(samples, int(start), length)) for start in starts)
    return int(starts[scorer.whole(scorer.rows(cut))[:, k].argmax()])


def _saliencies(
    plane: Plane, bundle: Bundle, scorer: Scorer, *, k: int, full: Floats, monitor: Monitor
) -> list[Saliency]:
    n_cells = int(np.prod(plane.shape))
    found = occlusion(
        plane, scorer, k=k, full=full, on_scored=lambda n: monitor.progress("occlusion", n, n_cells)
    )
    n_networks = sum(len(networks_of(members)) for members in bundle.families.values())
    done = iter(range(1, n_networks + 1))
    return found + by_gradients(
        plane,
        bundle,
        k=k,
        shares=scorer.shares,
        on_done=lambda: monitor.progress("gradients", next(done), n_networks),
    )


def _tested(
    saliencies: list[Saliency], plane: Plane, scorer: Scorer, *, k: int, monitor: Monitor
) -> tuple[list[Tested], list[Curves], Curves]:
    """Maps with their verdicts, the best first; curves of random orders; the curves of the loudest cells first."""
    random = {f"random {i}": order for i, order in enumerate(random_orders(plane.shape))}
    orders = {each.method: order_of(each.cells) for each in saliencies}
    orders |= {_LOUDEST: order_of(plane.energies), **random}
    n_masks = 2 * len(SHARES) * len(orders)

    def score(masks: Iterator[NDArray[np.bool_]]) -> Floats:
        waves = (plane.without(mask.reshape(plane.shape)) for mask in masks)
        rows = scorer.rows(waves, on_scored=lambda n: monitor.progress("testing the maps", n, n_masks))
        return scorer.whole(rows)[:, k]

    ends = scorer.rows([plane.waveform, plane.without(np.ones(plane.shape, bool))])
    full, empty = scorer.whole(ends)[:, k].tolist()
    curves = curves_of(orders, score, ends=(full, empty))
    others, loudest = [curves[name] for name in random], curves[_LOUDEST]
    tested = [
        Tested(each, curves[each.method], judge(curves[each.method], others, loudest=loudest))
        for each in saliencies
    ]
    return sorted(tested, key=lambda each: (each.verdict.rank, -each.curves.gain)), others, loudest


def salient_cells(saliency: Saliency) -> NDArray[np.bool_]:
    """The cells that count as the salient part: the first `SALIENT_SHARE`. Shape: [bands, times]."""
    return first_cells(order_of(saliency.cells), SALIENT_SHARE).reshape(saliency.cells.shape)


def _member_view(
    bundle: Bundle, name: str, window: NDArray[np.float32], *, probs: Floats, share: float
) -> MemberView:
    config, members = bundle.config.members[name].config, bundle.families[name]
    networks = networks_of(members)
    contributions = [contributions_of(each.network, features_of(each, window)) for each in networks]
    layers, filters = [], None
    if networks:
        first = networks[0]
        layers = layers_of(first.network, features_of(first, window))
        filters = filters_of(
            first.network,
            features=config.features,
            rate_hz=bundle.rate_hz,
            first_maps=layers[0].activations if layers else None,
        )
    return MemberView(
        name=name,
        features=config.features.kind,
        model=config.model.kind,
        share=share,
        n_folds=len(members),
        probs=probs,
        contributions=contributions,
        layers=layers,
        filters=filters,
        extent=extent_of(config.features, n_samples=len(window), rate_hz=bundle.rate_hz),
    )
