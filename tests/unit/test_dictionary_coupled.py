"""Coupled dictionaries: every update against its literal formula, and the savings against the plain solve."""

import numpy as np
import pytest
import torch

from cmr.data import View
from cmr.dictionary import coupled
from cmr.dictionary.coupled import CoupledDictionaries, Params, Projection, Side, projections, row_space

P = Params(atoms=(7, 9), lambda1=0.3, lambda2=0.7, lambda3=0.2, iterations=6, tolerance=0)


def part(n=12, dv=5, dt=3, seed=0):
    rng = np.random.default_rng(seed)
    ids = np.array([f"i{k}" for k in range(n)])
    return {
        "image": View(ids, rng.normal(size=(n, dv)).astype(np.float32)),
        "text": View(ids, rng.normal(size=(n, dt)).astype(np.float32)),
    }


def literal_objective(x, y, dv, dt, av, at, p1, p2, p):
    total = 0.0
    for matrix, factor in (
        (x - dv @ av, 1),
        (y - dt @ at, 1),
        (av, p.lambda1),
        (at, p.lambda1),
        (av - p1 @ at, p.lambda2),
        (at - p2 @ av, p.lambda2),
        (p1, p.lambda3),
        (p2, p.lambda3),
    ):
        for row in matrix:
            for value in row:
                total += factor * float(value) ** 2
    return total


def explicit(projection: Projection) -> torch.Tensor:
    return projection.target @ projection.inner @ projection.source.T


def some_sides(k1=7, k2=9, r=12, seed=1):
    g = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    first = Side(rand(5, r), rand(5, k1), rand(k1, r))
    second = Side(rand(3, r), rand(3, k2), rand(k2, r))
    return first, second, projections(rand(k1, r), rand(k2, r), 0.4)


def test_projections_are_the_printed_closed_form():
    first, second, _ = some_sides()
    to_first, _ = projections(first.codes, second.codes, 0.4)
    a, b = first.codes, second.codes
    expected = a @ b.T @ torch.linalg.inv(b @ b.T + 0.4 * torch.eye(9, dtype=torch.float64))
    assert torch.allclose(explicit(to_first), expected)
    assert torch.allclose(to_first.apply(b), expected @ b)
    assert torch.allclose(to_first.squared_norm(), expected.square().sum())


@pytest.mark.parametrize(("k1", "r"), [(7, 12), (60, 12)])  # solved in the atoms' space, in the span of [Dᵀ, A]
def test_codes_zero_the_gradient_of_the_objective(k1, r):
    first, second, _ = some_sides(k1=k1, r=r)
    to_first, to_second = projections(first.codes, second.codes, P.lambda3 / P.lambda2)
    model = CoupledDictionaries(P, ("image", "text"))
    codes = model._coupled_codes(first, second, to_first, to_second).requires_grad_()
    model_side = Side(first.x, first.atoms, codes)
    p1, p2 = explicit(to_first), explicit(to_second)
    loss = (
        (first.x - first.atoms @ codes).square().sum()
        + P.lambda1 * codes.square().sum()
        + P.lambda2 * ((codes - p1 @ second.codes).square().sum() + (second.codes - p2 @ codes).square().sum())
    )
    (gradient,) = torch.autograd.grad(loss, codes)
    assert model_side.codes.shape == (k1, r)
    assert gradient.abs().max() < 1e-8


def test_projections_zero_the_gradient_of_the_objective():
    first, second, _ = some_sides()
    to_first, _ = projections(first.codes, second.codes, P.lambda3 / P.lambda2)
    p1 = explicit(to_first).requires_grad_()
    loss = P.lambda2 * (first.codes - p1 @ second.codes).square().sum() + P.lambda3 * p1.square().sum()
    (gradient,) = torch.autograd.grad(loss, p1)
    assert gradient.abs().max() < 1e-9


def test_objective_is_the_literal_sum_and_never_rises():
    model = CoupledDictionaries(P, ("image", "text"), seed=3)
    train = part()
    codes = model.fit(train)
    objective = np.array(model.objective)
    assert (np.diff(objective) <= 1e-9 * objective[0]).all()
    assert objective[-1] < 0.9 * objective[0]
    x, y = (model._columns(m, train[m].features) for m in ("image", "text"))
    av, at = (torch.as_tensor(codes[m].T.astype(np.float64)) for m in ("image", "text"))
    p1, p2 = (explicit(p) for p in projections(av, at, P.lambda3 / P.lambda2))
    literal = literal_objective(x, y, model.atoms["image"], model.atoms["text"], av, at, p1, p2, P)
    assert objective[-1] == pytest.approx(literal, rel=1e-5)  # codes are stored in float32


