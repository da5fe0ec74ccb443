"""The coupled dictionaries of DLA-CMR (Shang et al., Neurocomputing 2019, §3.2).

With features X (d_v × n) and Y (d_t × n) of the training rows, minimise over dictionaries D_V, D_T whose atoms have
squared norm at most c, coefficients A_V, A_T and projections P₁, P₂ (eqs. 1 and 2)

    ‖X − D_V A_V‖² + ‖Y − D_T A_T‖² + λ₁(‖A_V‖² + ‖A_T‖²)
        + λ₂(‖A_V − P₁A_T‖² + ‖A_T − P₂A_V‖²) + λ₃(‖P₁‖² + ‖P₂‖²)

by turns, as Algorithm 1 does; no turn raises the objective:

- A_V solves (D_VᵀD_V + (λ₁+λ₂)I + λ₂P₂ᵀP₂) A_V = D_VᵀX + λ₂(P₁ + P₂ᵀ) A_T, and A_T the same with the roles changed;
- D by accelerated projected gradient steps on ‖X − DA‖² under the norm constraint, a step kept only if it helps. The
  closed form of eqs. 3 and 4 holds for the multipliers Λ of that constraint, which the paper does not say how to find;
- P₁ = A_V A_Tᵀ (A_T A_Tᵀ + (λ₃/λ₂)I)⁻¹, and P₂ the same with the roles changed.

Rows that were not trained on get (eqs. 7 and 8) A = (DᵀD + λ₁I)⁻¹DᵀX: the coupling has no part in them, so a network
that learns on the training rows' coefficients meets others at test time. ``training_codes: transformed`` takes eqs. 7
and 8 for all rows, to measure what that costs (`resources/experiments/dictionary_mismatch.yaml`).

A departure: Algorithm 1 starts from random D, A and P, here D alone is random, A is from eqs. 7 and 8, and P from A. By
induction the rows of A then lie in the row space of [X; Y], so the codes' rank is at most d_v + d_t (138 of SIFT and
LDA), where a random start has up to n. That allows exact savings, so that thousands of atoms stay cheap: with an
orthonormal basis R (r × n) of that space, the problem in XRᵀ, YRᵀ and ARᵀ is the same problem with r columns. P is kept
in factors of rank r, and A is solved for in the span of [Dᵀ, A] (d + r dimensions) where that is smaller than the
number of atoms.

The paper takes λ₁ to λ₃ from an earlier one and does not give c; the defaults here are this project's. ``scale:
standardise``, of which it says nothing, gives rows a mean squared norm of 1, and so λ₁ its weight. It repeats 'until
convergence': here until the objective falls by less than ``tolerance``, but ``iterations`` times at most. Where the
tolerance is not met by then, the log, the record and the page say so.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from cmr.data import Part, paired
from cmr.dictionary.base import Dictionary
from cmr.info import DictionaryInfo
from cmr.methods.scaling import STANDARDISE, Scaling
from cmr.params import Params as BaseParams

log = logging.getLogger(__name__)

INFO = DictionaryInfo(
    title="Coupled dictionaries",
    paper="Shang, Zhang, Zhu, Sun, Adversarial cross-modal retrieval based on dictionary learning, 2019",
    modalities=2,
    stochastic=True,
)

RANK_TOLERANCE = 1e-10  # squared singular values below this share of the largest are rounding


class Params(BaseParams):
    atoms: tuple[int, int] = Field((4096, 5000), description="atoms of each dictionary, in the order of the inputs")
    lambda1: float = Field(0.01, gt=0, description="weight of ‖A‖²")
    lambda2: float = Field(0.01, gt=0, description="weight of the coupling between the coefficients")
    lambda3: float = Field(0.01, gt=0, description="weight of ‖P‖²")
    norm: float = Field(1.0, gt=0, description="c, the largest squared norm of an atom")
    iterations: int = Field(30, ge=1, description="rounds of updates at most")
    tolerance: float = Field(1e-4, ge=0, description="stop when the objective falls by less than this share")
    atom_steps: int = Field(10, ge=1, description="gradient steps on the dictionaries in each round")
    training_codes: Literal["coupled", "transformed"] = Field(
        "coupled", description="coefficients of training rows: the joint objective's (the paper), or eqs. 7 and 8 too"
    )
    scale: Literal["standardise", "none"] = Field(
        "standardise", description="standardise each feature and give rows a mean squared norm of 1, or leave as is"
    )


@dataclass
class Side:
    """One modality while fitting: ``x`` (d, r) reduced features, ``atoms`` D (d, k), ``codes`` A (k, r)."""

    x: Tensor
    atoms: Tensor
    codes: Tensor


@dataclass
class Projection:
    """P = ``target`` ``inner`` ``source``ᵀ: maps coefficients of the source's modality to the target's.

    ``target`` (k₁, r) and ``source`` (k₂, r) are the codes that it was computed from, ``inner`` is (r, r) symmetric.
    """

    target: Tensor
    inner: Tensor
    source: Tensor

    def apply(self, codes: Tensor) -> Tensor:
        return self.target @ (self.inner @ (self.source.T @ codes))

    def squared_norm(self) -> Tensor:
        return ((self.target.T @ self.target) * (self.inner @ (self.source.T @ self.source) @ self.inner)).sum()


class CoupledDictionaries(Dictionary):
    """``state``: ``{modality}.atoms`` (d, k), ``.mean`` and ``.scale`` (d,), ``objective`` (iterations + 1,)."""

    params: Params

    def fit(self, train: Part) -> dict[str, np.ndarray]:
        views = paired(train, self.modalities)
        self.means: dict[str, np.ndarray] = {}
        self.scales: dict[str, np.ndarray] = {}
        columns = []
        for modality, view in zip(self.modalities, views, strict=True):
            self._learn_scale(modality, view.features)
            columns.append(self._columns(modality, view.features))
        basis = row_space(columns)
        generator = torch.Generator().manual_seed(self.seed)
        reduced = columns if basis is None else [x @ basis.T for x in columns]
        sides = [self._start(x, k, generator) for x, k in zip(reduced, self.params.atoms, strict=True)]
        self.objective = self._descend(*sides)
        self.converged = self._has_converged(self.objective)
        if not self.converged:
            log.warning(
                "after %d iterations the objective still falls by %.1e of itself, the tolerance is %.0e: raise "
                "iterations, or the tolerance",
                len(self.objective) - 1, 1 - self.objective[-1] / self.objective[-2], self.params.tolerance,
            )  # fmt: skip
        self.atoms = {m: side.atoms for m, side in zip(self.modalities, sides, strict=True)}
        if self.params.training_codes == "transformed":
            return {m: self.transform(m, view.features) for m, view in zip(self.modalities, views, strict=True)}
        codes = [side.codes if basis is None else side.codes @ basis for side in sides]
        return {m: rows_of_columns(a) for m, a in zip(self.modalities, codes, strict=True)}

    def transform(self, modality: str, features: np.ndarray) -> np.ndarray:
        """Eqs. 7 and 8."""
        return rows_of_columns(
            ridge_codes(self.atoms[modality], self._columns(modality, features), self.params.lambda1)
        )

    def state(self) -> dict[str, np.ndarray]:
        state = {"objective": np.array(self.objective)}
        for m in self.modalities:
            state |= {
                f"{m}.atoms": self.atoms[m].to(torch.float32).numpy(),
                f"{m}.mean": self.means[m],
                f"{m}.scale": self.scales[m],
            }
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.objective = list(state["objective"])
        self.means = {m: np.asarray(state[f"{m}.mean"]) for m in self.modalities}
        self.scales = {m: np.asarray(state[f"{m}.scale"]) for m in self.modalities}
        self.atoms = {m: torch.as_tensor(state[f"{m}.atoms"], dtype=torch.float64) for m in self.modalities}

    def _learn_scale(self, modality: str, features: np.ndarray) -> None:
        scaling = Scaling.fit(features, self.params.scale)
        root = np.sqrt(features.shape[1]) if self.params.scale == STANDARDISE else 1
        self.means[modality], self.scales[modality] = scaling.mean, scaling.scale * root

    def _columns(self, modality: str, features: np.ndarray) -> Tensor:
        """Scaled features as columns (d, n), float64."""
        scaled = (features - self.means[modality]) / self.scales[modality]
        return torch.as_tensor(scaled.T.copy(), dtype=torch.float64)

    def _start(self, x: Tensor, k: int, generator: torch.Generator) -> Side:
        atoms = torch.randn(x.shape[0], k, generator=generator, dtype=torch.float64)
        atoms *= (self.params.norm / atoms.square().sum(0)).sqrt()
        return Side(x, atoms, ridge_codes(atoms, x, self.params.lambda1))

    def _descend(self, first: Side, second: Side) -> list[float]:
        """Updates both sides in place by turns; the objective after the start and after each iteration."""
        p = self.params
        to_first, to_second = projections(first.codes, second.codes, p.lambda3 / p.lambda2)
        objective = [self._objective(first, second, to_first, to_second)]
        for _ in range(p.iterations):
            first.codes = self._coupled_codes(first, second, to_first, to_second)
            second.codes = self._coupled_codes(second, first, to_second, to_first)
            for side in (first, second):
                side.atoms = descend_atoms(side.x, side.codes, side.atoms, p.norm, p.atom_steps)
            to_first, to_second = projections(first.codes, second.codes, p.lambda3 / p.lambda2)
            objective.append(self._objective(first, second, to_first, to_second))
            if self._has_converged(objective):
                break
        return objective

    def _has_converged(self, objective: list[float]) -> bool:
        return objective[-2] - objective[-1] <= self.params.tolerance * objective[-2]

    def _coupled_codes(self, own: Side, other: Side, to_own: Projection, to_other: Projection) -> Tensor:
        """The minimiser over ``own.codes``: (DᵀD + (λ₁+λ₂)I + λ₂P₂ᵀP₂) A = DᵀX + λ₂(P₁ + P₂ᵀ) A_other."""
        p = self.params
        ridge = p.lambda1 + p.lambda2
        (d, k), r = own.atoms.shape, own.codes.shape[1]
        # P₂ᵀP₂ = A° weight A°ᵀ with A° = to_other.source, the codes that P was computed from, also P₁'s target.
        weight = p.lambda2 * to_other.inner @ (to_other.target.T @ to_other.target) @ to_other.inner
        pull = to_own.inner @ (to_own.source.T @ other.codes) + to_other.inner @ (to_other.target.T @ other.codes)
        pull *= p.lambda2
        if k <= d + r:
            system = own.atoms.T @ own.atoms + to_other.source @ weight @ to_other.source.T
            system.diagonal().add_(ridge)
            return torch.cholesky_solve(own.atoms.T @ own.x + to_other.source @ pull, torch.linalg.cholesky(system))
        # Both sides lie in the span of U = [Dᵀ, A°]: (ridge·I + U W Uᵀ) U Z = U T holds for
        # (ridge·I + W UᵀU) Z = T, a system of d + r unknowns.
        span = torch.cat([own.atoms.T, to_other.source], dim=1)
        system = torch.block_diag(torch.eye(d, dtype=span.dtype), weight) @ (span.T @ span)
        system.diagonal().add_(ridge)
        return span @ torch.linalg.solve(system, torch.cat([own.x, pull]))

    def _objective(self, first: Side, second: Side, to_first: Projection, to_second: Projection) -> float:
        """Eqs. 1 and 2."""
        p = self.params
        total = torch.zeros((), dtype=torch.float64)
        for own, other, to_own in ((first, second, to_first), (second, first, to_second)):
            total += (own.x - own.atoms @ own.codes).square().sum()
            total += p.lambda1 * own.codes.square().sum()
            total += p.lambda2 * (own.codes - to_own.apply(other.codes)).square().sum()
            total += p.lambda3 * to_own.squared_norm()
        return float(total)


def row_space(columns: list[Tensor]) -> Tensor | None:
    """An orthonormal basis (r, n) of the row space of the stacked ``columns`` (d, n); None where r would be n."""
    stacked = torch.cat(columns)
    if stacked.shape[0] >= stacked.shape[1]:
        return None
    values, vectors = torch.linalg.eigh(stacked @ stacked.T)
    kept = values > RANK_TOLERANCE * values[-1]
    return (vectors[:, kept] / values[kept].sqrt()).T @ stacked


def rows_of_columns(codes: Tensor) -> np.ndarray:
    return codes.T.to(torch.float32).contiguous().numpy()


def ridge_codes(atoms: Tensor, x: Tensor, ridge: float) -> Tensor:
    """(DᵀD + ridge·I)⁻¹Dᵀx, equal to Dᵀ(DDᵀ + ridge·I)⁻¹x: solved in the smaller of (k, k) and (d, d)."""
    d, k = atoms.shape
    system = atoms @ atoms.T if d < k else atoms.T @ atoms
    system.diagonal().add_(ridge)
    factor = torch.linalg.cholesky(system)
    return atoms.T @ torch.cholesky_solve(x, factor) if d < k else torch.cholesky_solve(atoms.T @ x, factor)


def projections(first: Tensor, second: Tensor, ridge: float) -> tuple[Projection, Projection]:
    """P₁ = A_V A_Tᵀ(A_T A_Tᵀ + ridge·I)⁻¹ = A_V (A_TᵀA_T + ridge·I)⁻¹A_Tᵀ, and P₂ with the roles changed."""

    def project(target: Tensor, source: Tensor) -> Projection:
        gram = source.T @ source
        gram.diagonal().add_(ridge)
        return Projection(target, torch.cholesky_inverse(torch.linalg.cholesky(gram)), source)

    return project(first, second), project(second, first)


def descend_atoms(x: Tensor, codes: Tensor, atoms: Tensor, norm: float, steps: int) -> Tensor:
    """Lowers ‖x − D codes‖² over dictionaries with squared atom norms at most ``norm``: monotone FISTA.

    Beck and Teboulle, IEEE Trans. Image Processing 2009 (MFISTA). One product a step, with the Gram matrix of the codes
    or, where that is cheaper, two with the codes: the extrapolated point's product is that of its parts.
    """
    k, r = codes.shape
    cross = x @ codes.T
    if k <= 2 * r:
        through, squared = codes @ codes.T, float(x.square().sum())
    else:
        through = codes

    def value(d: Tensor, product: Tensor) -> float:
        if through is codes:
            return float((x - product).square().sum())
        return squared - 2 * float((d * cross).sum()) + float((d * product).sum())

    def gradient(product: Tensor) -> Tensor:
        return (product @ codes.T if through is codes else product) - cross

    rate = 1 / largest_eigenvalue(codes)
    best = point = (atoms, atoms @ through)
    lowest, momentum = value(*best), 1.0
    for _ in range(steps):
        moved = project_atoms(point[0] - rate * gradient(point[1]), norm)
        candidate = (moved, moved @ through)
        reached = value(*candidate)
        following = candidate if reached <= lowest else best
        lowest = min(reached, lowest)
        faster = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        towards, onwards = momentum / faster, (momentum - 1) / faster
        point = tuple(
            f + towards * (c - f) + onwards * (f - b) for f, c, b in zip(following, candidate, best, strict=True)
        )
        best, momentum = following, faster
    return best[0]


def project_atoms(atoms: Tensor, norm: float) -> Tensor:
    """The nearest dictionary whose atoms have a squared norm of at most ``norm``."""
    return atoms / (atoms.square().sum(0) / norm).sqrt().clamp(min=1)


def largest_eigenvalue(codes: Tensor, steps: int = 50) -> float:
    """Of A Aᵀ, by power iteration from the sum of the rows, with a margin of a hundredth."""
    vector = codes.sum(0)
    for _ in range(steps):
        vector = codes.T @ (codes @ (vector / vector.norm()))
    return 1.01 * float(vector.norm())
