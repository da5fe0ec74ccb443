"""Every method whose steps a GPU may replay: replayed ones compute the same bits as steps that are taken one by one.

On an imitation of CUDA's graphs; tests/gpu compares on a real GPU.
"""

import numpy as np
import pytest
import torch
from torch import nn

from cmr import registry
from cmr.errors import UserError
from cmr.methods.steps import Update
from cmr.methods.training import SGD, RMSprop, train
from imitated_graph import imitated_graphs
from synthetic import create, for_method, may_be_replayed, separable, small

NAMES = [name for name in registry.names("methods") if registry.info("methods", name).gpu]
REPLAYED = [name for name in NAMES if may_be_replayed(name)]


def fits(name):
    """State and history of each fit of a few epochs, whose last batches are smaller."""
    train = for_method(name, separable(), 0)
    single = registry.info("methods", name).modalities == 1
    found = []
    for group in [("image",), ("text",)] if single else [("image", "text")]:
        method = create(name, group, 0, **small(name) | {"epochs": 5, "batch_size": 25})
        history = method.fit({m: train[m] for m in group})
        found.append((method.state(), history.rows))
    return found


@pytest.mark.parametrize("name", REPLAYED)
def test_replayed_steps_are_the_steps(name):
    expected = fits(name)
    with imitated_graphs() as graphs:
        found = fits(name)
    assert sum(graph.replays for graph in graphs) >= 2
    for (ours, our_history), (theirs, history) in zip(found, expected, strict=True):
        assert [key for key in theirs if not np.array_equal(ours[key], theirs[key])] == []
        assert our_history == history


class Halving:
    """Its step depends on what Python counts: no step to replay."""

    def __init__(self):
        self.weight, self.steps = nn.Linear(1, 1), 0

    def terms(self, rows):
        self.steps += 1
        return {"loss": self.weight(torch.ones(len(rows), 1)).sum() / 2**self.steps}


def weights_of_halving(replayed):
    torch.manual_seed(0)
    method = Halving()
    updates = [Update(SGD(method.weight.parameters(), 1.0), method.terms)]
    train(method.weight, updates, rows=8, epochs=2, batch_size=2, seed=0, device="cpu", replayed=replayed)
    return method.weight.weight.detach().clone()


def test_what_python_counts_is_a_constant_of_a_recorded_step():
    """Therefore a method says of itself whether its steps may be replayed."""
    expected = weights_of_halving(replayed=False)
    with imitated_graphs():
        assert torch.equal(weights_of_halving(replayed=False), expected)
        assert not torch.equal(weights_of_halving(replayed=True), expected)


def test_a_changed_learning_rate_is_not_that_of_the_recorded_step():
    def weights(replayed):
        torch.manual_seed(0)
        network = nn.Linear(1, 1)
        optimizer = SGD(network.parameters(), 1.0)

        def halve(epoch):
            optimizer.param_groups[0]["lr"] = 0.5**epoch

        updates = [Update(optimizer, lambda rows: {"loss": network(torch.ones(len(rows), 1)).sum()})]
        train(network, updates, 8, epochs=3, batch_size=3, seed=0, device="cpu", each_epoch=halve, replayed=replayed)
        return network.weight.detach().clone()

    with imitated_graphs() as graphs:
        assert torch.equal(weights(replayed=True), weights(replayed=False))
    assert len(graphs) == 2  # none in the first epoch, whose two full batches warm up, and none of the last batches


def test_terms_of_some_epochs_alone_have_means():
    network = nn.Linear(1, 1)
    epochs = []

    def terms(rows):
        loss = network(torch.ones(len(rows), 1)).sum()
        return {"loss": loss} if len(epochs) == 1 else {"loss": loss, "other": loss}

    updates = [Update(SGD(network.parameters(), 0.1), terms)]
    history = train(network, updates, 4, epochs=2, batch_size=2, seed=0, device="cpu", each_epoch=epochs.append)
    assert [set(row) for row in history.rows] == [{"epoch", "loss"}, {"epoch", "loss", "other"}]


def test_what_cannot_be_recorded_is_told():
    network = nn.Linear(1, 1)

    def terms(rows):
        return {"loss": network(torch.ones(len(rows), 1))[rows >= 0].sum()}

    updates = [Update(SGD(network.parameters(), 0.1), terms)]
    with imitated_graphs(), pytest.raises(UserError, match=r"cannot be recorded .*must not say `replayed`"):
        train(network, updates, 8, epochs=2, batch_size=2, seed=0, device="cpu", replayed=True)


def test_a_checkpoint_of_replayed_steps_is_gone_on_with_where_none_are(tmp_path):
    def trained(epochs):
        network = nn.Linear(1, 1)
        updates = [
            Update(RMSprop(network.parameters(), 0.1), lambda rows: {"loss": network(rows[:, None].float()).sum()})
        ]
        return train(network, updates, 8, epochs, 2, 0, "cpu", checkpoint=tmp_path / "checkpoint.pt", replayed=True)

    with imitated_graphs():
        trained(epochs=1)
    assert [row["epoch"] for row in trained(epochs=2).rows] == [1, 2]
