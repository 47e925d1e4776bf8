"""An explanation as one HTML page: the answer, the sound, what matters in it, then layers and filters."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.audio.windows import to_int16
from earshot.data.fields import printable
from earshot.explain.explaining import Explanation, MemberView
from earshot.explain.faithfulness import SALIENT_SHARE, SHARES
from earshot.explain.filters import Filters
from earshot.explain.layers import Contributions, Layer
from earshot.explain.saliency import METHODS, Saliency
from earshot.report import explanation as draw
from earshot.report.media import compressed
from earshot.report.page import inline_svg, template, write_page

TITLES = {
    "occlusion": "Occlusion",
    "grad_cam": "Grad-CAM",
    "integrated_gradients": "Integrated gradients",
}
LEVELS = {
    "faithful": "faithful",
    "partly": "partly faithful",
    "not": "not faithful",
    "untestable": "not testable",
}
Floats32 = NDArray[np.float32]
_PICTURE_BYTES = 9_000_000  # of all layers; with sounds and the rest the page stays below 15 MB
_N_CLASSES = 8
_N_COMPONENTS = 8  # for and against, each
_MAX_LAYERS = 40


class Pictures:
    """Numbers the figures of a page, so that their ids differ, and bounds what layers take."""

    def __init__(self, *, room: int = _PICTURE_BYTES) -> None:
        self.n = 0
        self.left = room

    def svg(self, figure: Any) -> str:
        self.n += 1
        return inline_svg(figure, prefix=f"f{self.n}-")

    def bounded(self, picture: str) -> str:
        """The picture, or nothing where there is no room for it."""
        if len(picture) > self.left:
            return ""
        self.left -= len(picture)
        return picture


def write_explanation_page(found: Explanation, path: Path, *, command: str = "") -> None:
    """Writes the page in one move."""
    write_page(path, render_explanation(found, command=command))


def render_explanation(found: Explanation, *, command: str = "") -> str:
    """The page as text. Names are escaped, as is everything else."""
    pictures = Pictures()
    plane = found.plane
    return template("explain.html.j2").render(
        title=printable(found.name),
        created=time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        command=printable(command),
        label=printable(found.classes[found.k]),
        is_answer=found.k == int(found.probs.argmax()),
        prob=float(found.probs[found.k]),
        window_prob=float(found.window_probs[found.k]),
        classes=_classes(found),
        multilabel=found.multilabel,
        where=_where(found),
        sound=_sound(plane.waveform, plane.rate_hz),
        salient=_sound(found.salient, plane.rate_hz),
        salient_share=SALIENT_SHARE,
        salient_prob=float(found.salient_probs[found.k]),
        removed_prob=float(found.tested[0].curves.insertion[0]),
        best=TITLES[found.tested[0].saliency.method],
        level=found.tested[0].verdict.level,
        words=LEVELS[found.tested[0].verdict.level],
        picture=pictures.svg(_spectrogram(found, None)),
        maps=[_map(found, i, pictures) for i in range(len(found.tested))],
        members=[_member(found, member, pictures) for member in found.members],
        several=len(found.members) > 1,
        n_random=len(found.random),
        max_maps=draw.MAX_MAPS,
        max_filters=draw.MAX_FILTERS,
        max_layers=_MAX_LAYERS,
    )


def _classes(found: Explanation) -> list[dict[str, Any]]:
    order = np.argsort(-found.probs, kind="stable")[:_N_CLASSES].tolist()
    if found.k not in order:
        order[-1] = found.k
    return [
        {"name": printable(found.classes[k]), "prob": float(found.probs[k]), "explained": k == found.k}
        for k in order
    ]


def _where(found: Explanation) -> str:
    """Which part of the clip was explained, in words; nothing where it is all of it."""
    window_s = found.plane.duration_s
    if found.clip_s > window_s + 1e-6:
        end_s = found.start_s + window_s
        return f"seconds {found.start_s:.2f} to {end_s:.2f} of {found.clip_s:.2f}"
    if found.clip_s < window_s - 1e-6:
        return f"the clip of {found.clip_s:.2f} s, repeated to fill the window of {window_s:.2f} s"
    return ""


def _sound(samples: NDArray[np.float32], rate_hz: int) -> str:
    coded = compressed(to_int16(samples), rate_hz)
    return "" if coded is None else f"data:{coded[0]};base64,{base64.b64encode(coded[1]).decode()}"


def _spectrogram(found: Explanation, saliency: Saliency | None) -> Any:
    plane = found.plane
    return draw.spectrogram(
        plane.levels_db,
        duration_s=plane.duration_s,
        rate_hz=plane.rate_hz,
        start_s=found.start_s,
        saliency=None if saliency is None else saliency.fine,
    )


def _map(found: Explanation, i: int, pictures: Pictures) -> dict[str, Any]:
    tested = found.tested[i]
    shares = (0.0, *SHARES, 1.0)
    own = (tested.curves.deletion, tested.curves.insertion)
    random = [(each.deletion, each.insertion) for each in found.random]
    return {
        "title": TITLES[tested.saliency.method],
        "about": METHODS[tested.saliency.method],
        "resolves": tested.saliency.resolves,
        "picture": pictures.svg(_spectrogram(found, tested.saliency)),
        "curves": pictures.svg(draw.deletion_curves(shares, own, random)),
        "verdict": tested.verdict,
        "level": LEVELS[tested.verdict.level],
        "error": tested.saliency.error,
        "is_empty": not tested.saliency.fine.any(),
    }


def _member(found: Explanation, member: MemberView, pictures: Pictures) -> dict[str, Any]:
    maps = [each for each in found.saliencies if each.member == member.name]
    return {
        "name": printable(member.name),
        "features": member.features,
        "model": member.model,
        "share": member.share,
        "n_folds": member.n_folds,
        "prob": float(member.probs[found.k]),
        "maps": [
            {"title": TITLES[each.method], "picture": pictures.svg(_spectrogram(found, each))}
            for each in maps
        ],
        "contributions": _contributions(found, member.contributions[0]) if member.contributions else None,
        "layers": [_layer(member, each, found.plane.duration_s, pictures) for each in _some(member.layers)],
        "n_layers": len(member.layers),
        "filters": None if member.filters is None else _filters(member, member.filters, pictures),
    }


def _contributions(found: Explanation, one: Contributions) -> dict[str, Any]:
    """The components that speak most for the class and against it, in the first fold model."""
    others = np.where(np.arange(len(found.classes)) == found.k, -np.inf, one.logits)
    rival = int(others.argmax())
    own, order = one.table[:, found.k], np.argsort(-one.table[:, found.k], kind="stable")
    some = len(order) > 2 * _N_COMPONENTS
    chosen = np.concatenate([order[:_N_COMPONENTS], order[-_N_COMPONENTS:]]) if some else order
    largest = float(np.abs(one.table[chosen][:, [found.k, rival]]).max()) or 1.0
    rows = [
        {
            "name": f"component {c + 1}",
            "pooled": float(one.pooled[c]),
            "weight": float(one.weights[found.k, c]),
            "own": float(own[c]),
            "rival": float(one.table[c, rival]),
            "width": 50 * abs(float(own[c])) / largest,
        }
        for c in chosen
    ]
    return {
        "rows": rows,
        "rival": printable(found.classes[rival]),
        "n": len(order),
        "rest": float(own.sum() - own[chosen].sum()),
        "rival_rest": float(one.table[:, rival].sum() - one.table[chosen, rival].sum()),
        "bias": float(one.bias[found.k]),
        "rival_bias": float(one.bias[rival]),
        "logit": float(one.logits[found.k]),
        "rival_logit": float(one.logits[rival]),
    }


def _some(layers: list[Layer]) -> list[Layer]:
    """All layers, or `_MAX_LAYERS` of them, evenly spaced."""
    if len(layers) <= _MAX_LAYERS:
        return layers
    return [layers[i] for i in np.linspace(0, len(layers) - 1, _MAX_LAYERS).round().astype(int)]


def _layer(member: MemberView, layer: Layer, duration_s: float, pictures: Pictures) -> dict[str, Any]:
    values = layer.activations
    n, shape = len(values), "×".join(str(size) for size in values.shape)
    shown = draw.strongest(values)
    svg, image = "", ""
    if values.ndim == 3 and values[0].size > 1:
        image = pictures.bounded(draw.maps_image(_upward(member, values[shown])))
    elif values.ndim == 2 and values.shape[1] > 1:
        svg = pictures.bounded(pictures.svg(draw.traces(values[shown], **_along(member, duration_s))))
    else:
        svg = pictures.bounded(pictures.svg(draw.bars(values.reshape(n, -1)[:, 0])))
    is_cut = n > len(shown) and values.ndim > 1 and values[0].size > 1
    return {"name": layer.name, "shape": shape, "n": n, "svg": svg, "image": image, "is_cut": is_cut}


def _along(member: MemberView, duration_s: float) -> dict[str, Any]:
    """What the places of a layer in one dimension lie along: frequency where the view has no time."""
    if member.extent is not None and member.extent.resolves == "frequency":
        low_hz, high_hz = member.extent.edges_hz[[0, -1]]
        return {"start": low_hz / 1000, "end": high_hz / 1000, "label": "kHz"}
    return {"start": 0.0, "end": duration_s, "label": "seconds"}


def _upward(member: MemberView, maps: Floats32) -> Floats32:
    """Maps with the lowest frequency in the first row, where a picture has the highest. Shape: [C, M, F]."""
    return maps[:, ::-1] if member.features == "picture" else maps


def _filters(member: MemberView, filters: Filters, pictures: Pictures) -> dict[str, Any]:
    shown = filters.order[: draw.MAX_FILTERS]
    weights = filters.weights[shown]
    made: dict[str, Any] = {"n": len(filters.weights), "n_shown": len(shown), "curves": "", "image": ""}
    if weights.ndim == 2:
        taps = np.arange(weights.shape[1], dtype=np.float64)
        made["curves"] = pictures.svg(
            draw.curves_grid(taps, weights, x_label="tap", dots=weights.shape[1] <= 16)
        )
    else:
        made["image"] = draw.maps_image(_upward(member, weights))
    made["response"] = made["profiles"] = ""
    if filters.response_db is not None and filters.frequencies_hz is not None:
        figure = draw.curves_grid(filters.frequencies_hz / 1000, filters.response_db[shown], x_label="kHz")
        made["response"] = pictures.svg(figure)
    if filters.profiles is not None:
        bands = filters.profiles[shown]
        figure = draw.curves_grid(
            np.arange(bands.shape[1], dtype=np.float64), bands, x_label=_band_words(member)
        )
        made["profiles"] = pictures.svg(figure)
    return made


def _band_words(member: MemberView) -> str:
    return (
        "row of the first layer, lowest frequency first"
        if member.model != "stack1d"
        else "band, lowest first"
    )
