"""The solver behind every method that is an eigenproblem: canonical pairs of two views, and stacked views."""

import logging
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg

from cmr.methods.base import History
from cmr.methods.linear import Beside, LinearMethod, Rows, back, products, row_space

RANK_TOLERANCE = 1e-8

log = logging.getLogger(__name__)


def top_eigenpairs(a: np.ndarray, b: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` largest λ of A w = λ B w and their w (d, k), with wᵀBw = 1; A symmetric, B positive definite.

    Fewer where fewer λ are above zero: the others add nothing to an objective that is maximised.
    """
    d = len(a)
    values, vectors = scipy.linalg.eigh(a, b, subset_by_index=[max(d - k, 0), d - 1], check_finite=False)
    useful = values > RANK_TOLERANCE * max(values[-1], 1)
    warn_of_nothing(int(useful.sum()))
    return values[useful][::-1], vectors[:, useful][:, ::-1]


def canonical_pairs(
    x_own: np.ndarray, y_own: np.ndarray, cross: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W_x (d_x, k), W_y (d_y, k) and ρ (k,) that maximise tr(W_xᵀ C_xy W_y) with W_xᵀC_xxW_x = W_yᵀC_yyW_y = I.

    Through the singular vectors of L_x⁻¹ C_xy L_y⁻ᵀ, L the Cholesky factors of C_xx and C_yy.
    """
    x_factor, y_factor = (scipy.linalg.cholesky(own, lower=True, check_finite=False) for own in (x_own, y_own))
    whitened = scipy.linalg.solve_triangular(x_factor, cross, lower=True)
    whitened = scipy.linalg.solve_triangular(y_factor, whitened.T, lower=True).T
    left, correlations, right = singular_vectors(whitened)
    k = min(k, int((correlations > RANK_TOLERANCE).sum()))
    warn_of_nothing(k)
    x_map = scipy.linalg.solve_triangular(x_factor, left[:, :k], lower=True, trans="T")
    y_map = scipy.linalg.solve_triangular(y_factor, right[:k].T, lower=True, trans="T")
    return x_map, y_map, correlations[:k]


def warn_of_nothing(directions: int) -> None:
    if not directions:
        log.warning("no direction has anything in common: all scores will be equal; lower the regularisation")


def singular_vectors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U (n, r), σ (r,), descending, and Vᵀ (r, d) of a matrix (n, d).

    By LAPACK's divide and conquer. It is the quick way, and gives up on a few matrices with clusters of equal singular
    values, such as correlations near 1; QR iteration then takes several times as long and finds them.
    """
    try:
        return scipy.linalg.svd(matrix, full_matrices=False)
    except scipy.linalg.LinAlgError:
        return scipy.linalg.svd(matrix, full_matrices=False, lapack_driver="gesvd")


def with_ridge(matrix: np.ndarray, ridge: float) -> np.ndarray:
    """``matrix`` + ridge·I, in place."""
    matrix[np.diag_indices_from(matrix)] += ridge
    return matrix


def covariance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """XᵀY/n of centred rows."""
    return x.T @ y / len(x)


def covariances(views: Sequence[Rows | Beside], *pairs: tuple[int, int]) -> list[np.ndarray]:
    """As `covariance`, of pairs (i, j) of views, a block of rows at a time."""
    return [product / len(views[0]) for product in products(views, *pairs)]


class EigenMethod(LinearMethod):
    """All views at once: the W of view i is its rows of the eigenvectors of A w = λ B w over stacked features.

    Solved in the span of each view's rows where it has more features than rows. A and B may go on after the views'
    own rows, with a view that is not embedded. ``eigenvalues``: (k,), descending.
    """

    @abstractmethod
    def matrices(self, features: list[Any], *targets: Any, **_: Any) -> tuple[np.ndarray, np.ndarray]:
        """A and B, both (Σd, Σd), from the views' rows (n_i, d_i), with ``targets`` as in `solve`."""

    def solve(self, features: list[Any], *targets: Any, **_: Any) -> list[np.ndarray]:
        rows, bases = zip(*map(row_space, features), strict=True)
        self.eigenvalues, vectors = top_eigenpairs(*self.matrices(list(rows), *targets), self.params.components)
        parts = np.split(vectors, np.cumsum([x.shape[1] for x in rows]))[: len(rows)]
        return [back(basis, part) for basis, part in zip(bases, parts, strict=True)]

    def history(self) -> History:
        return History([{"component": i, "eigenvalue": float(v)} for i, v in enumerate(self.eigenvalues, 1)])
