"""Every linear method is at the optimum of the objective in its docstring, written out here as literal sums.

Eigenproblems: residual below 1e-6, and no perturbation that keeps the constraint raises the objective. The others: no
perturbation lowers it.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.spatial

from cmr.data import View
from cmr.errors import UserError
from cmr.methods.cmcp import conjugate_gradient
from cmr.methods.eigen import singular_vectors
from cmr.methods.scatter import class_sums
from cmr.methods.sparse_rows import minimise
from synthetic import fitted, separable

TRAIN = separable(40, seed=3)
THREE = separable(40, ("image", "text", "audio"), seed=3)
UNEQUAL = {"image": TRAIN["image"].rows(np.flatnonzero(TRAIN["image"].labels[:, 0] == 0)[:20]), "text": TRAIN["text"]}
WIDE = {m: View(v.ids[:9], v.features[:9], v.labels[:9]) for m, v in TRAIN.items()}  # fewer rows than image features


def scaled(method, part):
    return [method.scaling[m](v.features) for m, v in part.items()]


def stack(method):
    return np.vstack([method.maps[m] for m in method.modalities])


def is_unbeaten(objective, solution, lower_is_better, seed=0):
    """100 random perturbations, each at five sizes, do not improve ``objective`` beyond rounding."""
    generator, best = np.random.default_rng(seed), objective(solution)
    sign = 1 if lower_is_better else -1
    for _ in range(100):
        direction = generator.normal(size=solution.shape)
        direction *= np.linalg.norm(solution) / np.linalg.norm(direction)
        for size in (1e-3, 1e-2, 0.1, 0.5, 1.0):
            other = objective(solution + size * direction)
            if sign * (other - best) < -1e-9 * abs(best):
                return False
    return True


def test_the_perturbations_find_what_is_not_optimal():
    assert not is_unbeaten(lambda w: np.sum(w**2), np.full((3, 2), 1e-2), lower_is_better=True)
    assert is_unbeaten(lambda w: np.sum((w - 1) ** 2), np.ones((3, 2)), lower_is_better=True)


def normalised(weights, own):
    """The weights (d, k) made to satisfy Wᵀ B W = I, without leaving their span."""
    factor = scipy.linalg.cholesky(weights.T @ own @ weights)
    return scipy.linalg.solve_triangular(factor, weights.T, trans="T").T


def check_eigenproblem(a, b, weights, values):
    assert np.abs(a @ weights - b @ weights * values).max() < 1e-6
    assert np.allclose(weights.T @ b @ weights, np.eye(weights.shape[1]), atol=1e-8)
    assert np.allclose(values, scipy.linalg.eigh(a, b)[0][::-1][: len(values)])
    assert is_unbeaten(lambda w: np.trace(normalised(w, b).T @ a @ normalised(w, b)), weights, lower_is_better=False)


def blocks(dims):
    edges = np.cumsum([0, *dims])
    return [slice(*edge) for edge in pairwise(edges)]


@pytest.mark.parametrize("part", [TRAIN, THREE, WIDE], ids=["two", "three", "wide"])
def test_mcca(part):
    method = fitted("mcca", part, components=3, regularisation=0.2)
    x, n = scaled(method, part), len(part["image"])
    at = blocks([v.shape[1] for v in x])
    a, b = (np.zeros((at[-1].stop, at[-1].stop)) for _ in range(2))
    for i, xi in enumerate(x):
        for j, xj in enumerate(x):
            if i == j:
                b[at[i], at[i]] = xi.T @ xi / n + 0.2 * np.eye(xi.shape[1])
            else:
                a[at[i], at[j]] = xi.T @ xj / n
    check_eigenproblem(a, b, stack(method), method.eigenvalues)


def test_mcca_of_two_views_is_cca():
    part = separable(40, seed=3)
    mcca, cca = (fitted(name, part, components=4, regularisation=0.2) for name in ("mcca", "cca"))
    for modality in part:
        ratio = mcca.maps[modality] / cca.maps[modality]
        assert np.allclose(np.abs(ratio), 1 / np.sqrt(2))
    test = separable(seed=4)
    scores = [
        m.similarity("image", m.embed("image", test["image"].features), "text", m.embed("text", test["text"].features))
        for m in (mcca, cca)
    ]
    assert np.allclose(*scores, atol=1e-5)


@pytest.mark.parametrize("part", [TRAIN, WIDE], ids=["two", "wide"])
def test_pls(part):
    method = fitted("pls", part, components=3)
    x, y = scaled(method, part)
    u, v = method.maps["image"], method.maps["text"]
    assert np.allclose(u.T @ u, np.eye(3))
    assert np.allclose(v.T @ v, np.eye(3))
    cross = x.T @ y / len(x)
    assert np.abs(cross @ v - u * method.covariances).max() < 1e-6

    def objective(w):
        first, second = (normalised(part, np.eye(len(part))) for part in np.split(w, [len(u)]))
        return np.trace(first.T @ cross @ second)

    assert is_unbeaten(objective, stack(method), lower_is_better=False)


def test_cca_3v():
    method = fitted("cca_3v", TRAIN, components=2, power=3, regularisation=0.2)
    labels = TRAIN["image"].labels - TRAIN["image"].labels.mean(axis=0)
    views = [*scaled(method, TRAIN), labels / np.sqrt(labels.var(axis=0).mean())]
    n, at = len(labels), blocks([v.shape[1] for v in views])
    full, own = (np.zeros((at[-1].stop, at[-1].stop)) for _ in range(2))
    for i, xi in enumerate(views):
        for j, xj in enumerate(views):
            full[at[i], at[j]] = xi.T @ xj / n
        full[at[i], at[i]] += 0.2 * np.eye(xi.shape[1])
        own[at[i], at[i]] = full[at[i], at[i]]
    values, vectors = scipy.linalg.eigh(full, own)
    expected = (vectors * values**3)[: at[1].stop, ::-1][:, :2]
    assert np.allclose(np.abs(stack(method)), np.abs(expected))
    assert np.allclose(1 + method.eigenvalues, values[::-1][:2])


@pytest.mark.parametrize("rows", [(12, 10), (7, 6)], ids=["long", "wide"])
@pytest.mark.parametrize("similarity", ["cosine", "exponential"])
def test_ml_cca_by_loops_over_all_pairs(similarity, rows):
    image, text = TRAIN["image"].rows(np.arange(rows[0])), TRAIN["text"].rows(np.arange(5, 5 + rows[1]))
    labels = [np.random.default_rng(5).integers(0, 2, size=(len(v), 3)) for v in (image, text)]
    for z in labels:
        z[z.sum(axis=1) == 0, 0] = 1
    part = {"image": View(image.ids, image.features, labels[0]), "text": View(text.ids, text.features, labels[1])}
    form = {"components": 2, "similarity": similarity, "sigma": 1.5, "regularisation": 0.3}
    method = fitted("ml_cca", part, unit="variance", **form)
    x, y = scaled(method, part)
    xx, yy, xy = np.zeros((12, 12)), np.zeros((8, 8)), np.zeros((12, 8))
    for xi, zi in zip(x, labels[0], strict=True):
        for yj, zj in zip(y, labels[1], strict=True):
            if similarity == "cosine":
                f = zi @ zj / np.linalg.norm(zi) / np.linalg.norm(zj)
            else:
                f = np.exp(-np.sum((zi - zj) ** 2) / 1.5)
            xx += f * np.outer(xi, xi) / len(x) / len(y)
            yy += f * np.outer(yj, yj) / len(x) / len(y)
            xy += f * np.outer(xi, yj) / len(x) / len(y)
    xx += 0.3 * np.trace(xx) / 12 * np.eye(12)
    yy += 0.3 * np.trace(yy) / 8 * np.eye(8)
    a = np.block([[np.zeros((12, 12)), xy], [xy.T, np.zeros((8, 8))]])
    b = scipy.linalg.block_diag(xx, yy)
    check_eigenproblem(a, b, stack(method) / np.sqrt(2), method.correlations)


@pytest.mark.parametrize("part", [TRAIN, WIDE], ids=["two", "wide"])
def test_ml_cca_with_components_of_unit_norm(part):
    norm, variance = (fitted("ml_cca", part, components=2, unit=unit) for unit in ("norm", "variance"))
    for modality in part:
        maps = norm.maps[modality], variance.maps[modality]
        assert np.allclose([np.linalg.norm(column) for column in maps[0].T], 1)
        assert np.allclose(maps[0] * np.linalg.norm(maps[1], axis=0), maps[1])


def class_rows(rows, labels, c):
    return rows[labels[:, c] == 1]


@pytest.mark.parametrize("part", [TRAIN, THREE, WIDE], ids=["two", "three", "wide"])
def test_gmlda(part):
    method = fitted("gmlda", part, alpha=3, regularisation=0.2)
    x, y = scaled(method, part), part["image"].labels
    n, at = len(y), blocks([v.shape[1] for v in x])
    within, a = [], np.zeros((at[-1].stop, at[-1].stop))
    for i, xi in enumerate(x):
        scatter = np.zeros((xi.shape[1], xi.shape[1]))
        for c in range(3):
            rows = class_rows(xi, y, c)
            scatter += (rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0)) / n
        within.append(scatter)
        for j, xj in enumerate(x):
            for c in range(3):
                means = [class_rows(v, y, c).mean(axis=0) for v in (xi, xj)]
                a[at[i], at[j]] += (1 if i == j else 3) * y[:, c].mean() * np.outer(*means)
    b = scipy.linalg.block_diag(*(np.trace(within[0]) / np.trace(w) * w for w in within)) + 0.2 * np.eye(len(a))
    check_eigenproblem(a, b, stack(method), method.eigenvalues)


def mvda_matrices(x, labels):
    """S and D as sums over items: projections of all views share one mean a class."""
    at, n = blocks([v.shape[1] for v in x]), sum(map(len, x))
    items = []
    for place, rows, y in zip(at, x, labels, strict=True):
        for own, c in zip(rows, y.argmax(axis=1), strict=True):
            items.append((np.zeros(at[-1].stop), c))
            items[-1][0][place] = own
    mean = np.mean([row for row, _ in items], axis=0)
    between, within = (np.zeros((at[-1].stop, at[-1].stop)) for _ in range(2))
    for c in range(labels[0].shape[1]):
        rows = np.array([row for row, label in items if label == c])
        between += len(rows) * np.outer(rows.mean(axis=0) - mean, rows.mean(axis=0) - mean)
        within += (rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0))
    return between / n, within / n


@pytest.mark.parametrize("part", [TRAIN, THREE, WIDE, UNEQUAL], ids=["two", "three", "wide", "unequal"])
def test_mvda(part):
    method = fitted("mvda", part, regularisation=0.2)
    between, within = mvda_matrices(scaled(method, part), [v.labels for v in part.values()])
    check_eigenproblem(between, within + 0.2 * np.eye(len(within)), stack(method), method.eigenvalues)
    assert method.maps["image"].shape[1] == 2


@pytest.mark.parametrize("part", [TRAIN, THREE], ids=["two", "three"])
def test_mvda_vc(part):
    method = fitted("mvda_vc", part, consistency=0.7, regularisation=0.2)
    x = scaled(method, part)
    between, within = mvda_matrices(x, [v.labels for v in part.values()])
    combine = []
    for v in x:
        gram = v @ v.T
        combine.append(np.linalg.solve(gram + 1e-4 * np.trace(gram) * np.eye(len(gram)), v))
    at, m = blocks([v.shape[1] for v in x]), np.zeros_like(within)
    for j in range(len(x)):
        for r in range(j + 1, len(x)):
            difference = np.zeros((len(x[0]), len(m)))
            difference[:, at[j]], difference[:, at[r]] = combine[j], -combine[r]
            m += difference.T @ difference
    within += 0.7 * np.trace(within) / np.trace(m) * m
    check_eigenproblem(between, within + 0.2 * np.eye(len(m)), stack(method), method.eigenvalues)


def test_mvda_vc_of_weight_zero_is_mvda():
    plain, consistent = fitted("mvda", TRAIN), fitted("mvda_vc", TRAIN, consistency=0)
    assert np.allclose(np.abs(stack(plain)), np.abs(stack(consistent)))


@pytest.mark.parametrize("first", ["image", "text"])
def test_mdcr(first):
    second = "text" if first == "image" else "image"
    method = fitted("mdcr", TRAIN, correlation=0.3, penalty=0.2)
    x, y = (method.scaling[m](TRAIN[m].features) for m in (first, second))
    labels = TRAIN["image"].labels - TRAIN["image"].labels.mean(axis=0)
    columns = slice(0, 3) if first == "image" else slice(3, 6)
    solution = np.vstack([method.maps[first][:, columns], method.maps[second][:, columns]])

    def objective(w):
        u, v = np.split(w, [x.shape[1]])
        pairs, error = np.sum((x @ u - y @ v) ** 2), np.sum((x @ u - labels) ** 2)
        return (0.3 * pairs + 0.7 * error) / len(x) + 0.2 * np.sum(w**2)

    assert is_unbeaten(objective, solution, lower_is_better=True)


def test_mdcr_compares_under_the_couple_of_the_query():
    method = fitted("mdcr", TRAIN)
    image, text = (method.embed(m, TRAIN[m].features) for m in ("image", "text"))
    by_image, by_text = method.similarity("image", image, "text", text), method.similarity("text", text, "image", image)
    expected = image[2, :3] @ text[5, :3] / np.linalg.norm(image[2, :3]) / np.linalg.norm(text[5, :3])
    assert by_image[2, 5] == pytest.approx(expected, rel=1e-5)
    expected = image[2, 3:] @ text[5, 3:] / np.linalg.norm(image[2, 3:]) / np.linalg.norm(text[5, 3:])
    assert by_text[5, 2] == pytest.approx(expected, rel=1e-5)


def row_sparsity(weights):
    return sum(np.sqrt(np.sum(row**2) + 1e-8) for row in weights)


def neighbour_graph(rows, k, weight):
    """(W + Wᵀ)/2 of the k nearest others of each row, by a loop."""
    graph = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        distances = np.linalg.norm(rows - row, axis=1)
        for j in [j for j in np.argsort(distances) if j != i][:k]:
            graph[i, j] = weight(distances[j])
    return (graph + graph.T) / 2


def test_jrl():
    weights = {"semantic": 0.7, "pairs": 0.3, "graph": 2.0, "sparsity": 1.5}
    unlabelled = {m: v.without_labels() for m, v in separable(15, seed=8).items()}
    method = fitted("jrl", TRAIN, neighbours=4, iterations=500, unlabelled_part=unlabelled, **weights)
    x, labels = scaled(method, TRAIN), TRAIN["image"].labels
    everything = [np.vstack([v, method.scaling[m](unlabelled[m].features)]) for v, m in zip(x, TRAIN, strict=True)]
    laplacians = []
    for rows in everything:
        graph = neighbour_graph(rows, 4, lambda d: 1 / (1 + np.exp(d)))
        degrees = graph.sum(axis=1)
        laplacians.append(np.eye(len(rows)) - graph / np.sqrt(np.outer(degrees, degrees)))

    def objective(w):
        p = np.split(w, [x[0].shape[1]])
        value = weights["pairs"] * np.sum((x[0] @ p[0] - x[1] @ p[1]) ** 2)
        for v, rows, laplacian, u in zip(x, everything, laplacians, p, strict=True):
            value += weights["semantic"] * np.sum((v @ u - labels) ** 2) + weights["sparsity"] * row_sparsity(u)
            value += weights["graph"] * np.trace(u.T @ rows.T @ laplacian @ rows @ u)
        return value

    assert is_unbeaten(objective, stack(method), lower_is_better=True)
    assert np.all(np.diff(method.objectives) <= 1e-9)


def test_jrl_compares_by_class_shares_of_the_nearest_training_items():
    method = fitted("jrl", TRAIN, neighbours=3)
    row = separable(1, seed=9)["text"].features
    projected = method.scaling["text"](row) @ method.maps["text"]
    items = [
        (np.linalg.norm(method.scaling[m](v.features[i]) @ method.maps[m] - projected[0]), v.labels[i])
        for m, v in TRAIN.items()
        for i in range(40)
    ]
    nearest = sorted(items, key=lambda item: item[0])[:3]
    weights = np.array([1 / (1 + np.exp(distance)) for distance, _ in nearest])
    expected = sum(w / weights.sum() * label for w, (_, label) in zip(weights, nearest, strict=True))
    assert np.allclose(method.embed("text", row)[0], expected, atol=1e-4)


@pytest.mark.parametrize("several", [False, True], ids=["one label", "several labels"])
def test_jfssl(several):
    image, text = TRAIN["image"].rows(np.arange(30)), TRAIN["text"]
    if several:  # any label that two items share makes them alike, once
        image, text = (
            replace(v, labels=np.maximum(v.labels, np.arange(len(v.ids))[:, None] % 3 == [0, 0, 1]))
            for v in (image, text)
        )
    part = {"image": image, "text": text}  # modalities need not have the same rows
    method = fitted("jfssl", part, sparsity=1.5, graph=4.0, across=0.5, neighbours=3, iterations=500)
    x, labels = scaled(method, part), [v.labels for v in part.values()]
    n = [len(v) for v in x]
    graph = np.zeros((sum(n), sum(n)))
    for rows, at in zip(x, blocks(n), strict=True):
        spread = np.mean([np.sum((row - rows.mean(axis=0)) ** 2) for row in rows])
        graph[at, at] = neighbour_graph(rows, 3, lambda d, s=spread: np.exp(-(d**2) / 2 / s))
    for i, zi in enumerate(labels[0]):
        for j, zj in enumerate(labels[1]):
            graph[i, n[0] + j] = graph[n[0] + j, i] = 0.5 * (zi @ zj > 0)
    degree = graph.sum(axis=1).mean()
    beside = scipy.linalg.block_diag(*x)
    smooth = sum(graph[i, j] / 2 * np.outer(a - b, a - b) for i, a in enumerate(beside) for j, b in enumerate(beside))
    assert np.allclose(method.smoothness(x, labels), smooth / degree)

    def objective(w):
        u = np.split(w, [x[0].shape[1]])
        z = np.vstack([v @ m for v, m in zip(x, u, strict=True)])
        smooth = np.sum(graph * scipy.spatial.distance.cdist(z, z) ** 2)
        error = sum(np.sum((v @ m - y) ** 2) for v, m, y in zip(x, u, labels, strict=True))
        return error + 1.5 * row_sparsity(w) + 4.0 * smooth / 2 / degree

    assert is_unbeaten(objective, stack(method), lower_is_better=True)
    assert np.all(np.diff(method.objectives) <= 1e-9)


def test_sparse_rows_are_reweighted_from_a_ridge_solution_until_a_step_gains_nothing():
    x, y = TRAIN["image"].features.astype(float), TRAIN["image"].labels.astype(float)
    quadratic, linear, d = x.T @ x, x.T @ y, x.shape[1]
    start = np.linalg.solve(quadratic + 1e-3 * np.trace(quadratic) / d * np.eye(d), linear)
    bound = np.diag([2.0 / 2 / np.sqrt(np.sum(row**2) + 1e-8) for row in start])
    assert np.allclose(minimise(quadratic, linear, 2.0, 1)[0], np.linalg.solve(quadratic + bound, linear))
    objectives = minimise(quadratic, linear, 2.0, 500)[1]
    gains = [(before - after) / abs(after) for before, after in pairwise(objectives)]
    assert len(objectives) < 500
    assert gains[-1] < 1e-6 <= min(gains[:-1])


def test_lcfs():
    method = fitted("lcfs", TRAIN, sparsity=1.5, low_rank=2.0, iterations=2000)
    x, labels = scaled(method, TRAIN), TRAIN["image"].labels - TRAIN["image"].labels.mean(axis=0)
    ridges = [np.linalg.solve(v.T @ v + 1e-3 * len(v) * np.eye(v.shape[1]), v.T @ labels) for v in x]
    epsilon = 0.01 * np.linalg.norm(np.hstack([v @ r for v, r in zip(x, ridges, strict=True)]), 2)

    def objective(w):
        u = np.split(w, [x[0].shape[1]])
        projected = np.hstack([v @ m for v, m in zip(x, u, strict=True)])
        nuclear = np.sum(np.sqrt(np.linalg.svd(projected, compute_uv=False) ** 2 + epsilon**2))
        error = sum(np.sum((v @ m - labels) ** 2) for v, m in zip(x, u, strict=True))
        return error / 2 + 1.5 * row_sparsity(w) + 2.0 * nuclear

    assert method.objectives[-1] == pytest.approx(objective(stack(method)), rel=1e-9)
    assert is_unbeaten(objective, stack(method), lower_is_better=True)
    assert np.all(np.diff(method.objectives) <= 1e-9)


def test_kcca_with_a_linear_kernel_is_cca():
    kernel = fitted("kcca", TRAIN, kernel="linear", components=3, regularisation=0.2)
    linear = fitted("cca", TRAIN, components=3, regularisation=0.2)
    for modality, view in separable(seed=4).items():
        ours, theirs = (m.embed(modality, view.features) for m in (kernel, linear))
        assert np.allclose(np.abs(ours), np.abs(theirs), atol=1e-4)


def test_kcca_solves_the_problem_in_dual_variables():
    method = fitted("kcca", TRAIN, components=3, regularisation=0.2, width=0.5)
    n, kernels, own = 40, [], []
    for modality, view in TRAIN.items():
        rows = method.scaling[modality](view.features)
        spread = np.mean([np.sum(row**2) for row in rows])
        k = np.array([[np.exp(-np.sum((a - b) ** 2) / 2 / 0.5 / spread) for b in rows] for a in rows])
        centre = np.eye(n) - 1 / n
        k = centre @ k @ centre
        rank = np.linalg.matrix_rank(k, tol=1e-8 * np.linalg.norm(k, 2))
        kernels.append(k)
        own.append(k @ k / n + 0.2 * np.trace(k) / n / rank * k)
    cross = kernels[0] @ kernels[1] / n
    alphas = [method.coefficients[m] for m in TRAIN]
    assert np.allclose(alphas[0].T @ own[0] @ alphas[0], np.eye(3), atol=1e-6)
    correlations = np.diag(alphas[0].T @ cross @ alphas[1])
    assert np.abs(cross @ alphas[1] - own[0] @ alphas[0] * correlations).max() < 1e-6
    assert np.abs(cross.T @ alphas[0] - own[1] @ alphas[1] * correlations).max() < 1e-6


def test_kcca_refuses_more_rows_than_memory_holds(monkeypatch):
    monkeypatch.setattr("cmr.methods.checks.memory_here", lambda: 24 * 40**2 - 1)
    with pytest.raises(UserError, match=r"KCCA: holds pairs of rows: of 40 rows"):
        fitted("kcca", TRAIN)


def test_cmcp_by_dense_propagation():
    """F = (1 − α)² (I − α S₁)⁻¹ C (I − α S₂)⁻ᵀ over training and test rows, from the definition of C."""
    test = separable(12, seed=8)
    method = fitted(
        "cmcp",
        TRAIN,
        neighbours=4,
        alpha=0.7,
        beta=0.5,
        unlabelled_part={m: v.without_labels() for m, v in test.items()},
    )
    spread = []
    for modality in TRAIN:
        rows = np.vstack([method.scaling[modality](v[modality].features) for v in (TRAIN, test)])
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        graph = neighbour_graph(unit, 4, lambda d: max(1 - d**2 / 2, 0) ** 2)
        degrees = graph.sum(axis=1)
        spread.append(0.3 * np.linalg.inv(np.eye(52) - 0.7 * graph / np.sqrt(np.outer(degrees, degrees)))[40:, :40])
    labels, correlation = TRAIN["image"].labels, np.zeros((40, 40))
    for j in range(40):
        alike = labels @ labels[j] > 0
        correlation[alike, j], correlation[~alike, j] = 1 / alike.sum(), -1 / (~alike).sum()
    embedded = {m: method.embed(m, test[m].features) for m in test}
    for query, gallery, (first, second) in (("image", "text", spread), ("text", "image", spread[::-1])):
        block = method.similarity(query, embedded[query], gallery, embedded[gallery])
        assert np.allclose(block, first @ correlation @ second.T, atol=1e-6)


def test_cmcp_embeds_a_row_outside_its_graph_as_propagation_prescribes():
    """e = α Σ s e over its neighbours: the equation that the graph's own unlabelled rows satisfy."""
    method = fitted("cmcp", TRAIN, neighbours=4, alpha=0.7)
    row = separable(1, seed=9)["image"].features
    scaled_row, rows = method.scaling["image"](row)[0], method.scaling["image"](TRAIN["image"].features)
    cosines = rows @ scaled_row / np.linalg.norm(rows, axis=1) / np.linalg.norm(scaled_row)
    nearest = np.argsort(-cosines)[:4]
    weights = np.maximum(cosines[nearest], 0)
    expected = np.zeros(3)
    for j, weight in zip(nearest, weights, strict=True):
        expected += 0.7 * weight / np.sqrt(weights.sum() * method.degrees["image"][j]) * method.propagated["image"][j]
    assert np.allclose(method.embed("image", row)[0], expected, atol=1e-6)


