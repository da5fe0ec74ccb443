"""The losses of the methods with networks, against the formulas of their docstrings written out as loops."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from cmr.data import View
from cmr.methods import cdpae, cmpm_cmpc, dcca, mvdn, mvldan
from synthetic import create, fitted, separable

TRAIN = separable(40, seed=3)
B, K = 7, 4
generator = np.random.default_rng(0)
U, V = (generator.normal(size=(B, K)) for _ in range(2))
LABELS = np.eye(3)[[0, 0, 1, 1, 2, 2, 2]]


def t(array):
    return torch.as_tensor(np.asarray(array), dtype=torch.float32)


def distance(a, b):
    return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def softmax(row):
    return np.exp(row - row.max()) / np.exp(row - row.max()).sum()


def built(name, **params):
    """A method whose networks are built but not trained, with its inputs (n, d) and labels (n, c)."""
    method = create(name, **params)
    torch.manual_seed(0)
    method.network = method.build({m: v.features.shape[1] for m, v in TRAIN.items()}, 3)
    inputs = [t(v.features[:B]) for v in TRAIN.values()]
    return method, inputs, t(TRAIN["image"].labels[:B])


def numpy_of(tensor):
    return tensor.detach().numpy().astype(float)


def number(tensor):
    return tensor.detach().item()


def test_total_correlation_is_the_trace_norm():
    x, y = U - U.mean(axis=0), V - V.mean(axis=0)
    roots = [scipy.linalg.fractional_matrix_power(z.T @ z / B + 0.3 * np.eye(K), -0.5) for z in (x, y)]
    expected = np.linalg.norm(roots[0] @ (x.T @ y / B) @ roots[1], "nuc")
    assert number(dcca.total_correlation(t(U), t(V), 0.3)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["dcca", "dccae"])
def test_dcca_raises_the_correlation_and_ends_in_canonical_variates(name):
    small = {"layers": (16,), "components": 2, "batch_size": 40, "learning_rate": 0.01}
    method = create(name, epochs=40, **small)
    history = method.fit(TRAIN)
    assert history.rows[-1]["correlation"] < history.rows[0]["correlation"] - 0.1
    embedded = [method.embed(m, v.features).astype(float) for m, v in TRAIN.items()]
    ridge = method.params.regularisation
    for z, head in zip(embedded, method.heads.values(), strict=True):
        assert np.allclose(z.mean(axis=0), 0, atol=1e-4)
        assert np.allclose(z.T @ z / 40 + ridge * head.T @ head, np.eye(2), atol=1e-4)
    cross = embedded[0].T @ embedded[1] / 40
    assert np.allclose(cross, np.diag(np.diag(cross)), atol=1e-4)


def test_dccae_terms():
    method, inputs, _ = built("dccae", layers=(6,), components=3, reconstruction=0.2, regularisation=0.3)
    terms = method.terms(inputs, None)
    outputs = method.embed_all(inputs)
    error = 0
    for modality, x, out in zip(TRAIN, inputs, outputs, strict=True):
        back = numpy_of(method.network.decode[modality](out))
        error += sum(np.sum((row - other) ** 2) for row, other in zip(numpy_of(x), back, strict=True)) / B
    assert number(terms["reconstruction"]) == pytest.approx(0.2 * error, rel=1e-4)
    assert number(terms["correlation"]) == pytest.approx(-number(dcca.total_correlation(*outputs, 0.3)), rel=1e-5)


def test_corr_ae_terms():
    method, inputs, _ = built("corr_ae", hidden=5, correspondence=0.3)
    terms = method.terms(inputs, None)
    codes = [numpy_of(c) for c in method.embed_all(inputs)]
    assert all(c.min() > 0 and c.max() < 1 for c in codes)
    apart = sum(np.sum((a - b) ** 2) for a, b in zip(*codes, strict=True)) / B
    error = 0
    for modality, x, code in zip(TRAIN, inputs, codes, strict=True):
        back = numpy_of(method.network.decode[modality](t(code)))
        error += np.sum((numpy_of(x) - back) ** 2) / B
    assert number(terms["correspondence"]) == pytest.approx(0.3 * apart, rel=1e-4)
    assert number(terms["reconstruction"]) == pytest.approx(0.7 * error, rel=1e-4)


@pytest.mark.parametrize("mode", ["centre", "standardise", "none"])
def test_corr_ae_compares_codes_about_their_training_mean(mode):
    method = fitted("corr_ae", TRAIN, hidden=16, batch_size=20, learning_rate=0.005, epochs=3, code_scale=mode)
    for modality, view in TRAIN.items():
        codes = numpy_of(method.network.embed[modality](t(method.scaling[modality](view.features))))
        embedded = method.embed(modality, view.features).astype(float)
        if mode == "none":
            assert np.allclose(embedded, codes, atol=1e-5)
        else:
            assert np.abs(codes.mean(axis=0)).min() > 0.1  # what the cosine would see
            assert np.allclose(embedded.mean(axis=0), 0, atol=1e-5)
        if mode == "standardise":
            assert np.allclose(embedded.std(axis=0), 1, atol=1e-4)
        other = separable(5, seed=9)[modality].features
        scaled = method.code_scaling[modality]
        expected = (
            numpy_of(method.network.embed[modality](t(method.scaling[modality](other)))) - scaled.mean
        ) / scaled.scale
        assert np.allclose(method.embed(modality, other), expected, atol=1e-5)


def test_cdpae_distances():
    x, y = generator.normal(size=(6, 5)), generator.normal(size=(6, 3))
    f, g = generator.normal(size=(6, 4)), generator.normal(size=(6, 4))
    expected = 0
    for i in range(3):
        j = i + 3
        target = math.sqrt(distance(x[i], x[j]) * distance(y[i], y[j]) + 1e-5)
        for a, b in ((f[i], f[j]), (g[i], g[j]), (f[i], g[j]), (g[i], f[j])):
            expected += abs(distance(a, b) - target) / 3
    assert number(cdpae.distance_errors([t(x), t(y)], [t(f), t(g)])) == pytest.approx(expected, rel=1e-4)


def test_cdpae_terms_without_masks():
    method, inputs, _ = built("cdpae", hidden=5, first_mask=0, second_mask=0, distances=0.4, reconstruction=0.2)
    terms = method.terms(inputs, None)
    codes = [numpy_of(c) for c in method.embed_all(inputs)]
    pairs = np.mean([distance(a, b) for a, b in zip(*codes, strict=True)])
    assert number(terms["pairs"]) == pytest.approx(2 * pairs, rel=1e-4)
    assert number(terms["distances"]) == pytest.approx(
        0.4 * number(cdpae.distance_errors(inputs, [t(c) for c in codes]))
    )
    error = 0
    for modality, x, code in zip(TRAIN, inputs, codes, strict=True):
        back = numpy_of(method.network.decode[modality](t(code)))
        error += np.mean([np.linalg.norm(a - b) for a, b in zip(numpy_of(x), back, strict=True)])
    assert number(terms["reconstruction"]) == pytest.approx(2 * 0.2 * error, rel=1e-4)


def test_cdpae_sees_masked_inputs_and_makes_whole_ones(monkeypatch):
    shares = []
    monkeypatch.setattr(cdpae, "masked", lambda x, share: shares.append(share) or x * (torch.arange(x.shape[1]) > 1))
    method, inputs, _ = built("cdpae", hidden=5, first_mask=0.5, second_mask=0.7, distances=0.4, reconstruction=0.2)
    terms = method.terms(inputs, None)
    assert shares == [0.5, 0.7]
    codes = []
    for modality, x in zip(TRAIN, inputs, strict=True):
        seen = numpy_of(x).copy()
        seen[:, :2] = 0
        codes.append(numpy_of(method.network.embed[modality](t(seen))))
    assert number(terms["pairs"]) == pytest.approx(
        2 * np.mean([distance(a, b) for a, b in zip(*codes, strict=True)]), rel=1e-4
    )
    whole = number(cdpae.distance_errors(inputs, [t(c) for c in codes]))
    assert number(terms["distances"]) == pytest.approx(0.4 * whole, rel=1e-4)
    error = 0
    for modality, x, code in zip(TRAIN, inputs, codes, strict=True):
        back = numpy_of(method.network.decode[modality](t(code)))
        error += np.mean([np.linalg.norm(a - b) for a, b in zip(numpy_of(x), back, strict=True)])
    assert number(terms["reconstruction"]) == pytest.approx(2 * 0.2 * error, rel=1e-4)


def test_cdpae_compares_by_the_nearest_training_codes():
    method = fitted("cdpae", TRAIN, hidden=6, batch_size=20, epochs=2, compare="neighbours", neighbours=5)
    codes = np.vstack([method.embed(m, v.features) for m, v in TRAIN.items()]).astype(float)
    items = np.tile(np.arange(40), 2)
    test = separable(4, seed=8)
    embedded = {m: method.embed(m, v.features).astype(float) for m, v in test.items()}

    def probabilities(code):
        near = sorted(range(80), key=lambda i: distance(code, codes[i]))[:5]
        weights = [1 - distance(code, codes[i]) / 2 for i in near]
        return [(i, w / sum(weights)) for i, w in zip(near, weights, strict=True)]

    expected = np.zeros((4, 4))
    for a in range(4):
        for b in range(4):
            for i, p in probabilities(embedded["image"][a]):
                for j, q in probabilities(embedded["text"][b]):
                    alike = 1 if items[i] == items[j] else 1 - distance(codes[i], codes[j]) / 2
                    expected[a, b] += p * q * alike
    ours = method.similarity("image", embedded["image"], "text", embedded["text"])
    assert np.allclose(ours, expected, atol=1e-6)
    assert np.allclose(method.similarity("text", embedded["text"], "image", embedded["image"]), expected.T, atol=1e-6)
    loaded = create("cdpae", hidden=6, compare="neighbours", neighbours=5)
    loaded.load_state(method.state())
    assert np.array_equal(loaded.similarity("image", embedded["image"], "text", embedded["text"]), ours)


def test_cdpae_masks_the_same_columns_in_all_rows():
    out = numpy_of(cdpae.masked(torch.ones(5, 10), 0.7))
    assert np.array_equal(out, np.tile(out[0], (5, 1)))
    assert (out[0] == 0).sum() == 7


def acmr_triplets(form, labels, inputs):
    """One direction's term, from the docstring, and the method's."""
    near, far = [], []
    for i in range(B):
        near.append(np.linalg.norm(U[i] - V[i]))
        others = [k for k in range(B) if labels[i] @ labels[k] == 0]
        if others:
            k = max(others, key=lambda k: 1 - distance(inputs[i], inputs[k]))
            far.append(np.linalg.norm(U[i] - V[k]))
    if form == "paper":
        expected = sum(near) + 0.4 * sum(max(0, 2.5 - d) for d in far)
    else:
        expected = max(0, 2.5 + 3 * sum(d**2 for d in near) / 2 - sum(d**2 for d in far) / 2)
    method = create("acmr", triplet=form, negative_weight=0.4, positive_weight=3, margin=2.5)
    return number(method.triplets(t(U), t(V), t(inputs), t(labels))), expected


@pytest.mark.parametrize("form", ["paper", "code"])
def test_acmr_triplets(form):
    value, expected = acmr_triplets(form, LABELS, generator.normal(size=(B, 5)))
    assert value == pytest.approx(expected, rel=1e-5)
    assert value > 0


@pytest.mark.parametrize("form", ["paper", "code"])
def test_acmr_takes_the_pairs_alone_where_a_batch_has_one_class(form):
    value, expected = acmr_triplets(form, np.tile([1, 0], (B, 1)), U)
    assert value == pytest.approx(expected, rel=1e-5)


def test_acmr_triplets_of_the_code_vanish_where_one_item_is_far_away():
    anchors = V.copy()
    anchors[0] += 1000
    terms = {}
    for form in ("paper", "code"):
        method = create("acmr", triplet=form)
        terms[form] = number(method.triplets(t(anchors), t(anchors + 0.5), t(U), t(LABELS)))
    assert terms["code"] == 0
    assert terms["paper"] > B * 0.5 * math.sqrt(K) - 0.1


def test_acmr_projectors_and_modality_classifier_pull_against_each_other():
    method, inputs, labels = built("acmr", first_layers=(6, 4), second_layers=(6, 4), label_weight=0, triplet_weight=0)
    method.reversal = 0.5

    def gradient(reversal):
        method.reversal = reversal
        method.network.zero_grad()
        method.terms(inputs, labels)["modality"].backward()
        return [method.network.embed["image"][0].weight.grad.clone(), method.network.modality[0].weight.grad.clone()]

    (projector, classifier), (plain, same) = gradient(0.5), gradient(-1.0)
    assert torch.allclose(projector, -0.5 * plain, atol=1e-7)
    assert torch.allclose(classifier, same)
    assert plain.abs().max() > 0


@pytest.mark.parametrize("epochs", [7, 500])  # a fit on all rows has the course of the one its epochs were chosen by
def test_acmr_reversal_grows_from_zero(epochs):
    method = create("acmr", epochs=epochs, reversal_epochs=10)
    weights = []
    for epoch in (1, 6, 10, 11, 40):
        method.each_epoch(epoch)
        weights.append(method.reversal)
    full = 2 / (1 + math.exp(-10)) - 1
    assert weights == pytest.approx([0, 2 / (1 + math.exp(-5)) - 1, 2 / (1 + math.exp(-9)) - 1, full, full])


def test_acmr_terms():
    method, inputs, labels = built(
        "acmr", first_layers=(6, 4), second_layers=(6, 4), label_weight=3, triplet_weight=0.7, margin=2.5
    )
    method.each_epoch(4)
    terms = method.terms(inputs, labels)
    assert set(terms) == {"label", "triplet", "modality"}
    embedded = [numpy_of(out) for out in method.embed_all(inputs)]
    share = numpy_of(labels) / numpy_of(labels).sum(1, keepdims=True)
    label, modality = 0, 0
    for place, rows in enumerate(embedded):
        for row, wanted in zip(rows, share, strict=True):
            label -= wanted @ np.log(softmax(numpy_of(method.network.label(t(row))))) / B
            modality -= math.log(softmax(numpy_of(method.network.modality(t(row))))[place]) / B
    assert number(terms["label"]) == pytest.approx(3 * label, rel=1e-4)
    assert number(terms["modality"]) == pytest.approx(modality, rel=1e-4)
    u, v = map(t, embedded)
    triplets = method.triplets(u, v, inputs[0], labels) + method.triplets(v, u, inputs[1], labels)
    assert number(terms["triplet"]) == pytest.approx(0.7 * number(triplets), rel=1e-4)


def test_acmr_layers():
    method, _, _ = built("acmr", first_layers=(6, 4), second_layers=(5, 4))
    for m, width in (("image", 6), ("text", 5)):
        kinds = [type(layer) for layer in method.network.embed[m]]
        assert kinds == [torch.nn.Linear, torch.nn.Tanh] * 2
        assert [layer.out_features for layer in method.network.embed[m][::2]] == [width, 4]
    sizes = [layer.out_features for layer in method.network.modality if isinstance(layer, torch.nn.Linear)]
    assert sizes == [2, 1, 2]
    assert {type(layer) for layer in method.network.modality} <= {torch.nn.Linear, torch.nn.Identity}


def test_dscmr_terms():
    method, inputs, labels = built("dscmr", hidden=6, dimension=4, discrimination=0.3, invariance=0.2)
    labels[:2, 1] = 1  # two items that share two classes
    terms = method.terms(inputs, labels)
    u, v = (numpy_of(out) for out in method.embed_all(inputs))
    y = numpy_of(labels)
    predicted = [numpy_of(method.network.label(t(out))) for out in (u, v)]
    label = sum(np.mean([np.linalg.norm(p - z) for p, z in zip(out, y, strict=True)]) for out in predicted)
    assert number(terms["label"]) == pytest.approx(label, rel=1e-4)
    discrimination = 0
    for a, b in ((u, u), (u, v), (v, v)):
        for i in range(B):
            for j in range(B):
                theta = (1 - distance(a[i], b[j])) / 2
                discrimination += (math.log(1 + math.exp(theta)) - (y[i] @ y[j]) * theta) / B**2
    assert number(terms["discrimination"]) == pytest.approx(0.3 * discrimination, rel=1e-4)
    apart = np.mean([np.linalg.norm(a - b) for a, b in zip(u, v, strict=True)])
    assert number(terms["invariance"]) == pytest.approx(0.2 * apart, rel=1e-4)


def test_dscmr_shares_its_common_layer():
    method, _, _ = built("dscmr", hidden=6, dimension=4)
    assert method.network.embed["image"][2] is method.network.embed["text"][2]


def test_projection_matching():
    q = (LABELS @ LABELS.T > 0).astype(float)
    expected = 0
    for i in range(B):
        p = softmax(np.array([U[i] @ V[j] / np.linalg.norm(V[j]) for j in range(B)]))
        target = q[i] / q[i].sum()
        expected += sum(pj * math.log(pj / (qj + 1e-8)) for pj, qj in zip(p, target, strict=True)) / B
    value = cmpm_cmpc.projection_matching(t(U), t(V), t(LABELS))
    assert number(value) == pytest.approx(expected, rel=1e-4)


def test_projection_classification():
    classes = generator.normal(size=(3, K))
    expected = 0
    for i in range(B):
        onto = V[i] / np.linalg.norm(V[i])
        logits = [w / np.linalg.norm(w) @ ((U[i] @ onto) * onto) for w in classes]
        expected -= math.log(softmax(np.array(logits))[LABELS[i].argmax()]) / B
    value = cmpm_cmpc.projection_classification(t(U), t(V), t(classes), t(LABELS))
    assert number(value) == pytest.approx(expected, rel=1e-5)


def test_cmpm_cmpc_has_both_directions_and_both_weights():
    method, inputs, labels = built("cmpm_cmpc", hidden=6, dimension=4, matching=0.3, classification=0.7)
    x, z = method.embed_all(inputs)
    classes = method.network.label.weight
    matching = [cmpm_cmpc.projection_matching(a, b, labels) for a, b in ((x, z), (z, x))]
    classification = [cmpm_cmpc.projection_classification(a, b, classes, labels) for a, b in ((x, z), (z, x))]
    terms = method.terms(inputs, labels)
    assert set(terms) == {"matching", "classification"}
    assert number(terms["matching"]) == pytest.approx(0.3 * number(sum(matching)), rel=1e-5)
    assert number(terms["classification"]) == pytest.approx(0.7 * number(sum(classification)), rel=1e-5)


def test_mvdn_scatters():
    within, between, mean = np.zeros((K, K)), np.zeros((K, K)), U.mean(axis=0)
    for c in range(3):
        rows = U[LABELS[:, c] == 1]
        for row in rows:
            within += np.outer(row - rows.mean(axis=0), row - rows.mean(axis=0)) / B
            between += np.outer(rows.mean(axis=0) - mean, rows.mean(axis=0) - mean) / B
    ours = mvdn.scatters(t(U), t(LABELS))
    assert np.allclose(ours[0], within, atol=1e-5)
    assert np.allclose(ours[1], between, atol=1e-5)


def test_mvdn_forms_of_the_criterion():
    losses = {}
    for form in ("ratio_trace", "trace_ratio"):
        method, inputs, labels = built("mvdn", hidden=6, common=5, dimension=3, criterion=form, regularisation=0.2)
        losses[form] = number(method.terms(inputs, labels)["fisher"])
    outputs = torch.cat(method.embed_all(inputs))
    within, between = (numpy_of(m) for m in mvdn.scatters(outputs, labels.repeat(2, 1)))
    assert losses["trace_ratio"] == pytest.approx(np.trace(within) / np.trace(between), rel=1e-4)
    eigenvalues = scipy.linalg.eigh(between, within + 0.2 * np.eye(3), eigvals_only=True)
    assert losses["ratio_trace"] == pytest.approx(-eigenvalues.sum(), rel=1e-4)


def effective_rank(rows):
    """The exponential of the entropy of the covariance's eigenvalues: how many directions the rows use."""
    values = np.clip(np.linalg.eigvalsh(np.cov(rows.T)), 1e-12, None)
    shares = values / values.sum()
    return math.exp(-np.sum(shares * np.log(shares)))


