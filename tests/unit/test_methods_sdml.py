"""SDML: each term against a literal loop over equation 1, the fixed projection, and what each parameter switches."""

import numpy as np
import pytest
import torch
from torch import nn

from cmr.data import View
from cmr.errors import UserError
from cmr.methods import sdml
from cmr.methods.sdml import SDML, Params, mean_error, projection

SMALL = {"hidden": 8, "dimensions": 6, "batch_size": 8, "epochs": 3}


def rows(n=20, seed=0, modality="image", labels_each=1):
    rng = np.random.default_rng(seed)
    labels = sum(np.roll(np.eye(3, dtype=np.uint8), k, axis=1) for k in range(labels_each))[np.arange(n) % 3]
    features = rng.normal(size=(n, 5)) + 2 * labels @ np.random.default_rng(9).normal(size=(3, 5))
    return {modality: View(np.array([f"i{k}" for k in range(n)]), features.astype(np.float32), labels)}


def untrained(modality="image", **change):
    method = SDML(Params(**SMALL | change), (modality,))
    torch.manual_seed(0)
    method.network = method.build({modality: 5}, 3)
    return method


def batch():
    view = rows(7)["image"]
    return [torch.tensor(view.features)], torch.tensor(view.labels, dtype=torch.float32)


def layer(linear, row):
    return [
        sum(w * x for w, x in zip(weights, row, strict=True)) + b
        for weights, b in zip(linear.weight.tolist(), linear.bias.tolist(), strict=True)
    ]


def literal(network, row, unit_length):
    """Three layers, ReLU after the first two, unit length: one row, number by number."""
    for module in network:
        row = layer(module, row) if isinstance(module, nn.Linear) else [max(0.0, x) for x in row]
    length = sum(x * x for x in row) ** 0.5 if unit_length else 1.0
    return [x / length for x in row]


@pytest.mark.parametrize("unit_length", [True, False])
@pytest.mark.parametrize(("norm", "power"), [("unsquared", 0.5), ("squared", 1.0)])
def test_terms_are_equation_1(norm, power, unit_length):
    method = untrained(norm=norm, unit_length=unit_length, reconstruction_weight=0.3)
    (x,), y = batch()
    p = projection(0, 6, 3)
    reconstruction = label = 0.0
    for row, labels in zip(x.tolist(), y.tolist(), strict=True):
        h = literal(method.network.encoder, row, unit_length)
        again = literal(method.network.decoder, h, unit_length)
        predicted = [sum(float(p[u, c]) * h[u] for u in range(6)) for c in range(3)]
        reconstruction += sum((a - b) ** 2 for a, b in zip(again, row, strict=True)) ** power / len(x)
        label += sum((a - b) ** 2 for a, b in zip(predicted, labels, strict=True)) ** power / len(x)
    terms = method.terms([x], y)
    assert float(terms["reconstruction"]) == pytest.approx(0.3 * reconstruction, rel=1e-5)
    assert float(terms["label"]) == pytest.approx(0.7 * label, rel=1e-5)


@pytest.mark.parametrize("norm", ["unsquared", "squared"])
def test_gradient_of_the_error(norm):
    predicted, wanted = torch.randn(4, 3, dtype=torch.float64, requires_grad=True), torch.randn(4, 3).double()

    def in_double(rows):
        errors = torch.linalg.vector_norm(rows - wanted, dim=1)
        return (errors**2 if norm == "squared" else errors).mean()

    slow = torch.empty(4, 3)
    ours = torch.autograd.grad(mean_error(predicted, wanted, norm), predicted)[0]
    for i in range(4):
        for j in range(3):
            step = torch.zeros(4, 3).double()
            step[i, j] = 1e-6
            slow[i, j] = (in_double(predicted + step) - in_double(predicted - step)).item() / 2e-6
    assert torch.allclose(ours.float(), slow, atol=1e-5)
    exact = torch.zeros(2, 3, requires_grad=True)
    assert torch.autograd.grad(mean_error(exact, torch.zeros(2, 3), norm), exact)[0].abs().max() == 0


def test_gradients_reach_every_weight_but_the_projection():
    method = untrained()
    sum(method.terms(*batch()).values()).backward()
    assert all(p.grad.abs().sum() > 0 for p in method.network.parameters())
    assert "projection" in dict(method.network.named_buffers())


@pytest.mark.parametrize(("weight", "gone"), [(0.0, "reconstruction"), (1.0, "label")])
def test_the_ends_of_lambda_take_exactly_one_term_away(weight, gone):
    terms = untrained(reconstruction_weight=weight).terms(*batch())
    assert {name for name, term in terms.items() if float(term) == 0} == {gone}


@pytest.mark.parametrize("change", [{"reconstruction_weight": 0.4}, {"norm": "squared"}, {"unit_length": False}])
def test_each_parameter_of_equation_1_changes_both_terms(change):
    before, after = untrained().terms(*batch()), untrained(**change).terms(*batch())
    assert all(float(before[name]) != float(after[name]) for name in ("reconstruction", "label"))


