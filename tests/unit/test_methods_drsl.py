"""DRSL: the loss against a literal loop, the split first layer and its gradient against all pairs written out."""

import numpy as np
import pytest
import torch
from torch import nn

from cmr.data import View
from cmr.methods import relation, training
from cmr.methods.drsl import DRSL, Network, Params, relation_loss
from cmr.methods.relation import PairNorm, PairScores, Relation
from cmr.store import read_arrays, write_arrays

SMALL = {"hidden": 8, "representation": 5, "batch_size": 8, "epochs": 3, "learning_rate": 1e-2}
FUSIONS = {
    "concatenation": lambda u, v: [*u, *v],
    "multiplication": lambda u, v: [x * y for x, y in zip(u, v, strict=True)],
    "addition": lambda u, v: [x + y for x, y in zip(u, v, strict=True)],
    "subtraction": lambda u, v: [x - y for x, y in zip(u, v, strict=True)],
}
NETWORKS = ("wikipedia", "pascal_sentence", "xmedianet", "public_code")


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """So that a few rows are several tiles, the last of them smaller."""
    monkeypatch.setattr(relation, "CACHED", (2, 3))
    monkeypatch.setattr(relation, "STREAMED", (3, 4))


def part(n=20, seed=0):
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 3
    labels = np.eye(3, dtype=np.uint8)[classes]
    ids = np.array([f"i{k}" for k in range(n)])
    return {
        m: View(ids, (rng.normal(size=(n, d)) + 2 * rng.normal(size=(3, d))[classes]).astype(np.float32), labels)
        for m, d in (("image", 5), ("text", 4))
    }


def fitted(**change):
    method = DRSL(Params(**SMALL | change), ("image", "text"))
    method.fit(part())
    return method


def representations(n=7, m=5, size=4, seed=0):
    torch.manual_seed(seed)
    return torch.randn(n, size, dtype=torch.float64), torch.randn(m, size, dtype=torch.float64)


def pairs_written_out(u, v, fusion):
    """The fused rows (n·m, ·) of all pairs, one after the other."""
    rows = [[FUSIONS[fusion](list(a), list(b)) for b in v] for a in u]
    return torch.stack([torch.stack(row) for line in rows for row in line])


def literal(network, u, v):
    """The relation network on every pair, by torch's own layers."""
    hidden = network.first(pairs_written_out(u, v, network.fusion))
    if network.norm is not None:
        hidden = nn.BatchNorm1d.forward(network.norm, hidden)
    return network.rest(torch.relu(hidden)).view(len(u), len(v))


def test_loss_is_equation_10():
    scores = torch.randn(4, 5)
    first, second = [0, 1, 2, 0], [0, 0, 1, 2, 2]
    similar = torch.tensor([[a == b for b in second] for a in first])
    expected = sum(
        (float(scores[p, q]) - (1.0 if first[p] == second[q] else 0.0)) ** 2 for p in range(4) for q in range(5)
    )
    assert float(relation_loss(scores, similar)) == pytest.approx(expected, rel=1e-6)
    assert torch.autograd.gradcheck(lambda r: relation_loss(r, similar), scores.double().requires_grad_())