def test_singular_vectors_are_found_where_the_quick_way_gives_up(monkeypatch):
    genuine, asked = scipy.linalg.svd, []

    def svd(matrix, lapack_driver="gesdd", **options):
        asked.append(lapack_driver)
        if lapack_driver == "gesdd":
            raise scipy.linalg.LinAlgError("SVD did not converge")
        return genuine(matrix, lapack_driver=lapack_driver, **options)

    monkeypatch.setattr(scipy.linalg, "svd", svd)
    matrix = np.random.default_rng(0).standard_normal((6, 4))
    left, values, right = singular_vectors(matrix)
    assert asked == ["gesdd", "gesvd"]
    assert left * values @ right == pytest.approx(matrix)
    assert left.T @ left == pytest.approx(np.eye(4))


def test_pls_stops_at_the_rank():
    flat = {
        m: View(v.ids, np.outer(v.features[:, 0], np.ones(v.features.shape[1])), v.labels) for m, v in TRAIN.items()
    }
    method = fitted("pls", flat, components=5)
    assert {maps.shape[1] for maps in method.maps.values()} == {1}
    rows = np.random.default_rng(0).dirichlet(np.ones(8), 40)  # topics, which add up to 1
    topics = TRAIN | {"text": View(TRAIN["text"].ids, rows.astype(np.float32), TRAIN["text"].labels)}
    assert fitted("pls", topics, components=8, scale="centre").maps["text"].shape[1] == 7