def test_mvdn_does_not_collapse_to_one_direction():
    """Of six classes that overlap, the ratio of traces is least on one direction; the ratio trace uses several."""
    world = np.random.default_rng(1)
    centres, maps = world.normal(size=(6, 8)), {m: world.normal(size=(8, 10)) for m in ("image", "text")}

    def overlapping(n):
        labels = np.eye(6, dtype=np.uint8)[np.arange(n) % 6]
        latent = labels @ centres + 2 * world.normal(size=(n, 8))
        return {m: View(np.arange(n).astype(str), (latent @ maps[m]).astype(np.float32), labels) for m in maps}

    train, test = overlapping(240), overlapping(120)
    ranks, scores = {}, {}
    for form in ("ratio_trace", "trace_ratio"):
        small = {"hidden": 32, "common": 32, "dimension": 8, "batch_size": 240, "learning_rate": 0.003, "epochs": 60}
        method = fitted("mvdn", train, criterion=form, **small)
        ranks[form] = effective_rank(np.vstack([method.embed(m, v.features) for m, v in train.items()]))
        scores[form] = method.validation_score(test)
    assert ranks["trace_ratio"] < 1.5
    assert ranks["ratio_trace"] > 2.5
    assert scores["ratio_trace"] > scores["trace_ratio"] + 0.04


