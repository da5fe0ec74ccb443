"""GPLDAN: each loss term against a literal loop over the paper's formula, what each parameter switches, scoring."""

import math

import numpy as np
import pytest
import torch

from cmr import registry
from cmr.data import Items
from cmr.datasets.splitting import stratified, with_held_out
from cmr.methods import deep, gpldan, training
from cmr.methods.gpldan import GPLDAN, Params, fused_cosine, mutual, original_distances, unpaired
from cmr.methods.scaling import Scaling
from synthetic import separable
from toy_plan import Project, experiment, written_features

NO_LABELS = torch.empty(0)
SMALL = {"dimension": 6, "hidden": 8, "classifier_hidden": 5, "batch_size": 10, "epochs": 3, "learning_rate": 1e-2}


def rows(n, *shape, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def model(seed=0, **params):
    method = GPLDAN(Params(**SMALL | params), ("image", "text"))
    torch.manual_seed(seed)
    method.network = method.build({"image": 5, "text": 4}, 0)
    method.network.eval()
    return method


def cosine_distance(a, b):
    """Eq. 5, element by element."""
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return 1 - dot / math.sqrt(sum(float(x) ** 2 for x in a)) / math.sqrt(sum(float(y) ** 2 for y in b))


def fused(x, attention):
    """Eqs. 2 and 3 of representations (k, H): the columns of x weighted by the summed attention."""
    return [sum(float(x[c, h]) * float(attention[c]) for c in range(len(x))) for h in range(x.shape[1])]


def literal_distances(x, a, y, b):
    return [
        [cosine_distance(fused(x[i], a[i] + b[j]), fused(y[j], a[i] + b[j])) for j in range(len(y))]
        for i in range(len(x))
    ]


def test_fused_cosine_is_equations_2_3_and_5_of_every_pair():
    x, y = rows(5, 4, 6), rows(3, 4, 6, seed=1)
    a, b = torch.softmax(rows(5, 4, seed=2), 1), torch.softmax(rows(3, 4, seed=3), 1)
    expected = 1 - np.array(literal_distances(x, a, y, b))
    assert np.allclose(fused_cosine(x, a, y, b).numpy(), expected, atol=1e-6)


def test_fused_cosine_with_a_row_of_zeros_is_zero():
    a = torch.full((2, 4), 0.25)
    assert not fused_cosine(torch.zeros(2, 4, 6), a, rows(2, 4, 6).float(), a).any()


def test_the_gradient_of_the_fused_cosine_is_that_of_its_literal_form():
    x, y = rows(3, 2, 4).requires_grad_(), rows(3, 2, 4, seed=1).requires_grad_()
    a, b = (torch.softmax(rows(3, 2, seed=s), 1).requires_grad_() for s in (2, 3))
    weights = rows(3, 3, seed=4)
    total = 0
    for i in range(3):
        for j in range(3):
            u, v = x[i].T @ (a[i] + b[j]), y[j].T @ (a[i] + b[j])
            total = total + weights[i, j] * (u @ v) / u.norm() / v.norm()
    found = torch.autograd.grad((fused_cosine(x, a, y, b) * weights).sum(), (x, a, y, b))
    for gradient, expected in zip(found, torch.autograd.grad(total, (x, a, y, b)), strict=True):
        assert torch.allclose(gradient, expected, atol=1e-5)


def test_attention_is_equation_1():
    projector = model().network.projector
    abstract = rows(3, 24).float()
    representations, attention = projector.attended(abstract)
    first, second = projector.attention[0].weight, projector.attention[2].weight
    assert (first.shape, second.shape) == ((3, 6), (1, 3))  # D = H/2
    for row, x, a in zip(abstract, representations, attention, strict=True):
        columns = [row[6 * c : 6 * c + 6] for c in range(4)]
        assert torch.equal(x, torch.stack(columns))
        scores = [(second[0] @ torch.tanh(first @ column)).item() for column in columns]
        total = sum(math.exp(s) for s in scores)
        assert a.tolist() == pytest.approx([math.exp(s) / total for s in scores], rel=1e-5)


def test_target_distances_are_those_of_equation_6():
    u, c = rows(5, 4), rows(5, 3, seed=1)
    d = [
        [math.sqrt(cosine_distance(u[i], u[j]) * cosine_distance(c[i], c[j])) if i != j else 0.0 for j in range(5)]
        for i in range(5)
    ]
    mean = sum(sum(row) for row in d) / 20
    assert np.allclose(original_distances(u, c).numpy(), np.array(d) / mean, atol=1e-5)


@pytest.mark.parametrize(("reading", "of"), [("absolute", abs), ("squared", lambda x: x * x), ("literal", lambda x: x)])
def test_unpaired_distances_are_equation_6(reading, of):
    distances, target = rows(4, 4), rows(4, 4, seed=1)
    expected = 0.0
    for i in range(4):
        expected += sum(of(float(distances[i, j] - target[i, j])) for j in range(4) if j != i) / 4
    assert float(unpaired(distances, target, reading)) == pytest.approx(expected / 4)


def test_mutual_distances_are_equation_8():
    vt, vv, tt = rows(4, 4), rows(4, 4, seed=1), rows(4, 4, seed=2)
    expected = 0.0
    for i in range(4):
        for j in range(4):
            if i != j:
                expected += abs(vt[i, j] - vv[i, j]) + abs(vt[i, j] - tt[i, j]) + abs(vv[i, j] - tt[i, j])
    assert float(mutual(vt, vv, tt)) == pytest.approx(float(expected) / 16)


@pytest.mark.parametrize("function", [unpaired, mutual, fused_cosine])
def test_gradients_are_those_of_finite_differences(function, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # float32 is too coarse for differences
    if function is fused_cosine:
        inputs = [rows(3, 2, 4), torch.softmax(rows(3, 2, seed=2), 1), rows(2, 2, 4, seed=1), rows(2, 2).abs()]
    else:
        inputs = [rows(4, 4, seed=s) for s in range(3 if function is mutual else 2)]
    arguments = ["absolute"] if function is unpaired else []
    inputs = [x.requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(lambda *x: function(*x, *arguments), inputs)


@pytest.mark.parametrize(("reading", "of"), [("absolute", np.abs), ("squared", np.square)])
def test_terms_are_equations_9_and_11(reading, of):
    """Squared too: where every l_p is below its d, the sum of d − l_p is the same for any d of mean 1."""
    method = model(alpha=0.5, beta=0.3, classifier_weight=0.1, unpaired=reading)
    u, c = rows(4, 5).float(), rows(4, 4, seed=1).float()
    projector = method.network.projector
    v, t = (projector(m, x) for m, x in (("image", u), ("text", c)))
    (x, a), (y, b) = projector.attended(v), projector.attended(t)
    vt, vv, tt = (
        np.array(literal_distances(*p, *q)) for p, q in (((x, a), (y, b)), ((x, a), (x, a)), ((y, b), (y, b)))
    )
    others = ~np.eye(4, dtype=bool)
    d = original_distances(u, c).numpy()
    classified = [torch.sigmoid(method.network.classifier(rows)) for rows in (v, t)]
    expected = {
        "pairwise": np.mean([vt[i, i] for i in range(4)]),
        "unpaired": 0.5 * sum(of(distance - d)[others].sum() for distance in (vt, vv, tt)) / 16,
        "mutual": 0.3 * (abs(vt - vv) + abs(vt - tt) + abs(vv - tt))[others].sum() / 16,
        "confusion": -0.1 * float((1 - classified[0]).log().mean() + classified[1].log().mean()),  # flipped
    }
    found = {name: float(term) for name, term in method.terms([u, c], NO_LABELS).items()}
    assert found == pytest.approx(expected, abs=1e-5)
    true = -float(classified[0].log().mean() + (1 - classified[1]).log().mean())
    assert float(method.classifier_terms([u, c])["modality"]) == pytest.approx(true, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "terms"),
    [
        ({"alpha": 0.0}, {"unpaired"}),
        ({"beta": 0.0}, {"mutual"}),
        ({"classifier_weight": 0.0}, {"confusion"}),
        ({"unpaired": "squared"}, {"unpaired"}),
        ({"unpaired": "literal"}, {"unpaired"}),
        ({"fusion": "whole"}, {"pairwise", "unpaired", "mutual"}),  # every distance, but not the classifier
        ({"fusion": "mean"}, {"pairwise", "unpaired", "mutual"}),
    ],
)
def test_each_component_changes_exactly_its_terms(change, terms):
    u, c = rows(6, 5).float(), rows(6, 4, seed=1).float()
    before, after = model().terms([u, c], NO_LABELS), model(**change).terms([u, c], NO_LABELS)
    assert {name for name in before if float(before[name]) != float(after[name])} == terms
    weights = {"alpha": "unpaired", "beta": "mutual", "classifier_weight": "confusion"}
    assert all(float(after[weights[name]]) == 0 for name in change if name in weights)


@pytest.mark.parametrize("fusion", ["whole", "mean"])
def test_without_attention_plain_vectors_are_compared(fusion):
    method = model(fusion=fusion)
    features = {m: rows(3, d, seed=d).numpy().astype(np.float32) for m, d in (("image", 5), ("text", 4))}
    method.scaling = {m: Scaling.fit(f, "none") for m, f in features.items()}
    embedded = {m: method.embed(m, f) for m, f in features.items()}
    abstract = {m: method.network.projector(m, torch.as_tensor(f)).detach() for m, f in features.items()}
    vectors = abstract if fusion == "whole" else {m: x.view(3, 4, 6).mean(1) for m, x in abstract.items()}
    expected = [[1 - cosine_distance(v, t) for t in vectors["text"]] for v in vectors["image"]]
    assert np.allclose(method.similarity("image", embedded["image"], "text", embedded["text"]), expected, atol=1e-6)


@pytest.mark.parametrize("rows_at_once", [2, 512])
def test_similarity_is_the_cosine_of_the_fused_pair_in_blocks(monkeypatch, rows_at_once):
    monkeypatch.setattr(gpldan, "ROWS_AT_ONCE", rows_at_once)
    method = GPLDAN(Params(**SMALL), ("image", "text"))
    part = separable(n=15)
    method.fit(part)
    embedded = {m: method.embed(m, part[m].features[:7]) for m in part}
    assert embedded["image"].shape == (7, 4 * 6 + 4)
    projector = method.network.projector
    sides = []
    for modality in part:
        inputs = method.scaling[modality](part[modality].features[:7], np.float32)
        sides += projector.attended(projector(modality, torch.as_tensor(inputs)))
    expected = 1 - np.array(literal_distances(*(side.detach() for side in sides)))
    scores = method.similarity("image", embedded["image"], "text", embedded["text"])
    assert np.allclose(scores, expected, atol=1e-5)
    back = method.similarity("text", embedded["text"], "image", embedded["image"])
    assert np.allclose(back, expected.T, atol=1e-5)


def test_elements_are_set_to_zero_in_training_only():
    projector = model(mask=0.5, hidden=40).network.projector
    seen = []
    projector.own["image"].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    inputs = torch.ones(200, 5)
    projector.train()("image", inputs)
    projector.eval()("image", inputs)
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}  # kept elements are as they were
    assert 0.4 < float(seen[0].mean()) < 0.6
    assert torch.equal(seen[1], inputs)


def test_each_optimiser_moves_its_own_network():
    method = model(alpha=0.0, beta=0.0)
    u, c = rows(6, 5).float(), rows(6, 4, seed=1).float()
    method.classifier_terms([u, c])["modality"].backward()
    assert all(w.grad is None for w in method.network.projector.parameters())
    assert any(w.grad.any() for w in method.network.classifier.parameters())
    optimisers = []

    def record(network, updates, **options):
        optimisers.extend(update.optimizer for update in updates)
        return training.History()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep, "train", record)
        method.fit(separable(n=12))
    classifier, projector = optimisers
    assert (type(classifier), type(projector)) == (training.RMSprop, training.Adam)
    assert (classifier.defaults["lr"], projector.defaults["lr"]) == (5e-5, SMALL["learning_rate"])
    assert projector.defaults["weight_decay"] == Params().weight_decay == 1e-4
    for optimiser, name in ((classifier, "classifier"), (projector, "projector")):
        own = {id(w) for w in getattr(method.network, name).parameters()}
        assert {id(w) for group in optimiser.param_groups for w in group["params"]} == own


