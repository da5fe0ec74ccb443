"""What each network is trained by where nothing is set: the optimisers, steps and decays of papers and public codes."""

import pytest

from cmr import registry
from cmr.methods import deep
from synthetic import create, for_method, separable, small

OPTIMISERS = {  # in the order of the updates: the optimiser, its steps, the β of Adam, the decay that it applies
    "acmr": [("Adam", {1e-4}, (0.5, 0.999), 0)],
    "algcn": [("Adam", {5e-5}, (0.5, 0.999), 0)],  # and 100 times that for one weight, which OWN_STEP leaves out
    "attention_pool": [("Adam", {1e-3}, (0.9, 0.999), 0)],
    "cbt": [("SGD", {0.1}, None, 0)] * 2,
    "ccl": [("Adam", {1e-3}, (0.9, 0.999), 0)],
    "cdpae": [("Adam", {1e-4}, (0.9, 0.999), 0)],
    "clip4cmr": [("Adam", {1e-4}, (0.5, 0.999), 0)],
    "cm_gans": [("Adam", {1e-3}, (0.5, 0.999), 0)] * 6,
    "cmdn": [("Adam", {1e-3}, (0.9, 0.999), 0)],
    "cmpm_cmpc": [("Adam", {2e-4}, (0.9, 0.999), 0)],
    "corr_ae": [("Adam", {1e-3}, (0.9, 0.999), 0)],
    "dagnn": [("Adam", {5e-5}, (0.5, 0.999), 0)],
    "dcca": [("Adam", {1e-4}, (0.9, 0.999), 0)],
    "dccae": [("Adam", {1e-4}, (0.9, 0.999), 0)],
    "dla_cmr": [("Adam", {1e-3}, (0.9, 0.999), 0)],
    "drsl": [("Adam", {1e-4}, (0.5, 0.99), 1e-4)],
    "dscmr": [("Adam", {1e-4}, (0.5, 0.999), 0)],
    "fgcrossnet": [("Adam", {1e-4}, (0.9, 0.999), 0)],
    "gpldan": [("RMSprop", {5e-5}, None, 0), ("Adam", {1e-4}, (0.9, 0.999), 1e-4)],
    "infonce": [("Adam", {1e-3}, (0.9, 0.999), 0)],
    "mcsm": [("RMSprop", {1e-4}, None, 0)],
    "mrl": [("Adam", {1e-4}, (0.5, 0.999), 0)],
    "mvdn": [("Adam", {1e-4}, (0.9, 0.999), 0)],
    "mvldan": [("Adam", {1e-3}, (0.9, 0.999), 0)],
    "shared_classifier": [("Adam", {1e-4}, (0.9, 0.999), 0)],
    "smcr": [("Adam", {1e-4}, (0.9, 0.999), 0)] * 2,
    "vsepp": [("Adam", {2e-4}, (0.9, 0.999), 0)],
}
OWN_STEP = {"algcn": {"adaptation_rate": 1.0}}


class Begun(Exception):
    pass


def begun(name, monkeypatch, **params):
    """The optimisers of a fit that ends as it begins to train, as `OPTIMISERS` has them."""
    updates = []

    def begin(network, given, *others, **by_name):
        updates.extend(given)
        raise Begun

    monkeypatch.setattr(deep, "train", begin)
    sizes = {key: value for key, value in small(name).items() if key not in ("learning_rate", "batch_size")}
    unlabelled = {m: view.without_labels() for m, view in for_method(name, separable(seed=1)).items()}
    method = create(name, **sizes | OWN_STEP.get(name, {}) | params)
    with pytest.raises(Begun):
        method.fit(for_method(name, separable()), None, unlabelled)
    found = []
    for update in updates:
        groups = update.optimizer.param_groups
        (betas,) = {group.get("betas") for group in groups}
        (decay,) = {group["weight_decay"] for group in groups}
        found.append((type(update.optimizer).__name__, {group["lr"] for group in groups}, betas, decay))
    return found


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_network_is_trained_by_the_optimisers_of_its_source(name, monkeypatch):
    assert begun(name, monkeypatch) == OPTIMISERS[name]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_and_decays_that_are_set_are_taken(name, monkeypatch):
    own = {"drsl": {"weight_decay": 0.3}, "gpldan": {"weight_decay": 0.3, "classifier_learning_rate": 0.02}}
    expected = [(kind, {0.02}, betas, 0.3 if decay else 0) for kind, _, betas, decay in OPTIMISERS[name]]
    assert begun(name, monkeypatch, learning_rate=0.02, **own.get(name, {})) == expected


def test_every_network_is_here():
    networks = {name for name in registry.names("methods") if registry.info("methods", name).gpu}
    assert networks == OPTIMISERS.keys() | {"sdml"}  # a modality at a time: test_methods_sdml.py
