"""CCL: each part's loss and its gradient against literal loops, and how the parts stand one upon the other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmr.errors import UserError
from cmr.methods import ccl
from cmr.methods.batches import SetBatch, scaled
from cmr.methods.ccl import Classifier, Correspondence, Grain, Lower, Params
from cmr.methods.contrastive import LastLayers, contrastive_loss
from cmr.sets import VectorsAndSets
from synthetic import create, mapped, separable, small, with_sets

SMALL = small("ccl") | {"epochs": 3, "pretraining_epochs": 5}
TRAIN = with_sets(separable(30, seed=3))
HELD_OUT = with_sets(separable(24, seed=5))
LABELS = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.float64)
SHARE = LABELS / LABELS.sum(1, keepdim=True)


def rows(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(module, row):
    return [(w * row).sum() + b for w, b in zip(module.weight, module.bias, strict=True)]


def relu(values):
    return torch.stack([x if x > 0 else 0 * x for x in values])


def sigmoid(values):
    return torch.stack([1 / (1 + torch.exp(-x)) for x in values])


def cross_entropy(logits, label):
    return -sum(y * (x - torch.log(sum(torch.exp(z) for z in logits))) for x, y in zip(logits, label, strict=True))


def squared(x, y):
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def squares(*layers):
    return sum(w**2 for layer in layers for line in layer.weight for w in line)


def assert_same(found, expected, over):
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    gradients = [torch.autograd.grad(value, over, retain_graph=True, allow_unused=True) for value in (found, expected)]
    for mine, literal in zip(*gradients, strict=True):
        assert (mine is None) == (literal is None)
        assert mine is None or torch.allclose(mine, literal, rtol=1e-7, atol=1e-10)


def test_the_correspondence_autoencoder():
    torch.manual_seed(0)
    net = Correspondence({"a": 5, "b": 4}, Params(**SMALL | {"code": 3, "correspondence": 0.6})).double()
    items = {"a": rows(6, 5).sigmoid(), "b": rows(6, 4, 1).sigmoid()}
    index, again, apart = torch.tensor([4, 0, 3]), 0, 0
    for row in index:
        codes = {m: sigmoid(linear(net.encode[m], x[row])) for m, x in items.items()}
        for m, x in items.items():
            again = again + squared(sigmoid(linear(net.decode[m], codes[m])), x[row]) / 3
        apart = apart + squared(codes["a"], codes["b"]) / 3
    found, over = net.terms(items, index), list(net.parameters())
    assert set(found) == {"reconstruction", "correspondence", "decay"}
    assert_same(found["reconstruction"], 0.2 * again, over)
    assert_same(found["correspondence"], 0.3 * apart, over)
    assert_same(found["decay"], 0.00005 * squares(*net.encode.values(), *net.decode.values()), over)


def test_the_classifier():
    torch.manual_seed(0)
    net, x = Classifier(5, 3, Params(**SMALL | {"layers": (4, 3)})).double(), rows(4, 5)
    index, label = torch.tensor([3, 2]), 0
    for row in index:
        below = relu(linear(net.below[2], relu(linear(net.below[0], x[row]))))
        assert torch.allclose(net(x)[row], below)
        label = label + cross_entropy(linear(net.label, below), SHARE[row]) / 2
    found, over = net.terms(x, SHARE, index), list(net.parameters())
    assert set(found) == {"label", "decay"}
    assert_same(found["label"], label, over)
    assert_same(found["decay"], 0.0005 * squares(net.below[0], net.below[2], net.label), over)


@pytest.mark.parametrize("units", ["gaussian", "counts"])
@pytest.mark.parametrize("grain", ["whole", "parts"])
def test_machines_learn_one_upon_the_other(units, grain):
    """What each sees; its loss is tested with `cmr.methods.rbm`."""
    torch.manual_seed(0)
    net = Grain(5, (4, 3), units, Params(**SMALL | {"draws": 7})).double()
    lengths = [2, 1, 3]
    vectors, parts = rows(3, 5).abs(), [rows(k, 5, k).abs() for k in lengths]
    padded = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
    mask = torch.arange(3) < torch.tensor(lengths)[:, None]

    class Items:
        def __getitem__(self, index):
            return vectors[index], SetBatch(padded[index], mask[index])

    index = torch.tensor([2, 0])
    own = vectors[index] if grain == "whole" else torch.cat([parts[2], parts[0]])
    first = torch.stack([7 * row / sum(row) if units == "counts" else row for row in own])
    second = torch.stack(
        [
            sigmoid(
                [(w * row).sum() + b for w, b in zip(net.machines[0].weight.T, biases(net, row, units), strict=True)]
            )
            for row in first
        ]
    )
    for number, seen in enumerate((first, second)):
        assert torch.allclose(net.seen(own, number), seen)
        torch.manual_seed(1)
        found = net.terms(number, Items(), grain, index)
        torch.manual_seed(1)
        expected = net.machines[number].terms(seen.detach())
        for name in expected:
            assert_same(found[name], expected[name], list(net.parameters()))
    assert [machine.units for machine in net.machines] == [units, "binary"]


def biases(net, row, units):
    return net.machines[0].hidden_bias * (row.sum() if units == "counts" else 1)


SAME = [LABELS @ LABELS.T > 0, torch.ones(4, 4, dtype=torch.bool), torch.eye(4, dtype=torch.bool)]


@pytest.mark.parametrize("same", SAME, ids=["classes", "one class", "pairs"])
@pytest.mark.parametrize("margin", [0.5, 3.0])
def test_the_contrastive_loss(same, margin):
    u, v, expected = rows(4, 3).requires_grad_(), rows(4, 3, 1).requires_grad_(), 0
    for i in range(4):
        for j in range(4):
            distance = torch.sqrt(squared(u[i], v[j]))
            if same[i, j]:
                expected = expected + distance**2 / 4
            elif distance < margin:
                expected = expected + (margin - distance) ** 2 / 4
    expected = expected + 0 * (u.sum() + v.sum())
    assert_same(contrastive_loss(u, v, same, margin), expected, (u, v))


def test_equal_rows_have_a_gradient():
    u = rows(2, 3).requires_grad_()
    contrastive_loss(u, u.detach().clone(), torch.eye(2, dtype=torch.bool), 9.0).backward()
    assert torch.isfinite(u.grad).all()


def test_terms_of_the_last_layers(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    params = Params(**SMALL | {"hidden": 3, "dimension": 4, "margin": 0.9, "weight_decay": 0.02})
    method = LastLayers(params, ("a", "b"))
    torch.manual_seed(0)
    net = method.network = method.build({"a": 5, "b": 3}, 3).double()
    inputs, label, codes = [rows(4, 5), rows(4, 3, 1)], 0, []
    for m, x in zip(("a", "b"), inputs, strict=True):
        before = [linear(net.embed[m][2], sigmoid(linear(net.embed[m][0], row))) for row in x]
        codes.append(torch.stack([sigmoid(values) for values in before]))
        assert torch.allclose(net.embed[m](x), codes[-1])
        for values, y in zip(before, SHARE, strict=True):
            label = label + cross_entropy(linear(net.label[m], torch.stack(values)), y) / 4
    found, over = method.terms(inputs, LABELS), list(net.parameters())
    assert set(found) == {"contrast", "label", "decay"}
    assert_same(found["contrast"], contrastive_loss(*codes, LABELS @ LABELS.T > 0, 0.9), over)
    assert_same(found["label"], label, over)
    layers = [layer for m in ("a", "b") for layer in (net.embed[m][0], net.embed[m][2], net.label[m])]
    biases = sum(b**2 for layer in layers for b in layer.bias)
    assert_same(found["decay"], 0.01 * (squares(*layers) + biases), over)


def test_penalties_are_those_of_the_public_code():
    dimensions = {"image": 5, "image:set": 5, "text": 5, "text:set": 5}
    lower = Lower(dimensions, 3, Params(**SMALL | {"second_units": "counts"}))
    for (m, _), grain in lower.grains.items():
        assert [machine.units for machine in grain.machines] == [{"image": "gaussian", "text": "counts"}[m], "binary"]
        assert [machine.decay for machine in grain.machines] == [{"image": 0.001, "text": 0.01}[m], 0.001]
        assert [machine.target for machine in grain.machines] == [0.2, 0.1]
        assert [machine.sparsity_cost for machine in grain.machines] == [0.01, 0.01]
    assert [(joint.decay, joint.sparsity_cost) for joint in lower.joints.values()] == [(0.0001, 0)] * 2
    ones, share, index = torch.ones(1, 12), torch.eye(3)[:1], torch.tensor([0])
    for learned in [*lower.correspondences.values(), *lower.classifiers.values()]:
        for parameter in learned.parameters():
            torch.nn.init.ones_(parameter)
    weights = 4 * 12 * 12
    found = lower.correspondences["whole"].terms({"image": ones, "text": ones}, index)["decay"]
    assert found.item() == pytest.approx(0.0001 / 2 * weights)
    weights = 16 * 16 + 16 * 16 + 16 * 3
    found = lower.classifiers["text"].terms(torch.ones(1, 16), share, index)["decay"]
    assert found.item() == pytest.approx(0.001 / 2 * weights)


def counts(part):
    return {m: replace(view, features=mapped(np.abs, view.features)) for m, view in part.items()}


def test_the_lower_parts_stand_one_upon_the_other():
    method = create("ccl", **SMALL | {"second_units": "counts", "draws": 7})
    train = counts(TRAIN)
    method.fit(train, counts(HELD_OUT))
    for m, view in train.items():
        vectors, sets = scaled(m, view.features, method.scaling, "cpu")[torch.arange(30)]
        assert torch.allclose(vectors, torch.as_tensor(view.features.vectors)) == (m == "text")  # counts stay counts
        kept = method.represented(m, view.features)
        for row in (0, 11, 29):
            parts = method.lower.grains[m, "parts"](sets.elements[row, sets.mask[row]])
            grains = {
                "whole": method.lower.grains[m, "whole"](vectors[row : row + 1])[0],
                "parts": sum(parts) / len(parts),
            }
            code = torch.cat([method.lower.correspondences[grain](m, of) for grain, of in grains.items()])
            own = method.lower.classifiers[m](method.lower.joints[m](code[None]))[0]
            assert np.allclose(kept[row], own.detach(), atol=1e-5)
        assert np.allclose(method.upper.scaling[m](kept).mean(axis=0), 0, atol=1e-3)
        assert np.allclose(method.embed(m, view.features).mean(axis=0), 0, atol=1e-4)


def test_every_lower_part_learns_once_and_in_turn(monkeypatch):
    method, learned = create("ccl", **SMALL), []
    learn = ccl.CCL.learn_part
    monkeypatch.setattr(
        ccl.CCL, "learn_part", lambda self, name, *a, **b: (learned.append(name), learn(self, name, *a, **b))
    )
    method.fit(TRAIN)
    machines = [f"{m}.{grain}{number}" for m in TRAIN for grain in ("whole", "parts") for number in (0, 1)]
    tops = [f"{m}.{part}" for m in TRAIN for part in ("joint", "classifier")]
    assert learned == [*machines, "whole", "parts", *tops]


def test_each_part_learns_on_all_rows_below_it(monkeypatch):
    """Of all parts but the first machines: their losses take rows that are computed before."""
    method, seen = create("ccl", **SMALL), {}
    learn = ccl.CCL.learn_part

    def spy(self, name, learned, terms, n, replayed=False):
        given = {m: scaled(m, view.features, self.scaling, "cpu")[torch.arange(n)] for m, view in TRAIN.items()}
        if name in ("whole", "parts"):
            rows = {m: self.lower.of_grain(m, name, x).detach() for m, x in given.items()}
            expected = {key: value.item() for key, value in learned.terms(rows, torch.arange(n)).items()}
            found = {key: value.item() for key, value in terms(torch.arange(n)).items()}
            assert expected == pytest.approx(found, rel=1e-4)
            seen[name] = (n, found)
        if name.endswith(("joint", "classifier")):
            torch.manual_seed(9)
            seen[name] = (n, {key: value.item() for key, value in terms(torch.arange(n)).items()})
            torch.manual_seed(9)
            m = name.split(".")[0]
            codes = self.lower.codes(m, given[m]).detach()
            labels = torch.as_tensor(TRAIN[m].labels, dtype=torch.float32)
            if name.endswith("joint"):
                expected = learned.terms(codes)
            else:
                expected = learned.terms(self.lower.joints[m](codes).detach(), labels, torch.arange(n))
            assert {key: value.item() for key, value in expected.items()} == pytest.approx(seen[name][1], rel=1e-4)
        learn(self, name, learned, terms, n, replayed)

    monkeypatch.setattr(ccl.CCL, "learn_part", spy)
    method.fit(TRAIN)
    assert {name: n for name, (n, _) in seen.items()} == dict.fromkeys(
        ["whole", "parts", "image.joint", "image.classifier", "text.joint", "text.classifier"], 30
    )


@pytest.mark.parametrize("of", ["vectors", "sets"])
def test_negative_numbers_are_no_counts(of):
    train = counts(TRAIN)
    features = train["text"].features
    vectors, parts = features.vectors.copy(), features.sets.values.copy()
    (vectors[2] if of == "vectors" else parts[features.sets.starts[2]])[1] = -1
    bad = VectorsAndSets(vectors, mapped(lambda _: parts, features.sets))
    train["text"] = replace(train["text"], features=bad)
    with pytest.raises(UserError, match=r"text features of row 2 are below 0.*gaussian"):
        create("ccl", **SMALL | {"second_units": "counts"}).fit(train)


def test_a_fit_that_is_resumed_repeats_what_it_learned(tmp_path):
    def fit(file):
        method = create("ccl", **SMALL)
        method.checkpoint = file
        method.fit(TRAIN)
        return method.embed("image", TRAIN["image"].features)

    whole = fit(None)
    assert np.array_equal(fit(tmp_path / "final.pt"), whole)
    written = sorted(file.name for file in tmp_path.iterdir())
    assert len(written) == 15
    for name in written[-3:]:
        (tmp_path / name).unlink()
    assert np.array_equal(fit(tmp_path / "final.pt"), whole)


def test_an_item_is_embedded_alike_whatever_is_beside_it_and_vectors_alone_are_refused():
    method = create("ccl", **SMALL)
    assert method.fit(TRAIN, HELD_OUT).chosen["epochs"] in (1, 2, 3)
    for modality, view in HELD_OUT.items():
        whole = method.represented(modality, view.features)
        for row in (0, 7, int(np.argmax(view.features.sets.lengths))):
            assert np.allclose(method.represented(modality, view.features[row : row + 1])[0], whole[row], atol=1e-6)
    with pytest.raises(UserError, match="CCL: takes a vector and a set of each modality, given a vector of image"):
        create("ccl", **SMALL).fit(separable(30))
