"""What the linear methods share: scaling, the map of each modality, and the row-space form for many features."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from cmr.errors import UserError
from cmr.methods.base import Method
from cmr.methods.scaling import ScaledRows, Scaling, fit_each
from cmr.vectors import blocks

Rows = np.ndarray | ScaledRows
"""Rows (n, d) float64 of a view."""


class LinearMethod(Method):
    """Embeds by x ↦ Wᵀ((x − mean) / scale), one W (d, k) a modality.

    A subclass's ``fit`` gives the training rows of each modality to `learn`, and its `solve` the maps. Its
    ``Params`` has ``scale``, a mode of `Scaling.fit`. With ``by_the_block`` its `solve` needs sums over rows alone, and
    gets rows that are scaled a block at a time.
    """

    params: Any
    by_the_block = False

    def learn(self, features: Sequence[np.ndarray], *targets: Any) -> None:
        """Fits scaling and maps: ``features`` (n_m, d_m) of each modality; ``targets`` are passed on to `solve`."""
        self.scaling = fit_each(self.modalities, features, self.params.scale)
        rows = [ScaledRows(x, self.scaling[m]) for m, x in zip(self.modalities, features, strict=True)]
        given: list[Any] = list(rows) if self.by_the_block else [own[:] for own in rows]
        self.maps = dict(zip(self.modalities, self.solve(given, *targets), strict=True))

    @abstractmethod
    def solve(self, features: list[Any], *targets: Any, **_: Any) -> list[np.ndarray]:
        """The maps W (d_m, k) of each modality, from scaled features (n_m, d_m) float64, or `ScaledRows` of them.

        A subclass names the ``targets`` that it gives to `learn`: the signature leaves them open.
        """

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        return (self.scaling[modality](features) @ self.maps[modality]).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        state = {f"{m}.map": self.maps[m] for m in self.modalities}
        for m in self.modalities:
            state |= self.scaling[m].state(m)
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.scaling = {m: Scaling.from_state(state, m) for m in self.modalities}
        self.maps = {m: np.asarray(state[f"{m}.map"]) for m in self.modalities}


def row_space(features: Any) -> tuple[Any, np.ndarray | None]:
    """Coordinates of the rows (n, d) in an orthonormal basis of their span, and the basis Q (d, n), where d > n.

    Where a penalty is unchanged by rotations, W has no part outside that span, so that a problem in n × n gives
    the solution of the one in d × d as Q w. Where d ≤ n: the features themselves and None.
    """
    n, d = features.shape
    if d <= n:
        return features, None
    basis, triangle = scipy.linalg.qr(np.asarray(features).T, mode="economic", check_finite=False)
    return triangle.T, basis


def back(basis: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
    """Weights in the coordinates of `row_space` as weights of the features."""
    return weights if basis is None else basis @ weights


@dataclass(frozen=True, eq=False)
class Beside:
    """Views of the same n rows as one of all their columns."""

    views: Sequence[Rows]

    def __len__(self) -> int:
        return len(self.views[0])

    def __getitem__(self, rows: slice) -> np.ndarray:
        return np.hstack([view[rows] for view in self.views])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), sum(view.shape[1] for view in self.views)


def products(views: Sequence[Rows | Beside], *pairs: tuple[int, int]) -> list[np.ndarray]:
    """X_iᵀX_j (d_i, d_j) of each pair (i, j) of views of the same rows, summed over blocks of rows.

    A block of all views has `cmr.vectors.BLOCK_BYTES` as float32: of fewer rows the products are those of all at once.
    """
    sums: list[np.ndarray] = []
    for rows in blocks(len(views[0]), 4 * sum(view.shape[1] for view in views)):
        block = [view[rows] for view in views]
        found = [block[i].T @ block[j] for i, j in pairs]
        sums = [np.add(a, b, out=a) for a, b in zip(sums, found, strict=True)] if sums else found
    return sums


def ridge(features: Rows, targets: Rows, penalty: float) -> np.ndarray:
    """W (d, k) that minimises ‖XW − Y‖²/n + penalty·‖W‖², through the smaller of XᵀX and XXᵀ.

    Raises `UserError` where the penalty is lost beside features as large as these.
    """
    n, d = features.shape
    if d <= n:
        gram, cross = products([features, targets], (0, 0), (0, 1))
    else:
        rows = np.asarray(features)
        gram = rows @ rows.T
    gram[np.diag_indices_from(gram)] += penalty * n
    try:
        factor = scipy.linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    except scipy.linalg.LinAlgError:
        raise UserError(
            f"a ridge of {penalty:.1g} is lost beside features of up to {_largest(features):.1g}; "
            "raise it, or scale the features"
        ) from None
    if d <= n:
        return scipy.linalg.cho_solve(factor, cross, check_finite=False)
    return rows.T @ scipy.linalg.cho_solve(factor, np.asarray(targets), check_finite=False)


def _largest(features: Rows) -> float:
    return max(float(np.abs(features[rows]).max()) for rows in blocks(len(features), 4 * features.shape[1]))
