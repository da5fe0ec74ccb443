"""MCSM: both spaces, their losses and the fused scores against literal loops, and the weight chosen on held-out rows."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cmr.errors import UserError
from cmr.methods import mcsm, sequences
from cmr.methods.batches import SetBatch
from cmr.methods.cm_gans import rows_of_other_classes
from cmr.methods.mcsm import Params, rows_of_the_class, triplets
from cmr.methods.sequences import Recurrent
from cmr.sets import Sets, VectorsAndSets
from synthetic import create, separable, small, with_sets

SMALL = small("mcsm") | {"epochs": 3}
TRAIN = with_sets(separable(30, seed=3))
HELD_OUT = with_sets(separable(24, seed=5))


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def linear(module, row):
    values = [dot(line, row) for line in module.weight]
    return values if module.bias is None else [v + b for v, b in zip(values, module.bias, strict=True)]


def at_length_one(row):
    length = torch.sqrt(dot(row, row))
    return [x / length for x in row]


def items(lengths, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(k, d, generator=generator, dtype=torch.float64) for k in lengths]


def batch(sequences):
    """Padded with zeros, as batches are."""
    longest, d = max(map(len, sequences)), sequences[0].shape[1]
    mask = torch.tensor([[j < len(item) for j in range(longest)] for item in sequences])
    padded = torch.zeros(len(sequences), longest, d, dtype=torch.float64)
    for row, item in enumerate(sequences):
        padded[row, : len(item)] = item
    return SetBatch(padded, mask)


def literal_attended(net, outputs, inner):
    """Of one item's LSTM outputs."""
    h = [linear(net.out, row) for row in outputs]
    scores = []
    for own in h:
        within = linear(net.inner, own) if inner else own
        scores.append(linear(net.outer, [torch.tanh(x) for x in within])[0])
    total = sum(torch.exp(s) for s in scores)
    return at_length_one(
        [sum(torch.exp(s) / total * own[c] for s, own in zip(scores, h, strict=True)) for c in range(3)]
    )


def literal_lstm(lstm, rows, layers=2):
    for layer in range(layers):
        to_input, to_hidden = getattr(lstm, f"weight_ih_l{layer}"), getattr(lstm, f"weight_hh_l{layer}")
        bias = getattr(lstm, f"bias_ih_l{layer}") + getattr(lstm, f"bias_hh_l{layer}")
        units = len(bias) // 4
        h, c, outputs = [torch.tensor(0.0)] * units, [torch.tensor(0.0)] * units, []
        for row in rows:
            sums = [dot(to_input[u], row) + dot(to_hidden[u], h) + bias[u] for u in range(4 * units)]
            enters, forgets, new, leaves = (sums[part * units : (part + 1) * units] for part in range(4))
            c = [torch.sigmoid(forgets[u]) * c[u] + torch.sigmoid(enters[u]) * torch.tanh(new[u]) for u in range(units)]
            h = [torch.sigmoid(leaves[u]) * torch.tanh(c[u]) for u in range(units)]
            outputs.append(h)
        rows = outputs
    return rows


def network(**params):
    method = create("mcsm", **SMALL | {"dimension": 3, "region_units": 2, "word_units": 2, "dropout": 0.0} | params)
    torch.manual_seed(0)
    dimensions = {"image": 4, "image:set": 5, "text": 3, "text:set": 4}
    method.network = method.build(dimensions, 3).double().eval()
    return method


