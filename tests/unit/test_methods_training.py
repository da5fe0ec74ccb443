"""The shared training loop: what it minimises, how it chooses an epoch, and that a killed fit ends the same."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from cmr import provenance
from cmr.errors import UserError
from cmr.methods import training
from cmr.methods.steps import Update
from cmr.methods.training import apply, feed_forward, load_network, network_state, train


def regression(seed=0, rows=30):
    torch.manual_seed(seed)
    x = torch.randn(rows, 4)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]])
    network = feed_forward((4, 6, 1), nn.ReLU)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)

    def terms(batch):
        dropped = nn.functional.dropout(x[batch], 0.1)  # draws on the global generator, which epochs reseed
        return {"fit": (network(dropped) - y[batch]).square().mean(), "size": 1e-3 * network[0].weight.square().sum()}

    return network, [Update(optimizer, terms)], lambda: -float((network(x) - y).square().mean())


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def run(epochs=12, **options):
    network, updates, score = regression()
    validate = score if options.pop("validating", False) else None
    history = train(network, updates, 30, epochs, 8, 3, "cpu", validate=validate, **options)
    return network, history


def test_every_term_is_in_the_history_and_the_loss_falls():
    _, history = run()
    assert [row["epoch"] for row in history.rows] == list(range(1, 13))
    assert set(history.rows[0]) == {"epoch", "fit", "size"}
    assert history.rows[-1]["fit"] < history.rows[0]["fit"]
    assert history.chosen == {}


def test_the_log_shows_how_far_a_fit_is(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "cmr")
    monkeypatch.setattr(training, "SECONDS_BETWEEN_LINES", 0)
    _, history = run(3, validating=True)
    assert [record.getMessage() for record in caplog.records] == [
        f"epoch {row['epoch']} of 3: fit {row['fit']:.4g}, size {row['size']:.4g}, validation {row['validation']:.4g}"
        for row in history.rows
    ]
    caplog.clear()
    monkeypatch.setattr(training, "SECONDS_BETWEEN_LINES", 1000)
    run(5)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["epoch 1 of 5", "epoch 5 of 5"]


@pytest.mark.parametrize(("name", "form"), [("Adam", {"fused": True}), ("RMSprop", {})])
def test_the_optimisers_are_torchs(name, form):
    ended = []
    for package, options in ((training, {}), (torch.optim, form)):
        network, (update,), _ = regression()
        optimizer = getattr(package, name)(network.parameters(), 0.01, weight_decay=0.1, **options)
        train(network, [Update(optimizer, update.terms)], 30, 3, 8, 3, "cpu")
        ended.append(weights(network))
    assert torch.equal(*ended)
    assert not torch.equal(ended[0], weights(regression()[0]))


@pytest.mark.slow
def test_no_method_imports_torchs_compiler():
    """A second of every job."""
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from cmr import registry; from synthetic import create, for_method, separable, small\n"
        "for name in registry.names('methods'):\n"
        "    if (info := registry.info('methods', name)).gpu:\n"
        "        group = ('image', 'text')[: 1 if info.modalities == 1 else 2]\n"
        "        method = create(name, group, **small(name))\n"
        "        part = for_method(name, separable())\n"
        "        method.fit({m: part[m] for m in group})\n"
        "        remedy = f'{name}: take its optimisers from cmr.methods.training'\n"
        "        assert 'torch._dynamo' not in sys.modules, remedy\n"
        "assert 'torch' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_best_epoch_is_kept_and_named():
    scores = iter([0.1, 0.5, 0.3, 0.2, 0.1, 0.0])
    network, updates, _ = regression()
    snapshots = []

    def validate():
        snapshots.append(weights(network))
        return next(scores)

    history = train(network, updates, 30, 6, 8, 0, "cpu", patience=3, validate=validate)
    assert history.chosen == {"epochs": 2}
    assert len(history.rows) == 5  # three epochs without a better one
    assert torch.equal(weights(network), snapshots[1])


@pytest.mark.parametrize("validating", [False, True])
@pytest.mark.parametrize("killed_at", [1, 5, 11])
def test_a_fit_killed_at_any_epoch_ends_like_an_uninterrupted_one(tmp_path, monkeypatch, validating, killed_at):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    whole, history = run(validating=validating)

    def kill(epoch):
        if epoch == killed_at + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(validating=validating, checkpoint=tmp_path / "c.pt", each_epoch=kill)
    resumed, resumed_history = run(validating=validating, checkpoint=tmp_path / "c.pt")
    assert torch.equal(weights(whole), weights(resumed))
    assert resumed_history == history


def test_a_resumed_fit_knows_the_best_score_of_before(tmp_path, monkeypatch):
    """Scores fall after the fifth epoch, and the fit is killed after the seventh."""
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0)

    def fitted(killed_at=None, **options):
        network, updates, _ = regression()
        epochs = [0]

        def begin(epoch):
            if epoch == killed_at:
                raise KeyboardInterrupt
            epochs.append(epoch)

        def score():
            return -abs(epochs[-1] - 5.0)

        history = train(network, updates, 30, 12, 8, 3, "cpu", validate=score, each_epoch=begin, **options)
        return weights(network), history

    whole, history = fitted()
    with pytest.raises(KeyboardInterrupt):
        fitted(killed_at=8, checkpoint=tmp_path / "c.pt")
    resumed, resumed_history = fitted(checkpoint=tmp_path / "c.pt")
    assert resumed_history == history
    assert history.chosen == {"epochs": 5}
    assert torch.equal(whole, resumed)


def test_the_seconds_of_a_resumed_fit_are_those_of_all_processes(tmp_path, monkeypatch):
    with provenance.used():
        run(checkpoint=tmp_path / "c.pt")
    saved = torch.load(tmp_path / "c.pt", weights_only=True)
    assert saved["seconds"] > 0
    torch.save(saved | {"seconds": 100.0}, tmp_path / "c.pt")
    with provenance.used() as usage:
        run(checkpoint=tmp_path / "c.pt")
    assert 100 < usage["seconds"] < 200
    with provenance.used() as usage:
        pass
    assert usage["seconds"] < 100
    with provenance.used():
        run(14, checkpoint=tmp_path / "c.pt")
    assert 100 < torch.load(tmp_path / "c.pt", weights_only=True)["seconds"] < 200, "for the next process"


def test_a_finished_checkpoint_is_not_trained_again(tmp_path):
    first, _ = run(checkpoint=tmp_path / "c.pt")
    seen = []
    again, _ = run(checkpoint=tmp_path / "c.pt", each_epoch=seen.append)
    assert seen == []
    assert torch.equal(weights(first), weights(again))


def test_a_loss_that_is_not_finite_names_epoch_and_term():
    network, _, _ = regression()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)

    def terms(batch):
        return {"good": weights_sum(network), "bad": weights_sum(network) * float("nan")}

    with pytest.raises(UserError, match=r"epoch 1: the loss term 'bad' is nan"):
        train(network, [Update(optimizer, terms)], 30, 2, 8, 0, "cpu")


def weights_sum(network):
    return sum(p.sum() for p in network.parameters())


def test_batches_cover_all_rows_but_a_last_single_one():
    network, _, _ = regression()
    optimizer = torch.optim.SGD(network.parameters(), 0.0)
    seen = []

    def terms(batch):
        seen.append(sorted(batch.tolist()))
        return {"t": weights_sum(network)}

    train(network, [Update(optimizer, terms)], 9, 1, 4, 0, "cpu")
    assert [len(b) for b in seen] == [4, 4]
    seen.clear()
    train(network, [Update(optimizer, terms)], 5, 1, 50, 0, "cpu")  # a batch larger than the data
    assert seen == [[0, 1, 2, 3, 4]]
    seen.clear()
    train(network, [Update(optimizer, terms)], 1, 2, 4, 0, "cpu")  # a single row is all that there is
    assert seen == [[0], [0]]


def test_each_batch_but_the_first_of_an_epoch_is_announced_while_the_one_before_is_computed_with():
    network, (update,), _ = regression()
    seen = []

    def terms(batch):
        seen.append(("computed", batch.tolist()))
        return update.terms(batch)

    def announce(batch):
        seen.append(("announced", batch.tolist()))

    train(network, [Update(update.optimizer, terms)], 30, 2, 8, 3, "cpu", announce=announce)
    batches = [batch for what, batch in seen if what == "computed"]
    wanted = []
    for epoch in (batches[:4], batches[4:]):
        for number, batch in enumerate(epoch):
            wanted += [("announced", epoch[number + 1])] if number < 3 else []
            wanted.append(("computed", batch))
    assert seen == wanted


def test_no_two_epochs_of_any_seeds_take_the_rows_or_draw_alike():
    orders, draws = [], []

    def terms(batch):
        orders.append(tuple(batch.tolist()))
        draws.append(torch.rand(()).item())
        return {"t": weights_sum(network)}

    for seed in range(4):
        network, _, _ = regression()
        train(network, [Update(torch.optim.SGD(network.parameters(), 0.0), terms)], 30, 4, 30, seed, "cpu")
    assert len(orders) == len(set(orders)) == len(set(draws)) == 16


def test_a_network_learns_in_training_mode_and_is_validated_in_evaluation_mode():
    network, (update,), _ = regression()
    seen = []

    def terms(batch):
        seen.append(("learns", network.training))
        return update.terms(batch)

    def validate():
        seen.append(("is validated", network.training))
        return 0.0

    train(network, [Update(update.optimizer, terms)], 30, 2, 30, 0, "cpu", validate=validate)
    assert seen == [("learns", True), ("is validated", False)] * 2
    assert not network.training


def test_updates_take_turns_on_each_batch():
    order = []
    network, _, _ = regression()

    def update(name):
        def terms(batch):
            order.append(name)
            return {name: weights_sum(network)}

        return Update(torch.optim.SGD(network.parameters(), 0.0), terms)

    train(network, [update("discriminator"), update("projector")], 8, 1, 4, 0, "cpu")
    assert order == ["discriminator", "projector"] * 2


def test_network_state_round_trip_and_blocks():
    network = feed_forward((4, 6, 2), nn.Tanh, nn.Tanh)
    assert [type(m).__name__ for m in network] == ["Linear", "Tanh", "Linear", "Tanh"]
    other = feed_forward((4, 6, 2), nn.Tanh, nn.Tanh)
    load_network(other, network_state(network))
    features = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    assert np.allclose(apply(network, features, "cpu", block=3), apply(other, features, "cpu"), atol=1e-7)
