"""Scaling of features, fitted on the training rows and kept with a method's state."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np

from cmr.info import SET, VECTOR
from cmr.sets import Features, Sets, by_form, columns
from cmr.vectors import Vectors, read_blocks

log = logging.getLogger(__name__)

STANDARDISE, CENTRE, NONE = "standardise", "centre", "none"
USUAL_SIZES = 1e-6, 1e6


@dataclass(frozen=True)
class Scaling:
    """x ↦ (x − mean) / scale, with ``mean`` (d,) and ``scale`` (d,) float64."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray | Vectors | Sets, mode: str = STANDARDISE) -> "Scaling":
        """Fits on training rows (n, d), or on all elements of sets of such.

        ``standardise``: every feature to mean 0 and variance 1. ``centre``: to mean 0, and all features divided by
        one number that makes their mean variance 1, so that a penalty weighs the same on any feature. ``none``:
        features as they are. Features that are constant on the training rows become 0 under the first two; of new rows
        too under ``standardise``, as nothing tells how large a deviation would be.
        """
        d = columns(features)
        if mode == NONE:
            return cls(np.zeros(d), np.ones(d))
        mean, deviation = _moments(features)
        deviation[deviation < 1e-6 * np.abs(mean)] = 0  # float32 rounding of a constant is no variance
        if mode == CENTRE:
            common = np.sqrt(np.mean(deviation**2))
            return cls(mean, np.full(d, common or 1))
        return cls(mean, np.where(deviation > 0, deviation, np.finfo(np.float32).max))

    def __call__(self, features: np.ndarray, dtype: type = np.float64) -> np.ndarray:
        scaled = features - self.mean
        scaled /= self.scale
        return scaled.astype(dtype, copy=False)

    def state(self, prefix: str) -> dict[str, np.ndarray]:
        return {f"{prefix}.mean": self.mean, f"{prefix}.scale": self.scale}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray], prefix: str) -> "Scaling":
        return cls(np.asarray(state[f"{prefix}.mean"]), np.asarray(state[f"{prefix}.scale"]))


@dataclass(frozen=True, eq=False)
class ScaledRows:
    """Rows (n, d) that are scaled when they are asked for, and read where they are `Vectors`; ``rows[a:b]`` float64."""

    features: np.ndarray | Vectors
    scaling: Scaling

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.scaling(np.asarray(self.features[rows]))

    def __array__(self, dtype: type | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.features), self.features.shape[1]


def _moments(features: np.ndarray | Vectors | Sets) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (d,) float64 of rows, or of all elements of sets.

    Rows and elements are read once: what deviates within a block is added to what the blocks' means deviate by (Chan,
    Golub and LeVeque, "Algorithms for computing the sample variance", The American Statistician 1983, equation 2.1).
    """
    if not isinstance(features, Sets):
        return reduce(_together, map(_of_block, read_blocks(features)))[1:]
    count, mean, squares = 0, np.zeros(features.dimension), np.zeros(features.dimension)
    for block in features.blocks():
        elements = block.elements().astype(np.float64)
        own, total = elements.mean(axis=0), count + len(elements)
        apart = own - mean
        elements -= own
        squares += np.einsum("ij,ij->j", elements, elements) + np.square(apart) * count * len(elements) / total
        mean += apart * len(elements) / total
        count = total
    return mean, np.sqrt(squares / count)


Moments = tuple[int, np.ndarray, np.ndarray]
"""Number of rows, mean and standard deviation (d,)."""


def _of_block(rows: np.ndarray) -> Moments:
    return len(rows), rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)


def _together(a: Moments, b: Moments) -> Moments:
    (count, mean, deviation), (others, other_mean, other_deviation) = a, b
    total, apart = count + others, other_mean - mean
    squares = count * deviation**2 + others * other_deviation**2 + apart**2 * count * others / total
    return total, mean + apart * others / total, np.sqrt(squares / total)


def of_sets(modality: str) -> str:
    """The name of a modality's sets, beside its vectors, in mappings and in a method's state."""
    return f"{modality}:set"  # no modality's name has a colon


def fit_each(modalities: Iterable[str], features: Iterable[Features], mode: str) -> dict[str, Scaling]:
    """A scaling of each modality, fitted on its training rows; of sets under the name `of_sets`."""
    scalings = {}
    for modality, rows in zip(modalities, features, strict=True):
        for name, part in named(modality, rows).items():
            scalings[name] = Scaling.fit(part, mode)
            if mode == NONE:
                warn_of_size(modality, part)
    return scalings


def named(modality: str, features: Features) -> dict[str, np.ndarray | Vectors | Sets]:
    """Vectors under the modality's name, sets under the name `of_sets`."""
    names = {VECTOR: modality, SET: of_sets(modality)}
    return {names[form]: rows for form, rows in by_form(features).items()}


def warn_of_size(modality: str, features: np.ndarray | Vectors | Sets) -> None:
    """A line in the log where features (n, d), or sets, that a method takes as they are are far from 1."""
    if isinstance(features, Sets):
        size = max(float(np.abs(block.elements()).max(initial=0)) for block in features.blocks())
    else:
        size = max(float(np.abs(block).max(initial=0)) for block in read_blocks(features))
    if not USUAL_SIZES[0] < size < USUAL_SIZES[1]:
        log.warning(
            "%s: features of up to %.0e are taken as they are; a method may learn nothing from them", modality, size
        )
