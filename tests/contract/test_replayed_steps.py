"""Every method whose steps a GPU may replay: replayed ones compute the same bits as steps that are taken one by one.

On an imitation of CUDA's graphs; tests/gpu compares on a real GPU.
"""

import numpy as np
import pytest
import torch
from torch import nn

from cmr import registry
from cmr.methods.deep import DeepMethod
from cmr.methods.steps import Update
from cmr.methods.training import SGD, train
from cmr.methods.two_stages import TwoStages
from imitated_graph import imitated_graphs
from synthetic import create, for_method, separable, small


def may_be_replayed(name):
    method = registry.load("methods", name)
    return issubclass(method, TwoStages) or (issubclass(method, DeepMethod) and method.replayed)


NAMES = [name for name in registry.names("methods") if registry.info("methods", name).gpu]
REPLAYED = [name for name in NAMES if may_be_replayed(name)]


def states(name):
    """Of each fit, after a few epochs."""
    train = for_method(name, separable(), 0)
    single = registry.info("methods", name).modalities == 1
    found = []
    for group in [("image",), ("text",)] if single else [("image", "text")]:
        method = create(name, group, 0, **small(name) | {"epochs": 4})
        method.fit({m: train[m] for m in group})
        found.append(method.state())
    return found


@pytest.mark.parametrize("name", REPLAYED)
def test_replayed_steps_are_the_steps(name):
    expected = states(name)
    with imitated_graphs() as graphs:
        found = states(name)
    assert sum(graph.replays for graph in graphs) >= 2
    for ours, theirs in zip(found, expected, strict=True):
        assert [key for key in theirs if not np.array_equal(ours[key], theirs[key])] == []


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
        train(network, updates, 8, epochs=3, batch_size=2, seed=0, device="cpu", each_epoch=halve, replayed=replayed)
        return network.weight.detach().clone()

    with imitated_graphs() as graphs:
        assert torch.equal(weights(replayed=True), weights(replayed=False))
    assert len(graphs) == 3