def test_the_space_of_images_is_that_of_the_loops(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    method, regions = network(), items([3, 1, 2], 5)
    vectors = items([3], 4, seed=1)[0]
    net, found = method.network.embed["image"], method.network.embed["image"]((vectors, batch(regions)))
    for row, item in enumerate(regions):
        outputs = literal_lstm(net.attended.layers[0].lstm, item)
        expected = literal_attended(net.attended, outputs, inner=True)
        entering = at_length_one([torch.sigmoid(x) for x in linear(net.entering.out, vectors[row])])
        assert torch.allclose(found[row], torch.stack(expected + entering), atol=1e-9)


def test_the_space_of_texts_is_that_of_the_loops(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    method, words = network(convolutions=((3, 3, 2), (2, 1, 3))), items([5, 1, 4], 4)
    vectors = items([3], 3, seed=1)[0]
    net = method.network.embed["text"]
    for layer in net.attended.layers[:2]:
        torch.nn.init.normal_(layer.norm.running_mean)
        torch.nn.init.uniform_(layer.norm.running_var, 0.5, 2)
    found = net((vectors, batch(words)))
    for row, item in enumerate(words):
        x = [list(word) for word in item]
        for layer, width, pooled in zip(net.attended.layers, (3, 1), (2, 3), strict=False):
            x = literal_convolution(layer, x, width, pooled)
        expected = literal_attended(net.attended, literal_lstm(net.attended.layers[2].lstm, x), inner=False)
        entering = at_length_one(linear(net.entering.out, vectors[row]))
        assert torch.allclose(found[row], torch.stack(entering + expected), atol=1e-9)


def literal_convolution(layer, x, width, pooled):
    """With zeros on both sides; batch normalisation by running moments; then pooled from the start on."""
    weight, norm, outputs = layer.convolution.weight, layer.norm, []
    for place in range(len(x)):
        output = []
        for unit in range(len(weight)):
            value = 0.0
            for tap in range(width):
                seen = place + tap - (width - 1) // 2
                if 0 <= seen < len(x):
                    value = value + dot(weight[unit, :, tap], x[seen])
            value = (value - norm.running_mean[unit]) / torch.sqrt(norm.running_var[unit] + norm.eps)
            value = value * norm.weight[unit] + norm.bias[unit]
            output.append(value if value > 0 else 0 * value)
        outputs.append(output)
    return [
        [max(row[unit] for row in outputs[start : start + pooled]) for unit in range(len(weight))]
        for start in range(0, len(outputs), pooled)
    ]


def test_the_moments_of_batch_normalisation_are_those_of_own_elements():
    layer = network(convolutions=((3, 1, 1),)).network.embed["text"].attended.layers[0].train()
    words = items([5, 1, 4], 4)
    layer(batch(words))
    own = layer.convolution(torch.cat(words)[:, :, None])[:, :, 0]
    assert torch.allclose(layer.norm.running_mean, 0.1 * own.mean(0))
    assert torch.allclose(layer.norm.running_var, 0.9 + 0.1 * own.var(0))


def test_where_the_processor_has_no_recurrence_in_bfloat16_it_is_in_float32(monkeypatch):
    monkeypatch.setattr(sequences, "bfloat16_recurrence", lambda device: False)
    layer, words = Recurrent(4, 3, dropout=0.0), batch(items([5, 1, 4], 4))
    alone = layer(SetBatch(words.elements.float(), words.mask)).elements
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(SetBatch(words.elements.bfloat16().float(), words.mask)).elements
        of_bfloat16 = layer(SetBatch(words.elements.bfloat16(), words.mask)).elements
    assert found.dtype == torch.float32
    assert torch.equal(found, of_bfloat16)
    assert torch.allclose(found, alone, atol=0.01)


LABELS = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.float64)


def literal_triplets(u, v, of_u, of_v, margin):
    """With the rows that are drawn when the generator is as it was."""
    loss = 0 * u.sum()
    for one, other, labels, of_others in ((u, v, of_u, of_v), (v, u, of_v, of_u)):
        wrong, _ = rows_of_other_classes(labels, of_others)
        for i in range(len(u)):
            if any(dot(labels[i], of_others[j]) == 0 for j in range(len(u))):
                assert dot(labels[i], of_others[wrong[i]]) == 0
                hinge = margin - dot(u[i], v[i]) + dot(one[i], other[wrong[i]])
                loss = loss + (hinge if hinge > 0 else 0 * hinge) / len(u)
    return loss


@pytest.mark.parametrize("of_v", [LABELS, LABELS[[2, 1, 0, 3]]], ids=["own", "drawn"])  # drawn ones share a label
@pytest.mark.parametrize("of_u", [LABELS, LABELS[[0, 0, 2, 2]], LABELS[[0, 1, 3, 3]]])
def test_triplets_and_their_gradients(of_u, of_v):
    u, v = (torch.nn.functional.normalize(x).requires_grad_() for x in items([4, 4], 3))
    torch.manual_seed(1)
    found = triplets(u, v, of_u, of_v, 0.5)
    torch.manual_seed(1)
    expected = literal_triplets(u, v, of_u, of_v, 0.5)
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)
    if expected.item():
        for mine, literal in zip(
            torch.autograd.grad(found, (u, v)), torch.autograd.grad(expected, (u, v)), strict=True
        ):
            assert torch.allclose(mine, literal, atol=1e-12)


