"""The dictionary stage against a plain version: ``python tests/benchmarks/dictionary.py [--iterations 2]``.

The shape of the Wikipedia data set with its own features and the paper's atoms: n = 2173, d = 128 and 10, k = 4096 and
5000. The plain version writes down what the paper prints: coefficients (k, n) and projections (k, k') as whole
matrices, each update of A and P a Cholesky solve in k × k, and the same projected gradient steps for D. Both start
from the same dictionaries and take the same number of iterations in float64; their objectives are compared after each.
"""

import argparse
import time

import numpy as np
import torch
from torch import Tensor

from cmr.data import View
from cmr.dictionary.coupled import CoupledDictionaries, Params, descend_atoms

ROWS, DIMENSIONS = 2173, (128, 10)


def features(seed: int = 0) -> dict[str, View]:
    """Correlated rows of both modalities: ten latent variables and noise."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((ROWS, 10))
    ids = np.array([f"item{i}" for i in range(ROWS)])
    return {
        m: View(ids, (latent @ rng.standard_normal((10, d)) + rng.standard_normal((ROWS, d))).astype(np.float32))
        for m, d in zip(("image", "text"), DIMENSIONS, strict=True)
    }


def solve(system: Tensor, right: Tensor) -> Tensor:
    return torch.cholesky_solve(right, torch.linalg.cholesky(system))


class Plain(CoupledDictionaries):
    """Scales features and draws the start as the project's own; everything else as printed."""

    def fit(self, train: dict[str, View]) -> None:
        p, columns = self.params, []
        self.means, self.scales = {}, {}
        for modality, view in train.items():
            self._learn_scale(modality, view.features)
            columns.append(self._columns(modality, view.features))
        generator = torch.Generator().manual_seed(self.seed)
        atoms = []
        for x, k in zip(columns, p.atoms, strict=True):
            drawn = torch.randn(x.shape[0], k, generator=generator, dtype=torch.float64)
            atoms.append(drawn * (p.norm / drawn.square().sum(0)).sqrt())
        codes = [solve(ridged(d.T @ d, p.lambda1), d.T @ x) for x, d in zip(columns, atoms, strict=True)]
        maps = self.maps(*codes)
        self.objective = [self.value(columns, atoms, codes, maps)]
        for _ in range(p.iterations):
            for own, other in ((0, 1), (1, 0)):
                d, to_own, to_other = atoms[own], maps[own], maps[other]
                system = ridged(d.T @ d + p.lambda2 * to_other.T @ to_other, p.lambda1 + p.lambda2)
                pull = p.lambda2 * (to_own + to_other.T) @ codes[other]
                codes[own] = solve(system, d.T @ columns[own] + pull)
            atoms = [
                descend_atoms(x, a, d, p.norm, p.atom_steps) for x, a, d in zip(columns, codes, atoms, strict=True)
            ]
            maps = self.maps(*codes)
            self.objective.append(self.value(columns, atoms, codes, maps))

    def maps(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """P₁ and P₂."""
        ridge = self.params.lambda3 / self.params.lambda2
        return [solve(ridged(b @ b.T, ridge), b @ a.T).T for a, b in ((first, second), (second, first))]

    def value(self, columns: list[Tensor], atoms: list[Tensor], codes: list[Tensor], maps: list[Tensor]) -> float:
        p, total = self.params, 0.0
        for own, other in ((0, 1), (1, 0)):
            total += float((columns[own] - atoms[own] @ codes[own]).square().sum())
            total += p.lambda1 * float(codes[own].square().sum()) + p.lambda3 * float(maps[own].square().sum())
            total += p.lambda2 * float((codes[own] - maps[own] @ codes[other]).square().sum())
        return total


def ridged(gram: Tensor, ridge: float) -> Tensor:
    gram.diagonal().add_(ridge)
    return gram


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=2)
    params = Params(iterations=parser.parse_args().iterations, tolerance=0)
    train, seconds, objectives = features(), {}, {}
    for name, kind in {"ours": CoupledDictionaries, "plain": Plain}.items():
        model = kind(params, tuple(train))
        start = time.perf_counter()
        model.fit(train)
        seconds[name], objectives[name] = time.perf_counter() - start, np.array(model.objective)
        print(
            f"{name:6} {seconds[name]:7.1f} s  objective {', '.join(f'{o:.8g}' for o in model.objective)}", flush=True
        )
    difference = np.abs(objectives["ours"] / objectives["plain"] - 1).max()
    print(
        f"{torch.get_num_threads()} threads: {seconds['plain'] / seconds['ours']:.1f} times as fast as the plain one, "
    )
    print(f"objectives equal to {difference:.1e}")


if __name__ == "__main__":
    main()
