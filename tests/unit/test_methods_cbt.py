"""CBT: what an item is read as, each step's terms and their gradients against literal loops, and what is embedded."""

import numpy as np
import pytest
import torch

from cmr.errors import UserError
from cmr.methods.batches import SetBatch, scaled
from cmr.methods.cbt import Params
from synthetic import create, separable, small, with_sets

SMALL = small("cbt") | {"epochs": 3}
TRAIN = with_sets(separable(30, seed=3))
HELD_OUT = with_sets(separable(24, seed=5))
LENGTHS = [3, 1, 5, 2]
LABELS = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.float64)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def linear(module, row):
    values = [dot(line, row) for line in module.weight]
    return torch.stack(values if module.bias is None else [v + b for v, b in zip(values, module.bias, strict=True)])


def data():
    """A batch of each modality, sequences padded with zeros, and the sequences."""
    generator = torch.Generator().manual_seed(3)

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    inputs, sequences = [], []
    for vector, d in ((4, 5), (3, 4)):
        items = [normal(k, d) for k in LENGTHS]
        padded = torch.zeros(4, 5, d, dtype=torch.float64)
        for row, item in enumerate(items):
            padded[row, : len(item)] = item
        mask = torch.arange(5) < torch.tensor(LENGTHS)[:, None]
        inputs.append((normal(4, vector), SetBatch(padded, mask)))
        sequences.append(items)
    return inputs, sequences


@pytest.fixture
def method(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)

    def made(**params):
        sizes = {"region_units": 3, "word_units": 2, "first_layer": 5, "second_layer": 3, "shared": 4, "dropout": 0.0}
        created = create("cbt", **SMALL | sizes | params)
        torch.manual_seed(0)
        created.network = created.build({"image": 4, "image:set": 5, "text": 3, "text:set": 4}, 3).double()
        return created

    return made


def literal_read(net, vector, item, of_words):
    """What one item is read as; the LSTM is torch's, on this item alone."""
    layers = list(net.layers)
    if of_words:
        weight, bias = layers[0].convolution.weight, layers[0].convolution.bias
        seen = []
        for place in range(len(item)):
            taps = [(tap, place + tap - 2) for tap in range(5) if 0 <= place + tap - 2 < len(item)]
            units = [b + sum(dot(w[:, tap], item[at]) for tap, at in taps) for w, b in zip(weight, bias, strict=True)]
            seen.append(torch.stack([u if u > 0 else 0 * u for u in units]))
        item = torch.stack([torch.stack(seen[at : at + 3]).amax(0) for at in range(len(seen))])
    h = layers[-1].lstm(item[None])[0][0]
    scores = [dot(net.attention.weight[0], torch.tanh(own)) for own in h]
    total = sum(torch.exp(s) for s in scores)
    attended = sum(torch.exp(s) / total * own for s, own in zip(scores, h, strict=True))
    return torch.cat([vector, attended + sum(h) / len(h)])


def literal_translation(net, x):
    """The shared layer's units and the translation."""
    for layer in (net.to_shared[0], net.to_shared[2], net.shared):
        x = torch.tanh(linear(layer, x))
    return x, linear(net.from_shared[2], torch.tanh(linear(net.from_shared[0], x)))


def rho(x, z):
    return torch.log((1 + dot(x, z) / torch.sqrt(dot(x, x)) / torch.sqrt(dot(z, z))) / 2)