@pytest.mark.parametrize("constant", ["image", "text"])
def test_gmlda_takes_a_view_without_scatter_within_its_classes(constant):
    names = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    view = TRAIN[constant]
    part = TRAIN | {constant: View(view.ids, view.labels.astype(np.float32) @ names, view.labels)}
    method = fitted("gmlda", part, regularisation=0.5, alpha=2.0, components=2)
    other = next(m for m in part if m != constant)
    rows = scaled(method, part)
    within = {
        m: sum(np.cov(x[view.labels[:, c] == 1].T, bias=True) * np.mean(view.labels[:, c]) for c in range(3))
        for m, x in zip(part, rows, strict=True)
    }
    assert np.trace(within[constant]) < 1e-10 < np.trace(within[other])
    blocks = [0 * within[m] if m == constant else within[m] for m in part]
    own = scipy.linalg.block_diag(*blocks) + 0.5 * np.eye(sum(len(b) for b in blocks))
    assert np.allclose(stack(method).T @ own @ stack(method), np.eye(2), atol=1e-6)


@pytest.mark.parametrize("name", ["jrl", "jfssl", "lcfs"])
def test_a_norm_without_weight_is_refused(name):
    with pytest.raises(ValueError, match="sparsity"):
        fitted(name, TRAIN, sparsity=0)


