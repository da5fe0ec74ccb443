"""Scaling of features, fitted on the training rows and kept with a method's state."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

log = logging.getLogger(__name__)

STANDARDISE, CENTRE, NONE = "standardise", "centre", "none"
USUAL_SIZES = 1e-6, 1e6


@dataclass(frozen=True)
class Scaling:
    """x ↦ (x − mean) / scale, with ``mean`` (d,) and ``scale`` (d,) float64."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, mode: str = STANDARDISE) -> "Scaling":
        """Fits on training rows (n, d).

        ``standardise``: every feature to mean 0 and variance 1. ``centre``: to mean 0, and all features divided by
        one number that makes their mean variance 1, so that a penalty weighs the same on any feature. ``none``:
        features as they are. Features that are constant on the training rows become 0 under the first two.
        """
        d = features.shape[1]
        if mode == NONE:
            return cls(np.zeros(d), np.ones(d))
        mean = features.mean(axis=0, dtype=np.float64)
        deviation = features.std(axis=0, dtype=np.float64)
        deviation[deviation < 1e-6 * np.abs(mean)] = 0  # float32 rounding of a constant is no variance
        if mode == CENTRE:
            deviation = np.full(d, np.sqrt(np.mean(deviation**2)))
        return cls(mean, np.where(deviation > 0, deviation, 1))

    def __call__(self, features: np.ndarray, dtype: type = np.float64) -> np.ndarray:
        return ((features - self.mean) / self.scale).astype(dtype, copy=False)

    def state(self, prefix: str) -> dict[str, np.ndarray]:
        return {f"{prefix}.mean": self.mean, f"{prefix}.scale": self.scale}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray], prefix: str) -> "Scaling":
        return cls(np.asarray(state[f"{prefix}.mean"]), np.asarray(state[f"{prefix}.scale"]))


def fit_each(modalities: Iterable[str], features: Iterable[np.ndarray], mode: str) -> dict[str, Scaling]:
    """A scaling of each modality, fitted on its training rows."""
    scalings = {}
    for modality, rows in zip(modalities, features, strict=True):
        scalings[modality] = Scaling.fit(rows, mode)
        if mode == NONE:
            warn_of_size(modality, rows)
    return scalings


def warn_of_size(modality: str, features: np.ndarray) -> None:
    """A line in the log where features (n, d) that a method takes as they are are far from 1."""
    size = float(np.abs(features).max(initial=0))
    if not USUAL_SIZES[0] < size < USUAL_SIZES[1]:
        log.warning(
            "%s: features of up to %.0e are taken as they are; a method may learn nothing from them", modality, size
        )