def literal_terms(net, modality, p):
    inputs, sequences = data()
    read = {}
    for m, (vectors, _), items in zip(("image", "text"), inputs, sequences, strict=True):
        of = zip(vectors, items, strict=True)
        read[m] = [literal_read(net.read[m], vector, item, m == "text") for vector, item in of]
    other = "text" if modality == "image" else "image"
    label, back, of_pair, of_item = 0, 0, [], []
    for x, y, own in zip(read[modality], read[other], LABELS, strict=True):
        meaning, translated = literal_translation(net.translate[modality], x)
        logits = linear(net.label, meaning)
        label = label - dot(own / own.sum(), logits - torch.log(sum(torch.exp(z) for z in logits))) / 4
        again = literal_translation(net.translate[other], translated.detach())[1]
        of_item.append(rho(x, torch.stack([z if z > 0 else 0 * z for z in again])))
        back = back - of_item[-1] / 4
        of_pair.append(rho(1 / (1 + torch.exp(-translated)), y))
    eta, total, pair = p.pair_reward, sum(torch.exp(-r) for r in of_pair), 0
    for mine, own in zip(of_pair, of_item, strict=True):
        reward = (eta * mine + (1 - eta) * own).detach()
        pair = pair - reward * torch.exp(-mine) / total / 4
    terms = {f"{modality}_label": p.label_weight * label, f"{modality}_back": (1 - eta) * back}
    return terms | ({f"{modality}_pair": eta * pair} if eta else {})


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("pair_reward", [0.0, 0.3, 1.0])
def test_terms_and_their_gradients(method, modality, pair_reward):
    made = method(pair_reward=pair_reward)
    found, expected = (
        made.direction_terms(modality, data()[0], LABELS),
        literal_terms(made.network, modality, made.params),
    )
    assert set(found) == set(expected)
    over = list(made.network.parameters())
    for name in found:
        assert found[name].item() == pytest.approx(expected[name].item(), abs=1e-9), name
        gradients = [
            torch.autograd.grad(x, over, retain_graph=True, allow_unused=True) for x in (found[name], expected[name])
        ]
        for mine, literal in zip(*gradients, strict=True):
            assert (mine is None) == (literal is None)
            assert mine is None or torch.allclose(mine, literal, atol=1e-9), name


def test_what_is_translated_back_does_not_teach_the_first_translation(method):
    made = method()
    back = made.direction_terms("image", data()[0], LABELS)["image_back"]
    first = made.network.translate["image"].to_shared[0].weight
    assert torch.autograd.grad(back, first, allow_unused=True, retain_graph=True) == (None,)
    assert torch.autograd.grad(back, made.network.translate["text"].to_shared[0].weight)[0].abs().max() > 0


def test_both_directions_share_a_layer_and_the_classifier(method):
    net = method().network
    assert net.translate["image"].shared is net.translate["text"].shared
    assert set(method().terms(data()[0], LABELS)) == {"image_label", "image_back", "text_label", "text_back"}


def test_texts_take_a_step_and_then_images():
    made = create("cbt", **SMALL)
    made.fit(TRAIN)
    made.inputs = [made_inputs(made, m) for m in ("image", "text")]
    made.labels = torch.as_tensor(TRAIN["image"].labels, dtype=torch.float32)
    updates = made.updates()
    assert [sorted(update.terms(torch.arange(5))) for update in updates] == [
        ["text_back", "text_label"],
        ["image_back", "image_label"],
    ]
    assert updates[0].optimizer is updates[1].optimizer


def made_inputs(made, modality):
    return scaled(modality, TRAIN[modality].features, made.scaling, "cpu")


def test_posteriors_are_embedded_and_do_not_depend_on_the_other_items():
    made = create("cbt", **SMALL)
    history = made.fit(TRAIN, HELD_OUT)
    assert history.chosen["epochs"] in (1, 2, 3)
    for modality, view in HELD_OUT.items():
        whole = made.embed(modality, view.features)
        assert whole.shape == (24, 3)
        assert np.allclose(whole.sum(axis=1), 1, atol=1e-6)
        for row in (0, 7, int(np.argmax(view.features.sets.lengths))):
            assert np.allclose(made.embed(modality, view.features[row : row + 1])[0], whole[row], atol=1e-5)


def test_vectors_alone_are_refused():
    with pytest.raises(UserError, match="CBT: takes a vector and a set of each modality, given a vector of image"):
        create("cbt", **SMALL).fit(separable(30))
    assert Params().pair_reward == 0