SEVERAL = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1], [0, 1, 0]] * 8, np.uint8)


def test_cmcp_without_a_solution_names_the_parameter_to_lower():
    system = scipy.sparse.csr_array(np.diag([1.0, -1.0]))  # not positive definite
    with (
        np.errstate(all="ignore"),
        pytest.raises(UserError, match=r"^CMCP: label propagation did not .*; lower alpha$"),
    ):
        conjugate_gradient(system, np.ones(2))


def test_cmcp_counts_the_query_s_rows_and_takes_any_shared_class_for_alike():
    rows = {"image": slice(0, 40), "text": slice(0, 25)}  # other numbers of each set of labels
    part = {m: View(TRAIN[m].ids[rows[m]], TRAIN[m].features[rows[m]], SEVERAL[rows[m]]) for m in TRAIN}
    method = fitted("cmcp", part, neighbours=4)
    kinds = {m: np.unique(v.labels, axis=0).astype(int) for m, v in part.items()}
    for query, gallery in (("image", "text"), ("text", "image")):
        found = method.correlation[query]
        assert found.shape == (len(kinds[query]), len(kinds[gallery]))
        labels = part[query].labels.astype(int)
        for i, first in enumerate(kinds[query]):
            for j, second in enumerate(kinds[gallery]):
                alike = sum(1 for row in labels if row @ second > 0)
                expected = 1 / alike if first @ second > 0 else -1 / (len(labels) - alike)
                assert found[i, j] == pytest.approx(expected)