@pytest.mark.parametrize("network", NETWORKS)
def test_the_term_is_equation_10_over_all_pairs_of_the_batch(network):
    method = fitted(network=network)
    x, y = torch.randn(6, 5), torch.randn(6, 4)
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1], [1, 0, 0]])
    scores = method.similarity(
        "image",
        method.network.embed["image"](x).detach().numpy(),
        "text",
        method.network.embed["text"](y).detach().numpy(),
    )
    expected = 0.0
    for p in range(6):
        for q in range(6):
            share = any(a == b == 1 for a, b in zip(labels[p].tolist(), labels[q].tolist(), strict=True))
            expected += (float(scores[p, q]) - float(share)) ** 2
    terms = method.terms([x, y], labels)  # a fitted network is in evaluation mode
    assert set(terms) == {"relation"}
    assert terms["relation"].item() == pytest.approx(expected, rel=1e-4)
    written_out = literal(
        method.network.relation, *(method.network.embed[m](z) for m, z in (("image", x), ("text", y)))
    )
    error = sum((written_out[p, q] - float((labels[p] * labels[q]).any())) ** 2 for p in range(6) for q in range(6))
    weights = list(method.network.parameters())
    mine, theirs = (torch.autograd.grad(value, weights) for value in (terms["relation"], error))
    for one, other in zip(mine, theirs, strict=True):  # those of the modalities' networks too
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)
    method.params = Params(**SMALL, network=network, divide_by_batch=True)
    assert method.terms([x, y], labels)["relation"].item() == pytest.approx(expected / 6, rel=1e-4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("layers", "norm"), [(1, False), (2, True), (1, True), (2, False)])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_relation_is_the_network_on_every_pair_with_its_gradient(fusion, layers, norm, training):
    torch.manual_seed(1)
    network = Relation(fusion, 4, 6, layers, norm).double().train(training)
    twin = Relation(fusion, 4, 6, layers, norm).double().train(training)
    twin.load_state_dict(network.state_dict())
    u, v = (side.requires_grad_() for side in representations())
    scores, expected = network(u, v), literal(twin, u, v)
    assert torch.allclose(scores, expected, atol=1e-12)
    weights = torch.randn(7, 5, dtype=torch.float64)
    ours = torch.autograd.grad((scores * weights).sum(), [u, v, *network.parameters()])
    theirs = torch.autograd.grad((expected * weights).sum(), [u, v, *twin.parameters()])
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(ours, theirs, strict=True))
    for (name, a), b in zip(network.named_buffers(), twin.buffers(), strict=True):
        assert torch.allclose(a.double(), b.double()), name


@pytest.mark.parametrize(("layers", "norm"), [(1, False), (2, True)])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_streamed_scores_are_those_of_all_pairs(fusion, layers, norm):
    network = Relation(fusion, 4, 6, layers, norm).double().eval()
    u, v = representations(10, 9)
    with torch.no_grad():
        assert torch.allclose(network.stream(u, v), literal(network, u, v), atol=1e-12)


@pytest.mark.parametrize("cached", [(1, 1), (2, 3), (100, 100)])
def test_pair_scores_are_the_sum_over_hidden_neurons_with_its_gradient(monkeypatch, cached):
    monkeypatch.setattr(relation, "CACHED", cached)
    torch.manual_seed(3)
    a, b, w = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((5, 6), (4, 6), (6,)))
    expected = [
        [sum(float(w[k]) * max(0.0, float(a[i, k] + b[j, k])) for k in range(6)) for j in range(4)] for i in range(5)
    ]
    assert torch.allclose(PairScores.apply(a, b, w), torch.tensor(expected).double())
    assert torch.autograd.gradcheck(PairScores.apply, (a, b, w))


def test_pair_scores_have_autograds_gradient_at_the_papers_width():
    torch.manual_seed(0)
    a, b, w = torch.randn(9, 1024), torch.randn(11, 1024), torch.randn(1024) / 32
    gradient = torch.randn(9, 11)
    ours = [x.clone().requires_grad_() for x in (a, b, w)]
    theirs = [x.clone().requires_grad_() for x in (a, b, w)]
    PairScores.apply(*ours).backward(gradient)
    (torch.relu(theirs[0][:, None] + theirs[1]) @ theirs[2]).backward(gradient)
    for x, y in zip(ours, theirs, strict=True):
        assert torch.allclose(x.grad, y.grad, rtol=1e-4, atol=1e-4)


def test_moments_over_all_pairs_follow_from_the_two_sides():
    torch.manual_seed(2)
    norm, plain = PairNorm(6).double(), nn.BatchNorm1d(6).double()
    for seed in range(3):
        a, b = representations(7, 5, 6, seed)
        left, right = norm.of_sides(a, 3 * b + 1)
        expected = plain((a[:, None] + (3 * b + 1)).flatten(0, 1)).view(7, 5, 6)
        assert torch.allclose(left[:, None] + right, expected, atol=1e-12)
    assert torch.allclose(norm.running_mean, plain.running_mean)
    assert torch.allclose(norm.running_var, plain.running_var)
    assert norm.num_batches_tracked == plain.num_batches_tracked == 3


