"""Attention pooling, its loss and their gradients against loops, and a fit on sets, vectors and both."""

import math

import numpy as np
import pytest
import torch

from cmr.data import View
from cmr.errors import UserError
from cmr.methods.attention_pool import Attention, Params, PooledHead, weighted_mean
from cmr.methods.base import unit_rows
from cmr.methods.batches import SetBatch
from cmr.methods.heads import negatives
from cmr.methods.infonce import info_nce
from cmr.sets import Sets, VectorsAndSets
from cmr.store import read_arrays, write_arrays
from synthetic import create

LENGTHS, D, ROWS = [3, 1, 4], 5, 2
SMALL = {"dimension": 8, "attention": 4, "epochs": 15, "batch_size": 20, "learning_rate": 0.01}


def batch(items):
    """The items' elements, padded with what must not count."""
    padded = torch.full((len(items), max(map(len, items)), D), 99.0, dtype=torch.float64)
    mask = torch.zeros(padded.shape[:2], dtype=torch.bool)
    for row, item in enumerate(items):
        padded[row, : len(item)] = torch.as_tensor(item)
        mask[row, : len(item)] = True
    return SetBatch(padded, mask)


def literal_pool(item, inner, bias, outer):
    """Equations 7 and 8, a loop an index."""
    weights = []
    for h in item:
        score = 0.0
        for row in range(len(inner)):
            score += outer[row] * math.tanh(sum(inner[row][c] * h[c] for c in range(D)) + bias[row])
        weights.append(math.exp(score))
    return [sum(w * h[c] for w, h in zip(weights, item, strict=True)) / sum(weights) for c in range(D)]


def parts():
    rng = np.random.default_rng(2)
    items = [rng.normal(size=(k, D)) for k in LENGTHS]
    return items, rng.normal(size=(ROWS, D)), rng.normal(size=ROWS), rng.normal(size=ROWS)


def attention(inner, bias, outer):
    made = Attention(D, len(inner)).double()
    with torch.no_grad():
        made.inner.weight.copy_(torch.as_tensor(inner))
        made.inner.bias.copy_(torch.as_tensor(bias))
        made.outer.weight.copy_(torch.as_tensor(outer)[None])
    return made


def pooled(made, sets):
    return weighted_mean(sets, made(sets.elements))


def test_pooling_is_that_of_the_loops():
    items, inner, bias, outer = parts()
    made, sets = attention(inner, bias, outer), batch(items)
    expected = np.array([literal_pool(item, inner, bias, outer) for item in items])
    np.testing.assert_allclose(pooled(made, sets).detach(), expected, atol=1e-12)
    means = weighted_mean(sets, torch.zeros(sets.mask.shape, dtype=torch.float64))
    np.testing.assert_allclose(means, [item.mean(0) for item in items], atol=1e-12)


@pytest.mark.parametrize("pooling", ["attention", "mean"])
@pytest.mark.parametrize("beside", [0, 3])
def test_a_head_maps_what_is_pooled(pooling, beside):
    items, inner, bias, outer = parts()
    head = PooledHead(beside, D, Params(dimension=4, attention=ROWS, pooling=pooling)).double()
    if pooling == "attention":
        head.pool = attention(inner, bias, outer)
        rows = [literal_pool(item, inner, bias, outer) for item in items]
    else:
        rows = [item.mean(0) for item in items]
    vectors = np.random.default_rng(4).normal(size=(len(items), beside))
    expected = head.head(torch.as_tensor(np.hstack([vectors, np.array(rows)])))
    given = (torch.as_tensor(vectors), batch(items)) if beside else batch(items)
    np.testing.assert_allclose(head(given).detach(), expected.detach(), atol=1e-12)


def literal_loss(items, others, inner, bias, outer, groups, scale):
    first = unit_rows(np.array([literal_pool(item, inner, bias, outer) for item in items]))
    second, total = unit_rows(others), 0.0
    for i in range(len(items)):
        left = [j for j in range(len(items)) if j == i or groups[j] != groups[i]]
        for u, v in ((first, second), (second, first)):
            logits = {j: scale * float(u[i] @ v[j]) for j in left}
            total -= logits[i] - math.log(sum(map(math.exp, logits.values())))
    return total / (2 * len(items))