@pytest.mark.parametrize("batch", [2, 3, 50])
def test_small_and_large_batches_and_equal_rows_give_finite_terms(batch):
    part = {m: view.rows(np.array([0, 0, 0, 0, 4, 5, 6])) for m, view in separable().items()}
    history = GPLDAN(Params(**SMALL | {"batch_size": batch}), ("image", "text")).fit(part)
    assert np.isfinite([list(row.values()) for row in history.rows]).all()


class Sealed:
    """A view whose labels nobody may ask for."""

    def __init__(self, view):
        self.ids, self.features, self.groups, self._view = view.ids, view.features, view.groups, view

    def __len__(self):
        return len(self.ids)

    def rows(self, index):
        return Sealed(self._view.rows(index))

    def without_labels(self):
        return self._view.without_labels()

    @property
    def labels(self):
        raise AssertionError("labels were read")


def test_fitting_never_asks_for_labels():
    train, validation = ({m: Sealed(v) for m, v in separable(n, seed=s).items()} for n, s in ((30, 0), (15, 1)))
    history = GPLDAN(Params(**SMALL), ("image", "text")).fit(train, validation)
    assert history.chosen["epochs"] in (1, 2, 3)


def test_labels_cannot_reach_training_through_the_framework(tmp_path):
    """Two fits on items that differ in their classes alone end with the same weights, history and choices."""
    assert registry.info("methods", "gpldan").labels is False
    part = separable(n=60)
    classes = part["image"].labels.argmax(1)
    values = {modality: view.features for modality, view in part.items()}
    method = {"id": "g", "method": "gpldan", "params": SMALL, "tune": {"alpha": [0.1, 1.0]}}
    parts = stratified([str(c) for c in classes], {"train": 0.7, "test": 0.3}, 0)
    made, split = [], None
    for name, labels in (("true", classes), ("shuffled", np.random.default_rng(0).permutation(classes))):
        data = written_features(tmp_path / name, values, labels, parts)
        project = Project(tmp_path / name, {**data, **experiment(values, method)})
        with project.by_hand(project.only("split")) as work:  # rows are held out by class: those of the first
            split = split or with_held_out(Items.read(work.result.source("prepare").files[0]), parts)
            split.write(work.result.files[0])
        fit = project.make(project.only("fit"))
        model, history = (project.path(file).read_bytes() for file in fit.files)
        made.append((model, history, project.record(fit)["selection"]))
    assert made[0] == made[1]