LAYERS = {  # of the image's network: Linear with its width, or an activation
    "cmpm_cmpc": ({"hidden": 6, "dimension": 4}, [6, "ReLU", 4]),
    "dcca": ({"layers": (6, 5), "components": 2}, [6, "Tanh", 5, "Tanh", 2]),
    "dccae": ({"layers": (6, 5), "components": 2}, [6, "Tanh", 5, "Tanh", 2]),
    "cdpae": ({"hidden": 6}, [6, "Tanh"]),
    "corr_ae": ({"hidden": 6}, [6, "Sigmoid"]),
    "dscmr": ({"hidden": 6, "dimension": 4}, [6, "ReLU", 4]),
    "mvdn": ({"hidden": 6, "common": 5, "dimension": 3}, [6, "Tanh", 5, "Tanh", 3]),
    "mvldan": ({"layers": (6, 5)}, [6, "ReLU", 5, "ReLU", 3]),
}


def layers_of(network):
    layers = [m for m in network.modules() if not list(m.children())]
    return [m.out_features if isinstance(m, torch.nn.Linear) else type(m).__name__ for m in layers]


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    params, expected = LAYERS[name]
    method, _, _ = built(name, **params)
    assert layers_of(method.network.embed["image"]) == expected


@pytest.mark.parametrize(("name", "inner"), [("dccae", [5, "Tanh", 6, "Tanh"]), ("cdpae", []), ("corr_ae", [])])
def test_decoders_turn_the_layers_round_and_end_in_a_linear_one(name, inner):
    method, inputs, _ = built(name, **LAYERS[name][0])
    for modality, x in zip(TRAIN, inputs, strict=True):
        assert layers_of(method.network.decode[modality]) == [*inner, x.shape[1]]