def test_an_item_of_several_classes_counts_in_part_for_each():
    sums, counts = class_sums(np.eye(5), SEVERAL[:5])
    assert counts.tolist() == [1.5, 2.0, 1.5]
    assert sums.tolist() == [[0.5, 1, 0, 0, 0], [0.5, 0, 0.5, 0, 1], [0, 0, 0.5, 1, 0]]


@pytest.mark.parametrize("name", ["jrl", "cmcp"])
def test_a_share_of_the_unlabelled_rows_joins_the_graph(name):
    test = {m: view.without_labels() for m, view in separable(20, seed=9).items()}

    def state(share, unlabelled):
        return fitted(name, TRAIN, unlabelled_part=unlabelled, unlabelled=share, neighbours=5).state()

    none, without = state(0.0, test), state(1.0, {m: view.rows(np.arange(0)) for m, view in test.items()})
    half, chosen = (
        state(0.5, test),
        state(1.0, {m: view.rows(np.unique(np.linspace(0, 19, 10, dtype=int))) for m, view in test.items()}),
    )
    for mine, expected in ((none, without), (half, chosen)):
        assert all(np.allclose(mine[key], expected[key]) for key in expected)
    assert any(half[key].shape != none[key].shape or not np.allclose(half[key], none[key]) for key in half)


def test_jrl_compares_by_the_cosine_where_it_is_asked_to():
    method = fitted("jrl", TRAIN, compare="cosine")
    features = TRAIN["image"].features
    expected = method.scaling["image"](features) @ method.maps["image"]
    np.testing.assert_allclose(method.embed("image", features), expected, rtol=1e-4, atol=1e-5)


def test_kcca_keeps_as_many_directions_as_its_rank_allows():
    wide, narrow = (
        fitted("kcca", TRAIN, rank=rank, components=20).embed("image", TRAIN["image"].features) for rank in (40, 3)
    )
    assert narrow.shape[1] <= 3 < wide.shape[1]