def test_both_directions_are_the_same_scores():
    method = fitted()
    image, text = (method.embed(m, part(9, 1)[m].features) for m in ("image", "text"))
    forward = method.similarity("image", image, "text", text[:4])
    assert forward.shape == (9, 4)
    assert np.allclose(forward, method.similarity("text", text[:4], "image", image).T)


@pytest.mark.parametrize(
    ("network", "first", "second", "hidden", "normalised", "normalised_relation"),
    [
        ("wikipedia", [1024, 300], [1024, 300], [1024], False, False),
        ("pascal_sentence", [300], [1024, 300], [1024], False, False),
        ("xmedianet", [1024, 1024, 300], [1024, 1024, 300], [1024], True, False),
        ("public_code", [1024, 1024, 300], [1024, 1024, 300], [1024, 1024], True, True),
    ],
)
def test_the_networks_are_the_papers(network, first, second, hidden, normalised, normalised_relation):
    model = Network({"image": 4096, "text": 300}, Params(network=network))
    for modality, sizes in (("image", first), ("text", second)):
        branch = list(model.embed[modality])
        assert [m.out_features for m in branch if isinstance(m, nn.Linear)] == sizes
        assert sum(isinstance(m, nn.ReLU) for m in branch) == len(sizes)
        assert sum(isinstance(m, nn.BatchNorm1d) for m in branch) == len(sizes) * normalised
    linear = [m for m in model.relation.modules() if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linear] == [*hidden, 1]
    assert linear[0].in_features == 600
    norms = [m for m in model.relation.modules() if isinstance(m, nn.BatchNorm1d)]
    assert len(norms) == len(hidden) * normalised_relation


@pytest.mark.parametrize("fusion", ["multiplication", "addition", "subtraction"])
def test_the_other_fusions_have_300_inputs(fusion):
    assert Relation(fusion, 300, 1024, 1, False).first.in_features == 300


def test_a_fusion_changes_the_loss():
    batch = [torch.randn(6, 5), torch.randn(6, 4)], torch.eye(3)[[0, 1, 2, 0, 1, 2]]

    def loss(fusion):
        method = DRSL(Params(**SMALL, fusion=fusion), ("image", "text"))
        method.fit(part())
        torch.manual_seed(0)
        method.network = method._network()
        return float(method.terms(*batch)["relation"])

    assert len({loss(fusion) for fusion in FUSIONS}) == 4


@pytest.mark.parametrize("network", NETWORKS)
def test_state_survives_a_file(network, tmp_path):
    method = fitted(network=network)
    write_arrays(tmp_path / "model.safetensors", method.state())
    again = DRSL(Params(**SMALL, network=network), ("image", "text"))
    again.load_state(read_arrays(tmp_path / "model.safetensors"))
    for m in ("image", "text"):
        assert np.array_equal(again.embed(m, part()[m].features), method.embed(m, part()[m].features))


def test_the_step_decays_by_epoch(monkeypatch):
    rates = []
    original = training.Adam.step

    def step(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(training.Adam, "step", step)
    fitted(batch_size=20, decay=0.5)
    assert rates == pytest.approx([1e-2, 5e-3, 2.5e-3])


def test_the_epoch_is_chosen_on_validation_rows_only(monkeypatch):
    scores = iter([0.2, 0.9, 0.1])
    monkeypatch.setattr(DRSL, "validation_score", lambda self, held_out: next(scores))
    history = DRSL(Params(**SMALL), ("image", "text")).fit(part(), part(9, seed=1))
    assert history.chosen == {"epochs": 2}


@pytest.mark.parametrize("network", NETWORKS)
def test_batches_that_are_out_of_the_ordinary(network):
    """A batch larger than the data, batches of two rows, and one class in a whole batch."""
    for change in ({"batch_size": 50}, {"batch_size": 2, "epochs": 1}):
        history = DRSL(Params(**SMALL | change, network=network), ("image", "text")).fit(part(9))
        assert np.isfinite([row["relation"] for row in history.rows]).all()
    method = fitted(network=network)
    one_class = torch.eye(3)[[1, 1, 1]]
    method.network.train()
    assert np.isfinite(float(method.terms([torch.randn(3, 5), torch.randn(3, 4)], one_class)["relation"]))
