"""Scaling of features, fitted on the training rows and kept with a method's state."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

STANDARDISE, CENTRE, NONE = "standardise", "centre", "none"


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
        deviation[deviation < 1e-6 * np.abs(mean) + 1e-12] = 0  # float32 rounding of a constant is no variance
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
    return {m: Scaling.fit(x, mode) for m, x in zip(modalities, features, strict=True)}
