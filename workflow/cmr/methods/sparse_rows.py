"""Regressions whose maps have few rows that are not zero: the ℓ2,1 norm, by reweighting."""

import numpy as np
import scipy.linalg

SMOOTHING = 1e-8
"""ε: a row's norm is taken as √(‖u‖² + ε), which has a derivative at 0."""


def row_norms(weights: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(weights).sum(axis=1) + SMOOTHING)


def reweighted(quadratic: np.ndarray, linear: np.ndarray, penalty: float, weights: np.ndarray) -> np.ndarray:
    """One step down on tr(Uᵀ Q U) − 2 tr(Uᵀ R) + penalty Σᵢ √(‖uᵢ‖² + ε): never up.

    ``quadratic`` Q (d, d), positive semi-definite; ``linear`` R (d, k); ``weights`` U (d, k). Each row's norm is
    bounded from above by a parabola that touches it at U (Nie et al., "Efficient and robust feature selection via
    joint ℓ2,1-norms minimization", NIPS 2010), and the bound is least at (Q + penalty diag(1 / (2 ‖uᵢ‖)))⁻¹ R.
    """
    system = quadratic.copy()
    system[np.diag_indices_from(system)] += penalty / (2 * row_norms(weights))
    return scipy.linalg.solve(system, linear, assume_a="pos", overwrite_a=True, check_finite=False)


def minimise(
    quadratic: np.ndarray, linear: np.ndarray, penalty: float, iterations: int, tolerance: float = 1e-6
) -> tuple[np.ndarray, list[float]]:
    """U after at most ``iterations`` steps from the ridge solution, and the objective after each.

    Stops where a step lowers the objective by less than ``tolerance`` of its size.
    """
    scale = np.trace(quadratic) / len(quadratic)
    weights = scipy.linalg.solve(quadratic + 1e-3 * scale * np.eye(len(quadratic)), linear, assume_a="pos")
    objectives: list[float] = []
    for _ in range(iterations):
        weights = reweighted(quadratic, linear, penalty, weights)
        fit = np.sum(weights * (quadratic @ weights)) - 2 * np.sum(weights * linear)
        objectives.append(float(fit + penalty * row_norms(weights).sum()))
        if len(objectives) > 1 and objectives[-2] - objectives[-1] < tolerance * abs(objectives[-1]):
            break
    return weights, objectives
