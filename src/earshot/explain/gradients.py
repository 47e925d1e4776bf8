"""Saliency from a network's own gradients: Grad-CAM and integrated gradients, through captum.

Conventions: what is explained is the log-odds of a class before temperature: its logit against all others together
(with several labels a clip, its logit). Results are float64 of the shape of the features, one window, signed.
cuDNN is left out: its recurrent layers have no gradient outside of training.
Sources: Selvaraju et al., "Grad-CAM", 2017; Sundararajan et al., "Axiomatic attribution for deep networks", 2017.
"""

from __future__ import annotations

import copy
import importlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from earshot.errors import ConfigError, complaint
from earshot.explain.layers import belongs_to_layer_before, leaf_outputs
from earshot.models.member import NetworkMember

Floats = NDArray[np.float64]
_N_STEPS = 24  # of the integration
_BATCH = 8


class Explained(nn.Module):
    """The log-odds of one class of a copy of a network, from features that are on its scale already.

    Shape: [B, *input_shape] -> [B].
    """

    def __init__(self, member: NetworkMember, *, k: int) -> None:
        super().__init__()
        self.network = copy.deepcopy(member.network).float().eval().requires_grad_(False)
        self.scaler: Any = self.network.scaler
        self.network.scaler = nn.Identity()
        self.multilabel, self.k, self.device = member.multilabel, k, member.device
        for module in self.network.modules():
            if hasattr(module, "inplace"):  # hooks must find what the layer before it said
                setattr(module, "inplace", False)  # noqa: B010

    def forward(self, scaled: Tensor) -> Tensor:
        logits: Tensor = self.network(scaled)
        if self.multilabel:
            return logits[:, self.k]
        others = torch.cat([logits[:, : self.k], logits[:, self.k + 1 :]], dim=1)
        return logits[:, self.k] - others.logsumexp(dim=1)

    def scaled(self, features: Tensor) -> Tensor:
        """Features [1, *input_shape] as the first layer sees them, as a leaf for gradients."""
        with torch.no_grad():
            given: Tensor = self.scaler(features.to(self.device)).float()
        return given.clone()


def features_of(member: NetworkMember, waveform: NDArray[np.float32]) -> Tensor:
    """One window through the front end of a member. Shape: [T] -> [1, *input_shape]."""
    with torch.no_grad():
        found: Tensor = member.features(torch.from_numpy(waveform)[None].to(member.device))
    return found


def grad_cam(explained: Explained, features: Tensor) -> Floats | None:
    """Which moments and regions of the last convolution's maps speak for the class; None without a convolution.

    Each map counts by the mean of its gradient. The result is as coarse as those maps; it is brought to the size of
    the features. Where the maps have one axis, it is the same for all bands.

    Shape: [1, *input_shape] -> [*input_shape], of the last axes only where there are colours or one axis of maps.
    """
    scaled = explained.scaled(features)
    layer = _last_maps(explained, scaled)
    if layer is None:
        return None
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        found = _captum().LayerGradCam(explained, layer).attribute(scaled.requires_grad_())
    maps: Tensor = found.detach()
    size = scaled.shape[-(maps.ndim - 2) :]
    mode = "linear" if maps.ndim == 3 else "bilinear"
    large = functional.interpolate(maps, size=size, mode=mode, align_corners=False)[0, 0]
    return np.asarray(large.cpu().double().numpy())


@dataclass(frozen=True)
class Integrated:
    """What each number of the features adds, and by how much the sum misses what it should be (a share)."""

    values: Floats
    error: float


def integrated_gradients(
    explained: Explained, features: Tensor, *, silence: Tensor, n_steps: int = _N_STEPS
) -> Integrated:
    """What each number adds to the log-odds, on the way from a reference to this sound.

    The reference is 0 on the network's scale: the mean of the training clips where its scaler measured one, the
    clip's own mean where it standardises each clip. Where it does not scale, 0 may be a loud sound (0 dB), and the
    reference is silence. The values sum to the difference of the log-odds, but for the steps of the integration.

    Args:
        silence: features of a window of zeros.

    Shape: [1, *input_shape] -> values [*input_shape].
    """
    scaled = explained.scaled(features)
    reference = explained.scaled(silence) if explained.scaler.kind == "none" else torch.zeros_like(scaled)
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        integrated = _captum().IntegratedGradients(explained)
        found = integrated.attribute(scaled, reference, n_steps=n_steps, internal_batch_size=_BATCH)
    with torch.no_grad():
        wanted = float(explained(scaled) - explained(reference))
    values = np.asarray(found.detach().cpu().double().numpy()[0])
    error = abs(float(values.sum()) - wanted) / max(abs(wanted), 1e-6)
    return Integrated(values, error if math.isfinite(error) else 1.0)


def _last_maps(explained: Explained, scaled: Tensor) -> nn.Module | None:
    """The last convolution with more than one step, or the norm and activation that follow it."""
    found: nn.Module | None = None
    shape: torch.Size | None = None
    for module, output in leaf_outputs(explained.network, scaled):
        if isinstance(module, nn.Conv1d | nn.Conv2d) and math.prod(output.shape[2:]) > 1:
            found, shape = module, output.shape
        elif output.shape == shape and belongs_to_layer_before(module):
            found = module
        else:
            shape = None
    return found


def require_captum() -> None:
    """Raises ConfigError where captum is not installed."""
    _captum()


def _captum() -> Any:
    try:
        return importlib.import_module("captum.attr")
    except ImportError as error:
        fix = "Install it: pip install captum."
        raise ConfigError(complaint("explain", "captum", "missing", "an installed library", fix)) from error