def test_what_ends_the_iterations_is_told(caplog):
    met = CoupledDictionaries(P.model_copy(update={"tolerance": 0.5, "iterations": 50}), ("image", "text"))
    met.fit(part())
    assert met.converged
    assert len(met.objective) < 51
    assert not caplog.text
    cut = CoupledDictionaries(P.model_copy(update={"tolerance": 1e-9, "iterations": 2}), ("image", "text"))
    cut.fit(part())
    assert not cut.converged
    assert len(cut.objective) == 3
    assert "after 2 iterations the objective still falls by" in caplog.text


def test_fewer_columns_give_the_same_dictionaries(monkeypatch):
    train = part(n=40)
    reduced = CoupledDictionaries(P, ("image", "text"), seed=5)
    codes = reduced.fit(train)
    assert row_space([reduced._columns(m, train[m].features) for m in train]).shape == (8, 40)
    monkeypatch.setattr(coupled, "row_space", lambda columns: None)
    plain = CoupledDictionaries(P, ("image", "text"), seed=5)
    plain_codes = plain.fit(train)
    assert np.allclose(reduced.objective, plain.objective, rtol=1e-9)
    for m in train:
        assert np.allclose(codes[m], plain_codes[m], atol=1e-5)


@pytest.mark.parametrize("k", [4, 30])  # fewer and more atoms than dimensions
def test_new_rows_follow_equations_7_and_8(k):
    model = CoupledDictionaries(P.model_copy(update={"atoms": (k, k)}), ("image", "text"))
    train = part(dv=8)
    model.fit(train)
    d = model.atoms["image"].numpy()
    x = model._columns("image", train["image"].features[:4]).numpy()
    expected = np.linalg.solve(d.T @ d + P.lambda1 * np.eye(k), d.T @ x)
    assert np.allclose(model.transform("image", train["image"].features[:4]), expected.T, atol=1e-5)


def test_atoms_keep_the_norm_constraint():
    model = CoupledDictionaries(P.model_copy(update={"norm": 0.5, "lambda1": 0.001}), ("image", "text"))
    model.fit(part())
    for atoms in model.atoms.values():
        norms = atoms.square().sum(0)
        assert norms.max() <= 0.5 + 1e-12
        assert (norms > 0.5 - 1e-6).any()  # the constraint is at work


def test_state_round_trip_and_seeds():
    train = part()
    model = CoupledDictionaries(P, ("image", "text"), seed=1)
    first = model.fit(train)
    again = CoupledDictionaries(P, ("image", "text"), seed=1)
    assert np.array_equal(again.fit(train)["image"], first["image"])
    loaded = CoupledDictionaries(P, ("image", "text"))
    loaded.load_state(model.state())
    new = part(seed=9)["text"].features
    assert np.allclose(loaded.transform("text", new), model.transform("text", new), atol=1e-5)
    assert not np.array_equal(CoupledDictionaries(P, ("image", "text"), seed=2).fit(train)["image"], first["image"])


def test_transformed_training_codes_are_those_of_equations_7_and_8():
    train = part()
    model = CoupledDictionaries(P.model_copy(update={"training_codes": "transformed"}), ("image", "text"))
    codes = model.fit(train)
    for modality, view in train.items():
        assert np.array_equal(codes[modality], model.transform(modality, view.features))


def test_a_column_that_varies_by_rounding_alone_is_constant():
    train = part()
    features = train["image"].features.copy()
    features[:, 2] = np.float32(0.1)
    features[3, 2] = np.nextafter(np.float32(0.1), np.float32(1))
    train["image"] = View(train["image"].ids, features)
    method = CoupledDictionaries(P, ("image", "text"), 0)
    method.fit(train)
    new = features[:2].copy()
    new[1, 2] = 0.11
    codes = method.transform("image", new)
    assert np.abs(codes).max() < 100
