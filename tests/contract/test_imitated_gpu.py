"""Every method that uses a GPU, on an imitated one: all its tensors are on the device, and it computes the same there.

What only a real one shows is in tests/gpu.
"""

import numpy as np
import pytest
import torch
from torch import nn

from cmr import registry
from imitated_gpu import imitated_gpu
from synthetic import for_method, separable, small

NAMES = [name for name in registry.names("methods") if registry.info("methods", name).gpu]
SHORT = {"epochs": 2, "pretraining_epochs": 1}
ROUNDING = 1e-5  # a recurrent layer's gates are one operation on the CPU, several elsewhere


def part(name, seed):
    return for_method(name, separable(seed=seed), seed)


def fit(name, device):
    """Modality → the method fitted on it."""
    model = registry.params_model("methods", name)
    params = {key: SHORT.get(key, value) for key, value in small(name).items()}
    methods = {}
    for group in [("image",), ("text",)] if registry.info("methods", name).modalities == 1 else [("image", "text")]:
        method = registry.load("methods", name)(model(**params), group, 0, device)
        train, validation = ({m: part(name, seed)[m] for m in group} for seed in (0, 1))
        unlabelled = {m: view.without_labels() for m, view in part(name, 2).items()}
        method.fit(train, validation, unlabelled if registry.info("methods", name).transductive else None)
        methods |= dict.fromkeys(group, method)
    return methods


def scores(name, methods):
    embedded = {m: methods[m].embed(m, view.features) for m, view in part(name, 2).items()}
    return methods["image"].similarity("image", embedded["image"], "text", embedded["text"])


@pytest.mark.parametrize("name", NAMES)
def test_a_method_computes_on_the_device_what_it_does_on_the_cpu(name):
    on_cpu = fit(name, "cpu")
    expected = scores(name, on_cpu)
    with imitated_gpu():
        on_gpu = fit(name, "cuda")
        found = scores(name, on_gpu)
    tolerance = {"rtol": 0, "atol": ROUNDING * np.abs(expected).max()}
    np.testing.assert_allclose(found, expected, **tolerance)
    for modality, method in on_gpu.items():
        state = method.state()
        assert all(type(array) is np.ndarray for array in state.values())
        assert state.keys() == on_cpu[modality].state().keys()


def test_a_network_s_weights_are_on_the_device():
    shared = nn.Linear(4, 2)
    with imitated_gpu():
        network = nn.ModuleList([shared, nn.Sequential(shared, nn.BatchNorm1d(2))]).to("cuda")
        assert {x.device.type for x in network.state_dict().values()} == {"cuda"}
        assert network[0].weight is network[1][0].weight
        network[0](torch.ones(3, 4, device="cuda")).sum().backward()
        assert network[0].weight.grad.device.type == "cuda"
        assert torch.equal(network[0].weight.grad.cpu(), torch.full((2, 4), 3.0))


MIXES = {
    "sum": lambda here, there: here + there,
    "product": lambda here, there: there @ here,
    "index": lambda here, there: here[there.long()],
    "stack": lambda here, there: torch.stack([there, here]),
    "in_place": lambda here, there: there.add_(here),
    "numpy": lambda here, there: there.numpy(),
}


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES.keys())
def test_what_fails_on_a_gpu_fails_on_the_imitation(mix):
    with imitated_gpu(), pytest.raises(RuntimeError, match=r"same device|not supported"):
        mix(torch.ones(2), torch.ones(2, device="cuda"))


def test_what_a_gpu_allows_the_imitation_does():
    here = torch.arange(3.0)
    with imitated_gpu():
        there = here.to("cuda")
        assert (there * torch.tensor(2.0)).tolist() == [0, 2, 4]
        assert there[torch.tensor([2, 0])].tolist() == [2, 0]
        assert here.copy_(there + 1).tolist() == [1, 2, 3]
        assert there.cpu().numpy().tolist() == [0, 1, 2]
        assert float(there.sum()) == 3
        assert here.to(there).device == there.device
        with torch.inference_mode():
            assert (there + 1).cpu().device.type == "cpu"