def test_projection_is_orthonormal_and_a_function_of_seed_and_sizes_alone():
    p = projection(3, 20, 7)
    assert np.allclose(p.T @ p, np.eye(7), atol=1e-6)
    torch.manual_seed(11)
    np.random.seed(11)
    assert np.array_equal(p, projection(3, 20, 7))
    assert not np.allclose(p, projection(4, 20, 7))


def test_projection_is_what_gram_and_schmidt_make_of_a_gaussian_matrix():
    """So its columns point anywhere, and are the same with any library of linear algebra."""
    drawn, columns = np.random.default_rng(3).standard_normal((6, 4)), []
    for column in drawn.T:
        left = column - sum((column @ before) * before for before in columns)
        columns.append(left / np.sqrt(np.sum(left**2)))
    assert np.allclose(projection(3, 6, 4), np.column_stack(columns), atol=1e-6)


def test_modalities_share_the_projection_and_nothing_else():
    image, text = (SDML(Params(**SMALL), (m,), seed=5) for m in ("image", "text"))
    image.fit(rows(modality="image"))
    alone = {name: array.copy() for name, array in image.state().items()}
    text.fit(rows(30, seed=1, modality="text"))
    assert np.array_equal(image.state()["network.projection"], text.state()["network.projection"])
    assert all(np.array_equal(array, image.state()[name]) for name, array in alone.items())


def test_training_leaves_the_projection_alone():
    method = SDML(Params(**SMALL), ("image",), seed=2)
    method.fit(rows())
    assert np.array_equal(method.state()["network.projection"], projection(2, 6, 3))


def test_more_classes_than_dimensions_is_an_error():
    with pytest.raises(UserError, match=r"3 classes .* dimensions to 3 or more"):
        SDML(Params(**SMALL | {"dimensions": 2}), ("image",)).fit(rows())


def test_several_labels_are_all_wanted():
    view = rows(12, labels_each=2)["image"]
    method = SDML(
        Params(**SMALL | {"epochs": 100, "reconstruction_weight": 0.0, "learning_rates": {"image": 0.01}}), ("image",)
    )
    method.fit({"image": view})
    predicted = method.embed("image", view.features) @ method.network.projection.numpy()
    assert all(set(np.argsort(-p)[:2]) == set(np.flatnonzero(y)) for p, y in zip(predicted, view.labels, strict=True))


def test_the_epoch_with_the_lowest_label_loss_on_validation_rows_is_kept():
    held_out = rows(9, seed=4)
    method = SDML(Params(**SMALL | {"epochs": 12, "learning_rates": {"image": 0.03}}), ("image",))
    history = method.fit(rows(), held_out)
    scores = [row["validation"] for row in history.rows]
    assert len(scores) == 12
    assert history.chosen == {"epochs": int(np.argmax(scores)) + 1}
    view, p = held_out["image"], method.network.projection.numpy()
    h = method.embed("image", view.features)
    losses = [np.sqrt(np.sum((p.T @ h[i] - view.labels[i]) ** 2)) for i in range(9)]
    assert -np.mean(losses) == pytest.approx(max(scores), rel=1e-6)


def test_each_modality_has_its_step():
    def rate(modality):
        seen = []
        method = untrained(modality, learning_rates={"image": 0.25}, learning_rate=0.125, epochs=1)
        original = sdml.Adam
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sdml, "Adam", lambda p, lr, betas: seen.append((lr, betas)) or original(p, lr, betas=betas))
            method.fit(rows(modality=modality))
        return seen

    assert rate("image") == [(0.25, (0.5, 0.999))]
    assert rate("audio") == [(0.125, (0.5, 0.999))]


def test_the_papers_sizes_and_rates_are_the_defaults():
    p = Params()
    network = SDML(p, ("image",)).build({"image": 4096}, 10)
    sizes = [m.out_features for m in (*network.encoder, *network.decoder) if isinstance(m, nn.Linear)]
    assert sizes == [1024, 1024, 512, 1024, 1024, 4096]
    for half in (network.encoder, network.decoder):
        assert [type(m) for m in half] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert p.scale == "none"
    assert (p.reconstruction_weight, p.batch_size, p.epochs, p.learning_rates["image"], p.learning_rate) == (
        0.5,
        100,
        200,
        1e-4,
        2e-4,
    )


def test_embeddings_have_unit_length():
    method = SDML(Params(**SMALL), ("image",))
    method.fit(rows())
    assert np.allclose(np.linalg.norm(method.embed("image", rows(6)["image"].features), axis=1), 1, atol=1e-6)


def test_a_batch_larger_than_the_data_and_a_class_with_one_item():
    view = rows(7)["image"]
    labels = np.zeros((7, 3), np.uint8)
    labels[:, 0], labels[3] = 1, [0, 1, 0]
    method = SDML(Params(**SMALL | {"batch_size": 50}), ("image",))
    history = method.fit({"image": View(view.ids, view.features, labels)})
    assert len(history.rows) == 3
    assert np.isfinite([row["label"] for row in history.rows]).all()
