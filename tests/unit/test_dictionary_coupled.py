"""Coupled dictionaries: every update against its literal formula, and the savings against the plain solve."""

import numpy as np
import pytest
import torch

from cmr.data import View
from cmr.dictionary import coupled
from cmr.dictionary.coupled import (
    CoupledDictionaries,
    Params,
    Projection,
    Side,
    descend_atoms,
    project_atoms,
    projections,
    row_space,
)

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


def test_the_codes_of_the_first_round_are_the_printed_solutions_by_turns():
    model, train = CoupledDictionaries(P.model_copy(update={"iterations": 1}), ("image", "text"), seed=4), part()
    codes = model.fit(train)
    x, y = (model._columns(m, train[m].features).numpy() for m in train)
    generator = torch.Generator().manual_seed(4)
    dv, dt = (torch.randn(d, k, generator=generator, dtype=torch.float64).numpy() for d, k in ((5, 7), (3, 9)))
    dv, dt = dv / np.linalg.norm(dv, axis=0), dt / np.linalg.norm(dt, axis=0)
    av, at = (
        np.linalg.solve(d.T @ d + P.lambda1 * np.eye(k), d.T @ rows) for d, rows, k in ((dv, x, 7), (dt, y, 9))
    )  # eqs. 7 and 8
    p1 = av @ at.T @ np.linalg.inv(at @ at.T + P.lambda3 / P.lambda2 * np.eye(9))
    p2 = at @ av.T @ np.linalg.inv(av @ av.T + P.lambda3 / P.lambda2 * np.eye(7))
    ridge = P.lambda1 + P.lambda2
    av = np.linalg.solve(dv.T @ dv + ridge * np.eye(7) + P.lambda2 * p2.T @ p2, dv.T @ x + P.lambda2 * (p1 + p2.T) @ at)
    at = np.linalg.solve(  # with the new codes of the other side
        dt.T @ dt + ridge * np.eye(9) + P.lambda2 * p1.T @ p1, dt.T @ y + P.lambda2 * (p2 + p1.T) @ av
    )
    np.testing.assert_allclose(codes["image"], av.T, atol=1e-5)
    np.testing.assert_allclose(codes["text"], at.T, atol=1e-5)


@pytest.mark.parametrize("k", [6, 30])  # with the Gram matrix of the codes, and with the codes
def test_atoms_take_the_steps_of_monotone_fista(k):
    g = torch.Generator().manual_seed(2)
    x, codes = (torch.randn(d, 8, generator=g, dtype=torch.float64) for d in (5, k))
    codes[0] *= 8  # badly conditioned, so that accelerated steps would rise
    start = project_atoms(torch.randn(5, k, generator=g, dtype=torch.float64), 1.0)
    values = [value_of(x, codes, descend_atoms(x, codes, start, 1.0, steps)) for steps in range(1, 41)]
    np.testing.assert_allclose(values, literal_fista(x.numpy(), codes.numpy(), start.numpy(), 40), rtol=1e-4)
    assert values == sorted(values, reverse=True)


def value_of(x, codes, atoms):
    return float((x - atoms @ codes).square().sum())


def literal_fista(x, a, start, steps):
    """The values of Beck and Teboulle's MFISTA after each step, with a largest squared norm of 1."""
    rate = 1 / (1.01 * np.linalg.eigvalsh(a @ a.T)[-1])
    value = lambda d: ((x - d @ a) ** 2).sum()  # noqa: E731
    kept = point = start
    t, values = 1.0, []
    for _ in range(steps):
        moved = point - rate * (point @ a - x) @ a.T
        for column in range(moved.shape[1]):
            moved[:, column] /= max(1, np.linalg.norm(moved[:, column]))
        before, kept = kept, moved if value(moved) <= value(kept) else kept
        t_before, t = t, (1 + np.sqrt(1 + 4 * t**2)) / 2
        point = kept + t_before / t * (moved - kept) + (t_before - 1) / t * (kept - before)
        values.append(value(kept))
    return values


def test_atoms_within_the_norm_stay_and_others_are_shortened():
    atoms = torch.tensor([[0.3, 3.0], [0.4, 4.0]], dtype=torch.float64)
    found = project_atoms(atoms, norm=4.0)  # lengths 0.5 and 5, at most 2
    np.testing.assert_allclose(found, [[0.3, 1.2], [0.4, 1.6]])


def test_rows_have_a_mean_squared_norm_of_one_unless_they_are_left_as_they_are():
    train = part()
    for scale in ("standardise", "none"):
        model = CoupledDictionaries(P.model_copy(update={"scale": scale}), ("image", "text"))
        model.fit(train)
        for modality, view in train.items():
            rows = model._columns(modality, view.features).numpy().T
            if scale == "standardise":
                assert (rows**2).sum(axis=1).mean() == pytest.approx(1)
            else:
                np.testing.assert_array_equal(rows, view.features)


def test_the_iterations_end_at_the_first_fall_that_is_a_small_share_of_the_objective():
    params = P.model_copy(update={"tolerance": 0.03, "iterations": 50, "scale": "none"})
    model = CoupledDictionaries(params, ("image", "text"))
    model.fit({m: View(view.ids, 100 * view.features) for m, view in part().items()})  # an objective far from 1
    falls = 1 - np.array(model.objective[1:]) / np.array(model.objective[:-1])
    assert len(falls) > 2
    assert (falls[:-1] > 0.03).all()
    assert falls[-1] <= 0.03


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
