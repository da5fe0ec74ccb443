"""Every method that uses a GPU, on CUDA against the CPU: a new method file is tested without more.

The same weights give the same scores within ROUNDING of the largest, as sums are formed in another order. A fit draws
other random numbers on a GPU, so it is compared by what it retrieves: mAP differs by less than OTHER_DRAWS. In bfloat16
the loss terms of the first epoch are those of float32 within HALF_PRECISION of their sum.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import torch

from cmr import provenance, registry
from cmr.data import Part
from cmr.methods import steps
from cmr.metrics.ranking import average_precision
from synthetic import for_method, may_be_replayed, separable, small

DEVICE = "cuda"
NAMES = [name for name in registry.names("methods") if registry.info("methods", name).gpu]
HALF = [name for name in NAMES if "precision" in registry.params_model("methods", name).model_fields]
ROUNDING = defaultdict(lambda: 1e-4, ccl=2e-3)
"""CCL standardises codes that hardly vary: in float32 its scores on the CPU are 3e-4 from those in float64."""
OTHER_DRAWS = 0.1
HALF_PRECISION = defaultdict(lambda: 0.02, mvldan=0.05)  # which minimises eigenvalues of what its networks give

every = pytest.mark.parametrize("name", NAMES)


def rows(name: str, seed: int) -> Part:
    return for_method(name, separable(seed=seed), seed)


def created(name: str, group: tuple[str, ...], device: str, **params):
    model = registry.params_model("methods", name)
    return registry.load("methods", name)(model(**{**small(name), **params}), group, 0, device)


def groups(name: str) -> list[tuple[str, ...]]:
    """The modalities of each fit."""
    single = registry.info("methods", name).modalities == 1
    return [("image",), ("text",)] if single else [("image", "text")]


def fits(name: str, device: str, **params) -> Iterator[tuple]:
    """Modalities, the method fitted on them, and its history."""
    train = rows(name, 0)
    unlabelled = {m: view.without_labels() for m, view in rows(name, 1).items()}
    for group in groups(name):
        method = created(name, group, device, **params)
        given = unlabelled if registry.info("methods", name).transductive else None
        yield group, method, method.fit({m: train[m] for m in group}, None, given)


def fit(name: str, device: str, **params) -> dict:
    """Modality → the method fitted on it."""
    fitted = {}
    for group, method, _ in fits(name, device, **params):
        fitted |= dict.fromkeys(group, method)
    return fitted


@cache
def fitted(name: str, device: str) -> dict:
    return fit(name, device)


def scores(name: str, methods: dict) -> np.ndarray:
    embedded = {m: methods[m].embed(m, view.features) for m, view in rows(name, 1).items()}
    return methods["image"].similarity("image", embedded["image"], "text", embedded["text"])


def mean_average_precision(name: str, methods: dict) -> float:
    labels = rows(name, 1)["image"].labels.astype(int)
    return float(average_precision(scores(name, methods), labels @ labels.T > 0).mean())


@every
def test_the_same_weights_give_the_same_scores(name):
    on_cpu, on_gpu = fitted(name, "cpu"), {}
    for group in groups(name):
        method = created(name, group, DEVICE)
        method.load_state(on_cpu[group[0]].state())
        on_gpu |= dict.fromkeys(group, method)
    expected = scores(name, on_cpu)
    np.testing.assert_allclose(scores(name, on_gpu), expected, rtol=0, atol=ROUNDING[name] * np.abs(expected).max())


@every
def test_a_fit_retrieves_as_well(name):
    on_cpu, on_gpu = (mean_average_precision(name, fitted(name, device)) for device in ("cpu", DEVICE))
    assert on_gpu == pytest.approx(on_cpu, abs=OTHER_DRAWS)


@every
def test_the_same_seed_gives_the_same_bits(name):
    first, again = fitted(name, DEVICE), fit(name, DEVICE)
    for group in groups(name):
        ours, theirs = first[group[0]].state(), again[group[0]].state()
        assert set(ours) == set(theirs)
        assert [key for key in ours if not np.array_equal(ours[key], theirs[key])] == []


@pytest.mark.parametrize("name", HALF)
def test_losses_in_half_precision_are_near(name):
    def first_epochs(precision):
        return [history.rows[0] for *_, history in fits(name, DEVICE, precision=precision, epochs=1)]

    for found, expected in zip(first_epochs("bf16"), first_epochs("fp32"), strict=True):
        bound = HALF_PRECISION[name] * sum(abs(value) for key, value in expected.items() if key != "epoch")
        assert found == pytest.approx(expected, abs=bound)
        assert found != expected


@every
def test_replayed_steps_are_the_steps(name, monkeypatch):
    replayed = fit(name, DEVICE, batch_size=25)  # of 60 rows: the last batch is a graph of its own
    monkeypatch.setattr(steps, "records", lambda device: False)
    one_by_one = fit(name, DEVICE, batch_size=25)
    for group in groups(name):
        ours, theirs = replayed[group[0]].state(), one_by_one[group[0]].state()
        assert [key for key in theirs if not np.array_equal(ours[key], theirs[key])] == []


@pytest.mark.parametrize("name", [name for name in NAMES if may_be_replayed(name)])
def test_steps_that_may_be_replayed_are(name, monkeypatch):
    recorded = []
    record = steps.Steps._record
    monkeypatch.setattr(steps.Steps, "_record", lambda *args: recorded.append(record(*args)) or recorded[-1])
    fit(name, DEVICE)
    assert recorded


def test_steps_that_wait_for_the_gpu_are_not_replayed(monkeypatch):
    """One triplet loss of CLIP4CMR takes the pairs of a class, as many as there are."""
    monkeypatch.setattr(steps.Steps, "_record", lambda *args: pytest.fail("a step that waits is recorded"))
    fit("clip4cmr", DEVICE, loss="triplet")


@every
def test_a_fit_leaves_no_memory_behind_and_its_peak_is_recorded(name):
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    with provenance.used() as usage:
        methods = fit(name, DEVICE)
    assert usage["peak_gpu_memory_mb"] == pytest.approx(torch.cuda.max_memory_allocated() / 1e6, abs=0.1)
    assert torch.cuda.max_memory_allocated() > before
    del methods
    assert torch.cuda.memory_allocated() <= before
