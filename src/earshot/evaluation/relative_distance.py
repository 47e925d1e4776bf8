"""How much farther a sound lies from every class than from sounds at large: the novelty that models ship with.

Conventions: embeddings are [N, D], scores [N], higher = stranger. Distances are squared and measured along the main
axes of the standardised training embeddings. Most of what sets one clip apart from the next says nothing about its
class; the background term takes that out, and the tenth of it that stays keeps sounds far from everything far.
Noise is near to many classes by any such measure, so made-up sounds stand by as examples of what is of no class.
Source: Ren et al., "A simple fix to Mahalanobis distance for improving near-OOD detection" (2021), where the whole
background is taken off; the number of axes and the share were chosen on ESC-10 (bench/novelty.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earshot.errors import DataError, complaint

Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]

N_AXES, MIN_AXES, CLIPS_PER_AXIS = 60, 8, 5
BACKGROUND_SHARE = 0.9
_DIFFERENCES = 500_000  # float64 at once, 4 MB
MIN_CLIPS_PER_CLASS = 3  # on average; with fewer the spread within classes is unknown


@dataclass(frozen=True, eq=False)
class RelativeDistance:
    """Class means and two spreads along the main axes.

    Args:
        axes: [P, D], takes embeddings to the axes, standardised on the way.
        origin: [P], the mean embedding there.
        means: [C, P], of the classes that had clips, from the origin.
        within, background: [P, P], turn differences within a class, and from the origin, into units of spread.
        artificial: [S, P], made-up sounds, from the origin; may be empty.
    """

    axes: Float32s
    origin: Float32s
    means: Float32s
    within: Float32s
    background: Float32s
    artificial: Float32s

    @classmethod
    def fit(
        cls,
        embeddings: NDArray[np.floating],
        labels: ArrayLike,
        *,
        artificial: NDArray[np.floating] | None = None,
    ) -> RelativeDistance:
        """Learns from training clips.

        Args:
            embeddings: [N, D].
            labels: int [N].
            artificial: [S, D], embeddings of made-up sounds that are of no class.

        Raises:
            DataError: shapes disagree, values are not finite, or there are too few clips a class.
        """
        values, which = _checked(embeddings), np.asarray(labels)
        classes, at = np.unique(which, return_inverse=True)
        if len(values) != len(which) or len(values) < MIN_CLIPS_PER_CLASS * max(1, len(classes)):
            rule = f"[N, D] and [N] with at least {MIN_CLIPS_PER_CLASS} clips a class"
            raise DataError(complaint("relative distance", "shapes", (values.shape, which.shape), rule))
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        deviation = np.where(deviation > 1e-9 * max(1.0, float(np.abs(mean).max())), deviation, np.inf)
        axes = _main_axes((values - mean) / deviation) / deviation
        placed = (values - mean) @ axes.T
        means = np.stack([placed[at == c].mean(axis=0) for c in range(len(classes))])
        made_up = np.empty((0, values.shape[1])) if artificial is None else _checked(artificial)
        spreads = _whitening(placed - means[at]), _whitening(placed)
        parts = (axes, axes @ mean, means, *spreads, (made_up - mean) @ axes.T)
        # In C order, for that is how safetensors reads memory.
        return cls(*(np.ascontiguousarray(part, dtype=np.float32) for part in parts))

    @property
    def n_features(self) -> int:
        """D, the numbers of an embedding."""
        return int(self.axes.shape[1])

    def score(self, embeddings: NDArray[np.floating]) -> Floats:
        """Squared distance to the nearest class less a share of that to the origin. Shape: [N, D] -> [N]."""
        return np.asarray(self.scores(embeddings)[0])

    def artificial_score(self, embeddings: NDArray[np.floating]) -> Floats:
        """Log of how much nearer a made-up sound is than a class: above 0 it is nearer. Shape: [N, D] -> [N]."""
        return np.asarray(self.scores(embeddings)[1])

    def scores(self, embeddings: NDArray[np.floating]) -> Floats:
        """`score` and `artificial_score` at once. Shape: [N, D] -> [2, N]."""
        own = self._float64
        placed = _checked(embeddings) @ own["axes"] - own["origin"]
        within, far = placed @ own["within"], np.square(placed @ own["background"]).sum(axis=1)
        near = _nearest(within, own["means"])
        made_up = _nearest(within, own["artificial"]) if len(own["artificial"]) else near
        artificial = np.log((near + 1e-9) / (made_up + 1e-9))
        return np.stack([near - BACKGROUND_SHARE * far, artificial])

    @cached_property
    def _float64(self) -> dict[str, Floats]:
        """The state as it is used: matrices transposed, points in units of the spread within classes."""
        axes, within, background = (
            np.ascontiguousarray(each.T, dtype=np.float64)
            for each in (self.axes, self.within, self.background)
        )
        return {
            "axes": axes,
            "origin": self.origin.astype(np.float64),
            "within": within,
            "background": background,
            "means": self.means.astype(np.float64) @ within,
            "artificial": self.artificial.astype(np.float64) @ within,
        }

    def to_arrays(self) -> dict[str, Float32s]:
        """The state as named arrays, as a safetensors file holds them."""
        names = ("axes", "origin", "means", "within", "background", "artificial")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.floating]], *, n_features: int) -> RelativeDistance:
        """The value of `to_arrays`.

        Raises:
            DataError: an array is missing, has the wrong shape or type, or is not finite.
        """
        n_axes, n_classes, n_made_up = (
            len(arrays[name]) if name in arrays and arrays[name].ndim == 2 else 0
            for name in ("axes", "means", "artificial")
        )
        shapes = {
            "axes": (n_axes, n_features),
            "origin": (n_axes,),
            "means": (n_classes, n_axes),
            "within": (n_axes, n_axes),
            "background": (n_axes, n_axes),
            "artificial": (n_made_up, n_axes),
        }
        for name, shape in shapes.items():
            found = arrays.get(name)
            if found is None or found.shape != shape or found.dtype != np.float32:
                what = None if found is None else (found.shape, str(found.dtype))
                raise DataError(complaint("relative distance", name, what, f"float32 {shape}"))
            if name != "artificial" and 0 in shape:
                raise DataError(complaint("relative distance", name, shape, "one number or more"))
            if not np.isfinite(found).all():
                raise DataError(complaint("relative distance", name, "not finite", "finite numbers"))
        return cls(**{name: np.asarray(arrays[name], dtype=np.float32) for name in shapes})


def _main_axes(standardised: Floats) -> Floats:
    """The directions of the largest spread, fewer where there are few clips. Shape: [N, D] -> [P, D].

    Along as many axes as there are clips those learned from lie farther out than any other, for they span them all;
    along very few, noise lies within.
    """
    from scipy.linalg import eigh

    n, n_features = standardised.shape
    is_tall = n >= n_features
    products = standardised.T @ standardised if is_tall else standardised @ standardised.T
    first = max(0, len(products) - min(N_AXES, max(MIN_AXES, n // CLIPS_PER_AXIS)))
    spread, vectors = eigh(products, subset_by_index=(first, len(products) - 1))
    spread, vectors = spread[::-1], vectors[:, ::-1]
    n_axes = max(1, int((spread > 1e-10 * max(float(spread[0]), 1e-12)).sum()))
    vectors = vectors[:, :n_axes]
    directions = vectors if is_tall else standardised.T @ vectors
    lengths = np.maximum(np.linalg.norm(directions, axis=0), 1e-12)
    return np.asarray((directions / lengths).T)


def _nearest(places: Floats, points: Floats) -> Floats:
    """Squared distance to the nearest point. Shape: [N, P], [S, P] -> [N]."""
    n_each = max(
        1, _DIFFERENCES // points.size
    )  # places at a time: there may be thousands, and as many points
    nearest = np.empty(len(places))
    for start in range(0, len(places), n_each):
        apart = places[start : start + n_each, None] - points
        nearest[start : start + n_each] = np.square(apart, out=apart).sum(axis=2).min(axis=1)
    return nearest


def _whitening(differences: Floats) -> Floats:
    """Turns differences [N, P] into units of their spread, shrunk as their number asks for. Shape: [P, P]."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(differences, assume_centered=True)
    floor = 1e-9 * max(float(np.trace(covariance)) / len(covariance), 1e-12)
    factor = np.linalg.cholesky(covariance + floor * np.eye(len(covariance)))
    return np.asarray(np.linalg.inv(factor))


def _checked(embeddings: NDArray[np.floating]) -> Floats:
    values = np.asarray(embeddings, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise DataError(complaint("relative distance", "embeddings", values.shape, "[N, D], all finite"))
    return values