@pytest.mark.parametrize("groups", [[0, 1, 2], [0, 1, 0]])
def test_the_loss_and_its_gradients_are_those_of_the_loops(groups):
    items, inner, bias, outer = parts()
    others = np.random.default_rng(4).normal(size=(len(items), D))
    made, sets = attention(inner, bias, outer), batch(items)
    sets.elements.requires_grad_(True)
    u = torch.nn.functional.normalize(pooled(made, sets))
    v = torch.nn.functional.normalize(torch.as_tensor(others))
    loss = info_nce(3.0 * u @ v.T, negatives(torch.tensor(groups)[:, None]))
    loss.backward()

    def value(items=items, inner=inner, bias=bias, outer=outer):
        return literal_loss(items, others, inner, bias, outer, groups, 3.0)

    assert loss.item() == pytest.approx(value(), abs=1e-12)
    assert not sets.elements.grad[~sets.mask].any()
    arrays = {"inner": inner, "bias": bias, "outer": outer}
    found = {"inner": made.inner.weight.grad, "bias": made.inner.bias.grad, "outer": made.outer.weight.grad[0]}
    step = 1e-6
    for name, array in arrays.items():
        for index in np.ndindex(array.shape):
            higher, lower = array.copy(), array.copy()
            higher[index] += step
            lower[index] -= step
            slope = (value(**{name: higher}) - value(**{name: lower})) / (2 * step)
            assert found[name][index].item() == pytest.approx(slope, abs=1e-7), name
    for row, item in enumerate(items):
        for index in np.ndindex(item.shape):
            moved = []
            for sign in (step, -step):
                changed = [own.copy() for own in items]
                changed[row][index] += sign
                moved.append(value(items=changed))
            slope = (moved[0] - moved[1]) / (2 * step)
            assert sets.elements.grad[row][index].item() == pytest.approx(slope, abs=1e-7)


# Fits -------------------------------------------------------------------------------------------------------------

N, PICTURE, WORD = 60, 6, 5


def data(seed, forms=("set", "set")):
    """Items of which one element says what they are, among others that are noise."""
    world, rng = np.random.default_rng(7), np.random.default_rng(seed)
    latent = rng.normal(size=(N, 3))
    part = {}
    for modality, d, form in (("image", PICTURE, forms[0]), ("text", WORD, forms[1])):
        telling = latent @ world.normal(size=(3, d)) * 2
        lengths = rng.integers(1, 5, N)
        elements = 0.3 * rng.normal(size=(lengths.sum(), d))
        offsets = np.concatenate([[0], lengths.cumsum()])
        elements[offsets[:-1] + rng.integers(0, lengths)] += telling
        sets = Sets.flat(elements.astype(np.float16), offsets)
        vectors = telling.astype(np.float32)
        features = {"vector": vectors, "set": sets, "both": VectorsAndSets(vectors, sets)}[form]
        part[modality] = View(np.array([f"{seed}-{row}" for row in range(N)]), features)
    return part


def fitted(forms=("set", "set"), seed=0, **params):
    method = create("attention_pool", ("image", "text"), seed, **{**SMALL, **params})
    method.fit(data(0, forms))
    return method


FORMS = [("set", "set"), ("set", "vector"), ("both", "set"), ("vector", "vector")]


@pytest.mark.parametrize("forms", FORMS, ids="+".join)
@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_own_partners_are_found_among_new_items(forms, pooling):
    method, test = fitted(forms, pooling=pooling), data(1, forms)
    embedded = {m: method.embed(m, view.features) for m, view in test.items()}
    assert all(rows.shape == (N, 8) and rows.dtype == np.float32 for rows in embedded.values())
    scores = method.similarity("image", embedded["image"], "text", embedded["text"])
    recall = np.mean(scores.argsort(1)[:, ::-1][:, :10] == np.arange(N)[:, None]) * 10
    assert recall > 0.4, recall  # of random scores: 1/6


@pytest.mark.parametrize("forms", FORMS, ids="+".join)
def test_state_and_seed_give_the_same_embeddings(forms, tmp_path):
    method, test = fitted(forms), data(1, forms)
    write_arrays(tmp_path / "model.safetensors", method.state())
    loaded = create("attention_pool", ("image", "text"), **SMALL)
    loaded.load_state(read_arrays(tmp_path / "model.safetensors"))
    again, other = fitted(forms), fitted(forms, seed=1)
    for modality, view in test.items():
        expected = method.embed(modality, view.features)
        np.testing.assert_array_equal(loaded.embed(modality, view.features), expected)
        np.testing.assert_array_equal(again.embed(modality, view.features), expected)
        assert not np.array_equal(other.embed(modality, view.features), expected)


def test_an_item_is_embedded_alike_whatever_is_beside_it_and_in_whatever_order():
    method, sets = fitted(), data(1)["text"].features
    whole = method.embed("text", sets)
    for row in (0, 7, int(np.argmax(sets.lengths))):
        np.testing.assert_allclose(method.embed("text", sets[row : row + 1])[0], whole[row], atol=1e-5)
    turned = Sets.flat(np.concatenate([item[::-1] for item in sets]), sets.offsets)
    np.testing.assert_allclose(method.embed("text", turned), whole, atol=1e-5)


def test_choices_on_held_out_rows_and_bfloat16():
    method = create("attention_pool", ("image", "text"), **SMALL, precision="bf16")
    history = method.fit(data(0), data(1))
    assert 1 <= history.chosen["epochs"] <= SMALL["epochs"]
    assert np.isfinite(method.embed("image", data(1)["image"].features)).all()


def test_sets_that_are_all_the_same_are_an_error():
    train = data(0)
    same = Sets.flat(np.full_like(train["text"].features.values, 0.5), train["text"].features.offsets)
    method = create("attention_pool", ("image", "text"), **SMALL)
    with pytest.raises(UserError, match="the text features of all 60 training rows are the same"):
        method.fit({**train, "text": View(train["text"].ids, same)})