def test_the_terms_are_triplets_in_each_space(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    method = network()
    inputs = [(items([4], 4)[0], batch(items([3, 1, 2, 2], 5))), (items([4], 3)[0], batch(items([2, 5, 1, 1], 4)))]
    torch.manual_seed(2)
    drawn = LABELS[[2, 1, 0, 3]]
    terms = method.terms(inputs, LABELS, drawn)
    torch.manual_seed(2)
    images, texts = (method.network.embed[m](x) for m, x in zip(("image", "text"), inputs, strict=True))
    over = list(method.network.parameters())
    for name, columns, of_images in (("space_of_image", slice(0, 3), LABELS), ("space_of_text", slice(3, 6), drawn)):
        expected = literal_triplets(images[:, columns], texts[:, columns], of_images, LABELS, 0.5)
        assert terms[name].item() == pytest.approx(expected.item(), abs=1e-12)
        gradients = [
            torch.autograd.grad(x, over, retain_graph=True, allow_unused=True) for x in (terms[name], expected)
        ]
        for mine, literal in zip(*gradients, strict=True):
            assert (mine is None) == (literal is None)
            assert mine is None or torch.allclose(mine, literal, atol=1e-12)
    assert set(terms) == {"space_of_image", "space_of_text"}


def test_a_text_is_beside_any_image_of_its_class():
    torch.manual_seed(0)
    drawn = torch.stack([rows_of_the_class(LABELS[:2], LABELS) for _ in range(60)])
    assert {*drawn[:, 0].tolist()} == {0, 2}
    assert {*drawn[:, 1].tolist()} == {1, 2}


def test_a_batch_has_the_drawn_images_vectors_and_the_own_regions(monkeypatch):
    method = create("mcsm", **SMALL)
    seen = []
    monkeypatch.setattr(mcsm, "rows_of_the_class", lambda labels, of_all: (labels @ of_all.T > 0).float().argmax(1))
    monkeypatch.setattr(
        mcsm.MCSM,
        "terms",
        lambda self, *given: seen.append(given) or MCSM_TERMS(self, *given),
    )
    method.fit(TRAIN)
    ((images, regions), _), labels, drawn = seen[0]
    assert torch.equal(drawn, labels)
    first = labels.argmax(1)  # rows of class c are c, c + 3, …; so row c is the first of its class
    vectors = torch.as_tensor(method.scaling["image"](TRAIN["image"].features.vectors, np.float32))
    assert torch.equal(images, vectors[first])
    assert len(regions.mask) == len(images) == 20


MCSM_TERMS = mcsm.MCSM.terms


def fitted(validation=None, **params):
    method = create("mcsm", **SMALL | params)
    return method, method.fit(TRAIN, validation)


def test_scores_are_the_fused_ones_of_the_loops():
    method, _ = fitted(fusion=0.3)
    images, texts = (method.embed(m, HELD_OUT[m].features).astype(float) for m in ("image", "text"))
    training = method.embed("text", TRAIN["text"].features).astype(float)
    assert not texts[:, 32:].any()
    assert np.array_equal(method.texts, training[:, :32].astype(np.float32))
    found = method.similarity("image", images, "text", texts)
    for i, image in enumerate(images):
        products = [[dot(image[c], t[c]) for t in training] for c in (slice(0, 16), slice(16, 32))]
        for j, text in enumerate(texts):
            first, second = (dot(image[c], text[c]) for c in (slice(0, 16), slice(16, 32)))
            r = [(s - min(p)) / (max(p) - min(p)) for s, p in zip((first, second), products, strict=True)]
            assert found[i, j] == pytest.approx(0.3 * r[0] * second + 0.7 * r[1] * first, abs=1e-4)
    assert np.array_equal(method.similarity("text", texts, "image", images), found.T)
    own = method.similarity("image", images, "image", images)
    assert np.allclose(np.diag(own), 1)


def test_the_weight_is_the_best_on_held_out_rows():
    method, history = fitted(HELD_OUT)
    tried = {}
    for weight in mcsm.WEIGHTS:
        method.fusion = float(weight)
        tried[method.fusion] = method.validation_score(HELD_OUT)
    assert len(tried) == 21
    best = [weight for weight, score in tried.items() if score == max(tried.values())]
    assert history.chosen["fusion"] in best
    assert abs(history.chosen["fusion"] - 0.5) == min(abs(weight - 0.5) for weight in best)
    assert history.chosen["epochs"] in (1, 2, 3)
    assert np.array_equal(method.texts, method.embed("text", TRAIN["text"].features)[:, :32])
    assert fitted(fusion=0.35)[0].state()["fusion"] == [0.35]


def test_of_equal_weights_the_nearest_to_the_configured_one_is_taken(monkeypatch):
    monkeypatch.setattr(mcsm.MCSM, "score_of", lambda *_: 0.5)
    method, history = fitted(HELD_OUT, fusion=0.32)
    assert method.fusion == history.chosen["fusion"] == 0.3


def test_dropout_is_between_the_lstms_behind_them_and_in_the_attention():
    torch.manual_seed(0)
    recurrent = Recurrent(4, 6, 0.4).train()
    assert recurrent.lstm.dropout == 0.4
    sets = batch([torch.randn(50, 4)] * 20)
    left_out = (recurrent.float()(SetBatch(sets.elements.float(), sets.mask)).elements == 0).float().mean().item()
    assert left_out == pytest.approx(0.4, abs=0.02)
    attended = mcsm.Attended([], 4, 3, 0.4, inner=False).double().train()  # no layers: the attention's alone
    assert not torch.allclose(attended(sets), attended(sets))
    assert torch.equal(attended.eval()(sets), attended(sets))


def test_an_item_is_embedded_alike_whatever_is_beside_it():
    method, _ = fitted()
    for modality, view in HELD_OUT.items():
        whole = method.embed(modality, view.features)
        for row in (0, 7, int(np.argmax(view.features.sets.lengths))):
            assert np.allclose(method.embed(modality, view.features[row : row + 1])[0], whole[row], atol=1e-5)


def test_the_order_of_the_words_counts():
    method, _ = fitted()
    own = HELD_OUT["text"].features
    turned = Sets.flat(np.concatenate([item[::-1] for item in own.sets]), own.sets.offsets)
    moved = method.embed("text", VectorsAndSets(own.vectors, turned)) - method.embed("text", own)
    assert np.abs(moved[own.sets.lengths > 2]).max() > 1e-3


def test_no_convolutions_are_words_to_the_lstm_and_vectors_alone_are_refused():
    assert fitted(convolutions=())[0].embed("text", HELD_OUT["text"].features).shape == (24, 36)
    alone = {m: replace(view, features=view.features.vectors) for m, view in TRAIN.items()}
    with pytest.raises(UserError, match="MCSM: takes a vector and a set of each modality, given a vector of image"):
        create("mcsm", **SMALL).fit(alone)
    assert math.prod(Params().convolutions[k][2] for k in range(3)) == 150  # as the docstring says
