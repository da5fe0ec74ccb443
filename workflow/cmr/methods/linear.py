"""What the linear methods share: scaling, the map of each modality, and the row-space form for many features."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.linalg

from cmr.errors import UserError
from cmr.methods.base import Method
from cmr.methods.scaling import Scaling, fit_each


class LinearMethod(Method):
    """Embeds by x ↦ Wᵀ((x − mean) / scale), one W (d, k) a modality.

    A subclass's ``fit`` gives the training rows of each modality to `learn`, and its `solve` the maps. Its
    ``Params`` has ``scale``, a mode of `Scaling.fit`.
    """

    params: Any

    def learn(self, features: Sequence[np.ndarray], *targets: Any) -> None:
        """Fits scaling and maps: ``features`` (n_m, d_m) of each modality; ``targets`` are passed on to `solve`."""
        self.scaling = fit_each(self.modalities, features, self.params.scale)
        scaled = [self.scaling[m](x) for m, x in zip(self.modalities, features, strict=True)]
        self.maps = dict(zip(self.modalities, self.solve(scaled, *targets), strict=True))

    @abstractmethod
    def solve(self, features: list[np.ndarray], *targets: Any, **_: Any) -> list[np.ndarray]:
        """The maps W (d_m, k) of each modality, from scaled features (n_m, d_m) float64.

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


def row_space(features: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Coordinates of the rows (n, d) in an orthonormal basis of their span, and the basis Q (d, n), where d > n.

    Where a penalty is unchanged by rotations, W has no part outside that span, so that a problem in n × n gives
    the solution of the one in d × d as Q w. Where d ≤ n: the features themselves and None.
    """
    n, d = features.shape
    if d <= n:
        return features, None
    basis, triangle = scipy.linalg.qr(features.T, mode="economic", check_finite=False)
    return triangle.T, basis


def back(basis: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
    """Weights in the coordinates of `row_space` as weights of the features."""
    return weights if basis is None else basis @ weights


def ridge(features: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """W (d, k) that minimises ‖XW − Y‖²/n + penalty·‖W‖², through the smaller of XᵀX and XXᵀ.

    Raises `UserError` where the penalty is lost beside features as large as these.
    """
    n, d = features.shape
    gram = features.T @ features if d <= n else features @ features.T
    gram[np.diag_indices_from(gram)] += penalty * n
    try:
        factor = scipy.linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    except scipy.linalg.LinAlgError:
        raise UserError(
            f"a ridge of {penalty:.1g} is lost beside features of up to {np.abs(features).max():.1g}; "
            "raise it, or scale the features"
        ) from None
    if d <= n:
        return scipy.linalg.cho_solve(factor, features.T @ targets, check_finite=False)
    return features.T @ scipy.linalg.cho_solve(factor, targets, check_finite=False)
