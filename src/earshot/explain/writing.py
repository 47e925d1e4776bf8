"""The files of an explanation: explain.html, explanation.json and salient.wav, each whole or not there."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from earshot.audio.windows import to_int16
from earshot.data.fields import printable
from earshot.explain.explaining import Explanation, MemberView, Tested
from earshot.explain.faithfulness import SALIENT_SHARE, SHARES
from earshot.explain.page import write_explanation_page
from earshot.explain.saliency import Saliency
from earshot.files import write_whole

_DIGITS = 6


def write_explanation(found: Explanation, folder: Path, *, command: str = "") -> None:
    """Writes the three files into a folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "salient.wav", salient_wav(found))
    text = json.dumps(explanation_values(found), indent=1, allow_nan=False)
    write_whole(folder / "explanation.json", text + "\n")
    write_explanation_page(found, folder / "explain.html", command=command)


def salient_wav(found: Explanation) -> bytes:
    """The window with silence in place of all but its salient part: 16 bit at the bundle's rate."""
    buffer = io.BytesIO()
    soundfile.write(buffer, to_int16(found.salient), found.plane.rate_hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def explanation_values(found: Explanation) -> dict[str, Any]:
    """Everything but pictures and activations, ready for JSON. Lengths in seconds, frequencies in Hz."""
    plane = found.plane
    return {
        "file": printable(found.name),
        "classes": list(found.classes),
        "class": found.classes[found.k],
        "probabilities": _numbers(found.probs),
        "window": {
            "start_s": round(found.start_s, _DIGITS),
            "length_s": round(plane.duration_s, _DIGITS),
            "clip_s": round(found.clip_s, _DIGITS),
            "probabilities": _numbers(found.window_probs),
        },
        "cells": {
            "band_edges_hz": _numbers(plane.band_edges_hz),
            "time_edges_s": _numbers(plane.time_edges_s),
        },
        "saliency": [_saliency(each.saliency) for each in found.tested]
        + [_saliency(each) for each in found.saliencies],
        "faithfulness": {
            "shares": [0.0, *SHARES, 1.0],
            "maps": [_tested(each) for each in found.tested],
            "random_areas": [_numbers(np.array(each.areas)) for each in found.random],
            "loudest_first_areas": _numbers(np.array(found.loudest.areas)),
        },
        "salient": {
            "method": found.tested[0].saliency.method,
            "share": SALIENT_SHARE,
            "probabilities": _numbers(found.salient_probs),
        },
        "members": {member.name: _member(member, found) for member in found.members},
    }


def _saliency(saliency: Saliency) -> dict[str, Any]:
    """Cells are [bands][times]; the peak is their largest."""
    return {
        "method": saliency.method,
        "member": saliency.member,
        "resolves": saliency.resolves,
        "peak": [int(i) for i in np.unravel_index(saliency.cells.argmax(), saliency.cells.shape)],
        "completeness_error": None if saliency.error is None else round(saliency.error, _DIGITS),
        "cells": _numbers(saliency.cells),
    }


def _tested(tested: Tested) -> dict[str, Any]:
    deletion, insertion = tested.curves.areas
    return {
        "method": tested.saliency.method,
        "verdict": tested.verdict.level,
        "sentence": tested.verdict.sentence,
        "p_deletion": round(tested.verdict.p_deletion, _DIGITS),
        "p_insertion": round(tested.verdict.p_insertion, _DIGITS),
        "deletion": _numbers(tested.curves.deletion),
        "insertion": _numbers(tested.curves.insertion),
        "deletion_area": round(deletion, _DIGITS),
        "insertion_area": round(insertion, _DIGITS),
    }


def _member(member: MemberView, found: Explanation) -> dict[str, Any]:
    """Contributions, [components], are to the logit of the class that is explained; one list a fold model."""
    return {
        "features": member.features,
        "model": member.model,
        "share": round(member.share, _DIGITS),
        "probabilities": _numbers(member.probs),
        "fold_models": [
            {
                "pooled": _numbers(each.pooled),
                "contributions": _numbers(each.table[:, found.k]),
                "bias": round(float(each.bias[found.k]), _DIGITS),
                "logits": _numbers(each.logits),
            }
            for each in member.contributions
        ],
        "layers": [{"name": each.name, "shape": list(each.activations.shape)} for each in member.layers],
    }


def _numbers(values: np.ndarray) -> Any:
    return np.round(np.asarray(values, dtype=np.float64), _DIGITS).tolist()