@pytest.mark.parametrize("name", ["acmr", *LAYERS])
def test_gradients_are_those_of_finite_differences(name, monkeypatch):
    """The terms' values are those of loops; so nothing that they depend on is held fixed."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    own = {"acmr": {"first_layers": (6, 4), "second_layers": (4,)}, "cdpae": {"first_mask": 0, "second_mask": 0}}
    method, inputs, labels = built(name, **(LAYERS[name][0] if name in LAYERS else {}) | own.get(name, {}))
    method.network.double()
    method.each_epoch(1)
    inputs = [x.double() for x in inputs]

    def loss():  # the gradient of ACMR's modality classifier is reversed
        return sum(term for key, term in method.terms(inputs, labels.double()).items() if key != "modality")

    weights = list(method.network.parameters())
    gradients = torch.autograd.grad(loss(), weights, allow_unused=True)
    for weight, gradient in zip(weights, gradients, strict=True):
        step = 1e-5 * torch.randn_like(weight)
        with torch.no_grad():
            ends = [(weight.add_(sign * step), loss().item())[1] for sign in (1, -2)]
            weight.add_(step)
        expected = 0 if gradient is None else 2 * (gradient * step).sum().item()
        assert ends[0] - ends[1] == pytest.approx(expected, rel=1e-4, abs=1e-11)


def test_mvdn_shares_its_common_network_and_nothing_else():
    method, _, _ = built("mvdn", hidden=6, common=5, dimension=3)
    image, text = (method.network.embed[m] for m in ("image", "text"))
    assert image[-1] is text[-1]
    assert image[0] is not text[0]


def test_mvldan_terms_hold_the_decay_of_the_weights():
    method, inputs, labels = built("mvldan", layers=(6,), decay=0.03)
    squares = sum(
        float(w.detach().square().sum()) for name, w in method.network.named_parameters() if name.endswith("weight")
    )
    assert number(method.terms(inputs, labels)["decay"]) == pytest.approx(0.03 * squares, rel=1e-5)


def test_mvldan_directions_have_the_length_of_the_within_class_scatter():
    outputs = [U, V]
    method = create("mvldan", pairs=0.3, regularisation=0.2)
    method.labels, method.classes = t(LABELS), 3
    heads = method.head(outputs)
    deviations = [out.std(axis=0) for out in outputs]
    scaled = [t(out / d) for out, d in zip(outputs, deviations, strict=True)]
    between, within = (numpy_of(m) for m in mvldan.discriminant_matrices(scaled, t(LABELS), 0.3))
    w = np.vstack([head * d[:, None] for head, d in zip(heads, deviations, strict=True)])
    assert np.allclose(w.T @ (within + 0.2 * np.eye(2 * K)) @ w, np.eye(2), atol=1e-4)
    values = scipy.linalg.eigh(between, within + 0.2 * np.eye(2 * K), eigvals_only=True)[::-1][:2]
    assert np.allclose(np.diag(w.T @ between @ w), values, rtol=1e-3)


def test_mvldan_matrices_are_those_of_mvda_and_pairs():
    outputs = [np.c_[U, np.zeros_like(V)], np.c_[np.zeros_like(U), V]]
    rows, labels = np.vstack(outputs), np.vstack([LABELS, LABELS])
    within, between = (np.zeros((2 * K, 2 * K)) for _ in range(2))
    for c in range(3):
        members = rows[labels[:, c] == 1]
        within += (members - members.mean(axis=0)).T @ (members - members.mean(axis=0))
        between += len(members) * np.outer(
            members.mean(axis=0) - rows.mean(axis=0), members.mean(axis=0) - rows.mean(axis=0)
        )
    between[:K, K:] += 0.3 * U.T @ V
    between[K:, :K] += 0.3 * V.T @ U
    ours = mvldan.discriminant_matrices([t(U), t(V)], t(LABELS), 0.3)
    assert np.allclose(ours[0], between, atol=1e-4)
    assert np.allclose(ours[1], within, atol=1e-4)


def test_mvldan_takes_the_weakest_of_the_top_eigenvalues():
    s, d = np.diag([9.0, 5.0, 2.9, 2.0, 0.1]), np.eye(5)
    value = mvldan.weakest_eigenvalues(t(s), t(0.5 * d), 0.5, k=4)
    assert number(value) == pytest.approx((2.0 + 2.9) / 2, rel=1e-5)


def test_mvldan_wants_the_directions_of_the_classes_in_the_batch():
    method, inputs, _ = built("mvldan", layers=(6,), regularisation=0.1)
    method.classes = 50
    labels = t(np.eye(50)[[3, 3, 3, 17, 17, 40, 40]])  # three of fifty classes: two directions
    between, within = mvldan.discriminant_matrices(method.embed_all(inputs), labels, method.params.pairs)
    values = scipy.linalg.eigh(numpy_of(between), numpy_of(within) + 0.1 * np.eye(len(within)), eigvals_only=True)
    top = values[-2:]
    expected = top[top <= top.min() + 1].mean()
    assert number(method.terms(inputs, labels)["eigenvalues"]) == pytest.approx(-expected, rel=1e-3)


def test_mvldan_ends_in_the_discriminants_of_all_training_rows():
    method = fitted("mvldan", TRAIN, layers=(16,), batch_size=40, epochs=3)
    embedded = [method.embed(m, v.features).astype(float) for m, v in TRAIN.items()]
    assert [z.shape for z in embedded] == [(40, 2), (40, 2)]
    rows, labels = np.vstack(embedded), np.vstack([v.labels for v in TRAIN.values()])
    within = sum(
        (members - members.mean(axis=0)).T @ (members - members.mean(axis=0))
        for members in (rows[labels[:, c] == 1] for c in range(3))
    )
    assert np.allclose(within, np.diag(np.diag(within)), atol=0.02)


@pytest.mark.parametrize("name", ["acmr", "dscmr", "cmpm_cmpc", "mvdn", "mvldan"])
def test_training_lowers_the_loss_and_validation_picks_an_epoch(name):
    small = {"hidden": 16, "dimension": 8, "first_layers": (16, 8), "second_layers": (16, 8), "layers": (16,)}
    fields = create(name).params.__class__.model_fields
    params = {k: v for k, v in small.items() if k in fields} | {"batch_size": 20, "learning_rate": 0.003, "epochs": 15}
    method = create(name, **params)
    history = method.fit(TRAIN, separable(30, seed=4))
    assert 1 <= history.chosen["epochs"] <= 15
    first, last = (
        sum(v for k, v in row.items() if k not in ("epoch", "validation"))
        for row in (history.rows[0], history.rows[-1])
    )
    assert last < first
    assert history.rows[history.chosen["epochs"] - 1]["validation"] == max(row["validation"] for row in history.rows)
    assert method.validation_score(separable(30, seed=4)) == pytest.approx(
        max(row["validation"] for row in history.rows), abs=1e-6
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_is_that_of_the_networks_in_training_alone(precision):
    method = create("dscmr", hidden=5, dimension=4, epochs=1, batch_size=20, precision=precision)
    outputs, losses, terms = [], [], method.terms

    def watched(inputs, labels):
        found = terms(inputs, labels)
        losses.extend(term.dtype for term in found.values())
        return found

    method.terms = watched
    build = method.build

    def hooked(dimensions, classes):
        network = build(dimensions, classes)
        network.embed["image"].register_forward_hook(lambda *call: outputs.append((network.training, call[2].dtype)))
        return network

    method.build = hooked
    method.fit(TRAIN, TRAIN)
    in_training = torch.bfloat16 if precision == "bf16" else torch.float32
    assert set(outputs) == {(True, in_training), (False, torch.float32)}
    assert set(losses) == {torch.float32}
    assert {weights.dtype for weights in method.network.parameters()} == {torch.float32}


def test_the_default_precision_leaves_paths_as_they_are():
    assert "precision" not in create("dscmr", epochs=3).params.changed()
    assert create("dscmr", precision="bf16").params.changed() == {"precision": "bf16"}
