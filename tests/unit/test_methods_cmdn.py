"""CMDN: each part's loss and its gradient against literal loops, and how the parts stand one upon the other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmr.errors import UserError
from cmr.methods import bimodal, cmdn
from cmr.methods.cmdn import Autoencoder, Lower, Params, shares
from synthetic import create, separable, small

SMALL = small("cmdn") | {"epochs": 3, "pretraining_epochs": 2}
TRAIN = separable(30, seed=3)


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


def assert_same(found, expected, over):
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    gradients = [torch.autograd.grad(value, over, retain_graph=True, allow_unused=True) for value in (found, expected)]
    for mine, literal in zip(*gradients, strict=True):
        assert (mine is None) == (literal is None)
        assert mine is None or torch.allclose(mine, literal, rtol=1e-7, atol=1e-10)


def squares(*layers):
    return sum(w**2 for layer in layers for line in layer.weight for w in line)


def test_the_stacked_autoencoder():
    torch.manual_seed(0)
    net, x = Autoencoder(5, 4, 3).double(), rows(6, 5)
    first, whole = 0, 0
    for row in x:
        hidden = relu(linear(net.first, row))
        first = first + sum((a - b) ** 2 for a, b in zip(linear(net.last, hidden), row, strict=True)) / 12
        again = linear(net.last, relu(linear(net.third, relu(linear(net.second, hidden)))))
        whole = whole + sum((a - b) ** 2 for a, b in zip(again, row, strict=True)) / 12
    over = list(net.parameters())
    terms = net.first_terms(x)
    assert_same(terms["reconstruction"], first, over)
    assert_same(terms["decay"], 0.0005 * squares(net.first, net.last), over)
    terms = net.terms(x)
    assert_same(terms["reconstruction"], whole, over)
    assert_same(terms["decay"], 0.00005 * squares(net.first, net.second, net.third, net.last), over)


def test_the_autoencoders_code_is_brought_between_0_and_1():
    torch.manual_seed(0)
    net, x = Autoencoder(5, 4, 3).double(), rows(6, 5)
    net.range[:] = torch.stack(net.code(x).aminmax())
    low, high = net.code(x).min(), net.code(x).max()
    assert torch.allclose(net(x), (net.code(x) - low) / (high - low))
    assert net(100 * x).max().item() == 1


def upper(**params):
    method = bimodal.BimodalAutoencoders(Params(**SMALL | {"layers": (5, 4), "levels": (3, 2)} | params), ("a", "b"))
    torch.manual_seed(0)
    method.network = method.build({"a": 4, "b": 3}, 3).double()
    for level in method.network.levels:  # biases other than those of the start
        torch.nn.init.normal_(level.encode["a"].bias, 0, 0.5)
    labels = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=torch.float64)
    return method, [rows(4, 4), rows(4, 3, seed=1)], labels


def mlp(layers, row):
    return relu(linear(layers[2], relu(linear(layers[0], row))))


def literal_level(level, x, y, share):
    """Error and label loss of (x, 0), (0, y) and (x, y), row by row."""
    error, label = 0, 0
    bias = level.encode["a"].bias
    for own, other, y_share in zip(x, y, share, strict=True):
        a = [(w * own).sum() for w in level.encode["a"].weight]
        b = [(w * other).sum() for w in level.encode["b"].weight]
        for use_a, use_b in ((1, 0), (0, 1), (1, 1)):
            j = sigmoid([use_a * p + use_b * q + r for p, q, r in zip(a, b, bias, strict=True)])
            for m, wanted in (("a", own), ("b", other)):
                made = sigmoid(linear(level.decode[m], j))
                error = error + sum((p - q) ** 2 for p, q in zip(made, wanted, strict=True)) / 2
            label = label + cross_entropy(linear(level.label, j), y_share)
    return error / (3 * len(x)), label / (3 * len(x))


def test_terms_of_the_upper_parts(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    method, inputs, labels = upper(weight_decay=0.02)
    net, share = method.network, labels / labels.sum(1, keepdim=True)
    below = {m: [mlp(net.mlp[m], row) for row in x] for m, x in zip(("a", "b"), inputs, strict=True)}
    label = sum(
        cross_entropy(linear(net.label[m], row), y) / 4
        for m in ("a", "b")
        for row, y in zip(below[m], share, strict=True)
    )
    reconstruction, level_label = 0, 0
    for level in net.levels:
        below = {m: [row.detach() for row in x] for m, x in below.items()}
        error, labels_here = literal_level(level, below["a"], below["b"], share)
        reconstruction, level_label = reconstruction + error, level_label + labels_here
        below = {m: [sigmoid(linear(level.encode[m], row)) for row in x] for m, x in below.items()}
    modules = [*net.mlp["a"][::2], *net.mlp["b"][::2], *net.label.values()]
    for level in net.levels:
        modules += [*level.encode.values(), *level.decode.values(), level.label]
    expected = {
        "label": label,
        "reconstruction": reconstruction,
        "level_label": level_label,
        "decay": 0.01 * squares(*modules),
    }
    found = method.terms(inputs, labels)
    assert set(found) == set(expected)
    for name in found:
        assert_same(found[name], expected[name], list(net.parameters()))


def test_what_is_embedded_is_the_last_level_of_one_modality_alone():
    method, (x, _), _ = upper()
    net = method.network
    for row, found in zip(x, net.embed["a"](x), strict=True):
        value = mlp(net.mlp["a"], row)
        for level in net.levels:
            value = sigmoid(linear(level.encode["a"], value))
        assert torch.allclose(found, value)
    assert net.levels[0].encode["a"].bias is net.levels[0].encode["b"].bias


def counts(train):
    return {m: replace(view, features=np.abs(view.features)) for m, view in train.items()}


def test_the_lower_parts_stand_one_upon_the_other():
    method = create("cmdn", **SMALL | {"second_units": "counts", "draws": 7})
    train = counts(TRAIN)
    method.fit(train)
    for first, (m, view) in zip((True, False), train.items(), strict=True):
        tower = method.lower.towers[m]
        scaled = torch.as_tensor(method.scaling[m](view.features, np.float32))
        seen = scaled if first else torch.as_tensor(7 * view.features / view.features.sum(axis=1, keepdims=True))
        assert [machine.units for machine in tower.machines] == ["gaussian" if first else "counts", "binary"]
        below = tower.machines[1](tower.machines[0](seen))
        inferred = method.lower.joint.infer(below, slice(0, 12) if first else slice(12, 24))
        code = tower.fused(torch.cat((tower.autoencoder(scaled), inferred), dim=1)).detach().numpy()
        assert code.shape == (30, 12)
        assert np.allclose(method.represented(m, view.features), code, atol=1e-5)
        standardised = method.upper.scaling[m](code)
        assert np.allclose(standardised.mean(axis=0), 0, atol=1e-3)
        embedded = method.embed(m, view.features)
        assert np.allclose(embedded.mean(axis=0), 0, atol=1e-4)
        low, high = tower.autoencoder.range
        assert (low.item(), high.item()) == pytest.approx(
            [x.item() for x in tower.autoencoder.code(scaled).aminmax()], abs=1e-6
        )


def test_every_lower_part_learns_once_and_in_turn(monkeypatch):
    method, learned = create("cmdn", **SMALL), []
    learn = cmdn.CMDN._learn
    monkeypatch.setattr(cmdn.CMDN, "_learn", lambda self, name, *a: (learned.append(name), learn(self, name, *a)))
    method.fit(TRAIN)
    of_modality = ["autoencoder1", "autoencoder", "machine0", "machine1"]
    expected = [f"{m}.{part}" for m in TRAIN for part in of_modality]
    assert learned == [*expected, "joint", "image.fused", "text.fused"]


def test_each_part_learns_on_all_rows_below_it(monkeypatch):
    method, given = create("cmdn", **SMALL | {"second_units": "counts", "draws": 7}), {}
    learn = cmdn.CMDN._learn

    def spy(self, name, part, terms, rows):
        given[name] = rows.clone()
        learn(self, name, part, terms, rows)

    monkeypatch.setattr(cmdn.CMDN, "_learn", spy)
    train = counts(TRAIN)
    method.fit(train)
    expected, tops = {}, []
    for m, view in train.items():
        tower = method.lower.towers[m]
        scaled = torch.as_tensor(method.scaling[m](view.features, np.float32))
        shared_out = torch.as_tensor(7 * view.features / view.features.sum(axis=1, keepdims=True))
        seen = scaled if m == "image" else shared_out
        middle = tower.machines[0](seen)
        tops.append(tower.machines[1](middle))
        expected |= {f"{m}.autoencoder1": scaled, f"{m}.autoencoder": scaled}
        expected |= {f"{m}.machine0": seen, f"{m}.machine1": middle}
    expected["joint"] = torch.cat(tops, dim=1)
    for (m, tower), top, columns in zip(method.lower.towers.items(), tops, (slice(0, 12), slice(12, 24)), strict=True):
        code = tower.autoencoder(torch.as_tensor(method.scaling[m](train[m].features, np.float32)))
        expected[f"{m}.fused"] = torch.cat((code, method.lower.joint.infer(top, columns)), dim=1)
    assert set(given) == set(expected)
    for name, rows_below in expected.items():
        assert torch.allclose(given[name], rows_below, atol=1e-5), name


def test_penalties_are_those_of_the_public_code():
    lower = Lower({"image": 5, "text": 4}, Params(**SMALL | {"second_units": "counts"}))
    for (m, tower), first in zip(lower.towers.items(), (0.001, 0.01), strict=True):
        assert [machine.units for machine in tower.machines] == [{"image": "gaussian", "text": "counts"}[m], "binary"]
        assert [machine.decay for machine in tower.machines] == [first, 0.001]
        assert [machine.target for machine in tower.machines] == [0.2, 0.1]
        assert [machine.sparsity_cost for machine in tower.machines] == [0.01, 0.01]
    for machine in (lower.joint, *(tower.fused for tower in lower.towers.values())):
        assert (machine.decay, machine.sparsity_cost) == (0.0001, 0)
    autoencoder = Autoencoder(5, 4, 3)
    for parameter in autoencoder.parameters():
        torch.nn.init.ones_(parameter)
    assert autoencoder.first_terms(torch.ones(1, 5))["decay"].item() == pytest.approx(0.001 / 2 * 2 * 20)
    assert autoencoder.terms(torch.ones(1, 5))["decay"].item() == pytest.approx(0.0001 / 2 * 2 * (20 + 12))


def test_negative_numbers_are_no_counts():
    with pytest.raises(UserError, match=r"text features of row 1 are below 0.*gaussian"):
        shares("text", np.array([[1.0, 2.0], [0.0, -1.0]]))
    assert shares("text", np.array([[1.0, 3.0], [0.0, 0.0]])).tolist() == [[0.25, 0.75], [0, 0]]


def test_a_fit_that_is_resumed_repeats_what_it_learned(tmp_path):
    def fit(file):
        method = create("cmdn", **SMALL)
        method.checkpoint = file
        method.fit(TRAIN)
        return method.embed("image", TRAIN["image"].features)

    whole = fit(None)
    assert np.array_equal(fit(tmp_path / "final.pt"), whole)
    written = sorted(file.name for file in tmp_path.iterdir())
    assert len(written) == 12
    for name in written[-3:]:
        (tmp_path / name).unlink()
    assert np.array_equal(fit(tmp_path / "final.pt"), whole)
