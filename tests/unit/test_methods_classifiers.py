"""Methods with a classifier that the modalities share: each term and its gradient against literal loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmr.methods import algcn, clip4cmr, dagnn
from cmr.methods.fgcrossnet import Centres, FGCrossNet, Params, quadruplet_loss
from cmr.methods.mrl import MRL, robust_clustering
from cmr.methods.mrl import Params as MRLParams
from cmr.methods.shared_classifier import Params as SharedParams
from cmr.methods.shared_classifier import SharedClassifier
from synthetic import create, fitted, separable

SIZES = {"image": 4, "text": 3, "audio": 5}


@pytest.fixture(autouse=True)
def precise(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def untrained(plugin, params, modalities=("image", "text")):
    method = plugin(params, modalities)
    torch.manual_seed(0)
    method.network = method.build({m: SIZES[m] for m in modalities}, 4).double()
    return method


def batch(modalities=("image", "text"), n=6):
    g = torch.Generator().manual_seed(1)
    labels = torch.eye(4, dtype=torch.float64)[torch.tensor([0, 1, 0, 2, 1, 3])[:n]]
    labels[0, 3] = 1  # an item of two classes
    return [torch.randn(n, SIZES[m], generator=g, dtype=torch.float64) for m in modalities], labels


def cross_entropy(scores, labels):
    total = 0
    for row, label in zip(scores, labels, strict=True):
        log_sum = torch.log(sum(torch.exp(x) for x in row))
        for x, y in zip(row, label, strict=True):
            total = total - y / label.sum() * (x - log_sum)
    return total / len(scores)


def length(x):
    return torch.sqrt(sum(value**2 for value in x))


def literal_quadruplets(rows, labels, margin):
    n, total, positive = len(rows), 0 * rows.sum(), 0
    same = [[bool((labels[i] * labels[j]).sum() > 0) for j in range(n)] for i in range(n)]
    for a in range(n):
        for p in range(n):
            if p == a or not same[a][p]:
                continue
            for k in range(n):
                for m in range(n):
                    if same[a][k] or same[a][m] or same[k][m]:
                        continue
                    near, far, apart = (length(rows[i] - rows[j]) for i, j in ((a, p), (a, k), (k, m)))
                    loss = 2 * near - far - apart + margin
                    if loss > 0:
                        total, positive = total + loss, positive + 1
    return total / max(positive, 1), positive


def assert_same(found, expected, over):
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    of = [torch.autograd.grad(value, over, retain_graph=True, allow_unused=True) for value in (found, expected)]
    for mine, literal in zip(*of, strict=True):
        assert (mine is None) == (literal is None)
        assert mine is None or torch.allclose(mine, literal, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("margin", [0.1, 1.5, 50.0])
def test_quadruplets_are_those_of_four_loops(margin):
    rows = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    labels = torch.eye(4, dtype=torch.float64)[torch.tensor([0, 0, 1, 1, 2, 2, 3, 0, 1])]
    labels[0, 2] = 1
    expected, positive = literal_quadruplets(rows, labels, margin)
    assert positive > 0
    assert_same(quadruplet_loss(rows, labels @ labels.T > 0, margin), expected, [rows])


def test_a_quadruplet_that_is_just_at_its_margin_does_not_count():
    """Rows 0 and 1 of one class, 2 and 4 of others, margin 2: 2 − 1 − 2 + 2 = 1 is positive, 2 − 2 − 2 + 2 is not."""
    same = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    assert quadruplet_loss(torch.tensor([[0.0], [1.0], [2.0], [4.0]]), same, 2.0).item() == 1


def test_there_are_no_quadruplets_of_two_classes():
    rows = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.eye(2, dtype=torch.float64)[torch.arange(6) % 2]
    loss = quadruplet_loss(rows, labels @ labels.T > 0, 1.5)
    loss.backward()
    assert loss.item() == 0
    assert not rows.grad.any()


def test_equal_rows_have_a_finite_gradient():
    rows = torch.zeros(6, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.eye(3, dtype=torch.float64)[torch.arange(6) % 3]
    quadruplet_loss(rows, labels @ labels.T > 0, 1.5).backward()
    assert torch.isfinite(rows.grad).all()


@pytest.mark.parametrize("modalities", [("image", "text"), ("image", "text", "audio")])
def test_terms_of_fgcrossnet(modalities):
    params = Params(hidden=6, centre_weight=0.3, quadruplet_weight=0.7, margin=2.0)
    method = untrained(FGCrossNet, params, modalities)
    inputs, labels = batch(modalities, n=8 // len(modalities) + 2)  # quadruplets grow with the fourth power
    found = method.terms(inputs, labels)
    scores = [method.network.embed[m](x) for m, x in zip(modalities, inputs, strict=True)]
    rows, row_labels = torch.cat(scores), torch.cat([labels] * len(modalities))
    centre = 0
    for row, label in zip(rows, row_labels, strict=True):
        own = sum(label[c] / label.sum() * method.network.centres.weight[c] for c in range(4))
        centre = centre + sum((row - own) ** 2) / len(rows)
    expected = {
        "label": sum(cross_entropy(each, labels) for each in scores),
        "centre": 0.3 * centre,
        "quadruplet": 0.7 * literal_quadruplets(rows, row_labels, 2.0)[0],
    }
    assert set(found) == set(expected)
    for name in found:
        assert_same(found[name], expected[name], list(method.network.parameters()))


def test_the_centres_are_one_a_class():
    centres = Centres(3)
    share = torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5]], dtype=torch.float32)
    first = (centres.weight[0] - 1).square().sum()
    second = ((centres.weight[1] + centres.weight[2]) / 2 - 1).square().sum()
    assert centres(torch.ones(2, 3), share).item() == pytest.approx(((first + second) / 2).item(), rel=1e-6)


def test_the_modalities_share_the_class_scores_and_posteriors_are_compared(monkeypatch):
    monkeypatch.undo()
    method = fitted("fgcrossnet", separable(30, seed=3), hidden=8, epochs=2)
    assert method.network.embed["image"][2] is method.network.embed["text"][2]
    embedded = method.embed("image", separable(5, seed=9)["image"].features)
    assert embedded.shape == (5, 3)
    assert np.allclose(embedded.sum(axis=1), 1, atol=1e-5)
    assert embedded.min() >= 0


@pytest.mark.parametrize("layers", [(), (6,), (6, 5)])
@pytest.mark.parametrize("modalities", [("image", "text"), ("image", "text", "audio")])
def test_the_shared_classifier_sees_every_modality(layers, modalities):
    method = untrained(SharedClassifier, SharedParams(layers=layers, dimension=3), modalities)
    inputs, labels = batch(modalities)
    expected = 0
    for m, x in zip(modalities, inputs, strict=True):
        scores = []
        for h in x:
            for module in method.network.embed[m]:
                h = torch.stack([(w * h).sum() + b for w, b in zip(module.weight, module.bias, strict=True)]) \
                    if hasattr(module, "weight") else torch.stack([x if x > 0 else 0 * x for x in h])  # fmt: skip
            label = method.network.label
            scores.append(torch.stack([(w * h).sum() + b for w, b in zip(label.weight, label.bias, strict=True)]))
        expected = expected + cross_entropy(scores, labels)
    found = method.terms(inputs, labels)
    assert set(found) == {"label"}
    assert len(method.network.embed["image"]) == 2 * len(layers) + 1
    assert_same(found["label"], expected, list(method.network.parameters()))


def literal_mrl(z, centres, labels, clustering, t_label, t_contrast):
    """Eqs. 2 and 5 to 8 of MRL, item by item; z of each modality and the centres of unit length."""
    n, robust, contrast = len(labels), 0, 0
    for of_modality in z:
        for row, label in zip(of_modality, labels, strict=True):
            weights = [torch.exp((c * row).sum() / t_label) for c in centres]
            own = sum(w for w, y in zip(weights, label, strict=True) if y)
            robust = robust + torch.log(1 - own / sum(weights)) / n
    for i, of_modality in enumerate(z):
        for j, row in enumerate(of_modality):
            own, every = 0, 0
            for k, other in enumerate(z):
                for t, candidate in enumerate(other):
                    if (k, t) == (i, j):
                        continue
                    weight = torch.exp((candidate * row).sum() / t_contrast)
                    every = every + weight
                    own = own + weight if t == j else own
            contrast = contrast - torch.log(own / every) / n
    return {"clustering": clustering * robust, "contrast": (1 - clustering) * contrast}


@pytest.mark.parametrize("modalities", [("image", "text"), ("image", "text", "audio")])
def test_terms_of_mrl(modalities):
    params = MRLParams(layers=(6,), dimension=5, clustering=0.3, label_temperature=0.7, contrast_temperature=0.4)
    method = untrained(MRL, params, modalities)
    inputs, labels = batch(modalities)
    outputs = [method.network.embed[m](x) for m, x in zip(modalities, inputs, strict=True)]
    z = [[row / length(row) for row in output] for output in outputs]
    centres = [row / length(row) for row in method.network.label.weight]
    expected = literal_mrl(z, centres, labels, 0.3, 0.7, 0.4)
    found = method.terms(inputs, labels)
    assert set(found) == set(expected)
    for name in found:
        assert_same(found[name], expected[name], list(method.network.parameters()))


def test_mrls_centres_start_orthogonal():
    weight = untrained(MRL, MRLParams(layers=(), dimension=6)).network.label.weight
    assert torch.allclose(weight @ weight.T, torch.eye(4, dtype=torch.float64), atol=1e-6)


def test_a_row_of_every_class_has_a_finite_clustering_loss():
    logits = torch.zeros(2, 3, requires_grad=True)
    loss = robust_clustering(logits, torch.tensor([[1.0, 1, 1], [1, 0, 0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def literal_classifiers(graph, labels, threshold, adaptation):
    """The graph network of ALGCN, number by number: a row a class."""
    c = labels.shape[1]
    relations = [[0] * c for _ in range(c)]
    for i in range(c):
        for j in range(c):
            of_j = [label for label in labels if label[j]]
            share = sum(bool(label[i]) for label in of_j) / len(of_j)
            fixed = (0.5 if share >= threshold else 0) + (1 if i == j else 0)
            learned = fixed + adaptation * graph.adaptive[i][j]
            relations[i][j] = learned if learned > 0 else 0 * learned
    degrees = [sum(row) for row in relations]
    adjacency = [[relations[j][i] / torch.sqrt(degrees[i] * degrees[j]) for j in range(c)] for i in range(c)]
    rows = list(graph.labels)
    for number, weight in enumerate(graph.layers):
        mapped = [sum(x * w for x, w in zip(row, weight, strict=True)) for row in rows]
        rows = [sum(adjacency[i][j] * mapped[j] for j in range(c)) for i in range(c)]
        if number < len(graph.layers) - 1:
            rows = [torch.stack([x if x > 0 else 0.2 * x for x in row]) for row in rows]
    return rows


def test_terms_of_algcn():
    params = algcn.Params(
        dimension=5, label_dimension=3, graph_layers=(4, 6), threshold=0.4, adaptation=0.7, discrimination=0.3
    )
    method = untrained(algcn.ALGCN, params)
    inputs, labels = batch()
    method.labels = labels
    method.updates()
    classifiers = literal_classifiers(method.network.graph, labels, 0.4, 0.7)
    u, v = (method.network.embed[m](x) for m, x in zip(("image", "text"), inputs, strict=True))
    cosine = lambda x, y: (x * y).sum() / (length(x) * length(y))  # noqa: E731
    label = 0
    for rows in (u, v):
        for row, wanted in zip(rows, labels, strict=True):
            label = label + length(torch.stack([cosine(row, x) for x in classifiers]) - wanted) / len(rows)
    likelihoods = 0
    for a, b in ((u, u), (u, v), (v, v)):
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                theta = cosine(x, y) / 2
                likelihoods = likelihoods + (torch.log(1 + torch.exp(theta)) - labels[i] @ labels[j] * theta) / 36
    found = method.terms(inputs, labels)
    expected = {"label": label, "discrimination": 0.3 * likelihoods}
    assert set(found) == set(expected)
    for name in found:
        assert_same(found[name], expected[name], list(method.network.parameters()))


def test_algcn_relates_the_classes_of_the_training_rows_alone(monkeypatch):
    monkeypatch.undo()
    labels = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]])
    expected = torch.tensor(
        [[1.5, 0.5, 0], [0.5, 1.5, 0], [0, 0, 1.5]]
    )  # all of class 0 are of 1, two of five of 1 of 0
    assert torch.equal(algcn.related(labels, 0.4), expected)
    assert algcn.related(labels, 0.41)[0, 1] == 0
    method = create("algcn", dimension=8, label_dimension=4, graph_layers=(5,), epochs=2)
    held_out = {m: replace(view, labels=np.ones_like(view.labels)) for m, view in separable(12, seed=5).items()}
    method.fit(separable(30, seed=3), held_out)
    again = algcn.ALGCN(method.params, ("image", "text"))
    again.load_state(method.state())
    assert torch.equal(again.network.graph.relations, 1.5 * torch.eye(3))


def test_algcns_relations_have_a_step_of_their_own():
    method = untrained(algcn.ALGCN, algcn.Params(dimension=5, graph_layers=(), learning_rate=0.01, adaptation_rate=7.0))
    method.labels = batch()[1]
    (update,) = method.updates()
    rates = {id(weight): group["lr"] for group in update.optimizer.param_groups for weight in group["params"]}
    assert len(rates) == len(list(method.network.parameters()))
    for weight in method.network.parameters():
        assert rates[id(weight)] == pytest.approx(0.07 if weight is method.network.graph.adaptive else 0.01)


def test_weights_of_a_graph_network_start_within_the_width_that_they_give():
    torch.manual_seed(0)
    graph = algcn.Graph(30, (40, 90, 20), 0.5)
    for weight, width in zip(graph.layers, (90, 20), strict=True):
        for end in (weight.max(), -weight.min()):
            assert 0.98 < end.item() * width**0.5 <= 1
    assert 0 <= graph.adaptive.min() < 0.001
    assert 0.019 < graph.adaptive.max() <= 0.02


def literal_map(layers, row):
    """Linear layers and activations, number by number."""
    for layer in layers:
        if isinstance(layer, torch.nn.Linear):
            row = torch.stack([(w * row).sum() + b for w, b in zip(layer.weight, layer.bias, strict=True)])
        else:
            slope = layer.negative_slope if isinstance(layer, torch.nn.LeakyReLU) else 0
            row = torch.stack([x if x > 0 else slope * x for x in row])
    return row


def test_terms_of_dagnn():
    params = dagnn.Params(
        dimension=5,
        label_dimension=3,
        graph_layers=2,
        first_generator=4,
        second_generator=6,
        discrimination=0.3,
        adversarial=0.7,
    )
    method = untrained(dagnn.DAGNN, params)
    inputs, labels = batch()
    method.labels = labels
    method.updates()
    network, graph, c = method.network, method.network.graph, labels.shape[1]
    relations = algcn.related(labels, 0.4)
    degrees = [sum(row) for row in relations]
    rows, outputs = list(graph.labels), [[] for _ in range(c)]
    for weight in graph.layers:
        mapped = [sum(x * w for x, w in zip(row, weight, strict=True)) for row in rows]
        rows = [
            sum(relations[j][i] / torch.sqrt(degrees[i] * degrees[j]) * mapped[j] for j in range(c)) for i in range(c)
        ]
        rows = [torch.stack([x if x > 0 else 0.2 * x for x in row]) for row in rows]
        outputs = [[*before, *row] for before, row in zip(outputs, rows, strict=True)]
    classifiers = [literal_map([graph.classifier], torch.stack(row)) for row in outputs]
    u, v = ([literal_map(network.embed[m], x) for x in rows] for m, rows in zip(("image", "text"), inputs, strict=True))
    label, adversarial = 0, 0
    for out in (u, v):
        for row, wanted in zip(out, labels, strict=True):
            found = torch.stack([(row * x).sum() / (length(row) * length(x)) for x in classifiers])
            label = label + length(found - wanted) / len(labels)
    for x, other, generate, tell in zip(inputs, (v, u), network.generate, network.discriminate, strict=True):
        for made, row in [(0, row) for row in x] + [(1, literal_map(generate, row)) for row in other]:
            logits = literal_map(tell, row)
            adversarial = adversarial + (torch.log(torch.exp(logits).sum()) - logits[made]) / len(x)
    likelihoods = 0
    for a, b in ((u, u), (u, v), (v, v)):
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                theta = (x * y).sum() / (length(x) * length(y)) / 2
                likelihoods = likelihoods + (torch.log(1 + torch.exp(theta)) - labels[i] @ labels[j] * theta) / 36
    found = method.terms(inputs, labels)
    assert set(found) == {"label", "discrimination", "adversarial"}
    weights = list(network.parameters())
    assert_same(found["label"], label, weights)
    assert_same(found["discrimination"], 0.3 * likelihoods, weights)
    tellers, others = (
        list(network.discriminate.parameters()),
        [w for n, w in network.named_parameters() if "discrim" not in n],
    )
    assert_same(found["adversarial"], 0.7 * adversarial, tellers)
    mine, literal = (
        torch.autograd.grad(x, others, allow_unused=True, retain_graph=True)
        for x in (found["adversarial"], 0.7 * adversarial)
    )
    for one, two in zip(mine, literal, strict=True):  # all others learn against the discriminators
        assert (one is None) == (two is None)
        assert one is None or torch.allclose(one, -two, rtol=1e-7, atol=1e-10)


def test_what_dagnn_makes_and_tells_apart_is_of_a_modality():
    params = dagnn.Params(dimension=5, graph_layers=1, first_generator=6, second_generator=7)
    image, text = untrained(dagnn.DAGNN, params).network.generate
    assert [tuple(layer.weight.shape) for layer in (image[0], image[2])] == [(6, 5), (4, 6)]
    assert [tuple(layer.weight.shape) for layer in (text[0], text[2])] == [(7, 5), (3, 7)]
    assert all(isinstance(image[i], torch.nn.ReLU) for i in (1, 3))
    assert [text[i].negative_slope for i in (1, 3)] == [0.2, 0.2]
    assert [tuple(layer.weight.shape) for layer in dagnn.discriminator(64)] == [(16, 64), (4, 16), (2, 4)]


def literal_clip4cmr(loss, network, u, v, labels, margin):
    n = len(labels)
    squared = lambda x, y: sum((a - b) ** 2 for a, b in zip(x, y, strict=True))  # noqa: E731
    same = [[bool((x * y).sum()) for y in labels] for x in labels]
    if loss == "prototype":
        of_class = [[[-squared(x, c) for c in network.prototypes.rows] for x in rows] for rows in (u, v)]
        return sum(cross_entropy(scores, labels) for scores in of_class)
    if loss in ("classification", "regression"):
        weights = list(zip(network.label.weight, network.label.bias, strict=True))
        of_class = [[torch.stack([(w * x).sum() / length(w) + b for w, b in weights]) for x in rows] for rows in (u, v)]
        if loss == "classification":
            return sum(cross_entropy(scores, labels) for scores in of_class)
        return sum(length(score - y) / n for scores in of_class for score, y in zip(scores, labels, strict=True))
    found, pairs = 0, sum(map(sum, same))
    for i in range(n):
        for j in range(n):
            distance = squared(u[i], v[j])
            if loss != "triplet":
                apart = margin - distance if margin > distance and loss == "contrastive" else 0 * distance
                found = found + (distance if same[i][j] else apart) / n
            elif same[i][j]:
                for k in range(n):
                    for other in (squared(u[i], v[k]) if not same[i][k] else None,
                                  squared(u[k], v[j]) if not same[k][j] else None):  # fmt: skip
                        if other is not None and distance - other + margin > 0:
                            found = found + (distance - other + margin) / pairs
    return found


@pytest.mark.parametrize("loss", ["prototype", "classification", "regression", "triplet", "contrastive", "invariance"])
def test_losses_of_clip4cmr(loss):
    method = untrained(clip4cmr.CLIP4CMR, clip4cmr.Params(loss=loss, hidden=5, dimension=4, dropout=0.0, margin=1.9))
    assert [length(row).item() for row in method.network.prototypes.rows] == pytest.approx([1] * 4, rel=1e-6)
    method.network.prototypes.rows = torch.nn.functional.normalize(method.network.prototypes.rows)  # in float64
    inputs, labels = batch()
    outputs = [method.network.embed[m](x) for m, x in zip(("image", "text"), inputs, strict=True)]
    u, v = ([row / length(row) for row in output] for output in outputs)
    found = method.terms(inputs, labels)
    assert set(found) == {loss}
    assert_same(
        found[loss], literal_clip4cmr(loss, method.network, u, v, labels, 1.9), list(method.network.parameters())
    )
